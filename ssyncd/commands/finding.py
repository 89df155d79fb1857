"""Finding the daemons of this user, and which one has a folder."""

import shlex
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import Struct

from ssyncd.control import ask, daemons
from ssyncd.errors import Exit, NetworkError, NotRunningError, SsyncdError, UsageError
from ssyncd.status import FolderStatus, Status

_GRACE = 30.0  # seconds for an answer, beyond what was asked to be waited


class Found(Struct, frozen=True):
    """A folder that a daemon has."""

    socket: Path
    folder: FolderStatus

    def request(self, command: str, **arguments: str) -> list[dict[str, Any]]:
        """What the folder answers. It may take as long as it takes: `verify` reads every file."""
        result = self._ask(command, None, arguments=arguments)
        folders: list[dict[str, Any]] = result["folders"]
        return folders

    def wait(self, command: str, timeout: float | None) -> tuple[FolderStatus, Exit]:
        """`wait`, `pull` or `sync`: how it ended, within seconds."""
        grace = None if timeout is None else timeout + _GRACE
        result = self._ask(command, grace, timeout=timeout)
        return Status.from_json(result["status"]).folders[0], Exit(result["exit"])

    def _ask(self, command: str, grace: float | None, **more: Any) -> dict[str, Any]:
        return ask(self.socket, {"command": command, "folder": self.folder.path, **more}, grace)


def statuses(runtime: Path) -> list[tuple[Path, Status]]:
    """The status of every running daemon, with its socket."""
    found = []
    for socket in daemons(runtime):
        try:
            found.append((socket, Status.from_json(ask(socket, {"command": "status"}))))
        except NetworkError:
            # It ended between the listing and the question.
            continue
    return found


def reload(runtime: Path) -> None:
    """Have every running daemon read the settings again, and who this machine is at its server."""
    for socket in daemons(runtime):
        with suppress(SsyncdError):  # it has ended, or is of a version that knows no such question
            ask(socket, {"command": "reload"})


def folders(runtime: Path, called: str | None = None) -> list[Found]:
    """The folders that daemons have, or the one of this path or name. NotRunningError if there is none."""
    found = [Found(socket, folder) for socket, status in statuses(runtime) for folder in status.folders]
    if called is None:
        if not found:
            raise NotRunningError("no daemon runs: ssyncd start")
        return found
    path = str(Path(called).expanduser().resolve())
    named = [one for one in found if one.folder.path == path] or [one for one in found if one.folder.name == called]
    if not named:
        raise NotRunningError(f"{called}: no daemon has this folder: ssyncd start {shlex.quote(called)}")
    return named


def with_path(runtime: Path, path: Path) -> tuple[Found, str]:
    """The folder that a path is in, and the path relative to it. UsageError, NotRunningError."""
    # Only the directories are resolved: the last component may be a link that is itself an entry.
    absolute = Path(path).expanduser().parent.resolve() / path.name
    for one in folders(runtime):
        if absolute.is_relative_to(one.folder.path) and absolute != Path(one.folder.path):
            return one, absolute.relative_to(one.folder.path).as_posix()
    raise UsageError(f"{path}: is in none of the folders that daemons have")


def places(runtime: Path, called: str | None) -> list[tuple[Found, str]]:
    """Every folder, the one of this path or name, or the one that a path is in, each with the path relative to it ("": all of
    it). UsageError, NotRunningError."""
    if called is None:
        return [(one, "") for one in folders(runtime)]
    try:
        return [(one, "") for one in folders(runtime, called)]
    except NotRunningError:
        return [with_path(runtime, Path(called))]


def place(runtime: Path, called: str) -> tuple[Found, str]:
    """The same, of a path or name that must not be that of several folders."""
    one, *others = places(runtime, called)
    if others:
        raise UsageError(f"{called}: several folders are called that; give the path of one")
    return one


def wait(found: Iterable[Found], command: str, timeout: float | None) -> list[tuple[FolderStatus, Exit]]:
    """Ask one after the other; the time is for all together."""
    deadline = None if timeout is None else time.monotonic() + timeout
    ends = []
    for one in found:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        ends.append(one.wait(command, left))
    return ends


def worst(codes: Iterable[int]) -> int:
    """The code that says most: any failure before a hold, a hold before not in time."""
    order = [Exit.OK, Exit.NOT_IN_SYNC, Exit.HELD]
    return max(codes, key=lambda code: order.index(Exit(code)) if code in order else len(order), default=Exit.OK)
