"""Diffs of JSON objects: make, apply, and transform one over another.

A *diff* maps member names to operations, `{"o": OP, "v": PARAM}`. Applied are all of `+ - r O d I L dL`; made are `+ - r O d`,
and the others only where a policy asks for them. Nothing passed in is ever changed, and results share unchanged parts with it.

A policy says per member how it is compared: `{"member": {"otype": "integer" | "list" | "list_dmp" | "replace" | "string",
"item": {policy of each element}, "attributes": {policies of an object's members}}}`. Source of all: Simperium/jsondiff.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ssyncd.errors import ApplyError, ProtocolError
from ssyncd.protocol import delta
from ssyncd.protocol.encoding import dumps_stored, loads

Diff = dict[str, Any]
Operation = Mapping[str, Any]
Policy = Mapping[str, Any]

# Whatever JSON's reader lets through may be nested more deeply than Python can recurse.
_TOO_DEEP = "nested too deeply"


def diff(before: Mapping[str, Any], after: Mapping[str, Any], policy: Policy | None = None) -> Diff:
    """What makes `after` of `before`; {} if they are equal. `1` and `1.0` are equal, `1` and `true` are not."""
    try:
        return _diff_objects(before, after, policy or {})
    except RecursionError:
        raise ApplyError(_TOO_DEEP) from None


def apply(change: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """`before` with the diff applied. ApplyError if an operation is unknown or does not fit what it meets."""
    try:
        return _apply_object(change, before)
    except RecursionError:
        raise ApplyError(_TOO_DEEP) from None


def transform(change: Mapping[str, Any], over: Mapping[str, Any], source: Mapping[str, Any]) -> Diff:
    """`change` as it is to be applied after `over`, where both were made from `source`.

    Edits of different places both stay, an edit beats a removal, and where both set one value `change` wins. ApplyError if one
    does not fit the source; what is left may still not fit the new object (a text edit of what became a number).
    """
    try:
        return _transform_object(change, over, source)
    except RecursionError:
        raise ApplyError(_TOO_DEEP) from None


def equal(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same: types matter (`true` is not `1`), numbers compare by value."""
    if one is other:
        return True
    if type(one) is not type(other):
        return _number(one) and _number(other) and bool(one == other)
    if isinstance(one, dict):
        return len(one) == len(other) and all(
            name in other and equal(value, other[name]) for name, value in one.items()
        )
    if isinstance(one, list):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# Making


def _diff_objects(before: Mapping[str, Any], after: Mapping[str, Any], policy: Policy) -> Diff:
    change: Diff = {}
    for name, value in before.items():
        if name not in after:
            change[name] = {"o": "-"}
        elif (operation := _diff_values(value, after[name], policy.get(name) or {})) is not None:
            change[name] = operation
    for name, value in after.items():
        if name not in before:
            change[name] = {"o": "+", "v": value}
    return change


def _diff_values(before: Any, after: Any, policy: Policy) -> dict[str, Any] | None:
    if equal(before, after):
        return None
    if _number(before) and _number(after) and policy.get("otype") == "integer":
        return {"o": "I", "v": after - before}
    if type(before) is not type(after) or policy.get("otype") == "replace":
        return {"o": "r", "v": after}
    if isinstance(before, str):
        return {"o": "d", "v": delta.make(before, after)}
    if isinstance(before, dict):
        return {"o": "O", "v": _diff_objects(before, after, policy.get("attributes") or {})}
    if isinstance(before, list) and policy.get("otype") == "list":
        return {"o": "L", "v": _diff_lists(before, after, policy.get("item") or {})}
    if isinstance(before, list) and policy.get("otype") == "list_dmp":
        return {"o": "dL", "v": delta.make(_lines(before), _lines(after))}
    return {"o": "r", "v": after}


def _diff_lists(before: list[Any], after: list[Any], policy: Policy) -> Diff:
    """Elements between what both lists begin and end with, compared one by one."""
    shorter = min(len(before), len(after))
    start = next((at for at in range(shorter) if not equal(before[at], after[at])), shorter)
    rest = shorter - start
    end = next((at for at in range(rest) if not equal(before[-1 - at], after[-1 - at])), rest)
    change: Diff = {}
    for at in range(start, max(len(before), len(after)) - end):
        if at >= len(before) - end:
            change[str(at)] = {"o": "+", "v": after[at]}
        elif at >= len(after) - end:
            change[str(at)] = {"o": "-"}
        elif (operation := _diff_values(before[at], after[at], policy)) is not None:
            change[str(at)] = operation
    return change


def _lines(values: list[Any]) -> str:
    """A list as `dL` sees it: an element's JSON on each line."""
    return "".join(dumps_stored(value).decode() + "\n" for value in values)


def _from_lines(text: str) -> list[Any]:
    try:
        return [loads(line) for line in text.split("\n") if line]
    except ProtocolError as error:
        raise ApplyError(f"a list diff leaves a line that is {error}") from error


# Applying


def _apply_object(change: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    after = dict(before)
    for name, operation in change.items():
        try:
            kind = operation["o"]
            if kind == "+" or kind == "r":
                after[name] = operation["v"]
            elif kind == "-":
                after.pop(name, None)
            else:
                after[name] = _edited(kind, operation["v"], after[name])
        except (KeyError, TypeError) as error:
            raise ApplyError(f"cannot apply {str(operation)[:80]} to the member {name[:80]!r}") from error
    return after


def _edited(kind: Any, param: Any, value: Any) -> Any:
    edit = _EDITS.get(kind)
    if edit is None:
        raise ApplyError(f"an unknown operation: {str(kind)[:40]!r}")
    expected, needed, act = edit
    if not isinstance(value, expected) or not isinstance(param, needed) or bool in (type(value), type(param)):
        raise ApplyError(f"the operation {kind} does not fit a {type(value).__name__}")
    return act(param, value)


def _apply_list(change: Diff, before: list[Any]) -> list[Any]:
    inserted, operations = _by_element(change, len(before))
    after: list[Any] = []
    for at, value in enumerate(before):
        after += inserted.get(at, ())
        operation = operations.get(at)
        if operation is None:
            after.append(value)
        elif operation["o"] != "-":
            after.append(_changed(operation, value))
    return after + inserted.get(len(before), [])


def _changed(operation: Operation, value: Any) -> Any:
    return _apply_object({"": operation}, {"": value})[""]


def _by_element(change: Diff, length: int) -> tuple[dict[int, list[Any]], dict[int, Operation]]:
    """What is inserted before each element of a list of this length (its end included), and the operation on each.

    The indexes of a list diff count what is kept, removed and inserted, in order, so that each insertion shifts the rest by one.
    """
    inserted: dict[int, list[Any]] = {}
    operations: dict[int, Operation] = {}
    shift = 0
    for index in sorted(map(_index, change)):
        operation = change[str(index)]
        at = index - shift
        if not isinstance(operation, dict) or at > length or (at == length and operation.get("o") != "+"):
            raise ApplyError(f"a list diff reaches past the end, to {index} of {length}")
        if operation.get("o") == "+":
            inserted.setdefault(at, []).append(operation["v"])
            shift += 1
        else:
            operations[at] = operation
    return inserted, operations


def _sum(increment: float, value: float) -> float:
    try:
        result = value + increment
    except OverflowError as error:
        raise ApplyError("an increment out of range") from error
    if result - result != 0:  # Infinity, which JSON does not know
        raise ApplyError("an increment out of range")
    return result


def _index(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or str(int(text)) != text:
        raise ApplyError(f"no index in a list diff: {text[:40]!r}")
    return int(text)


_Edit = tuple[type[Any] | tuple[type[Any], ...], type[Any] | tuple[type[Any], ...], Callable[[Any, Any], Any]]
# Operation -> what it edits, its parameter's type, and how. True counts as a number nowhere.
_EDITS: dict[str, _Edit] = {
    "O": (dict, dict, _apply_object),
    "d": (str, str, delta.apply),
    "I": ((int, float), (int, float), _sum),
    "L": (list, dict, _apply_list),
    "dL": (list, str, lambda param, value: _from_lines(delta.apply(param, _lines(value)))),
}


# Transforming


def _transform_object(change: Mapping[str, Any], over: Mapping[str, Any], source: Mapping[str, Any]) -> Diff:
    result: Diff = {}
    for name, operation in change.items():
        other = over.get(name)
        moved = operation if other is None else _transform_operation(operation, other, source.get(name))
        if moved is not None:
            result[name] = moved
    return result


def _transform_operation(operation: Operation, over: Operation, source: Any) -> Operation | None:
    """One row of the table: `operation` after `over` on the same member; None if nothing is left of it."""
    try:
        mine, theirs = operation["o"], over["o"]
        if mine == "-":
            return None if theirs == "-" else operation
        if theirs == "-":
            return operation if mine == "+" else {"o": "+", "v": _changed(operation, source)}
        if mine == theirs and mine in _MEETINGS:
            return _MEETINGS[mine](operation["v"], over["v"], source)
        return operation
    except (KeyError, TypeError, AttributeError) as error:
        raise ApplyError(f"cannot transform {str(operation)[:80]}") from error


def _both_set(mine: Any, theirs: Any, _source: Any) -> Operation | None:
    return _diff_values(theirs, mine, {})


def _both_inside(mine: Any, theirs: Any, source: Any) -> Operation | None:
    moved = _transform_object(mine, theirs, source)
    return {"o": "O", "v": moved} if moved else None


def _both_texts(mine: Any, theirs: Any, source: Any) -> Operation | None:
    moved = delta.transform(mine, theirs, source)
    return None if moved is None else {"o": "d", "v": moved}


def _both_lines(mine: Any, theirs: Any, source: Any) -> Operation | None:
    moved = delta.transform(mine, theirs, _lines(source))
    return None if moved is None else {"o": "dL", "v": moved}


def _both_lists(mine: Any, theirs: Any, source: Any) -> Operation | None:
    ours, operations = _by_element(mine, len(source))
    added, others = _by_element(theirs, len(source))
    moved: Diff = {}
    at = 0
    for element in range(len(source) + 1):
        for value in ours.get(element, ()):
            moved[str(at)] = {"o": "+", "v": value}
            at += 1
        at += len(added.get(element, ()))
        operation, other = operations.get(element), others.get(element)
        if operation is not None and other is not None:
            operation = _transform_operation(operation, other, source[element])
        if operation is not None:
            moved[str(at)] = operation
        # A place is taken unless they removed the element; an edit of ours that beats the removal takes one again.
        at += other is None or other["o"] != "-" or operation is not None
    return {"o": "L", "v": moved} if moved else None


_MEETINGS: dict[str, Callable[[Any, Any, Any], Operation | None]] = {
    "+": _both_set,
    "O": _both_inside,
    "d": _both_texts,
    "dL": _both_lines,
    "L": _both_lists,
}
