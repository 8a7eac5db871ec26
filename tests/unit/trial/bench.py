"""A trial in virtual time: the lab's control loops on a pretend machine, and traffic workers inside this process.

A Desk is one such cluster. What a test wants to happen goes into `faults`, which sees every request to a worker, or
into the scenario's coroutine; `verbs` lists what the trial did to the cluster, in order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import anyio
import trio

from hazd.cluster.kube.errors import Unreachable
from hazd.cluster.lab import LabCluster
from hazd.cluster.port import Images
from hazd.errors import ClusterError
from hazd.model import Manifest, Observer, Progress, Ref, Setup, Stream, TrafficPlan, Trial
from hazd.record import RECORD
from hazd.scenario import Scenario
from hazd.stage import Stage
from hazd.traffic.job import WORKER_PORT
from hazd.traffic.pacer import due_times
from tests.unit.lab.bench import EPOCH_NS, Bench, container, deployment, pod_template, run, service

NS = 1_000_000_000
IMAGES = Images("app:a", "app:b", "app:a")
Fault = Callable[["PretendWorker", str, str], tuple[int, bytes] | None]


def now_ns() -> int:
    return EPOCH_NS + int(trio.current_time() * 1e9)


class PretendWorker:
    """The control API of hazd/traffic/worker.py over a schedule whose every request succeeds after a millisecond.

    skew_ns: its clock minus the controller's.
    """

    def __init__(self, pod: str) -> None:
        self.pod = pod
        self.state = "idle"
        self.error = ""
        self.skew_ns = 0
        self.prepared_s = 0.0
        self.plan: dict[str, Any] = {}
        self.starts: list[int] = []
        self.stops: list[int] = []
        self.stopped_by = ""
        self.end_ns: int | None = None

    def _due(self) -> list[tuple[int, int]]:
        if not self.starts:
            return []
        known = {name: self.plan[name] for name in ("url", "rate", "profile", "shard", "shards", "seed")}
        plan = TrafficPlan(**known, streams=())
        until_ns = now_ns() + self.skew_ns
        until_ns = until_ns if self.end_ns is None else min(until_ns, self.end_ns)
        found = []
        for item in due_times(plan, self.starts[0]):
            if item[1] >= until_ns:
                break
            found.append(item)
        return found

    def records(self) -> bytes:
        ms = 1_000_000
        return b"".join(
            RECORD.pack(seq, 0, 0, 0, 0, 200, 0, 1, 40000, due, due, due + ms // 2, due + ms, due + ms, 0, seq)
            for seq, due in self._due()
        )

    def answer(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        parts = urlsplit(path)
        query = {name: int(values[0]) for name, values in parse_qs(parts.query).items()}
        if self.state == "preflight" and trio.current_time() - self.prepared_s >= 0.3:
            self.state = "ready"
        if self.end_ns is not None and self.state == "running" and now_ns() + self.skew_ns >= self.end_ns:
            self.state = "done"
        match method, parts.path:
            case "GET", "/status":
                return 200, json.dumps(self.status()).encode()
            case "POST", "/prepare":
                self.state, self.plan, self.prepared_s = "preflight", body, trio.current_time()
            case "POST", "/start":
                self.state = "running"
                self.starts.append(body["at_unix_ns"])
            case "POST", "/stop":
                if self.state != "running":
                    return 409, f"stop: the worker is {self.state}, not running".encode()
                self.stops.append(body["at_unix_ns"])
                self.end_ns, self.stopped_by = body["at_unix_ns"], "controller"
            case "GET", "/records":
                raw = self.records()
                return 200, raw[query["offset"] : query["offset"] + query["limit"]]
            case _:
                return 404, b"no such path"
        return 200, b"{}"

    def status(self) -> dict[str, Any]:
        raw = self.records()
        count = len(raw) // RECORD.size
        return {
            "state": self.state,
            "error": self.error,
            "unix_ns": now_ns() + self.skew_ns,
            "due": count,
            "recorded": count,
            "not_sent": 0,
            "bytes": len(raw),
            "pods": ["", "app-1"],
            "streams": [{"ok": count}],
            "stopped_by": self.stopped_by if self.state == "done" else "",
            "sha256": hashlib.sha256(raw).hexdigest() if self.state == "done" else "",
        }


class Desk(LabCluster):
    """A lab in virtual time. verbs: what changed the cluster, as "create Pod" or "delete Namespace", in order."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench.plant.options)
        self.bench = bench
        self.store, self._plant, self.logs_of = bench.store, bench.plant, bench.plant.logs
        self.workers: dict[str, PretendWorker] = {}
        self.faults: list[Fault] = []
        self.verbs: list[str] = []
        self.skew_ns = 0
        self.deaf: set[str] = set()
        """Names of pods that do not answer."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return None

    async def images(self) -> Images:
        return IMAGES

    async def create(self, doc: Manifest) -> Manifest:
        self.verbs.append(f"create {doc['kind']}")
        return await super().create(doc)

    async def patch(self, ref: Ref, patch: dict[str, Any], subresource: str = "") -> Manifest:
        self.verbs.append(f"patch {ref.kind}")
        return await super().patch(ref, patch, subresource)

    async def delete(self, ref: Ref, grace_s: int | None = None) -> bool:
        self.verbs.append(f"delete {ref.kind}")
        return await super().delete(ref, grace_s)

    async def pod_request(
        self, pod: Ref, port: int, method: str, path: str, body: bytes = b"", timeout_s: float = 10.0
    ) -> tuple[int, bytes]:
        await anyio.sleep(0.002)
        found = self.store.get(pod)
        phase = (found.get("status") or {}).get("phase")
        if pod.name in self.deaf or phase != "Running":
            await anyio.sleep(1)
            raise Unreachable(f"{pod} port {port}: no response")
        if port != WORKER_PORT:
            return 200, json.dumps({"served": 7, "preflight": 1}).encode()
        worker = self.workers.get(pod.name)
        if worker is None:
            worker = self.workers[pod.name] = PretendWorker(pod.name)
            worker.skew_ns = self.skew_ns
        for fault in self.faults:
            if (response := fault(worker, method, path)) is not None:
                return response
        return worker.answer(method, path, json.loads(body) if body else {})

    def write_log(self, pod: str, *lines: str) -> None:
        """Append lines to the log of a pod's first container."""
        uid = self.store.get(Ref("Pod", pod, self.namespace_of(pod)))["metadata"]["uid"]
        log = next(each.path for (owner, _), each in self.logs_of._logs.items() if owner == uid)
        with log.open("a") as file:
            file.write("".join(f"{line}\n" for line in lines))

    def namespace_of(self, pod: str) -> str:
        return next(
            str(each["metadata"]["namespace"]) for each in self.store.list("Pod") if each["metadata"]["name"] == pod
        )

    def namespaces(self) -> list[str]:
        return [each["metadata"]["name"] for each in self.store.list("Namespace")]

    def app_pods(self) -> list[str]:
        return [each["metadata"]["name"] for each in self.store.list("Pod", "", {"app": "app"})]


def trial(name: str = "t", workers: int = 2, template: Manifest | None = None, **more: Any) -> Trial:
    """A trial of four replicas at 20 requests/s with workers on the control plane; durations are short."""
    documents = (deployment(4, template or pod_template(container())), service())
    for doc in documents:
        doc["metadata"].pop("namespace")
    plan = TrafficPlan("http://target/", 20.0, (Stream("new"),), timeout_s=2.0)
    given: dict[str, Any] = {"warmup_s": 2.0, "settle_s": 2.0, "app": None, "timeout_s": 60.0} | more
    return Trial(
        name, "poke", (), rate=20.0, replicas=4, setup=Setup(documents), traffic=plan, workers=workers, **given
    )


def scenario(disrupt: Callable[[Stage], Awaitable[None]]) -> Scenario:
    return Scenario("poke", "for tests", disrupt)


class Shown:
    """An observer that remembers what was shown, and may act on a step."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.notes: list[str] = []
        self.done: list[str] = []
        self.on_step: Callable[[str], None] = lambda text: None

    def __call__(self, progress: Progress) -> None:
        text = str(progress.data.get("text", ""))
        if progress.what == "step":
            self.steps.append(text)
            self.on_step(text)
        elif progress.what == "note":
            self.notes.append(text)
        elif progress.what == "trial-done":
            self.done.append(str(progress.data["name"]))


def on_desk(test: Callable[[Desk], Awaitable[None]], **options: Any) -> None:
    """Run a test against a Desk; virtual time jumps when everybody sleeps."""

    async def main(bench: Bench) -> None:
        await test(Desk(bench))

    run(main, **options)


def trial_json(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "trial.json").read_text())
    return found


__all__ = [
    "IMAGES",
    "ClusterError",
    "Desk",
    "Observer",
    "PretendWorker",
    "Shown",
    "now_ns",
    "on_desk",
    "scenario",
    "trial",
    "trial_json",
]
