"""config.toml -> frozen dataclasses.

Each option is declared once, as a dataclass field: its annotation is the type, its default the default, its text the
help. `load` checks a file against the declarations, `example` writes config.example.toml from them.
"""

import dataclasses
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from ssyncd.errors import ConfigError

LEVELS = ("debug", "info", "warning", "error")
_Section = TypeVar("_Section")


def _about(text: str, shown: str = "", check: Callable[[Any], str | None] | None = None) -> dict[str, Any]:
    """What a setting is for; `shown` replaces the default in the example; `check` gives what is wrong with a value, or None."""
    return {"help": text, "shown": shown, "check": check}


def _within(least: float, most: float) -> Callable[[Any], str | None]:
    return lambda value: None if least <= value <= most else f"must be from {_shown(least)} to {_shown(most)}"


def _shown(number: float) -> str:
    return f"{number:g}" if number > 10**8 else f"{number:.10g}"


def _one_of(*words: str) -> Callable[[Any], str | None]:
    return lambda value: None if value in words else f"must be one of {', '.join(words)}"


def _address(value: str) -> str | None:
    host, colon, port = value.rpartition(":")
    return None if host and colon and port.isdecimal() and int(port) < 65536 else 'must be "HOST:PORT"'


def _url(value: str) -> str | None:
    return None if not value or value.startswith(("http://", "https://")) else "must start with http:// or https://"


def _socket_url(value: str) -> str | None:
    return None if not value or value.startswith(("ws://", "wss://")) else "must start with ws:// or wss://"


# What a file needs in its object in any case, and what one message can carry.
_OBJECT_SIZE = _within(128 * 1024, 4 * 1024 * 1024)


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The server that folders go through. Without a url: the one of `ssyncd login`, else the built-in one."""

    url: str = field(
        default="",
        metadata=_about("URL of the server; empty: the one last logged in at, else the built-in one.", check=_url),
    )
    app: str = field(default="ssyncd", metadata=_about("Application id, for a Simperium server that is not ours."))
    api_key: str = field(default="ssyncd", metadata=_about("API key of that application."))
    auth_url: str = field(
        default="",
        metadata=_about("URL that signing in goes to (/1/APP/authorize/ below it); empty: as url.", check=_url),
    )
    websocket_url: str = field(
        default="",
        metadata=_about("Whole URL of the websocket; empty: /sock/1/APP/websocket below url.", check=_socket_url),
    )
    object_limit: int = field(
        default=512 * 1024,
        metadata=_about("Largest object there, in bytes, if that server does not tell.", check=_OBJECT_SIZE),
    )
    ca_file: Path | None = field(
        default=None, metadata=_about("File with the certificate authority to trust instead of the system's.", '""')
    )


@dataclass(frozen=True, slots=True)
class EmbeddedConfig:
    """The built-in server, run by `ssyncd start` when there is no other."""

    listen: str = field(
        default="127.0.0.1:8730",
        metadata=_about("Where it listens; 0.0.0.0:8730 lets other machines of a trusted network in.", check=_address),
    )


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """What `ssyncd serve` and the built-in server keep to; read when they start."""

    version_max: int = field(
        default=60, metadata=_about("So many of the newest versions of each object are kept.", check=_within(1, 10**9))
    )
    version10_max: int = field(
        default=100,
        metadata=_about("And below them so many more, of every tenth (1, 11, 21, ...).", check=_within(0, 10**9)),
    )
    object_limit: int = field(
        default=512 * 1024, metadata=_about("Largest object taken, in bytes of JSON.", check=_OBJECT_SIZE)
    )
    history_days: int = field(
        default=0,
        metadata=_about(
            "What was replaced or deleted so many days ago is forgotten, and its space is free a week later; 0: never.",
            check=_within(0, 10**5),
        ),
    )
    storage_quota: int = field(
        default=0,
        metadata=_about(
            "About how many bytes a user may store, with all history; 0: as the disk has room.",
            check=_within(0, 10**18),
        ),
    )


@dataclass(frozen=True, slots=True)
class FolderConfig:
    """One folder that `ssyncd start` keeps in sync; any number of these."""

    path: Path = field(default=Path(), metadata=_about("The directory on this machine.", '"~/Sync"'))
    name: str = field(default="", metadata=_about("The folder's name on the server; empty: the directory's own name."))
    ignore: tuple[str, ...] = field(
        default=(), metadata=_about("More patterns to leave out on this machine only, as in .ssyncdignore.")
    )


@dataclass(frozen=True, slots=True)
class Config:
    """All settings."""

    device: str = field(default="", metadata=_about("Name of this machine, as others see it; empty: the host name."))
    text_merge: bool = field(
        default=True, metadata=_about("Merge two edits of one text file when they do not overlap.")
    )
    hold_share: float = field(
        default=0.5, metadata=_about("Ask before more than this share of a folder is deleted.", check=_within(0, 1))
    )
    hold_least: int = field(
        default=20, metadata=_about("Never ask for fewer deletions than this.", check=_within(1, 10**9))
    )
    workers: int = field(default=2, metadata=_about("Threads that move bytes, for each folder.", check=_within(1, 64)))
    upload_limit: int = field(
        default=0,
        metadata=_about(
            "KiB of contents a second that this machine sends at most; 0: no limit.", check=_within(0, 10**9)
        ),
    )
    download_limit: int = field(default=0, metadata=_about("And that it fetches at most.", check=_within(0, 10**9)))
    log_level: str = field(
        default="info", metadata=_about(f"How much is logged: {', '.join(LEVELS)}.", check=_one_of(*LEVELS))
    )
    server: ServerConfig = field(default_factory=ServerConfig)
    embedded: EmbeddedConfig = field(default_factory=EmbeddedConfig)
    serve: ServeConfig = field(default_factory=ServeConfig)
    folder: tuple[FolderConfig, ...] = ()

    @property
    def device_name(self) -> str:
        return self.device or socket.gethostname().split(".")[0] or "device"


_HEADINGS: dict[type, str] = {
    Config: "",
    ServerConfig: "[server]",
    EmbeddedConfig: "[embedded]",
    ServeConfig: "[serve]",
    FolderConfig: "[[folder]]",
}


def load(file: Path) -> Config:
    """The settings in a file; the defaults if there is none. ConfigError names the file and the key."""
    import tomllib

    try:
        table = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return Config()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from error
    return _Parser(file).config(table)


class _Parser:
    """Checks tables of one file against the declarations."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def config(self, table: dict[str, Any]) -> Config:
        rest = dict(table)
        values: dict[str, Any] = {
            "server": self._section(ServerConfig, rest.pop("server", {}), "server"),
            "embedded": self._section(EmbeddedConfig, rest.pop("embedded", {}), "embedded"),
            "serve": self._section(ServeConfig, rest.pop("serve", {}), "serve"),
            "folder": self._folders(rest.pop("folder", [])),
        }
        return dataclasses.replace(self._section(Config, rest, ""), **values)

    def _folders(self, tables: Any) -> tuple[FolderConfig, ...]:
        if not isinstance(tables, list):
            raise self._error("folder", "must be written as [[folder]]")
        folders = tuple(self._section(FolderConfig, table, "folder") for table in tables)
        for place, folder in enumerate(folders):
            if folder.path == Path():
                raise self._error("folder.path", "is missing")
            if any(folder.path == other.path for other in folders[:place]):
                raise self._error("folder.path", f"{folder.path} is there twice")
        return folders

    def _section(self, kind: type[_Section], table: Any, prefix: str) -> _Section:
        if not isinstance(table, dict):
            raise self._error(prefix, "must be a table")
        options = {name: (option, hint) for name, option, hint in declared(kind)}
        for key in table:
            if key not in options:
                raise self._error(f"{prefix}.{key}".lstrip("."), f"unknown{_hint(key, kind)}")
        return kind(**{key: self._value(value, *options[key], f"{prefix}.{key}") for key, value in table.items()})

    def _value(self, value: Any, option: "dataclasses.Field[Any]", hint: Any, key: str) -> Any:
        key = key.lstrip(".")
        read, what = _READERS[hint]
        try:
            found = read(value, self._file.parent)
        except TypeError:
            raise self._error(key, f"must be {what}") from None
        wrong = option.metadata["check"](found) if option.metadata["check"] else None
        if wrong:
            raise self._error(key, wrong)
        return found

    def _error(self, key: str, what: str) -> ConfigError:
        return ConfigError(f"{self._file}: {key}: {what}")


def _hint(key: str, section: type) -> str:
    """What may have been meant by an option that this section has not. In TOML what is written below a heading is in it."""
    homes = [heading for kind, heading in _HEADINGS.items() if key in (name for name, _, _ in declared(kind))]
    if homes:
        return f" here; it belongs {' or '.join(f'in {home}' if home else 'above the first heading' for home in homes)}"
    close = get_close_matches(key, [option.name for option in dataclasses.fields(section)], 1)
    return f"; {close[0]}?" if close else ""


def declared(section: type) -> Iterator[tuple[str, "dataclasses.Field[Any]", Any]]:
    """(name, field, type) of each option of a section class."""
    hints = get_type_hints(section)
    for option in dataclasses.fields(section):
        if "help" in option.metadata:
            yield option.name, option, hints[option.name]


def _exactly(kind: type) -> Callable[[Any, Path], Any]:
    def read(value: Any, _base: Path) -> Any:
        # bool is a subclass of int: `workers = true` is a mistake.
        if type(value) is not kind:
            raise TypeError
        return value

    return read


def _number(value: Any, _base: Path) -> float:
    if type(value) not in (int, float):
        raise TypeError
    return float(value)


def _path(value: Any, base: Path) -> Path | None:
    if not isinstance(value, str):
        raise TypeError
    try:
        return base.absolute() / Path(value).expanduser() if value else None
    except RuntimeError:
        raise TypeError from None


def _some_path(value: Any, base: Path) -> Path:
    return _path(value, base) or Path()


def _texts(value: Any, _base: Path) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise TypeError
    return tuple(value)


_READERS: dict[Any, tuple[Callable[[Any, Path], Any], str]] = {
    str: (_exactly(str), "a text"),
    bool: (_exactly(bool), "true or false"),
    int: (_exactly(int), "a whole number"),
    float: (_number, "a number"),
    Path: (_some_path, "a path"),
    Path | None: (_path, "a path"),
    tuple[str, ...]: (_texts, "a list of texts"),
}


def example() -> str:
    """The text of config.example.toml: every option, its default commented out."""
    parts = [
        "# Settings of ssyncd. Each line below shows the default; remove the # to change it.",
        "# Place: $XDG_CONFIG_HOME/ssyncd/config.toml (~/.config/ssyncd/config.toml), or `ssyncd --config FILE`.\n",
        *(_describe(section, heading) for section, heading in _HEADINGS.items()),
    ]
    return "\n".join(parts)


def _describe(section: type, heading: str) -> str:
    # A folder has no default: its heading is commented out too.
    lines = [f"# {section.__doc__}", f"# {heading}" if section is FolderConfig else heading] if heading else []
    for name, option, _ in declared(section):
        lines += [f"# {option.metadata['help']}", f"# {name} = {option.metadata['shown'] or _literal(option.default)}"]
    return "\n".join(lines) + "\n"


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[]"
    return f'"{value}"' if isinstance(value, str) else str(value)
