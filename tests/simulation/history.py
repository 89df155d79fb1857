"""One history: a script drawn from a seed, run, and judged."""

import errno
import hashlib
import logging
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from random import Random

import pytest

from ssyncd.disk import look
from ssyncd.errors import UsageError
from ssyncd.folder import engine, local, versions
from tests.simulation import oracles
from tests.simulation.machine import Machine
from tests.simulation.operations import Users
from tests.simulation.server import Storage
from tests.simulation.world import Restless, World

Action = tuple[str, int, int, int]
NUMBERS = 1 << 12
LONGEST = 5.0
"""Seconds of processor time; a history takes hundredths."""
MOST_WORDS = 10
"""How often the users have to say so until nothing is held any more, at most."""

STEPS = {"hints": 6, "receive": 6, "work": 8, "serve": 5, "commit": 4, "pump": 1, "wait": 4, "all": 5}
"""What goes on by itself, and how often."""
FAULTS = {
    "ambush": 6,
    "strike": 6,
    "die": 4,
    "overflow": 1,
    "cut": 3,
    "late": 3,
    "kill": 2,
    "power": 2,
    "fail": 3,
    "server": 1,
    "forget": 1,
    "backup": 2,
    "restore": 2,
    "spoil": 6,
    "purge": 6,
    "approve": 4,
    "rule": 4,
}
"""What goes wrong, and how often where it may."""
KINDS = (
    (),
    (),
    ("ambush", "strike"),
    ("die",),
    ("die", "strike"),
    ("cut", "late", "server"),
    ("kill", "overflow"),
    ("power",),
    ("fail",),
    ("ambush", "cut", "kill", "overflow", "late"),
    ("ambush", "strike", "cut", "kill", "overflow", "late", "die", "fail", "server"),
    ("forget", "kill"),
    ("backup", "restore", "cut"),
    ("spoil", "cut", "late", "kill"),
)
"""Which faults come together in one history."""
PURGES = (("purge",), ("purge", "strike"), ("purge", "cut", "late"), ("purge", "kill", "overflow"), ("purge", "die"))
"""And in those where the server is told to forget."""
BESIDE = ((), ("ambush", "strike"), ("cut", "late"), ("kill", "overflow"), ("die",), ("power",))
HOLDS = tuple(("approve", *others) for others in BESIDE)
"""And where three deletions at once may wait for the user's word."""
RULES = tuple(("rule", *others) for others in (*BESIDE, ("approve",)))
"""And where users have files left out."""


@dataclass(frozen=True)
class Script:
    """`solo`: only the first machine has a user, so nothing may conflict and the end is what that user sees. `fat` as
    in World."""

    seed: int
    machines: int = 2
    solo: bool = False
    faults: tuple[str, ...] = ()
    actions: tuple[Action, ...] = ()
    fat: bool = False


@dataclass
class Result:
    script: Script
    failure: str = ""
    trees: str = ""
    details: str = ""
    trace: list[str] = field(default_factory=list)

    @property
    def digest(self) -> str:
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()


def draw(seed: int, kinds: tuple[tuple[str, ...], ...] = KINDS, long: bool = False) -> Script:
    """`long`: more happens, and to more machines."""
    random = Random(seed)
    faults = random.choice(kinds)
    machines = random.choice((2, 3, 3, 4) if long else (2, 2, 2, 3))
    actions: list[Action] = []
    steps = [*STEPS, *faults]
    weights = [*STEPS.values(), *(FAULTS[fault] for fault in faults)]
    users = random.choice((0.2, 0.4, 0.7))
    for _ in range(random.choice((120, 240) if long else (15, 30, 60))):
        numbers = random.randrange(machines), random.randrange(NUMBERS), random.randrange(NUMBERS)
        verb = "user" if random.random() < users else random.choices(steps, weights)[0]
        actions.append((verb if verb != "user" else f"user{random.randrange(16)}", *numbers))
    return Script(seed, machines, random.random() < 0.2, faults, tuple(actions))


class History:
    """`run` the script to its end, and judge."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.world = World(script.machines, script.seed, script.fat)
        self.users = Users()
        if "approve" in script.faults:
            self.world.hold(least=3)
        self.world.after_round = self._look_at
        self._verbs: dict[str, Callable[[Machine, int, int], object]] = {
            "hints": lambda machine, one, two: machine.watcher.deliver(1 + one % 4),
            "receive": lambda machine, one, two: machine.link.pump(1 + one % 3),
            "work": lambda machine, one, two: self.world.work(machine),
            "serve": lambda machine, one, two: machine.serve(),
            "commit": lambda machine, one, two: self.world.server.commit(),
            "pump": lambda machine, one, two: machine.pump(),
            "wait": self._wait,
            "all": self._all,
            "ambush": self._ambush,
            "strike": self._strike,
            "die": self._die,
            "overflow": lambda machine, one, two: machine.watcher.overflow(),
            "cut": lambda machine, one, two: machine.cut(half_open=two % 2 == 0),
            "late": lambda machine, one, two: machine.deliver_late(),
            "kill": lambda machine, one, two: self._restart(machine, machine.kill),
            "power": self._power,
            "fail": self._fail,
            "server": lambda machine, one, two: self.world.restart_server(),
            "forget": self._forget,
            "backup": self._backup,
            "restore": self._restore,
            "spoil": self._spoil,
            "purge": self._purge,
            "approve": lambda machine, one, two: machine.approve(),
            "rule": self._rule,
        }
        self._saved: Storage | None = None
        self.restored = False

    def run(self) -> None:
        for verb, who, one, two in self.script.actions:
            machine = self.world.machines[who % len(self.world.machines)]
            self.act(verb, machine, one, two)
        self.judge()

    def act(self, verb: str, machine: Machine, one: int, two: int) -> None:
        if verb.startswith("user"):
            machine = self.world.machines[0] if self.script.solo else machine
            self.users.verbs[int(verb[4:])](machine, one, two)
        else:
            self._verbs[verb](machine, one, two)

    def _wait(self, _: Machine, one: int, two: int) -> None:
        self.world.time.now += (0.001, 0.003, 0.02, 0.2, 2.0)[one % 5]

    def _all(self, machine: Machine, one: int, two: int) -> None:
        """One machine, or all, for some rounds."""
        for _ in range(1 + one % 5):
            for each in self.world.machines if two % 3 == 0 else [machine]:
                self.world.go_on(each)
            self.world.time.now += 0.001

    # What goes wrong

    def _ambush(self, machine: Machine, one: int, two: int) -> None:
        """The user acts between two calls of ours that are to come."""
        if not self.script.solo or machine is self.world.machines[0]:
            verb = self.users.verbs[two % len(self.users.verbs)]
            machine.ambush = one % 40, lambda: verb(machine, one // 40, two // 16)

    def _strike(self, machine: Machine, one: int, two: int) -> None:
        """The user acts on just what we are about to touch."""
        if not self.script.solo or machine is self.world.machines[0]:
            machine.strike = one % 16, one // 16 % 2 == 0, lambda path: self.users.hit(machine, path, two)

    def _die(self, machine: Machine, one: int, two: int) -> None:
        """The process, or the whole machine, ends in the middle of something."""
        machine.dying = (
            one % 40,
            (lambda: self._power(machine, one // 40, two // 2) if two % 2 else self._restart(machine, machine.kill)),
        )

    def _fail(self, machine: Machine, one: int, two: int) -> None:
        machine.failing = one % 40, (errno.EIO, errno.ENOSPC)[two % 2]

    def _restart(self, machine: Machine, end: Callable[[], None]) -> None:
        end()
        machine.start()

    def _power(self, machine: Machine, one: int, two: int) -> None:
        ledger = self.users.ledger
        before = ledger.tokens(machine.user.tree())
        self._restart(machine, lambda: machine.lose_power(one % (machine.disk.unsynced + 1), two % 2 == 0))
        others = (ledger.tokens(other.user.tree()) for other in self.world.machines if other is not machine)
        ledger.forgiven |= before.difference(ledger.tokens(machine.user.tree()), *others)
        ledger.contents.update(value for value in machine.user.tree().values() if isinstance(value, bytes))

    def _forget(self, machine: Machine, one: int, two: int) -> None:
        """The state database is gone."""
        machine.kill()
        machine.forget()

    def _backup(self, machine: Machine, one: int, two: int) -> None:
        self._saved = self.world.server.storage.copy()

    def _restore(self, machine: Machine, one: int, two: int) -> None:
        if self._saved is not None:
            self.restored = True
            self.world.restart_server(self._saved.copy())

    def _spoil(self, machine: Machine, one: int, two: int) -> None:
        """The server loses a chunk, or a bit of it."""
        stored = self.world.stored
        if stored:
            id = sorted(stored)[one % len(stored)]
            sealed = stored.pop(id)
            if two % 2:
                stored[id] = bytes([*sealed[:-1], sealed[-1] ^ 1])

    def _purge(self, machine: Machine, one: int, two: int) -> None:
        """The server forgets what a machine that is in sync, as it may be soon, does not need any more."""
        for _ in range(one % 16):
            self.world.go_on(machine)
        with suppress(UsageError):
            server = self.world.server
            before = versions._replaced_in(machine.engine, "", server.removed())
            server.storage.forget_history(server.bucket, before)

    def _rule(self, machine: Machine, one: int, two: int) -> None:
        if not self.script.solo or machine is self.world.machines[0]:
            self.users.rule(machine, one, two)

    def _look_at(self, machine: Machine) -> None:
        oracles.nothing_is_partial(machine, self.users.ledger)
        oracles.is_well_formed(machine)

    def judge(self) -> None:
        world, ledger = self.world, self.users.ledger
        for machine in world.machines:
            machine.ambush = machine.strike = machine.failing = machine.dying = None
        self.left = world.machines[0].tree()
        if "rule" in self.script.faults:
            self._judge_rules()
        self._settle()
        oracles.trees_are_equal(world)
        oracles.nothing_is_lost(world, ledger)
        # A power cut is like another user: it writes, deletes and takes back. And what a machine had just put in place when it
        # died is new to it afterwards, and comes back if it was deleted meanwhile.
        alone = (
            self.script.solo and not self.restored and not {"forget", "power", "die", "rule"} & set(self.script.faults)
        )
        if alone:
            oracles.is_what_the_user_left(world.machines[0], self.left)
        for machine in world.machines:
            oracles.knows_its_disk(machine)
        oracles.stays_quiet(world)
        oracles.a_restart_changes_nothing(world)
        oracles.a_fresh_machine_agrees(world)
        if alone:
            oracles.no_conflict(world)
        if not self.restored and not {"forget", "kill", "power", "die", "rule"} & set(self.script.faults):
            oracles.one_copy_each(world, ledger)

    def _judge_rules(self) -> None:
        """And end them."""
        try:
            self._settle()
        except Restless:
            # What cannot be done is tried again and again.
            if not any(oracles.is_blocked(machine) for machine in self.world.machines):
                raise
        else:
            oracles.sees_all_but_what_is_left_out(self.world)
            oracles.stays_quiet(self.world)
            oracles.a_restart_changes_nothing(self.world)
        for machine in self.world.machines:
            self.users.end_rules(machine)

    def _settle(self) -> None:
        """Whatever waits for a user's word gets it."""
        self.world.settle()
        for _ in range(MOST_WORDS):
            held = [machine for machine in self.world.machines if machine.engine.holds.tell()]
            for machine in held:
                machine.approve()
            if not held:
                return
            self.world.settle()
        raise Restless("something is held again and again")


@contextmanager
def small_steps(seed: int) -> Iterator[None]:
    """Looks, reading and plans take steps so small that anything may happen between two of them."""
    random = Random(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(look, "SLICE", random.choice((1, 1, 2, 3)))
        patch.setattr(local, "AHEAD", random.choice((1, 1, 2)))
        patch.setattr(local, "SLICE", random.choice((1, 2)))
        patch.setattr(engine, "BATCH", random.choice((1, 2, 5)))
        yield


def run(script: Script) -> Result:
    """Never raises for what the code under test does."""
    logging.disable()  # what the engine says of all that goes wrong here is of no interest
    history = History(script)
    result = Result(script)
    try:
        with _time_limit():
            history.run()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        result.failure = f"{type(error).__name__}: {error}"
        result.details = traceback.format_exc()
    result.trees = oracles.show(history.world)
    result.trace = [line for machine in history.world.machines for line in (*machine.trace, repr(machine.tree()))]
    history.world.close()
    logging.disable(logging.NOTSET)
    return result


class Hangs(Exception):
    """A loop without end."""


@contextmanager
def _time_limit() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise Hangs(f"more than {LONGEST} s of work")

    before = signal.signal(signal.SIGVTALRM, ring)
    signal.setitimer(signal.ITIMER_VIRTUAL, LONGEST)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
