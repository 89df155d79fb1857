"""Who is entangled with an entry that came, went or moved."""

from ssyncd.folder.agenda import Agenda
from ssyncd.folder.record import Record
from ssyncd.planner.tree import Entry


def touch_around(agenda: Agenda, record: Record, key: str, *entries: Entry | None) -> None:
    """Its directory, what is in it and who claims its place have to be planned too, where it was and where it is."""
    for tree in (record.remote, record.local):
        agenda.touch_all(tree.children(key))
        for entry in entries:
            if entry is not None:
                if entry.parent in record.ghosts or entry.parent in record.local:
                    # Of a directory that nobody has told us of, nothing can be planned but that all in it has to wait.
                    agenda.touch(entry.parent)
                agenda.touch_all(other for other in tree.at(*entry.place) if other != key)
