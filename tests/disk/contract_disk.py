"""What every Disk promises. Run by test_real.py and test_memory.py, which give `disk` and `user`."""

from typing import Any

import pytest

from ssyncd.disk.base import Arrival, Disk, Doomed, Stat, Wanted
from ssyncd.errors import ChangedError, DiskError, GoneError

TAG = "0123456789abcdef0123456789abcdef"
OTHER = "f" * 32
MTIME = 1_700_000_000_123_456


def there(disk: Disk, path: str) -> Stat:
    found = disk.stat(path)
    assert found is not None
    return found


def put(
    disk: Disk, path: str, data: bytes, expected: Stat | None = None, exec: bool = False, keep: str | None = None
) -> Stat:
    staged = disk.stage(TAG)
    staged.write(data)
    staged.close()
    return disk.put(staged, path, expected, MTIME, exec, keep)


class DiskContract:
    # Looking

    def test_a_listing_shows_all_kinds_but_nothing_of_ours(self, disk: Disk, user: Any) -> None:
        user.write("file", b"12345")
        user.make_dir("dir")
        user.link("link", "anywhere")
        listing = disk.list("")
        assert {name: stat.kind for name, stat in listing.items()} == {"file": "file", "dir": "dir", "link": "link"}
        assert listing["file"].size == 5
        assert listing["file"].same(disk.stat("file"))

    def test_a_listing_of_nothing_is_an_error_not_empty(self, disk: Disk, user: Any) -> None:
        user.write("file", b"")
        user.link("link", ".")
        for path in ("no", "file", "link", "no/where"):
            with pytest.raises(GoneError):
                disk.list(path)

    def test_stat_of_nothing_is_none(self, disk: Disk, user: Any) -> None:
        user.write("file", b"")
        assert disk.stat("no") is None
        assert disk.stat("no/where") is None
        assert disk.stat("file/below") is None
        assert there(disk, "").kind == "dir"

    def test_an_executable_file_says_so(self, disk: Disk, user: Any) -> None:
        user.write("tool", b"#!")
        assert not there(disk, "tool").exec
        user.set_exec("tool", True)
        assert there(disk, "tool").exec

    def test_it_is_known_how_many_names_a_file_has(self, disk: Disk, user: Any) -> None:
        user.make_dir("dir")
        user.write("dir/file", b"1")
        assert disk.names("dir/file") == 1
        user.name_too("dir/file", "second")
        assert disk.names("dir/file") == disk.names("second") == 2
        user.delete("dir/file")
        assert (disk.names("dir/file"), disk.names("second"), disk.names("no/where")) == (0, 1, 0)

    def test_a_file_is_read_from_the_start_and_anywhere(self, disk: Disk, user: Any) -> None:
        user.write("file", b"0123456789")
        reader = disk.open("file")
        assert (reader.read(4), reader.read(100), reader.read(1)) == (b"0123", b"456789", b"")
        assert reader.read_at(3, 5) == reader.read_once(3, 5) == b"567"
        assert reader.stat().same(disk.stat("file"))
        reader.close()
        reader.close()

    def test_small_files_are_read_together(self, disk: Disk, user: Any) -> None:
        user.make_dir("dir")
        for name in ("dir/one", "dir/shorter", "dir/longer", "dir/gone", "dir/swapped", "top", "empty"):
            user.write(name, b"" if name == "empty" else name.encode())
        wanted = [Wanted(name, there(disk, name)) for name in user.tree() if name != "dir"]
        user.write("dir/shorter", b"short")
        user.write("dir/longer", b"longer than before")
        user.delete("dir/gone")
        user.delete("dir/swapped")
        user.link("dir/swapped", "one")
        found = dict(zip((one.path for one in wanted), disk.read_files(wanted), strict=True))
        changed = {path: type(one) for path, one in found.items() if isinstance(one, DiskError)}
        assert changed == {
            "dir/shorter": ChangedError,
            "dir/longer": ChangedError,
            "dir/gone": GoneError,
            "dir/swapped": ChangedError,
        }
        assert {path: one for path, one in found.items() if path not in changed} == {
            "dir/one": (b"dir/one", False),
            "top": (b"top", False),
            "empty": (b"", False),
        }
        assert all(one.path == path for path, one in found.items() if isinstance(one, DiskError))
        assert list(disk.read_files([])) == []

    def test_many_files_of_one_directory_are_read_in_their_order(self, disk: Disk, user: Any) -> None:
        for number in range(150):
            user.write(str(number), b"%d" % number)
        wanted = [Wanted(str(number), there(disk, str(number))) for number in range(150)]
        assert list(disk.read_files(wanted)) == [(b"%d" % number, False) for number in range(150)]

    def test_only_a_file_is_opened(self, disk: Disk, user: Any) -> None:
        user.write("file", b"")
        user.make_dir("dir")
        user.link("link", "file")
        for path in ("dir", "link"):
            with pytest.raises(ChangedError):
                disk.open(path)
        with pytest.raises(GoneError):
            disk.open("no")

    def test_a_link_is_read_and_never_followed(self, disk: Disk, user: Any) -> None:
        user.make_dir("dir")
        user.write("dir/file", b"x")
        user.link("link", "dir")
        assert disk.read_link("link") == "dir"
        assert disk.stat("link/file") is None
        with pytest.raises(GoneError):
            disk.open("link/file")
        with pytest.raises(GoneError):
            put(disk, "link/new", b"x")
        with pytest.raises(ChangedError):
            disk.read_link("dir")

    def test_what_a_link_says_is_utf_8(self, disk: Disk, user: Any) -> None:
        user.link("link", "\udcff")
        assert there(disk, "link").kind == "link"
        with pytest.raises(DiskError, match="UTF-8"):
            disk.read_link("link")

    @pytest.mark.parametrize(
        "path", ["../out", "a/../../out", "/etc/passwd", "a//b", "./a", ".", "", ".ssyncd/lock", ".SSYNCD", "nul\0byte"]
    )
    def test_a_path_that_is_no_chain_of_names_is_refused(self, disk: Disk, user: Any, path: str) -> None:
        user.make_dir("a")
        before = user.tree()
        with pytest.raises(DiskError):
            put(disk, path, b"x")
        with pytest.raises(DiskError):
            disk.make_dir(path)
        with pytest.raises(DiskError):
            disk.move("a", path, there(disk, "a"))
        assert user.tree() == before

    def test_a_name_too_long_is_an_error_of_that_path(self, disk: Disk) -> None:
        with pytest.raises(DiskError, match="too long"):
            put(disk, "x" * 256, b"")

    # Staging and putting

    def test_a_new_file_has_its_bytes_its_mtime_and_no_exec(self, disk: Disk, user: Any) -> None:
        seen = put(disk, "file", b"hello")
        assert user.tree() == {"file": b"hello"}
        assert seen == there(disk, "file")
        assert (seen.kind, seen.size, seen.mtime, seen.exec) == ("file", 5, MTIME * 1000, False)
        assert disk.leftovers() == ()

    def test_exec_is_set_and_taken_away(self, disk: Disk) -> None:
        first = put(disk, "tool", b"1", exec=True)
        assert first.exec
        second = put(disk, "tool", b"22", first)
        assert not second.exec
        assert disk.set_exec("tool", True, second).exec
        assert there(disk, "tool").exec
        with pytest.raises(ChangedError):
            disk.set_exec("tool", False, first)

    def test_staged_bytes_are_written_and_read_anywhere(self, disk: Disk, user: Any) -> None:
        staged = disk.stage(TAG)
        staged.write(b"abc")
        staged.write(b"def")
        staged.write_at(b"XY", 10)
        assert staged.size() == 12
        assert staged.read_at(20, 4) == b"ef\0\0\0\0XY"
        staged.close()
        disk.put(staged, "file", None, MTIME, False)
        assert user.read("file") == b"abcdef\0\0\0\0XY"

    def test_a_broken_off_transfer_is_resumed_by_its_tag_only(self, disk: Disk) -> None:
        staged = disk.stage(TAG)
        staged.write(b"half")
        staged.close()
        assert disk.stage(OTHER, resume=True).size() == 0
        again = disk.stage(TAG, resume=True)
        assert again.read_at(10, 0) == b"half"
        again.close()
        assert disk.stage(TAG).size() == 0

    def test_a_discarded_file_is_gone(self, disk: Disk) -> None:
        staged = disk.stage(TAG)
        staged.write(b"half")
        staged.discard()
        assert disk.stage(TAG, resume=True).size() == 0

    def test_put_refuses_what_is_there_unexpected(self, disk: Disk, user: Any) -> None:
        user.write("file", b"mine")
        user.make_dir("dir")
        user.link("link", "file")
        for path in ("file", "dir", "link"):
            with pytest.raises(ChangedError):
                put(disk, path, b"theirs")
        assert user.tree() == {"file": b"mine", "dir": None, "link": "file"}

    def test_put_replaces_what_is_expected(self, disk: Disk, user: Any) -> None:
        user.write("file", b"old")
        seen = put(disk, "file", b"new", there(disk, "file"))
        assert user.tree() == {"file": b"new"}
        assert seen == there(disk, "file")
        assert disk.leftovers() == ()

    @pytest.mark.parametrize("how", ["write", "save", "delete"])
    def test_put_refuses_what_was_changed_since(self, disk: Disk, user: Any, how: str) -> None:
        user.write("file", b"old")
        expected = there(disk, "file")
        if how == "delete":
            user.delete("file")
        else:
            getattr(user, how)("file", b"newer")
        before = user.tree()
        with pytest.raises((ChangedError, GoneError)):
            put(disk, "file", b"theirs", expected)
        assert user.tree() == before

    def test_a_refused_file_can_be_put_later(self, disk: Disk, user: Any) -> None:
        user.write("file", b"mine")
        staged = disk.stage(TAG)
        staged.write(b"theirs")
        staged.close()
        with pytest.raises(ChangedError):
            disk.put(staged, "file", None, MTIME, False)
        disk.put(staged, "file", there(disk, "file"), MTIME, False)
        assert user.tree() == {"file": b"theirs"}
        assert disk.leftovers() == ()

    def test_a_file_that_is_being_written_is_left_alone(self, disk: Disk, user: Any) -> None:
        user.write("file", b"old")
        with user.open("file") as writing:
            expected = there(disk, "file")
            with pytest.raises(ChangedError, match="writing"):
                put(disk, "file", b"theirs", expected)
            with pytest.raises(ChangedError, match="writing"):
                disk.remove("file", OTHER, expected)
            writing.write(b"mine")
        assert user.tree() == {"file": b"mine"}
        put(disk, "file", b"theirs", there(disk, "file"))
        assert user.tree() == {"file": b"theirs"}

    def test_whether_a_file_is_being_written_can_be_asked(self, disk: Disk, user: Any) -> None:
        user.write("file", b"old")
        user.make_dir("dir")
        assert not disk.being_written("file")
        with user.open("file") as writing:
            assert disk.being_written("file")
            writing.write(b"mine")
        reading, wanted = disk.open("file"), Wanted("file", there(disk, "file"))
        assert not disk.being_written("file")
        assert not reading.being_written()
        assert list(disk.read_files([wanted])) == [(b"mine", False)]
        with user.open("file", keep=True):
            assert reading.being_written()
            assert list(disk.read_files([wanted])) == [(b"mine", True)]
        reading.close()
        assert not any(disk.being_written(path) for path in ("dir", "nothing", "no/where"))

    def test_put_into_a_missing_directory_says_gone(self, disk: Disk, user: Any) -> None:
        user.write("file", b"")
        for path in ("no/file", "file/below"):
            with pytest.raises(GoneError):
                put(disk, path, b"")

    # Directories and links

    def test_new_files_are_put_together(self, disk: Disk, user: Any) -> None:
        user.make_dir("dir")
        user.write("dir/taken", b"mine")
        arrivals = []
        for number, path in enumerate(("dir/one", "top", "dir/taken", "no/where", "dir/tool")):
            staged = disk.stage(f"tag{number}")
            staged.write(b"new")
            staged.close()
            arrivals.append(Arrival(staged, path, MTIME, path == "dir/tool"))
        found = disk.put_new(arrivals)
        for arrival in arrivals:
            assert found[arrival.path] == disk.stat(arrival.path) or isinstance(found[arrival.path], DiskError)
        failed = {path: type(one) for path, one in found.items() if isinstance(one, DiskError)}
        assert failed == {"dir/taken": ChangedError, "no/where": GoneError}
        assert user.tree() == {"dir": None, "dir/taken": b"mine", "dir/one": b"new", "dir/tool": b"new", "top": b"new"}
        assert there(disk, "dir/tool").exec
        assert not there(disk, "dir/one").exec
        assert there(disk, "top").mtime == MTIME * 1000
        # What could not be put is still staged.
        user.make_dir("no")
        assert disk.put_new([arrivals[3]]) == {"no/where": disk.stat("no/where")}
        assert disk.put_new([]) == {}

    def test_a_directory_is_made_once(self, disk: Disk, user: Any) -> None:
        assert disk.make_dir("dir").same(disk.stat("dir"))
        disk.make_dir("dir/below")
        user.write("file", b"")
        for path in ("dir", "file"):
            with pytest.raises(ChangedError):
                disk.make_dir(path)
        with pytest.raises(GoneError):
            disk.make_dir("no/dir")

    def test_links_are_made_and_replaced_but_never_blindly(self, disk: Disk, user: Any) -> None:
        first = disk.make_link("link", "../somewhere/else", None)
        assert user.tree() == {"link": "../somewhere/else"}
        with pytest.raises(ChangedError):
            disk.make_link("link", "new", None)
        second = disk.make_link("link", "new", first)
        assert second.same(disk.stat("link"))
        with pytest.raises(ChangedError):
            disk.make_link("link", "newer", first)
        assert user.tree() == {"link": "new"}
        assert disk.leftovers() == ()

    @pytest.mark.parametrize("target", ["", "nul\0byte"])
    def test_a_link_that_no_disk_can_hold_is_refused(self, disk: Disk, target: str) -> None:
        with pytest.raises(DiskError):
            disk.make_link("link", target, None)
        assert disk.stat("link") is None

    # Moving

    def test_files_and_directories_move(self, disk: Disk, user: Any) -> None:
        user.make_dir("a")
        user.make_dir("b")
        user.write("a/file", b"x")
        moved = disk.move("a", "b/c", there(disk, "a"))
        assert moved == there(disk, "b/c")
        disk.move("b/c/file", "file", there(disk, "b/c/file"))
        assert user.tree() == {"b": None, "b/c": None, "file": b"x"}

    def test_a_move_replaces_nothing(self, disk: Disk, user: Any) -> None:
        user.write("one", b"1")
        user.write("two", b"2")
        user.make_dir("dir")
        for target in ("two", "dir"):
            with pytest.raises(ChangedError):
                disk.move("one", target, there(disk, "one"))
        assert user.tree() == {"one": b"1", "two": b"2", "dir": None}

    def test_a_move_looks_at_its_source(self, disk: Disk, user: Any) -> None:
        user.write("one", b"1")
        expected = there(disk, "one")
        user.save("one", b"new")
        with pytest.raises(ChangedError):
            disk.move("one", "two", expected)
        user.delete("one")
        with pytest.raises(GoneError):
            disk.move("one", "two", expected)
        assert user.tree() == {}

    def test_a_directory_does_not_move_into_itself(self, disk: Disk, user: Any) -> None:
        user.make_dir("dir")
        user.make_dir("dir/below")
        with pytest.raises(ChangedError):
            disk.move("dir", "dir/below/dir", there(disk, "dir"))
        assert user.tree() == {"dir": None, "dir/below": None}

    def test_two_names_are_swapped_by_parking_one(self, disk: Disk, user: Any) -> None:
        user.write("one", b"1")
        user.make_dir("two")
        user.write("two/in", b"2")
        disk.park("one", TAG, there(disk, "one"))
        disk.move("two", "one", there(disk, "two"))
        with pytest.raises(ChangedError):
            disk.unpark(TAG, "one")
        disk.unpark(TAG, "two")
        assert user.tree() == {"one": None, "one/in": b"2", "two": b"1"}
        with pytest.raises(GoneError):
            disk.unpark(TAG, "three")

    def test_two_things_are_not_parked_under_one_tag(self, disk: Disk, user: Any) -> None:
        user.write("one", b"1")
        user.write("two", b"2")
        disk.park("one", TAG, there(disk, "one"))
        with pytest.raises(ChangedError):
            disk.park("two", TAG, there(disk, "two"))
        assert user.tree() == {"two": b"2"}

    # Keeping what is replaced

    def test_what_is_replaced_can_be_kept_beside(self, disk: Disk, user: Any) -> None:
        user.make_dir("dir")
        user.write("dir/file", b"mine")
        expected = there(disk, "dir/file")
        seen = put(disk, "dir/file", b"theirs", expected, keep="dir/conflict")
        assert user.tree() == {"dir": None, "dir/file": b"theirs", "dir/conflict": b"mine"}
        assert seen.same(disk.stat("dir/file"))
        assert expected.same(disk.stat("dir/conflict"))
        assert disk.leftovers() == ()

    def test_nothing_is_replaced_to_be_kept_where_something_is(self, disk: Disk, user: Any) -> None:
        user.write("file", b"mine")
        user.write("taken", b"mine")
        with pytest.raises(ChangedError):
            put(disk, "file", b"theirs", there(disk, "file"), keep="taken")
        expected = there(disk, "file")
        user.write("file", b"edited")
        with pytest.raises(ChangedError):
            put(disk, "file", b"theirs", expected, keep="conflict")
        assert user.tree() == {"file": b"edited", "taken": b"mine"}

    def test_a_link_is_kept_as_a_link(self, disk: Disk, user: Any) -> None:
        user.link("link", "mine")
        disk.make_link("link", "theirs", there(disk, "link"), keep="conflict")
        assert user.tree() == {"link": "theirs", "conflict": "mine"}

    # Removing

    def test_what_is_expected_is_removed(self, disk: Disk, user: Any) -> None:
        user.write("file", b"")
        user.make_dir("dir")
        user.link("link", "file")
        for path in ("file", "dir", "link"):
            disk.remove(path, TAG, there(disk, path))
        assert user.tree() == {}
        assert disk.leftovers() == ()

    def test_what_was_changed_is_not_removed(self, disk: Disk, user: Any) -> None:
        user.write("file", b"old")
        expected = there(disk, "file")
        user.write("file", b"newer")
        with pytest.raises(ChangedError):
            disk.remove("file", TAG, expected)
        user.delete("file")
        user.make_dir("file")
        with pytest.raises(ChangedError):
            disk.remove("file", TAG, expected)
        user.delete("file")
        with pytest.raises(GoneError):
            disk.remove("file", TAG, expected)
        assert disk.leftovers() == ()

    def test_files_of_many_directories_are_removed_together(self, disk: Disk, user: Any) -> None:
        doomed = []
        for number in range(30):
            directory = ("", "one/", "two/", "two/inner/")[number % 4]
            if directory and directory.rstrip("/") not in user.tree():
                user.make_dir(directory.rstrip("/"))
            user.write(f"{directory}{number}", b"1")
            doomed.append(Doomed(f"{directory}{number}", f"tag-{number}", there(disk, f"{directory}{number}")))
        user.write("two/inner/7", b"newer")
        stayed = disk.remove_files(doomed)
        assert {path: type(error) for path, error in stayed.items()} == {"two/inner/7": ChangedError}
        assert user.tree() == {"one": None, "two": None, "two/inner": None, "two/inner/7": b"newer"}
        assert disk.leftovers() == ()

    def test_files_of_one_directory_are_removed_together(self, disk: Disk, user: Any) -> None:
        user.make_dir("dir")
        user.write("dir/file", b"1")
        user.link("dir/link", "file")
        user.write("dir/changed", b"1")
        user.write("dir/gone", b"1")
        doomed = [
            Doomed(f"dir/{name}", name, there(disk, f"dir/{name}")) for name in ("file", "changed", "gone", "link")
        ]
        user.write("dir/changed", b"newer")
        user.delete("dir/gone")
        stayed = disk.remove_files(doomed)
        assert {path: type(error) for path, error in stayed.items()} == {
            "dir/changed": ChangedError,
            "dir/gone": GoneError,
        }
        assert all(error.path == path for path, error in stayed.items())
        assert user.tree() == {"dir": None, "dir/changed": b"newer"}
        assert disk.leftovers() == ()
        assert disk.remove_files([]) == {}

    def test_where_the_directory_is_gone_none_is_removed(self, disk: Disk, user: Any) -> None:
        user.make_dir("dir")
        for name in ("one", "two"):
            user.write(f"dir/{name}", b"1")
        doomed = [Doomed(f"dir/{name}", name, there(disk, f"dir/{name}")) for name in ("one", "two")]
        user.rename("dir", "moved")
        stayed = disk.remove_files(doomed)
        assert [(path, type(error), error.path) for path, error in stayed.items()] == [
            (path, GoneError, path) for path in ("dir/one", "dir/two")
        ]
        assert user.tree() == {"moved": None, "moved/one": b"1", "moved/two": b"1"}

    def test_a_directory_with_something_in_it_stays(self, disk: Disk, user: Any) -> None:
        user.make_dir("dir")
        expected = there(disk, "dir")
        user.write("dir/new", b"x")
        with pytest.raises(ChangedError, match="not empty"):
            disk.remove("dir", TAG, expected)
        assert user.tree() == {"dir": None, "dir/new": b"x"}

    # Leftovers

    def test_a_leftover_is_read_restored_and_dropped(self, disk: Disk, user: Any) -> None:
        user.write("one", b"1")
        user.write("two", b"2")
        user.write("taken", b"3")
        disk.park("one", TAG, there(disk, "one"))
        disk.park("two", OTHER, there(disk, "two"))
        found = {leftover.tag: leftover for leftover in disk.leftovers()}
        assert {tag: leftover.origin for tag, leftover in found.items()} == {TAG: "parked", OTHER: "parked"}
        reader = disk.open_leftover(found[TAG])
        assert reader.read(10) == b"1"
        reader.close()
        with pytest.raises(ChangedError):
            disk.restore(found[TAG], "taken")
        disk.restore(found[TAG], "again")
        disk.drop(found[OTHER])
        disk.drop(found[OTHER])
        assert disk.leftovers() == ()
        assert user.tree() == {"again": b"1", "taken": b"3"}

    def test_a_parked_directory_is_not_dropped_with_what_is_in_it(self, disk: Disk, user: Any) -> None:
        user.make_dir("dir")
        user.write("dir/file", b"x")
        disk.park("dir", TAG, there(disk, "dir"))
        (leftover,) = disk.leftovers()
        with pytest.raises(ChangedError):
            disk.drop(leftover)
        disk.restore(leftover, "back")
        assert user.tree() == {"back": None, "back/file": b"x"}

    def test_free_space_and_flush_work(self, disk: Disk) -> None:
        disk.flush()
        assert disk.free() > 0
        disk.check_root()

    def test_a_folder_that_is_another_ones_root_is_marked_and_not_touched(self, disk: Disk, user: Any) -> None:
        user.make_dir("other")
        user.make_dir("other/.ssyncd")
        before = there(disk, "other")
        user.write("other/.ssyncd/folder", b"{}")
        assert disk.list("")["other"].kind == "root"
        assert there(disk, "other").kind == "root"
        with pytest.raises(ChangedError):
            disk.move("other", "moved", before)
