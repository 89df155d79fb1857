"""The shortest script that still fails: actions are dropped, in ever smaller pieces."""

from collections.abc import Callable
from dataclasses import replace

from tests.simulation.history import Script


def shrink(script: Script, fails: Callable[[Script], bool], most: int = 3000) -> Script:
    size, runs = max(1, len(script.actions) // 2), 0
    while True:
        at, dropped = 0, False
        while at < len(script.actions) and runs < most:
            shorter = replace(script, actions=script.actions[:at] + script.actions[at + size :])
            runs += 1
            if fails(shorter):
                script, dropped = shorter, True
            else:
                at += size
        if size == 1 and (not dropped or runs >= most):
            return script
        size = max(1, size // 2)
