"""When a heartbeat is due on a connection, and when its peer counts as gone. No clock of its own: every time is handed in."""

from msgspec import Struct


class Pace(Struct, frozen=True):
    """Seconds, and one size in bytes.

    A heartbeat goes out after `beat` without a word from either side, `probe` after a word of ours that nothing has come after,
    and in doubt at once, if the one before is `probe` ago. The peer is dropped after `silence` without a word, or `answer` after
    a word of ours, heartbeat or not, if nothing at all has come since and nothing of what we said has got through. A dial takes
    `connect` at most; the first retry comes after `first_retry`, each later one after twice as long up to `last_retry`, shortened
    by chance by up to a half; a connection that stood for `settled`, or was `proved`, starts anew.
    """

    beat: float = 20.0
    probe: float = 4.0
    answer: float = 12.0
    silence: float = 60.0
    connect: float = 10.0
    first_retry: float = 0.5
    last_retry: float = 30.0
    settled: float = 10.0
    max_message: int = 8 * 1024 * 1024


class Vigil:
    """Of one connection. The reading thread calls `listening` and `delivering`, any `doubt`, the writing one everything else."""

    def __init__(self, pace: Pace, now: float) -> None:
        self._pace = pace
        # When something last came, went out, was sent as a heartbeat, was seen to be on its way; since when an answer is waited
        # for, if after `_heard`.
        self._heard = self._sent = self._beat = self._alive = self._asked = now
        self._delivering = True
        self._doubted = False

    def listening(self, now: float) -> None:
        """Silence counts from where listening starts again."""
        self._heard = now
        self._delivering = False

    def delivering(self, now: float) -> None:
        """Something came. While the owner does not let us read, nobody can say that the peer is silent."""
        self._heard = now
        self._delivering = True

    def doubt(self) -> None:
        """Something has happened that may have ended it."""
        self._doubted = True

    def said(self, now: float) -> None:
        """Something that will be answered is about to go out."""
        if self._asked <= self._heard:
            self._asked = now

    def beats(self, now: float) -> None:
        """A heartbeat is about to go out."""
        self.said(now)
        self._beat = now
        self._doubted = False

    def sent(self, now: float) -> None:
        """Some bytes went out."""
        self._sent = now

    def alive(self, now: float) -> None:
        """There are signs of life: some of what was said got through, or an answer is there and not read yet."""
        self._alive = now

    def silence(self, now: float) -> float:
        """Since when nothing has come."""
        return now - self._heard

    def times(self, now: float) -> tuple[float, float]:
        """When the next heartbeat is due, and when the peer counts as gone."""
        pace, heard = self._pace, now if self._delivering else self._heard
        beat = max(self._beat, min(heard, self._sent)) + pace.beat
        if self._doubted:
            beat = min(beat, self._beat + pace.probe)
        gone = max(heard, self._alive) + pace.silence
        if self._asked > heard:
            gone = min(gone, max(self._asked, self._alive) + pace.answer)
            if self._beat < self._asked:
                beat = min(beat, self._asked + pace.probe)
        return beat, gone
