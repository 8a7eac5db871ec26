"""The control target: requests to a pod that nothing disturbs, which tell failures of the client or the network apart.

They pass the same client, network and kube-proxy as the service's, so when they fail, something failed that is no part
of the service. Here they are kept out of the service's numbers, and it is decided what the service is still charged
with (docs/adr/0008-a-control-target.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hazd.analysis.outages import find_outages
from hazd.analysis.requests import Requests
from hazd.analysis.stats import chance_of
from hazd.analysis.story import Story
from hazd.model import CONTROL_STREAM, FailureKind

CHANCE = 0.01
"""Above this the service's failures may lie in the transitions' windows by chance."""
_DISTURBED_BEFORE_NS = 2_000_000_000
"""A process is dead for that long before the kubelet and the EndpointSlice say that its pod is not ready."""


@dataclass(frozen=True)
class Control:
    """The control's requests; due = ok + failed + not_sent. What a lost worker owed it counts as lost to the service.

    failures: by kind. A whole response is ok whatever its status: client and network did their part. disturbed:
    failures while the control's pod was itself not ready, which say nothing of client or network. spans: worker -> when
    its other control requests failed, each (from, to) in ns, from the last good to the next good one (0 and the largest
    int64 where there was none).
    """

    ok: int
    failures: Mapping[str, int]
    not_sent: int
    spans: Mapping[int, tuple[tuple[int, int], ...]]
    disturbed: int = 0

    @property
    def telling(self) -> int:
        """Failures that client or network are to blame for."""
        return self.failed - self.disturbed

    @property
    def failed(self) -> int:
        return sum(self.failures.values())

    @property
    def recorded(self) -> int:
        return self.ok + self.failed

    @property
    def due(self) -> int:
        return self.recorded + self.not_sent

    def failing(self, requests: Requests) -> Any:
        """Mask of the requests that were sent while the control failed on the same worker."""
        import numpy as np

        mask = np.zeros(len(requests), bool)
        for worker, spans in self.spans.items():
            mine = requests.worker == worker
            for since, until in spans:
                mask |= mine & (requests.sent_ns >= since) & (requests.sent_ns <= until)
        return mask

    def contract(self) -> dict[str, Any]:
        return {
            "due": self.due,
            "recorded": self.recorded,
            "not_sent": self.not_sent,
            "ok": self.ok,
            "failed": self.failed,
            "disturbed": self.disturbed,
            "failures": dict(self.failures),
        }


def of_service(requests: Requests) -> Requests:
    """Without the control's."""
    import numpy as np

    mine = requests.stream != CONTROL_STREAM
    return requests if mine.all() else requests.take(np.flatnonzero(mine))


def read_control(requests: Requests, meta: Mapping[str, Any], story: Story) -> Control | None:
    """The control's requests among all of them; None when the trial had no control target."""
    import numpy as np

    planned = [str(item.get("name")) for item in meta.get("streams") or ()]
    mine = requests.take(np.flatnonzero(requests.stream == CONTROL_STREAM))
    if CONTROL_STREAM not in planned and not len(mine):
        return None
    kind = np.where(mine.kind == FailureKind.BAD_STATUS, int(FailureKind.OK), mine.kind)
    mine = mine.replace(kind=kind)
    workers = np.unique(mine.worker).tolist()
    calm = _undisturbed(mine.sent_ns, story)
    outages = find_outages(mine.take(np.flatnonzero(calm)), {worker: str(worker) for worker in workers})
    return Control(
        ok=int(mine.ok.sum()),
        failures=mine.by_kind(),
        not_sent=sum(_not_sent(worker, planned) for worker in meta.get("workers") or ()),
        spans={
            worker: tuple(
                (outage.last_good_ns or 0, outage.first_good_ns or np.iinfo(np.int64).max)
                for outage in outages
                if outage.vantage == str(worker)
            )
            for worker in workers
        },
        disturbed=int((~mine.ok & ~calm).sum()),
    )


def _undisturbed(sent_ns: Any, story: Story) -> Any:
    """Mask of the times at which the control's pod was ready and stayed so; all where no EndpointSlice says it."""
    import numpy as np

    if not story.control_ready:
        return np.ones(len(sent_ns), bool)
    mask = np.zeros(len(sent_ns), bool)
    for since, until in story.control_ready:
        mask |= (sent_ns >= since) & (True if until is None else sent_ns < until - _DISTURBED_BEFORE_NS)
    return mask


def _not_sent(worker: Mapping[str, Any], planned: list[str]) -> int:
    """What a worker did not send of the control's requests."""
    counts = worker.get("not_sent_streams") or ()
    return sum(int(count) for name, count in zip(planned, counts, strict=False) if name == CONTROL_STREAM)


def is_charged(failed: int, shared: int, control: Control | None, budget: int = 0, by_chance: float = 0.0) -> bool:
    """Whether the service is to blame for more failures than the budget allows.

    shared: of the failed, those sent while the control failed too, on the same worker: never charged. by_chance: how
    likely the others lie in the windows of pods' transitions by chance (`placed_by_chance`). Where client or network
    failed as well, the others are charged only if they lie there more than chance puts them: a client that loses one
    packet in fifty fails at any time, a rollout when its pods change.
    """
    if failed - shared <= budget:
        return False
    return control is None or not control.telling or by_chance < CHANCE


def placed_by_chance(sent_ns: Any, failed: Any, spans: Iterable[tuple[int, int | None]]) -> float:
    """How likely as many of the failures, or more, lie in the spans if each fell on any request alike (binomial).

    sent_ns: of all requests. failed: positions of the failures among them. Failures in bursts of the client's are no
    part of it: those the control, at a tenth of the rate, sees at the same time.
    """
    import numpy as np

    inside = np.zeros(len(sent_ns), bool)
    for since, until in spans:
        inside |= (sent_ns >= since) & (True if until is None else sent_ns <= until)
    if not len(failed):
        return 1.0
    return chance_of(int(inside[failed].sum()), len(failed), float(inside.mean()))


def doubts(control: Control | None, failed: int, shared: int) -> list[str]:
    """What the control's failures say of the service's, in sentences; none where it never failed undisturbed."""
    if control is None or not control.telling:
        return []
    too = " too" if failed else ""
    found = [
        f"{control.telling:,} of {control.recorded:,} requests to a pod that nothing disturbed failed{too}: "
        "client or network"
    ]
    if shared:
        found.append(f"{shared:,} of the {failed:,} failures came at the same time, and are not charged to the service")
    return found


__all__ = ["CHANCE", "Control", "doubts", "is_charged", "of_service", "placed_by_chance", "read_control"]
