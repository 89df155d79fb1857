"""Any history of edits, cuts, restarts, lost logs and busy servers ends with all clients knowing what the server knows."""

import random

import pytest

from ssyncd.protocol import jsondiff
from ssyncd.protocol.channel import Channel, State
from ssyncd.protocol.events import Delayed, Refused, Settled, Unanswered, Updated
from ssyncd.protocol.ghosts import MemoryGhosts, source_of
from ssyncd.protocol.messages import Init, parse_frame
from tests.protocol.model import ModelServer

VALUES = [1, 2, "x", "xy", "zxy", {"a": 1}, {"b": 2}]


class Device:
    """A channel with its store and wire; keeps what the events say, and checks that they tell one story."""

    def __init__(self, name, server):
        self.init = Init("b", "t", "a", name)
        self.server = server
        self.store = MemoryGhosts()
        self.told = {}
        self.acknowledged = []
        self.start()

    def start(self):
        self.channel = Channel(self.init, self.store, window=3, page=2)
        self.wire = None
        self.up = []

    def open(self):
        self.close()
        self.wire = self.server.connect()
        self.channel.opened()

    def close(self):
        if self.wire is not None:
            self.server.connections.remove(self.wire)
            self.wire = None
            self.up = []
            self.channel.closed()

    def speak(self, most):
        """Some of what is on the way up arrives."""
        self.up += self.channel.outgoing()
        for _ in range(min(most, len(self.up)) if self.wire else 0):
            self.server.hear(self.wire, self.up.pop(0))

    def listen(self, most):
        """Some of what is on the way down arrives."""
        for _ in range(min(most, len(self.wire.out)) if self.wire else 0):
            for event in self.channel.receive(parse_frame(self.wire.out.pop(0))):
                self.note(event)
            assert {key: data for key, data in self.told.items() if data is not None} == self.known()

    def known(self):
        ghosts = {key: self.store.get(key) for key in self.store.keys()}  # noqa: SIM118 - no dict
        return {key: ghost.data for key, ghost in ghosts.items() if ghost.data is not None}

    def note(self, event):
        if isinstance(event, Updated):
            assert self.told.get(event.key) == (event.before.data if event.before else None)
            self.told[event.key] = event.after.data
            if event.mine:
                self.acknowledged.append(event.mine.ccid)
        if isinstance(event, Settled | Refused | Unanswered):
            assert not self.channel.busy(event.sent.key)
        if isinstance(event, Delayed):
            assert self.channel.busy(event.sent.key)

    def quiet(self):
        self.up += self.channel.outgoing()
        return self.channel.state is State.LIVE and not self.channel.in_flight and not self.wire.out and not self.up


class History:
    """One history by one seed: `act` does something at random, `settle` lets everything come to rest and compares."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.server = ModelServer(self.chance.randint(1, 3))
        self.devices = [Device(name, self.server) for name in "ABC"]
        self.count = 0
        self.acts = [
            (30, self.exchange),
            (20, self.edit),
            (6, self.delete),
            (5, self.connect),
            (2, self.cut),
            (2, self.restart),
            (1, self.compare_everything),
            (1, self.server.forget),
            (1, self.turn("prune")),
            (1, self.turn("busy")),
            (1, self.turn("sloppy")),
            (2, lambda: self.device().channel.retry()),
        ]

    def act(self):
        weights, acts = zip(*self.acts, strict=True)
        self.chance.choices(acts, weights)[0]()
        assert all(device.channel.in_flight <= 3 for device in self.devices)

    def device(self):
        return self.chance.choice(self.devices)

    def turn(self, name):
        return lambda: setattr(self.server, name, not getattr(self.server, name))

    def exchange(self):
        device = self.device()
        if self.chance.random() < 0.7:
            device.speak(self.chance.randint(1, 3))
        if self.chance.random() < 0.7:
            device.listen(self.chance.randint(1, 3))

    def connect(self):
        device = self.device()
        if device.wire is None or self.chance.random() < 0.2:
            device.open()

    def cut(self):
        self.device().close()

    def restart(self):
        device = self.device()
        device.close()
        device.start()

    def edit(self):
        device, key = self.device(), self.chance.choice("klm")
        ghost = device.store.get(key)
        data = (ghost.data if ghost else None) or {}
        diff = jsondiff.diff(data, {**data, self.chance.choice("ab"): self.chance.choice(VALUES)})
        self.submit(device, key, diff, source_of(ghost))

    def delete(self):
        device, key = self.device(), self.chance.choice("klm")
        ghost = device.store.get(key)
        if source_of(ghost) is not None:
            self.submit(device, key, None, source_of(ghost))

    def submit(self, device, key, diff, source):
        if device.channel.room() and not device.channel.busy(key):
            self.count += 1
            device.channel.submit(key, diff, source, f"ccid-{self.count}", self.chance.random() < 0.5)

    def compare_everything(self):
        device = self.device()
        for event in device.channel.reindex():
            device.note(event)

    def settle(self):
        self.server.busy = False
        for device in self.devices:
            if device.wire is None:
                device.open()
        for _ in range(200):
            for device in self.devices:
                device.channel.retry()
                device.speak(100)
                device.listen(100)
            if all(device.quiet() for device in self.devices):
                return
        raise AssertionError("it does not come to rest")

    def check(self):
        live = self.server.live()
        for device in self.devices:
            assert device.known() == live
            assert device.store.cursor == self.server.cv(len(self.server.log))
            for key in live:
                assert device.store.get(key).version == len(self.server.versions[key])
        accepted = [ccid for change in self.server.log for ccid in change.ccids]
        assert len(accepted) == len(set(accepted))
        acknowledged = [ccid for device in self.devices for ccid in device.acknowledged]
        assert len(acknowledged) == len(set(acknowledged))
        assert set(acknowledged) <= set(accepted)


@pytest.mark.parametrize("seed", range(120))
def test_every_history_ends_in_agreement(seed):
    history = History(seed)
    for _ in range(5):
        for _ in range(60):
            history.act()
        history.settle()
        history.check()
