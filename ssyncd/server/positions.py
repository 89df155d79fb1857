"""Change versions (cv): the text that stands for a position in the log of a bucket.

A cv is 28 hex digits: the nonce of the run that wrote the position (8), the bucket's number (8), the position (12). A database
restored from a backup goes on at positions it once gave to other changes; since that is another run, the cvs of the lost future
stay unknown. So do those of a bucket that was removed and made again, which has another number.
"""

import bisect
from collections.abc import Sequence

NONCE_BYTES = 4
_LENGTH = 28


class Positions:
    """Immutable; `runs` are (first position, nonce of 8 hex digits), sorted, the first at position 0."""

    def __init__(self, runs: Sequence[tuple[int, str]]) -> None:
        self._firsts = [first for first, _ in runs]
        self._nonces = [nonce for _, nonce in runs]

    def text(self, bucket: int, position: int) -> str:
        """The cv of a position, for ever the same."""
        nonce = self._nonces[bisect.bisect_right(self._firsts, position) - 1]
        return f"{nonce}{bucket:08x}{position:012x}"

    def parse(self, bucket: int, cv: str) -> int | None:
        """The position of a cv; None if it is none of this bucket. It may lie beyond the end of the log."""
        if len(cv) != _LENGTH or not cv.isascii():
            return None
        try:
            position = int(cv[16:], 16)
        except ValueError:
            return None
        return position if position >= 0 and self.text(bucket, position) == cv else None
