"""A server of a few lines, by the protocol's rules, for the channel's tests: one bucket, any number of connections."""

from dataclasses import dataclass, field
from typing import Any

from ssyncd.errors import ApplyError
from ssyncd.protocol import jsondiff
from ssyncd.protocol.messages import (
    Authorized,
    ChangeError,
    Changes,
    ClientChange,
    IndexEntry,
    IndexPage,
    IndexRequest,
    Init,
    ServerChange,
    Since,
    UnknownCv,
    VersionAnswer,
    VersionRequest,
    parse_client,
    parse_frame,
)


@dataclass(eq=False)
class Connection:
    """What the server knows of one socket: who it is, how far in the log it was told (None: not told of any yet)."""

    sloppy: bool
    client: str = ""
    told: int | None = None
    out: list[str] = field(default_factory=list)


class ModelServer:
    def __init__(self, page: int = 2) -> None:
        self.log: list[ServerChange] = []
        self.versions: dict[str, list[dict[str, Any] | None]] = {}
        self.settled: set[str] = set()
        self.connections: list[Connection] = []
        self.page = page
        self.epoch = 0
        self.forgotten = 0
        self.busy = False
        self.prune = False
        # As other servers may be, for connections from now on: pages of the moment, each with its own cv, live changes in
        # between, changes told twice or left out.
        self.sloppy = False

    def live(self) -> dict[str, dict[str, Any]]:
        return {key: versions[-1] for key, versions in self.versions.items() if versions[-1] is not None}

    def connect(self) -> Connection:
        connection = Connection(self.sloppy)
        self.connections.append(connection)
        return connection

    def hear(self, connection: Connection, text: str) -> None:
        message = parse_client(parse_frame(text))
        answer = {
            Init: self._init,
            IndexRequest: self._index,
            VersionRequest: self._version,
            Since: self._since,
            ClientChange: self._change,
        }[type(message)]
        answer(connection, message)

    def forget(self) -> None:
        """Lose the log's beginning: older cvs are unknown from now on."""
        self.forgotten = len(self.log)

    def cv(self, position: int) -> str:
        return f"{self.epoch}-{position}"

    def _init(self, connection: Connection, init: Init) -> None:
        connection.client = init.client
        connection.out.append(Authorized("me").text(0))
        if init.command:
            self.hear(connection, f"0:{init.command}")

    def _index(self, connection: Connection, request: IndexRequest) -> None:
        # As of the first page: the log's position then is in the mark.
        after, position = map(int, request.mark.split("/")) if request.mark else (-len(self.log), len(self.log))
        position = len(self.log) if connection.sloppy else position
        connection.told = None
        then = self._as_of(position)
        ranks = self._recent() if connection.sloppy else {key: rank for rank, key in enumerate(sorted(then))}
        rows = sorted((row for row in then.items() if ranks[row[0]] > after), key=lambda row: ranks[row[0]])
        more = len(rows) > self.page
        rows = rows[: self.page]
        entries = tuple(IndexEntry(key, version, data) for key, (version, data) in rows)
        mark = f"{ranks[rows[-1][0]]}/{position}" if more else None
        connection.out.append(IndexPage(entries, self.cv(position), mark).text(0))
        if not more:
            connection.told = position
            self._tell(connection)
        elif connection.sloppy:
            connection.told = len(self.log)

    def _recent(self) -> dict[str, int]:
        """Most recently changed first, so that what changes meanwhile jumps to a page that was told already."""
        return {change.key: -position for position, change in enumerate(self.log)}

    def _as_of(self, position: int) -> dict[str, tuple[int, dict[str, Any]]]:
        versions = {key: len(history) for key, history in self.versions.items()}
        for change in self.log[position:]:
            versions[change.key] = min(versions[change.key], change.version - 1)
        found = {key: (version, self.versions[key][version - 1]) for key, version in versions.items() if version}
        return {key: (version, data) for key, (version, data) in found.items() if data is not None}

    def _version(self, connection: Connection, request: VersionRequest) -> None:
        history = self.versions.get(request.key, [])
        known = 0 < request.version <= len(history) and not (self.prune and request.version < len(history))
        data = history[request.version - 1] if known else None
        connection.out.append(VersionAnswer(request.key, request.version, data).text(0))

    def _since(self, connection: Connection, since: Since) -> None:
        epoch, _, position = since.cv.partition("-")
        if epoch != str(self.epoch) or not self.forgotten <= int(position) <= len(self.log):
            connection.out.append(UnknownCv().text(0))
            return
        connection.told = int(position)
        self._tell(connection, always=True)

    def _tell(self, connection: Connection, always: bool = False) -> None:
        if connection.told is not None and (always or connection.told < len(self.log)):
            news = self.log[connection.told :]
            if connection.sloppy:
                last = {change.key: change.version for change in news}
                repeated = self.log[max(0, connection.told - 2) : connection.told]
                mine = connection.client
                news = repeated + [it for it in news if it.client == mine or it.version == last[it.key]]
            connection.out.append(Changes(tuple(news)).text(0))
            connection.told = len(self.log)

    def _change(self, connection: Connection, change: ClientChange) -> None:
        code = self._accept(connection.client, change)
        if code:
            error = ChangeError(connection.client, change.key, (change.ccid,), code)
            connection.out.append(Changes((error,)).text(0))
            return
        for other in self.connections:
            self._tell(other)

    def _accept(self, client: str, change: ClientChange) -> int:
        history = self.versions.get(change.key, [])
        current = history[-1] if history else None
        if self.busy:
            return 503
        if change.ccid in self.settled:
            return 409
        if change.op == "-":
            if current is None:
                self.settled.add(change.ccid)
                return 412
            after = None
        elif current is None and change.source and change.whole is None:
            return 404
        else:
            try:
                after = self._merged(change, history)
            except ApplyError:
                return 440
            if after is None:
                return 405
            if current is not None and jsondiff.equal(after, current):
                self.settled.add(change.ccid)
                return 412
        self._store(client, change, after)
        return 0

    def _merged(self, change: ClientChange, history: list[dict[str, Any] | None]) -> dict[str, Any] | None:
        current = (history[-1] if history else None) or {}
        if history and history[-1] is None:
            return change.whole or jsondiff.apply(change.diff or {}, {})
        if change.source is not None and (change.source > len(history) or history[change.source - 1] is None):
            return None
        base = history[change.source - 1] or {} if change.source else {}
        wanted = change.diff if change.whole is None else jsondiff.diff(base, change.whole)
        moved = jsondiff.transform(wanted or {}, jsondiff.diff(base, current), base)
        return jsondiff.apply(moved, current)

    def _store(self, client: str, change: ClientChange, after: dict[str, Any] | None) -> None:
        history = self.versions.setdefault(change.key, [])
        before = history[-1] if history else None
        history.append(after)
        self.settled.add(change.ccid)
        diff = None if after is None else jsondiff.diff(before or {}, after)
        source = None if before is None or after is None else len(history) - 1
        op = "-" if after is None else "M"
        cv = self.cv(len(self.log) + 1)
        self.log.append(ServerChange(client, change.key, op, (change.ccid,), diff, source, len(history), cv))
