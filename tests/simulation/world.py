"""A world: machines, one server, one clock. A script of small numbers is all that happens in it, so that it can be replayed.

An action is (verb, machine, one, two); what it acts on is chosen by the numbers from what is there at that moment.
"""

import asyncio
from collections.abc import Callable

from tests.simulation.machine import Machine, Time
from tests.simulation.server import Server, Storage

_loop = asyncio.new_event_loop()
REST = 1500
"""Rounds after which a world that does not come to rest never will."""


class Restless(AssertionError):
    """It never comes to rest."""


class World:
    """The disk of the second machine is one like FAT, if so wanted."""

    def __init__(self, machines: int, seed: int = 0, fat: bool = False) -> None:
        self.time = Time(seed)
        self.server = Server(_loop, lambda: self.time.wall() / 1e9)
        self.stored: dict[bytes, bytes] = {}
        self.seed = seed
        self.machines = [Machine(f"m{n}", self.server, self.stored, self.time, seed) for n in range(machines)]
        if fat:
            self.machines[1].disk.like_fat()
            self.machines[1].start()
        # With FAT it takes seconds until what was just written is known for certain, with some rounds for nothing meanwhile.
        self._tick = 0.02 if fat else 0.001
        self.after_round: Callable[[Machine], None] = lambda _: None

    def hold(self, least: int) -> None:
        """From now on so many deletions may be too many."""
        for machine in self.machines:
            machine.hold_least = least
            machine.stop()
            machine.start()

    def close(self) -> None:
        self.server.close()
        for machine in self.machines:
            machine.database.close()

    # What goes on by itself

    def work(self, machine: Machine) -> bool:
        did = machine.work()
        self.after_round(machine)
        return did

    def go_on(self, machine: Machine) -> bool:
        """Everything that is due for one machine, once."""
        did = machine.watcher.deliver() > 0
        did |= machine.link.pump()
        did |= self.work(machine)
        did |= machine.pump()
        did |= machine.serve()
        if self.server.waiting:
            self.server.commit()
            did = True
        return did

    def settle(self) -> None:
        """Time goes on until nothing is to be done any more."""
        for _ in range(REST):
            if sum(self.go_on(machine) for machine in self.machines):
                self.time.now += self._tick
                continue
            due = [machine.due for machine in self.machines if machine.due is not None]
            if not due:
                return
            self.time.now = max(self.time.now + 0.001, min(due))
        raise Restless("it never comes to rest")

    def restart_server(self, storage: Storage | None = None) -> None:
        self.server.restart(storage)
        for machine in self.machines:
            machine.cut()

    def add_machine(self) -> Machine:
        machine = Machine(f"m{len(self.machines)}", self.server, self.stored, self.time, self.seed)
        self.machines.append(machine)
        return machine
