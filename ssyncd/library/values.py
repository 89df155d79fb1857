"""JSON values on their way in and out: checked once, copied always, so that nobody changes what is remembered."""

import math
from collections.abc import Mapping
from typing import Any

from ssyncd.errors import UsageError
from ssyncd.protocol.encoding import dumps_stored

Data = dict[str, Any] | None
"""What an object is; None: there is none."""

LARGEST = 4 * 1024 * 1024
"""Bytes of JSON in one object. Servers refuse far less (413); beyond this the message itself would break the connection."""
DEEPEST = 64
_LONGEST_INTEGER = 2**63


def checked(data: Mapping[str, Any]) -> dict[str, Any]:
    """A copy in plain JSON types, tuples as lists. UsageError names the member that cannot be sent."""
    if not isinstance(data, Mapping):
        raise UsageError(f"an object is a dict, not a {type(data).__name__}")
    result = _checked_dict(data, "", 0)
    if len(dumps_stored(result)) > LARGEST:
        raise UsageError(f"an object of more than {LARGEST // 1024} KiB")
    return result


def _checked_dict(value: Mapping[Any, Any], path: str, depth: int) -> dict[str, Any]:
    result = {}
    for name, member in value.items():
        if type(name) is not str:
            raise UsageError(f"{path or 'the object'}: a member's name is text, not {name!r:.80}")
        result[_checked_text(name, path)] = _checked(member, f"{path}.{name}" if path else name, depth + 1)
    return result


def _checked(value: Any, path: str, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _checked_text(str(value), path)
    if isinstance(value, int | float):
        return _checked_number(value, path)
    if depth > DEEPEST:
        raise UsageError(f"{path[:80]}: nested too deeply")
    if isinstance(value, Mapping):
        return _checked_dict(value, path, depth)
    if isinstance(value, list | tuple):
        return [_checked(member, f"{path}[{at}]", depth + 1) for at, member in enumerate(value)]
    raise UsageError(f"{path[:80]}: a {type(value).__name__} cannot be sent")


def _checked_text(text: str, path: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UsageError(f"{path[:80]}: text that is no Unicode: {error}") from error
    return text


def _checked_number(value: float, path: str) -> float:
    if isinstance(value, int):
        if not -_LONGEST_INTEGER <= value < _LONGEST_INTEGER:
            raise UsageError(f"{path[:80]}: an integer of more than 64 bits")
        return int(value)
    if not math.isfinite(value):
        raise UsageError(f"{path[:80]}: {value} is no JSON")
    return float(value)


def copied(value: Any) -> Any:
    """A copy of a JSON value that shares nothing that can be changed."""
    if type(value) is dict:
        return {name: copied(member) for name, member in value.items()}
    if type(value) is list:
        return [copied(member) for member in value]
    return value
