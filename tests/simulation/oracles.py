"""What must be true of a world that came to rest."""

from typing import Any

from ssyncd.folder.report import troubles
from tests.simulation.machine import Machine
from tests.simulation.operations import RULES_BEGIN, TOKEN, Ledger
from tests.simulation.world import World

QUIET = 600.0


class Failed(AssertionError):
    """A promise was broken."""


class Superfluous(Failed):
    """Nothing is lost, but there is a copy too many: the README's limits name when that may be."""


def _require(fine: bool, text: str, kind: type[Failed] = Failed) -> None:
    if not fine:
        raise kind(text)


def show(world: World) -> str:
    return "\n".join(f"{machine.name}:\n{_listing(machine.tree())}" for machine in world.machines)


def _listing(tree: dict[str, Any]) -> str:
    return "\n".join(f"  {path!r}: {_short(value)}" for path, value in tree.items())


def _short(value: Any) -> str:
    return repr(value) if len(repr(value)) < 80 else f"{repr(value)[:40]}..."


def trees_are_equal(world: World) -> None:
    first, *others = world.machines
    for other in others:
        _require(first.tree() == other.tree(), f"{first.name} and {other.name} differ")


def knows_its_disk(machine: Machine) -> None:
    """All three trees are the disk."""
    record = machine.record
    shown = machine.user.tree()
    for name, tree in (("base", record.base), ("local", record.local), ("remote", record.remote)):
        paths = {tree.path(key) for key in tree}
        _require(paths == set(shown), f"{machine.name}: the {name} tree is not the disk: {paths ^ set(shown)}")


def sees_all_but_what_is_left_out(world: World) -> None:
    """Every machine takes the same for the folder, though it is not all that is there."""
    first = world.machines[0].record.local
    paths = {first.path(key) for key in first}
    for machine in world.machines:
        local, excludes = machine.record.local, machine.engine.local.exclusion.excludes
        seen, left_out = {local.path(key) for key in local}, set[str]()
        for path, value in machine.user.tree().items():
            if path.rpartition("/")[0] in left_out or excludes(path, value is None):
                left_out.add(path)
        _require(seen == set(machine.user.tree()) - left_out, f"{machine.name}: sees {seen}, but leaves out {left_out}")
        _require(seen == paths, f"{machine.name} sees other things than the first: {seen ^ paths}")


def is_blocked(machine: Machine) -> bool:
    """Something that is left out stands where a change of the server leads to, and the user is told so."""
    return any(" is left out here: " in trouble.reason for trouble in troubles(machine.engine))


def is_well_formed(machine: Machine) -> None:
    """What a daemon takes for its disk could be one, whenever it has looked."""
    if machine.fresh:
        return
    tree = machine.record.local
    for key in tree:
        entry = tree.get(key)
        assert entry is not None
        _require(tree.path(key) is not None, f"{machine.name}: {entry} has no path")
        _require(tree.at(*entry.place) == (key,), f"{machine.name}: two entries at {tree.path(key)!r}")


def nothing_is_lost(world: World, ledger: Ledger) -> None:
    data = b"".join(value for value in world.machines[0].user.tree().values() if isinstance(value, bytes))
    lost = ledger.written - ledger.forgiven - set(TOKEN.findall(data))
    _require(not lost, f"lost: {sorted(lost)}")


def nothing_is_partial(machine: Machine, ledger: Ledger) -> None:
    """Every file holds what some user gave a file, whole; but those with rules have lines, which are merged."""
    for path, value in machine.user.tree().items():
        if isinstance(value, bytes) and not value.startswith(RULES_BEGIN):
            _require(value in ledger.contents, f"{machine.name}: {path!r} holds {_short(value)}")


def one_copy_each(world: World, ledger: Ledger) -> None:
    """No version has two copies: users never copy here."""
    seen: dict[bytes, str] = {}
    for path, value in world.machines[0].user.tree().items():
        if isinstance(value, bytes) and value and value not in ledger.moved_over:
            _require(value not in seen, f"{path!r} and {seen.get(value)!r} hold the same version", Superfluous)
            seen[value] = path


def no_conflict(world: World) -> None:
    for path in world.machines[0].user.tree():
        _require(not _is_copy(path), f"{path!r}, but there was no conflict", Superfluous)


def is_what_the_user_left(machine: Machine, left: dict[str, Any]) -> None:
    """But for copies."""
    tree = {path: value for path, value in machine.tree().items() if not _is_copy(path)}
    _require(tree == left, f"{machine.name}: is not what its user left, with no other user anywhere")


def _is_copy(path: str) -> bool:
    return "(conflict" in path or "recovered" in path


def stays_quiet(world: World) -> None:
    for machine in world.machines:
        machine.writes = 0
        machine.sent.clear()
    world.time.now += QUIET
    world.settle()
    for machine in world.machines:
        _require(not machine.writes, f"{machine.name}: {machine.writes} writes to the disk with nothing to do")
        _require(not machine.sent, f"{machine.name}: sends {machine.sent} with nothing to do")
        _require(machine.is_at_rest(), f"{machine.name}: is not at rest with nothing to do")


def a_restart_changes_nothing(world: World) -> None:
    before = [machine.tree() for machine in world.machines]
    for machine in world.machines:
        machine.stop()
        machine.writes = 0
        machine.sent.clear()
        machine.start()
    world.settle()
    for machine, tree in zip(world.machines, before, strict=True):
        _require(machine.tree() == tree, f"{machine.name}: a restart changed the folder")
        _require(not machine.writes, f"{machine.name}: {machine.writes} writes to the disk after a restart")
        changes = [message for message in machine.sent if message.startswith("0:c:")]
        _require(not changes, f"{machine.name}: sends {changes} after a restart")


def a_fresh_machine_agrees(world: World) -> None:
    world.add_machine()
    world.settle()
    trees_are_equal(world)
