"""The control target: requests to a pod that nothing disturbs, which tell failures of the client or the network apart.

They pass the same client, network and kube-proxy as the service's, so when they fail, something failed that is no part
of the service. Here they are kept out of the service's numbers, and it is decided what the service is still charged
with (docs/adr/0008-a-control-target.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hazd.analysis.outages import find_outages
from hazd.analysis.requests import Requests
from hazd.analysis.stats import more_often
from hazd.model import CONTROL_STREAM, FailureKind

CHANCE = 0.01
"""Above this the service's failure rate may be the control's, seen by chance; small, since failures come in bursts."""


@dataclass(frozen=True)
class Control:
    """The control's requests; due = ok + failed + not_sent. What a lost worker owed it counts as lost to the service.

    failures: by kind. A whole answer is ok whatever its status: client and network did their part. spans: worker ->
    when its control requests failed, each (from, to) in ns, from the last good to the next good one (0 and the largest
    int64 where there was none).
    """

    ok: int
    failures: Mapping[str, int]
    not_sent: int
    spans: Mapping[int, tuple[tuple[int, int], ...]]

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
            "failures": dict(self.failures),
        }


def of_service(requests: Requests) -> Requests:
    """Without the control's."""
    import numpy as np

    mine = requests.stream != CONTROL_STREAM
    return requests if mine.all() else requests.take(np.flatnonzero(mine))


def read_control(requests: Requests, meta: Mapping[str, Any]) -> Control | None:
    """The control's requests among all of them; None when the trial had no control target."""
    import numpy as np

    planned = [str(item.get("name")) for item in meta.get("streams") or ()]
    mine = requests.take(np.flatnonzero(requests.stream == CONTROL_STREAM))
    if CONTROL_STREAM not in planned and not len(mine):
        return None
    kind = np.where(mine.kind == FailureKind.BAD_STATUS, int(FailureKind.OK), mine.kind)
    mine = mine.replace(kind=kind)
    workers = np.unique(mine.worker).tolist()
    outages = find_outages(mine, {worker: str(worker) for worker in workers})
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
    )


def _not_sent(worker: Mapping[str, Any], planned: list[str]) -> int:
    """What a worker did not send of the control's requests."""
    counts = worker.get("not_sent_streams") or ()
    return sum(int(count) for name, count in zip(planned, counts, strict=False) if name == CONTROL_STREAM)


def is_charged(failed: int, shared: int, total: int, control: Control | None, budget: int = 0) -> bool:
    """Whether the service is to blame for more failures than the budget allows.

    failed: of `total` requests; shared: of the failed, those sent while the control failed too. Those are never
    charged. What remains is, when it exceeds the budget and the service failed more often than the control beyond
    chance (Fisher's exact test, one-sided, at CHANCE): a client that loses one packet in fifty fails both alike.
    """
    left = failed - shared
    if left <= budget:
        return False
    if control is None or not control.failed:
        return True
    return more_often(left, total, control.failed, control.recorded) < CHANCE


def doubts(control: Control | None, failed: int, shared: int) -> list[str]:
    """What the control's failures say of the service's, in sentences; none when the control never failed."""
    if control is None or not control.failed:
        return []
    too = " too" if failed else ""
    found = [
        f"{control.failed:,} of {control.recorded:,} requests to a pod that nothing disturbed failed{too}: "
        "client or network"
    ]
    if shared:
        found.append(f"{shared:,} of the {failed:,} failures came at the same time, and are not charged to the service")
    return found


__all__ = ["CHANCE", "Control", "doubts", "is_charged", "of_service", "read_control"]
