"""Which endpoints each node's rules held at each moment, read off what happened to the requests.

kube-proxy says nowhere when it has applied a change. But its rules are always some version of the EndpointSlices, the
versions come in order, and each version explains each request better or worse: a pod that answers is in it, a dead
pod in it makes its share of the requests fail. The likeliest sequence of versions is found exactly (a monotone
Viterbi path); when a version took effect is the lag, and who was in it is who a failed request can have been sent to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hazd.analysis.requests import Requests
from hazd.analysis.story import PodLife, Story
from hazd.model import FailureKind, Phase

_S = 1_000_000_000
_ODD = 1e-3
"""The likelihood of what no version explains: rare, never impossible."""
ADDRESS_S = (0.1, 0.03, 0.3, 1.0)
"""Guesses of how long a dead pod's address still refuses; the first one where nothing tells."""
_A_SECOND_LATE = 0.5
"""How much less likely a second more of lag makes a path, in nats: decides only where the requests do not."""
TYPICAL_LAG_NS = _S
"""kube-proxy applies changes once a second at most (minSyncPeriod, its default in iptables mode)."""
_EARLY_NS = _S // 2
"""The watch may bring a version that much later than kube-proxy had it."""


@dataclass(frozen=True)
class Version:
    """The endpoints from a moment on: those ready, else (last_resort) those that serve as they terminate (KEP-1669)."""

    at_ns: int
    pods: frozenset[str]
    last_resort: bool = False


@dataclass(frozen=True)
class Routing:
    """versions: in order. starts: worker -> when its node took each (with a later one: as that; never: far off).

    address_s: how long the address of a pod outlives its process, typically: so long it refuses, then it is silent.
    slack_ns: 0 where `starts` was read off the requests. Where no response names its pod they say nothing: `starts` is
    then when the endpoints changed, and a node may have lagged behind by that much.
    """

    versions: tuple[Version, ...]
    starts: Mapping[int, Any]
    address_s: float
    slack_ns: int = 0

    def version_at(self, worker: int, times_ns: Any) -> Any:
        """Index of the version in force, per time; -1 when there was none."""
        import numpy as np

        if worker not in self.starts or not self.versions:
            return np.full(len(times_ns), -1)
        return np.searchsorted(self.starts[worker], times_ns, side="right") - 1

    def held(self, pod: str, workers: Any, times_ns: Any) -> Any:
        """Per request: whether its node's rules held the pod when it was sent, or may have."""
        import numpy as np

        member = np.array([pod in version.pods for version in self.versions] + [False])
        now = member[self._index(workers, times_ns)]
        return now | member[self._index(workers, times_ns - self.slack_ns)] if self.slack_ns else now

    def empty(self, workers: Any, times_ns: Any) -> Any:
        """Per request: whether its node's rules held no endpoint at all."""
        import numpy as np

        bare = np.array([not version.pods for version in self.versions] + [False])
        return bare[self._index(workers, times_ns)]

    def last_resort(self, workers: Any, times_ns: Any) -> Any:
        """Per request: whether its node's rules held terminating pods only, since none was ready."""
        import numpy as np

        only = np.array([version.last_resort for version in self.versions] + [False])
        return only[self._index(workers, times_ns)]

    def _index(self, workers: Any, times_ns: Any) -> Any:
        import numpy as np

        index = np.full(len(times_ns), -1)
        for worker in np.unique(workers).tolist():
            mine = workers == worker
            index[mine] = self.version_at(worker, times_ns[mine])
        return index


def read_versions(story: Story) -> tuple[Version, ...]:
    """Every state of the endpoints that the watch saw, without repeats."""
    lives = list(story.pods.values())
    times = sorted({at for pod in lives for span in pod.ready + pod.serving for at in span if at is not None})
    versions: list[Version] = []
    for at_ns in times:
        ready = frozenset(pod.name for pod in lives if any(_covers(span, at_ns) for span in pod.ready))
        serving = frozenset(pod.name for pod in lives if any(_covers(span, at_ns) for span in pod.serving))
        pods = ready or serving
        if not versions or versions[-1].pods != pods:
            versions.append(Version(at_ns, pods, last_resort=not ready and bool(serving)))
    return tuple(versions)


def _covers(span: tuple[int, int | None], at_ns: int) -> bool:
    return span[0] <= at_ns and (span[1] is None or at_ns < span[1])


def infer_routing(requests: Requests, story: Story, listening: Mapping[str, int | None], ignore: Any) -> Routing:
    """The likeliest moments at which each worker's node took each version, and the likeliest life of a dead address.

    listening: pod -> when it began to answer. ignore: mask of requests that were not sent by the rules.
    """
    versions = read_versions(story)
    if not versions:
        return Routing(versions, {}, ADDRESS_S[0])
    if requests.unidentified:
        import numpy as np

        times = np.array([version.at_ns for version in versions], dtype=np.int64)
        workers = np.unique(requests.worker).tolist()
        return Routing(versions, dict.fromkeys(workers, times), ADDRESS_S[0], TYPICAL_LAG_NS)
    found = [_infer(versions, requests, story, listening, ignore, address_s) for address_s in ADDRESS_S]
    return max(found, key=lambda item: item[0])[1]


def _infer(
    versions: tuple[Version, ...],
    requests: Requests,
    story: Story,
    listening: Mapping[str, int | None],
    ignore: Any,
    address_s: float,
) -> tuple[float, Routing]:
    """The path of every worker for one guess of the address's life, with the log-likelihood of them all."""
    import numpy as np

    starts: dict[int, Any] = {}
    likelihood = 0.0
    names = list(story.pods)
    member = np.array([[name in version.pods for name in names] for version in versions], dtype=float)
    weight = member / np.maximum(member.sum(axis=1, keepdims=True), 1.0)
    bare = member.sum(axis=1) == 0
    telling = requests.new & ~ignore & (requests.kind != FailureKind.OTHER)
    for worker in np.unique(requests.worker).tolist():
        mine = np.flatnonzero(telling & (requests.worker == worker))
        mine = mine[np.argsort(requests.sent_ns[mine], kind="stable")]
        sent, kind = requests.sent_ns[mine], requests.kind[mine]
        fits = [_fit(pod, listening.get(pod.name), story, requests, mine, address_s) for pod in story.pods.values()]
        chance = weight @ np.array(fits)
        chance[bare] = np.where(kind == FailureKind.REFUSED, 1.0, 0.0)
        silent = (kind == FailureKind.TIMEOUT) | (kind == FailureKind.NO_ROUTE)
        floor = np.where(silent, max(_ODD, _background(silent, sent, story)), _ODD)
        score, starts[worker] = _path(np.log(np.maximum(chance, floor)), sent, [version.at_ns for version in versions])
        likelihood += score
    return likelihood, Routing(versions, starts, address_s)


def _background(silent: Any, sent: Any, story: Story) -> float:
    """The share of connects that went silent before any pod had ended: of those, no version can tell the reason."""
    ends = [pod.end_ns for pod in story.pods.values() if pod.end_ns is not None]
    ends += [span[0] for node in story.nodes.values() for span in node.lost or node.unready]
    before = silent[sent < min(ends) - _EARLY_NS] if ends else silent
    return float(before.mean()) if len(before) else 0.0


def _fit(pod: PodLife, listening_ns: int | None, story: Story, requests: Requests, mine: Any, address_s: float) -> Any:
    """Per request: how likely its outcome is if it was sent to this pod."""
    import numpy as np

    sent, kind, answered = requests.sent_ns[mine], requests.kind[mine], requests.pod[mine]
    ok = kind == FailureKind.OK
    by_name = np.where(answered == "", -1.0, answered == pod.name)
    not_listening = np.zeros(len(mine), bool)
    if not pod.existed:
        # a pod never heard of as listening may be either
        not_listening = np.ones(len(mine), bool) if listening_ns is None else sent < listening_ns
    dead = np.zeros(len(mine))
    end_ns = pod.end_ns
    node = story.nodes.get(pod.node)
    lost_ns = min((span[0] for span in (node.lost or node.unready)), default=None) if node else None
    if end_ns is not None:
        dead = np.maximum(dead, (sent >= end_ns) * 1.0)
    if lost_ns is not None:
        dead = np.maximum(dead, (sent >= lost_ns) * 1.0)
    # the address outlives the process by a moment in which it refuses, and is silent from then on
    gone = 0.0 if end_ns is None else 1.0 - np.exp(-np.clip((sent - end_ns) / (address_s * _S), 0.0, 60.0))
    silence = np.where(dead > 0, np.maximum(gone, (lost_ns is not None and dead) * 1.0), 0.0)
    refusal = np.where(dead > 0, np.maximum(1.0 - silence, 0.02), not_listening * 1.0)
    good = np.where(by_name >= 0, by_name, (dead == 0) & ~not_listening)
    if listening_ns is None and not pod.existed:
        good = np.where(by_name >= 0, by_name, 0.5)
        refusal = np.maximum(refusal * 0.5, 0.05)
    fit = np.where(ok, good, np.where(kind == FailureKind.REFUSED, refusal, silence + 0.02 * not_listening))
    taken = ~ok & (requests.phase[mine] != Phase.CONNECT)  # the connection stood, and then it was cut
    cut = np.zeros(len(mine), bool)
    if end_ns is not None:
        cut = (sent <= end_ns + _S // 20) & (requests.done_ns[mine] >= end_ns - _S // 20)
    fit = np.where(taken, np.where(cut, 1.0, 0.01), fit)
    # where the kernel named the endpoint, nothing else speaks of it
    known = ~ok & (requests.peer[mine] != "")
    fit = np.where(known, np.where(requests.peer[mine] == pod.name, np.maximum(fit, 0.5), 0.0), fit)
    return np.where(kind == FailureKind.BAD_STATUS, np.maximum(by_name, 0.0), fit)


def _path(logs: Any, sent: Any, times: list[int]) -> tuple[float, Any]:
    """The likeliest path's log-likelihood, and when it enters each version. logs: versions x requests."""
    import numpy as np

    versions, number = logs.shape
    observed = np.array(times, dtype=np.int64)
    never = np.iinfo(np.int64).max
    entered = np.full(versions, never, dtype=np.int64)
    if not number:
        return 0.0, observed
    logs = np.where(sent[None, :] < observed[:, None] - _EARLY_NS, -40.0, logs)
    logs[0] = np.where(logs[0] <= -40.0, np.log(_ODD), logs[0])  # something was in force before the watch saw any
    total = np.concatenate((np.zeros((versions, 1)), np.cumsum(logs, axis=1)), axis=1)
    # best[v][i]: the first i requests explained by versions 0..v, ending in v; cut[v][i]: where v began
    best, cuts = total[0], [np.zeros(number + 1, dtype=np.int64)]
    for version in range(1, versions):
        # to enter late costs a little, so that what the requests leave open is no lag
        late_s = np.clip((np.append(sent, sent[-1]) - observed[version]) / _S, 0.0, None)
        gain = best - total[version] - _A_SECOND_LATE * late_s
        peak = np.maximum.accumulate(gain)
        # the earliest start among equals: without evidence against it a version is taken as soon as it can be
        fresh = np.concatenate(([True], gain[1:] > peak[:-1] + 1e-12))
        cuts.append(np.maximum.accumulate(np.where(fresh, np.arange(number + 1), 0)))
        best = total[version] + peak
    end = number
    for version in range(versions - 1, -1, -1):
        begin = int(cuts[version][end]) if version else 0
        entered[version] = sent[begin] if begin < number else never
        end = begin
    entered[0] = min(int(entered[0]), int(observed[0]))
    return float(best[number]), entered


__all__ = ["Routing", "Version", "infer_routing", "read_versions"]
