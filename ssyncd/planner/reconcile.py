"""One entry, three trees: which facets does it have when both sides' changes are taken together (design section 4).

facet       existence   place (parent and name, each by itself)   content (or link text)   exec
rule        the change beats the delete; a facet changed on one side only takes that side's value; changed on both sides
            differently, the server's value stands, and our content lives on as a conflict copy
"""

from typing import NamedTuple, TypeVar

from ssyncd.planner.tree import Entry

T = TypeVar("T")


class Merged(NamedTuple):
    """`entry` None: it shall not exist. `conflict`: our content has to be kept aside. `unread`: local content not known yet;
    `entry` then shows the server's, if it has any."""

    entry: Entry | None
    conflict: bool = False
    unread: bool = False


GONE = Merged(None)


def merge(base: Entry | None, local: Entry | None, remote: Entry | None) -> Merged:
    """The entry as it shall be on both sides.

    A key that has one kind here and another there cannot be merged: the server's is the answer (an honest one never changes
    the kind of an object), and the caller sees by the kind that ours is something else.
    """
    if remote is None:
        return GONE if local is None else _merge_deleted_there(base, local)
    if local is None:
        return GONE if base is not None and remote.same(base) else Merged(remote)
    if local.same(remote) or local.kind is not remote.kind:
        return Merged(remote)
    return _merge_living(base if base is not None and base.kind is remote.kind else None, local, remote)


def _merge_deleted_there(base: Entry | None, local: Entry) -> Merged:
    """Deleted on the server, or never there: only a change since the base lets it live."""
    if base is not None and local.same(base):
        return GONE
    # What has not been read lives for now: whether the change beats the delete shows when it is.
    return Merged(local, unread=not local.read)


def _merge_living(base: Entry | None, local: Entry, remote: Entry) -> Merged:
    old = base or local  # with an empty base the server's value stands wherever the two differ
    unread = not local.read
    ours = not unread and remote.same_content(old)
    content = local if ours else remote
    entry = Entry(
        key=remote.key,
        parent=_merge_value(old.parent, local.parent, remote.parent),
        name=_merge_value(old.name, local.name, remote.name),
        kind=remote.kind,
        content=content.content,
        exec=_merge_value(old.exec, local.exec, remote.exec),
        target=content.target,
    )
    clash = not (unread or ours or local.same_content(remote))
    return Merged(entry, clash and (base is None or not local.same_content(base)), unread)


def _merge_value(base: T, local: T, remote: T) -> T:
    """Three-way; changed on both sides: the server's order wins."""
    return local if remote == base else remote


def base_after(base: Entry | None, before: Entry | None, local: Entry | None, remote: Entry | None) -> Entry | None:
    """The base entry after a step of ours has made `local` out of `before`.

    What both sides hold alike is agreed. A facet that held no change of our user's before the step holds none after it either
    (a mended place is not the server's, but no move of ours). The rest stays as it was: a change still to be sent must not
    look like the server's if we crash before. An entry gone here stays in the base while the server has it.
    """
    if local is None:
        return None if remote is None else base
    if base is None or base.kind is not local.kind:
        return local if remote is not None and local.same_content(remote) else base
    ours = before or base
    remote = remote or base  # where the server has deleted it, it may make it again
    done = local.same_content(remote) or ours.same_content(base)
    return Entry(
        key=local.key,
        parent=local.parent if local.parent == remote.parent or ours.parent == base.parent else base.parent,
        name=local.name if local.name == remote.name or ours.name == base.name else base.name,
        kind=local.kind,
        content=local.content if done else base.content,
        exec=local.exec if local.exec == remote.exec or ours.exec == base.exec else base.exec,
        target=local.target if done else base.target,
    )
