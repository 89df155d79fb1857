"""An entry as the data of its Simperium object (design section 3), and changes of it.

Every member is replaced whole (`r`), never patched as text: two machines that rename one file must not end with a mixture.
"""

import re
import sys
from functools import lru_cache
from typing import Any

from ssyncd.content.body import Body, parse_facts, to_json
from ssyncd.errors import ContentError
from ssyncd.planner.names import valid_name
from ssyncd.planner.tree import Content, Entry, Kind

WHOLE = frozenset({"content"})
"""Members of which our ghosts keep only a part."""
_is_key = re.compile("[0-9a-f]{32}").fullmatch
_is_plea = re.compile("[0-9a-f]{64}").fullmatch
_KINDS = {kind.value: kind for kind in Kind}
MAX_TARGET = 4095
CACHED = 512
"""Keys that are known to be keys: one is asked for several times in a moment, that of a directory again and again."""


def to_data(entry: Entry, body: Body | None = None) -> dict[str, Any]:
    """All members; without a body the content lacks its bytes, as in a ghost."""
    data: dict[str, Any] = {"parent": entry.parent, "name": entry.name, "kind": entry.kind.value}
    if entry.kind is Kind.FILE:
        data["exec"] = entry.exec
        if entry.content is not None:
            data["content"] = to_json(entry.content, body) if body is not None else _facts(entry.content)
    elif entry.kind is Kind.LINK:
        data["target"] = entry.target
    return data


def _facts(content: Content) -> dict[str, Any]:
    return {"hash": content.hash, "size": content.size, "mtime": content.mtime, "by": content.by}


def to_entry(key: str, data: dict[str, Any]) -> Entry:
    """Read data that may hold anything. ContentError tells what makes it no entry."""
    parent, name, kind = data.get("parent"), data.get("name"), _KINDS.get(str(data.get("kind")))
    if not is_key(key):
        raise ContentError("the key is not 32 hex digits")
    if not isinstance(parent, str) or not (parent == "" or is_key(parent)):
        raise ContentError("the parent is no key")
    if not isinstance(name, str):
        raise ContentError("the name is no text")
    reason = valid_name(name, top=not parent)
    if reason is not None:
        raise ContentError(f"the name {name[:80]!r} cannot be used: {reason}")
    if kind is Kind.FILE:
        content = data.get("content")
        if not isinstance(content, dict):
            raise ContentError("a file without content")
        return Entry(key, sys.intern(parent), name, kind, parse_facts(content), data.get("exec") is True)
    if kind is Kind.LINK:
        return Entry(key, parent, name, kind, target=_parse_target(data.get("target")))
    if kind is Kind.DIR:
        return Entry(key, parent, name, kind)
    raise ContentError("neither a file nor a directory nor a link")


def is_data_of(entry: Entry, data: dict[str, Any]) -> bool:
    """Whether `to_entry` would make this file of the data, which it takes longer to find out; false of what is no file."""
    content, facts = entry.content, data.get("content")
    if content is None or type(facts) is not dict:
        return False
    size, mtime = facts.get("size"), facts.get("mtime")
    return (
        data.get("name") == entry.name
        and data.get("parent") == entry.parent
        and data.get("kind") == Kind.FILE.value
        and (data.get("exec") is True) == entry.exec
        and facts.get("hash") == content.hash
        and facts.get("by") == content.by
        and (type(size), type(mtime)) == (int, int)
        and (size, mtime) == (content.size, content.mtime)
    )


@lru_cache(CACHED)
def is_key(text: str) -> bool:
    return _is_key(text) is not None


def is_plea(text: str) -> bool:
    """Whether an object of this key is a plea for a content (see `folder.pleas`)."""
    return len(text) == 64 and _is_plea(text) is not None


def _parse_target(target: object) -> str:
    if not isinstance(target, str) or not target or "\0" in target:
        raise ContentError("the link's target is no text")
    try:
        long = len(target.encode()) > MAX_TARGET
    except UnicodeEncodeError as error:
        raise ContentError("the link's target is not Unicode") from error
    if long:
        raise ContentError(f"the link's target is longer than {MAX_TARGET} bytes")
    return target


def creation(entry: Entry, body: Body | None) -> dict[str, Any]:
    """The diff that makes the entry."""
    return {member: {"o": "+", "v": value} for member, value in to_data(entry, body).items()}


def change(before: Entry, after: Entry, body: Body | None) -> dict[str, Any]:
    """The diff of what differs; the content differs where its hash does."""
    old, new = to_data(before), to_data(after)
    if before.same_content(after):
        new["content"] = old.get("content")
    elif after.content is not None and body is not None:
        new["content"] = to_json(after.content, body)
    return {member: {"o": "r", "v": value} for member, value in new.items() if old.get(member) != value}
