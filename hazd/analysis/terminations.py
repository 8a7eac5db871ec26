"""What is at risk in a disruption: the pods that were terminated and the pods that were added, each counted once.

Requests fail in bursts, all those of one burst for one reason, so thousands of good requests say little when only four
pods were terminated. Per termination and per addition: whether traffic met it, and how many requests it lost. The
bound on the share that loses a request rests on those numbers (`stats.upper_bound`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hazd.analysis.attribution import Attribution
from hazd.analysis.case import Case
from hazd.analysis.stats import percent, upper_bound
from hazd.analysis.story import PodLife

ADDITION_RULES = frozenset({"not_listening_yet"})
"""Their failures belong to the addition of the pod that they name."""
CLIENT_RULES = frozenset({"client_trouble", "control_failed_too", "stale_conntrack"})
"""Their failures belong to no pod of this trial."""
ENOUGH_EXPECTED = 10.0
"""Requests that a pod must be expected to have got where no response names its pod: with random choice of the
endpoint (kube-proxy), the chance that it got none is then e^-10."""


@dataclass(frozen=True, slots=True)
class AtRisk:
    """One termination (at_ns: a deletionTimestamp was seen, or its node was lost) or addition (first listed ready).

    before, after: responses of the pod until at_ns and from then on; None where no response names its pod. lost: failed
    requests that belong to it. seen: whether traffic met it, in which case `seen_from` names the vantages (empty where
    no response names its pod).
    """

    pod: str
    at_ns: int
    before: int | None
    after: int | None
    lost: int
    seen: bool
    seen_from: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """The terminations, or the additions, of a trial. noun: "termination" or "addition"."""

    noun: str
    units: tuple[AtRisk, ...]

    @property
    def total(self) -> int:
        return len(self.units)

    @property
    def seen(self) -> int:
        """How many traffic met; a termination that no request met shows nothing."""
        return sum(unit.seen for unit in self.units)

    @property
    def lost(self) -> int:
        """How many of them lost at least one request."""
        return sum(unit.lost > 0 for unit in self.units)

    @property
    def upper_bound_95(self) -> float:
        """On the share that loses a request, of those seen; 1.0 when none was."""
        return upper_bound(self.lost, self.seen)

    @property
    def sentence(self) -> str | None:
        """ "0 of 4 terminations lost a request: at most 53 % do (95 %)"; None when there were none."""
        return say_lost(self.noun, self.total, self.seen, self.lost)

    def contract(self) -> dict[str, Any]:
        """As in summary.json (`terminations_lost`, `additions_lost`)."""
        return {
            f"{self.noun}s": self.total,
            "seen_by_traffic": self.seen,
            "lost_requests": self.lost,
            "upper_bound_95": float(f"{self.upper_bound_95:.4g}"),
            "pods": [
                {"pod": unit.pod, "before": unit.before, "after": unit.after, "lost": unit.lost, "seen": unit.seen}
                for unit in self.units
            ],
        }


def say_lost(noun: str, total: int, seen: int, lost: int) -> str | None:
    """The sentence of `Lost`, also for numbers that several trials share."""
    if not total:
        return None
    if not seen:
        return f"0 of {total} {_plural(noun, total)} were seen by traffic: nothing is known of them"
    unseen = "" if seen == total else f" ({seen} of {total} were seen by traffic)"
    bound = "" if lost == seen else f": at most {percent(upper_bound(lost, seen))} do (95 %)"
    return f"{lost} of {seen} {_plural(noun, seen)} lost a request{unseen}{bound}"


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"


def find_terminations(case: Case, attribution: Attribution, until_ns: int | None = None) -> Lost:
    """The pods that were terminated since the disruption began (case.origin_ns), in that order; until None: all."""
    ended = {name: at for name, pod in case.story.pods.items() if (at := _ended_ns(case, pod)) is not None}
    inside = {name: at for name, at in ended.items() if case.origin_ns <= at <= _or_never(until_ns)}
    return _read(case, "termination", inside, _charge_terminations(case, attribution, inside))


def find_additions(case: Case, attribution: Attribution, until_ns: int | None = None) -> Lost:
    """The pods that an EndpointSlice first listed ready since the disruption began, in that order; until None: all."""
    listed = {name: pod.added_ns for name, pod in case.story.pods.items()}
    inside = {name: at for name, at in listed.items() if at is not None and case.origin_ns <= at <= _or_never(until_ns)}
    charged = [
        pod if rule in ADDITION_RULES and pod in inside else ""
        for rule, pod in zip(attribution.rule.tolist(), attribution.pod.tolist(), strict=True)
    ]
    return _read(case, "addition", inside, charged)


def _or_never(until_ns: int | None) -> float:
    return float("inf") if until_ns is None else until_ns


def _ended_ns(case: Case, pod: PodLife) -> int | None:
    """When its termination began: the deletion, or before that the loss of its node; None when neither was seen."""
    span = case.lost_span(pod)
    alive = span is not None and (pod.gone_ns is None or pod.gone_ns > span[0])
    times = [at for at in (pod.deleted_ns, span[0] if span and alive else None) if at is not None]
    return min(times, default=None)


def _charge_terminations(case: Case, attribution: Attribution, at_ns: Mapping[str, int]) -> list[str]:
    """Per failed request the pod whose termination it belongs to, or "".

    A failure whose cause names no pod (none was ready, or no cause was found) belongs to the latest termination that
    had begun: it must not be lost from the sums that a bound rests on.
    """
    order = sorted(at_ns.items(), key=lambda item: item[1])
    charged: list[str] = []
    rows = zip(attribution.rule.tolist(), attribution.pod.tolist(), case.failed.done_ns.tolist(), strict=True)
    for rule, pod, done_ns in rows:
        owner = ""
        if rule not in ADDITION_RULES | CLIENT_RULES:
            if pod:
                owner = pod if pod in at_ns and done_ns >= at_ns[pod] else ""
            else:
                owner = next((name for name, at in reversed(order) if at <= done_ns), "")
        charged.append(owner)
    return charged


def _read(case: Case, noun: str, at_ns: Mapping[str, int], charged: list[str]) -> Lost:
    import numpy as np

    requests, owners = case.requests, np.array(charged, dtype=object)
    named = bool((requests.peer != "").any())
    units = []
    for pod, at in sorted(at_ns.items(), key=lambda item: item[1]):
        answered = requests.ok & (requests.peer == pod)
        mine = owners == pod
        before, after = (
            int((answered & (requests.sent_ns < at)).sum()),
            int((answered & (requests.sent_ns >= at)).sum()),
        )
        workers = set(requests.worker[answered].tolist()) | set(case.failed.worker[mine].tolist())
        met = before if noun == "termination" else after
        units.append(
            AtRisk(
                pod=pod,
                at_ns=at,
                before=before if named else None,
                after=after if named else None,
                lost=int(mine.sum()),
                seen=bool(mine.any()) or (met > 0 if named else _expected(case, pod) >= ENOUGH_EXPECTED),
                seen_from=tuple(case.vantages.get(worker, f"worker {worker}") for worker in sorted(workers)),
            )
        )
    return Lost(noun, tuple(units))


def _expected(case: Case, pod: str) -> float:
    """Requests on new connections a pod is expected to have got while it was listed: an even share among all pods."""
    import numpy as np

    sent_ns = case.requests.sent_ns[case.requests.new]
    inside = np.zeros(len(sent_ns), bool)
    for start, end in case.story.pods[pod].ready:
        inside |= (sent_ns >= start) & (sent_ns < _or_never(end))
    return float(inside.sum()) / max(1, len(case.story.pods))


__all__ = ["AtRisk", "Lost", "find_additions", "find_terminations", "say_lost"]
