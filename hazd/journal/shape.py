"""What run.json, trial.json and a line of events.jsonl must look like, and a check that names what does not.

A shape is written as the JSON it describes: a mapping of field names to shapes (every field may be absent, fields that
are not named are free), `{ANY_NAME: shape}` for a mapping with names of its own, `[shape]` for a list, `Either` for
alternatives, `NULL`, a type, or a `Number`. Only what analysis and report compute with is named here.
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


COUNT = Number(0, 1e12)
TIME = Number(1e18, 4e18)
"""ns since the Unix epoch, in the years 2001 to 2096."""
MOMENT = Number(0, 4e18)
"""A TIME, 0 where it never came."""
SPAN = Number(-1e15, 1e15)
"""A difference of times in ns: up to 11 days."""
AMOUNT = Number(0, 1e9, whole=False)
STRINGS = {ANY_NAME: str}
_PLANNED = {"name": Name(), "scenario": str, "fixes": [str]}
_CLUSTER = {
    "kind": str,
    "name": str,
    "version": str,
    "nodes": COUNT,
    "proxy_mode": str,
    "note": str,
    "uid": str,
}
RUN: Mapping[str, Shape] = {
    "schema": COUNT,
    "run": str,
    "hazd": str,
    "started_ns": TIME,
    "scenario": str,
    "cluster": _CLUSTER,
    "argv": [str],
    "trials": [_PLANNED],
}
_WORKER = {
    "id": Number(0, 255),
    "pod": str,
    "node": str,
    "offset_ns": SPAN,
    "offset_uncertainty_ns": SPAN,
    "due": COUNT,
    "recorded": COUNT,
    "not_sent": COUNT,
    "not_sent_streams": [COUNT],
    "lost": COUNT,
    "offset_end_ns": Either(NULL, SPAN),
    "offset_end_uncertainty_ns": Either(NULL, SPAN),
    "suspended_ns": SPAN,
    "missed_ns": Either(NULL, [TIME]),
    "fetched": COUNT,
    "sha256_ok": bool,
    "stopped_by": str,
    "error": str,
    "preflight_ok": Either(COUNT, bool),
    "sender": str,
    "lag_ms": {ANY_NAME: Number(-1e12, 1e12, whole=False)},
}
TRIAL: Mapping[str, Shape] = {
    **_PLANNED,
    "schema": COUNT,
    "state": str,
    "error": str,
    "run": str,
    "namespace": str,
    "rate": AMOUNT,
    "warmup_s": AMOUNT,
    "settle_s": AMOUNT,
    "timeout_s": AMOUNT,
    "replicas": COUNT,
    "options": {"force": Either(NULL, bool), "restart": Either(NULL, bool)},
    "app": Either(NULL, {"startup_delay_s": AMOUNT}),
    "criteria": {
        "expects": Either(NULL, [str], {ANY_NAME: COUNT}),
        "max_late_ms": AMOUNT,
        "max_failed": COUNT,
        "even_shares": bool,
    },
    "fix_settings": {},
    "applied": {ANY_NAME: {"words": str, "values": {"prestop_s": AMOUNT, "recycle_after": COUNT, "hook": str}}},
    "patch": Either(NULL, str),
    "expect": [COUNT],
    "streams": [{"name": str, "connection": str, "share": AMOUNT}],
    "cluster": _CLUSTER,
    "started_ns": TIME,
    "ended_ns": TIME,
    "phases": {ANY_NAME: TIME},
    "workers": [_WORKER],
    "observers": [
        {
            "node": str,
            "since_ns": MOMENT,
            "until_ns": MOMENT,
            "flows": COUNT,
            "missing": COUNT,
            "gaps": [[TIME]],
            "error": str,
        }
    ],
    "served": {ANY_NAME: {"served": COUNT, "preflight": COUNT, "final": bool}},
    "workload": {
        "name": str,
        "service": Either(NULL, str),
        "labels": Either(NULL, STRINGS),
        "sample": bool,
        "probed": bool,
    },
    "checks": [{"name": str, "ok": bool, "message": str}],
    "notes": [str],
    "watched": {ANY_NAME: {"events": COUNT, "problem": Either(NULL, str)}},
    "suspended_ns": SPAN,
    "plan": {
        "profile": str,
        "rate": AMOUNT,
        "seed": Number(-(2**63), 2**63),
        "shards": COUNT,
        "max_duration_s": AMOUNT,
        "timeout_s": AMOUNT,
    },
    "decides": Either(NULL, bool),
    "identity": {},
    "files": STRINGS,
}
_CONDITIONS = Either(NULL, [{"type": str, "status": str}], STRINGS)
_STATUSES = Either(
    NULL,
    [
        {
            "name": str,
            "restartCount": COUNT,
            "state": {"terminated": Either(NULL, {"exitCode": Number(-(2**31), 2**31)})},
            "terminated": Either(NULL, {"exitCode": Number(-(2**31), 2**31)}),
        }
    ],
)
_ENDPOINTS = Either(
    NULL,
    [{"conditions": Either(NULL, {}), "targetRef": Either(NULL, str, {"name": str}), "addresses": Either(NULL, [str])}],
)
_DETAIL = {
    "labels": Either(NULL, STRINGS),
    "metadata": {"labels": Either(NULL, STRINGS)},
    "conditions": _CONDITIONS,
    "containerStatuses": _STATUSES,
    "status": {
        "conditions": _CONDITIONS,
        "containerStatuses": _STATUSES,
        "expectedPods": Either(NULL, COUNT),
    },
    "endpoints": _ENDPOINTS,
    "offset_ns": SPAN,
    "uncertainty_ns": SPAN,
    "from_ns": Either(NULL, TIME),
    "to_ns": Either(NULL, TIME),
}
EVENT: Mapping[str, Shape] = {
    "observed_ns": TIME,
    "source": str,
    "ref": {"kind": str, "name": str, "namespace": str},
    "reason": str,
    "stated_ns": Either(NULL, TIME),
    "detail": _DETAIL,
}
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


__all__ = ["EVENT", "RUN", "TIME", "TRIAL", "Fault", "faults", "short"]
