"""Every request accounted for: what was due, what was recorded, and what the pods themselves counted.

The first must agree exactly, or the trial proves nothing. The second may differ for reasons that can be named: a
request the pod answered and the client lost, or a pod that was forced away before its last count was read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hazd.analysis.control import of_service
from hazd.analysis.requests import Requests
from hazd.model import Phase


@dataclass(frozen=True)
class PodCount:
    """One pod's own count (the preflight is not in it) beside the client's good responses and its known failures.

    explained: the two counts agree, or their difference has a reason that can be named.
    """

    pod: str
    served: int | None
    ok: int
    failed: int
    final: bool
    explained: bool
    note: str


@dataclass(frozen=True)
class Accounting:
    """due = recorded + not_sent + lost, checked per worker; `problems` names what does not add up.

    lost: due requests of workers that vanished, of which nobody knows whether they were sent.
    """

    due: int
    recorded: int
    not_sent: int
    duplicates: int
    problems: tuple[str, ...]
    pods: tuple[PodCount, ...]
    lost: int = 0

    @property
    def complete(self) -> bool:
        return not self.problems

    @property
    def reconciled(self) -> bool | None:
        """None: no pod reported how many requests it served, so there is nothing to compare."""
        return all(item.explained for item in self.pods) if self.pods else None

    @property
    def unexplained(self) -> tuple[str, ...]:
        """A sentence when pods' own counts differ from the clients' without a reason, with the first such pod."""
        wrong = [item for item in self.pods if not item.explained]
        if not wrong:
            return ()
        first = wrong[0]
        words = f"the sample app's own count does not agree for {len(wrong)} of {len(self.pods)} pods"
        return (f"{words}: {first.pod} ({first.ok:,} good responses at the clients): {first.note}",)

    def contract(self) -> dict[str, Any]:
        return {
            "complete": self.complete,
            "problems": list(self.problems),
            "duplicates": self.duplicates,
            "lost": self.lost,
            "reconciled": self.reconciled,
            "pods": {
                item.pod: {
                    "served": item.served,
                    "ok": item.ok,
                    "failed": item.failed,
                    "final": item.final,
                    "explained": item.explained,
                    "note": item.note,
                }
                for item in self.pods
            },
        }


def account(
    requests: Requests, meta: Mapping[str, Any], problems: Sequence[str] = (), forced: Collection[str] = ()
) -> Accounting:
    """Check the sums of a trial. problems: what the reader of the journal had to skip.

    forced: pods that had no chance to report their last count: killed, deleted without grace, or on a lost node.
    """
    import numpy as np

    wrong = list(problems)
    workers: Sequence[Mapping[str, Any]] = meta.get("workers") or ()
    key = requests.seq * 256 + requests.worker
    duplicates = len(requests) - len(np.unique(requests.seq))
    if duplicates:
        wrong.append(f"{duplicates} sequence numbers were recorded twice")
    due = not_sent = lost = 0
    started_ns = int((meta.get("phases") or {}).get("traffic_start_ns") or 0)
    for worker in workers:
        number = worker.get("id", 0)
        have = int((requests.worker == number).sum())
        claimed, missed = int(worker.get("recorded") or 0), int(worker.get("not_sent") or 0)
        owed = worker.get("due")
        if owed is None:
            owed = have + missed
            wrong.append(f"worker {number} never said how many requests were due")
        gone = int(worker.get("lost") or 0)
        due, not_sent, lost = due + int(owed), not_sent + missed, lost + gone
        if int(owed) != claimed + missed + gone:
            wrong.append(f"worker {number}: {owed} due, but {claimed} recorded + {missed} not sent + {gone} lost")
        if have != claimed:
            wrong.append(f"worker {number} recorded {claimed} requests, the journal holds {have}")
        if gone:
            wrong.append(_missed(worker, gone, started_ns))
            continue
        if worker.get("sha256_ok") is False and (have or claimed):
            wrong.append(f"worker {number}: its records do not match their checksum")
        if worker.get("error"):
            wrong.append(f"worker {number}: {worker['error']}")
    if not workers:
        due = len(requests)
        wrong.append("no worker handed over its count of due requests")
    elif not duplicates and not not_sent and not lost and len(requests) and len(key) == due:
        span = int(requests.seq.max()) - int(requests.seq.min()) + 1
        if span != due:
            wrong.append(f"sequence numbers span {span}, {due} were due: some are missing")
    pods = tuple(_reconcile(of_service(requests), meta, forced))
    return Accounting(due, len(requests), not_sent, duplicates, tuple(wrong), pods, lost)


def _missed(worker: Mapping[str, Any], lost: int, started_ns: int) -> str:
    """Which worker is missing, where it ran, from when to when (s since the traffic began), how much, and why."""
    since, until = ((int(at_ns) - started_ns) / 1e9 for at_ns in worker.get("missed_ns") or (started_ns, started_ns))
    where, why = worker.get("node") or "an unknown node", worker.get("error") or "no reason is known"
    return (
        f"worker {worker.get('id', 0)} on {where} was lost: nothing is known of {lost:,} requests "
        f"due from {since:.3f} s to {until:.3f} s of the traffic ({why})"
    )


def _reconcile(requests: Requests, meta: Mapping[str, Any], forced: Collection[str]) -> list[PodCount]:
    """Each pod's own count against the client's, with the reason of a difference where there is one."""
    if not (meta.get("workload") or {}).get("sample", True):
        return []  # only hazd's own sample app counts its responses
    served: Mapping[str, Mapping[str, Any]] = meta.get("served") or {}
    answered, lost = _tally(requests.pod[requests.ok]), _tally(requests.peer[requests.failed])
    on_its_way = ~requests.ok & (requests.phase != Phase.CONNECT) & (requests.phase != Phase.TLS)
    unidentified = int((on_its_way & (requests.peer == "")).sum())
    delivered = _tally(requests.peer[on_its_way])
    rows: list[PodCount] = []
    for name in sorted(served.keys() | answered.keys()):
        ok, failed = answered.get(name, 0), lost.get(name, 0)
        own = served.get(name)
        if own is None:
            why = ", since it was forced away" if name in forced else ""
            rows.append(PodCount(name, None, ok, failed, False, name in forced, f"its own count was not read{why}"))
            continue
        count = int(own.get("served") or 0)  # the app counts the preflight apart
        final = bool(own.get("final", True))
        difference = count - ok
        explained, note = True, ""
        if 0 < difference <= delivered.get(name, 0) + unidentified:
            note = f"{difference} answered by the pod but failed at the client"
        elif difference < 0 and not final and name in forced:
            note = f"it was forced away before its last count was read: {-difference} are not in it"
        elif difference < 0 and not final:
            explained, note = False, f"its last count was not read: {-difference} are not in it"
        elif difference:
            explained, note = False, f"it counted {count:,}"
        rows.append(PodCount(name, count, ok, failed, final, explained, note))
    return rows


def _tally(names: Any) -> dict[str, int]:
    import pandas as pd

    counts = pd.Series(names, dtype=object).value_counts()
    return {str(name): int(number) for name, number in counts.items() if name}


__all__ = ["Accounting", "PodCount", "account"]
