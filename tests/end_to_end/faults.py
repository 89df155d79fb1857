"""Which calls can fail, with what, and how many of them there are in the life that `couple.py` gives a daemon or a server."""

from dataclasses import dataclass

VICTIMS = ("one", "server")
"""Members of a `Couple`: a daemon and the server."""


@dataclass(frozen=True)
class Kind:
    """`errors` come in turn; `one`, `server`: about how many such calls a life has, 0 where it has none."""

    errors: tuple[str, ...]
    one: int
    server: int

    def calls(self, victim: str) -> int:
        return self.one if victim == "one" else self.server

    def error(self, number: int) -> str:
        return self.errors[number % len(self.errors)]


KINDS = {
    "open": Kind(("EIO", "EACCES", "ENOSPC", "EMFILE"), 258, 27),
    "stat": Kind(("EIO", "EACCES"), 295, 33),
    "fstat": Kind(("EIO",), 185, 31),
    "readdir": Kind(("EIO",), 134, 4),
    "read": Kind(("EIO",), 27, 9),
    "pread": Kind(("EIO",), 190, 104),
    "write": Kind(("ENOSPC", "EIO"), 1, 5),
    "pwrite": Kind(("ENOSPC", "EIO"), 214, 287),
    "rename": Kind(("EIO", "EACCES", "ENOSPC"), 38, 7),
    "unlink": Kind(("EIO", "EACCES"), 29, 2),
    "mkdir": Kind(("ENOSPC", "EACCES"), 7, 10),
    "link": Kind(("ENOSPC", "EIO"), 1, 0),
    "utime": Kind(("EIO", "EACCES"), 16, 10),
    "chmod": Kind(("EIO", "EACCES"), 4, 2),
    "sync": Kind(("EIO", "ENOSPC"), 20, 27),
    "truncate": Kind(("EIO",), 3, 2),
    "readlink": Kind(("EIO",), 3, 0),
    "lock": Kind(("ENOLCK", "EIO"), 131, 95),
    "mmap": Kind(("ENOMEM",), 1, 1),
    "watch": Kind(("ENOSPC", "EACCES"), 8, 0),
    # Not ECONNRESET or EPIPE: urllib3 then waits for an answer, which on a connection that is really gone ends at once.
    "send": Kind(("ENETDOWN", "EHOSTUNREACH"), 17, 37),
    "recv": Kind(("ECONNRESET", "ETIMEDOUT"), 250, 31),
    "connect": Kind(("ENETUNREACH", "ECONNREFUSED"), 3, 0),
    "accept": Kind(("ECONNABORTED", "EMFILE"), 0, 8),
    "statement": Kind(("EIO",), 150, 150),  # what SQLite says is chosen where it fails
}
