"""What names and numbers in messages may look like: checks, and readers that take every variation clients are known to send."""

import re
from collections.abc import Mapping
from typing import Any

from ssyncd.errors import ProtocolError
from ssyncd.protocol.encoding import dumps

_KEY = re.compile(r"[A-Za-z0-9._\-%@]{1,256}", re.ASCII)
_BUCKET = re.compile(r"[A-Za-z0-9._\-%]{1,64}", re.ASCII)
_CCID = re.compile(r"[A-Za-z0-9\-]{1,256}", re.ASCII)
_MAX_INTEGER = 2**53


def valid_key(key: str) -> bool:
    """Whether this may be an object's key on any server (section 7)."""
    return _KEY.fullmatch(key) is not None


def valid_bucket(name: str) -> bool:
    return _BUCKET.fullmatch(name) is not None


def valid_ccid(ccid: str) -> bool:
    return _CCID.fullmatch(ccid) is not None


def encoded_json(value: Any) -> str:
    return dumps(value).decode()


def json_object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ProtocolError(f"no JSON object where this should be: {what}")
    return value


def key_of(fields: Mapping[str, Any]) -> str:
    key = fields.get("id")
    if not isinstance(key, str) or not key:
        raise ProtocolError("a change or entry without an id")
    return key


def text_of(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise ProtocolError(f"{name} is no text")
    return value


def loose_text(value: Any) -> str:
    """Text of what some write as text and some as a number."""
    if value is None or isinstance(value, dict | list | bool):
        return ""
    return value if isinstance(value, str) else f"{value:.6g}" if isinstance(value, float) else str(value)


def integer(value: Any, default: int) -> int:
    """A number, however it is written; `default` for what is none."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 15:
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def version_of(fields: Mapping[str, Any], name: str) -> int:
    version = integer(fields.get(name), -1)
    if not 0 < version <= _MAX_INTEGER:
        raise ProtocolError(f"no version in {name}: {str(fields.get(name))[:40]!r}")
    return version


def source_of(fields: Mapping[str, Any]) -> int | None:
    """iOS sends `"sv":"3"`; absent, null, "" and 0 all mean a new object."""
    source = fields.get("sv")
    if source is None or source == "":
        return None
    number = integer(source, -1)
    if not 0 <= number <= _MAX_INTEGER:
        raise ProtocolError(f"no version in sv: {str(source)[:40]!r}")
    return number or None
