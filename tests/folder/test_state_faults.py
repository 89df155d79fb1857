"""The first, second, third, ... statement of the state database fails while a machine works, until none is left to fail."""

import sqlite3
from typing import Any

import pytest

from tests.simulation.world import World


class Failing:
    """A connection whose so-manyth statement fails; with `twice` the rollback that follows fails, too."""

    def __init__(self, connection: sqlite3.Connection, number: int, twice: bool) -> None:
        self._connection = connection
        self._left = number
        self._twice = twice
        self.struck = ""

    def execute(self, sql: str, *more: Any) -> Any:
        self._count(sql)
        return self._connection.execute(sql, *more)

    def executemany(self, sql: str, *more: Any) -> Any:
        self._count(sql)
        return self._connection.executemany(sql, *more)

    def _count(self, sql: str) -> None:
        rollback = sql == "ROLLBACK"
        if rollback and self._left == 0 and self._twice:
            self._twice = False
            raise sqlite3.OperationalError("disk I/O error")
        self._left -= not rollback
        if self._left == 0 and not rollback:
            self.struck = sql
            raise sqlite3.OperationalError("database or disk is full")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def work(world: World) -> None:
    """Something of every kind, on both machines."""
    one, two = world.machines
    one.user.write("edited", b"by one")
    one.user.rename("moved", "d/moved")
    two.user.delete("gone")
    two.user.write("d/new", b"by two")
    two.user.write("large", b"by two" * 20_000)
    world.settle()
    one.user.delete("d/moved")
    two.user.rename("edited", "renamed")
    world.settle()


EXPECTED = {"d": None, "d/new": b"by two", "large": b"by two" * 20_000, "renamed": b"by one", "stays": b"stays"}


@pytest.mark.slow
@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("restart", [False, True])
def test_a_statement_that_fails_is_made_up_for(restart: bool, twice: bool) -> None:
    number, struck = 0, "none yet"
    while struck:
        number += 1
        world = World(2)
        one = world.machines[0]
        for name in ("edited", "moved", "gone", "stays"):
            one.user.write(name, name.encode())
        one.user.make_dir("d")
        world.settle()
        whole = one.database._db
        failing: Any = Failing(whole, number, twice)
        one.database._db = failing
        work(world)
        struck = failing.struck
        one.database._db = whole
        if restart:
            one.kill()
            whole.rollback()  # as the end of a process does
            one.start()
            world.settle()
        trees = [machine.user.tree() for machine in world.machines]
        assert trees[0] == trees[1] == EXPECTED, f"statement {number}: {struck}"
        world.close()
    assert number > 20
