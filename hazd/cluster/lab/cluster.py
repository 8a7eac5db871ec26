"""LabCluster: the port's verbs over the lab's store, its control loops and its machine.

Objects are copied at this border, in and out; below it they are shared. Everything runs in one task group that lives
from __aenter__ to __aexit__; a control loop that fails ends the lab with its error instead of leaving it half alive.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import asdict, replace
from types import TracebackType
from typing import Any, Self

import anyio

from hazd.cluster.lab import state
from hazd.cluster.lab.admission import Rules
from hazd.cluster.lab.control.disruption import evict
from hazd.cluster.lab.http import Request
from hazd.cluster.lab.kinds import kind_of
from hazd.cluster.lab.linux_machine import LinuxMachine
from hazd.cluster.lab.node.logs import Logs, follow
from hazd.cluster.lab.objects import parse_selector
from hazd.cluster.lab.options import APP_IMAGE, NEXT_IMAGE, WORKER_IMAGE, LabOptions
from hazd.cluster.lab.plant import Plant
from hazd.cluster.lab.store import Change, Store
from hazd.cluster.port import Eviction, Images
from hazd.cluster.watch import watch_event
from hazd.errors import ClusterError, EnvironmentProblem, NotFound
from hazd.model import ClusterInfo, Event, Manifest, Ref

NOTE = (
    "an emulation: network namespaces, nftables and real processes of one machine; the control plane is hazd's own, "
    "with delays measured on kind"
)


def _copy(obj: Manifest) -> Manifest:
    return json.loads(json.dumps(obj))  # type: ignore[no-any-return]


class LabCluster:
    """One lab, entered once. Raises EnvironmentProblem on entry where this machine cannot have one.

    changes: fields of LabOptions that differ from `options`, or from its defaults.
    """

    def __init__(self, options: LabOptions | None = None, **changes: Any) -> None:
        self.options = replace(options or LabOptions(), **changes)
        self.store = Store(seed=self.options.seed, rules=Rules(self.options.toleration_s))
        self.logs_of = Logs()
        self._stack = AsyncExitStack()
        self._plant: Plant | None = None

    @property
    def info(self) -> ClusterInfo:
        words = json.dumps(asdict(self.options), sort_keys=True, default=str)
        uid = hashlib.sha256(words.encode()).hexdigest()[:12]
        return ClusterInfo("lab", self.options.name, "lab", self.options.nodes, "nftables (emulated)", NOTE, uid)

    @property
    def plant(self) -> Plant:
        """The running part. Raises ClusterError outside of `async with`."""
        if self._plant is None:
            raise ClusterError("the lab is not running", "use it inside `async with`")
        return self._plant

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            folder = state.make()
            stack.callback(state.remove, folder)
            machine = await stack.enter_async_context(LinuxMachine(folder, self.options.preload))
            state.write_owner(folder, machine.process.pid if machine.process else None)
            tasks = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(tasks.cancel_scope.cancel)
            tasks.start_soon(machine.listen)
            self._plant = Plant(self.store, machine, self.options, folder, self.logs_of, tasks)
            try:
                await self._plant.start()
            except OSError as problem:
                words = f"this machine refuses a part of the lab: {problem}"
                raise EnvironmentProblem(words, "the kernel needs veth, bridge and nf_tables with NAT") from problem
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self._plant = None
        cancelled = isinstance(error, anyio.get_cancelled_exc_class())
        try:
            # Only a cancellation is the task group's affair; it would wrap any other error in a group.
            if cancelled:
                return await self._stack.__aexit__(kind, error, trace)
            await self._stack.__aexit__(None, None, None)
        except BaseExceptionGroup as group:
            failures = [each for each in group.exceptions if isinstance(each, ClusterError)]
            if failures:  # a part of the lab failed and everything else was cancelled for it
                raise failures[0] from group
            raise
        return None

    async def provide(self, need: str) -> str:
        """Nodes can be stopped, and the autoscalers measure the pods' processes themselves."""
        return "" if need in ("stop-node", "metrics", "vpa") else f"the lab knows no need {need!r}"

    async def images(self) -> Images:
        return Images(APP_IMAGE, NEXT_IMAGE, WORKER_IMAGE)

    async def create(self, doc: Manifest) -> Manifest:
        await anyio.lowlevel.checkpoint()
        return _copy(self.store.create(_copy(doc)))

    async def get(self, ref: Ref) -> Manifest:
        await anyio.lowlevel.checkpoint()
        return _copy(self.store.get(ref))

    async def list(self, kind: str, namespace: str = "", selector: str = "") -> list[Manifest]:
        await anyio.lowlevel.checkpoint()
        try:
            wanted = parse_selector(selector)
        except ValueError as problem:
            raise ClusterError(str(problem)) from None
        return [_copy(obj) for obj in self.store.list(kind, namespace, wanted)]

    async def patch(self, ref: Ref, patch: dict[str, Any], subresource: str = "") -> Manifest:
        await anyio.lowlevel.checkpoint()
        if subresource == "scale":
            replicas = (patch.get("spec") or {}).get("replicas")
            if ref.kind not in ("Deployment", "ReplicaSet") or replicas is None:
                raise ClusterError(f"{ref}: the scale subresource takes spec.replicas of a Deployment or ReplicaSet")
            changed = self.store.patch(ref, {"spec": {"replicas": replicas}})
            selector = ",".join(f"{k}={v}" for k, v in (changed["spec"]["selector"].get("matchLabels") or {}).items())
            meta = {key: changed["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion")}
            status = {"replicas": (changed.get("status") or {}).get("replicas", 0), "selector": selector}
            scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": meta}
            return _copy({**scale, "spec": {"replicas": changed["spec"]["replicas"]}, "status": status})
        return _copy(self.store.patch(ref, _copy(patch), subresource))

    async def delete(self, ref: Ref, grace_s: int | None = None) -> bool:
        await anyio.lowlevel.checkpoint()
        return self.store.delete(ref, grace_s)

    async def evict(self, pod: Ref, grace_s: int | None = None) -> Eviction:
        await anyio.lowlevel.checkpoint()
        return evict(self.store, pod, grace_s)

    @asynccontextmanager
    async def watch(self, kind: str, namespace: str) -> AsyncGenerator[AsyncIterator[Event]]:
        kind_of(kind)
        waiting: deque[Event] = deque()
        more = anyio.Event()

        def on_change(change: Change) -> None:
            obj = change.obj
            if obj["kind"] == kind and (not namespace or obj["metadata"].get("namespace") == namespace):
                waiting.append(watch_event(obj, change.what, change.at_ns))
                more.set()

        async def events() -> AsyncGenerator[Event]:
            nonlocal more
            while True:
                if not waiting:
                    await more.wait()
                    more = anyio.Event()
                while waiting:
                    yield waiting.popleft()
                    await anyio.lowlevel.checkpoint()

        begun = self.store.now()
        waiting.extend(watch_event(obj, "ADDED", begun) for obj in self.store.list(kind, namespace))
        stop = self.store.on_change(on_change)
        try:
            async with aclosing(events()) as stream:
                yield stream
        finally:
            stop()

    @asynccontextmanager
    async def logs(self, pod: Ref, container: str = "") -> AsyncGenerator[AsyncIterator[str]]:
        obj = self.store.get(pod)
        names = [each["name"] for each in (*obj["spec"]["containers"], *(obj["spec"].get("initContainers") or ()))]
        if container and container not in names:
            raise NotFound(f'container "{container}" of pod "{pod.name}" not found')

        async def lines() -> AsyncGenerator[str]:
            uid = obj["metadata"]["uid"]
            while (log := self.logs_of.find(uid, container or names[0])) is None:
                current = self.store.find(pod)
                if current is None or current["metadata"]["uid"] != uid:
                    return  # it went before it had started
                await self.logs_of.changed()
            async with aclosing(follow(log)) as stream:
                async for line in stream:
                    yield line

        async with aclosing(lines()) as stream:
            yield stream

    async def pod_request(
        self, pod: Ref, port: int, method: str, path: str, body: bytes = b"", timeout_s: float = 10.0
    ) -> tuple[int, bytes]:
        obj = self.store.get(pod)
        address = (obj.get("status") or {}).get("podIP")
        if not address or not obj["spec"].get("nodeName"):
            raise ClusterError(f"{pod} has no address yet")
        request = Request(port, path, method, body=body)
        try:
            return await self.plant.machine.request(obj["spec"]["nodeName"], address, request, timeout_s)
        except TimeoutError:
            raise ClusterError(f"{pod} port {port}: no response in {timeout_s:g} s") from None
        except OSError as problem:
            raise ClusterError(f"{pod} port {port}: {problem.strerror or problem}") from problem

    async def stop_node(self, name: str) -> None:
        self._check_node(name)
        await self.plant.stop_node(name)

    async def start_node(self, name: str) -> None:
        self._check_node(name)
        await self.plant.start_node(name)

    def _check_node(self, name: str) -> None:
        if self.store.find(Ref("Node", name)) is None:
            raise ClusterError(f'nodes "{name}" not found', f"nodes: {', '.join(self.options.node_names)}")


__all__ = ["LabCluster"]
