"""What a server of ours leaves out for a client that says `lean` in its `init`, an extension to Simperium: in the index, where
it asks for `lean` data, what is large; in the acknowledgement of its own change, if that was taken as it was sent, the diff.
"""

from collections.abc import Container, Mapping
from typing import Any

LONG = 1024
"""Characters of a text that is not large."""


def lean(data: Mapping[str, Any]) -> dict[str, Any]:
    """An object without what is large: of members that are objects themselves, long texts and lists are left out."""
    return {name: _small(value) if isinstance(value, dict) else value for name, value in data.items()}


def lean_diff(diff: Mapping[str, Any], partial: Container[str]) -> dict[str, Any]:
    """A diff that makes the lean object; of members that are not `partial` all is kept."""
    return {
        name: {**operation, "v": _small(operation["v"])}
        if name in partial and isinstance(operation.get("v"), dict)
        else operation
        for name, operation in diff.items()
    }


def _small(value: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: inner
        for name, inner in value.items()
        if not isinstance(inner, list) and not (isinstance(inner, str) and len(inner) > LONG)
    }
