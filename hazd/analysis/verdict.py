"""Turns the numbers of a trial into PASS, FAIL or INCONCLUSIVE, with every reason said.

INCONCLUSIVE means that the trial answers nothing: not that it went badly. Traffic that did not cover the disruption, a
late generator, a gap in the watch, a fix that did not act or sums that do not add up take the worth from a pass. But
failed requests stay failed: then the verdict is FAIL and names both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hazd.analysis.accounting import Accounting
from hazd.analysis.clocks import find_clock_problems
from hazd.analysis.control import Control, doubts, is_charged
from hazd.analysis.coverage import Coverage
from hazd.analysis.skew import Skew
from hazd.analysis.story import Story
from hazd.analysis.watches import find_blind_spots
from hazd.model import Criteria, Outcome, Verdict


def judge(
    meta: Mapping[str, Any],
    accounting: Accounting,
    failed: int,
    story: Story,
    transitions: Mapping[str, int],
    coverage: Coverage,
    *,
    skew: Skew | None = None,
    too_early: int = 0,
    control: Control | None = None,
    shared: int = 0,
    by_chance: float = 0.0,
) -> Verdict:
    """transitions: what happened to pods since the disruption began, as `count_transitions` says it.

    skew: of the stream whose requests ought to be shared evenly, when the scenario asks for that. too_early: failures
    before the disruption began, which it cannot have caused. control: requests to a pod that nothing disturbed; when
    any of them failed nothing passes. shared: the service's failures at the same time, which it is not charged with.
    by_chance: how likely the others came when they did by chance (`control.placed_by_chance`).
    """
    criteria = Criteria.of(meta)
    worthless = [*_ended(meta), *_undisrupted(criteria, transitions)]
    if not accounting.recorded:
        worthless.append("no request was recorded")
    weak = [*accounting.problems, *_checks(meta), *_weak(meta, accounting, story, coverage)]
    if too_early:
        weak.append(f"{too_early:,} requests failed before the disruption began: something else was wrong already")
    budget = criteria.max_failed
    over = [uneven] if skew is not None and (uneven := why_uneven(skew)) else []
    if failed > budget:
        allowed = f", {budget:,} are allowed" if budget else ""
        blame = over if is_charged(failed, shared, control, budget, by_chance) else weak
        blame.append(f"{failed:,} of {accounting.recorded:,} requests failed{allowed}")
    weak += doubts(control, failed, shared)
    if worthless:
        return Verdict(Outcome.INCONCLUSIVE, (*worthless, *weak, *over))
    if over:
        return Verdict(Outcome.FAIL, (*over, *weak))
    if weak:
        return Verdict(Outcome.INCONCLUSIVE, tuple(weak))
    return Verdict(Outcome.PASS, (f"{failed:,} of {accounting.recorded:,} requests failed",))


def why_uneven(skew: Skew) -> str | None:
    """A sentence when the pods that were added got less than half of an even share in the end."""
    if skew.newcomers_share is None or skew.newcomers_share >= skew.newcomers_even / 2:
        return None
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
        "resizes": sum(1 for pod in pods if seen(pod.resized_ns)),
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
    least = criteria.expects
    if least is None:
        return [] if any(transitions.values()) else ["nothing was disrupted: no pod changed after the disruption began"]
    missing = [name for name in least if not transitions.get(name)]
    found = [f"nothing was disrupted: no {' and no '.join(missing)} were seen"] if missing else []
    fewer = [(name, count) for name, count in least.items() if name not in missing and transitions[name] < count]
    return found + [
        f"only {transitions[name]} of the {count} {name} of this scenario took place" for name, count in fewer
    ]


def _weak(meta: Mapping[str, Any], accounting: Accounting, story: Story, coverage: Coverage) -> list[str]:
    found = [*coverage.problems, *coverage.unseen, *accounting.unexplained]
    late_ms = coverage.late_p99_ms
    # Late requests bunch up, and short outages are missed: the traffic was not the one that was planned.
    if late_ms is not None and late_ms > Criteria.of(meta).max_late_ms:
        found.append(f"the generator lagged: 1 % of the requests left more than {late_ms:.0f} ms late")
    if accounting.not_sent:
        found.append(f"the generator lagged: {accounting.not_sent:,} requests were never sent")
    found += [*find_blind_spots(meta, story), *find_clock_problems(meta, story)]
    tested = meta.get("workload") or {}
    if tested.get("session_affinity") == "ClientIP":
        workers = len(meta.get("workers") or ())
        found.append(
            f"Service {tested.get('service')} has sessionAffinity: ClientIP, so each of the {workers} workers tested "
            "one pod at a time"
        )
    return found


__all__ = ["count_transitions", "judge", "why_uneven"]
