"""The controller's side of the traffic workers: start them, keep them in step, bring every record home.

A worker keeps its records in a file and serves them by offset (hazd/traffic/worker.py), so a lost or repeated answer
loses and doubles nothing; at the end the whole file's SHA-256 is compared. Nothing here judges.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio

from hazd.clock import unix_ns
from hazd.cluster.port import Cluster
from hazd.errors import ClusterError, TimedOut
from hazd.journal import TrialWriter, decode_records
from hazd.model import Manifest, Ref, TrafficPlan

CONTROL_PORT = 8091
POLL_S = 0.4
START_AHEAD_S = 0.5
CHUNK = 64 * 16384
LOST_AFTER_S = 60.0
"""How long a worker may be silent before it counts as lost; what it had not handed over is then missing.

Longer than an API server takes to come back, since that is the way to the worker, which itself keeps its records."""


@dataclass(slots=True)
class Worker:
    """One worker and what is known of it. offset_ns: controller's clock minus the worker's."""

    number: int
    pod: Ref
    node: str
    offset_ns: int = 0
    offset_uncertainty_ns: int = 0
    status: dict[str, Any] = field(default_factory=dict)
    fetched: int = 0
    digest: Any = field(default_factory=hashlib.sha256)
    lost: str = ""
    done: bool = False

    def account(self) -> dict[str, Any]:
        """What trial.json keeps of the worker."""
        status = self.status
        return {
            "id": self.number,
            "pod": self.pod.name,
            "node": self.node,
            "offset_ns": self.offset_ns,
            "offset_uncertainty_ns": self.offset_uncertainty_ns,
            "due": status.get("due", 0),
            "recorded": status.get("recorded", 0),
            "not_sent": status.get("not_sent", 0),
            "not_sent_streams": status.get("not_sent_streams", []),
            "fetched": self.fetched // 64,
            "sha256_ok": bool(self.done and self.digest.hexdigest() == status.get("sha256")),
            "stopped_by": status.get("stopped_by", ""),
            "error": self.lost or status.get("error", ""),
            "preflight_ok": status.get("preflight_ok", 0),
            "sender": status.get("sender", ""),
            "lag_ms": status.get("lag_ms", {}),
        }


class Fleet:
    """All workers of one trial. The order of calls: launch, prepare, start, (poll runs beside), stop, accounts."""

    def __init__(self, cluster: Cluster, writer: TrialWriter) -> None:
        self._cluster = cluster
        self._writer = writer
        self.workers: list[Worker] = []
        self._streams: list[str] = []

    async def launch(self, manifests: Sequence[Manifest], timeout_s: float = 90.0) -> None:
        """Create the worker pods and wait until each answers. Raises TimedOut with the pod's own state."""
        for number, doc in enumerate(manifests):
            made = await self._cluster.create(doc)
            ref = Ref("Pod", made["metadata"]["name"], made["metadata"]["namespace"])
            self.workers.append(Worker(number, ref, ""))
        for worker in self.workers:
            await self._wait_answer(worker, timeout_s)
            pod = await self._cluster.get(worker.pod)
            worker.node = pod["spec"].get("nodeName", "")
            await self._measure_clock(worker)

    async def _wait_answer(self, worker: Worker, timeout_s: float) -> None:
        seen = ""
        with anyio.move_on_after(timeout_s):
            while True:
                try:
                    await self._call(worker, "GET", "/status")
                    return
                except ClusterError as error:
                    seen = error.message
                await anyio.sleep(0.2)
        pod = await self._cluster.get(worker.pod)
        raise TimedOut(
            f"traffic worker {worker.pod.name} did not answer in {timeout_s:g} s: phase "
            f"{pod.get('status', {}).get('phase')}; last seen: {seen}",
            "`kubectl describe pod` on it tells whether its image or its node is the trouble",
        )

    async def _measure_clock(self, worker: Worker) -> None:
        """Cristian's algorithm: of several round trips the shortest bounds the offset best."""
        best: tuple[int, int] | None = None
        for _ in range(6):
            before = unix_ns()
            status = await self._call(worker, "GET", "/status")
            after = unix_ns()
            trip = after - before
            if best is None or trip < best[0]:
                best = (trip, (before + after) // 2 - int(status["unix_ns"]))
        assert best is not None
        worker.offset_uncertainty_ns = best[0] // 2
        # Within what the round trip leaves open, one machine's clock is the likelier truth than a difference.
        worker.offset_ns = best[1] if abs(best[1]) > best[0] // 2 else 0

    async def prepare(self, plan: TrafficPlan) -> None:
        """Give every worker its share of the schedule and wait until the target answered each of them well."""
        self._streams = [stream.name for stream in plan.streams]
        for worker in self.workers:
            share = dataclasses.replace(plan, shard=worker.number, shards=len(self.workers))
            await self._call(worker, "POST", "/prepare", dataclasses.asdict(share))
        with anyio.move_on_after(plan.preflight_s + 30):
            while True:
                states = [await self._call(worker, "GET", "/status") for worker in self.workers]
                for worker, status in zip(self.workers, states, strict=True):
                    if status["state"] == "failed":
                        raise ClusterError(
                            f"no good answers for {worker.pod.name} before the disruption: {status['error']}",
                            "see whether the workload serves at all: its log, --startup-delay, the Service's ports",
                        )
                if all(status["state"] == "ready" for status in states):
                    return
                await anyio.sleep(0.2)
        raise TimedOut(f"the workers' first requests did not come back well in {plan.preflight_s + 30:g} s")

    async def start(self) -> int:
        """Start all workers at one instant; returns it (ns since the epoch, controller's clock)."""
        at_ns = unix_ns() + int(START_AHEAD_S * 1e9)
        for worker in self.workers:
            await self._call(worker, "POST", "/start", {"at_unix_ns": at_ns - worker.offset_ns})
        return at_ns

    async def stop(self) -> int:
        """End the schedule now; returns the instant. Requests under way are finished and recorded by the workers."""
        at_ns = unix_ns()
        for worker in self.workers:
            if not worker.lost:
                try:
                    await self._call(worker, "POST", "/stop", {"at_unix_ns": at_ns - worker.offset_ns})
                except ClusterError as error:
                    worker.lost = f"did not take the stop: {error.message}"
        return at_ns

    async def poll(self, tell: Callable[[list[Worker]], None]) -> None:
        """Fetch records until every worker is done or lost. tell(workers) is called after each round."""
        silent = dict.fromkeys(range(len(self.workers)), unix_ns())
        while True:
            for worker in self.workers:
                if worker.done or worker.lost:
                    continue
                try:
                    await self._fetch(worker)
                    silent[worker.number] = unix_ns()
                except ClusterError as error:
                    if unix_ns() - silent[worker.number] > LOST_AFTER_S * 1e9:
                        since = (unix_ns() - silent[worker.number]) / 1e9
                        worker.lost = f"silent for {since:.1f} s: {error.message}"
            tell(self.workers)
            if all(worker.done or worker.lost for worker in self.workers):
                return
            await anyio.sleep(POLL_S)

    async def _fetch(self, worker: Worker) -> None:
        # Status first: every record it speaks of, and every pod name they need, is there by the time we fetch.
        status = await self._call(worker, "GET", "/status")
        while worker.fetched < int(status["bytes"]):
            path = f"/records?offset={worker.fetched}&limit={min(CHUNK, int(status['bytes']) - worker.fetched)}"
            code, raw = await self._cluster.pod_request(worker.pod, CONTROL_PORT, "GET", path)
            if code != 200:
                raise ClusterError(f"{worker.pod.name} answered {code} to {path}: {raw[:200]!r}")
            if not raw:
                break
            batch = decode_records(raw, worker.number, self._streams, status["pods"], worker.offset_ns)
            self._writer.add_samples(batch)
            worker.digest.update(raw)
            worker.fetched += len(raw)
        worker.status = status
        worker.done = status["state"] in ("done", "failed") and worker.fetched >= int(status["bytes"])

    async def _call(self, worker: Worker, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = json.dumps(body).encode() if body is not None else b""
        code, raw = await self._cluster.pod_request(worker.pod, CONTROL_PORT, method, path, data)
        if code >= 400:
            raise ClusterError(f"worker {worker.pod.name} answered {code} to {method} {path}: {raw[:300].decode()}")
        answer: dict[str, Any] = json.loads(raw)
        return answer


__all__ = ["Fleet", "Worker"]
