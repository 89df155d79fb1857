"""What a channel says of objects to come, and hears of them."""

import pytest
from msgspec.structs import replace

from ssyncd.errors import ProtocolError
from ssyncd.protocol.channel import Channel
from ssyncd.protocol.messages import Authorized, Notice
from tests.protocol.client import INIT, Client

NOTICE = Notice("k", {"a": 1})


def client_with_notices():
    client = Client()
    client.channel = Channel(replace(INIT, notices=True), client.store)
    return client


def test_a_notice_is_an_event_and_nothing_else():
    client = client_with_notices().live()
    client.channel.notify("k", {"a": 1})
    assert client.said() == [NOTICE.text(0)]
    assert client.hear(NOTICE.text(0)) == [NOTICE]
    assert client.store.get("k") is None
    assert not client.channel.busy("k")


def test_who_is_not_live_says_and_hears_none():
    client = client_with_notices()
    client.channel.opened()
    client.hear(Authorized("me"))
    client.said()
    client.channel.notify("k", {"a": 1})
    assert client.said() == []
    assert client.hear(NOTICE.text(0)) == []


def test_none_goes_to_a_server_that_knows_of_none():
    client = Client().live()
    client.channel.notify("k", {"a": 1})
    assert client.said() == []


@pytest.mark.parametrize("argument", ["", "[]", "{}", '{"id":"k"}', '{"id":1,"d":{}}', '{"id":"k","d":1}'])
def test_nonsense_is_a_protocol_error(argument):
    with pytest.raises(ProtocolError):
        client_with_notices().live().hear(f"0:notice:{argument}")
