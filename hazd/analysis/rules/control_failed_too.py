"""Requests to a pod that nothing disturbed failed at the same time: the client or the network did it, not the service.

No pod's transition makes requests to another pod fail, so where the control target's failed on the same worker,
this explains the service's failures better than any race does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hazd.analysis.case import Case, Suspect

NAME = "control_failed_too"
TITLE = "the client or the network: an undisturbed pod was not reached either"
CURED_BY = ()
_SURE = 3.2
"""Three times what a pod's transition can reach, a third of what the client's own errno says (client_trouble.py)."""


def suspects(case: Case) -> Iterator[Suspect]:
    if case.shared.any():
        yield Suspect("", _SURE * case.shared, _explain(case))


def _explain(case: Case) -> Any:
    def explain(positions: Any) -> tuple[str, tuple[str, ...]]:
        assert case.control is not None
        sent = case.failed.sent_ns[positions]
        span = f"between {case.at(int(sent.min()))} and {case.at(int(sent.max()))}"
        words = f"{case.control.failed:,} of {case.control.recorded:,} requests to the control target failed"
        return f"the control target failed too, seen from {case.where(positions)}", (f"{words}; these {span}",)

    return explain
