"""One traffic worker as its controller knows it, and what a pod's object tells of a worker that falls silent. Pure."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hazd.model import CONTROL_STREAM, Ref, Stream
from hazd.traffic.job import CONTAINER_NAME, INDEX_KEY
from hazd.traffic.missed import Missed


@dataclass(slots=True)
class Worker:
    """One worker and what is known of it. number: its index in the Job. offset_ns: controller's clock minus its own.

    end_offset: the offset and what it leaves open, measured again at the end. suspensions_ns: how long its host had
    been suspended, at each measurement. heard_s: when it last responded, on the event loop's clock. trip_s: how long
    its last status took to come.
    """

    number: int
    pod: Ref
    node: str
    address: str = ""
    offset_ns: int = 0
    offset_uncertainty_ns: int = 0
    end_offset: tuple[int, int] | None = None
    suspensions_ns: list[int] = field(default_factory=list)
    status: dict[str, Any] = field(default_factory=dict)
    fetched: int = 0
    heard_s: float = 0.0
    trip_s: float = 0.0
    digest: Any = field(default_factory=hashlib.sha256)
    lost: str = ""
    done: bool = False
    missed: Missed | None = None

    @property
    def over(self) -> bool:
        """Nothing more will come of it."""
        return self.done or bool(self.lost)

    @property
    def served_to_the_end(self) -> bool:
        return self.done and not self.lost and self.status.get("stopped_by") == "controller"

    def account(self) -> dict[str, Any]:
        """What trial.json keeps of the worker: due = recorded + not_sent + lost, the last missing from missed_ns on."""
        status, missed = self.status, self.missed
        told = self.lost or status.get("error", "")
        if missed is not None and missed.requests and not told:
            told = f"stopped by {status.get('stopped_by') or 'nobody knows what'}"
        return {
            "id": self.number,
            "pod": self.pod.name,
            "node": self.node,
            "address": self.address,
            "offset_ns": self.offset_ns,
            "offset_uncertainty_ns": self.offset_uncertainty_ns,
            "offset_end_ns": self.end_offset[0] if self.end_offset else None,
            "offset_end_uncertainty_ns": self.end_offset[1] if self.end_offset else None,
            "suspended_ns": max(self.suspensions_ns, default=0) - min(self.suspensions_ns, default=0),
            "due": status.get("due", 0) if missed is None else missed.due,
            # Of a lost worker only what was fetched counts: what else it had recorded went with it.
            "recorded": status.get("recorded", 0) if missed is None else self.fetched // 64,
            "not_sent": status.get("not_sent", 0),
            "not_sent_streams": status.get("not_sent_streams", []),
            "lost": 0 if missed is None else missed.requests,
            "missed_ns": None if missed is None or not missed.requests else [missed.from_ns, missed.until_ns],
            "fetched": self.fetched // 64,
            "sha256_ok": bool(self.done and self.digest.hexdigest() == status.get("sha256")),
            "stopped_by": status.get("stopped_by", ""),
            "error": told,
            "preflight_ok": status.get("preflight_ok", 0),
            "sender": status.get("sender", ""),
            "lag_ms": status.get("lag_ms", {}),
        }


def index_of(pod: Mapping[str, Any]) -> int:
    """The completion index of an Indexed Job's pod (KEP-2214: an annotation, later a label, too)."""
    meta = pod["metadata"]
    return int(((meta.get("annotations") or {}) | (meta.get("labels") or {}))[INDEX_KEY])


def end_of_pod(pod: Mapping[str, Any]) -> str:
    """How a pod with restartPolicy Never ended, in a few words; "" for one that may still run."""
    status = pod.get("status") or {}
    for container in status.get("containerStatuses") or ():
        ended = (container.get("state") or {}).get("terminated")
        if ended and container.get("name", CONTAINER_NAME) == CONTAINER_NAME:
            why = f", {ended['reason']}" if ended.get("reason") else ""
            return f"its process ended with exit code {ended.get('exitCode')}{why}"
    if status.get("phase") in ("Failed", "Succeeded"):
        why = " ".join(filter(None, (status.get("reason"), status.get("message"))))
        return f"its pod is {status['phase']}" + (f": {why}" if why else "")
    return ""


def state_of_pod(pod: Mapping[str, Any]) -> str:
    """What keeps a pod from running, as far as its object says it."""
    status = pod.get("status") or {}
    found = [f"phase {status.get('phase')}"]
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            found.append(str(condition.get("message") or condition.get("reason")))
    for container in status.get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting") or {}
        found += [str(waiting[name]) for name in ("reason", "message") if waiting.get(name)]
    return ", ".join(found)


def count_requests(workers: Iterable[Worker], streams: Sequence[Stream]) -> dict[str, Any]:
    """How the service's requests went so far: ok, failed, by_kind; due and not_sent are of all. streams: the plan's.

    The control's are left to the report, which tells them apart.
    """
    kinds, totals = Counter[str](), {"due": 0, "not_sent": 0}
    for worker in workers:
        for name in totals:
            totals[name] += int(worker.status.get(name, 0))
        for stream, counts in zip(streams, worker.status.get("streams", ()), strict=False):
            if stream.name != CONTROL_STREAM:
                kinds.update(counts)
    ok = kinds.pop("ok", 0)
    return {"ok": ok, "failed": kinds.total(), "by_kind": dict(kinds), **totals}


__all__ = ["Worker", "count_requests", "end_of_pod", "index_of", "state_of_pod"]
