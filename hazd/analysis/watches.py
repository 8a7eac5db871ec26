"""Whether the watches saw everything: their gaps, and whether they were alive to the end.

At the end of a trial the recorder lists every kind again and compares it with what its watch had shown
(`trial.json`, `watched`): equal resourceVersions prove that no change was missed, also where nothing changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hazd.analysis.story import Story

SETTLED_NS = 1_000_000_000
"""Until then the endpoints follow a pod that was deleted (0.1 s on kind)."""


def find_blind_spots(meta: Mapping[str, Any], story: Story) -> Iterator[str]:
    """A sentence for each kind whose watch saw nothing for a while during the disruption, or was silent at the end."""
    phases = meta.get("phases") or {}
    start_ns, end_ns = phases.get("disrupt_start_ns") or 0, phases.get("settle_end_ns") or phases.get("traffic_end_ns")
    blind_ns: dict[str, int] = {}
    for since, until, kind in story.gaps:
        if until >= start_ns and (end_ns is None or since <= end_ns):
            blind_ns[kind] = blind_ns.get(kind, 0) + max(until - since, 0)
    for kind, length_ns in blind_ns.items():
        yield f"the watch on {kind} saw nothing for {length_ns / 1e9:.1f} s"
    watched: Mapping[str, Mapping[str, Any]] | None = meta.get("watched")
    if watched is None:
        if "plan" in meta and meta.get("state") == "complete":  # journals of before 2026-11-24 have neither
            yield "nobody checked at the end whether the watches were still alive"
        return
    for kind, item in watched.items():
        if problem := item.get("problem"):
            yield f"the watch on {kind} was not proven to be alive at the end: {problem}"
        elif (have := story.watched.get(kind, 0)) != (count := int(item.get("events") or 0)):
            yield f"the watch on {kind} saw {count:,} events, the journal holds {have:,}"
    yield from _contradictions(story, int(end_ns) if end_ns else None)


def _contradictions(story: Story, end_ns: int | None) -> Iterator[str]:
    """Where what the watches on Pod and EndpointSlice showed of a pod cannot both be all of it."""
    for pod in story.pods.values():
        ready = bool(pod.condition) and pod.condition[-1][1] is None
        listed = bool(pod.ready) and pod.ready[-1][1] is None
        if pod.ready and not pod.node and not pod.condition:
            yield f"the endpoints held pod {pod.name}, the watch on Pod never showed it"
        elif pod.removed_ns is not None and ready and pod.deleted_ns is None:
            yield f"pod {pod.name} left the endpoints, but the watch on Pod shows it ready and not deleted"
        elif listed and pod.gone_ns is not None and end_ns is not None and pod.gone_ns < end_ns - SETTLED_NS:
            yield f"pod {pod.name} was deleted, but the watch on EndpointSlice shows it in the endpoints to the end"


__all__ = ["find_blind_spots"]
