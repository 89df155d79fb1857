"""A hosted Simperium application: another application id, other URLs for signing in and for the websocket, a limit of its own."""

import os
import re
from typing import Any

import pytest

from ssyncd import Change, Secrets, start_syncing
from ssyncd.network.login import Service
from tests.end_to_end.conftest import Site
from tests.end_to_end.front import Front, front
from tests.end_to_end.machine import DEADLINE, Machine, Server, start, stop, until
from tests.end_to_end.pictures import difference

APP = "Hosted-1"
LIMIT = 128 * 1024
KIB = 1024
# All that plain Simperium has and a folder needs; `GET /1/APP/` is the question what else there is.
PLAIN = re.compile(
    rf"GET /live|POST /auth/1/{APP}/authorize/|GET /api/1/{APP}/"
    rf"|(GET|POST) /api/1/{APP}/[^/]+/(i/[0-9a-f]+(/v/\d+)?|index)(\?\S*)?"
)


@pytest.fixture
def server(site: Site) -> Server:
    server = site.own_server(APP, f"[serve]\nobject_limit = {LIMIT}\n")
    server.start()
    return server


def sign_in(machine: Machine, server: Server, *options: str, url: str) -> None:
    words = ["login", url, "--user", server.user, "--password-stdin", *options]
    signed_in = machine.run(*words, input=server.password + "\n")
    assert signed_in.returncode == 0, signed_in.stderr


def both(site: Site, server: Server, door: Front) -> tuple[Machine, Machine]:
    """One is told by options of `login`, the other by its settings."""
    one = site.bare_machine("alpha", settings=f"[server]\nobject_limit = {LIMIT}\n")
    told = ["--app", APP, "--api-key", server.api_key, "--auth-url", door.auth, "--websocket-url", door.live]
    sign_in(one, server, *told, url=door.api)
    settings = {"app": APP, "api_key": server.api_key, "auth_url": door.auth, "websocket_url": door.live}
    lines = [f'{name} = "{value}"' for name, value in settings.items()]
    other = site.bare_machine("beta", settings="\n".join(["[server]", f"object_limit = {LIMIT}", *lines, ""]))
    sign_in(other, server, url=door.api)
    return one, other


@pytest.mark.slow
def test_two_machines_meet_in_a_hosted_application(site: Site, server: Server) -> None:
    with front(server.url, APP) as door:
        one, other = both(site, server, door)
        large = os.urandom(3000 * KIB)
        one.write("large", large)
        one.write("inline", os.urandom(32 * KIB))
        one.write("text", "from alpha\n" * 9000)
        start(one, other)
        until(lambda: other.holds("large", large), "a large file arrives")
        other.save("large", large[:1_000_000] + b"!" + large[1_000_000:])
        other.write("new/small", "from beta")
        until(lambda: one.holds("new/small", "from beta"), "a small file arrives")
        until(lambda: len(one.read("large")) == len(large) + 1, "an edit of a large file arrives")
        for machine in (one, other):
            machine.wait()
        assert not difference(one.picture(), other.picture())
        history = one.run("history", one.path("large"))
        assert (history.returncode, history.stdout.count("beta")) == (0, 1), history.stdout
        restored = one.run("restore", one.path("large"), "--version", "1")
        assert restored.returncode == 0, restored.stderr
        until(lambda: other.holds("large", large), "what was restored arrives")
        one.wait()
        stop(one, other)
        only_in_plain = [asked for asked in door.asked if not PLAIN.fullmatch(asked)]
        if site.plain:
            assert only_in_plain == []
            assert server.count(f"{one.bucket}.chunks") > 10
        assert {"GET /live", f"POST /auth/1/{APP}/authorize/"} < set(door.asked)
    assert server.largest() <= LIMIT
    assert "refused" not in one.report() + other.report()


@pytest.mark.slow
def test_what_a_hosted_application_does_not_have_is_said_and_not_asked_for(site: Site, server: Server) -> None:
    with front(server.url, APP) as door:
        one, _ = both(site, server, door)
        listed = one.run("devices")
        ended = one.run("devices", "revoke", "beta")
        out = one.run("logout")
        assert out.returncode == 0
        if site.plain:
            told = "this server lists and ends no access tokens"
            assert (listed.returncode, ended.returncode) == (1, 1)
            assert all(told in text for text in (listed.stderr, ended.stderr, out.stderr))
            assert [asked for asked in door.asked if not PLAIN.fullmatch(asked)] == []
        else:
            assert "beta" in listed.stdout
            assert ended.returncode == 0
            assert out.stderr == ""


@pytest.mark.slow
def test_a_wrong_api_key_or_application_is_told(site: Site, server: Server) -> None:
    machine = site.bare_machine("alpha")
    for app, key in ((APP, "wrong"), ("unknown", server.api_key), ("ssyncd", "ssyncd")):
        words = ["login", server.url, "--user", server.user, "--password-stdin", "--app", app, "--api-key", key]
        refused = machine.run(*words, input=server.password + "\n")
        assert refused.returncode == 4, refused.stderr
        assert "not accepted" in refused.stderr


class Texts:
    """What an application gives."""

    name = "texts"

    def init(self, version: str, entities: dict[str, Any]) -> None:
        self.entities = entities

    def update(self, change: Change) -> None:
        pass


@pytest.mark.slow
def test_the_library_finds_a_hosted_application_too(site: Site, server: Server) -> None:
    with front(server.url, APP) as door:
        service = Service(APP, server.api_key, auth_url=door.auth, websocket_url=door.live)
        secrets = Secrets.sign_in(door.api, server.user, server.password, "library", service)
        with start_syncing(Texts(), secrets) as handle:
            handle.set("one", {"text": "from here"})
            assert handle.wait(DEADLINE)
        again = Texts()
        start_syncing(again, secrets).stop()
        assert again.entities == {"one": {"text": "from here"}}
        assert set(door.asked) == {"GET /live", f"POST /auth/1/{APP}/authorize/"}
