"""plan(base, local, remote): the one decision of ssyncd, a pure function.

Only the keys that were touched since the last plan are looked at, with what they are entangled with; a key that was not
touched is equal in all three trees or waits for something that touches it when it comes.
"""

from collections.abc import Container, Iterable

from ssyncd.planner.names import conflict_name
from ssyncd.planner.order import order_sends, order_steps
from ssyncd.planner.plan import Conflict, Make, Move, Plan, Rekey, Remove, Replace, Send, SendDelete, SetExec, Step
from ssyncd.planner.reconcile import Merged
from ssyncd.planner.structure import Shape, Trees
from ssyncd.planner.tree import Entry, Kind, birth_key


def plan(trees: Trees, touched: Iterable[str], busy: Container[str], device: str) -> Plan:
    """What to do so that both sides hold the merged tree. `busy`: keys with a change under way, left alone for now."""
    shape = Shape(trees)
    shape.settle(sorted(key for key in touched if key not in busy))
    result = Plan(waiting={key: reason for key, reason in shape.waiting.items() if key not in busy})
    rekeys = _rekeys(shape, busy)
    steps: list[Step] = []
    sends: list[Send | SendDelete] = []
    for key in shape.keys:
        if key in busy or key in shape.waiting:
            continue
        base, local, remote = trees.base.get(key), trees.local.get(key), trees.remote.get(key)
        merged = shape.merged(key)
        wanted = merged.entry
        if local is not None and wanted is not None and local.kind is not wanted.kind:
            # The server knows this key as something else; ours becomes an entry of its own.
            rekeys.append(Rekey(key, _free_key(trees, local)))
            continue
        if local is not wanted:
            _add_steps(steps, shape, local, merged, device)
        if remote is not wanted:
            _add_sends(sends, shape, key, remote, merged)
        if _agreed(base, local, remote, wanted):
            result.agreed.append(key)
    if rekeys:
        # Who is who comes first: everything is planned again with the right keys.
        return Plan(list[Step](rekeys), waiting=result.waiting)
    result.steps, stuck = order_steps(steps, trees.local)
    result.sends = order_sends(sends, trees.remote)
    result.waiting.update(dict.fromkeys(stuck, "its place is not free, or its directory not there, yet"))
    return result


def _rekeys(shape: Shape, busy: Container[str]) -> list[Rekey]:
    """Local entries that turned out to be another one that is not on this disk take its key; nothing changes on disk.

    Not where that other one is in the base: then it was deleted here, and the long way is taken; nor for a directory that another
    machine has put there, which may be on its way elsewhere: what is in ours would look as if its user had moved it.
    """
    trees, rekeys = shape.trees, dict[str, Rekey]()
    for old, new in shape.aliases.items():
        local, winner = trees.local.get(old), shape.of(new)
        if local is None or winner is None or not local.same_content(winner) or new in shape.waiting:
            continue
        if local.kind is Kind.DIR and shape.repaired[old]:
            continue
        unknown = new not in trees.local and new not in trees.base and new not in rekeys
        if unknown and old not in busy and new not in busy:
            rekeys[new] = Rekey(old, new)
    return list(rekeys.values())


def _free_key(trees: Trees, entry: Entry) -> str:
    key = birth_key(entry.parent, entry.name, entry.kind)
    while any(key in tree for tree in (trees.base, trees.local, trees.remote)):
        key = birth_key(key, entry.name, entry.kind)
    return key


def _add_steps(steps: list[Step], shape: Shape, local: Entry | None, merged: Merged, device: str) -> None:
    """What this disk needs to hold the merged entry."""
    wanted = merged.entry
    if wanted is None:
        assert local is not None
        steps.append(Remove(local.key))
    elif local is None:
        if wanted.read:
            steps.append(Make(wanted))
    else:
        if not merged.unread and not local.same_content(wanted):
            steps.append(_replace(shape, local, wanted, merged.conflict, device))
        elif not merged.unread and local.exec != wanted.exec:
            steps.append(SetExec(local.key, wanted.exec))
        if local.name != wanted.name or local.parent != wanted.parent:
            steps.append(Move(local.key, wanted.parent, wanted.name))


def _replace(shape: Shape, local: Entry, wanted: Entry, conflict: bool, device: str) -> Step:
    # Content changes before the place does: the step names the entry where it is now, with what it shall hold.
    entry = Entry(local.key, local.parent, local.name, local.kind, wanted.content, wanted.exec, wanted.target)
    if not conflict:
        return Replace(entry)
    tree, kept = shape.trees.local, False

    def taken(name: str) -> bool:
        nonlocal kept
        here = tree.at(local.parent, name)
        # Who has put a copy back in our place and still has it needs no other, if it stays. (We may be called like it ourselves.)
        kept = any(
            key != local.key and local.same_content(found) for key in here if (found := tree.get(key)) and shape.of(key)
        )
        return not kept and bool(here or shape.claims((local.parent, name)))

    copy = conflict_name(local.name, local.content.mtime if local.content is not None else None, device, taken)
    return Replace(entry) if kept else Conflict(entry, copy)


def _add_sends(sends: list[Send | SendDelete], shape: Shape, key: str, remote: Entry | None, merged: Merged) -> None:
    """What the server needs to hold the merged entry."""
    wanted = merged.entry
    if wanted is None:
        sends.append(SendDelete(key, shape.repaired.get(key, False)))
    elif (not merged.unread) if remote is None else (not wanted.same(remote) and wanted.read):
        sends.append(Send(wanted, shape.repaired.get(key, False)))


def _agreed(base: Entry | None, local: Entry | None, remote: Entry | None, wanted: Entry | None) -> bool:
    """Both sides hold the same, it is what shall be, and the base does not say so yet.

    Equal on both sides but to be mended is not agreed: the base still knows where it was before.
    """
    if local is None or remote is None:
        return local is remote and base is not None and wanted is None
    return base is not remote and local.same(remote) and wanted is not None and wanted.same(remote)
