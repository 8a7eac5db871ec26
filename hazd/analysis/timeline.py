"""What a picture of a trial shows, as numbers: requests per bin by outcome, and each pod's states as bars.

Seconds count from the start of the disruption. Drawing is report's; here is only what is true of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hazd.analysis.case import Case, S
from hazd.analysis.requests import KINDS
from hazd.analysis.story import PodLife


@dataclass(frozen=True)
class Bar:
    """One state of one pod, in seconds: starting, ready, not_listening, unready, or terminating.

    ready: an EndpointSlice lists it. not_listening: listed, but its process does not listen:
    the race itself.
    """

    state: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Row:
    """One pod: its bars in order, and the moments that matter: (seconds, "listening" | "sigterm" | "exit")."""

    pod: str
    node: str
    new: bool
    bars: tuple[Bar, ...]
    marks: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Timeline:
    """counts: outcome (failure kind or "ok") -> requests per bin; edges_s: left edges. stages: the scenario's."""

    bin_s: float
    edges_s: Any
    counts: dict[str, Any]
    rows: tuple[Row, ...]
    stages: tuple[tuple[float, str], ...]
    disrupt_s: tuple[float, float | None]
    start_s: float
    end_s: float


def build_timeline(case: Case, bin_s: float = 0.1) -> Timeline:
    """Requests are counted in the bin they were sent in; a failed one in `kind`'s own row."""
    import numpy as np

    requests = case.requests
    sent_s = (requests.sent_ns - case.origin_ns) / S
    start_s = float(np.floor(sent_s.min() / bin_s) * bin_s) if len(sent_s) else 0.0
    end_s = float(sent_s.max()) if len(sent_s) else 0.0
    bins = max(1, int(np.floor((end_s - start_s) / bin_s)) + 1)
    where = np.clip(((sent_s - start_s) / bin_s).astype(np.int64), 0, bins - 1)
    flat = np.bincount(requests.kind * bins + where, minlength=len(KINDS) * bins).reshape(len(KINDS), bins)
    phases = case.meta.get("phases") or {}
    over_ns = phases.get("disrupt_end_ns")
    rows = [_row(case, pod, start_s, end_s) for pod in case.story.pods.values()]
    return Timeline(
        bin_s=bin_s,
        edges_s=start_s + bin_s * np.arange(bins),
        counts={name: flat[code] for code, name in enumerate(KINDS) if code == 0 or flat[code].any()},
        rows=tuple(sorted((row for row in rows if row.bars), key=_old_ones_by_end)),
        stages=tuple(((at - case.origin_ns) / S, text) for at, text in case.story.stages),
        disrupt_s=(0.0, (over_ns - case.origin_ns) / S if over_ns else None),
        start_s=start_s,
        end_s=start_s + bins * bin_s,
    )


def _old_ones_by_end(row: Row) -> tuple[bool, float, str]:
    """Old pods in the order they left, then new ones in the order they came: the picture of a rollout is two stairs."""
    left_s = next((bar.end_s for bar in reversed(row.bars) if bar.state != "terminating"), row.bars[0].start_s)
    return row.new, row.bars[0].start_s if row.new else left_s, row.pod


def _row(case: Case, pod: PodLife, start_s: float, end_s: float) -> Row:
    def seconds(at_ns: int) -> float:
        return (at_ns - case.origin_ns) / S

    born = start_s if pod.existed or pod.created_ns is None else seconds(pod.created_ns)
    dead = end_s if pod.gone_ns is None else seconds(pod.gone_ns)
    dying = dead if pod.deleted_ns is None else seconds(pod.deleted_ns)
    bars: list[Bar] = []
    at = born
    for since, until in pod.ready:
        if seconds(since) > at:
            bars.append(Bar("starting" if not bars and not pod.existed else "unready", at, seconds(since)))
        at = dying if until is None else seconds(until)
        bars.append(Bar("ready", seconds(since), at))
    if dying > at:
        bars.append(Bar("unready" if pod.ready or pod.existed else "starting", at, dying))
    if dead > max(at, dying):
        bars.append(Bar("terminating", max(at, dying), dead))
    kept = [Bar(bar.state, max(bar.start_s, start_s), min(bar.end_s, end_s)) for bar in bars]
    moments = ((pod.listening_ns, "listening"), (pod.sigterm_ns, "sigterm"), (pod.end_ns, "exit"))
    marks = tuple((seconds(at_ns), word) for at_ns, word in moments if at_ns is not None)
    listens_s = None if (listening_ns := case.listening_ns(pod)) is None else seconds(listening_ns)
    lost = case.lost_span(pod)
    over = [at_ns for at_ns in (pod.end_ns, lost[0] if lost else None) if at_ns is not None]
    over_s = seconds(min(over)) if over else None
    heard = [part for bar in kept for part in _not_listening_parts(bar, listens_s, over_s)]
    return Row(
        pod=pod.name,
        node=pod.node,
        new=not pod.existed,
        bars=tuple(bar for bar in heard if bar.end_s > bar.start_s),
        marks=tuple(mark for mark in marks if start_s <= mark[0] <= end_s),
    )


def _not_listening_parts(bar: Bar, listens_s: float | None, over_s: float | None) -> list[Bar]:
    """A ready bar cut where its process began and ceased to listen."""
    if bar.state != "ready":
        return [bar]
    begin = bar.start_s if listens_s is None else min(max(listens_s, bar.start_s), bar.end_s)
    end = bar.end_s if over_s is None else max(min(over_s, bar.end_s), begin)
    return [Bar("not_listening", bar.start_s, begin), Bar("ready", begin, end), Bar("not_listening", end, bar.end_s)]


__all__ = ["Bar", "Row", "Timeline", "build_timeline"]
