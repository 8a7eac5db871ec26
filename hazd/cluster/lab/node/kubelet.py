"""The kubelet of one node: runs the pods bound to it, gives them addresses and takes those back.

Source: pkg/kubelet/kubelet.go (HandlePodAdditions, HandlePodRemoves) of Kubernetes 1.34; addresses are allocated one
after the other and round again, as the CNI plugin host-local does.
"""

from __future__ import annotations

import ipaddress
import os
import random
import signal
from pathlib import Path

import anyio
from anyio.abc import TaskGroup

import hazd
from hazd.cluster.lab.machine import Machine, NodeNet
from hazd.cluster.lab.node.context import NodeContext
from hazd.cluster.lab.node.logs import Logs
from hazd.cluster.lab.node.pod import PodWorker
from hazd.cluster.lab.objects import is_terminal
from hazd.cluster.lab.options import LabOptions
from hazd.cluster.lab.store import Change, Store
from hazd.model import Manifest


class Kubelet:
    """One node's; a node that is started again gets a new one."""

    tasks: TaskGroup

    def __init__(
        self, store: Store, machine: Machine, options: LabOptions, net: NodeNet, folder: Path, logs: Logs
    ) -> None:
        self.store = store
        self.machine = machine
        self.net = net
        phase_s = random.Random(f"{options.seed}/relist/{net.name}").random() * options.relist_period_s
        path = filter(None, [str(Path(hazd.__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
        python_path = {"PYTHONPATH": os.pathsep.join(path)}
        self.node = NodeContext(store, machine, options, net, folder, logs, phase_s, python_path)
        self.workers: dict[str, PodWorker] = {}
        self._hosts = [str(host) for host in ipaddress.ip_network(net.subnet).hosts()][1:]
        self._next_host = 0
        self._taken: set[str] = set()
        self._scope = anyio.CancelScope()

    async def run(self) -> None:
        """Until cancelled or `stop`ped. Processes are left to the caller to kill."""
        with self._scope:
            async with anyio.create_task_group() as self.tasks:
                stop = self.store.on_change(self._on_change)
                try:
                    for pod in self.store.list("Pod"):
                        self._on_change(Change("ADDED", pod, None, self.store.now()))
                    await anyio.sleep_forever()
                finally:
                    stop()

    async def power_off(self) -> None:
        """Disconnect, stop the kubelet, kill what ran, in this order: nothing more is heard of them."""
        await self.machine.cut(self.net.name)
        for worker in self.workers.values():
            worker.halt()
        self._scope.cancel()
        for worker in self.workers.values():
            for container in worker.containers:
                await self.machine.kill(container.ident, signal.SIGKILL)
        await self.machine.remove_node(self.net.name)

    def _on_change(self, change: Change) -> None:
        pod = change.obj
        if pod["kind"] != "Pod" or pod["spec"].get("nodeName") != self.net.name:
            return
        uid = pod["metadata"]["uid"]
        worker = self.workers.get(uid)
        if change.what == "DELETED":
            self.node.logs.forget()
            if worker is not None:
                worker.remove()
        elif worker is not None:
            worker.update(pod)
        elif not is_terminal(pod):
            self._admit(pod)

    def _admit(self, pod: Manifest) -> None:
        worker = self.workers[pod["metadata"]["uid"]] = PodWorker(self.node, self, self.tasks, pod)
        worker.update(pod)
        self.tasks.start_soon(self._run, worker)

    async def _run(self, worker: PodWorker) -> None:
        await worker.run()
        if worker.removed or self.store.find(worker.ref) is None:
            self.workers.pop(worker.uid, None)

    async def attach(self, uid: str) -> str:
        """Implements PodNetwork."""
        for _ in self._hosts:
            address = self._hosts[self._next_host]
            self._next_host = (self._next_host + 1) % len(self._hosts)
            if address not in self._taken:
                break
        else:
            raise OSError(0, f"no address left in {self.net.subnet}")
        self._taken.add(address)
        try:
            await self.machine.add_pod(uid, self.net, address)
        except OSError:
            self._taken.discard(address)
            raise
        return address

    async def release(self, uid: str, address: str) -> None:
        """Implements PodNetwork."""
        await self.machine.remove_pod(uid)
        self._taken.discard(address)
