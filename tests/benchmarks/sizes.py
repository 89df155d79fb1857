"""How much of everything a run takes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """The works' own numbers, divided by `part`."""

    part: int = 1

    def of(self, number: int) -> int:
        return max(1, number // self.part)
