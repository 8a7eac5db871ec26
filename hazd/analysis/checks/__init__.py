"""Whether each fix really acted: one file a fix, found by listing this folder.

A preStop hook that failed, a budget that selects nothing or a probe that says yes at once leaves a trial that looks
fixed and is not; a pass of it would teach the wrong thing. A check is a module with FIX (the fix's name) and
`problems(case)`, which yields a sentence for each thing that shows that the fix did not act. No news is good news:
what could not be seen is no problem.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from functools import cache
from typing import Protocol, cast

from hazd.analysis.case import Case


class Check(Protocol):
    """What every module of this folder offers."""

    FIX: str

    def problems(self, case: Case) -> Iterable[str]: ...


@cache
def all_checks() -> tuple[Check, ...]:
    """Every check of this folder, by name."""
    names = sorted(item.name for item in pkgutil.iter_modules(__path__))
    return tuple(cast(Check, importlib.import_module(f"{__name__}.{name}")) for name in names)


def check_fixes(case: Case) -> list[dict[str, object]]:
    """One entry per fix that is on and has a check: its name, whether it is `ok`, and a message."""
    fixes = set(case.meta.get("fixes") or ())
    found: list[dict[str, object]] = []
    for check in all_checks():
        if check.FIX in fixes:
            problems = list(check.problems(case))
            message = "; ".join(problems) if problems else "nothing speaks against it having acted"
            found.append({"name": f"fix {check.FIX}", "ok": not problems, "message": message})
    return found


__all__ = ["Check", "all_checks", "check_fixes"]
