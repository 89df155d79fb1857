"""Every message of the Simperium protocol as a value: text to frozen struct and back, for both sides.

    text --parse_frame--> Frame --parse_client--> what a client may say    (server's side)
                                --parse_server--> what a server may say    (client's side)
    value.text(channel) -> text

Parsers accept every variation the official clients and servers are known to send; what is built follows the documents. A
command that is not known parses to None and is to be ignored; one that is known but malformed is a ProtocolError. Nobody past the
parser looks at a raw dict, but for `diff`, `data` and `whole`, which are JSON objects of the application. Source: section
numbers in comments are those of the protocol notes (Simperium/simperium-protocol SYNCING.md, TYPES.md, CHANGES.md).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from ssyncd.errors import ProtocolError
from ssyncd.protocol.changes import (
    EMPTY,
    MODIFY,
    REMOVE,
    BadChange,
    ChangeError,
    Changes,
    ClientChange,
    ServerChange,
    changes_message,
    encode_change,
    parse_client_change,
    parse_server_change,
)
from ssyncd.protocol.encoding import loads
from ssyncd.protocol.fields import (
    encoded_json,
    integer,
    json_object,
    key_of,
    loose_text,
    text_of,
    valid_bucket,
    valid_ccid,
    valid_key,
    version_of,
)

__all__ = [
    "EMPTY",
    "MODIFY",
    "REMOVE",
    "Authorized",
    "BadChange",
    "ChangeError",
    "Changes",
    "ClientChange",
    "ClientMessage",
    "Denied",
    "Frame",
    "Heartbeat",
    "IndexEntry",
    "IndexPage",
    "IndexRequest",
    "Init",
    "Log",
    "Notice",
    "ServerChange",
    "ServerMessage",
    "Since",
    "StateDump",
    "StateRequest",
    "UnknownCv",
    "VersionAnswer",
    "VersionRequest",
    "changes_message",
    "encode_change",
    "index_message",
    "parse_client",
    "parse_client_change",
    "parse_frame",
    "parse_server",
    "parse_server_change",
    "valid_bucket",
    "valid_ccid",
    "valid_key",
]

# Frames


class Frame(Struct, frozen=True):
    """One message, cut at its colons: `[channel:]command[:argument]`."""

    channel: int | None
    command: str
    argument: str = ""


def parse_frame(text: str) -> Frame:
    """Never fails: junk becomes a frame with a command nobody knows."""
    first, colon, _ = text[:24].partition(":")
    if colon and first.isascii() and first.isdigit() and len(first) <= 9:
        start = len(first) + 1
        end = text.find(":", start)
        if end < 0:
            return Frame(int(first), text[start:])
        return Frame(int(first), text[start:end], text[end + 1 :])
    command, _, argument = text.partition(":")
    return Frame(None, command, argument)


# Opening a channel: init, auth


class Init(Struct, frozen=True):
    """Opens a channel on a bucket. `command` is run right after success, as if sent alone (section 2); see `lean`,
    `Notice` and `content.packed`. With `gaps` the log is never too old for this client: where it misses versions of an object, it
    asks for the newest."""

    bucket: str
    token: str
    app: str
    client: str
    api: str = "1.1"
    library: str = "ssyncd"
    version: str = ""
    command: str = ""
    lean: bool = False
    notices: bool = False
    gaps: bool = False
    packed: bool = False

    def text(self, channel: int) -> str:
        fields: dict[str, str | bool] = {
            "name": self.bucket,
            "token": self.token,
            "app_id": self.app,
            "clientid": self.client,
            "api": self.api,
            "library": self.library,
            "version": self.version,
        }
        if self.command:
            fields["cmd"] = self.command
        if self.lean:
            fields["lean"] = True
        if self.notices:
            fields["notices"] = True
        if self.gaps:
            fields["gaps"] = True
        if self.packed:
            fields["packed"] = True
        return f"{channel}:init:{encoded_json(fields)}"

    @classmethod
    def parse(cls, argument: str) -> "Init":
        fields = json_object(loads(argument), "init")
        return cls(
            bucket=text_of(fields, "name"),
            token=text_of(fields, "token"),
            app=text_of(fields, "app_id"),
            client=text_of(fields, "clientid") or text_of(fields, "client_id"),
            api=loose_text(fields.get("api")),
            library=loose_text(fields.get("library")),
            version=loose_text(fields.get("version")),
            command=loose_text(fields.get("cmd")),
            lean=fields.get("lean") is True,
            notices=fields.get("notices") is True,
            gaps=fields.get("gaps") is True,
            packed=fields.get("packed") is True,
        )

    @property
    def old_api(self) -> bool:
        """Whether this client speaks the protocol before 1.1: `c:?` for `cv:?`, and `auth:expired`."""
        return self.api in ("", "1", "1.0")


class Authorized(Struct, frozen=True):
    """A good `init`; `user` is the account's name."""

    user: str

    def text(self, channel: int) -> str:
        # Node takes any text that parses as JSON for a failure: a user named 12345 would be logged out.
        return f"{channel}:auth:{f'user {self.user}' if _is_json(self.user) else self.user}"


class Denied(Struct, frozen=True):
    """A bad `init`, or a token revoked later. 400 malformed, 401 invalid for good, 500 anything else."""

    code: int
    reason: str

    def text(self, channel: int) -> str:
        return f"{channel}:auth:{encoded_json({'msg': self.reason, 'code': self.code})}"


def _parse_auth(argument: str) -> Authorized | Denied | None:
    if argument == "expired":
        # Said to old clients ahead of the failure itself.
        return None
    if not _is_json(argument):
        return Authorized(argument)
    failure = loads(argument)
    if not isinstance(failure, dict):
        return Authorized(argument)
    return Denied(integer(failure.get("code"), 500), loose_text(failure.get("msg")))


def _is_json(text: str) -> bool:
    try:
        loads(text)
    except ProtocolError:
        return False
    return True


# The index


class IndexRequest(Struct, frozen=True):
    """`i:DATA:MARK:OFFSET:LIMIT`; `offset` is unused by all, `limit` None leaves it to the server; `lean` data: see `lean`."""

    data: bool = False
    mark: str = ""
    limit: int | None = None
    offset: str = ""
    lean: bool = False

    def text(self, channel: int) -> str:
        data = "lean" if self.lean else "1" if self.data else ""
        return f"{channel}:i:{data}:{self.mark}:{self.offset}:{self.limit or ''}"

    @classmethod
    def parse(cls, argument: str) -> "IndexRequest":
        data, mark, offset, limit = [*argument.split(":", 3), "", "", ""][:4]
        digits = limit.isascii() and limit.isdigit() and len(limit) <= 9
        return cls(data in ("1", "lean"), mark, (int(limit) or None) if digits else None, offset, data == "lean")


class IndexEntry(Struct, frozen=True):
    """One object; `data` only where the request asked for it, `at` only in a list of removed ones: when it went, in seconds since
    the epoch."""

    key: str
    version: int
    data: dict[str, Any] | None = None
    at: int | None = None


class IndexPage(Struct, frozen=True):
    """`current` is the cv to go on from ("" if the server gives none); `mark` is None on the last page."""

    entries: tuple[IndexEntry, ...]
    current: str
    mark: str | None = None

    def text(self, channel: int) -> str:
        index = [
            {"id": entry.key, "v": entry.version} | ({} if entry.data is None else {"d": entry.data})
            for entry in self.entries
        ]
        page: dict[str, Any] = {"current": self.current, "index": index}
        if self.mark is not None:
            page["mark"] = self.mark
        return f"{channel}:i:{encoded_json(page)}"

    @classmethod
    def parse(cls, argument: str) -> "IndexPage":
        page = json_object(loads(argument), "index page")
        rows = page.get("index")
        if not isinstance(rows, list):
            raise ProtocolError("an index page without a list")
        entries = tuple(map(_parse_entry, rows))
        # An empty mark, or null, is as good as none.
        return cls(entries, loose_text(page.get("current")), loose_text(page.get("mark")) or None)


def _parse_entry(row: Any) -> IndexEntry:
    row = json_object(row, "index entry")
    data = row.get("d")
    if data is not None and not isinstance(data, dict):
        raise ProtocolError("an index entry whose data is no object")
    at = row.get("at")
    return IndexEntry(key_of(row), version_of(row, "v"), data, at if type(at) is int else None)


def index_message(channel: int, encoded: Sequence[str], current: str, mark: str | None = None) -> str:
    """An index page of entries that are encoded already: `{"id":KEY,"v":VERSION,"d":{...}}` each."""
    end = "" if mark is None else f',"mark":{encoded_json(mark)}'
    return f'{channel}:i:{{"current":{encoded_json(current)},"index":[{",".join(encoded)}]{end}}}'


# One version of an object


class VersionRequest(Struct, frozen=True):
    key: str
    version: int

    def text(self, channel: int) -> str:
        return f"{channel}:e:{self.key}.{self.version}"

    @classmethod
    def parse(cls, argument: str) -> "VersionRequest":
        key, version = _parse_version_name(argument)
        return cls(key, version)


class VersionAnswer(Struct, frozen=True):
    """`data` None: the server does not have that version."""

    key: str
    version: int
    data: dict[str, Any] | None

    def text(self, channel: int) -> str:
        # One line feed and the JSON on one line: Android cuts at line feeds.
        body = "?" if self.data is None else encoded_json({"data": self.data})
        return f"{channel}:e:{self.key}.{self.version}\n{body}"

    @classmethod
    def parse(cls, argument: str) -> "VersionAnswer":
        name, _, body = argument.partition("\n")
        key, version = _parse_version_name(name)
        if body.strip() in ("?", ""):
            return cls(key, version, None)
        return cls(key, version, json_object(json_object(loads(body), "version").get("data"), "data of a version"))


def _parse_version_name(argument: str) -> tuple[str, int]:
    # Keys may hold dots, so the last one counts.
    key, _, version = argument.rpartition(".")
    if not key or not (version.isascii() and version.isdigit()) or len(version) > 15:
        raise ProtocolError(f"no version of an object: {argument[:80]!r}")
    return key, int(version)


# The log


class Since(Struct, frozen=True):
    """Asks for all changes after a cv; "" or "0" for all there ever were."""

    cv: str

    def text(self, channel: int) -> str:
        return f"{channel}:cv:{self.cv}"


class UnknownCv(Struct, frozen=True):
    """The server does not know the cv (any more): index again."""

    def text(self, channel: int) -> str:
        return f"{channel}:cv:?"


class Heartbeat(Struct, frozen=True):
    """`h:N`, answered by `h:N+1`; the only pair without a channel."""

    count: int

    def text(self) -> str:
        return f"h:{self.count}"


class Log(Struct, frozen=True):
    """Server to client: the level of logging wanted; client to server: lines of a log. Without a channel."""

    argument: str

    @property
    def level(self) -> int:
        """0 for none, 1 for what matters, 2 for everything; what is no number counts as 0."""
        return int(self.argument) if self.argument in ("1", "2") else 0

    @classmethod
    def of_line(cls, bucket: str, line: str) -> "Log":
        return cls(encoded_json({"log": line, "bucket": bucket}))

    def text(self) -> str:
        return f"log:{self.argument}"


class StateRequest(Struct, frozen=True):
    """`index`: the server asks for a dump of the client's state, for debugging."""


class StateDump(Struct, frozen=True):
    """What a client answers to that: its cv, keys and versions of objects, its changes without an answer (key, ccid and source
    version), and anything more."""

    current: str
    index: tuple[tuple[str, int], ...]
    pending: tuple[tuple[str, str, int | None], ...]
    extra: Mapping[str, Any]

    def text(self, channel: int) -> str:
        pending = [{"id": key, "ccid": ccid} | ({"sv": source} if source else {}) for key, ccid, source in self.pending]
        index = [{"id": key, "v": version} for key, version in self.index]
        dump = {"current": self.current, "index": index, "pending": pending, "extra": dict(self.extra)}
        return f"{channel}:index:{encoded_json(dump)}"


# What is to come


class Notice(Struct, frozen=True):
    """`notice:{"id":KEY,"d":{...}}`: an object as it will be, soon. An extension to Simperium, for clients that say `notices` in
    their `init`: the server hands it on to the others that are connected to the bucket now, and keeps nothing."""

    key: str
    data: dict[str, Any]

    def text(self, channel: int) -> str:
        return f"{channel}:notice:{encoded_json({'id': self.key, 'd': self.data})}"

    @classmethod
    def parse(cls, argument: str) -> "Notice":
        fields = json_object(loads(argument), "notice")
        return cls(key_of(fields), json_object(fields.get("d"), "data of a notice"))


ClientMessage = Init | IndexRequest | VersionRequest | Since | ClientChange | BadChange | Notice | Heartbeat | Log
ServerMessage = (
    Authorized | Denied | IndexPage | VersionAnswer | UnknownCv | Changes | StateRequest | Notice | Heartbeat | Log
)


def parse_client(frame: Frame) -> ClientMessage | None:
    """What a client says; None if the command is none of a client's."""
    parse = _FROM_CLIENT.get((frame.channel is not None, frame.command))
    return None if parse is None else parse(frame.argument)


def parse_server(frame: Frame) -> ServerMessage | None:
    """What a server says; None if the command is none of a server's."""
    parse = _FROM_SERVER.get((frame.channel is not None, frame.command))
    return None if parse is None else parse(frame.argument)


def _parse_changes(argument: str) -> Changes | UnknownCv:
    if argument == "?":
        # How a server answers an unknown cv in the old api.
        return UnknownCv()
    changes = loads(argument)
    if isinstance(changes, dict):
        changes = [changes]
    if not isinstance(changes, list):
        raise ProtocolError("changes that are no list")
    return Changes(tuple(map(parse_server_change, changes)))


def _parse_heartbeat(argument: str) -> Heartbeat:
    # What is no number counts as 0.
    return Heartbeat(int(argument) if argument.isascii() and argument.isdigit() and len(argument) <= 15 else 0)


_FROM_CLIENT: dict[tuple[bool, str], Callable[[str], ClientMessage]] = {
    (True, "init"): Init.parse,
    (True, "i"): IndexRequest.parse,
    (True, "e"): VersionRequest.parse,
    (True, "cv"): Since,
    (True, "c"): lambda argument: parse_client_change(loads(argument)),
    (True, "notice"): Notice.parse,
    (False, "h"): _parse_heartbeat,
    (False, "log"): Log,
}
_FROM_SERVER: dict[tuple[bool, str], Callable[[str], ServerMessage | None]] = {
    (True, "auth"): _parse_auth,
    (True, "i"): IndexPage.parse,
    (True, "e"): VersionAnswer.parse,
    # Whatever comes with it; iOS takes any such message for this one.
    (True, "cv"): lambda _argument: UnknownCv(),
    (True, "c"): _parse_changes,
    (True, "index"): lambda _argument: StateRequest(),
    (True, "notice"): Notice.parse,
    (False, "h"): _parse_heartbeat,
    (False, "log"): Log,
}
