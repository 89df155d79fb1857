import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pathspec import GitIgnoreSpec

from ssyncd.planner.ignore import BUILT_IN, Ignore, lines_of


def ignored(lines, path):
    """`path` ends in a slash if it is a directory."""
    return Ignore(lines).ignored(path.rstrip("/"), path.endswith("/"))


@pytest.mark.parametrize(
    ("lines", "path", "expected"),
    [
        ([], "a.o", False),
        (["*.o"], "a.o", True),
        (["*.o"], "src/deep/a.o", True),
        (["*.o"], "a.o.txt", False),
        (["/a.o"], "src/a.o", False),
        (["/a.o"], "a.o", True),
        (["build/"], "build/", True),
        (["build/"], "build", False),
        (["build/"], "src/build/x/y", True),
        (["build/", "!build/keep"], "build/keep", True),
        (["build/*", "!build/keep"], "build/keep", False),
        (["build/*", "!build/keep"], "build/other", True),
        (["*.log", "!important.log"], "important.log", False),
        (["!important.log", "*.log"], "important.log", True),
        (["src/*.c"], "src/a.c", True),
        (["src/*.c"], "src/sub/a.c", False),
        (["a/**/z"], "a/b/c/z", True),
        (["**/tmp"], "x/y/tmp/", True),
        (["# a comment", "", "   "], "# a comment", False),
        ([r"\#file"], "#file", True),
        ([r"\!file"], "!file", True),
        (["file "], "file", True),
        (["file\\ "], "file ", True),
        (["*.O\r\n"], "a.O", True),
        (["f?o"], "foo", True),
        (["f?o"], "f/o", False),
        (["[a-c].txt"], "b.txt", True),
        (["é*"], "élan", True),
        (["*"], "any/thing", True),
    ],
)
def test_patterns_mean_what_git_means(lines, path, expected):
    assert ignored(lines, path) is expected


@pytest.mark.parametrize(
    "path",
    [
        ".a.txt.swp",
        "d/.a.swo",
        ".#notes",
        ".~lock.a.odt#",
        "~$a.docx",
        ".goutputstream-X1",
        ".DS_Store",
        ".nfs0001",
    ],
)
def test_what_only_a_running_program_needs_is_ignored(path):
    assert ignored([], path)
    assert ignored(["unrelated"], path)
    assert not ignored([f"!{path.rpartition('/')[2]}"], path)


@pytest.mark.parametrize(
    "path",
    ["a~", "#a#", "a.swp", ".swp", "a.part", ".ssyncdignore", ".git/", "core", "4913", "49130", "~a", "d/.ssyncd/"],
)
def test_what_a_user_may_have_saved_is_not_ignored(path):
    assert not ignored([], path)


@pytest.mark.parametrize("path", [".ssyncd/", ".ssyncd/stage/x"])
def test_our_own_directory_cannot_be_asked_back(path):
    assert ignored([], path)
    assert ignored(["!.ssyncd", "!.ssyncd/**"], path)


def test_a_broken_pattern_is_told_and_the_others_count():
    ignore = Ignore(["*.o", "!", "foo\\", "*.tmp"])
    assert [problem.partition(":")[0] for problem in ignore.problems] == ["line 2", "line 3"]
    assert ignore.ignored("a.o", False)
    assert ignore.ignored("a.tmp", False)


@pytest.mark.parametrize("data", [b"*.o\n*.tmp", b"\xef\xbb\xbf*.o\r\n*.tmp\r\n", b"*.o\n\xff\xfe\n\0\n*.tmp"])
def test_any_bytes_are_an_ignore_file(data):
    ignore = Ignore(lines_of(data))
    assert ignore.ignored("a.o", False)
    assert ignore.ignored("b/a.tmp", False)
    assert not ignore.ignored("a", False)


@given(st.binary(max_size=60), st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=20))
def test_nothing_in_an_ignore_file_raises(data, path):
    Ignore(lines_of(data)).ignored(path.strip("/") or "a", False)


@given(st.text(st.sampled_from("a4913.#~$swpxDSThumbs_Store"), min_size=1, max_size=12))
def test_built_in_patterns_mean_the_same_with_and_without_others(name):
    assert Ignore().ignored(name, False) == GitIgnoreSpec.from_lines(BUILT_IN).match_file(name)


def test_ten_thousand_questions_take_little_time():
    paths = [f"directory {n % 100}/file {n}.txt" for n in range(10_000)]
    ignore = Ignore()
    began = time.process_time()
    assert not any(ignore.ignored(path, False) for path in paths)
    assert time.process_time() - began < 0.1
