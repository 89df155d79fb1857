"""What users do, as functions of (user, one, two): the numbers choose from what is there.

Every file's bytes are tokens like `<17>`, each written once; the ledger knows which of them somebody knowingly replaced or
deleted.
"""

import re
from collections.abc import Callable

from ssyncd.disk.memory import User
from ssyncd.folder.exclusion import IGNORE_FILE
from tests.simulation.machine import Machine

TOKEN = re.compile(rb"<\d+>")
NAMES = ("a", "b", "c", "d")
LARGE = 36_000
"""Bytes: more than travels inside an object."""
MOST_DEPTH = 4
RULES = (b"a", b"b", b"/c", b"d", b"/a/b", b"a/*", b"!/b/a", b"/d/c")
"""Lines of a `.ssyncdignore`: it holds some of them."""
RULES_BEGIN = b"# "


class Ledger:
    """`written` tokens, `forgiven` ones, and every whole content that a user gave a file."""

    def __init__(self) -> None:
        self.written: set[bytes] = set()
        self.forgiven: set[bytes] = set()
        self.contents: set[bytes] = set()
        self.moved_over: set[bytes] = set()
        self._count = 0

    def token(self, large: bool = False) -> bytes:
        self._count += 1
        token = b"<%d>" % self._count
        self.written.add(token)
        return token + b"." * (LARGE * large)

    def tokens(self, tree: dict[str, bytes | str | None]) -> set[bytes]:
        return set(TOKEN.findall(b"".join(value for value in tree.values() if isinstance(value, bytes))))

    def forgive(self, data: bytes) -> None:
        self.forgiven.update(TOKEN.findall(data))


class Users:
    """The operations; each does nothing where the numbers choose something impossible."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self._freed: set[tuple[str, str]] = set()
        """Disks and paths where something was deleted: what is moved there in the same moment looks as if moved over it."""
        self.verbs: tuple[Callable[[Machine, int, int], None], ...] = (
            self.write,
            self.save,
            self.append,
            self.make_dir,
            self.make_dir,
            self.rename,
            self.rename,
            self.rename_dir,
            self.delete,
            self.delete_tree,
            self.set_exec,
            self.link,
            self.change_type,
            self.swap,
            self.grow_tree,
            self.rewrite,
        )

    # Choosing

    def _dirs(self, user: User) -> list[str]:
        return ["", *(path for path, value in user.tree().items() if value is None)]

    def _files(self, user: User) -> list[str]:
        return [path for path, value in user.tree().items() if isinstance(value, bytes)]

    def _place(self, user: User, one: int, two: int) -> str:
        dirs = [path for path in self._dirs(user) if path.count("/") < MOST_DEPTH]
        directory, name = dirs[one % len(dirs)], NAMES[two % len(NAMES)]
        return f"{directory}/{name}" if directory else name

    def _any(self, user: User, number: int) -> str | None:
        paths = list(user.tree())
        return paths[number % len(paths)] if paths else None

    def _put(self, user: User, path: str, large: bool = False, save: bool = False) -> None:
        found = user.tree().get(path, b"")
        if not isinstance(found, bytes) or (save and not isinstance(user.tree().get(f"{path}~", b""), bytes)):
            return
        data = self.ledger.token(large)
        self.ledger.forgive(found)
        if save and isinstance(beside := user.tree().get(f"{path}~"), bytes):
            self.ledger.forgive(beside)  # left there by a crash
        self.ledger.contents.add(data)
        (user.save if save else user.write)(path, data)

    # Doing

    def hit(self, machine: Machine, path: str, number: int) -> None:
        """Something is done to this path, if it can be."""
        user = machine.user
        value = user.tree().get(path, b"")
        if value is None or path.rpartition("/")[0] not in self._dirs(user) or path.endswith("~"):
            return
        if number % 3 and isinstance(value, bytes):
            self._put(user, path, save=number % 2 == 0)
        elif path in user.tree():
            self._delete(machine, path)

    def write(self, machine: Machine, one: int, two: int) -> None:
        self._put(machine.user, self._place(machine.user, one, two), one % 16 == 15)

    def save(self, machine: Machine, one: int, two: int) -> None:
        self._put(machine.user, self._place(machine.user, one, two), save=True)

    def rewrite(self, machine: Machine, one: int, two: int) -> None:
        """A file that is there, with as many bytes as before where the tokens allow it."""
        files = self._files(machine.user)
        if files:
            self._put(machine.user, files[one % len(files)], two % 16 == 15)

    def append(self, machine: Machine, one: int, two: int) -> None:
        files = self._files(machine.user)
        if files:
            path = files[one % len(files)]
            old = machine.user.read(path)
            token = self.ledger.token()
            self.ledger.contents.add(old + token)
            with machine.user.open(path, keep=True) as writing:
                writing.write(token)

    def make_dir(self, machine: Machine, one: int, two: int) -> None:
        path = self._place(machine.user, one, two)
        if path not in machine.user.tree():
            machine.user.make_dir(path)

    def grow_tree(self, machine: Machine, one: int, two: int) -> None:
        """A directory with something in it, at once."""
        path = self._place(machine.user, one, two)
        if path not in machine.user.tree():
            machine.user.make_dir(path)
            self._put(machine.user, f"{path}/a")
            machine.user.make_dir(f"{path}/b")
            self._put(machine.user, f"{path}/b/c")

    def rename(self, machine: Machine, one: int, two: int) -> None:
        """Anything; over a file too, as rename(2) does."""
        user, source = machine.user, self._any(machine.user, one)
        target = self._place(user, two, one + two)
        if source is None or target == source or target.startswith(source + "/"):
            return
        tree = user.tree()
        if target in tree:
            if not isinstance(tree[target], bytes) or not isinstance(tree[source], bytes):
                return
            self.ledger.forgive(user.read(target))
            self._note_moved_over(user, source)
        elif (machine.name, target) in self._freed:
            self._note_moved_over(user, source)
        user.rename(source, target)

    def rename_dir(self, machine: Machine, one: int, two: int) -> None:
        dirs, tree = self._dirs(machine.user)[1:], machine.user.tree()
        if dirs:
            source, target = dirs[one % len(dirs)], self._place(machine.user, two, one // 7)
            if target not in tree and not target.startswith(source + "/"):
                machine.user.rename(source, target)

    def delete(self, machine: Machine, one: int, two: int) -> None:
        paths = [path for path, value in machine.user.tree().items() if value is not None]
        if paths:
            self._delete(machine, paths[one % len(paths)])

    def delete_tree(self, machine: Machine, one: int, two: int) -> None:
        path = self._any(machine.user, one)
        if path is not None:
            self._delete(machine, path)

    def rule(self, machine: Machine, one: int, two: int) -> None:
        """Something else is left out from now on, on every machine."""
        found = machine.user.tree().get(IGNORE_FILE, b"")
        if not isinstance(found, bytes):
            return
        if two % 4 == 0:
            self.end_rules(machine)
            return
        chosen = [line for bit, line in enumerate(RULES) if one >> bit & 1 and two >> bit & 1]
        data = b"%s%s\n%s\n" % (RULES_BEGIN, self.ledger.token(), b"\n".join(chosen))
        self.ledger.forgive(found)
        self.ledger.contents.add(data)
        machine.user.write(IGNORE_FILE, data)

    def end_rules(self, machine: Machine) -> None:
        """Nothing is left out any more."""
        if isinstance(machine.user.tree().get(IGNORE_FILE), bytes):
            self._delete(machine, IGNORE_FILE)

    def _delete(self, machine: Machine, path: str) -> None:
        user = machine.user
        self._freed.add((machine.name, path))
        for below, value in user.tree().items():
            if isinstance(value, bytes) and (below == path or below.startswith(path + "/")):
                self.ledger.forgive(value)
        user.delete(path)

    def set_exec(self, machine: Machine, one: int, two: int) -> None:
        files = self._files(machine.user)
        if files:
            machine.user.set_exec(files[one % len(files)], two % 2 == 0)

    def link(self, machine: Machine, one: int, two: int) -> None:
        path = self._place(machine.user, one, two)
        if path not in machine.user.tree():
            machine.user.link(path, f"to{one % 3}")

    def change_type(self, machine: Machine, one: int, two: int) -> None:
        path = self._any(machine.user, one)
        if path is None:
            return
        was = machine.user.tree()[path]
        self._delete(machine, path)
        if was is None:
            self._put(machine.user, path)
        elif two % 3:
            machine.user.make_dir(path)
        else:
            machine.user.link(path, "to9")

    def swap(self, machine: Machine, one: int, two: int) -> None:
        """Two things change places."""
        first, second = self._any(machine.user, one), self._any(machine.user, two)
        if first is None or second is None or first == second or "swapping" in machine.user.tree():
            return
        if first.startswith(second + "/") or second.startswith(first + "/"):
            return
        aside = "swapping"
        self._note_moved_over(machine.user, first, second)
        machine.user.rename(first, aside)
        machine.user.rename(second, first)
        machine.user.rename(aside, second)

    def _note_moved_over(self, user: User, *paths: str) -> None:
        """A file whose name another file takes is edited, as anybody else sees it: the bytes are in two entries for a while."""
        tree = user.tree()
        for path in paths:
            self.ledger.moved_over.update(
                value
                for below, value in tree.items()
                if isinstance(value, bytes) and f"{below}/".startswith(f"{path}/")
            )
