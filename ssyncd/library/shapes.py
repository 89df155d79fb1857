"""Dataclasses to JSON and back, checked both ways.

A *kind* is a dataclass, `list[kind]`, `dict[str, kind]`, `str`, `int`, `float`, `bool`, `None`, `Any`, or a union of kinds.
"""

from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import lru_cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from ssyncd.errors import ShapeError, UsageError
from ssyncd.library.values import copied

T = TypeVar("T")
_SCALARS = (str, int, float, bool, NoneType)


def check_kind(kind: Any) -> None:
    """UsageError, with the member's name, if there is something in a kind that cannot be shared."""
    _check_kind(kind, "", set())


def to_json(value: Any, kind: Any) -> dict[str, Any]:
    """The JSON of a dataclass. ShapeError names the member that does not hold what it is declared to hold."""
    result: dict[str, Any] = _convert(value, kind, "", _members_to_json)
    return result


def from_json(data: dict[str, Any], kind: type[T]) -> T:
    """A dataclass from JSON; members it does not declare are left out, absent ones have their defaults. ShapeError."""
    result: T = _convert(data, kind, "", _members_from_json)
    return result


def _check_kind(kind: Any, path: str, seen: set[Any]) -> None:
    if kind is Any or kind is None or kind in _SCALARS or kind in seen:
        return
    if is_dataclass(kind):
        seen.add(kind)
        for name, one in _kinds(kind).items():
            _check_kind(one, f"{path}.{name}" if path else name, seen)
        return
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is dict and arguments[0] is not str:
        raise UsageError(f"{path}: a dict that is shared has text as keys")
    if origin not in (list, dict, Union, UnionType):
        raise UsageError(f"{path or 'the value'}: a {_name(kind)} cannot be shared")
    for one in arguments:
        _check_kind(one, path, seen)


_Members = Callable[[Any, Any, str], Any]


def _convert(value: Any, kind: Any, path: str, members: _Members) -> Any:
    if is_dataclass(kind):
        return members(value, kind, path)
    origin = get_origin(kind)
    if origin is list:
        _expect(isinstance(value, list), value, kind, path)
        return [_convert(one, get_args(kind)[0], f"{path}[{at}]", members) for at, one in enumerate(value)]
    if origin is dict:
        _expect(isinstance(value, dict) and all(isinstance(name, str) for name in value), value, kind, path)
        return {name: _convert(one, get_args(kind)[1], _below(path, name), members) for name, one in value.items()}
    if origin in (Union, UnionType):
        return _one_of(value, kind, path, members)
    return _scalar(value, kind, path)


def _one_of(value: Any, kind: Any, path: str, members: _Members) -> Any:
    # An exact type first: 1 is an int where `float | int` is declared.
    arms = sorted(get_args(kind), key=lambda arm: arm is not type(value))
    for arm in arms:
        try:
            return _convert(value, arm, path, members)
        except ShapeError as error:
            if isinstance(value, dict) and len([one for one in arms if one is not NoneType]) == 1:
                raise error from None  # the only one it can have meant: say what is wrong inside
    raise _wrong(value, kind, path)


def _scalar(value: Any, kind: Any, path: str) -> Any:
    if kind is Any:
        return copied(value)
    if kind in (int, float):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        # JSON has one kind of number: 3.0 may come where 3 was sent.
        _expect(number and (kind is float or isinstance(value, int) or value.is_integer()), value, kind, path)
        try:
            return kind(value)
        except OverflowError:
            raise _wrong(value, kind, path) from None
    _expect(isinstance(value, NoneType if kind is None else kind), value, kind, path)
    return value


def _members_to_json(value: Any, kind: Any, path: str) -> dict[str, Any]:
    _expect(isinstance(value, kind), value, kind, path)
    kinds = _kinds(kind)
    return {
        name: _convert(getattr(value, name), one, _below(path, name), _members_to_json) for name, one in kinds.items()
    }


def _members_from_json(data: Any, kind: Any, path: str) -> Any:
    _expect(isinstance(data, dict), data, kind, path)
    kinds, arguments = _kinds(kind), {}
    for one in fields(kind):
        if one.name in data and one.init:
            arguments[one.name] = _convert(data[one.name], kinds[one.name], _below(path, one.name), _members_from_json)
        elif one.init and _needed(one):
            raise ShapeError(f"{_below(path, one.name)}: is missing, a {_name(kinds[one.name])} should be there")
    try:
        return kind(**arguments)
    except (TypeError, ValueError) as error:
        raise ShapeError(f"{path or 'the value'}: {kind.__name__} does not take it: {error}") from error


def _needed(one: Field[Any]) -> bool:
    return one.default is MISSING and one.default_factory is MISSING


def _kinds(kind: Any) -> dict[str, Any]:
    return _kinds_of(kind)


@lru_cache
def _kinds_of(kind: type[Any]) -> dict[str, Any]:
    try:
        hints = get_type_hints(kind)
    except (NameError, TypeError) as error:
        raise UsageError(f"{kind.__name__}: its types cannot be read: {error}") from error
    return {one.name: hints[one.name] for one in fields(kind) if one.init}


def _expect(fits: bool, value: Any, kind: Any, path: str) -> None:
    if not fits:
        raise _wrong(value, kind, path)


def _wrong(value: Any, kind: Any, path: str) -> ShapeError:
    found = "nothing (null)" if value is None else f"the {type(value).__name__} {value!r:.60}"
    return ShapeError(f"{path or 'the value'}: {_name(kind)} wanted, {found} is there")


def _name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
