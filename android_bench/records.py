"""JSON from elsewhere, read strictly into frozen dataclasses: the one place that decides what is malformed.

What a board prints or a file holds is whatever its author wanted. A value of a wrong type, a number that is not
finite, text with control characters, or nesting without end is a `ValueError` of one line that names the field.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from collections.abc import Callable, Hashable
from typing import Annotated, Any, TypeVar

Record = TypeVar("Record")


@dataclasses.dataclass(frozen=True)
class Minimum:
    """A bound that a number must keep; with `exclusive` it must be larger."""

    value: float
    exclusive: bool = False


Count = Annotated[int, Minimum(0)]
Positive = Annotated[float, Minimum(0, exclusive=True)]
NotNegative = Annotated[float, Minimum(0)]


def loads(content: str | bytes) -> Any:
    """Parse JSON.

    Args:
        content: the text, or its UTF-8 bytes.

    Returns:
        The value; its numbers are finite.

    Raises:
        json.JSONDecodeError: a ValueError, where it is not JSON.
        ValueError: where it is not UTF-8, holds NaN or an infinite number, or is nested too deeply to be read.
    """
    try:
        return json.loads(content, parse_constant=_refuse_constant, parse_float=_finite)
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def decode(kind: type[Record], value: object) -> Record:
    """Read a value as a dataclass.

    Args:
        kind: the dataclass. Its fields may be numbers, bools, text, lists, None, `Annotated` bounds and other
            dataclasses; where a field has a default, it may be missing.
        value: a parsed JSON value. Fields that the dataclass does not have are passed over.

    Returns:
        The dataclass.

    Raises:
        ValueError: naming the field that is missing or malformed.
    """
    return typing.cast(Record, _reader(typing.cast(Hashable, kind))(value))


def is_plain(text: str) -> bool:
    """Return whether text can be printed and written: no control characters, and nothing that UTF-8 cannot hold."""
    return not any(letter < " " or "\x7f" <= letter < "\xa0" or "\ud800" <= letter <= "\udfff" for letter in text)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"it holds {name}, which is no number to count with")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"it holds a number that is too large ({text[:20]})")
    return number


Reader = Callable[[object], Any]


@functools.cache
def _reader(kind: Hashable) -> Reader:
    """Return the function that reads a value of the type `kind`, or raises ValueError."""
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _dataclass_reader(kind)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return _bounded_reader(_reader(arguments[0]), arguments[1])
    if origin in (types.UnionType, typing.Union):
        (present,) = (each for each in arguments if each is not types.NoneType)
        return _optional_reader(_reader(present))
    if origin is list:
        return _list_reader(_reader(arguments[0]))
    readers: dict[Any, Reader] = {bool: _bool, int: _int, float: _float, str: _str}
    return readers[kind]


def _dataclass_reader(kind: type) -> Reader:
    hints = typing.get_type_hints(kind, include_extras=True)
    readers = {field.name: _reader(hints[field.name]) for field in dataclasses.fields(kind)}
    needed = {field.name for field in dataclasses.fields(kind) if field.default is dataclasses.MISSING}

    def read(value: object) -> Any:
        if isinstance(value, kind):
            return value
        if not isinstance(value, dict):
            raise ValueError(f"{_named(value)} in place of an object")
        missing = sorted(needed - set(value))
        if missing:
            raise ValueError(f"{missing[0]} is missing")
        known = {}
        for name in readers.keys() & value.keys():
            try:
                known[name] = readers[name](value[name])
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return kind(**known)

    return read


def _bounded_reader(base: Reader, bound: Minimum) -> Reader:
    def read(value: object) -> Any:
        number = base(value)
        if number < bound.value or (bound.exclusive and number == bound.value):
            raise ValueError(f"{number} is not {'above' if bound.exclusive else 'at least'} {bound.value:g}")
        return number

    return read


def _optional_reader(base: Reader) -> Reader:
    return lambda value: None if value is None else base(value)


def _list_reader(base: Reader) -> Reader:
    def read(value: object) -> Any:
        if not isinstance(value, list):
            raise ValueError(f"{_named(value)} in place of a list")
        return [base(each) for each in value]

    return read


def _bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{_named(value)} in place of true or false")
    return value


def _int(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{_named(value)} in place of a whole number")
    return value


def _float(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"{_named(value)} in place of a number")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError("a number that is too large") from None
    if not math.isfinite(number):
        raise ValueError(f"{number}, which is no number to count with")
    return number


def _str(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{_named(value)} in place of text")
    if not is_plain(value):
        raise ValueError("text with control characters")
    return value


def _named(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")
