"""Everything a report needs of one trial, computed once: `analyse` is the one way in.

Pure: the same journal gives the same result on any machine, now or years later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hazd.analysis.accounting import Accounting, account
from hazd.analysis.attribution import Attribution, attribute
from hazd.analysis.case import Case, S
from hazd.analysis.checks import check_fixes
from hazd.analysis.control import Control, of_service, placed_by_chance, read_control
from hazd.analysis.coverage import Coverage, measure_coverage, transition_spans
from hazd.analysis.failure_rows import failure_rows
from hazd.analysis.observed import Observed, observe
from hazd.analysis.outages import find_outages
from hazd.analysis.propagation import Propagation, measure_propagation
from hazd.analysis.requests import Requests, read_requests
from hazd.analysis.skew import Skew, measure_skew
from hazd.analysis.stats import percentile, rounded, upper_bound
from hazd.analysis.story import KILLED, Story, read_story
from hazd.analysis.terminations import Lost, find_additions, find_terminations
from hazd.analysis.timeline import Timeline, build_timeline
from hazd.analysis.verdict import count_transitions, judge, why_uneven
from hazd.model import CONTROL_STREAM, Criteria, Outage, TrialRecord, Verdict


@dataclass(frozen=True)
class StreamResult:
    """One stream's numbers. latency: of good responses, from when they were due (a late client is not hidden)."""

    name: str
    connection: str
    recorded: int
    ok: int
    failures: Mapping[str, int]
    latency_ms: Mapping[str, float | None]
    outages: int
    longest_outage_ms: float
    skew: Skew | None


@dataclass(frozen=True)
class TrialResult:
    """One trial, judged. Times in `window_s` and `recovery_s` count from the start of the disruption."""

    name: str
    meta: Mapping[str, Any]
    verdict: Verdict
    checks: tuple[Mapping[str, Any], ...]
    requests: Mapping[str, int]
    failures: Mapping[str, int]
    latency_ms: Mapping[str, float | None]
    late_ms: Mapping[str, float | None]
    upper_bound_95: float
    streams: tuple[StreamResult, ...]
    attribution: Attribution
    observed: Observed
    failure_rows: Mapping[str, Any]
    outages: tuple[Outage, ...]
    window_s: tuple[float, float] | None
    recovery_s: float | None
    propagation: Propagation
    skew: Skew | None
    accounting: Accounting
    control: Control | None
    coverage: Coverage
    transitions: Mapping[str, int]
    terminations: Lost
    additions: Lost
    timeline: Timeline
    story: Story
    sentence: str
    origin_ns: int

    @property
    def scenario(self) -> str:
        return str(self.meta.get("scenario", ""))

    @property
    def fixes(self) -> tuple[str, ...]:
        return tuple(self.meta.get("fixes") or ())

    @property
    def failed(self) -> int:
        return self.requests["failed"]


def analyse(record: TrialRecord) -> TrialResult:
    """Judge one trial. Works on interrupted ones: what is missing becomes a reason, never an error."""
    meta = record.meta
    everything = read_requests(record.samples)
    story = read_story(record.events, meta)
    control = read_control(everything, meta, story)
    requests, observed = observe(of_service(everything), record.flows, story, meta)
    case = Case(
        failed=requests.take(requests.failed),
        requests=requests,
        story=story,
        vantages=_vantages(meta),
        origin_ns=_origin(meta, requests),
        meta=meta,
        control=control,
        observed=observed,
    )
    attribution = attribute(case)
    # how the trial ended is the verdict's to say
    unread = [text for text in record.problems if not text.startswith("the trial did not end")]
    accounting = account(everything, meta, unread, _forced(case))
    if control is not None:  # its requests are in the sums that were checked, and not in the service's numbers
        accounting = replace(
            accounting,
            due=accounting.due - control.due,
            recorded=accounting.recorded - control.recorded,
            not_sent=accounting.not_sent - control.not_sent,
        )
    outages = tuple(find_outages(requests, case.vantages))
    late_ms = _late(requests)
    failed = len(requests.failed)
    phases = meta.get("phases") or {}
    until_ns = phases.get("traffic_end_ns")
    transitions = count_transitions(story, case.origin_ns, until_ns)
    terminations = find_terminations(case, attribution, until_ns)
    additions = find_additions(case, attribution, until_ns)
    coverage = measure_coverage(case, everything, (terminations, additions))
    shared = int(case.shared.sum())
    left = requests.failed[~case.shared]
    window_s = None
    early = int((case.failed.done_ns < case.origin_ns).sum()) if phases.get("disrupt_start_ns") else 0
    if failed:
        sent = case.failed.sent_ns
        window_s = ((int(sent.min()) - case.origin_ns) / S, (int(sent.max()) - case.origin_ns) / S)
    good_again = [outage.first_good_ns for outage in outages]
    checks = tuple(check_fixes(case))
    streams = _streams(case, meta, outages)
    even = Criteria.of(meta).even_shares
    kept = next((item.skew for item in streams if item.connection == "reused"), None) if even else None
    return TrialResult(
        name=record.name,
        meta=meta,
        verdict=judge(
            {**meta, "checks": checks},
            accounting,
            failed,
            story,
            transitions,
            coverage,
            skew=kept,
            too_early=early,
            control=control,
            shared=shared,
            by_chance=placed_by_chance(requests.sent_ns, left, transition_spans(case)) if shared < failed else 1.0,
        ),
        checks=checks,
        requests={
            "due": accounting.due,
            "sent": accounting.due - accounting.not_sent - accounting.lost,
            "recorded": len(requests),
            "ok": len(requests) - failed,
            "failed": failed,
            "not_sent": accounting.not_sent,
            **({"lost": accounting.lost} if accounting.lost else {}),
        },
        failures=requests.by_kind(),
        latency_ms=_latency(requests),
        late_ms=late_ms,
        upper_bound_95=upper_bound(failed, len(requests)),
        streams=streams,
        attribution=attribution,
        observed=observed,
        failure_rows=failure_rows(case, attribution),
        outages=outages,
        window_s=window_s,
        recovery_s=_recovery(good_again, int(phases.get("disrupt_start_ns") or 0)),
        propagation=measure_propagation(case),
        skew=measure_skew(case),
        accounting=accounting,
        control=control,
        coverage=coverage,
        transitions=transitions,
        terminations=terminations,
        additions=additions,
        timeline=build_timeline(case),
        story=story,
        sentence=say(attribution, failed, len(requests), (terminations, additions), why_uneven(kept) if kept else None),
        origin_ns=case.origin_ns,
    )


def say(attribution: Attribution, failed: int, total: int, at_risk: Sequence[Lost], skewed: str | None = None) -> str:
    """The trial in one sentence for people. skewed: how unevenly requests were shared, where that is the question.

    at_risk: what the bound on unseen losses rests on; the requests themselves bound nothing, since they fail in bursts.
    """
    if not total:
        return "no request was recorded"
    text = f"{failed:,} of {total:,} requests failed"
    if failed:
        seen = attribution.known()["seen"]
        text += f", all {seen:,} seen" if seen == failed else f", {seen:,} of them seen" if seen else ""
        text += ": " + ", ".join(item.sentence for item in attribution.findings)
    return "; ".join([text, *(lost.sentence for lost in at_risk if lost.sentence), *([skewed] if skewed else [])])


def _forced(case: Case) -> frozenset[str]:
    """Pods that could not report their last count: killed, deleted without grace, or on a node that was lost."""
    force = bool((case.meta.get("options") or {}).get("force"))
    return frozenset(
        name
        for name, pod in case.story.pods.items()
        if pod.exit_code == KILLED or pod.restarts or (force and pod.deleted_ns) or case.lost_span(pod) is not None
    )


def _vantages(meta: Mapping[str, Any]) -> dict[int, str]:
    """Worker id -> its node; with several workers on a node each also says its number."""
    workers = meta.get("workers") or ()
    nodes = [str(item.get("node") or "") for item in workers]
    return {
        int(item.get("id", 0)): (f"{node} (worker {item.get('id', 0)})" if nodes.count(node) > 1 else node)
        or f"worker {item.get('id', 0)}"
        for item, node in zip(workers, nodes, strict=True)
    }


def _origin(meta: Mapping[str, Any], requests: Requests) -> int:
    phases = meta.get("phases") or {}
    start_ns = phases.get("disrupt_start_ns") or phases.get("traffic_start_ns")
    if start_ns:
        return int(start_ns)
    return int(requests.due_ns[0]) if len(requests) else 0


def _latency(requests: Requests) -> dict[str, float | None]:
    values = ((requests.done_ns - requests.due_ns)[requests.ok]) / 1e6
    shares = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))
    return {name: rounded(percentile(values, share), 2) for name, share in shares}


def _late(requests: Requests) -> dict[str, float | None]:
    values = (requests.sent_ns - requests.due_ns) / 1e6
    return {name: rounded(percentile(values, share), 2) for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))}


def _recovery(good_again: list[int | None], start_ns: int) -> float | None:
    """Seconds from the start of the disruption until every client had a good response after its last failure."""
    if not good_again or None in good_again or not start_ns:
        return None
    return max(0.0, (max(at for at in good_again if at is not None) - start_ns) / S)


def _streams(case: Case, meta: Mapping[str, Any], outages: tuple[Outage, ...]) -> tuple[StreamResult, ...]:
    import numpy as np

    requests = case.requests
    planned = {str(item.get("name")): str(item.get("connection", "")) for item in meta.get("streams") or ()}
    planned.pop(CONTROL_STREAM, None)
    found: list[StreamResult] = []
    for name in dict.fromkeys([*planned, *sorted(set(requests.stream.tolist()))]):
        mine = requests.take(np.flatnonzero(requests.stream == name))
        broken = [outage for outage in outages if outage.stream == name]
        found.append(
            StreamResult(
                name=name,
                connection=planned.get(name, ""),
                recorded=len(mine),
                ok=int(mine.ok.sum()),
                failures=mine.by_kind(),
                latency_ms=_latency(mine),
                outages=len(broken),
                longest_outage_ms=max((outage.length_ms for outage in broken), default=0.0),
                skew=measure_skew(case, name),
            )
        )
    return tuple(found)


__all__ = ["StreamResult", "TrialResult", "analyse", "say"]
