"""Every exception of ssyncd, and the exit codes.

    SsyncdError
    +-- UsageError              a wrong option or argument
    |   +-- ConfigError         a wrong or unknown setting
    +-- NetworkError            the server could not be reached or the connection broke; may be tried again
    +-- RemoteError             the server answered, and the answer is a refusal or nonsense
    |   +-- ProtocolError       a message that does not follow the protocol
    |   |   +-- ApplyError      a diff that does not fit the value it is for
    |   +-- UntrustedError      a certificate of nobody we trust, or of another server, or an old one
    |   +-- SignInError         name, password or token not accepted
    |   +-- RefusedError        a refusal with a Simperium or HTTP code
    +-- ContentError            bytes that are not what they should be (hash, length, encoding)
    |   +-- ChunkMissingError   the server does not have a chunk
    +-- DiskError               one path of the folder could not be read or changed
    |   +-- ChangedError        the disk no longer holds what was expected: look again and plan again
    |   +-- GoneError           the path is not there
    |   +-- UnreadableError     permission or I/O error while reading
    |   +-- NoSpaceError        the disk is full
    +-- RootError               the folder itself is missing, replaced or cannot be used
    |   +-- BusyError           another process has this folder, the server's data or its port
    |   +-- UnusableError       something has to be mended first; no approval helps
    +-- StateError              the state database cannot be used: disk full, not permitted, from a newer version
        +-- StateCorruptError   it is damaged
        +-- StateNewerError     a newer ssyncd has written it
        +-- StateFullError      its disk is full
    +-- ShortageError           the system gives this process no more threads or open files
    +-- BacklogError            more local changes wait to be sent than may
    +-- ShapeError              shared JSON that does not fit the type it is read as
    +-- NotRunningError         no daemon runs that has the folder
    +-- AnsweredError           a daemon answered a request with an error

Whoever calls a foreign library maps its errors to these at the call. Sentences for people are written in the CLI; the text
of an exception names the thing and what happened to it.
"""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of the `ssyncd` command; stable."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_IN_SYNC = 3
    SIGN_IN = 4
    UNREACHABLE = 5
    HELD = 6
    BUSY = 7
    NOT_RUNNING = 8


class SsyncdError(Exception):
    """Base of every error ssyncd raises on purpose."""

    exit_code = Exit.FAILED


class UsageError(SsyncdError):
    exit_code = Exit.USAGE


class ConfigError(UsageError):
    """A wrong or unknown setting; the text names the file and the key."""


class NetworkError(SsyncdError):
    """Passing: worth another try later. `retry_after` in seconds where the server said so."""

    exit_code = Exit.UNREACHABLE

    def __init__(self, text: str, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class RemoteError(SsyncdError):
    """The server answered with something that trying again does not mend."""


class ProtocolError(RemoteError):
    """A message that does not follow the protocol."""


class ApplyError(ProtocolError):
    """A diff that does not fit the value it should be applied to."""


class UntrustedError(RemoteError):
    """The server's certificate does not prove that it is the one meant."""


class SignInError(RemoteError):
    exit_code = Exit.SIGN_IN


class RefusedError(RemoteError):
    """A refusal with a code, as on the socket (400 to 503) or as an HTTP status."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


class ContentError(SsyncdError):
    """Bytes that are not what their hash, length or encoding promises."""


class ChunkMissingError(ContentError):
    """The server has no chunk of this id."""

    def __init__(self, chunk_id: bytes) -> None:
        super().__init__(f"the server has no chunk {chunk_id.hex()}")
        self.chunk_id = chunk_id


class DiskError(SsyncdError):
    """Something went wrong at one path, given relative to the folder."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path or '.'}: {reason}")
        self.path = path
        self.reason = reason


class ChangedError(DiskError):
    """The disk does not hold what was expected there; nothing was changed."""


class GoneError(DiskError):
    """There is nothing at the path, or a parent is missing or no directory."""


class UnreadableError(DiskError):
    """Permission denied or an I/O error; the path is not to be taken as deleted."""


class NoSpaceError(DiskError):
    """No space, quota or inode is left."""


class RootError(SsyncdError):
    """The folder as a whole cannot be used."""


class BusyError(RootError):
    exit_code = Exit.BUSY


class UnusableError(RootError):
    """It is there, but cannot be synced as it is; the text tells what has to be done. Nothing waits for anybody's word."""


class StateError(SsyncdError):
    """The state database cannot be used; the text names the file."""


class ShortageError(SsyncdError):
    """The system gives this process no more of something; the text names it. Passing, or a limit to be raised."""


class BacklogError(SsyncdError):
    """Too many objects have unsent changes; this one was not taken. Nothing is lost, try again when some are sent."""


class ShapeError(SsyncdError):
    """A value that does not fit the type it should have; the text names the member, the type and what is there."""


class NotRunningError(SsyncdError):
    exit_code = Exit.NOT_RUNNING


class AnsweredError(SsyncdError):
    """What went wrong in another process, with the exit code it had there."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.exit_code = Exit(code) if code in set(Exit) else Exit.FAILED


class StateCorruptError(StateError):
    """What is in the database makes no sense any more."""


class StateNewerError(StateError):
    """A database whose tables this version does not know."""


class StateFullError(StateError):
    """The disk of a database has no space left; what was to be written is not in it."""
