"""The lab's parameters: every delay that a real cluster has by nature, with its default and where that comes from.

"kind" means measured on kind v1.34.4 with kube-proxy in iptables mode, on a busy machine of two cores; the
rest are constants of Kubernetes 1.34.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from hazd.errors import UsageError

PRELOAD = (
    "hazd.sample_app.app",
    "hazd.traffic.worker",
    "hazd.observe.__main__",
    "hazd.traffic.senders.httpx",
    "hazd.traffic.senders.fast",
    "uvloop",
)
APP_IMAGE, NEXT_IMAGE, WORKER_IMAGE = "hazd-lab/app:a", "hazd-lab/app:b", "hazd-lab/worker"
"""Symbolic: the lab runs commands, not images."""


@dataclass(frozen=True, slots=True)
class LabOptions:
    """All durations in seconds."""

    nodes: int = 3
    """One control plane (tainted NoSchedule), the rest workers; a lab of one node has no taint."""
    name: str = "lab"
    """Nodes are called NAME-control-plane, NAME-worker, NAME-worker2, as kind calls them."""

    node_cpu: int = 16
    """Cores that each node offers to the scheduler; nothing enforces them (the host's cores are shared by all)."""
    node_memory: str = "64Gi"
    """Memory that each node offers to the scheduler."""
    node_pods: int = 250
    """Pods a node takes (Kubernetes' own default is 110; a /24 of addresses ends at 253)."""

    propagation_delay_s: float = 0.0
    """EndpointSlice written -> a node's proxy sees it. Near 0 on a small cluster; seconds on thousands of nodes."""
    endpoint_delay_s: float = 0.1
    """Pod changed -> EndpointSlice written (kind: about 0.1 s after the deletion)."""
    min_sync_period_s: float = 1.0
    """A proxy's rules change at most once per this time, on each node with its own phase (kube-proxy's default)."""
    controller_delay_s: float = 0.03
    """Object changed -> a controller has acted on it: watch, queue and API round trip (kind: 0.02 to 0.1 s)."""
    container_start_s: float = 0.4
    """Pod bound -> its process runs: sandbox, network, image check, start (kind: 0.3 to 0.6 s)."""
    relist_period_s: float = 1.0
    """The kubelet notices that a container started or died at most this much later (genericPlegRelistPeriod)."""
    sandbox_stop_s: float = 0.05
    """Last process ended -> pod IP removed (kind: 13 refused of 300/s over 4 pods, so about 45 ms each)."""
    pod_status_s: float = 0.3
    """Pod IP removed -> its terminal phase is in the API (kind: 0.2 to 0.6 s after the exit)."""
    pod_removal_s: float = 0.5
    """Terminal phase -> the Pod object is removed from the API (kind: 0.3 to 0.6 s)."""
    restart_backoff_s: float = 10.0
    """First CrashLoopBackOff; doubles up to 300 s, forgotten after 600 s of running (kubelet)."""

    node_monitor_grace_s: float = 40.0
    """Last heartbeat -> Ready=Unknown (kube-controller-manager --node-monitor-grace-period)."""
    toleration_s: float = 300.0
    """tolerationSeconds that admission adds for not-ready and unreachable (DefaultTolerationSeconds)."""
    node_boot_s: float = 2.0
    """start_node -> its kubelet reports Ready again."""

    hpa_sync_s: float = 15.0
    """--horizontal-pod-autoscaler-sync-period."""
    hpa_tolerance: float = 0.1
    """--horizontal-pod-autoscaler-tolerance."""
    hpa_downscale_stabilization_s: float = 300.0
    """--horizontal-pod-autoscaler-downscale-stabilization, where the object's behavior does not say."""
    hpa_initial_readiness_s: float = 30.0
    """--horizontal-pod-autoscaler-initial-readiness-delay."""
    hpa_cpu_initialization_s: float = 300.0
    """--horizontal-pod-autoscaler-cpu-initialization-period."""
    metrics_resolution_s: float = 15.0
    """metrics-server --metric-resolution: CPU is the mean over this window."""
    vpa_loop_s: float = 60.0
    """Period of the VPA's recommender and updater (both default to one minute)."""

    preload: tuple[str, ...] = PRELOAD
    """What the process that forks `python3 -m MODULE` containers has imported already: MODULEs, and what they need."""
    worker_nice: int = -10
    """Priority of traffic workers where it may be raised: the instrument must not starve beside what it measures."""
    seed: int = 1
    """Of the phases and of the scheduler's tie-breaks."""

    def __post_init__(self) -> None:
        if not 1 <= self.nodes <= 200:
            raise UsageError(f"lab nodes: {self.nodes} is out of range", "an integer between 1 and 200")
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name.endswith("_s") and not 0 <= value < 1e6:
                raise UsageError(f"lab {each.name}: {value} is out of range", "seconds, 0 or more")

    @property
    def node_names(self) -> tuple[str, ...]:
        workers = (f"{self.name}-worker{n if n > 1 else ''}" for n in range(1, self.nodes))
        return (f"{self.name}-control-plane", *workers)


def parse_options(text: str) -> dict[str, Any]:
    """ "node_monitor_grace_s=5,hpa_sync_s=2": numbers by the names of LabOptions. Raises UsageError."""
    known = {each.name for each in fields(LabOptions) if isinstance(each.default, int | float)}
    found: dict[str, Any] = {}
    for pair in filter(None, text.split(",")):
        name, _, value = pair.partition("=")
        if name not in known:
            raise UsageError(
                f"--cluster: 'lab:{pair}': there is no option {name}", f"one of {', '.join(sorted(known))}"
            )
        kind = int if isinstance(LabOptions.__dataclass_fields__[name].default, int) else float
        try:
            found[name] = kind(value)
        except ValueError:
            example = "lab:nodes=4" if kind is int else "lab:hpa_sync_s=5"
            raise UsageError(f"--cluster: 'lab:{pair}' is not OPTION=NUMBER", f"such as {example}") from None
    try:
        LabOptions(**found)
    except UsageError as error:
        raise UsageError(f"--cluster: 'lab:{text}': {error.message}", error.hint) from None
    return found
