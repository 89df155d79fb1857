"""The official JavaScript client (`simperium` on npm) against our server, alone and together with our own client."""

import json
import random
import shutil
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ssyncd.bucket import Change, Handle, start_syncing
from ssyncd.network.login import websocket_url
from ssyncd.protocol.jsondiff import apply, diff, transform
from tests.caches import cache
from tests.end_to_end.proxy import CALM, Proxy, Weather
from tests.programs import ServerProcess, server_process

pytestmark = pytest.mark.slow

PACKAGE = "simperium@1.1.4"
DRIVER = Path(__file__).parent / "official_client.js"
DEADLINE = 60.0
# For random texts none that takes two units: see the client's merging below.
LETTERS = "abc xyz\n☃ßé"
CROSSED = "Cannot read properties of undefined (reading 'reduce')"
"""What the client says when the change of another takes away an edit that is just about to go out."""


@pytest.fixture(scope="session")
def module() -> str:
    """Where the official client is installed; once for this user, as npm has to be asked for it."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    installed = cache() / PACKAGE.replace("@", "-")
    if not (installed / "node_modules").exists():
        _install(installed)
    return str(installed / "node_modules" / "simperium")


def _install(wanted: Path) -> None:
    wanted.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=wanted.parent) as fresh:
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", fresh, PACKAGE]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        except subprocess.TimeoutExpired:
            pytest.skip(f"npm install {PACKAGE} takes too long")
        if done.returncode != 0:
            pytest.skip(f"npm install {PACKAGE} failed: {done.stderr.strip()[-300:]}")
        wanted.mkdir(exist_ok=True)
        if not (wanted / "node_modules").exists():  # unless another run was faster
            (Path(fresh) / "node_modules").rename(wanted / "node_modules")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with server_process(tmp_path_factory.mktemp("server")) as server:
        yield server


class Watched:
    """What a client has, and what happened to it; `until` waits."""

    # One for all clients, so that a test can wait for all of them to be equal.
    told = threading.Condition()

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self.events: list[str] = []

    def until(self, condition: Callable[[], bool]) -> None:
        with self.told:
            assert self.told.wait_for(condition, DEADLINE), (self.events[-10:], str(self.objects)[:2000])

    def until_has(self, key: str, **data: Any) -> None:
        self.until(lambda: self.objects.get(key) == (data or None))


class Official(Watched):
    """A process with the official client in it."""

    def __init__(self, module: str, server: ServerProcess, bucket: str) -> None:
        super().__init__()
        self.bucket = bucket
        self.faults: list[str] = []
        self.ghosts: dict[str, Any] = {}
        """What it knows the server to have; `objects` is what it shows its application."""
        url, token = websocket_url(server.account.url), server.account.token
        self.process = subprocess.Popen(
            ["node", str(DRIVER), module, url, token, bucket],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        self._reader = threading.Thread(target=self._read, name="official-client")
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event = json.loads(line)
            with self.told:
                self.events.append(event["event"])
                if event["event"] == "fault":
                    self.faults.append(event["text"])
                elif event["event"] == "ghost":
                    self.ghosts[event["key"]] = event["data"]
                elif event["event"] == "no ghost":
                    self.ghosts.pop(event["key"], None)
                elif event["event"] == "update":
                    self.objects[event["key"]] = event["data"]
                elif event["event"] == "remove":
                    self.objects.pop(event["key"], None)
                self.told.notify_all()

    def tell(self, do: str, **arguments: Any) -> None:
        self.tell_at_once({"do": do, **arguments})

    def tell_at_once(self, *commands: dict[str, Any]) -> None:
        """It begins with each before it has ended any."""
        assert self.process.stdin is not None
        self.process.stdin.write("".join(json.dumps(command) + "\n" for command in commands))
        self.process.stdin.flush()

    def acknowledged(self) -> int:
        return self.events.count("acknowledged")

    def end(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        self.process.stdout.close()


class Ours(Watched):
    """Our own client, with the same wits; it reaches the server through a proxy, so that it can lose it."""

    handle: Handle

    def __init__(self, proxy: Proxy) -> None:
        super().__init__()
        self._proxy = proxy

    def init(self, version: str, entities: dict[str, Any]) -> None:
        self.objects = entities

    def update(self, change: Change) -> None:
        with self.told:
            self.objects.pop(change.key, None)
            if change.data is not None:
                self.objects[change.key] = change.data
            self.events.append("mine" if change.mine else "theirs")
            self.told.notify_all()

    def tell(self, do: str, **arguments: Any) -> None:
        getattr(self, f"_{do}")(**arguments)

    def _offline(self) -> None:
        self._proxy.weather = Weather(closed=True)
        self._proxy.cut()

    def _online(self) -> None:
        self._proxy.weather = CALM

    def _put(self, key: str, data: dict[str, Any]) -> None:
        self.handle.set(key, data)

    def _remove(self, key: str) -> None:
        self.handle.delete(key)

    def _text(self, key: str, at: int, drop: int, add: str) -> None:
        def change(data: dict[str, Any] | None) -> dict[str, Any] | None:
            if data is not None:
                where = at % (len(data["text"]) + 1)
                data["text"] = data["text"][:where] + add + data["text"][where + drop :]
            return data

        self.handle.edit(key, change)

    def _member(self, key: str, name: str, value: Any) -> None:
        def change(data: dict[str, Any] | None) -> dict[str, Any] | None:
            if data is not None:
                data["members"][name] = value
            return data

        self.handle.edit(key, change)


@contextmanager
def clients(module: str, server: ServerProcess, number: int, bucket: str = "") -> Iterator[list[Any]]:
    """`number` official clients that have indexed, and one of ours as the last."""
    bucket = bucket or f"b-{uuid.uuid4().hex[:12]}"
    with ExitStack() as stack:
        proxy = Proxy(server.account.url)
        proxy.start()
        stack.callback(proxy.stop)
        everybody: list[Any] = []
        for _ in range(number):
            everybody.append(Official(module, server, bucket))
            stack.callback(everybody[-1].end)
        for client in everybody:
            client.until(lambda client=client: "indexed" in client.events)
        ours = Ours(proxy)
        secrets = replace(server.secrets, url=proxy.url)
        ours.handle = stack.enter_context(start_syncing(ours, secrets, name=bucket))
        yield [*everybody, ours]


def test_an_object_is_created_edited_and_deleted_from_both_sides(module: str, server: ServerProcess) -> None:
    with clients(module, server, 2) as (one, two, ours):
        one.tell("put", key="a", data={"text": "hello 😀", "n": 1})
        for client in (two, ours):
            client.until_has("a", text="hello 😀", n=1)
        ours.handle.set("a", {"text": "hello 🎉 you", "n": 2.5})
        for client in (one, two):
            client.until_has("a", text="hello 🎉 you", n=2.5)
        two.tell("put", key="a", data={"text": "bye", "n": 2.5, "inner": {"x": [1, 2]}})
        for client in (one, ours):
            client.until_has("a", text="bye", n=2.5, inner={"x": [1, 2]})
        one.tell("remove", key="a")
        for client in (two, ours):
            client.until_has("a")
        ours.handle.set("b", {"text": "b"})
        for client in (one, two):
            client.until_has("b", text="b")
        ours.handle.delete("b")
        for client in (one, two):
            client.until_has("b")


def test_what_is_made_again_after_a_deletion_stays(module: str, server: ServerProcess) -> None:
    """The official client answers every deletion it hears of with one of its own."""
    with clients(module, server, 2) as (one, two, ours):
        for round_ in range(5):
            ours.handle.set("k", {"round": round_})
            assert ours.handle.wait(DEADLINE)
            ours.handle.delete("k")
            assert ours.handle.wait(DEADLINE)
        ours.handle.set("k", {"round": "last"})
        for client in (one, two, ours):
            client.until_has("k", round="last")
        # By now its echoes have been answered: what it says after them comes after them.
        one.tell("put", key="mark", data={"n": 1})
        two.tell("put", key="mark2", data={"n": 1})
        for client in (one, two, ours):
            client.until_has("mark", n=1)
            client.until_has("mark2", n=1)
        assert ours.handle.get("k") == {"round": "last"}


def test_concurrent_edits_of_one_text_merge(module: str, server: ServerProcess) -> None:
    with clients(module, server, 2) as (one, two, ours):
        one.tell("put", key="k", data={"text": "middle 😀"})
        for client in (one, two, ours):
            client.until_has("k", text="middle 😀")
        one.until(lambda: one.acknowledged() == 1)
        with server.held():
            one.tell("put", key="k", data={"text": "begin middle 😀"})
            two.tell("put", key="k", data={"text": "middle 😀 end"})
            ours.handle.set("k", {"text": "middle and more 😀"})
            for client, text in ((one, "begin middle 😀"), (two, "middle 😀 end")):
                client.until_has("k", text=text)
        for client in (one, two, ours):
            client.until_has("k", text="begin middle and more 😀 end")


def test_what_is_edited_offline_arrives_after_a_reconnect(module: str, server: ServerProcess) -> None:
    with clients(module, server, 2) as (one, two, ours):
        one.tell("put", key="k", data={"text": "middle"})
        two.until_has("k", text="middle")
        one.until(lambda: one.acknowledged() == 1)
        one.tell("offline")
        one.tell("text", key="k", at=0, drop=0, add="begin ")
        one.tell("put", key="new", data={"text": "made offline"})
        ours.until_has("k", text="middle")
        ours.handle.set("k", {"text": "middle end"})
        two.until_has("k", text="middle end")
        one.until_has("k", text="begin middle")
        one.tell("online")
        for client in (one, two, ours):
            client.until_has("k", text="begin middle end")
            client.until_has("new", text="made offline")


def test_more_than_a_thousand_objects_are_indexed_by_pages_while_they_change(
    module: str, server: ServerProcess
) -> None:
    bucket = f"b-{uuid.uuid4().hex[:12]}"
    number = 1205
    with clients(module, server, 0, bucket) as (ours,):
        for at in range(number):
            ours.handle.set(f"k{at}", {"text": f"number {at}"})
        assert ours.handle.wait(DEADLINE)
        late = Official(module, server, bucket)
        try:
            late.until(lambda: len(late.objects) > 100)
            for at in range(0, number, 100):
                ours.handle.set(f"k{at}", {"text": f"number {at} changed"})
            ours.handle.delete("k3")
            ours.handle.set("new", {"text": "new"})
            assert ours.handle.wait(DEADLINE)
            late.until(lambda: late.objects == ours.handle.entities())
            assert len(late.objects) == number
        finally:
            late.end()
        with clients(module, server, 0, bucket) as (again,):
            assert again.objects == ours.handle.entities()


def test_official_clients_alone_part_where_an_edit_crosses_a_removal(module: str, server: ServerProcess) -> None:
    """No client of ours is here. This and the next four are what the random operations below have to allow for."""
    with pair(module, server) as (one, two):
        one.tell("offline")
        one.tell("remove", key="k")
        one.until_has("k")
        two.tell("put", key="k", data={"text": "middle and more"})
        two.until(lambda: two.acknowledged() == 1)
        one.tell("online")
        two.until_has("k")
        # The remover is told of the edit, shows it, and does not take its own removal for one.
        one.until(lambda: one.acknowledged() == 2)
        assert one.objects == {"k": {"text": "middle and more"}}
        with clients(module, server, 0, one.bucket) as (ours,):
            assert ours.objects == two.objects == {}


def test_official_clients_alone_lose_sight_of_an_edit_when_another_member_changes(
    module: str, server: ServerProcess
) -> None:
    """Whether it was sent before it was forgotten is a matter of luck."""
    with pair(module, server) as (one, two):
        one.tell("offline")
        one.tell("put", key="k", data={"text": "middle and more"})
        one.until_has("k", text="middle and more")
        two.tell("put", key="k", data={"text": "middle", "other": 1})
        two.until(lambda: two.acknowledged() == 1)
        one.tell("online")
        one.until_has("k", text="middle", other=1)
        one.tell("put", key="mark", data={"text": "later"})
        two.until(lambda: "mark" in two.objects)
        assert one.objects["k"] == {"text": "middle", "other": 1}


def test_official_clients_alone_lose_what_is_made_again_right_after_a_removal(
    module: str, server: ServerProcess
) -> None:
    """It goes out as an edit of what is gone, is refused, and stays with its maker."""
    with pair(module, server) as (one, two):
        one.tell_at_once({"do": "remove", "key": "k"}, {"do": "put", "key": "k", "data": {"text": "again"}})
        one.until_has("k", text="again")
        two.until_has("k")
        two.tell("put", key="mark", data={"text": "later"})
        one.until_has("mark", text="later")
        with clients(module, server, 0, one.bucket) as (ours,):
            assert ours.objects == two.objects == {"mark": {"text": "later"}}
        assert one.objects["k"] == {"text": "again"}


def test_the_official_client_cannot_merge_what_cuts_a_character_of_two_units(module: str) -> None:
    """It then drops what it was told of, for good; ours merges it."""
    base = {"text": "céxx\n😀"}
    local, theirs = {"text": "🎉c é"}, {"text": {"o": "d", "v": "-2\t=2\t-3"}}
    values = ", ".join(json.dumps(value) for value in (base, local, theirs))
    script = """
        const { change } = require(process.argv[1] + '/lib/simperium/util')
        const merge = (base, local, theirs) => change.transform(change.diff(base, local), theirs, base)
        try { merge(VALUES) } catch (error) { process.stdout.write(error.name) }
    """
    assert _say(module, script.replace("VALUES", values)) == "URIError"
    rebased = transform(diff(base, local), theirs, base)
    assert "😀" not in apply(rebased, apply(theirs, base))["text"]


def test_the_official_client_ends_when_an_edit_is_taken_away_that_is_about_to_go_out(module: str) -> None:
    """Nothing in it catches this; our driver does, and only this."""
    script = """
        const Channel = require(process.argv[1] + '/lib/simperium/channel').default
        const store = { get: async () => ({ version: 1, data: {} }) }
        const { localQueue } = new Channel('app', 'token', store, 'bucket')
        process.on('unhandledRejection', (error) => process.stdout.write(error.message))
        localQueue.start()
        localQueue.queue({ type: 'modify', id: 'k', object: { n: 1 } })
        localQueue.dequeueChangesFor('k')
    """
    assert _say(module, script) == CROSSED


def _say(module: str, script: str) -> str:
    return subprocess.run(
        ["node", "-e", script, module], check=True, capture_output=True, encoding="utf-8", timeout=DEADLINE
    ).stdout


@contextmanager
def pair(module: str, server: ServerProcess) -> Iterator[list[Official]]:
    """Two official clients with one object."""
    with clients(module, server, 2) as (one, two, ours):
        ours.handle.stop()
        one.tell("put", key="k", data={"text": "middle"})
        two.until_has("k", text="middle")
        one.until(lambda: one.acknowledged() == 1)
        yield [one, two]


KEYS = [f"k{number}" for number in range(40)]


class Chaos:
    """Random operations: anybody makes, edits and removes anything, uses keys again, leaves and comes back."""

    def __init__(self, everybody: list[Any], seed: int) -> None:
        self.everybody = everybody
        self.chance = random.Random(seed)
        self.offline: set[Any] = set()

    def step(self) -> None:
        client = self.chance.choice(self.everybody)
        do = self.chance.choices(["make", "text", "member", "remove", "line"], [20, 120, 50, 8, 10])[0]
        getattr(self, f"_{do}")(client)

    def all_online(self) -> None:
        for client in self.offline:
            client.tell("online")
        self.offline.clear()

    def _make(self, client: Any) -> None:
        with Watched.told:
            free = [key for key in KEYS if key not in client.objects]
        if free:
            data = {"text": self._text_of(8), "members": {"x": self.chance.randrange(100)}}
            client.tell("put", key=self.chance.choice(free), data=data)

    def _text(self, client: Any) -> None:
        key = self._known(client)
        if key:
            at, drop = self.chance.randrange(30), self.chance.choice([0, 0, 1, 3])
            client.tell("text", key=key, at=at, drop=drop, add=self._text_of(4))

    def _member(self, client: Any) -> None:
        key = self._known(client)
        if key:
            value = self.chance.choice([1, 2.5, True, "word", [1, "two"], {"deep": {"er": 1}}])
            client.tell("member", key=key, name=self.chance.choice("pqr"), value=value)

    def _remove(self, client: Any) -> None:
        key = self._known(client)
        if key:
            client.tell("remove", key=key)

    def _line(self, client: Any) -> None:
        """Leave or come back."""
        if client in self.offline:
            self.offline.remove(client)
            client.tell("online")
        else:
            self.offline.add(client)
            client.tell("offline")

    def _known(self, client: Any) -> str:
        with Watched.told:
            known = sorted(client.objects)
        return self.chance.choice(known) if known else ""

    def _text_of(self, most: int) -> str:
        return "".join(self.chance.choice(LETTERS) for _ in range(self.chance.randrange(1, most)))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_hundreds_of_random_operations_of_three_clients_end_equal(
    module: str, server: ServerProcess, seed: int
) -> None:
    """Nothing is kept apart. Of an official client its ghosts count, for it does not show its application all of them, as the
    tests above show of official clients that are by themselves; one that begins anew shows everything."""
    with clients(module, server, 2) as (one, two, ours):
        chaos = Chaos([one, two, ours], seed)
        for _ in range(400):
            chaos.step()
        chaos.all_online()

        def equal() -> bool:
            return bool(one.ghosts == two.ghosts == ours.objects) and ours.handle.unsent == 0

        ours.until(equal)
        assert all(CROSSED in fault for fault in one.faults + two.faults)
        with clients(module, server, 1, ours.handle.name) as (anew, fresh):
            ours.until(lambda: equal() and anew.objects == fresh.objects == ours.objects)
        assert ours.handle.entities() == ours.objects
        assert ours.handle.refused == {}
        assert len(ours.objects) > 10
