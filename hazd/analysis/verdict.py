"""Turns the numbers of a trial into PASS, FAIL or INCONCLUSIVE, with every reason said.

INCONCLUSIVE means that the trial answers nothing: not that it went badly. A late generator or a gap in the watch takes
the worth from a pass, but failed requests stay failed, so then the verdict is FAIL and names both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hazd.analysis.accounting import Accounting
from hazd.analysis.control import Control, doubts, is_charged
from hazd.analysis.skew import Skew
from hazd.analysis.story import Story
from hazd.model import Criteria, Outcome, Verdict


def judge(
    meta: Mapping[str, Any],
    accounting: Accounting,
    failed: int,
    late_p99_ms: float | None,
    story: Story,
    transitions: Mapping[str, int],
    skew: Skew | None = None,
    too_early: int = 0,
    control: Control | None = None,
    shared: int = 0,
) -> Verdict:
    """transitions: what happened to pods since the disruption began, as `count_transitions` says it.

    skew: of the stream whose requests ought to be shared evenly, when the scenario asks for that. too_early: failures
    before the disruption began, which it cannot have caused. control: requests to a pod that nothing disturbed; when
    any of them failed nothing passes. shared: the service's failures at the same time, which it is not charged with.
    """
    criteria = Criteria.of(meta)
    worthless = [*_ended(meta), *accounting.problems, *_checks(meta), *_undisrupted(criteria, transitions)]
    if not accounting.recorded:
        worthless.append("no request was recorded")
    weak = _weak(meta, accounting, late_p99_ms, story)
    if too_early:
        weak.append(f"{too_early:,} requests failed before the disruption began: something else was wrong already")
    budget = criteria.max_failed
    over = [uneven(skew)] if skew is not None and uneven(skew) else []
    if failed > budget:
        allowed = f", {budget:,} are allowed" if budget else ""
        blame = over if is_charged(failed, shared, accounting.recorded, control, budget) else weak
        blame.append(f"{failed:,} of {accounting.recorded:,} requests failed{allowed}")
    weak += doubts(control, failed, shared)
    if worthless:
        return Verdict(Outcome.INCONCLUSIVE, (*worthless, *weak, *over))
    if over:
        return Verdict(Outcome.FAIL, (*over, *weak))
    if weak:
        return Verdict(Outcome.INCONCLUSIVE, tuple(weak))
    return Verdict(Outcome.PASS, (f"{failed:,} of {accounting.recorded:,} requests failed",))


def uneven(skew: Skew) -> str:
    """A sentence when the pods that were added got less than half of an even share in the end, else ""."""
    if skew.newcomers_share is None or skew.newcomers_share >= skew.newcomers_even / 2:
        return ""
    return (
        f"the pods that were added answered {skew.newcomers_share:.0%} of the requests in the end, "
        f"{skew.newcomers_even:.0%} would be even"
    )


def count_transitions(story: Story, since_ns: int, until_ns: int | None = None) -> dict[str, int]:
    """Pods created, became ready, became unready, were deleted, and nodes lost in a span (until None: to the end)."""
    pods = story.pods.values()

    def seen(at_ns: int | None) -> bool:
        return at_ns is not None and at_ns >= since_ns and (until_ns is None or at_ns <= until_ns)

    lost = [span for node in story.nodes.values() for span in node.lost or node.unready]
    return {
        "creations": sum(1 for pod in pods if seen(pod.created_ns)),
        "additions": sum(1 for pod in pods for start, _ in pod.ready if seen(start)),
        "removals": sum(1 for pod in pods for _, end in pod.ready if seen(end)),
        "terminations": sum(1 for pod in pods if seen(pod.deleted_ns)),
        "restarts": sum(1 for pod in pods if pod.restarts and seen(pod.started_ns)),
        "nodes_lost": sum(1 for start, _ in lost if seen(start)),
    }


def _ended(meta: Mapping[str, Any]) -> list[str]:
    state, error = str(meta.get("state", "")), str(meta.get("error") or "")
    if state == "complete":
        return []
    words = {"running": "the trial is still under way, or was killed", "failed": "the trial failed"}
    text = words.get(state, f"the trial was {state}" if state else "the trial has no state")
    return [text + (f": {error}" if error else "")]


def _checks(meta: Mapping[str, Any]) -> list[str]:
    failed = [item for item in meta.get("checks") or () if not item.get("ok", True)]
    return [f"{item.get('name')}: {item.get('message')}" for item in failed]


def _undisrupted(criteria: Criteria, transitions: Mapping[str, int]) -> list[str]:
    if criteria.expects is None:
        return [] if any(transitions.values()) else ["nothing was disrupted: no pod changed after the disruption began"]
    missing = [name for name in criteria.expects if not transitions.get(name)]
    return [f"nothing was disrupted: no {' and no '.join(missing)} were seen"] if missing else []


def _weak(meta: Mapping[str, Any], accounting: Accounting, late_p99_ms: float | None, story: Story) -> list[str]:
    found: list[str] = []
    # Late requests bunch up, and short outages are missed: the traffic was not the one that was planned.
    if late_p99_ms is not None and late_p99_ms > Criteria.of(meta).max_late_ms:
        found.append(f"the generator lagged: 1 % of the requests left more than {late_p99_ms:.0f} ms late")
    if accounting.not_sent:
        found.append(f"the generator lagged: {accounting.not_sent:,} requests were never sent")
    phases = meta.get("phases") or {}
    start_ns, end_ns = phases.get("disrupt_start_ns") or 0, phases.get("settle_end_ns") or phases.get("traffic_end_ns")
    blind_ns: dict[str, int] = {}
    for since, until, kind in story.gaps:
        if until >= start_ns and (end_ns is None or since <= end_ns):
            blind_ns[kind] = blind_ns.get(kind, 0) + max(until - since, 0)
    found += [f"the watch on {kind} saw nothing for {length / 1e9:.1f} s" for kind, length in blind_ns.items()]
    for worker in meta.get("workers") or ():
        if worker.get("preflight_ok") is False:
            found.append(f"worker {worker.get('id', 0)} did not reach every pod before the traffic began")
    return found


__all__ = ["count_transitions", "judge", "uneven"]
