"""JSON, fast and strict: orjson, and the standard library for the little that orjson refuses.

Old clients cut surrogate pairs, so that strings with a lone surrogate arrive (`"\\ud83d"`). orjson takes and gives none. Such
text is read and stored, but never sent: `dumps` refuses it, `dumps_stored` writes it as escapes.
"""

import json
from typing import Any, NoReturn

import orjson

from ssyncd.errors import ProtocolError


def loads(text: str | bytes) -> Any:
    """The value of a JSON text. ProtocolError if it is none, holds NaN or Infinity, or is nested too deeply."""
    try:
        return orjson.loads(text)
    except ValueError:
        return _loads_lenient(text)


def dumps(value: Any) -> bytes:
    """Compact JSON in UTF-8. ProtocolError for lone surrogates, integers beyond 64 bits, keys that are not text, and the like."""
    try:
        return orjson.dumps(value)
    except TypeError as error:
        raise ProtocolError(f"cannot be sent as JSON: {error}") from error


def dumps_stored(value: Any) -> bytes:
    """As `dumps`, for a store of our own: lone surrogates and long integers, which `loads` gave, are written too."""
    try:
        return orjson.dumps(value)
    except TypeError:
        pass
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ProtocolError(f"no JSON: {error}") from error


def _loads_lenient(text: str | bytes) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"no JSON: {error}") from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
