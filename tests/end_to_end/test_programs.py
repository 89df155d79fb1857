"""What real programs do to files, and that the other machine gets just that: no temporary files, no conflict copies."""

import os
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from blake3 import blake3

from tests.end_to_end.conftest import Site
from tests.end_to_end.machine import Machine, Server, agree, start
from tests.end_to_end.pictures import Picture, picture
from tests.end_to_end.saves import SAVES, Save, replaced, run

pytestmark = pytest.mark.slow
ROUNDS = int(os.environ.get("SSYNCD_PROGRAM_ROUNDS", "3"))


class Pair(NamedTuple):
    """Two machines for all tests of this module; each test has a directory of its own in their folder."""

    site: Site
    one: Machine
    other: Machine

    def agree(self) -> Picture:
        return agree(self.one, self.other)

    def kept(self) -> set[str]:
        """The hashes of all contents in the server's history."""
        return {version.hash for version in self.site.server.versions(self.one.bucket)}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, module_server: Callable[[bool], Server]) -> Iterator[Pair]:
    site = Site(tmp_path_factory.mktemp("programs"), lambda: module_server(False))
    made = Pair(site, *site.pair("hold_least = 1000000\n"))
    start(made.one, made.other)
    yield made
    wrong = site.end()
    report = site.report()
    assert not wrong, f"{wrong}\n{report}"
    assert "Traceback" not in report, report


@pytest.fixture
def here(pair: Pair, request: pytest.FixtureRequest) -> str:
    """The test's directory, on both machines."""
    name = f"d{blake3(request.node.name.encode()).hexdigest()[:8]}"
    pair.one.path(name).mkdir()
    pair.agree()
    return name


@pytest.fixture(params=SAVES)
def save(request: pytest.FixtureRequest) -> Save:
    program, save = SAVES[request.param]
    needs(program)
    return save


def needs(program: str) -> None:
    if program and not shutil.which(program):
        pytest.skip(f"{program} is not installed")


def pause(chance: random.Random) -> None:
    threading.Event().wait(chance.choice((0.0, 0.02, 0.1)))


def test_what_a_program_saves_arrives_and_nothing_else(pair: Pair, here: str, save: Save) -> None:
    """Saves follow each other at once or after a while; the user of the other machine works in the same directory."""
    chance = random.Random(here)
    file = pair.one.write(f"{here}/report.txt", "in the beginning\n")
    expected: Picture = {}
    for number in range(ROUNDS):
        if number % 2 == 0:
            pair.agree()
        save(file, f"save {number} of {here}")
        assert file.read_text() == f"save {number} of {here}\n"
        pause(chance)
        expected[f"other {number}"] = pair.other.write(f"{here}/other {number}", f"{number}").read_bytes()
    pair.agree()
    expected["report.txt"] = f"save {ROUNDS - 1} of {here}\n".encode()
    assert pair.one.picture(here) == expected


def test_what_both_save_at_once_is_all_there(pair: Pair, here: str, save: Save) -> None:
    """In the file, in a conflict copy, or in the server's history: a program may save over what has just come."""
    chance = random.Random(here)
    for number in range(ROUNDS):
        inside = f"{here}/report{number}.txt"
        pair.one.write(inside, "in the beginning\n")
        pair.agree()
        texts = [f"{machine.name} {number} of {here}\n" for machine in (pair.one, pair.other)]
        after = chance.random() / 20
        elsewhere = threading.Thread(
            target=save_after, args=(after, pair.other.path(inside), texts[1]), name="other user"
        )
        elsewhere.start()
        save(pair.one.path(inside), texts[0].strip())
        elsewhere.join()
        shown, kept = pair.agree(), pair.kept()
        for text in texts:
            assert text.encode() in shown.values() or blake3(text.encode()).hexdigest() in kept, (
                f"{text!r} is lost: {shown}"
            )
    names = [name for name in pair.one.names(here) if "(conflict" not in name]
    assert names == sorted(f"report{number}.txt" for number in range(ROUNDS))


def save_after(seconds: float, file: Path, text: str) -> None:
    threading.Event().wait(seconds)
    replaced(file, text.strip())


def test_a_git_repository_is_whole_on_the_other_machine_after_all_that_git_does(pair: Pair, here: str) -> None:
    needs("git")
    repository = pair.one.path(here)
    chance = random.Random(here)

    def git(*arguments: str) -> None:
        run("git", "-c", "user.name=anna", "-c", "user.email=anna@example.org", *arguments, cwd=repository)
        if chance.random() < 0.3:
            pair.agree()

    def commit(name: str, text: str) -> None:
        (repository / name).write_text(text)
        git("add", "-A")
        git("commit", "-q", "-m", f"{name} {text[:20]!r}")

    git("init", "-q", "-b", "main")
    for number in range(2 * ROUNDS):
        commit(f"f{number % 3}", f"{number}\n" * 100)
    git("checkout", "-q", "-b", "topic")
    commit("topic", "of the topic\n")
    commit("f0", "changed on the topic\n")
    git("checkout", "-q", "main")
    commit("main", "of main\n")
    git("rebase", "-q", "main", "topic")
    git("gc", "-q")
    git("checkout", "-q", "main")
    git("merge", "-q", "--no-ff", "--no-edit", "topic")
    git("repack", "-q", "-a", "-d")
    pair.other.write(f"{here}/by the other", "untracked\n")
    shown = pair.agree()
    assert not [path for path in shown if path.startswith(here) and ("(conflict" in path or path.endswith(".lock"))]
    there = pair.other.path(here)
    run("git", "fsck", "--strict", cwd=there)
    assert run("git", "status", "--porcelain", cwd=there) == '?? "by the other"\n'
    assert run("git", "log", "--all", "--format=%H", cwd=there) == run(
        "git", "log", "--all", "--format=%H", cwd=repository
    )
    assert pair.other.read(f"{here}/f0") == b"changed on the topic\n"


def make_tree(top: Path, seed: str) -> None:
    chance = random.Random(seed)
    for number in range(60):
        path = top / f"d{number % 4}" / f"e{number % 3}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chance.randbytes(chance.choice((0, 20, 3000, 90_000))))
        path.chmod(chance.choice((0o644, 0o755)))
    (top / "link").symlink_to(f"d{chance.randrange(4)}")


@pytest.mark.parametrize(
    "options", [("-ac", "--delete"), ("-ac", "--delete", "--inplace"), ("-ac", "--delete", "--delay-updates")]
)
def test_a_tree_that_rsync_copies_again_and_again(
    pair: Pair, here: str, tmp_path: Path, options: tuple[str, ...]
) -> None:
    needs("rsync")
    for number in range(ROUNDS):
        source = tmp_path / f"{number}"
        make_tree(source, f"{here} {number}")
        run("rsync", *options, f"{source}/", pair.one.path(here))
        if number % 2:
            pair.agree()
    pair.agree()
    assert pair.other.picture(here) == picture(source)


def test_an_archive_that_tar_unpacks_over_another(pair: Pair, here: str, tmp_path: Path) -> None:
    needs("tar")
    for number in range(ROUNDS):
        source = tmp_path / f"{number}"
        make_tree(source, f"{here} {number}")
        run("tar", "cf", tmp_path / "a.tar", ".", cwd=source)
        run("tar", "xf", tmp_path / "a.tar", cwd=pair.one.path(here))
    pair.agree()
    assert pair.other.picture(here) == picture(source)
