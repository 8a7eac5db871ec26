"""What runs while a lab is up: nodes with kubelet and proxy, and the controllers, in one task group."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
from anyio.abc import TaskGroup

from hazd.cluster.lab.control.autoscale import Autoscaler
from hazd.cluster.lab.control.deployment import Deployments
from hazd.cluster.lab.control.disruption import Disruption
from hazd.cluster.lab.control.endpoints import Endpoints
from hazd.cluster.lab.control.garbage import Garbage
from hazd.cluster.lab.control.job import Jobs
from hazd.cluster.lab.control.metrics import Metrics
from hazd.cluster.lab.control.nodes import CONTROL_PLANE, Nodes, node_object
from hazd.cluster.lab.control.replicaset import ReplicaSets
from hazd.cluster.lab.control.scheduler import Scheduler
from hazd.cluster.lab.control.vertical import VerticalAutoscaler
from hazd.cluster.lab.machine import Machine, NodeNet
from hazd.cluster.lab.node.kubelet import Kubelet
from hazd.cluster.lab.node.logs import Logs
from hazd.cluster.lab.node.proxy import Proxy
from hazd.cluster.lab.options import LabOptions
from hazd.cluster.lab.store import Store
from hazd.errors import ClusterError


class Plant:
    """The running lab; `tasks` is its owner's and outlives it."""

    def __init__(
        self, store: Store, machine: Machine, options: LabOptions, folder: Path, logs: Logs, tasks: TaskGroup
    ) -> None:
        self.store = store
        self.machine = machine
        self.options = options
        self.folder = folder
        self.logs = logs
        self.tasks = tasks
        self.nets = [
            NodeNet(name, f"172.30.{(n + 2) // 256}.{(n + 2) % 256}", f"10.244.{n}.1", f"10.244.{n}.0/24")
            for n, name in enumerate(options.node_names)
        ]
        self.kubelets: dict[str, Kubelet] = {}
        self.proxies: dict[str, Proxy] = {}
        self.nodes = Nodes(store, options)
        self._power = anyio.Lock()

    async def start(self) -> None:
        """Returns when all nodes are Ready and all loops run."""
        store, options = self.store, self.options
        delay_s = options.controller_delay_s
        metrics = Metrics(store, self.machine, options.metrics_resolution_s)
        loops = [
            Deployments(store, delay_s).loop,
            ReplicaSets(store, delay_s).loop,
            Jobs(store, delay_s).loop,
            Scheduler(store, delay_s, options.seed).loop,
            Endpoints(store, options.endpoint_delay_s).loop,
            Disruption(store, delay_s).loop,
            Garbage(store, delay_s).loop,
            self.nodes.loop,
        ]
        for net in self.nets:
            await self._power_on(net)
        for loop in loops:
            self._start(loop.run)
        for work in (
            self.nodes.run_heartbeats,
            self.nodes.run_monitor,
            metrics.run,
            Autoscaler(store, metrics, options).run,
            VerticalAutoscaler(store, metrics, options).run,
        ):
            self._start(work)

    async def _power_on(self, net: NodeNet) -> None:
        await self.machine.add_node(net, [peer for peer in self.nets if peer is not net])
        if net.name not in {node["metadata"]["name"] for node in self.store.list("Node")}:
            role = CONTROL_PLANE if net is self.nets[0] else ""
            self.store.create(node_object(net, self.options, role))
        self.nodes.beat(net.name)
        proxy = self.proxies[net.name] = Proxy(self.store, self.machine, self.options, net.name)
        kubelet = Kubelet(self.store, self.machine, self.options, net, self.folder, self.logs)
        self.kubelets[net.name] = kubelet
        self._start(proxy.run)
        self._start(kubelet.run)

    def _start(self, work: Callable[[], Awaitable[None]]) -> None:
        self.tasks.start_soon(_guarded, work)

    async def stop_node(self, name: str) -> None:
        """Power off; nothing happens to a node that is off."""
        async with self._power:
            kubelet = self.kubelets.pop(name, None)
            if kubelet is None:
                return
            self.nodes.stop_heartbeat(name)
            self.proxies.pop(name).stop()
            await kubelet.power_off()

    async def start_node(self, name: str) -> None:
        """Power on; the kubelet reports after node_boot_s and restarts what is still bound to it."""
        async with self._power:
            if name in self.kubelets:
                return
            await anyio.sleep(self.options.node_boot_s)
            await self._power_on(next(net for net in self.nets if net.name == name))


async def _guarded(work: Callable[[], Awaitable[None]]) -> None:
    """A loop that fails is a bug: the whole lab ends with its error instead of running without that loop."""
    try:
        await work()
    except Exception as problem:
        words = "".join(traceback.format_exception(problem))
        raise ClusterError(f"a part of the lab failed: {type(problem).__name__}: {problem}", words) from problem
