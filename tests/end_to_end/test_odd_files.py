"""What cannot or shall not be synced is named or left alone; everything else goes on."""

import mmap
import os
import tempfile
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Site
from tests.end_to_end.machine import agree, start, stop, until

MEMORY = "/dev/shm"
QUEUE = Path("/proc/sys/fs/inotify/max_queued_events")


@pytest.mark.any_server
@pytest.mark.slow
def test_what_cannot_be_synced_is_named_and_the_rest_goes_on(site: Site) -> None:
    one, other = site.pair()
    odd = os.fsencode(one.folder) + b"/latin-\xe9.txt"
    with open(odd, "wb") as out:
        out.write(b"x")
    os.mkfifo(one.path("pipe"))
    os.symlink(b"\xe9", os.fsencode(one.path("link")))
    one.write("good", "good")
    one.write("dir/also good", "2")
    one.path("unreadable").mkdir()
    one.write("unreadable/in", "u")
    names = {"pipe", "link"}
    if os.getuid() != 0:
        one.path("unreadable").chmod(0)
        names.add("unreadable")
    start(one, other)
    until(lambda: other.holds("dir/also good", "2") and other.holds("good", "good"))
    troubles = {trouble.path: trouble.reason for trouble in one.status().troubles}
    assert names <= troubles.keys()
    assert len(troubles) == len(names) + 1
    shown = one.run("status")
    assert "pipe: not a file, directory or link" in shown.stdout
    assert "UTF-8" in shown.stdout
    assert {"pipe", "latin-\udce9.txt"}.isdisjoint(other.names())
    # And it heals.
    one.path("unreadable").chmod(0o755)
    one.path("pipe").unlink()
    one.path("link").unlink()
    os.rename(odd, os.fsencode(one.path("fixed.txt")))
    shown_now = agree(one, other)
    assert shown_now["fixed.txt"] == b"x"
    assert shown_now["unreadable/in"] == b"u"
    until(lambda: not one.status().troubles, one.status)


@pytest.mark.any_server
@pytest.mark.slow
def test_what_is_written_by_one_name_of_a_file_is_sent_for_all(site: Site) -> None:
    one, other = site.pair()
    one.write("a", "before")
    one.path("d").mkdir()
    os.link(one.path("a"), one.path("d/b"))
    start(one, other)
    assert agree(one, other) == {"a": b"before", "d/": "dir", "d/b": b"before"}
    with open(one.path("d/b"), "a") as out:
        out.write(" and after")
    until(lambda: other.holds("a", "before and after") and other.holds("d/b", "before and after"))


@pytest.mark.slow
def test_what_is_too_deep_is_named_and_heals_when_it_is_moved_up(site: Site) -> None:
    one, other = site.pair()
    deep = one.path("/".join(["d"] * 249))
    deep.mkdir(parents=True)
    (deep / "e" / "f" / "g").mkdir(parents=True)
    (deep / "e" / "f" / "g" / "too deep").write_text("1")
    (deep / "deep").write_text("2")
    start(one, other)
    until(lambda: other.holds(f"{'d/' * 249}deep", "2"), "what is less deep arrives")
    [trouble] = one.status().troubles
    assert trouble.reason == "more than 250 directories deep"
    assert trouble.path.startswith("d/d/")
    (deep / "e").rename(one.path("e"))
    until(lambda: other.holds("e/f/g/too deep", "1"), "it arrives")
    agree(one, other)
    assert not one.status().troubles


@pytest.mark.any_server
@pytest.mark.slow
def test_links_are_never_followed(site: Site) -> None:
    one, other = site.pair()
    outside = other.home / "outside"
    outside.mkdir()
    (outside / "victim").write_text("untouched")
    one.write("d/f", "1")
    start(one, other)
    agree(one, other)
    # What was a directory becomes a link that leads out of the folder, while the other writes below the directory.
    other.path("d/f").unlink()
    other.path("d").rmdir()
    other.path("d").symlink_to(outside)
    one.write("d/victim", "from elsewhere")
    agree(one, other)
    assert (outside / "victim").read_text() == "untouched"
    assert sorted(path.name for path in outside.iterdir()) == ["victim"]


@pytest.mark.any_server
@pytest.mark.slow
def test_ignored_files_stay_where_they_are(site: Site) -> None:
    one, other = site.pair()
    one.write(".ssyncdignore", "*.tmp\n/build/\n!keep.tmp\n")
    one.write("a.tmp", "1")
    one.write("keep.tmp", "kept")
    one.write("build/out", "2")
    one.write("deep/build/out", "3")
    one.write(".swap.swp", "vim")
    one.write("~$office.docx", "lock")
    start(one, other)
    shown = {".ssyncdignore", "keep.tmp", "deep/", "deep/build/", "deep/build/out"}
    until(lambda: set(other.picture()) == shown, lambda: str(other.picture()))
    # A rule that came over is obeyed at once, and taking it back brings the files over.
    other.write("b.tmp", "of beta")
    other.write("seen", "1")
    until(lambda: one.holds("seen", "1"))
    assert not one.path("b.tmp").exists()
    one.write(".ssyncdignore", "/build/\n")
    until(lambda: other.holds("a.tmp", "1") and one.holds("b.tmp", "of beta"))
    # What is ignored from now on stays on both disks, and is deleted nowhere.
    one.write(".ssyncdignore", "/build/\ndeep/\n")
    until(lambda: other.holds(".ssyncdignore", "/build/\ndeep/\n"))
    one.wait()
    other.wait()
    one.path("deep/build/out").unlink()
    one.write("seen", "2")
    until(lambda: other.holds("seen", "2"))
    assert other.holds("deep/build/out", "3")


def test_what_is_moved_to_where_one_machine_leaves_things_out_goes_there_and_comes_back(site: Site) -> None:
    folder, name = site.directory / "beta" / "Folder", site.directory.name
    settings = f'[[folder]]\npath = "{folder}"\nname = "{name}"\nignore = ["/films/"]\n'
    one, other = site.machine("alpha"), site.machine("beta", settings=settings)
    for path in ("films/seen", "new/film", "new/more/film"):
        one.write(path, path)
    start(one, other)
    until(lambda: other.holds("new/more/film", "new/more/film") and other.holds("new/film", "new/film"))
    one.path("new/film").rename(one.path("films/film"))
    one.path("new/more").rename(one.path("films/more"))
    until(lambda: set(other.folder.rglob("*")) & {other.path("new/film"), other.path("new/more")} == set())
    other.wait()
    assert not other.path("films").exists()
    one.path("films/more").rename(one.path("new/more"))
    until(lambda: other.holds("new/more/film", "new/more/film"))
    assert one.holds("films/film", "new/film")


@pytest.mark.any_server
@pytest.mark.slow
def test_a_file_that_is_being_written_arrives_whole_when_it_is_closed(site: Site) -> None:
    one, other = site.pair()
    start(one, other)
    with one.path("log").open("wb", buffering=0) as out:
        for number in range(200):
            out.write(b"%06d\n" % number)
            if number == 100:
                one.write("beside", "1")
                until(lambda: other.holds("beside", "1"))
    shown = agree(one, other)
    assert shown["log"] == b"".join(b"%06d\n" % number for number in range(200))
    assert not any("conflict" in path for path in shown)


@pytest.mark.any_server
@pytest.mark.slow
@pytest.mark.skipif(
    not os.path.isdir(MEMORY), reason=f"no {MEMORY}: another disk is flushed meanwhile, and gives other times"
)
def test_what_a_program_writes_through_a_memory_map_arrives_when_it_is_closed(site: Site) -> None:
    one, other = site.pair()
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        one.folder = Path(folder)
        start(one, other)
        with one.path("mapped").open("w+b") as out:
            out.truncate(100)
            with mmap.mmap(out.fileno(), 100) as shared:
                shared[:5] = b"first"
                until(lambda: other.holds("mapped", b"first".ljust(100, b"\0")))
                shared[:6] = b"second"
        assert agree(one, other) == {"mapped": b"second".ljust(100, b"\0")}
        stop(one)


@pytest.mark.slow
def test_a_file_that_grows_without_end_arrives_again_and_again(site: Site) -> None:
    """Appended to by opening and closing, while what was there is under way; the other never holds anything but a beginning."""
    one, other = site.pair()
    start(one, other)
    whole = b""
    for number in range(150):
        line = b"%08d\n" % number + b"x" * 997
        whole += line
        with one.path("growing").open("ab") as out:
            out.write(line)
        if other.path("growing").exists():
            assert whole.startswith(other.read("growing"))
    shown = agree(one, other)
    assert other.read("growing") == whole
    assert not any("conflict" in path for path in shown)


@pytest.mark.any_server
@pytest.mark.slow
def test_an_overflow_of_the_kernels_queue_is_noticed(site: Site) -> None:
    if os.getuid() != 0 or not os.access(QUEUE, os.W_OK):
        pytest.skip("only root can make the queue small")
    one, other = site.pair()
    before = QUEUE.read_text()
    try:
        QUEUE.write_text("8")
        start(one, other)
    finally:
        QUEUE.write_text(before)
    agree(one, other)
    assert one.running is not None
    for number in range(60):
        for name in range(40):
            one.write(f"d{number}/f{name}", f"{number} {name}")
        one.path(f"d{number}").rename(one.path(f"e{number}"))
    here = one.picture()
    assert agree(one, other) == here
    assert "queue of events overflowed" in one.running.text()


@pytest.mark.slow
def test_names_of_every_kind_arrive_unchanged(site: Site) -> None:
    one, other = site.pair()
    names = [
        "x" * 255,
        "é" * 127,
        "e\u0301",  # not the same as "é"
        "é",
        " leading and trailing ",
        "new\nline",
        "back\\slash",
        "CON",
        'a:b*c?d"e<f>g|h',
        "-rf",
        "%2F",
        "\u202e",
        "\U0001f600",
        "UPPER",
        "upper",
        "...",
        ".hidden",
        "\x01",
        "file (conflict 2026-11-22 14-03-05 laptop).txt",
    ]
    for name in names:
        one.write(name, name)
    start(one, other)
    shown = agree(one, other)
    assert shown == {name: name.encode() for name in names}


@pytest.mark.slow
def test_times_of_every_kind_do_no_harm(site: Site) -> None:
    """Of cameras without a battery, of archives; nanoseconds since 1970 have more than 64 bits from 2262 on."""
    one, other = site.pair()
    years = (1901, 1969, 1970, 2038, 2106, 2261, 2263, 2400, 2900)
    for year in years:
        one.write(f"{year}", "old")
        seconds = int((year - 1970) * 365.2425 * 86400)
        os.utime(one.path(f"{year}"), (seconds, seconds))
    start(one, other)
    agree(one, other)
    for year in years[::2]:
        other.write(f"{year}", "new")
    agree(one, other)
    one.stop()
    one.start()
    assert agree(one, other).keys() == {str(year) for year in years}
    assert one.holds("2900", "new")
    assert one.holds("2400", "old")
    assert "damaged" not in one.report() + other.report()


@pytest.mark.any_server
@pytest.mark.slow
def test_a_sparse_file_takes_no_more_room_elsewhere(site: Site) -> None:
    one, other = site.pair()
    with one.path("disk.img").open("wb") as out:
        for place in (0, 100, 199):
            out.seek(place << 20)
            out.write(os.urandom(1 << 20))
    start(one, other)
    agree(one, other)
    here, there = (machine.path("disk.img").stat().st_blocks for machine in (one, other))
    assert there < 2 * here + 40_000, "at most two chunks more for each of three pieces"
