"""The scanner on a disk in memory: whatever users do, in whatever order it is told, the tree ends as the disk is."""

import errno
import itertools

import pytest

from ssyncd.disk import look, lost
from ssyncd.disk.base import Stat
from ssyncd.disk.lost import Lost
from ssyncd.disk.memory import MemoryDisk
from ssyncd.disk.scanner import LATER, Scanner
from ssyncd.planner.tree import Content, Kind, Tree

_numbers = itertools.count()


class Folder:
    """A scanner that has looked at everything; `tree` is what it holds, as path to kind."""

    def __init__(self, **files: bytes) -> None:
        self.now = 10**18 + 1
        self.disk = MemoryDisk(clock=lambda: self.now)
        self.user = self.disk.user
        self.scanner = Scanner(self.disk, Tree(), lambda path, is_dir: path == "ignored", self._choose_key)
        for path, data in files.items():
            self.user.write(path, data)
        self.look_everywhere()
        self.read()

    def read(self) -> None:
        """All that is to be read."""
        for key in list(self.scanner.unread):
            entry, stat = self.scanner.tree.get(key), self.scanner.stats.get(key)
            self.scanner.done(entry._replace(content=Content("00" * 32, stat.size, 0, "pc")), stat)

    def _choose_key(self, parent: str, name: str, kind: Kind) -> str:
        return f"{kind} {next(_numbers)}"

    def look_everywhere(self) -> None:
        self.scanner.look((), ("",))

    def key(self, path: str) -> str:
        key = self.scanner.tree.find(path)
        assert key is not None, path
        return key

    @property
    def tree(self) -> dict[str, Kind]:
        tree = self.scanner.tree
        return {tree.path(key) or f"? {key}": tree.get(key).kind for key in tree}

    @property
    def on_disk(self) -> dict[str, Kind]:
        kinds = {bytes: Kind.FILE, str: Kind.LINK}
        return {path: kinds.get(type(value), Kind.DIR) for path, value in self.user.tree().items()}


@pytest.fixture
def folder() -> Folder:
    return Folder(a=b"one", b=b"two")


def test_new_changed_and_deleted_files_are_found(folder: Folder) -> None:
    folder.user.write("c", b"three")
    folder.now += 1
    folder.user.write("a", b"other")
    folder.user.delete("b")
    gone = folder.key("b")
    seen = folder.scanner.look(["a", "b", "c"])
    assert seen.touched == {folder.key("a"), gone, folder.key("c")}
    assert folder.tree == folder.on_disk
    assert set(folder.scanner.unread) == {folder.key("a"), folder.key("c")}


def test_a_renamed_file_is_the_same_entry(folder: Folder) -> None:
    key = folder.key("a")
    folder.user.rename("a", "c")
    folder.scanner.look(["a", "c"])
    assert folder.key("c") == key


def test_a_renamed_file_with_a_time_of_whole_seconds_is_read_to_be_sure(folder: Folder) -> None:
    """It may be another one, unpacked from an archive, that got the inode of the one that went."""
    folder.user.write("w", b"three", mtime=10**18)
    folder.look_everywhere()
    folder.read()
    key = folder.key("w")
    folder.user.rename("w", "c")
    folder.scanner.look(["w", "c"])
    assert folder.key("c") == key
    assert key in folder.scanner.unread
    folder.user.rename("a", "d")
    folder.scanner.look(["a", "d"])
    assert folder.key("d") not in folder.scanner.unread


def test_a_file_that_became_executable_may_have_changed_otherwise_too(folder: Folder) -> None:
    """As when tar unpacks another one over it: the same size, a time of whole seconds, and the inode that became free."""
    folder.user.write("w", b"three", mtime=10**18)
    folder.look_everywhere()
    folder.read()
    folder.now += 10**9
    folder.user.write("w", b"other", mtime=10**18)
    folder.user.set_exec("w", True)
    folder.scanner.look(["w"])
    assert folder.key("w") in folder.scanner.unread


def test_a_renamed_directory_is_the_same_entry_with_all_that_is_inside(folder: Folder) -> None:
    folder.user.make_dir("d")
    folder.user.write("d/x", b"")
    folder.look_everywhere()
    keys = folder.key("d"), folder.key("d/x")
    folder.user.rename("d", "e")
    folder.scanner.look(["d", "e"])
    assert (folder.key("e"), folder.key("e/x")) == keys


def test_a_moved_link_does_not_become_executable(folder: Folder) -> None:
    folder.user.link("l", "a")
    folder.look_everywhere()
    key = folder.key("l")
    folder.user.rename("l", "m")
    folder.scanner.look(["l", "m"])
    entry = folder.scanner.tree.get(key)
    assert (entry.name, entry.exec, entry.target) == ("m", False, "a")


def test_a_link_made_anew_in_the_same_tick_is_read_again(folder: Folder) -> None:
    folder.scanner.stamp = lambda: folder.now
    folder.user.link("l", "to1")
    folder.look_everywhere()
    before = folder.disk.stat("l")
    folder.user.delete("l")
    folder.user.link("l", "to2")
    assert folder.disk.stat("l") == before, "the stamps must not tell, or this tests nothing"
    folder.scanner.look(["l"])
    assert folder.scanner.tree.get(folder.key("l")).target == "to2"


def test_a_file_written_again_in_the_same_tick_is_read_again(folder: Folder) -> None:
    folder.user.write("a", b"uno")
    folder.scanner.look(["a"])
    folder.read()
    folder.scanner.looked_into(folder.key("a"), folder.disk.stat("a"))
    folder.scanner.look(["a"])
    assert not folder.scanner.unread
    folder.scanner.stamp = lambda: folder.now
    folder.scanner.looked_into(folder.key("a"), folder.disk.stat("a"))
    folder.scanner.look(["a"])
    assert list(folder.scanner.unread) == [folder.key("a")]


@pytest.mark.parametrize(("since", "unsure"), [(0, True), (1, False)])
def test_what_we_put_is_certain_if_a_write_from_now_on_leaves_another_time(
    since: int, unsure: bool, folder: Folder
) -> None:
    """`since` it was written elsewhere, in nanoseconds."""
    folder.scanner.stamp = lambda: folder.now
    key, stat = folder.key("a"), folder.disk.stat("a")
    folder.scanner.done(folder.scanner.tree.get(key), stat._replace(mtime=folder.now - since, ctime=folder.now))
    assert (key in folder.scanner.young) is unsure


@pytest.mark.parametrize(("since", "left"), [(0, 0.01), (4_000_000, 0.006), (10**9, 0), (-(10**9), 0.01)])
def test_how_long_another_write_may_leave_the_same_stamp(since: int, left: float, folder: Folder) -> None:
    key = folder.key("a")
    folder.scanner.stamp = lambda: folder.scanner.stats.get(key).mtime + since
    assert folder.scanner.ages_in(key) == left
    assert folder.scanner.ages_in("unknown") == 0.01


@pytest.fixture
def moving(folder: Folder) -> Folder:
    """A file and a directory that have been there for a while, with somebody who watches the clock."""
    folder.user.make_dir("d")
    folder.user.write("d/x", b"x")
    folder.look_everywhere()
    folder.read()
    folder.now += 10**9
    folder.scanner.wall = folder.scanner.stamp = lambda: folder.now
    return folder


@pytest.mark.parametrize("name", ["a", "d"])
def test_what_is_found_where_it_was_moved_to_before_the_watcher_tells_from_where_is_the_same(
    moving: Folder, name: str
) -> None:
    key = moving.key(name)
    moving.user.make_dir("new")
    moving.user.rename(name, f"new/{name}")
    seen = moving.scanner.look(["new"])
    assert seen.later == {f"new/{name}"}
    assert moving.key(name) == key
    moving.scanner.look([name, f"new/{name}"])
    assert moving.key(f"new/{name}") == key
    assert not moving.scanner.unread
    assert moving.tree == moving.on_disk


@pytest.mark.parametrize("name", ["a", "d"])
def test_it_is_the_same_too_where_only_its_old_place_is_told_of(moving: Folder, name: str) -> None:
    """The new directory was not watched yet when it came there."""
    key = moving.key(name)
    moving.user.make_dir("new")
    moving.user.rename(name, f"new/{name}")
    moving.scanner.look(["new"])
    assert not moving.scanner.look([name]).later
    assert moving.key(f"new/{name}") == key
    assert moving.tree == moving.on_disk


@pytest.mark.parametrize("name", ["a", "d"])
def test_what_nobody_tells_the_origin_of_is_new_a_moment_later(moving: Folder, name: str) -> None:
    moving.user.rename(name, "e")
    before = moving.key(name)
    assert moving.scanner.look(["e"]).later == {"e"}
    moving.now += int(LATER * 1e9)
    assert not moving.scanner.look(["e"]).later
    assert moving.key("e") != before


def test_it_is_the_same_however_long_the_look_takes(moving: Folder) -> None:
    moving.user.make_dir("new")
    moving.user.rename("a", "new/a")
    listing = moving.disk.list

    def slow(path: str) -> dict[str, Stat]:
        found = listing(path)
        moving.now += 10**9
        return found

    moving.disk.list = slow
    assert moving.scanner.look(["new"]).later == {"new/a"}


def test_what_is_made_or_written_here_has_not_to_wait(moving: Folder) -> None:
    moving.user.make_dir("e")
    moving.user.write("e/f", b"new")
    moving.user.write("e/f", b"and written again")
    assert not moving.scanner.look(["e"]).later
    assert moving.tree == moving.on_disk


def test_what_had_to_leave_its_place_to_another_has_not_to_wait(moving: Folder) -> None:
    """Both are sent together: at no time another machine lacks one of them."""
    moving.user.rename("a", "c")
    moving.user.rename("b", "a")
    assert not moving.scanner.look(["a", "c", "b"]).later
    assert moving.tree == moving.on_disk


def test_what_went_and_turns_up_elsewhere_is_the_same_as_long_as_its_deletion_has_not_come_to_pass(
    moving: Folder,
) -> None:
    agreed = {moving.key("a"), moving.key("d/x")}
    moving.scanner.lost = Lost(agreed.__contains__)
    key, other = moving.key("a"), moving.key("d/x")
    moving.user.rename("a", "e")
    moving.user.rename("d/x", "y")
    moving.scanner.look(["a", "d/x"])
    agreed.remove(other)
    moving.now += 10**9
    moving.scanner.look(["e", "y"])
    assert moving.key("e") == key
    assert moving.key("y") != other
    assert moving.scanner.unread.keys() == {moving.key("y")}


def test_another_file_with_the_inode_of_one_that_went_is_not_that(moving: Folder) -> None:
    moving.scanner.lost = Lost(lambda _: True)
    key, inode = moving.key("a"), moving.disk.stat("a").inode
    moving.user.delete("a")
    moving.scanner.look(["a"])
    moving.user.write("e", b"two")
    assert moving.disk.stat("e").inode == inode, "it must have been used again, or this tests nothing"
    moving.scanner.look(["e"])
    assert moving.key("e") != key


def test_of_what_went_only_the_last_is_remembered(moving: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost, "MOST", 1)
    moving.scanner.lost = Lost(lambda _: True)
    keys = [moving.key("a"), moving.key("b")]
    moving.user.rename("a", "e")
    moving.user.rename("b", "f")
    moving.scanner.look(["a"])
    moving.scanner.look(["b"])
    moving.now += 10**9
    moving.scanner.look(["e", "f"])
    assert moving.key("e") != keys[0]
    assert moving.key("f") == keys[1]


def test_a_file_that_moves_into_the_directory_that_took_its_name(folder: Folder) -> None:
    """`a` and the directory `d` change places; then the file goes into what is `a` now."""
    folder.user.make_dir("d")
    folder.look_everywhere()
    for source, target in (("d", "swapping"), ("a", "d"), ("swapping", "a"), ("d", "a/a")):
        folder.user.rename(source, target)
    folder.scanner.look(["d", "swapping", "a", "a/a"])
    assert folder.tree == folder.on_disk


def test_what_is_found_under_an_old_name_is_not_placed_under_the_new_one(folder: Folder) -> None:
    """Two directories change places, each with an `x` of another kind; the news of what is in them comes first."""
    folder.user.make_dir("d")
    folder.user.write("d/x", b"1")
    folder.look_everywhere()
    folder.user.make_dir("e")
    folder.user.make_dir("e/x")
    for source, target in (("d", "swapping"), ("e", "d"), ("swapping", "e")):
        folder.user.rename(source, target)
    seen = folder.scanner.look(["d/x", "e", "swapping", "d", "e"])
    folder.scanner.look(seen.later)
    assert folder.tree == folder.on_disk


def test_a_file_put_into_a_directory_while_that_had_another_name(folder: Folder) -> None:
    folder.user.make_dir("d")
    folder.look_everywhere()
    folder.now += 1
    folder.user.rename("d", "e")
    folder.user.write("e/x", b"")
    folder.user.rename("e", "d")
    folder.scanner.look(["d", "e", "e/x", "e", "d"])
    assert folder.tree == folder.on_disk


def test_what_is_missing_with_its_whole_directory_has_to_wait_for_news_of_the_directory(folder: Folder) -> None:
    folder.user.make_dir("d")
    folder.user.write("d/x", b"")
    folder.look_everywhere()
    key = folder.key("d/x")
    folder.user.rename("d", "e")
    seen = folder.scanner.look(["d/x"])
    assert seen.later == {"d"}
    assert key in folder.scanner.tree
    folder.scanner.look(["d", "e"])
    assert folder.key("e/x") == key


@pytest.mark.parametrize("call", ["read_link", "look", "scan"])
def test_what_cannot_be_looked_at_is_not_deleted_and_is_looked_at_again(folder: Folder, call: str) -> None:
    folder.user.link("l", "a")
    folder.user.make_dir("d")
    folder.user.write("d/x", b"")
    folder.look_everywhere()
    folder.now += 1
    folder.user.delete("l")
    folder.user.link("l", "b")
    folder.user.write("d/y", b"")
    before = folder.tree

    def fail(name: str, path: str) -> None:
        if name == call and path in ("l", "d"):
            raise OSError(errno.EIO, "input/output error")

    folder.disk.on_step = fail
    seen = folder.scanner.look(["l"], ["d"])
    assert seen.failed
    assert folder.tree.items() >= before.items()
    folder.disk.on_step = None
    folder.scanner.look((), seen.failed)
    assert folder.tree == folder.on_disk
    assert folder.scanner.tree.get(folder.key("l")).target == "b"
    assert not folder.scanner.troubles


def test_what_is_ignored_from_now_on_is_no_entry_any_more(folder: Folder) -> None:
    key = folder.key("a")
    folder.user.rename("a", "ignored")
    folder.scanner.look(["a", "ignored"])
    assert key not in folder.scanner.tree
    assert folder.tree == {"b": Kind.FILE}


def test_entries_that_a_crash_left_at_one_place_are_each_recognized_where_they_are(folder: Folder) -> None:
    """Of a swap only one half was recorded: the tree has both at one place, or each directory inside the other."""
    folder.user.make_dir("x")
    folder.user.write("x/one", b"1")
    folder.user.make_dir("x/y")
    folder.user.write("x/y/two", b"2")
    folder.look_everywhere()
    a, b, x, y = (folder.key(path) for path in ("a", "b", "x", "x/y"))
    tree = folder.scanner.tree
    tree.put(tree.get(b)._replace(name="a"))
    tree.put(tree.get(x)._replace(parent=y))
    again = Scanner(folder.disk, tree, folder.scanner.ignored, folder._choose_key)
    again.stats = folder.scanner.stats
    again.look((), ("",))
    assert [folder.key(path) for path in ("a", "b", "x", "x/y")] == [a, b, x, y]
    assert folder.tree == folder.on_disk


def test_the_first_look_comes_in_slices(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "SLICE", 2)
    for path in ("x", "x/in", "y", "z"):
        folder.user.make_dir(path)
    for path in ("x/1", "x/2", "x/in/3", "y/4", "z/5"):
        folder.user.write(path, b"")
    scanner = Scanner(folder.disk, Tree(), lambda path, is_dir: False, folder._choose_key)
    scanner.look((), [""])
    sizes = [len(scanner.tree)]
    while scanner.first:
        scanner.look(())
        sizes.append(len(scanner.tree))
    folder.scanner = scanner
    assert folder.tree == folder.on_disk
    assert len(sizes) > 2
    scanner.look((), [""])
    assert not scanner.first


def test_the_first_look_waits_and_follows_a_directory_that_moved(folder: Folder) -> None:
    folder.user.make_dir("x")
    folder.user.write("x/1", b"")
    scanner = Scanner(folder.disk, Tree(), lambda path, is_dir: False, folder._choose_key)
    folder.scanner = scanner
    scanner.look((), [""])
    folder.user.write("2", b"")
    scanner.look(("2",), go_on=False)
    assert scanner.first
    assert folder.scanner.tree.find("x/1") is None
    folder.user.rename("x", "y")
    scanner.done(scanner.tree.get(folder.key("x"))._replace(name="y"), folder.disk.stat("y"))
    scanner.moved("x", "y")
    scanner.look(())
    assert not scanner.first
    assert folder.tree == folder.on_disk


def test_what_was_wrong_below_a_directory_that_went_is_not_wrong_any_more() -> None:
    folder = Folder()
    folder.user.make_dir("d")
    folder.user.make_dir("gone")
    folder.look_everywhere()
    folder.scanner.troubles.update({"d/odd": "a socket", "gone/odd": "a socket", "odd": "a socket"})
    folder.user.rename("d", "e")
    folder.user.delete("gone")
    folder.scanner.look(("d", "e", "gone"))
    assert folder.scanner.troubles == {"odd": "a socket"}


def test_what_was_wrong_in_a_directory_is_not_wrong_any_more_where_a_file_has_its_place() -> None:
    folder = Folder()
    folder.user.make_dir("d")
    folder.look_everywhere()
    folder.scanner.troubles["d/odd"] = "a socket"
    folder.user.delete("d")
    folder.user.write("d", b"x")
    folder.scanner.look(("d",))
    assert not folder.scanner.troubles


@pytest.mark.parametrize("stays", ["dir/stays", "elsewhere"])
def test_what_went_with_many_others_and_was_not_known_is_forgotten_without_a_look(folder: Folder, stays: str) -> None:
    """A trouble, what we removed ourselves, and one that is known: only that one is asked for once more."""
    paths = [f"dir/{number}" for number in range(look.MANY * 2)]
    folder.user.make_dir("dir")
    for path in [*paths, stays]:
        folder.user.write(path, b"x")
    folder.look_everywhere()
    folder.read()
    folder.scanner.troubles["dir/0"] = "not a file, directory or link"
    for path in paths:
        folder.user.delete(path)
        if path != "dir/1":
            folder.scanner.gone(folder.key(path))
    asked = []
    folder.disk.on_step = lambda call, path: asked.append((call, path))
    folder.scanner.look(paths)
    assert [path for call, path in asked if call == "look" and path in paths] == ["dir/1"]
    assert folder.tree == folder.on_disk
    assert stays in folder.tree
    assert not folder.scanner.troubles
