"""A server and machines in miniature: enough to see what the planner leads to when everything around it happens in any order.

A machine's local tree is its disk, and it refuses what a disk refuses. The server merges member by member, the last writer
wins, and a delete of an old version is refused (design section 4, "A write that overtakes").
"""

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from ssyncd.planner.names import conflict_name
from ssyncd.planner.plan import (
    Conflict,
    Make,
    Move,
    Park,
    Plan,
    Rekey,
    Remove,
    Replace,
    Send,
    SendDelete,
    SetExec,
    Step,
)
from ssyncd.planner.planner import plan
from ssyncd.planner.reconcile import base_after
from ssyncd.planner.structure import Placed, Trees
from ssyncd.planner.tree import Content, Entry, Kind, Tree, birth_key
from tests.planner.shuffling import shuffled


class Refused(Exception):
    """A step that a disk would not do."""


@dataclass(frozen=True)
class Change:
    by: str
    key: str
    version: int
    before: Entry | None
    after: Entry | None


@dataclass(frozen=True)
class Event:
    change: Change
    accepted: bool
    order: int
    version: int
    entry: Entry | None


class Server:
    def __init__(self) -> None:
        self.tree = Tree()
        self.versions: dict[str, int] = {}
        self.machines: list[Machine] = []
        self.accepted = 0
        self.dirs: set[str] = set()

    def accept(self, change: Change) -> None:
        key = change.key
        now, version = self.tree.get(key), self.versions.get(key, 0)
        if now is None and (change.after is None or change.before is not None):
            self._tell(Event(change, False, 0, version, None), change.by)
        elif change.after is None and change.version != version:
            self._tell(Event(change, False, 0, version, now), change.by)
        else:
            self.accepted += 1
            self.versions[key] = version + 1
            if change.after is None:
                self.tree.remove(key)
            else:
                self.tree.put(merge_members(now, change.before, change.after))
                if change.after.kind is Kind.DIR:
                    self.dirs.add(key)
            self._tell(Event(change, True, self.accepted, version + 1, self.tree.get(key)))

    def _tell(self, event: Event, only: str | None = None) -> None:
        for machine in self.machines:
            if only in (None, machine.name):
                machine.mail.append(event)


def merge_members(now: Entry | None, before: Entry | None, after: Entry) -> Entry:
    if now is None or before is None:
        return after
    if not before.same_content(after):
        now = now._replace(content=after.content, target=after.target)
    for member in ("parent", "name", "exec"):
        if getattr(before, member) != getattr(after, member):
            now = now._replace(**{member: getattr(after, member)})
    return now


class Machine:
    """One machine's engine in miniature: three trees, what is on its way, what has to be looked at."""

    def __init__(self, name: str, server: Server, fail: Random | None = None) -> None:
        self.name = name
        self.server = server
        self.base, self.local, self.remote = Tree(), Tree(), Tree()
        self.versions: dict[str, int] = {}
        self.placed: dict[str, Placed] = {}
        self.tombs: dict[str, Entry] = {}
        self.mail: list[Event] = []
        self.outbox: list[Change] = []
        self.flying: dict[str, Change] = {}
        self.pending: dict[str, Send | SendDelete] = {}
        self.touched: set[str] = set()
        self.unread: dict[str, Content] = {}
        self.aside: dict[str, Entry] = {}
        self.steps_done = 0
        self.fail: Random | None = fail
        self.order: Random | None = None
        self._keys = 0
        server.machines.append(self)

    def trees(self) -> Trees:
        return Trees(self.base, self.local, self.remote, lambda key: self.placed[key], self.tombs.get)

    # The local side.

    def holds(self, key: str) -> Content | None:
        entry = self.local.get(key)
        return self.unread.get(key) or (entry.content if entry is not None else None)

    def free_key(self, parent: str, name: str, kind: Kind) -> str:
        for tree in (self.remote, self.base):
            for key in tree.at(parent, name):
                entry = tree.get(key)
                if entry is not None and entry.kind is kind and key not in self.local and key not in self.aside:
                    return key
        key = birth_key(parent, name, kind)
        if any(key in tree for tree in (self.local, self.remote, self.base, self.aside)):
            self._keys += 1
            key = birth_key(self.name, str(self._keys), kind)
        return key

    def local_put(self, entry: Entry) -> None:
        before = self.local.get(entry.key)
        self.local.put(entry)
        self.touched.add(entry.key)
        if before is None or before.place != entry.place:
            self.touch_around(entry.key, before, entry)

    def local_remove(self, key: str) -> None:
        entry = self.local.get(key)
        self.unread.pop(key, None)
        self.local.remove(key)
        self.touched.add(key)
        self.touch_around(key, entry)

    def touch_around(self, key: str, *entries: Entry | None) -> None:
        for tree in (self.local, self.remote):
            self.touched.update(tree.children(key))
            for entry in entries:
                if entry is not None:
                    self.touched.add(entry.parent)
                    self.touched.update(tree.at(*entry.place))
        self.touched.discard("")

    def read(self) -> bool:
        """Read every file that was written: only then the planner knows what it holds."""
        found = bool(self.unread)
        for key, content in self.unread.items():
            entry = self.local.get(key)
            assert entry is not None
            self.local.put(entry._replace(content=content))
            self.touched.add(key)
        self.unread.clear()
        return found

    # Working.

    def work(self) -> Plan:
        touched, self.touched = self.touched, set()
        made = plan(self.trees(), touched, self.flying.keys(), self.name)
        if any(isinstance(step, Rekey) for step in made.steps):
            self.touched |= touched
        self.touched.update(key for key in made.waiting)
        for key in touched:
            self.pending.pop(key, None)
        for send in made.sends:
            self.pending[send.key] = send
        for key in made.agreed:
            self._agree(key)
        self._carry_out(made.steps)
        return made

    def _agree(self, key: str) -> None:
        remote = self.remote.get(key)
        if remote is None:
            self.base.remove(key)
        else:
            self.base.put(remote)
            self.local.put(remote)

    def _carry_out(self, steps: Iterable[Step]) -> None:
        """Like the engine: what fails is touched, the rest goes on. Without a failure of ours, no step may be refused, in any
        order in which none is in another's way."""
        failed = False
        ordered = list(steps) if self.order is None else shuffled(list(steps), self.local, self.order)
        for step in ordered:
            key = step.key
            self.steps_done += 1
            try:
                if self.fail is not None and self.fail.random() < 0.15:
                    failed = True
                    raise Refused("bad luck")
                self._do(step)
            except Refused:
                if not failed:
                    raise
                self.touched.add(key)
        for key, entry in list(self.aside.items()):
            assert failed, "left aside"
            self._put_back(key, entry)

    def _put_back(self, key: str, entry: Entry) -> None:
        del self.aside[key]
        parent = entry.parent if self._reachable(entry.parent) and not self._below(entry.parent, key) else ""
        name = entry.name
        while self.local.at(parent, name):
            name += "'"
        self.local_put(self._now(key, entry)._replace(parent=parent, name=name))

    def _now(self, key: str, entry: Entry) -> Entry:
        return entry._replace(content=None) if key in self.unread else entry

    def _do(self, step: Step) -> None:
        key = step.key
        before = self.local.get(key) or self.aside.get(key)
        self._try(step)
        if not isinstance(step, Park | Rekey):
            self._based(key, before)

    def _try(self, step: Step) -> None:
        match step:
            case Make(entry):
                self._need(entry.key not in self.local and entry.key not in self.aside, "it is here already")
                self._need_free(entry.parent, entry.name)
                self.local_put(entry)
            case Replace(entry):
                self._replace(entry)
            case Conflict(entry, copy):
                ours = self._mine(entry.key)
                self._need_free(ours.parent, copy)
                self.local_put(ours._replace(key=self.free_key(ours.parent, copy, ours.kind), name=copy))
                if self.fail is not None and self.fail.random() < 0.3:
                    self.touched.add(entry.key)
                    return
                self._replace(entry)
            case Move(key, parent, name):
                self._move(key, parent, name)
            case Park(key):
                self.aside[key] = self._mine(key)
                self.local.remove(key)
            case SetExec(key, exec):
                self.local_put(self._mine(key)._replace(exec=exec))
            case Remove(key):
                self._mine(key)
                self._need(not self.local.children(key), "it is not empty")
                self._need(key not in self.unread, "it was written")
                self.local_remove(key)
            case Rekey(old, new):
                self._need(self.local.get(new) is None, "the key is taken")
                self.local.rekey(old, new)
                if old in self.unread:
                    self.unread[new] = self.unread.pop(old)
                self.touched.update((old, new, *self.local.children(new)))

    def _need(self, fine: bool, reason: str) -> None:
        if not fine:
            raise Refused(reason)

    def _reachable(self, key: str) -> bool:
        if not key:
            return True
        entry = self.local.get(key)
        return entry is not None and entry.kind is Kind.DIR and self.local.path(key) is not None

    def _below(self, key: str, ancestor: str) -> bool:
        while key:
            if key == ancestor:
                return True
            entry = self.local.get(key) or self.aside.get(key)
            key = entry.parent if entry is not None else ""
        return False

    def _need_free(self, parent: str, name: str) -> None:
        self._need(self._reachable(parent), "no such directory")
        self._need(not self.local.at(parent, name), "something is there")
        self._need(name not in ("", ".", "..") and (parent != "" or name != ".ssyncd"), "no such name")

    def _mine(self, key: str) -> Entry:
        entry = self.local.get(key)
        if entry is None or self.local.path(key) is None:
            raise Refused("it is not here")
        return entry

    def _replace(self, entry: Entry) -> None:
        ours = self._mine(entry.key)
        self._need(ours.place == entry.place and ours.kind is entry.kind, "it is something else")
        self._need(entry.key not in self.unread, "it was written")
        self.local_put(entry)

    def _move(self, key: str, parent: str, name: str) -> None:
        entry = self.aside.get(key) or self._mine(key)
        self._need_free(parent, name)
        self._need(not self._below(parent, key), "a directory into itself")
        self.aside.pop(key, None)
        self.local_put(self._now(key, entry)._replace(parent=parent, name=name))

    def _based(self, key: str, before: Entry | None) -> None:
        after = base_after(self.base.get(key), before, self.local.get(key), self.remote.get(key))
        if after is None:
            self.base.remove(key)
        else:
            self.base.put(after)

    # The server's side.

    def flush(self, count: int = 1 << 30, repairs: bool = True) -> int:
        """Send some of what is pending, parents before children, deletions of what is inside first.

        Not what was touched since it was planned: a deletion must not take with it what has just come.
        """
        sent = 0
        for key, send in list(self.pending.items()):
            if (
                sent >= count
                or key in self.flying
                or key in self.touched
                or (send.repair and not repairs)
                or not self._in_order(send)
            ):
                continue
            del self.pending[key]
            sent += self._send(key, send.entry if isinstance(send, Send) else None)
        return sent

    def _in_order(self, send: Send | SendDelete) -> bool:
        if isinstance(send, SendDelete):
            # Hostile directories inside each other cannot wait for each other.
            above, at = set[str](), self.remote.get(send.key)
            while at is not None and at.key not in above:
                above.add(at.key)
                at = self.remote.get(at.parent)
            return all(child in self.flying or child in above for child in self.remote.children(send.key))
        parent = send.entry.parent
        return not parent or parent in self.flying or (parent in self.remote and parent not in self.pending)

    def _send(self, key: str, after: Entry | None) -> bool:
        before = self.remote.get(key)
        if (before is None and after is None) or (before is not None and before.same(after)):
            return False
        change = Change(self.name, key, self.versions.get(key, 0), before, after)
        self.flying[key] = change
        self.outbox.append(change)
        return True

    def deliver(self, count: int = 1 << 30) -> bool:
        sent, self.outbox = self.outbox[:count], self.outbox[count:]
        for change in sent:
            self.server.accept(change)
        return bool(sent)

    def receive(self, count: int = 1 << 30) -> bool:
        got, self.mail = self.mail[:count], self.mail[count:]
        for event in got:
            self._take(event)
        return bool(got)

    def _take(self, event: Event) -> None:
        key, change = event.change.key, event.change
        mine = self.flying.get(key) is change
        if mine:
            del self.flying[key]
        self.touched.add(key)
        if not event.accepted:
            return
        before, after = self.remote.get(key), event.entry
        old_version, self.versions[key] = self.versions.get(key, 0), event.version
        if after is None:
            self.remote.remove(key)
            if before is not None:
                self.tombs[key] = before
        else:
            self.remote.put(after)
        if before is None or after is None or before.place != after.place:
            self.placed[key] = Placed(event.order, change.by == self.name)
            self.touch_around(key, before, after)
        if mine:
            self._acknowledged(change, old_version, before, after)

    def _acknowledged(self, change: Change, old_version: int, before: Entry | None, after: Entry | None) -> None:
        base = self.base.get(change.key)
        if before is not None and old_version > change.version and before.kind is not Kind.DIR:
            lost = after is None or not after.same_content(before)
            if lost and not (base is not None and base.same_content(before)):
                self._keep_overtaken(before)
        if after is None:
            self.base.remove(change.key)
        elif base is None or before is None:
            self.base.put(after)
        else:
            self.base.put(merge_members(base, before, after))

    def _keep_overtaken(self, theirs: Entry) -> None:
        parent = theirs.parent if self._reachable(theirs.parent) else ""
        when, by = (theirs.content.mtime, theirs.content.by) if theirs.content is not None else (None, self.name)
        name = conflict_name(theirs.name, when, by, lambda name: bool(self.local.at(parent, name)))
        self.local_put(theirs._replace(key=self.free_key(parent, name, theirs.kind), parent=parent, name=name))

    def crash(self) -> None:
        """What is on its way to the server is lost, and what we know of it; the trees and what the server has said stay."""
        lost = {change.key for change in self.outbox}
        self.outbox.clear()
        self.pending.clear()
        for key in lost:
            self.flying.pop(key, None)
        self.touched.update((*self.base, *self.local, *self.remote))


def settle(server: Server, bound: int = 80) -> None:
    """Everything comes to rest: nothing to read, to send, to hear or to do."""
    for machine in server.machines:
        machine.fail = None
    for _ in range(bound):
        busy = False
        for machine in server.machines:
            busy |= machine.read() | machine.deliver() | machine.receive()
            before = machine.touched
            if before:
                made = machine.work()
                busy |= bool(made.steps or made.agreed or before - made.waiting.keys())
            busy |= machine.flush(repairs=False) > 0
        if not busy and not sum(machine.flush() for machine in server.machines):
            return
    raise AssertionError("it does not come to rest")
