"""PURE: the state of one container as its kubelet knows it, and how a pod's status reports it.

Source: API reference of core/v1 ContainerStatus; pkg/kubelet/status/generate.go and kubelet_pods.go (getPhase) of
Kubernetes 1.34.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hazd.cluster.lab.objects import with_condition
from hazd.model import Manifest

WAITING = {"waiting": {"reason": "ContainerCreating"}}


@dataclass(slots=True)
class Container:
    """state is what is true, seen is what the kubelet's last relist found; both as the API writes a state.

    passed: whether readiness is granted (None: there is no probe, or it has not spoken). started: see startupProbe.
    """

    spec: Manifest
    init: bool = False
    run: int = 0
    ident: str = ""
    state: Manifest = field(default_factory=lambda: dict(WAITING))
    seen: Manifest = field(default_factory=lambda: dict(WAITING))
    seen_ident: str = ""
    last: Manifest = field(default_factory=dict)
    passed: bool | None = None
    started: bool = False
    resources: Manifest = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.spec["name"])

    @property
    def running(self) -> bool:
        """Known to run: what probes go by."""
        return "running" in self.seen

    @property
    def ready(self) -> bool:
        if self.init:
            return bool(self.seen.get("terminated", {}).get("exitCode") == 0)
        return self.running and self.started and (self.passed is True or "readinessProbe" not in self.spec)

    def begin(self, ident: str, resources: Manifest) -> None:
        """A new run is being started; what the last one's end was is remembered."""
        self.run += 1
        self.ident, self.resources = ident, resources
        self.passed, self.started = None, False
        if "terminated" in self.state:
            self.last = self.state

    def note_end(self, code: int, signal: int, now: str) -> None:
        """The process has ended (exit code as a shell reports it). now: RFC 3339."""
        terminated: Manifest = {"exitCode": code, "reason": "Error" if code else "Completed", "finishedAt": now}
        if signal:
            terminated["signal"] = signal
        terminated["startedAt"] = self.state.get("running", {}).get("startedAt", now)
        terminated["containerID"] = f"lab://{self.ident}"
        self.state = {"terminated": terminated}

    def note_failure(self, reason: str, words: str, now: str) -> None:
        """The process could not be started."""
        terminated = {"exitCode": 128, "reason": reason, "message": words, "startedAt": now, "finishedAt": now}
        self.state = {"terminated": terminated}

    def resize(self, wanted: Manifest) -> bool:
        """Take new resources over; True when the resize policy of one that changed wants a restart."""
        before, self.resources = self.resources, wanted

        def value(of: Manifest, part: str, name: str) -> object:
            return (of.get(part) or {}).get(name)

        return any(
            each["restartPolicy"] == "RestartContainer"
            and any(
                value(before, part, each["resourceName"]) != value(wanted, part, each["resourceName"])
                for part in ("requests", "limits")
            )
            for each in self.spec.get("resizePolicy") or ()
        )

    def status(self) -> Manifest:
        """core/v1 ContainerStatus."""
        status: Manifest = {
            "name": self.name,
            "image": self.spec["image"],
            "imageID": f"lab://{self.spec['image']}",
            "state": self.seen,
            "lastState": self.last,
            "ready": self.ready,
            "started": self.running and self.started,
            "restartCount": max(0, self.run - 1),
        }
        if self.seen_ident:
            status["containerID"] = f"lab://{self.seen_ident}"
        if self.resources:
            status["resources"] = self.resources
            status["allocatedResources"] = self.resources.get("requests", {})
        return status


def phase(pod: Manifest, containers: list[Container], over: bool) -> str:
    """Pending, Running, Succeeded or Failed. over: no container will run again."""
    mains = [each for each in containers if not each.init]
    if over:
        codes = [
            each.state.get("terminated", {}).get("exitCode", 137) for each in containers if each.run or not each.init
        ]
        return "Succeeded" if codes and not any(codes) else "Failed"
    for each in containers:
        if each.init and not each.ready:
            return "Pending"
    if any("waiting" in each.seen and not each.last for each in mains):
        return "Pending"
    return "Running"


def pod_status(
    pod: Manifest, containers: list[Container], *, ip: str, host_ip: str, over: bool, now: str, start: str
) -> Manifest:
    """core/v1 PodStatus; conditions that others set are kept. now, start: RFC 3339."""
    before = pod.get("status") or {}
    mains = [each for each in containers if not each.init]
    inits = [each for each in containers if each.init]
    status: dict[str, Any] = {key: before[key] for key in ("qosClass", "resize") if key in before}
    status["phase"] = phase(pod, containers, over)
    conditions = before.get("conditions") or []
    sandbox = bool(ip) and not over

    def set_to(kind: str, good: bool, reason: str = "", message: str = "") -> None:
        nonlocal conditions
        words = ("", "") if good else (reason, message)
        conditions = with_condition(conditions, kind, "True" if good else "False", *words, now)

    set_to("PodReadyToStartContainers", sandbox)
    waiting = [each.name for each in inits if not each.ready]
    set_to(
        "Initialized",
        not waiting,
        "ContainersNotInitialized",
        f"containers with incomplete status: [{' '.join(waiting)}]",
    )
    unready = [each.name for each in mains if not each.ready]
    if over:
        reason = "PodCompleted" if status["phase"] == "Succeeded" else "PodFailed"
        set_to("ContainersReady", False, reason)
        set_to("Ready", False, reason)
    else:
        message = f"containers with unready status: [{' '.join(unready)}]"
        set_to("ContainersReady", not unready, "ContainersNotReady", message)
        set_to("Ready", not unready, "ContainersNotReady", message)
    set_to("PodScheduled", True)
    status["conditions"] = conditions
    status["hostIP"], status["hostIPs"], status["startTime"] = host_ip, [{"ip": host_ip}], start
    if ip:
        status["podIP"], status["podIPs"] = ip, [{"ip": ip}]
    if inits:
        status["initContainerStatuses"] = [each.status() for each in inits]
    status["containerStatuses"] = [each.status() for each in mains]
    return status
