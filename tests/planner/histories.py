"""Histories of users and machines: lists of small numbers, so that they can be drawn, replayed and made shorter.

An action is (verb, machine, one, two); what it acts on is chosen by the numbers from what is there at that moment.
"""

from collections import Counter
from random import Random

from ssyncd.planner.tree import Content, Entry, Kind, Tree
from tests.planner.model import Change, Machine, Server, settle
from tests.trees import paths

Action = tuple[int, int, int, int]
NAMES = ("a", "b", "A", "c", ".ssyncd")


class World:
    """Machines with one server, and a ledger of what users wrote and what they knowingly replaced or deleted."""

    def __init__(self, machines: int, seed: int | None = None) -> None:
        self.server = Server()
        self.machines = [Machine(f"m{n}", self.server) for n in range(machines)]
        # By its last two bits a seed stands for steps that fail, steps in another order, or both.
        self.random = Random(seed) if seed is not None and seed % 2 == 1 else None
        self.order = Random(f"order {seed}") if seed is not None and seed % 4 != 3 else None
        self.written: set[str] = set()
        self.forgiven: set[str] = set()
        self._count = 0
        self.verbs = (
            self.write,
            self.make_dir,
            self.make_link,
            self.write,
            self.delete,
            self.move,
            self.move,
            self.swap,
            self.switch_exec,
            self.change_type,
            self.work,
            self.work,
            self.flush,
            self.deliver,
            self.receive,
            self.read,
            self.crash,
            self.scribble,
        )

    def start(self, actions: list[Action]) -> None:
        """A first tree that all agree on."""
        for verb, _, one, two in actions:
            self.verbs[verb % 9](self.machines[0], one, two)
        settle(self.server)
        for machine in self.machines:
            machine.fail = self.random
            machine.order = self.order

    def act(self, action: Action) -> None:
        verb, who, one, two = action
        self.verbs[verb % len(self.verbs)](self.machines[who % len(self.machines)], one, two)

    # What users do.

    def _token(self, machine: Machine, number: int) -> Content:
        """Mostly what nobody has written before; sometimes what others write too."""
        self._count += 1
        text = f"s{number % 2}" if number % 7 == 0 else f"t{self._count}"
        self.written.add(text)
        return Content(text, 1, self._count * 1_000_000, machine.name)

    def _place(self, machine: Machine, one: int, two: int) -> tuple[str, str]:
        dirs = ["", *(key for key in sorted(machine.local) if _is_dir(machine.local, key))]
        parent = dirs[one % len(dirs)]
        names = NAMES if parent else NAMES[:-1]
        return parent, names[two % len(names)]

    def _pick(self, machine: Machine, number: int) -> Entry | None:
        keys = sorted(machine.local)
        return machine.local.get(keys[number % len(keys)]) if keys else None

    def _forgive(self, machine: Machine, key: str) -> None:
        content = machine.holds(key)
        if content is not None:
            self.forgiven.add(content.hash)

    def _write(self, machine: Machine, entry: Entry, number: int) -> None:
        content = self._token(machine, number)
        self._forgive(machine, entry.key)
        machine.unread[entry.key] = content
        machine.local_put(entry._replace(content=None))

    def write(self, machine: Machine, one: int, two: int) -> None:
        place = self._place(machine, one, two)
        found = machine.local.at(*place)
        entry = machine.local.get(found[0]) if found else None
        if entry is None:
            key = machine.free_key(*place, Kind.FILE)
            self._write(machine, Entry(key, *place, Kind.FILE), one * 5 + two)
        elif entry.kind is Kind.FILE:
            self._write(machine, entry, one + two)

    def make_dir(self, machine: Machine, one: int, two: int) -> None:
        place = self._place(machine, one, two)
        if not machine.local.at(*place):
            machine.local_put(Entry(machine.free_key(*place, Kind.DIR), *place, Kind.DIR))

    def make_link(self, machine: Machine, one: int, two: int) -> None:
        place = self._place(machine, one, two)
        if not machine.local.at(*place):
            target = f"to{two % 3}"
            machine.local_put(Entry(machine.free_key(*place, Kind.LINK), *place, Kind.LINK, target=target))

    def delete(self, machine: Machine, one: int, _: int) -> None:
        entry = self._pick(machine, one)
        if entry is not None:
            for key in [entry.key, *machine.local.below(entry.key)][::-1]:
                self._forgive(machine, key)
                machine.local_remove(key)

    def move(self, machine: Machine, one: int, two: int) -> None:
        entry = self._pick(machine, one)
        parent, name = self._place(machine, two, one + two)
        if (
            entry is None
            or machine.local.at(parent, name)
            or parent == entry.key
            or parent in machine.local.below(entry.key)
        ):
            return
        machine.local_put(entry._replace(parent=parent, name=name))

    def swap(self, machine: Machine, one: int, two: int) -> None:
        """Two entries change places; or, one inside the other, they turn inside out."""
        first, second = self._pick(machine, one), self._pick(machine, two)
        if first is None or second is None or first.key == second.key:
            return
        if second.key in machine.local.below(first.key):
            if second.kind is not Kind.DIR or machine.local.at(second.key, second.name):
                return
            machine.local.remove(first.key)
            machine.local_put(second._replace(parent=first.parent, name=first.name))
            machine.local_put(first._replace(parent=second.key, name=second.name))
        elif first.key not in machine.local.below(second.key):
            machine.local.remove(first.key)
            machine.local_put(second._replace(parent=first.parent, name=first.name))
            machine.local_put(first._replace(parent=second.parent, name=second.name))
        machine.touched.update((*machine.local, *machine.remote))

    def switch_exec(self, machine: Machine, one: int, _: int) -> None:
        entry = self._pick(machine, one)
        if entry is not None and entry.kind is Kind.FILE:
            machine.local_put(entry._replace(exec=not entry.exec))

    def change_type(self, machine: Machine, one: int, two: int) -> None:
        entry = self._pick(machine, one)
        if entry is None:
            return
        self.delete(machine, one, two)
        kind = Kind.DIR if entry.kind is not Kind.DIR else Kind.FILE
        new = Entry(machine.free_key(*entry.place, kind), *entry.place, kind)
        if kind is Kind.FILE:
            self._write(machine, new, one)
        else:
            machine.local_put(new)

    # What machines do.

    def work(self, machine: Machine, one: int, _: int) -> None:
        """The disk comes to rest by itself, nobody else has to say anything for that."""
        if one % 2:
            machine.read()
        for _ in range(6):
            if not machine.work().steps or machine.fail is not None:
                return
        raise AssertionError("the disk does not come to rest")

    def flush(self, machine: Machine, one: int, two: int) -> None:
        machine.flush(1 + one % 5, repairs=two % 3 == 0)

    def deliver(self, machine: Machine, one: int, _: int) -> None:
        machine.deliver(1 + one % 4)

    def receive(self, machine: Machine, one: int, _: int) -> None:
        machine.receive(1 + one % 4)

    def read(self, machine: Machine, _: int, __: int) -> None:
        machine.read()

    def crash(self, machine: Machine, _: int, __: int) -> None:
        machine.crash()

    def scribble(self, _: Machine, one: int, two: int) -> None:
        """Another program puts an entry into any directory there is or ever was, itself included; or deletes it."""
        tree, keys = self.server.tree, sorted(self.server.tree)
        if not keys:
            return
        entry = tree.get(keys[one % len(keys)])
        assert entry is not None
        version = self.server.versions[entry.key]
        if two % 6 == 0:
            self.forgiven.update({entry.content.hash} if entry.content is not None else ())
            self.server.accept(Change("writer", entry.key, version, entry, None))
        else:
            dirs = ["", *sorted(self.server.dirs)]
            after = entry._replace(parent=dirs[two % len(dirs)], name=NAMES[(one + two) % 4])
            self.server.accept(Change("writer", entry.key, version, entry, after))

    # What must hold in the end.

    def finish(self) -> None:
        accepted = self.server.accepted
        settle(self.server)
        for machine in self.machines:
            assert paths(machine.local) == paths(self.server.tree), machine.name
            assert_equal(machine.local, self.server.tree)
            assert_equal(machine.base, self.server.tree)
            assert_equal(machine.remote, self.server.tree)
            machine.touched.update((*machine.base, *machine.local, *machine.remote))
            made = machine.work()
            assert (made.steps, made.sends, made.agreed, made.waiting) == ([], [], [], {})
        assert_well_formed(self.server.tree)
        self._assert_nothing_lost()
        entries = len(self.server.tree) + len(self.server.versions)
        assert self.server.accepted - accepted <= 4 * entries * len(self.machines), "ping-pong"

    def _assert_nothing_lost(self) -> None:
        held = [
            entry.content.hash for key in self.server.tree if (entry := self.server.tree.get(key)) and entry.content
        ]
        assert self.written - self.forgiven <= set(held), "lost"
        # One machine's copy of a version; another may have brought back the same version as it was.
        copies = Counter(text for text in held if text.startswith("t"))
        assert max(copies.values(), default=0) <= len(self.machines), "too many copies of one version"


def _is_dir(tree: Tree, key: str) -> bool:
    entry = tree.get(key)
    return entry is not None and entry.kind is Kind.DIR


def assert_equal(one: Tree, other: Tree) -> None:
    assert set(one) == set(other)
    for key in one:
        entry = one.get(key)
        assert entry is not None
        assert entry.same(other.get(key)), f"{entry} is not {other.get(key)}"


def assert_well_formed(tree: Tree) -> None:
    for key in tree:
        entry = tree.get(key)
        assert entry is not None
        assert tree.path(key) is not None, f"{key} has no path"
        assert not entry.parent or _is_dir(tree, entry.parent), f"{key} is in no directory"
        assert tree.at(*entry.place) == (key,), f"two at {entry.place}"
        assert entry.parent or entry.name != ".ssyncd"


def run(machines: int, start: list[Action], actions: list[Action], seed: int | None = None) -> World:
    world = World(machines, seed)
    world.start(start)
    for action in actions:
        world.act(action)
    world.finish()
    return world
