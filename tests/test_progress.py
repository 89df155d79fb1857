import io
import logging

import pytest
from rich.console import Console

from ssyncd import progress
from ssyncd.progress import Bars, ConsoleHandler, LogLines, pending, sentence
from ssyncd.status import FolderStatus, Hold, Phase, Trouble


def status(phase, **more):
    return FolderStatus("Sync", "/home/anna/Sync", phase, **more)


@pytest.mark.parametrize(
    ("one", "text"),
    [
        (status(Phase.IN_SYNC, entries=1, size=5), "Sync: in sync, 1 entry, 5 B"),
        (status(Phase.IN_SYNC, entries=1200, size=17_000_000), "Sync: in sync, 1,200 entries, 17.0 MB"),
        (
            status(Phase.IN_SYNC, troubles=(Trouble("a", "b"),)),
            "Sync: in sync, 0 entries, 0 B; 1 path left out, see `ssyncd status`",
        ),
        (status(Phase.SCANNING, entries=4000), "Sync: scanning, 4,000 entries so far"),
        (status(Phase.SCANNING, entries=4000, to_send=9), "Sync: scanning, 4,000 entries so far, 9 to send"),
        (
            status(Phase.SYNCING, to_send=3, bytes_to_send=2000, up=1500, to_apply=1, bytes_to_apply=10),
            "Sync: syncing, 3 to send (2.0 KB at 1.5 KB/s, 1 s left), 1 to receive (10 B)",
        ),
        (status(Phase.SYNCING, to_send=1, up=1500), "Sync: syncing, 1 to send (1.5 KB/s)"),
        (
            status(Phase.SYNCING, to_send=1, bytes_to_send=2_000_000, bytes_to_read=500_000),
            "Sync: syncing, 1 to send (2.0 MB; 500 KB to read)",
        ),
        (status(Phase.OFFLINE, last_error="refused"), "Sync: offline, refused"),
        (status(Phase.HELD, holds=(Hold("all would go", 9, "here"),)), "Sync: held, all would go; see `ssyncd status`"),
        (status(Phase.PAUSED), "Sync: paused"),
    ],
)
def test_a_folder_in_one_line(one, text):
    assert sentence(one) == text


def test_nothing_pending_says_nothing():
    assert pending(status(Phase.SYNCING)) == ""


def lines_of(caplog):
    return [record.getMessage().split(",")[0] for record in caplog.records]


def test_one_edit_after_the_other_leaves_one_line(caplog):
    caplog.set_level(logging.INFO)
    lines = LogLines()
    for count in range(100):
        lines.show(status(Phase.SYNCING, to_send=1))
        lines.show(status(Phase.IN_SYNC, entries=count))
    assert lines_of(caplog) == ["Sync: in sync"]


def test_long_work_is_told_now_and_then_and_in_the_end(caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    monkeypatch.setattr(progress, "SHORT_SECONDS", 0.0)
    lines = LogLines()
    lines.show(status(Phase.IN_SYNC))
    lines.show(status(Phase.SYNCING, to_send=2))
    lines.show(status(Phase.SYNCING, to_send=1))
    lines.show(status(Phase.IN_SYNC))
    assert lines_of(caplog) == ["Sync: in sync", "Sync: syncing", "Sync: syncing", "Sync: in sync"]


def test_connecting_is_not_being_offline(caplog):
    LogLines().show(status(Phase.OFFLINE))
    assert caplog.records == []


def test_a_new_reason_to_be_offline_is_told(caplog):
    lines = LogLines()
    for reason in ("refused", "refused", "no route"):
        lines.show(status(Phase.OFFLINE, last_error=reason))
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


def test_a_name_cannot_play_with_the_terminal(caplog):
    LogLines().show(FolderStatus("\x1b[31mSync", "/a", Phase.OFFLINE, last_error="x"))
    assert r"\x1b[31mSync" in caplog.text
    assert "\x1b" not in caplog.text


@pytest.fixture
def screen():
    return Console(file=io.StringIO(), force_terminal=True, width=120)


def test_long_work_shows_a_bar_and_leaves_nothing_behind(screen, monkeypatch):
    monkeypatch.setattr(progress, "BAR_SECONDS", 0.0)
    monkeypatch.setattr(progress, "REFRESH_SECONDS", 0.0)
    bars = Bars(screen)
    bars.show(status(Phase.SYNCING, to_send=10))
    bars.show(status(Phase.SYNCING, to_send=4))
    shown = screen.file.getvalue()
    assert "4 to send" in shown
    assert "Sync" in shown
    bars.show(status(Phase.IN_SYNC))
    bars.close()
    assert not bars._progress.live.is_started


def test_while_the_folder_is_looked_at_nobody_knows_how_much_it_is(screen, monkeypatch):
    monkeypatch.setattr(progress, "BAR_SECONDS", 0.0)
    monkeypatch.setattr(progress, "REFRESH_SECONDS", 0.0)
    bars = Bars(screen)
    bars.show(status(Phase.SCANNING, entries=4000, to_send=10))
    [task] = bars._progress.tasks
    assert task.total is None
    assert "4,000 entries so far, 10 to send" in screen.file.getvalue()
    bars.show(status(Phase.SYNCING, to_send=10))
    assert task.total > 0
    bars.close()


def test_a_bar_goes_on_with_the_bytes_of_one_large_file(screen, monkeypatch):
    monkeypatch.setattr(progress, "BAR_SECONDS", 0.0)
    monkeypatch.setattr(progress, "REFRESH_SECONDS", 0.0)
    bars = Bars(screen)
    shares = []
    for to_read, left in ((4_000_000_000, 4_000_000_000), (0, 4_000_000_000), (0, 1_000_000_000)):
        bars.show(status(Phase.SYNCING, to_send=1, bytes_to_send=left, bytes_to_read=to_read))
        [task] = bars._progress.tasks
        shares.append(round(task.percentage))
    assert shares == [0, 50, 87]
    bars.close()


def test_short_work_shows_no_bar(screen):
    bars = Bars(screen)
    bars.show(status(Phase.SYNCING, to_send=10))
    bars.show(status(Phase.IN_SYNC))
    bars.close()
    assert screen.file.getvalue() == ""


def test_a_log_line_goes_above_the_bars_as_it_is(screen):
    handler = ConsoleHandler(screen)
    handler.emit(logging.LogRecord("x", logging.INFO, "x", 1, "[red]%s[/red]", ("a",), None))
    assert "[red]a[/red]" in screen.file.getvalue()
