"""Whether the clocks can be trusted: how far workers' and pods' clocks moved during the trial, and suspended hosts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hazd.analysis.story import Story

DRIFT_NS = 20_000_000
"""What a clock may move between two measurements: no rule argues about less, and an unsynchronized clock that is
50 ppm off takes over six minutes for it."""
SUSPENDED_NS = 50_000_000


def find_clock_problems(meta: Mapping[str, Any], story: Story) -> Iterator[str]:
    """A sentence for each clock that moved more than its measurements leave open, and each host that was suspended."""
    for worker in meta.get("workers") or ():
        name = f"worker {worker.get('id', 0)}"
        end_ns = worker.get("offset_end_ns")
        if end_ns is not None:
            open_ns = int(worker.get("offset_uncertainty_ns") or 0) + int(worker.get("offset_end_uncertainty_ns") or 0)
            yield from _drift(name, int(end_ns) - int(worker.get("offset_ns") or 0), open_ns)
        yield from _suspension(f"the host of {name}", int(worker.get("suspended_ns") or 0))
    for pod, measured in story.clocks.items():
        yield from _drift(
            f"pod {pod}",
            measured[-1].offset_ns - measured[0].offset_ns,
            sum(item.uncertainty_ns for item in (measured[0], measured[-1])),
        )
    yield from _suspension("the controller's host", int(meta.get("suspended_ns") or 0))


def _drift(name: str, moved_ns: int, open_ns: int) -> Iterator[str]:
    if abs(moved_ns) > max(open_ns, DRIFT_NS):
        yield f"the clock of {name} moved by {abs(moved_ns) / 1e6:,.0f} ms during the trial"


def _suspension(name: str, length_ns: int) -> Iterator[str]:
    if length_ns > SUSPENDED_NS:
        yield f"{name} was suspended for {length_ns / 1e9:.1f} s during the trial"


__all__ = ["DRIFT_NS", "find_clock_problems"]
