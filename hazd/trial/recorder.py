"""Everything that is written down beside the samples: watches, the app's own log, and what the stage did.

One Recorder a trial; it owns the background tasks that listen, and knows from what they heard how the pods stand.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import anyio
from anyio.abc import TaskGroup

from hazd.clock import measure_offset, unix_ns
from hazd.cluster.port import Cluster
from hazd.errors import HazdError
from hazd.journal import TrialWriter
from hazd.manifests.check import selects
from hazd.manifests.conditions import is_deleting, is_ready
from hazd.model import Event, Observer, Progress, Ref
from hazd.trial.watches import Watches

WATCHED = ("Pod", "EndpointSlice", "Deployment", "Event", "PodDisruptionBudget", "HorizontalPodAutoscaler")
APP_PORT = 8080
CLOCK_TRIES = 10
"""A log line may come before the API knows the pod's address."""


class Recorder:
    """Listens from open() until the trial's task group is cancelled.

    labels: those by which the workload selects its pods. sample: they run hazd's sample app, so that their logs and
    their counts are read. container: the one that serves, "" for the pods' first.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        writer: TrialWriter,
        observer: Observer,
        labels: Mapping[str, str],
        *,
        sample: bool,
        now_ns: Callable[[], int] = unix_ns,
        container: str = "",
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._writer = writer
        self._observer = observer
        self._labels = labels
        self.sample = sample
        self._now_ns = now_ns
        self._container = container
        self._followed: set[str] = set()
        self._following = 0
        self.watches = Watches()
        self.pods: dict[str, dict[str, Any]] = {}
        self.served: dict[str, dict[str, Any]] = {}

    def add(self, event: Event) -> None:
        """Write one event down and show it when a person would want to know."""
        self._writer.add_event(event)
        if event.source in ("stage", "hazd"):
            self._observer(Progress("event", {"text": str(event.detail.get("text", event.reason))}))

    def note(self, reason: str, text: str) -> None:
        self.add(Event(self._now_ns(), "hazd", Ref("Namespace", self._namespace), reason, detail={"text": text}))

    async def open(self, tasks: TaskGroup) -> None:
        """Start listening; returns once every watch has shown its first state."""
        for kind in WATCHED:
            await tasks.start(self._listen, kind, self._namespace, tasks)
        await tasks.start(self._listen, "Node", "", tasks)

    async def _listen(
        self, kind: str, namespace: str, tasks: TaskGroup, *, task_status: anyio.abc.TaskStatus[None]
    ) -> None:
        try:
            async with self._cluster.watch(kind, namespace) as events:
                self.watches.opened(kind, namespace)
                task_status.started()
                async for event in events:
                    self._writer.add_event(event)
                    self.watches.add(kind, event)
                    if kind == "Pod" and event.reason != "GAP":
                        self._pod(event, tasks)
                    elif kind == "Deployment" and event.reason != "GAP":
                        self._deployment(event)
        except HazdError as error:
            self.note("watch-lost", f"the watch of {kind} ended: {error.message}")
            self._writer.add_event(
                Event(self._now_ns(), "watch", Ref(kind, "", namespace), "GAP", detail={"error": error.message})
            )

    def _pod(self, event: Event, tasks: TaskGroup) -> None:
        name = event.ref.name
        if not selects(self._labels, event.detail.get("labels")):
            return
        if event.reason == "DELETED":
            self.pods.pop(name, None)
        else:
            self.pods[name] = dict(event.detail)
            if self.sample and name not in self._followed:
                self._followed.add(name)
                tasks.start_soon(self._follow, event.ref, tasks)
        self._observer(Progress("pods", self.pod_states()))

    def _deployment(self, event: Event) -> None:
        status, spec = event.detail.get("status") or {}, event.detail.get("spec") or {}
        self._observer(
            Progress(
                "rollout",
                {
                    "updated": status.get("updatedReplicas", 0),
                    "available": status.get("availableReplicas", 0),
                    "desired": spec.get("replicas", event.detail.get("replicas", 0)) or 0,
                },
            )
        )

    def pod_states(self) -> dict[str, int]:
        """Count of the workload's pods by state: ready, starting, terminating."""
        states = {"ready": 0, "starting": 0, "terminating": 0}
        for pod in self.pods.values():
            if is_deleting(pod):
                states["terminating"] += 1
            elif is_ready(pod):
                states["ready"] += 1
            else:
                states["starting"] += 1
        return states

    @property
    def terminating(self) -> int:
        return self.pod_states()["terminating"]

    async def _follow(self, pod: Ref, tasks: TaskGroup) -> None:
        """Turn the sample app's life log into events."""
        self._following += 1
        try:
            async with self._cluster.logs(pod, self._container) as lines:
                async for line in lines:
                    if self._line(pod, line) == "listening":
                        tasks.start_soon(self._measure_clock, pod, CLOCK_TRIES)
        except HazdError as error:
            self._writer.add_event(
                Event(self._now_ns(), "hazd", pod, "log-lost", detail={"text": f"log of {pod.name}: {error.message}"})
            )
        finally:
            self._following -= 1

    def _line(self, pod: Ref, line: str) -> str:
        """Write a line of the life log down; what happened, "" for any other line."""
        if not line.startswith("{"):
            return ""
        try:
            fields = json.loads(line)
            stated_ns, reason = int(fields["t_ns"]), str(fields["event"])
        except (ValueError, KeyError, TypeError):
            return ""
        self._writer.add_event(Event(self._now_ns(), "app", pod, reason, stated_ns, fields))
        counts = self.served.setdefault(pod.name, {"served": 0, "preflight": 0, "final": False})
        counts["served"] = max(counts["served"], int(fields.get("served", 0)))
        counts["preflight"] = max(counts["preflight"], int(fields.get("preflight", 0)))
        counts["final"] = counts["final"] or reason == "exit"
        return reason

    async def _measure_clock(self, pod: Ref, tries: int = 1) -> None:
        """The pod's clock beside ours, as a worker's is measured; nothing is written of a pod that does not respond."""

        async def read_ns() -> int:
            _, raw = await self._cluster.pod_request(pod, APP_PORT, "GET", "/stats", timeout_s=3)
            return int(json.loads(raw)["t_ns"])

        for attempt in range(tries):
            try:
                offset_ns, uncertainty_ns = await measure_offset(read_ns, self._now_ns)
            except (HazdError, ValueError, KeyError, TypeError):
                if attempt + 1 < tries:
                    await anyio.sleep(0.3)
            else:
                detail = {"offset_ns": offset_ns, "uncertainty_ns": uncertainty_ns}
                self._writer.add_event(Event(self._now_ns(), "hazd", pod, "clock", detail=detail))
                return

    async def finish_logs(self, timeout_s: float = 5.0) -> None:
        """Give the logs of pods that are gone a moment to end, and ask the living ones for their counts."""
        with anyio.move_on_after(timeout_s):
            while self._following > len(self.pods):
                await anyio.sleep(0.05)
        for name in list(self.pods):
            ref = Ref("Pod", name, self._namespace)
            await self._measure_clock(ref)
            try:
                code, raw = await self._cluster.pod_request(ref, APP_PORT, "GET", "/stats", timeout_s=3)
                fields = json.loads(raw) if code == 200 else {}
            except (HazdError, ValueError):
                continue
            if isinstance(fields, dict) and "served" in fields:
                self.served[name] = {
                    "served": int(fields["served"]),
                    "preflight": int(fields.get("preflight", 0)),
                    "final": True,
                }


__all__ = ["Recorder"]
