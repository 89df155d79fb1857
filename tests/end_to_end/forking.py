"""python -m tests.end_to_end.forking: a process that has imported all of ssyncd and forks a `ssyncd` process for every order.

So a daemon starts in a few milliseconds, and an order may arm a fault in it before its first call. Orders come as lines of JSON;
`children.Nursery` gives them. Everything about faults in the process itself is here.
"""

import ctypes
import gc
import importlib
import json
import os
import signal
import sqlite3
import sys
from typing import Any

from tests.end_to_end import careless

MODULES = (
    "daemon",
    "folder",
    "control",
    "installation",
    "notify",
    "progress",
    "server.app",
    "commands.serving",
    "oneshot",
)
STATEMENT = "statement"
"""The kind of fault that is not a call of the C library."""


_PARENT_DEATH_SIGNAL = 1


def main() -> None:
    from ssyncd import cli

    for name in MODULES:
        importlib.import_module(f"ssyncd.{name}")
    for name in (
        "platformdirs",
        "urllib3",
        "websocket",
        "watchdog.observers.inotify_c",
        "blake3",
        "pyfastcdc",
        "zstandard",
    ):
        importlib.import_module(name)
    gc.freeze()
    while line := sys.stdin.buffer.readline():
        order = json.loads(line)
        if "wait" in order:
            _answer(os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1]))
            continue
        child = os.fork()
        if child == 0:
            _become(order)
            sys.exit(cli.main(order["arguments"]))
        _answer(child)


def _answer(number: int) -> None:
    os.write(1, f"{number}\n".encode())


def _become(order: dict[str, Any]) -> None:
    """What a process started by a shell would be."""
    nothing, log = os.open(os.devnull, os.O_RDONLY), os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for handle, number in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(handle, number)
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["directory"])
    # Nobody is left when we are ended, however that is.
    ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if order["careless"]:
        getattr(careless, order["careless"])()
    if order["record"]:
        record = os.open(order["record"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        ctypes.CDLL(None).record_arm(order["root"].encode(), record)
    if order["kind"] == STATEMENT:
        _arm_statements(order["number"], order["report"])
    elif order["kind"]:
        _arm_calls(order)


def _arm_calls(order: dict[str, Any]) -> None:
    report = os.open(order["report"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    kind, root = order["kind"].encode(), order["root"].encode()
    ctypes.CDLL(None).fail_arm(kind, ctypes.c_long(order["number"]), order["error"], root, report)


def _arm_statements(number: int, report: str) -> None:
    left = number

    class Failing(sqlite3.Connection):
        def execute(self, sql: str, *more: Any) -> Any:
            count(sql)
            return super().execute(sql, *more)

        def executemany(self, sql: str, *more: Any) -> Any:
            count(sql)
            return super().executemany(sql, *more)

        def executescript(self, sql: str) -> Any:
            count(sql)
            return super().executescript(sql)

    def count(sql: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            with open(report, "a") as file:
                print("statement", " ".join(sql.split()), file=file)
            raise sqlite3.OperationalError("database or disk is full" if number % 2 else "disk I/O error")

    connect = sqlite3.connect
    sqlite3.connect = lambda *arguments, **options: connect(*arguments, **options, factory=Failing)  # type: ignore[assignment]


if __name__ == "__main__":
    main()
