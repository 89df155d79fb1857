"""Real processes: started, waited for, ended, and what they cost by /proc."""

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

PATIENCE = 300.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """What a process has cost so far: seconds of CPU (user and system), largest and present resident set in bytes."""

    cpu: float
    peak: int
    resident: int

    def since(self, earlier: "Cost") -> "Cost":
        return Cost(round(self.cpu - earlier.cpu, 3), self.peak, self.resident)

    def value(self) -> dict[str, float]:
        return asdict(self)


def cost(pid: int) -> Cost:
    """Of a process and of the children it has waited for; not of children that still run."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    ticks = sum(int(fields[index]) for index in (11, 12, 13, 14))
    return Cost(ticks / _TICKS, _kilobytes(lines["VmHWM"]), _kilobytes(lines["VmRSS"]))


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    # Each thread has its own: whichever it was that forked.
    tasks = Path(f"/proc/{pid}/task").iterdir()
    children = [child for task in tasks for child in _children(task)]
    return [pid, *(one for child in children for one in family(int(child)))]


def _children(task: Path) -> list[str]:
    try:
        return (task / "children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):  # the thread has ended meanwhile
        return []


def wakeups(pid: int) -> int:
    """How often the threads of a process went from waiting to running."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        lines = (task / "status").read_text().splitlines()
        total += next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))
    return total


def until(true: Callable[[], bool], what: str, pause: float = 0.002, patience: float = PATIENCE) -> None:
    """Wait on a condition."""
    deadline = time.monotonic() + patience
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {patience} s until {what}")
        time.sleep(pause)


def end(process: "subprocess.Popen[str] | subprocess.Popen[bytes]") -> None:
    """Ask a process to end; it is killed if it does not."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _kilobytes(text: str) -> int:
    return int(text.split()[0]) * 1024
