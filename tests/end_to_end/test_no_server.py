"""Something else answers where the server should: it is told, nothing is lost, and all goes on when the server is back."""

import pytest

from ssyncd.status import Phase
from tests.end_to_end.conftest import Site
from tests.end_to_end.machine import agree, until
from tests.network.servers import Reply, fake_server

PAGE = Reply(200, b"<html>Welcome to our hotel, please sign in</html>", {"Content-Type": "text/html"})
ANSWERS = {
    "a web page": (PAGE, "web page"),
    "busy": (Reply(503, b"later", {"Retry-After": "1"}), "503"),
    "too many": (Reply(429, b'{"msg": "slow down", "code": 429}', {"Retry-After": "1"}), ""),
    "cut short": (Reply(200, b'{"app": "ssy', {"Content-Type": "application/json"}, promised=500), ""),
    "nonsense": (Reply(200, b"[" * 100_000, {"Content-Type": "application/json"}), ""),
    "without end": (Reply(200, b"x" * 30_000_000, {"Content-Type": "application/json"}), ""),
}


@pytest.mark.slow
@pytest.mark.parametrize("running", [True, False], ids=["running", "at the start"])
@pytest.mark.parametrize("what", ANSWERS)
def test_what_answers_instead_of_the_server_is_told_and_harms_nothing(site: Site, what: str, running: bool) -> None:
    reply, named = ANSWERS[what]
    server = site.own_server()
    server.start()
    one, other = site.pair()
    one.write("kept", "kept")
    one.start()
    other.start()
    agree(one, other)
    if not running:
        one.stop()
    server.stop()
    with fake_server(lambda _: reply, int(server.url.rpartition(":")[2])) as fake:
        if not running:
            one.start(wait=False)
        one.write("new", "new")
        until(lambda: fake.requests and one.status().phase is Phase.OFFLINE and one.status().last_error, "it is told")
        until(lambda: named in one.status().last_error, lambda: f"{named!r} in {one.status().last_error!r}")
        assert "Traceback" not in one.status().last_error
        assert one.running is not None
        assert one.running.peak() < 250_000_000
    server.start()
    until(lambda: other.holds("new", "new"), lambda: str(one.status()), 60.0)
    agree(one, other)
    assert one.picture() == {"kept": b"kept", "new": b"new"}
