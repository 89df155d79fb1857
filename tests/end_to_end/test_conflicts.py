"""Two machines that changed things while they did not see each other: both stay, nothing is lost, all become equal."""

import pytest
from blake3 import blake3

from tests.end_to_end.conftest import Site
from tests.end_to_end.machine import Machine, agree, start, stop
from tests.end_to_end.pictures import Picture, content, files


def both_offline(site: Site, before: dict[str, bytes]) -> tuple[Machine, Machine]:
    """Two machines that hold the same, neither running."""
    one, other = site.pair()
    for path, data in before.items():
        one.write(path, data)
    start(one, other)
    agree(one, other)
    stop(one, other)
    return one, other


def conflicts(shown: Picture) -> list[str]:
    return [path for path in shown if "(conflict " in path]


@pytest.mark.slow
def test_edits_in_a_directory_that_the_other_renames(site: Site) -> None:
    one, other = both_offline(site, {"d/a": b"a", "d/b": b"b", "d/c/deep": b"deep", "d/e": b"e"})
    one.path("d").rename(one.path("renamed"))
    one.write("renamed/a", "edited by alpha")
    one.write("renamed/new of alpha", "n1")
    one.path("renamed/e").unlink()
    other.write("d/b", "edited by beta")
    other.write("d/c/deep", "deep by beta")
    other.write("d/new of beta", "n2")
    other.path("d/c").rename(other.path("d/see"))
    start(one, other)
    assert agree(one, other) == {
        "renamed/": "dir",
        "renamed/a": b"edited by alpha",
        "renamed/b": b"edited by beta",
        "renamed/new of alpha": b"n1",
        "renamed/new of beta": b"n2",
        "renamed/see/": "dir",
        "renamed/see/deep": b"deep by beta",
    }


@pytest.mark.slow
def test_one_directory_renamed_differently_on_both(site: Site) -> None:
    one, other = both_offline(site, {"d/a": b"a", "d/b": b"b"})
    one.path("d").rename(one.path("one"))
    one.write("one/a", "edited by alpha")
    other.path("d").rename(other.path("other"))
    other.write("other/b", "edited by beta")
    one.start()
    other.start()
    shown = agree(one, other)
    # The server's order wins: alpha was there first.
    assert shown == {"one/": "dir", "one/a": b"edited by alpha", "one/b": b"edited by beta"}


@pytest.mark.slow
def test_different_edits_of_one_file_leave_both(site: Site) -> None:
    one, other = both_offline(site, {"f.bin": b"\0base"})
    one.write("f.bin", b"\0alpha")
    other.write("f.bin", b"\0beta")
    one.start()
    other.start()
    shown = agree(one, other)
    assert shown["f.bin"] == b"\0alpha"
    [copy] = conflicts(shown)
    assert shown[copy] == b"\0beta"
    assert copy.endswith(" beta).bin")
    listed = other.run("conflicts")
    assert copy in listed.stdout


@pytest.mark.slow
def test_edits_of_one_text_that_do_not_overlap_are_merged(site: Site) -> None:
    lines = [f"line {number}\n" for number in range(20)]
    one, other = both_offline(site, {"notes.txt": "".join(lines).encode()})
    one.write("notes.txt", "".join(["first by alpha\n", *lines[1:]]))
    other.write("notes.txt", "".join([*lines[:-1], "last by beta\n"]))
    # One after the other: whoever overtakes an edit that it has not seen keeps a copy of that.
    one.start()
    other.start()
    shown = agree(one, other)
    assert shown == {"notes.txt": "".join(["first by alpha\n", *lines[1:-1], "last by beta\n"]).encode()}


@pytest.mark.slow
def test_an_edit_beats_a_delete_in_both_directions(site: Site) -> None:
    one, other = both_offline(site, {"a": b"a", "b": b"b", "d/in": b"in", "d/rest": b"rest", "e/in": b"in"})
    one.path("a").unlink()
    other.write("a", "edited a")
    other.path("b").unlink()
    one.write("b", "edited b")
    for name in ("in", "rest"):
        one.path(f"d/{name}").unlink()
    one.path("d").rmdir()
    other.write("d/in", "edited in a deleted directory")
    other.path("e/in").unlink()
    other.path("e").rmdir()
    one.write("e/new", "new in a deleted directory")
    start(one, other)
    assert agree(one, other) == {
        "a": b"edited a",
        "b": b"edited b",
        "d/": "dir",
        "d/in": b"edited in a deleted directory",
        "e/": "dir",
        "e/new": b"new in a deleted directory",
    }


@pytest.mark.slow
def test_the_same_path_made_on_both(site: Site) -> None:
    one, other = both_offline(site, {})
    large = bytes(range(256)) * 2000
    for machine in (one, other):
        machine.write("equal", "the same")
        machine.write("d/equal large", large)
        machine.write("mine", f"by {machine.name}")
        machine.write("d/large", large + machine.name.encode())
        machine.path("link").symlink_to(machine.name)
        machine.write(f"d/{machine.name}", machine.name)
    one.write("kinds", "a file")
    other.write("kinds/in", "a directory")
    start(one, other)
    shown = agree(one, other)
    held = list(shown.values())
    assert held.count(b"the same") == 1
    assert held.count(content(large)) == 1
    for machine in (one, other):
        assert held.count(f"by {machine.name}".encode()) == 1
        assert held.count(content(large + machine.name.encode())) == 1
        assert held.count(f"-> {machine.name}") == 1
        assert shown[f"d/{machine.name}"] == machine.name.encode()
    assert b"a file" in held
    assert b"a directory" in held
    assert len(conflicts(shown)) in (4, 5)  # of a directory that had to give way, what is inside shows too


@pytest.mark.slow
def test_moves_into_each_other_and_over_each_other(site: Site) -> None:
    one, other = both_offline(site, {"a/x": b"x", "b/y": b"y", "f": b"f", "g": b"g"})
    one.path("a").rename(one.path("b/a"))
    other.path("b").rename(other.path("a/b"))
    one.path("f").rename(one.path("h"))
    other.path("g").rename(other.path("h"))
    start(one, other)
    shown = agree(one, other)
    assert sorted(files(shown).values()) == [b"f", b"g", b"x", b"y"]
    # Files moved away are not back at their old places.
    assert not {"f", "g"} & shown.keys()


@pytest.mark.slow
def test_both_edit_one_file_again_and_again_and_the_last_words_stay(site: Site) -> None:
    """Live, with no pause: whatever a user wrote last on a machine is there, or is in the server's history."""
    one, other = site.pair()
    start(one, other)
    for number in range(30):
        one.write("hot", f"\0alpha {number}")
        other.write("hot", f"\0beta {number}")
    shown = agree(one, other)
    held = set(shown.values())
    last = {b"\0alpha 29", b"\0beta 29"}
    kept = {version.hash for version in site.server.versions(one.bucket)}
    assert all(token in held or blake3(token).hexdigest() in kept for token in last)
    assert held & last


@pytest.mark.slow
def test_equal_folders_are_adopted_without_traffic(site: Site) -> None:
    one, other = site.pair()
    for machine in (one, other):
        for number in range(40):
            machine.write(f"d{number % 4}/f{number}", f"content {number}" * (1 + 300 * (number % 5)))
        machine.path("link").symlink_to("d1/f1")
        machine.write("large", bytes(range(256)) * 4000)
        machine.write("tool", "#!", exec=True)
    one.start()
    before, here = site.server.count(one.bucket), other.picture()
    stamps = {path: other.path(path.rstrip("*/")).lstat() for path in here}
    other.start()
    assert agree(one, other) == here
    assert site.server.count(one.bucket) == before, "nothing was sent"
    for path, old in stamps.items():
        now = other.path(path.rstrip("*/")).lstat()
        assert (now.st_ino, now.st_mtime_ns) == (old.st_ino, old.st_mtime_ns), f"{path} was left alone"


@pytest.mark.slow
def test_two_full_folders_are_joined_and_nothing_is_deleted(site: Site) -> None:
    one, other = site.pair()
    for machine in (one, other):
        machine.write("both/equal", "equal")
        machine.write("both/differs.txt", f"of {machine.name}")
        machine.write(f"both/only {machine.name}", machine.name)
        machine.write(f"dir of {machine.name}/deep/er", machine.name)
        machine.path(f"void of {machine.name}").mkdir()
    start(one, other)
    shown = agree(one, other)
    [copy] = conflicts(shown)
    assert {shown[copy], shown["both/differs.txt"]} == {b"of alpha", b"of beta"}
    del shown[copy], shown["both/differs.txt"]
    expected = {"both/": "dir", "both/equal": b"equal"}
    for name in ("alpha", "beta"):
        expected |= {f"both/only {name}": name.encode(), f"dir of {name}/": "dir", f"dir of {name}/deep/": "dir"}
        expected |= {f"dir of {name}/deep/er": name.encode(), f"void of {name}/": "dir"}
    assert shown == expected
