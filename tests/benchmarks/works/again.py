"""Nothing new: programs that start again, do nothing, or meet what they have."""

import time
from pathlib import Path

from tests.benchmarks.processes import cost, family, wakeups
from tests.benchmarks.programs.base import Program
from tests.benchmarks.sizes import Size
from tests.benchmarks.trees import Arrival, difference, entries
from tests.benchmarks.works.base import Figures, Work, settle, took


def _stop_a(program: Program, size: Size) -> None:
    settle(program)
    program.stop_a()


def _restart(program: Program, size: Size) -> Figures:
    began = time.monotonic()
    program.start_a()
    figures = {"took s": took(program.in_sync, "it is in sync again", began)}
    return {**figures, "read bytes": _read(program.pids()["a"])}


def _read(pid: int) -> int:
    """Bytes that a program has read from files and sockets."""
    lines = [line for one in family(pid) for line in Path(f"/proc/{one}/io").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("rchar"))


def _idle(program: Program, size: Size) -> Figures:
    """A minute in which nothing happens, on the machine of folder A."""
    pid = family(program.pids()["a"])[-1]
    seconds = size.of(60)
    before, woken = cost(pid), wakeups(pid)
    time.sleep(seconds)
    after = cost(pid)
    used = round(100 * (after.cpu - before.cpu) / seconds, 2)
    return {"resident bytes": after.resident, "CPU %": used, "wake-ups": wakeups(pid) - woken}


def _settle_down(program: Program, size: Size) -> None:
    settle(program)
    # What a program puts off for a few seconds is not what it does, or has, when idle.
    time.sleep(5)


def _forget(program: Program, size: Size) -> None:
    settle(program)
    program.stop()
    program.forget()


def _meet(program: Program, size: Size) -> Figures:
    began = time.monotonic()
    program.start()
    return {"took s": took(program.in_sync, "both know that they are equal", began)}


def _join(program: Program, size: Size) -> Figures | None:
    began = time.monotonic()
    folder = program.join()
    if folder is None:
        return None
    arrival = Arrival(program.a, folder)
    figures = {"took s": took(arrival.here, "the third machine has everything", began)}
    settle(program)
    if path := difference(program.a, folder):
        raise RuntimeError(f"the third folder is not equal: {path}")
    return figures


def _database(program: Program, size: Size) -> Figures:
    return {"per entry bytes": round(program.database() / entries(program.a), 1)}


def restart(name: str, title: str) -> Work:
    return Work(name, title, _restart, _stop_a)


idle = Work("idle", "idle for a minute", _idle, _settle_down)
equal = Work("equal", "both folders equal already, nothing remembered", _meet, _forget)
join = Work("join", "a third machine joins late", _join, lambda program, _size: settle(program))
database = Work("database", "the database of machine A", _database, _settle_down)
