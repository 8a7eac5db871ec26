"""A small model of a Service that is changed under traffic: it writes journals whose every failure has a known cause.

The rules of analysis are held against this truth, and golden cases without a recorded run are made with it. It knows
nothing of hazd's analysis: pods have lives, each node's rules lag, each request goes where the rules of its moment say.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hazd.journal import TrialWriter, decode_records
from hazd.model import Connection, Event, FailureKind, Phase, Ref
from hazd.record import RECORD

S = 1_000_000_000
EPOCH_NS = 1_790_000_000 * S
NAMESPACE = "hazd-simulated"
STREAMS = ("new", "reused")
CONTROL = "hazd-control"
"""The control target's pod and Service."""


@dataclass
class Pod:
    """Times in seconds since the disruption began; None = never. listed, dropped: by the EndpointSlice."""

    name: str
    node: str = "node-1"
    created: float = -20.0
    listening: float = -18.0
    listed: float = -18.0
    deleted: float | None = None
    dropped: float | None = None
    sigterm: float | None = None
    exited: float | None = None
    address_gone: float | None = None
    gone: float | None = None
    graceful: bool = False
    served: int = 0

    def before(self, at: float | None, now: float) -> bool:
        return at is None or now < at


@dataclass
class World:
    """vantages: worker's node -> (removal lag, addition lag) in seconds. lost: node -> when it went away.

    stale: spans in which every third new connection is led to a pod long dead by an old conntrack entry. control_rate:
    requests/s to a pod that nothing disturbs, 0: there is none. cut: spans in which no worker reaches anybody.
    """

    pods: list[Pod]
    vantages: dict[str, tuple[float, float]] = field(default_factory=lambda: {"node-0": (0.8, 0.3)})
    rate: float = 300.0
    start: float = -3.0
    end: float = 12.0
    disrupt_end: float = 7.0
    pool: int = 8
    recycle_after: int = 0
    seed: int = 7
    lost: dict[str, float] = field(default_factory=dict)
    stages: list[tuple[float, str, str]] = field(default_factory=lambda: [(0.0, "set-image", "set image app:2")])
    stale: list[tuple[float, float]] = field(default_factory=list)
    cut: list[tuple[float, float]] = field(default_factory=list)
    control_rate: float = 0.0
    truth: list[tuple[str, str]] = field(default_factory=list)
    conns: int = 0

    @property
    def planned(self) -> int:
        """Requests due before the end."""
        return math.ceil((self.end - self.start) * self.rate - 1e-6)

    def run(self) -> tuple[list[bytes], list[str]]:
        """Records per worker and the pod table; `truth` gets (rule, pod) of every failed request."""
        rng = random.Random(self.seed)
        names = ["", *(pod.name for pod in self.pods)]
        outcomes: list[tuple[int, str, str]] = []
        records: list[list[bytes]] = [[] for _ in self.vantages]
        kept: list[list[tuple[Pod, int, int] | None]] = [[None] * self.pool for _ in self.vantages]
        count = self.planned
        for seq in range(count):
            worker, stream = seq % len(self.vantages), seq // len(self.vantages) % 2
            due = self.start + seq / self.rate
            sent = due + rng.expovariate(1 / 0.0002)
            slot = seq // len(self.vantages) // 2 % self.pool
            conn = kept[worker][slot] if stream else None
            if conn is not None and self.recycle_after and conn[2] >= self.recycle_after:
                conn = None
            if conn is not None and conn[0].graceful and not conn[0].before(conn[0].exited, sent):
                conn = None  # closed while it was idle: the client saw the FIN and takes a new one
            lags = list(self.vantages.values())[worker]
            reused = conn is not None
            if conn is None:
                self.conns += 1
                target = self.pick(sent, lags, rng)
                number, uses = self.conns, 0
            else:
                target, number, uses = conn
            kind, phase, took, truth = self.outcome(target, sent, reused, rng)
            if kind is FailureKind.OK and target is not None:
                target.served += 1
                kept[worker][slot] = (target, number, uses + 1) if stream else kept[worker][slot]
            else:
                outcomes.append((seq, *truth))
                if stream:
                    kept[worker][slot] = None
            at = self.ns(sent)
            answered = kind in (FailureKind.OK, FailureKind.BAD_STATUS)
            records[worker].append(
                RECORD.pack(
                    seq,
                    stream,
                    Connection.REUSED if reused else Connection.NEW,
                    kind,
                    phase,
                    200 if kind is FailureKind.OK else 503 if answered else 0,
                    _ERRNO.get(kind, 0),
                    names.index(target.name) if answered and target else 0,
                    30000 + number % 20000,
                    self.ns(due),
                    at,
                    at + 200_000 if phase is not Phase.CONNECT else 0,
                    self.ns(sent + took) if answered else 0,
                    self.ns(sent + took),
                    target.served if answered and target else 0,
                    number,
                )
            )
        self._control(count, records, names)
        self.truth = [(rule, pod) for _, rule, pod in sorted(outcomes)]
        return [b"".join(part) for part in records], names

    def _control(self, seq: int, records: list[list[bytes]], names: list[str]) -> None:
        """The control's requests, all of the first worker, numbered after the others."""
        if self.control_rate:
            names.append(CONTROL)
        for number in range(int((self.end - self.start) * self.control_rate)):
            due = self.start + number / self.control_rate
            failed = self._is_cut(due)
            took = 5.0 if failed else 0.002
            outcome = (FailureKind.TIMEOUT, Phase.CONNECT, 0) if failed else (FailureKind.OK, Phase.NONE, 200)
            known = (
                (0, 0, self.ns(due), self.ns(due), 0, 0)
                if failed
                else (len(names) - 1, 0, self.ns(due), self.ns(due), self.ns(due) + 200_000, self.ns(due + took))
            )
            words = (seq + number, len(STREAMS), Connection.NEW, *outcome, 0, *known, self.ns(due + took), 0)
            records[0].append(RECORD.pack(*words, self.conns + number + 1))

    def _is_cut(self, now: float) -> bool:
        return any(since <= now < until for since, until in self.cut)

    def pick(self, now: float, lags: tuple[float, float], rng: random.Random) -> Pod | None:
        """A pod out of the rules that this vantage has at the moment."""
        removal, addition = lags
        listed = [
            pod
            for pod in self.pods
            if pod.listed + addition <= now and (pod.dropped is None or now < pod.dropped + removal)
        ]
        return rng.choice(listed) if listed else None

    def outcome(
        self, pod: Pod | None, now: float, reused: bool, rng: random.Random
    ) -> tuple[FailureKind, Phase, float, tuple[str, str]]:
        if self._is_cut(now):
            return FailureKind.TIMEOUT, Phase.WAIT if reused else Phase.CONNECT, 5.0, ("control_failed_too", "")
        if not reused and any(since <= now < until for since, until in self.stale) and rng.random() < 1 / 3:
            return FailureKind.TIMEOUT, Phase.CONNECT, 5.0, ("stale_conntrack", "")
        if pod is None:
            return FailureKind.REFUSED, Phase.CONNECT, 0.0005, ("no_endpoints", "")
        took = 0.002 + rng.expovariate(1 / 0.001)
        if pod.node in self.lost and now >= self.lost[pod.node]:
            return FailureKind.TIMEOUT, Phase.WAIT if reused else Phase.CONNECT, 5.0, ("node_lost", pod.name)
        if now < pod.listening:
            return FailureKind.REFUSED, Phase.CONNECT, 0.0005, ("not_listening_yet", pod.name)
        if pod.before(pod.exited, now):
            if pod.exited is not None and now + took > pod.exited and not pod.graceful:
                return FailureKind.RESET, Phase.WAIT, pod.exited - now + 0.0005, ("killed_in_flight", pod.name)
            return FailureKind.OK, Phase.NONE, took, ("", "")
        if reused:
            return FailureKind.EOF, Phase.WAIT, 0.0005, ("dead_connection", pod.name)
        if pod.before(pod.address_gone, now):
            return FailureKind.REFUSED, Phase.CONNECT, 0.0005, ("stopped_listening", pod.name)
        if rng.random() < 0.05:
            return FailureKind.NO_ROUTE, Phase.CONNECT, 3.1, ("pod_ip_gone", pod.name)
        return FailureKind.TIMEOUT, Phase.CONNECT, 5.0, ("pod_ip_gone", pod.name)

    @staticmethod
    def ns(at: float) -> int:
        return EPOCH_NS + round(at * S)

    def events(self) -> list[Event]:
        found: list[Event] = []
        for pod in self.pods:
            found += self._pod_events(pod)
        changes = sorted({at for pod in self.pods for at in (pod.listed, pod.dropped) if at is not None})
        for number, at in enumerate(changes):
            detail = {"service": "app", "endpoints": [item for pod in self.pods for item in self._endpoint(pod, at)]}
            reason = "MODIFIED" if number else "ADDED"
            ref = Ref("EndpointSlice", "app-slice", NAMESPACE)
            found.append(Event(self.ns(at), "watch", ref, reason, detail=detail))
        if self.control_rate:
            found += self._control_events()
        for at, reason, text in self.stages:
            kind, name = ("Node", text.split()[-1]) if reason in ("stop-node", "start-node") else ("Deployment", "app")
            found.append(Event(self.ns(at), "stage", Ref(kind, name, NAMESPACE), reason, detail={"text": text}))
        return sorted(found, key=lambda event: event.observed_ns)

    def _control_events(self) -> list[Event]:
        """A pod and endpoints that are no part of the workload."""
        pod = {"kind": "Pod", "labels": {"app": CONTROL}, "spec": {"nodeName": "node-0"}}
        endpoint = {"conditions": {"ready": True, "serving": True}, "targetRef": {"name": CONTROL}}
        parts = {"service": CONTROL, "endpoints": [endpoint]}
        details = (("Pod", CONTROL, pod), ("EndpointSlice", f"{CONTROL}-slice", parts))
        return [
            Event(self.ns(self.start - 2), "watch", Ref(kind, name, NAMESPACE), "ADDED", detail=detail)
            for kind, name, detail in details
        ]

    def _endpoint(self, pod: Pod, at: float) -> list[dict[str, Any]]:
        if at < pod.listed or (pod.dropped is not None and at >= pod.dropped):
            return []
        conditions = {"ready": True, "serving": True, "terminating": False}
        return [{"addresses": ["10.0.0.1"], "conditions": conditions, "targetRef": {"name": pod.name}}]

    def _pod_events(self, pod: Pod) -> list[Event]:
        ref = Ref("Pod", pod.name, NAMESPACE)
        base: dict[str, Any] = {"kind": "Pod", "labels": {"app": "app"}, "spec": {"nodeName": pod.node}}

        def seen(at: float, reason: str, ready: bool, **more: Any) -> Event:
            conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
            status = {"podIP": "10.0.0.1", "conditions": conditions}
            return Event(self.ns(at), "watch", ref, reason, detail={**base, "status": status, **more})

        def said(at: float, reason: str) -> Event:
            detail = {"event": reason, "pod": pod.name, "on_sigterm": "graceful" if pod.graceful else "exit"}
            return Event(self.ns(at) + 30_000_000, "app", ref, reason, self.ns(at), detail)

        found = [seen(pod.created, "ADDED", False), seen(pod.listed - 0.05, "MODIFIED", True)]
        found += [said(pod.created + 0.3, "started")]
        if pod.before(pod.gone, pod.listening):
            found.append(said(pod.listening, "listening"))
        if pod.deleted is not None:
            found.append(seen(pod.deleted, "MODIFIED", True, deletionTimestamp="2026-11-21T10:00:00Z"))
        found += [said(at, what) for at, what in ((pod.sigterm, "sigterm"), (pod.exited, "exit")) if at is not None]
        if pod.gone is not None:
            found.append(seen(pod.gone, "DELETED", False))
        return found

    def meta(self, **more: Any) -> dict[str, Any]:
        return {
            "schema": 1,
            "run": "simulated",
            "name": "rollout",
            "scenario": "rollout",
            "fixes": [],
            "options": {},
            "criteria": {},
            "replicas": 4,
            "rate": self.rate,
            "expect": [200],
            "streams": [{"name": name, "connection": name, "share": 0.5} for name in STREAMS]
            + [{"name": "control", "connection": "new", "share": 0.02}] * bool(self.control_rate),
            "cluster": {"kind": "lab", "name": "simulated", "version": "v1.34.4", "nodes": 3, "proxy_mode": "nftables"},
            "namespace": NAMESPACE,
            # the control's requests are numbered after the others here, as no plan would have them
            **({} if self.control_rate else {"plan": {"profile": "constant", "rate": self.rate, "seed": 1}}),
            "checks": [],
            "notes": [],
            "error": "",
        } | more

    def write(self, folder: Path, state: str = "complete", **more: Any) -> Path:
        """Write the trial's folder with hazd's own writer. more: fields of trial.json to set otherwise."""
        records, names = self.run()
        writer = TrialWriter(folder, self.meta())
        for worker, raw in enumerate(records):
            writer.add_samples(decode_records(raw, worker, (*STREAMS, "control"), names))
        events = self.events()
        for event in events:
            writer.add_event(event)
        seen = Counter(event.ref.kind for event in events if event.source == "watch")
        counts = [len(raw) // RECORD.size for raw in records]
        fields: dict[str, Any] = {
            "watched": {kind: {"events": number, "problem": None} for kind, number in seen.items()},
            "phases": {
                "traffic_start_ns": self.ns(self.start),
                "disrupt_start_ns": self.ns(0.0),
                "disrupt_end_ns": self.ns(self.disrupt_end),
                "settle_end_ns": self.ns(self.end),
                "traffic_end_ns": self.ns(self.end),
            },
            "workers": [
                {"id": worker, "pod": f"hazd-worker-{worker}", "node": node, "due": counts[worker]}
                | {"recorded": counts[worker], "not_sent": 0, "sha256_ok": True, "error": ""}
                for worker, node in enumerate(self.vantages)
            ],
            "served": {
                pod.name: {"served": pod.served, "preflight": 10, "final": True}
                for pod in self.pods
                if pod.served or pod.created > 0
            },
        }
        writer.update(**(fields | more))
        writer.close(state)
        return folder


_ERRNO = {FailureKind.REFUSED: 111, FailureKind.NO_ROUTE: 113, FailureKind.RESET: 104}


__all__ = ["EPOCH_NS", "NAMESPACE", "Pod", "S", "World"]
