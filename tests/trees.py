"""Tiny trees and plans, written as text.

An entry is `key:path=content` for a file, `key:path/` for a directory, `key:path>target` for a link; a `*` at the end makes a
file executable. The path names directories of the same text, or begins with `@key` where a parent has to be named that may not
exist. Two files with one content text hold the same; `?` is content that has not been read yet.
"""

import re
from collections.abc import Container, Iterable

from ssyncd.planner.plan import (
    Conflict,
    Make,
    Move,
    Park,
    Plan,
    Rekey,
    Remove,
    Replace,
    Send,
    SendDelete,
    SetExec,
    Step,
)
from ssyncd.planner.planner import plan
from ssyncd.planner.structure import Placed, Trees
from ssyncd.planner.tree import Content, Entry, Kind, Tree

ENTRY = re.compile(r"(?P<key>[^:\s]+):(?P<path>[^=>\s]*[^=>/\s])(?P<rest>/|=[^*\s]*|>[^*\s]+)(?P<exec>\*?)")


def content(text: str, by: str = "pc", mtime: int = 0) -> Content | None:
    return None if text == "?" else Content(text, len(text), mtime, by)


def entry(text: str, tree: Tree | None = None) -> Entry:
    match = ENTRY.fullmatch(text)
    assert match is not None, text
    path, _, name = match["path"].rpartition("/")
    key, rest = match["key"], match["rest"]
    parent = path[1:] if path.startswith("@") else (tree or Tree()).find(path)
    assert parent is not None, f"no directory for {text}"
    if rest == "/":
        return Entry(key, parent, name, Kind.DIR)
    if rest.startswith(">"):
        return Entry(key, parent, name, Kind.LINK, target=rest[1:])
    return Entry(key, parent, name, Kind.FILE, content(rest[1:]), bool(match["exec"]))


def tree(text: str) -> Tree:
    result = Tree()
    for part in text.split():
        result.put(entry(part, result))
    return result


def trees(base: str, local: str, remote: str, mine: str = "", tombs: str = "") -> Trees:
    """The server's order is the order of the remote text; `mine` lists keys we placed; `tombs` deleted entries."""
    remote_tree, dead = tree(remote), tree(tombs)
    order = {key: number for number, key in enumerate(remote_tree, 1)}
    ours = mine.split()
    return Trees(tree(base), tree(local), remote_tree, lambda key: Placed(order.get(key, 0), key in ours), dead.get)


def planned(given: Trees, touched: Iterable[str] | None = None, busy: Container[str] = ()) -> Plan:
    """By default everything is touched."""
    if touched is None:
        touched = {*given.base, *given.local, *given.remote}
    return plan(given, touched, busy, "pc")


def step_text(step: Step) -> str:
    match step:
        case Rekey(old, new):
            return f"rekey {old} {new}"
        case Make(made):
            return f"make {entry_text(made)}"
        case Replace(new):
            return f"replace {entry_text(new)}"
        case Conflict(new, copy):
            return f"conflict {entry_text(new)} {copy!r}"
        case Move(key, parent, name):
            return f"move {key} {place_text(parent, name)}"
        case Park(key):
            return f"park {key}"
        case SetExec(key, exec):
            return f"exec {key} {'on' if exec else 'off'}"
        case Remove(key):
            return f"remove {key}"


def send_text(send: Send | SendDelete) -> str:
    text = f"send {entry_text(send.entry)}" if isinstance(send, Send) else f"delete {send.key}"
    return f"{text} repair" if send.repair else text


def plan_text(made: Plan) -> str:
    """Everything a plan says, in its order."""
    parts = [step_text(step) for step in made.steps] + [send_text(send) for send in made.sends]
    parts += [f"agreed {key}" for key in made.agreed] + [f"waiting {key}" for key in made.waiting]
    return "; ".join(parts)


def entry_text(shown: Entry) -> str:
    ends = {Kind.DIR: "/", Kind.LINK: f">{shown.target}", Kind.FILE: f"={shown.content.hash if shown.content else '?'}"}
    return f"{shown.key}:{place_text(*shown.place)}{ends[shown.kind]}{'*' if shown.exec else ''}"


def place_text(parent: str, name: str) -> str:
    return f"@{parent}/{name}" if parent else name


def paths(shown: Tree) -> dict[str, str]:
    """Path to what is there; entries without a path, and places claimed twice, are shown by key."""
    result: dict[str, str] = {}
    for key in shown:
        found = shown.get(key)
        assert found is not None
        path = shown.path(key)
        path = f"@{key}" if path is None or path in result else path
        held = found.content.hash if found.content is not None else found.target
        result[path] = f"{found.kind}:{held}:{found.exec}"
    return result
