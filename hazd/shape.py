"""Shapes of JSON, and a check that names what does not fit: for whatever comes from a file and is not ours to trust.

A shape is written as the JSON it describes: a mapping of field names to shapes (every field may be absent, fields that
are not named are free), `{ANY_NAME: shape}` for a mapping with names of its own, `[shape]` for a list, `Either` for
alternatives, `NULL`, a type, a `Number` or a `Name`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

ANY_NAME = "*"
NULL = None
Shape: TypeAlias = Any
Fault: TypeAlias = tuple[str, object, str]
"""The path of a field, its value, and what would be right."""


@dataclass(frozen=True, slots=True)
class Number:
    """A finite number between two limits, both allowed. whole: an integer."""

    least: float
    most: float
    whole: bool = True

    def __str__(self) -> str:
        return f"{'an integer' if self.whole else 'a number'} from {self.least:g} to {self.most:g}"

    def takes(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            return False
        return math.isfinite(value) and self.least <= value <= self.most


@dataclass(frozen=True, slots=True)
class Name:
    """A string that is one step of a path: not empty, no slash, neither "." nor ".."."""

    def __str__(self) -> str:
        return "the name of a folder"

    def takes(self, value: object) -> bool:
        return isinstance(value, str) and bool(value) and not {"/", "\0"} & set(value) and value not in (".", "..")


class Either(tuple[Shape, ...]):
    """Any one of several shapes."""

    def __new__(cls, *shapes: Shape) -> Either:
        return super().__new__(cls, shapes)


_WORDS: Mapping[object, str] = {str: "a string", bool: "true or false", NULL: "null"}


def faults(value: object, shape: Shape, where: str = "") -> Iterator[Fault]:
    """What does not fit, each with its path ("workers[0].due")."""
    if isinstance(shape, Either):
        if all(any(faults(value, item)) for item in shape):
            close = [list(faults(value, item, where)) for item in shape if _same_kind(value, item)]
            yield from close[0] if close else [(where, value, _words(shape))]
    elif isinstance(shape, Mapping):
        if not isinstance(value, dict):
            yield where, value, "an object"
            return
        for name, item in value.items():
            inner = shape.get(name, shape.get(ANY_NAME, ...))
            if inner is not ...:
                yield from faults(item, inner, f"{where}.{name}" if where else name)
    elif isinstance(shape, list):
        if not isinstance(value, list):
            yield where, value, "a list"
            return
        for index, item in enumerate(value):
            yield from faults(item, shape[0], f"{where}[{index}]")
    elif isinstance(shape, Number | Name):
        if not shape.takes(value):
            yield where, value, str(shape)
    elif value is not None if shape is NULL else not isinstance(value, shape):
        yield where, value, _words(shape)


def _same_kind(value: object, shape: Shape) -> bool:
    return (isinstance(value, dict) and isinstance(shape, Mapping)) or (
        isinstance(value, list) and isinstance(shape, list)
    )


def _words(shape: Shape) -> str:
    if isinstance(shape, Either):
        return " or ".join(map(_words, shape))
    if isinstance(shape, Mapping):
        return "an object"
    if isinstance(shape, list):
        return "a list"
    return str(shape) if isinstance(shape, Number | Name) else _WORDS[shape]


def short(value: object) -> str:
    """A value for an error message: never longer than a line."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


__all__ = ["ANY_NAME", "NULL", "Either", "Fault", "Name", "Number", "Shape", "faults", "short"]
