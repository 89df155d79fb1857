"""The simulation bites: with any of these faults put into the code, one of the first seeds fails."""

from collections.abc import Callable
from typing import Any

import pytest

from ssyncd.disk.moving import Mover
from ssyncd.disk.place import Place
from ssyncd.disk.scanner import Scanner
from ssyncd.folder.apply import Applier
from ssyncd.folder.doubts import Doubts
from ssyncd.folder.local import Local
from ssyncd.folder.pleas import Pleas
from ssyncd.folder.record import Record
from ssyncd.folder.remote import Remote
from ssyncd.planner import reconcile
from tests.simulation.history import draw, run

Patch = Callable[[pytest.MonkeyPatch], None]


def nothing(*_: Any, **__: Any) -> None:
    """Instead of a method that matters."""


def ignore_everything_for_a_second_after_our_own_writes(patch: pytest.MonkeyPatch) -> None:
    done, hint = Scanner.done, Local.hint
    latest = {"": -1.0}

    def note(scanner: Scanner, *args: Any) -> None:
        latest[""] = clock[0]()
        done(scanner, *args)

    def hear(local: Local, hints: Any) -> None:
        clock[0] = local.clock.monotonic
        if not 0 <= clock[0]() - latest[""] < 1:
            hint(local, hints)

    clock: list[Callable[[], float]] = [lambda: -1.0]
    patch.setattr(Scanner, "done", note)
    patch.setattr(Local, "hint", hear)


def replace_and_remove_without_looking(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Place, "expect", nothing)
    patch.setattr(Mover, "_proves", lambda *_: True)
    patch.setattr(Mover, "_is", lambda *_: True)


def record_the_base_before_the_write(patch: pytest.MonkeyPatch) -> None:
    do = Applier._do

    def early(applier: Applier, step: Any) -> bool:
        key = getattr(step, "key", "") or getattr(getattr(step, "entry", None), "key", "")
        remote = applier.record.remote.get(key)
        if remote is not None:
            applier.record.set_base(remote)
        return do(applier, step)

    patch.setattr(Applier, "_do", early)


def let_a_deletion_beat_a_change(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reconcile, "_merge_deleted_there", lambda *_: reconcile.GONE)


def take_acknowledgements_for_updates(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Remote, "_acknowledged", nothing)


def save_the_cursor_before_the_objects(patch: pytest.MonkeyPatch) -> None:
    """A crash after the cursor is there finds the objects missing."""

    def put_without_writing(record: Record, row: Any) -> None:
        record.ghosts[row.key] = row
        if row.dead or row.entry is None:
            record.remote.remove(row.key)
        else:
            record.remote.put(row.entry)

    patch.setattr(Record, "_set_ghost", put_without_writing)


def keep_nothing_that_we_overtook(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Remote, "_save_overtaken", nothing)


def record_what_is_not_durable(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Record, "unflushed", property(lambda _: False, nothing), raising=False)


def trust_equal_stamps(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Scanner, "looked_into", nothing)


def ask_the_wrong_clock_which_stamp_comes_next(patch: pytest.MonkeyPatch) -> None:
    """While the tick is late, a file looks older than what is written next."""
    patch.setattr(Scanner, "_is_recent", lambda self, stat: abs(self.wall() - stat.mtime) < self.coarse)


def believe_a_server_that_was_restored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Doubts, "listed", nothing)


def answer_no_plea(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Pleas, "_answer", lambda pleas, hashes, _: [pleas._due.pop(hash) for hash in hashes])


ALL: tuple[tuple[Patch, tuple[str, ...], int, int], ...] = (
    (ignore_everything_for_a_second_after_our_own_writes, (), 0, 30),
    (replace_and_remove_without_looking, ("strike",), 198, 300),
    (record_the_base_before_the_write, (), 175, 300),
    (let_a_deletion_beat_a_change, (), 0, 100),
    (take_acknowledgements_for_updates, (), 47, 300),
    (save_the_cursor_before_the_objects, ("kill", "overflow"), 0, 30),
    (keep_nothing_that_we_overtook, (), 207, 1000),
    (record_what_is_not_durable, ("power",), 0, 30),
    (trust_equal_stamps, (), 147, 1000),
    (ask_the_wrong_clock_which_stamp_comes_next, (), 12, 300),
    (believe_a_server_that_was_restored, ("backup", "restore", "cut"), 0, 30),
    (answer_no_plea, ("spoil", "cut", "late", "kill"), 126, 1000),
)
"""A fault, the circumstances in which it shows, the first seed (one that found it, when it was last looked for), and within how
many it must show."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "circumstances", "first", "most"), ALL, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_fault_is_found(
    fault: Patch, circumstances: tuple[str, ...], first: int, most: int, monkeypatch: Any
) -> None:
    fault(monkeypatch)
    seeds = range(first, first + most)
    found = next((seed for seed in seeds if run(draw(seed, (circumstances,))).failure), None)
    assert found is not None, f"{most} histories ended well in spite of it"
    print(f"found by seed {found}")
