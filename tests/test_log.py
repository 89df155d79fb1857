import logging

import pytest

from ssyncd import log


@pytest.fixture(autouse=True)
def restored():
    root = logging.getLogger()
    before = root.level
    yield
    log.tear_down()
    root.setLevel(before)


def test_people_get_the_time_and_the_journal_the_priority(capsys, monkeypatch):
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    log.set_up("info")
    logging.getLogger("x").warning("one")
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    log.set_up("info")
    logging.getLogger("x").warning("two\nlines")
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith(" one")
    assert first[2] == ":"
    assert second == "<4>two | lines"


def test_what_is_below_the_level_is_not_logged(capsys):
    log.set_up("warning")
    logging.getLogger("x").info("quiet")
    logging.getLogger("urllib3").info("quiet too")
    logging.getLogger("urllib3.connection").warning("headers that were cut off")
    assert capsys.readouterr().err == ""


def test_a_file_stays_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(log, "_FILE_BYTES", 1000)
    log.set_up("info", tmp_path / "server.log")
    for _ in range(200):
        logging.getLogger("x").info("a line of some length, again and again")
    files = list(tmp_path.iterdir())
    assert len(files) == 3
    assert sum(file.stat().st_size for file in files) < 4000
