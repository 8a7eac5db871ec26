"""One file a rule, found by listing this folder: a new cause is a new file and nothing else.

A rule is a module with NAME, TITLE (for tables), CURED_BY (names of fixes) and `suspects(case)`. Rules are pure and do
not know of each other; what several of them claim is settled in attribution.py.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from functools import cache
from typing import Protocol, cast

from hazd.analysis.case import Case, Suspect


class Rule(Protocol):
    """What every module of this folder offers."""

    NAME: str
    TITLE: str
    CURED_BY: tuple[str, ...]

    def suspects(self, case: Case) -> Iterable[Suspect]: ...


@cache
def all_rules() -> tuple[Rule, ...]:
    """Every rule of this folder, by name."""
    names = sorted(item.name for item in pkgutil.iter_modules(__path__))
    return tuple(cast(Rule, importlib.import_module(f"{__name__}.{name}")) for name in names)


__all__ = ["Rule", "all_rules"]
