"""System calls of a running process that fail: `strace` is attached to it and injects an error into the n-th call of a kind."""

import functools
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.end_to_end.machine import until

STRACE = shutil.which("strace")


@dataclass
class Injection:
    """`hits`: how many calls failed by our doing; known after the end."""

    hits: int = 0


@contextmanager
def failing(pid: int, call: str, error: str, number: int) -> Iterator[Injection]:
    """Of each thread of the process, the number-th call of that kind from now on fails with this error; until the end."""
    injection = Injection()
    inject = f"inject={call}:error={error}:when={number}"
    with tempfile.TemporaryDirectory() as directory:
        log, said = Path(directory) / "log", Path(directory) / "said"
        command = [str(STRACE), "-f", "-p", str(pid), "-o", str(log), "-e", f"trace={call}", "-e", inject]
        with said.open("wb") as out:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            until(lambda: b"attached" in said.read_bytes() or process.poll() is not None, "strace is attached")
            assert process.poll() is None, said.read_text()
            yield injection
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(20)
            injection.hits = log.read_text(errors="replace").count("(INJECTED)")


@functools.cache
def reason_not_to() -> str:
    """Why system calls cannot be made to fail here; "" if they can."""
    if STRACE is None:
        return "strace is not installed"
    victim = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with failing(victim.pid, "read", "EIO", 1000):
            return ""
    except AssertionError as error:
        return f"strace cannot attach to a process here: {error}"
    finally:
        assert victim.stdin is not None
        victim.stdin.close()
        victim.kill()
        victim.wait()
