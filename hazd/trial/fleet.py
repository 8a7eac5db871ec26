"""The controller's side of the traffic workers: start them, keep them in step, bring every record home.

A worker keeps its records in a file and serves them by offset (hazd/traffic/worker.py), so a lost or repeated answer
loses and doubles nothing; at the end the whole file's SHA-256 is compared. A worker that is lost is never replaced:
what it had handed over is kept, and what it missed is named. Nothing here judges.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import anyio

from hazd.clock import measure_offset, unix_ns
from hazd.cluster.port import Cluster
from hazd.errors import ClusterError, NotFound, TimedOut
from hazd.journal import TrialWriter, decode_records
from hazd.model import Manifest, Ref, TrafficPlan
from hazd.traffic.job import JOB_NAME_LABEL, WORKER_PORT
from hazd.traffic.missed import find_missed
from hazd.trial.worker import Worker, end_of_pod, index_of, state_of_pod

POLL_S = 0.4
AHEAD_S, AHEAD_PER_WORKER_S, LONGEST_AHEAD_S = 0.5, 0.02, 5.0
"""How long before a common start or stop every worker is told of it, so that none hears of it too late.

On top comes twice the slowest round trip of late: a worker that heard of the stop too late would have sent numbers of
the schedule that the others leave out."""
STOP_WITHIN_S = 10.0
CHUNK = 64 * 16384
LOST_AFTER_S = 60.0
"""How long a worker may be silent before it counts as lost; what it had not handed over is then missing.

Longer than an API server takes to come back, since that is the way to the worker, which itself keeps its records."""
GOING_S = 3.0
"""The same for a worker whose pod is being deleted."""
LOOK_S = 1.0
"""After so long without an answer the pod itself is looked at, and again as often."""


class Fleet:
    """All workers of one trial. The order of calls: launch, prepare, start, (poll runs beside), stop, accounts."""

    def __init__(self, cluster: Cluster, writer: TrialWriter, now_ns: Callable[[], int] = unix_ns) -> None:
        self._cluster = cluster
        self._writer = writer
        self._now_ns = now_ns
        self.workers: list[Worker] = []
        self._streams: list[str] = []
        self._plan: TrafficPlan | None = None
        self._start_ns = self._stop_ns = 0

    async def launch(self, job: Manifest, timeout_s: float = 90.0) -> None:
        """Create the Indexed Job and wait until each of its pods answers. Raises TimedOut with what was seen last."""
        with anyio.move_on_after(timeout_s) as scope:
            made = await self._cluster.create(job)
            await self._find_pods(made)
        if scope.cancelled_caught:
            words = f"{len(self.workers)} of {job['spec']['completions']} traffic workers got a pod in {timeout_s:g} s"
            raise TimedOut(words, "`kubectl describe job` on it tells why: a quota or an admission webhook, most often")
        async with anyio.create_task_group() as tasks:
            for worker in self.workers:
                tasks.start_soon(self._meet, worker, timeout_s)

    async def _find_pods(self, job: Manifest) -> None:
        """The Job's pods in the order of their indexes, which are the workers' numbers and parts of the schedule."""
        meta = job["metadata"]
        while True:
            pods = await self._cluster.list("Pod", meta["namespace"], f"{JOB_NAME_LABEL}={meta['name']}")
            found = {index_of(pod): pod["metadata"] for pod in pods}
            self.workers = [
                Worker(number, Ref("Pod", found[number]["name"], found[number]["namespace"]), "")
                for number in sorted(found)
            ]
            if len(self.workers) == job["spec"]["completions"]:
                return
            await anyio.sleep(0.1)

    async def _meet(self, worker: Worker, timeout_s: float) -> None:
        await self._wait_answer(worker, timeout_s)
        pod = await self._cluster.get(worker.pod)
        worker.node = pod["spec"].get("nodeName", "")
        worker.address = (pod.get("status") or {}).get("podIP", "")
        worker.offset_ns, worker.offset_uncertainty_ns = await self._measure_clock(worker)

    async def _wait_answer(self, worker: Worker, timeout_s: float) -> None:
        seen, ended = "", ""
        with anyio.move_on_after(timeout_s):
            while not ended:
                try:
                    await self._call(worker, "GET", "/status")
                    return
                except ClusterError as error:
                    seen = error.message
                ended = await self._how_ended(worker)
                await anyio.sleep(0.2)
        hint = "`kubectl describe pod` on it tells whether its image or its node is the trouble"
        if ended:
            raise ClusterError(f"traffic worker {worker.pod.name} never answered: {ended}", hint)
        state = state_of_pod(await self._cluster.get(worker.pod))
        raise TimedOut(
            f"traffic worker {worker.pod.name} did not answer in {timeout_s:g} s: {state}; last seen: {seen}", hint
        )

    async def _how_ended(self, worker: Worker, silent_s: float = 0.0) -> str:
        """ "" while the worker's pod may still answer, or while nobody can say; else what became of it."""
        try:
            pod = await self._cluster.get(worker.pod)
        except NotFound:
            return "its pod is gone"
        except ClusterError:
            return ""  # the API server is away, which says nothing of the worker
        going = silent_s > GOING_S and "deletionTimestamp" in pod["metadata"]
        return end_of_pod(pod) or ("its pod is being deleted" if going else "")

    async def _measure_clock(self, worker: Worker) -> tuple[int, int]:
        """The worker's offset and how much its measurement leaves open, in ns."""

        async def read_ns() -> int:
            status = await self._call(worker, "GET", "/status")
            worker.suspensions_ns.append(int(status.get("suspended_ns") or 0))
            return int(status["unix_ns"])

        offset_ns, uncertainty_ns = await measure_offset(read_ns, self._now_ns)
        # Within what the round trip leaves open, one machine's clock is the likelier truth than a difference.
        return offset_ns if abs(offset_ns) > uncertainty_ns else 0, uncertainty_ns

    async def measure_clocks_again(self) -> None:
        """At the end, so that a clock that moved during the trial is noticed; a worker that is lost has none."""
        for worker in self.workers:
            if worker.done:
                with suppress(ClusterError):
                    worker.end_offset = await self._measure_clock(worker)

    def _share(self, plan: TrafficPlan, worker: Worker) -> TrafficPlan:
        return dataclasses.replace(plan, shard=worker.number, shards=len(self.workers))

    async def prepare(self, plan: TrafficPlan) -> None:
        """Give every worker its share of the schedule and wait until the target answered each of them well."""
        self._plan, self._streams = plan, [stream.name for stream in plan.streams]
        for worker in self.workers:
            await self._call(worker, "POST", "/prepare", dataclasses.asdict(self._share(plan, worker)))
        with anyio.move_on_after(plan.preflight_s + 30):
            while True:
                states = [await self._status(worker) for worker in self.workers]
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

    def _soon_ns(self) -> int:
        slowest_s = max((worker.trip_s for worker in self.workers if not worker.over), default=0.0)
        ahead_s = AHEAD_S + AHEAD_PER_WORKER_S * len(self.workers) + 2 * slowest_s
        return self._now_ns() + int(min(ahead_s, LONGEST_AHEAD_S) * 1e9)

    async def start(self) -> int:
        """Start all workers at one instant; returns it (ns since the epoch, controller's clock)."""
        self._start_ns = at_ns = self._soon_ns()
        async with anyio.create_task_group() as tasks:
            for worker in self.workers:
                when = {"at_unix_ns": at_ns - worker.offset_ns}
                tasks.start_soon(self._call, worker, "POST", "/start", when)
        return at_ns

    async def stop(self) -> int:
        """End the schedule at one instant, a little ahead, and return it: so the workers' parts end without a gap.

        Requests under way are finished and recorded by the workers.
        """
        self._stop_ns = at_ns = self._soon_ns()
        async with anyio.create_task_group() as tasks:
            for worker in self.workers:
                tasks.start_soon(self._stop, worker, at_ns)
        return at_ns

    async def _stop(self, worker: Worker, at_ns: int) -> None:
        with anyio.move_on_after(STOP_WITHIN_S):
            await self._while_it_lives(worker, lambda: self._tell_stop(worker, at_ns))
            return
        if not worker.over:
            worker.lost = "it could not be told to stop"

    async def _tell_stop(self, worker: Worker, at_ns: int) -> None:
        when = json.dumps({"at_unix_ns": at_ns - worker.offset_ns}).encode()
        while not worker.over:
            try:
                code, _ = await self._cluster.pod_request(worker.pod, WORKER_PORT, "POST", "/stop", when)
                if code < 400 or code == 409:  # 409: it has ended by itself, and its status says why
                    return
            except ClusterError:
                pass  # it is told again until it listens, or until its pod has ended
            await anyio.sleep(POLL_S)

    async def poll(self, tell: Callable[[list[Worker]], None]) -> None:
        """Fetch records until every worker is done or lost. tell(workers) is called after each round."""
        async with anyio.create_task_group() as tasks:
            for worker in self.workers:
                tasks.start_soon(self._follow, worker)
            while not all(worker.over for worker in self.workers):
                await anyio.sleep(POLL_S)
                tell(self.workers)
        tell(self.workers)

    async def _follow(self, worker: Worker) -> None:
        """One worker on its own, so that a silent one keeps nobody else's records waiting."""
        worker.heard_s = anyio.current_time()
        await self._while_it_lives(worker, lambda: self._fetch_all(worker))

    async def _fetch_all(self, worker: Worker) -> None:
        while not worker.over:
            try:
                await self._fetch(worker)
                worker.heard_s = anyio.current_time()
            except ClusterError as error:
                silent_s = anyio.current_time() - worker.heard_s
                if silent_s > LOST_AFTER_S:
                    worker.lost = f"silent for {silent_s:.1f} s: {error.message}"
            if not worker.over:
                await anyio.sleep(POLL_S)

    async def _while_it_lives(self, worker: Worker, work: Callable[[], Awaitable[None]]) -> None:
        """Do `work`, and give it up with the worker as soon as its pod is seen to have ended."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._look_after, worker, tasks.cancel_scope)
            await work()
            tasks.cancel_scope.cancel()

    async def _look_after(self, worker: Worker, scope: anyio.CancelScope) -> None:
        """A request to a pod that has ended may hang for as long as it may take; its object tells earlier."""
        while True:
            await anyio.sleep(LOOK_S)
            silent_s = anyio.current_time() - worker.heard_s
            if silent_s >= LOOK_S and (ended := await self._how_ended(worker, silent_s)) and not worker.done:
                worker.lost = ended
                scope.cancel()

    async def _fetch(self, worker: Worker) -> None:
        # Status first: every record it speaks of, and every pod name they need, is there by the time we fetch.
        status = await self._status(worker)
        while worker.fetched < int(status["bytes"]):
            path = f"/records?offset={worker.fetched}&limit={min(CHUNK, int(status['bytes']) - worker.fetched)}"
            code, raw = await self._cluster.pod_request(worker.pod, WORKER_PORT, "GET", path)
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

    def accounts(self) -> Sequence[dict[str, Any]]:
        """What trial.json keeps of each worker; call it before the journal is closed.

        For a worker that did not serve to the common end: what it missed, by its part of the schedule.
        """
        if self._plan is not None and self._start_ns:
            until_ns = self._stop_ns or self._now_ns()
            for worker in self.workers:
                if worker.served_to_the_end:
                    continue
                if not worker.over:
                    worker.lost = "its records could not all be fetched in time"
                have = self._writer.recorded_seqs(worker.number)
                not_sent = int(worker.status.get("not_sent", 0))
                worker.missed = find_missed(self._share(self._plan, worker), self._start_ns, until_ns, have, not_sent)
        return [worker.account() for worker in self.workers]

    async def _status(self, worker: Worker) -> dict[str, Any]:
        begun = anyio.current_time()
        status = await self._call(worker, "GET", "/status")
        worker.trip_s = anyio.current_time() - begun
        return status

    async def _call(self, worker: Worker, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = json.dumps(body).encode() if body is not None else b""
        code, raw = await self._cluster.pod_request(worker.pod, WORKER_PORT, method, path, data)
        if code >= 400:
            raise ClusterError(f"worker {worker.pod.name} answered {code} to {method} {path}: {raw[:300].decode()}")
        answer: dict[str, Any] = json.loads(raw)
        return answer


__all__ = ["Fleet", "Worker"]
