"""Whether the traffic covered the disruption: the plan beside what was sent, and each transition beside who saw it.

Counts alone prove nothing: a client that stalls exactly while a node's rules change, or that has stopped before, loses
no request and has seen nothing. So every due time of the plan is compared with the records, and no change of the
endpoints may have slipped by unseen. The plan is read by the workers' own pacer, the one part of traffic that is pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hazd.analysis.case import Case, S
from hazd.analysis.requests import Requests
from hazd.analysis.stats import percentile, rounded
from hazd.analysis.story import PodLife, Span
from hazd.analysis.terminations import Lost
from hazd.traffic.pacer import Profile

UNSEEN_WINDOW_NS = S
"""The window of a change that no request shows this node's rules to have taken: kube-proxy's usual second."""
_SHORTEST_WINDOW_NS = S // 5
_FEWEST = 4
"""A window is widened until the plan has so many requests in it: half of fewer is a matter of a millisecond."""
_STALL_NS = S // 4
_OFF_PLAN_NS = 1_000_000
_REACH_NS = S
_REACHABLE_NS = S
"""A pod that was listed for less need not have been sent any request."""
_PHASES = {
    "traffic_start_ns": "the traffic began",
    "disrupt_start_ns": "the disruption began",
    "settle_end_ns": "settling ended",
}
_NAMED = 3
"""Pods or windows that a reason names; the others it counts."""


@dataclass(frozen=True)
class Coverage:
    """problems: why the trial's numbers are not all of it. unseen: why a pass would not be earned. notes: neither.

    late_p99_ms: of the requests due from the start of the disruption until the end of settling; None without any.
    """

    problems: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    late_p99_ms: float | None = None


@dataclass(frozen=True)
class Window:
    """A transition that requests had to be sent in: when, and what changed."""

    since_ns: int
    until_ns: int
    what: str


@dataclass(frozen=True)
class _Worker:
    """due_ns: of the plan's requests, in order; sent_ns: of those that were sent, in order."""

    number: int
    name: str
    due_ns: Any
    sent_ns: Any
    problems: tuple[str, ...] = field(default=())


def measure_coverage(case: Case, everything: Requests, at_risk: Sequence[Lost]) -> Coverage:
    """everything: the service's requests and the control's: one schedule holds both. at_risk: see terminations.py."""
    phases = case.meta.get("phases") or {}
    start_ns = phases.get("traffic_start_ns")
    end_ns = phases.get("settle_end_ns") or phases.get("traffic_end_ns")
    late = _late_p99_ms(case, end_ns)
    unknown = [name for name in _PHASES if not phases.get(name)] if case.meta.get("state") == "complete" else []
    if not start_ns or not end_ns or unknown or not len(everything):
        return Coverage(tuple(f"nothing says when {_PHASES[name]}" for name in unknown), late_p99_ms=late)
    problems, unseen, notes = [*_unsent_streams(case, everything)], [], []
    for worker in _workers(case, everything, int(start_ns), phases.get("traffic_end_ns") or int(end_ns)):
        problems += worker.problems
        problems += _short_reach(case, worker, int(start_ns), int(end_ns))
        stalls = _stalls(worker)
        missed, covered = [], []
        for window in _windows(case, worker.number, int(end_ns)):
            if text := _why_unseen(case, worker, window, stalls):
                missed.append(text)
                covered.append(window)
        unseen += _shortened(missed)
        elsewhere = [(a, b) for a, b in stalls if not any(a < w.until_ns and b > w.since_ns for w in covered)]
        if elsewhere:
            longest_s = max(b - a for a, b in elsewhere) / S
            times = "once" if len(elsewhere) == 1 else f"{len(elsewhere)} times"
            notes.append(f"the client on {worker.name} stalled {times}, for {longest_s:.1f} s at most")
    if "plan" not in case.meta:
        notes.append("the schedule is not in trial.json: what was due is read off the records' own numbers")
    unseen += [text for lost in at_risk if (text := _why_unreached(case, lost, int(start_ns), int(end_ns)))]
    return Coverage(tuple(problems), tuple(unseen), tuple(notes), late)


def _late_p99_ms(case: Case, end_ns: int | None) -> float | None:
    requests = case.requests
    inside = requests.due_ns >= case.origin_ns
    if end_ns:
        inside &= requests.due_ns <= int(end_ns)
    return rounded(percentile((requests.sent_ns - requests.due_ns)[inside] / 1e6, 0.99), 2)


def _unsent_streams(case: Case, everything: Requests) -> Iterator[str]:
    there = set(everything.stream.tolist())
    for stream in case.meta.get("streams") or ():
        if stream.get("share", 1) and stream.get("name") not in there:
            yield f"no request of the planned stream {stream.get('name')} was recorded"


def _workers(case: Case, everything: Requests, start_ns: int, end_ns: int) -> Iterator[_Worker]:
    import numpy as np

    about: Sequence[Mapping[str, Any]] = case.meta.get("workers") or ()
    for item in about:
        number = int(item.get("id", 0))
        mine = everything.take(np.flatnonzero(everything.worker == number))
        name = case.vantages.get(number, f"worker {number}")
        if plan := case.meta.get("plan"):
            due_ns, problems = _planned(plan, item, mine, start_ns, end_ns, len(about))
        else:
            due_ns, problems = _numbered(mine, len(about)), ()
        yield _Worker(number, name, due_ns, np.sort(mine.sent_ns), problems)


def _planned(
    plan: Mapping[str, Any], worker: Mapping[str, Any], mine: Requests, start_ns: int, end_ns: int, shards: int
) -> tuple[Any, tuple[str, ...]]:
    """The worker's due times before end_ns, and how its records differ from them."""
    import numpy as np

    number = int(worker.get("id", 0))
    due: list[int] = []
    profile = Profile.parse(str(plan.get("profile", "constant")), float(plan["rate"]))
    for _, at_ns in profile.due_times(start_ns, number, shards, int(plan.get("seed", 1))):
        if at_ns >= end_ns:
            break
        due.append(at_ns)
    planned = np.array(due, dtype=np.int64)
    problems: list[str] = []
    if strange := int((mine.seq % shards != number).sum()):
        problems.append(f"worker {number}: {strange:,} requests are no part of its schedule")
    place = mine.seq // shards
    inside = (place < len(planned)) & (mine.seq % shards == number)
    off_ns = np.abs(mine.due_ns[inside] - planned[place[inside]])
    if (off := int((off_ns > _OFF_PLAN_NS).sum())) > 0:
        problems.append(
            f"worker {number}: {off:,} requests are up to {int(off_ns.max()) / S:.3f} s off their due times"
        )
    missing = len(planned) - len(np.unique(place[inside]))
    known = int(worker.get("not_sent") or 0) + int(worker.get("lost") or 0)
    if missing > known:
        problems.append(
            f"worker {number}: {missing - known:,} of {len(planned):,} planned requests are neither recorded "
            "nor known as not sent"
        )
    return planned, tuple(problems)


def _numbered(mine: Requests, shards: int) -> Any:
    """Due times by the records alone, for journals without a plan: numbers that are missing were due in between."""
    import numpy as np

    order = np.argsort(mine.seq, kind="stable")
    seq, due_ns = mine.seq[order], mine.due_ns[order]
    gaps = np.flatnonzero(np.diff(seq) > shards)
    between = [np.linspace(due_ns[at], due_ns[at + 1], int((seq[at + 1] - seq[at]) // shards) + 1)[1:-1] for at in gaps]
    return np.sort(np.concatenate([due_ns, *between]).astype(np.int64))


def _short_reach(case: Case, worker: _Worker, start_ns: int, end_ns: int) -> Iterator[str]:
    """Whether the worker's requests reach from the start of the traffic to the end of settling."""
    import numpy as np

    sent = worker.sent_ns
    if not len(sent):
        yield f"worker {worker.number} on {worker.name} recorded no request"
        return
    planned = "plan" in case.meta
    due = worker.due_ns[worker.due_ns <= end_ns]
    interval_ns = int(np.median(np.diff(worker.due_ns))) if len(worker.due_ns) > 1 else 0
    slack_ns = max(_REACH_NS, 3 * interval_ns)
    first_ns, last_ns = (int(due[0]), int(due[-1])) if planned and len(due) else (start_ns, end_ns)
    if sent[0] > first_ns + slack_ns:
        yield f"worker {worker.number} began to send at {case.at(int(sent[0]))}, {case.at(first_ns)} was planned"
    if sent[-1] < last_ns - slack_ns:
        yield f"worker {worker.number} sent nothing after {case.at(int(sent[-1]))}, {case.at(last_ns)} was planned"


def _stalls(worker: _Worker) -> list[tuple[int, int]]:
    """Spans in which the worker sent nothing though requests were due, at least a quarter of a second long."""
    import numpy as np

    sent = worker.sent_ns
    found = []
    for at in np.flatnonzero(np.diff(sent) >= _STALL_NS).tolist():
        since, until = int(sent[at]), int(sent[at + 1])
        due = np.searchsorted(worker.due_ns, (since, until - 20_000_000), side="right")
        if due[1] - due[0] >= _FEWEST:
            found.append((since, until))
    return found


def _windows(case: Case, worker: int, end_ns: int) -> Iterator[Window]:
    """When something must be met by requests.

    A change of the endpoints, until the worker's node had it; a pod's shutdown; the second after a node was lost.
    """
    import numpy as np

    never = np.iinfo(np.int64).max
    versions, starts = case.routing.versions, case.routing.starts.get(worker)
    for index in range(1, len(versions)):
        at_ns = versions[index].at_ns
        if not case.origin_ns <= at_ns <= end_ns:
            continue
        taken = never if starts is None or case.routing.slack_ns else int(starts[index])
        until_ns = at_ns + UNSEEN_WINDOW_NS if taken == never else taken
        left, came = versions[index - 1].pods - versions[index].pods, versions[index].pods - versions[index - 1].pods
        words = [f"{', '.join(sorted(pods))} {verb}" for pods, verb in ((left, "left"), (came, "joined")) if pods]
        first_ns, last_ns = min(at_ns, until_ns), max(at_ns, until_ns, at_ns + _SHORTEST_WINDOW_NS)
        yield Window(first_ns, min(last_ns, end_ns), " and ".join(words) + " the endpoints")
    for pod in case.story.pods.values():  # then its kept connections end, and what is under way on them
        since_ns = pod.end_ns if pod.sigterm_ns is None else pod.sigterm_ns
        if since_ns is None or case.lost_span(pod) or not case.origin_ns <= since_ns <= end_ns:
            continue
        until_ns = min(max(pod.end_ns or since_ns, since_ns + _SHORTEST_WINDOW_NS), since_ns + UNSEEN_WINDOW_NS)
        yield Window(since_ns, min(until_ns, end_ns), f"pod {pod.name} shut down")
    for node in case.story.nodes.values():
        for since, _ in node.lost:
            if case.origin_ns <= since <= end_ns:
                yield Window(since, min(since + UNSEEN_WINDOW_NS, end_ns), f"node {node.name} was lost")


def _why_unseen(case: Case, worker: _Worker, window: Window, stalls: Sequence[tuple[int, int]]) -> str | None:
    """A sentence when less than half of what the plan has in a window was sent in it."""
    import numpy as np

    due, until_ns = worker.due_ns, window.until_ns
    first = int(np.searchsorted(due, window.since_ns))
    if first + _FEWEST <= len(due):
        until_ns = max(until_ns, int(due[first + _FEWEST - 1]) + 1)
    planned = int(np.searchsorted(due, until_ns)) - first
    sent = int(np.diff(np.searchsorted(worker.sent_ns, (window.since_ns, until_ns)))[0])
    if planned < _FEWEST or 2 * sent >= planned:
        return None
    long_ns = [until - since for since, until in stalls if since < until_ns and until > window.since_ns]
    stall = f", it stalled for {max(long_ns) / S:.1f} s" if long_ns else ""
    length_s = (until_ns - window.since_ns) / S
    return (
        f"the client on {worker.name} sent {sent} of {planned} requests in the {length_s:.1f} s "
        f"when {window.what} ({case.at(window.since_ns)}){stall}"
    )


def _shortened(sentences: Sequence[str]) -> list[str]:
    more = len(sentences) - _NAMED
    return [*sentences[:_NAMED], *([f"and {more} more changes went by like that"] if more > 0 else [])]


def _why_unreached(case: Case, lost: Lost, start_ns: int, end_ns: int) -> str | None:
    """A sentence when a pod was listed long enough to be sent requests, and none met its termination or addition."""
    able = []
    for unit in lost.units:
        span = (start_ns, unit.at_ns) if lost.noun == "termination" else (unit.at_ns, end_ns)
        if unit.seen or _listed_ns(case.story.pods[unit.pod], *span) >= _REACHABLE_NS:
            able.append(unit)
    missed = [unit.pod for unit in able if not unit.seen]
    if not missed:
        return None
    names = ", ".join(missed[:_NAMED]) + (f" and {len(missed) - _NAMED} more" if len(missed) > _NAMED else "")
    plural = "" if len(able) == 1 else "s"
    return (
        f"{len(able) - len(missed)} of {len(able)} {lost.noun}{plural} were seen by traffic: no request reached {names}"
    )


def _listed_ns(pod: PodLife, since_ns: int, until_ns: int) -> int:
    """How long an EndpointSlice listed the pod ready in a span."""
    ends = [(max(a, since_ns), min(until_ns if b is None else b, until_ns)) for a, b in pod.ready]
    return sum(max(b - a, 0) for a, b in ends)


def transition_spans(case: Case) -> list[Span]:
    """When pods' transitions can make requests fail, each with a second's slack after it; merged, in order."""
    import numpy as np

    never = np.iinfo(np.int64).max
    taken = {version.at_ns: version.at_ns for version in case.routing.versions}
    for starts in case.routing.starts.values():
        for version, at_ns in zip(case.routing.versions, starts.tolist(), strict=True):
            if at_ns != never:
                taken[version.at_ns] = max(taken[version.at_ns], at_ns)
    spans: list[tuple[int, int]] = list(taken.items())
    for pod in case.story.pods.values():
        ends = [at for at in (pod.deleted_ns, pod.sigterm_ns, pod.removed_ns, pod.end_ns) if at is not None]
        ready = [at for at in (pod.added_ns, case.listening_ns(pod)) if at is not None]
        if ends and not case.lost_span(pod):
            spans.append((min(ends), max(ends)))
        if ready and not pod.existed:
            spans.append((min(ready), max(ready)))
        if lost := case.lost_span(pod):
            spans.append((lost[0], pod.removed_ns or lost[1] or never - 2 * S))
    spans += [(since, never - 2 * S if until is None else until) for since, until in case.story.no_endpoint_spans()]
    merged: list[Span] = []
    for since, until in sorted((a - S // 10, b + S) for a, b in spans if b >= case.origin_ns):
        last = merged[-1][1] if merged else None
        if last is not None and since <= last:
            merged[-1] = (merged[-1][0], max(last, until))
        else:
            merged.append((since, until))
    return merged


__all__ = ["Coverage", "measure_coverage", "transition_spans"]
