"""One row a failed request: what is known of it, how, and the cause it was given. Pure."""

from __future__ import annotations

from typing import Any

from hazd.analysis.attribution import Attribution
from hazd.analysis.case import Case
from hazd.analysis.requests import KINDS, PHASES

COLUMNS = (
    "worker",
    "seq",
    "stream",
    "sent_ns",
    "local_port",
    "connection",
    "kind",
    "phase",
    "errno",
    "endpoint",
    "pod",
    "how",
    "cause",
    "confidence",
)
"""endpoint: "ADDRESS:PORT" as the kernel named it, "" where it did not. pod: of the endpoint, else the one inferred.
how: "seen", "inferred" or "unknown". cause: the rule's name, "" where none was found."""


def failure_rows(case: Case, attribution: Attribution) -> dict[str, Any]:
    """Column -> one value a failed request, in the order of their due times."""
    import numpy as np

    failed = case.failed
    endpoint = case.of_failed("endpoint") if case.observed is not None else np.full(len(failed), "", dtype=object)
    rows = {
        "worker": failed.worker,
        "seq": failed.seq,
        "stream": failed.stream,
        "sent_ns": failed.sent_ns,
        "local_port": failed.local_port,
        "connection": np.where(failed.new, "new", "reused").astype(object),
        "kind": np.array(KINDS, dtype=object)[failed.kind],
        "phase": np.array(PHASES, dtype=object)[failed.phase],
        "errno": failed.errno,
        "endpoint": endpoint,
        "pod": np.where(failed.peer != "", failed.peer, attribution.pod),
        "how": attribution.how,
        "cause": attribution.rule,
        "confidence": np.round(attribution.sure, 3),
    }
    return {name: rows[name] for name in COLUMNS}


__all__ = ["COLUMNS", "failure_rows"]
