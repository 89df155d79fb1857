"""When a plan is too much to be carried out without the user's word (design section 4, "Holds")."""


def held(deletions: int, already: int, size: int, share: float, least: int) -> bool:
    """Whether `deletions` are to wait: with those `already` done in the same burst they are at least `least` entries and more
    than this `share` of the `size` entries that there were before the burst."""
    total = deletions + already
    return total >= least and total > share * size
