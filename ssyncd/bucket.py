"""The library: one bucket of JSON objects, kept in step with a Simperium server while the program does something else.

    class Notes:
        def init(self, version, entities): ...      # everything there is, once
        def update(self, change): ...               # every state received afterwards

    with start_syncing(Notes(), Secrets.from_login(), state=Path("notes.db")) as handle:
        handle.set("shopping", {"text": "milk"})

Offline, edits wait; with a state file they outlive the program. When the connection is back they are rebased onto what others
did meanwhile: texts merge as text, members one by one, and where both set one value the later one at the server wins.
"""

import logging
import secrets as chance
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from ssyncd import __version__
from ssyncd.errors import NetworkError, SsyncdError, UsageError
from ssyncd.library.access import Secrets
from ssyncd.library.memory import Loaded, Memory
from ssyncd.library.replica import Change, Outcome, Refusal, Replica
from ssyncd.library.statefile import StateFile
from ssyncd.library.syncing import Syncing
from ssyncd.library.values import checked, copied
from ssyncd.network.base import Connection
from ssyncd.network.dial import Trust
from ssyncd.network.websocket import WebSocketConnection
from ssyncd.protocol.messages import Init, valid_bucket, valid_key

__all__ = ["Bucket", "Change", "Handle", "Refusal", "Secrets", "start_syncing"]

log = logging.getLogger(__name__)

BACKLOG = 10_000
"""Objects that may have unsent changes before no more are taken."""
FIRST_ANSWER = 30.0
FAREWELL = 5.0


class Bucket(Protocol):
    """What an application gives. Two things more are used if it has them: `name`, the bucket's name at the server (else that of
    the class, in lower case), and `refused(refusal)`, called like `update` when the server will not take a change."""

    def init(self, version: str, entities: dict[str, dict[str, Any]]) -> None:
        """All objects there are, by key; runs once, in `start_syncing`, on the thread that called it. `version` is the server's
        change version ("cv"), "" if it was never reached."""

    def update(self, change: Change) -> None:
        """One state received after `init`, in order, on a thread of its own; own changes too, with `change.mine`. If it raises,
        syncing ends, and `Handle.failure` has that."""


class Handle:
    """Objects of one bucket, from any thread. Values go in and out as copies.

    A method raises what ended the syncing, if something did (SignInError: the token is not accepted any more), and UsageError
    after `stop`. Use it in `with`, or call `stop`.
    """

    def __init__(self, syncing: Syncing) -> None:
        self.name = syncing.name
        self._syncing = syncing

    # Reading

    def get(self, key: str) -> dict[str, Any] | None:
        """The object as it is here, unsent edits included; None if there is none."""
        data: dict[str, Any] | None = self._syncing.read(lambda replica: copied(replica.view(key)))
        return data

    def entities(self) -> dict[str, dict[str, Any]]:
        """All objects."""
        return self._syncing.read(Replica.entities)

    # Changing: none of these waits for the network

    def set(
        self, key: str, data: Mapping[str, Any], *, base: Mapping[str, Any] | None = None, wait: float = 0.0
    ) -> None:
        """Make an object this; only the difference is sent.

        `base` is what `data` was made from: what others changed since then is merged in, not overwritten. Where the server has
        no object, `base` is what everybody begins with. With a state file the change is in it on return.

        UsageError for a key that is none (1 to 256 of A-Za-z0-9._-%@; no dots, if official JavaScript clients share the bucket:
        they cut keys at the first one) or data that is no JSON; BacklogError if 10,000 objects
        have unsent changes, after `wait` seconds for one to be sent (not in `update`); StateError.
        """
        plain = None if base is None else checked(base)
        self._syncing.edit(_checked_key(key), checked(data), plain, BACKLOG, wait)

    def edit(
        self, key: str, function: Callable[[dict[str, Any] | None], Mapping[str, Any] | None], *, wait: float = 0.0
    ) -> None:
        """Make an object what `function` makes of it; both may be None. What changes meanwhile is merged. Errors as in `set`."""
        before = self.get(_checked_key(key))
        base = {} if before is None else copied(before)
        after = function(before)
        plain = None if after is None else checked(after)
        self._syncing.edit(key, plain, base, BACKLOG, wait)

    def delete(self, key: str, *, wait: float = 0.0) -> None:
        """Remove an object. An edit of somebody else that this program had not seen beats it. Errors as in `set`."""
        self._syncing.edit(_checked_key(key), None, None, BACKLOG, wait)

    def discard(self, key: str) -> None:
        """Give up the unsent edit of an object, a refused one too; what is on its way already stays."""
        self._syncing.discard(_checked_key(key))

    # How it stands

    @property
    def connected(self) -> bool:
        """Whether changes come and go at the moment."""
        return self._syncing.live

    @property
    def reason(self) -> str:
        """Why the latest connection ended or could not be made."""
        return self._syncing.reason

    @property
    def unsent(self) -> int:
        """How many objects have changes that the server has not confirmed."""
        return self._syncing.read(Replica.unsent)

    @property
    def refused(self) -> dict[str, int]:
        """Keys whose edit the server does not take, with the code (413 too large, ...). It stays here until it is edited again
        or discarded."""
        return self._syncing.read(Replica.refused)

    @property
    def failure(self) -> SsyncdError | None:
        """What ended the syncing."""
        return self._syncing.failure

    def wait(self, timeout: float | None = None) -> bool:
        """Whether everything is confirmed by the server (durable there) within `timeout` seconds."""
        return self._syncing.wait_sent(timeout)

    def stop(self, timeout: float = FAREWELL) -> None:
        """End it. With a connection, unsent changes get `timeout` seconds; what then is left stays in the state file, and is lost
        without one. Waits for a running `update`, unless it is called there. Again is harmless."""
        try:
            self._syncing.wait_sent(timeout, only_connected=True)
        except SsyncdError as error:
            log.debug("%s: stopping: %s", self.name, error)
        self._syncing.stop()

    def __enter__(self) -> "Handle":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start_syncing(
    bucket: Bucket,
    secrets: Secrets,
    *,
    state: Path | str | None = None,
    name: str | None = None,
    timeout: float = FIRST_ANSWER,
    offline: bool = False,
) -> Handle:
    """Run `bucket.init` once, then `bucket.update` for every state received, until `Handle.stop`.

    With a `state` file that was used before, `init` has what is in it and the rest comes as updates, connection or not. Else it
    waits up to `timeout` seconds for the server to tell everything; `offline` goes on with nothing after that.

    NetworkError: not reached in that time; SignInError; UsageError: no name of a bucket; StateError, BusyError: the file.
    """
    name = name or getattr(bucket, "name", None) or type(bucket).__name__.lower()
    connection = WebSocketConnection(secrets.socket, trust=Trust(secrets.ca_file))
    syncing = _open(name, secrets, connection, None if state is None else Path(state))
    try:
        syncing.start()
        if not syncing.known and not syncing.wait_live(timeout) and not offline:
            raise NetworkError(f"{secrets.url}: not reached in {timeout:g} seconds: {syncing.reason}")
        bucket.init(*syncing.begin())
        syncing.call(_teller(bucket))
    except BaseException:
        syncing.stop()
        raise
    return Handle(syncing)


def _open(name: str, secrets: Secrets, connection: Connection, state: Path | None) -> Syncing:
    if not isinstance(name, str) or not valid_bucket(name):
        raise UsageError(f"{name!r:.80} cannot be a bucket's name: 1 to 64 of A-Z a-z 0-9 . _ - %")
    owner = {"server": secrets.url.rstrip("/"), "app": secrets.app, "user": secrets.user, "bucket": name}
    file = None if state is None else StateFile(state, owner)
    try:
        loaded = file.load() if file else Loaded()
        client = loaded.meta.get("client") or f"ssyncd-{chance.token_hex(16)}"
        memory = Memory(loaded)
        memory.writes.meta["client"] = client
        init = Init(name, secrets.token, secrets.app, client, version=__version__)
        return Syncing(name, Replica(init, memory, lambda: chance.token_hex(16)), connection, file)
    except BaseException:
        if file is not None:
            file.close()
        raise


def _teller(bucket: Bucket) -> Callable[[Outcome], None]:
    def tell(told: Outcome) -> None:
        if isinstance(told, Change):
            bucket.update(told)
        elif (refused := getattr(bucket, "refused", None)) is not None:
            refused(told)
        else:
            log.warning("the server does not take our change of %s: code %d", told.key, told.code)

    return tell


def _checked_key(key: str) -> str:
    if not isinstance(key, str) or not valid_key(key):
        raise UsageError(f"{key!r:.80} cannot be a key: 1 to 256 of A-Z a-z 0-9 . _ - % @")
    return key
