"""What the benchmark relies on: it sees every difference, its line is slow, and it draws what was measured."""

import socket
import threading
import time
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest

from tests.benchmarks.chart import draw
from tests.benchmarks.link import Link
from tests.benchmarks.runner import Run, run_scene
from tests.benchmarks.sizes import Size
from tests.benchmarks.summary import summarize
from tests.benchmarks.trees import Arrival, difference, small_files
from tests.benchmarks.works.table import SCENES


def _one(path: Path) -> None:
    (path / "one").write_bytes(b"two")


def _kind(path: Path) -> None:
    (path / "one").unlink()
    (path / "one").symlink_to("elsewhere")


def _executable(path: Path) -> None:
    (path / "one").chmod(0o755)


def _more(path: Path) -> None:
    (path / "tree" / "more").mkdir()


@pytest.mark.parametrize("change", [_one, _kind, _executable, _more, lambda path: (path / "one").unlink()])
def test_folders_that_differ_in_anything_are_not_equal(tmp_path: Path, change: object) -> None:
    for name in "ab":
        small_files(tmp_path / name, 3, 10)
        (tmp_path / name / "one").write_bytes(b"one")
    (tmp_path / "b" / ".ssyncd").mkdir()
    assert difference(tmp_path / "a", tmp_path / "b") == ""
    assert callable(change)
    change(tmp_path / "b")
    assert difference(tmp_path / "a", tmp_path / "b")


def test_a_tree_has_arrived_when_nothing_is_missing_or_unfinished(tmp_path: Path) -> None:
    small_files(tmp_path / "a", 150, 10)
    arrival = Arrival(tmp_path / "a", tmp_path / "b")
    assert not arrival.here()
    small_files(tmp_path / "b", 150, 10)
    last = tmp_path / "b" / "tree" / "d1" / "f149"
    last.rename(last.with_name(".unison.f149"))
    assert not arrival.here()
    last.with_name(".unison.f149").rename(last)
    assert arrival.here()


def test_the_line_takes_its_time_and_changes_nothing() -> None:
    sent = bytes(range(256)) * 400
    with socket.create_server(("127.0.0.1", 0)) as server, Link(server.getsockname()[1], 0.1, 1_000_000) as link:
        echo = threading.Thread(target=_echo, args=(server,))
        echo.start()
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", link.port)) as client:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            with client.makefile("rb") as file:
                assert file.read() == sent
        # The greeting, there and back, and 0.1 s for the bytes at this rate.
        assert time.monotonic() - began > 0.1 + 0.1 + 0.1
        assert link.carried == 2 * len(sent)
        echo.join()


def _echo(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection, connection.makefile("rb") as file:
        connection.sendall(file.read())


def test_the_table_has_medians_and_ratios_and_the_chart_a_bar_for_each() -> None:
    took = {"ssyncd": (1.0, 3.0, 2.0), "unison": (8.0, 4.0, 5.0)}
    runs = [Run("small", name, {"took s": value}) for name, values in took.items() for value in values]
    works = summarize([*runs, Run("small", "unison", refused="not equal")])
    assert works["small"]["ratio"] == {"unison": 0.4}
    assert works["small"]["programs"]["unison"]["figures"]["took s"] == {"median": 5.0, "least": 4.0, "most": 8.0}
    picture = xml.fromstring(draw({"works": works}))
    texts = [each.text for each in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"2 s", "5 s", works["small"]["title"]} <= set(texts)


@pytest.mark.slow
def test_a_scene_is_measured_with_real_processes(tmp_path: Path) -> None:
    [scene] = [scene for scene in SCENES if scene.works[0].name == "small"]
    runs = list(run_scene(scene, "ssyncd", {"small", "rename"}, Size(500), tmp_path))
    assert [(run.work, run.refused) for run in runs] == [("small", ""), ("rename", "")]
    assert all(run.figures["took s"] > 0 and run.cpu["a"] >= 0 and run.peak["server"] > 1_000_000 for run in runs)
