"""One pod on one node, from its sandbox to its removal: start, restarts, probes, preStop, SIGTERM, grace, SIGKILL.

Source: pkg/kubelet/pod_workers.go, kubelet.go (SyncTerminatingPod, SyncTerminatedPod) and kuberuntime_container.go
(killContainer) of Kubernetes 1.34. The kubelet learns of a container's start or end at its next relist only; it learns
of probes' results, deletions and what it did itself at once.
"""

from __future__ import annotations

import contextlib
import math
import signal

import anyio
from anyio.abc import TaskGroup

from hazd.cluster.lab.machine import Exit, MachineEnded
from hazd.cluster.lab.node import environment, hooks, runtime
from hazd.cluster.lab.node.commands import command_of, target_of
from hazd.cluster.lab.node.context import NodeContext, PodNetwork
from hazd.cluster.lab.node.probes import KINDS, Probe
from hazd.cluster.lab.node.runtime import Container
from hazd.cluster.watch import ref_of
from hazd.errors import NotFound
from hazd.model import Manifest, Ref

MINIMUM_GRACE_S = 2
"""Whatever preStop took: so long a container has between SIGTERM and SIGKILL (minimumGracePeriodInSeconds)."""
LONGEST_BACKOFF_S, BACKOFF_FORGOTTEN_S = 300.0, 600.0


class PodWorker:
    """Runs one pod. `run` returns when nothing of it is left on the node."""

    def __init__(self, node: NodeContext, network: PodNetwork, tasks: TaskGroup, pod: Manifest) -> None:
        """tasks: the kubelet's, which outlives the pod."""
        self.node, self.network, self.tasks = node, network, tasks
        self.store, self.machine, self.options = node.store, node.machine, node.options
        self.pod = pod
        self.uid: str = pod["metadata"]["uid"]
        self.ref: Ref = ref_of(pod)
        spec = pod["spec"]
        self.containers = [Container(each, init=True) for each in spec.get("initContainers") or ()]
        self.containers += [Container(each) for each in spec["containers"]]
        self.ip = ""
        self.place = node.net.name if spec.get("hostNetwork") else self.uid
        self.start = (pod.get("status") or {}).get("startTime") or self.store.time()
        for known in (pod.get("status") or {}).get("containerStatuses") or ():  # the node was rebooted: it restarts
            for container in self.containers:
                if container.name == known["name"] and ("containerID" in known or known["restartCount"]):
                    container.run = known["restartCount"] + 1
        self.over = False
        self.removed = False
        self._exits: dict[str, Exit] = {}
        self._probes: list[Probe] = []
        self._stop = anyio.Event()
        self._grace_s: int | None = None
        self._killing: anyio.CancelScope | None = None
        self._stopping = self._ended = False

    # -- what the API says --------------------------------------------------------------------------------------------
    def update(self, pod: Manifest) -> None:
        """The pod's object changed."""
        self.pod = pod
        meta = pod["metadata"]
        if "deletionTimestamp" in meta:
            self._end(meta["deletionGracePeriodSeconds"])
        elif any(each.resources != self._wanted_resources(each) for each in self.containers if each.resources):
            self.tasks.start_soon(self._resize)

    def remove(self) -> None:
        """The pod's object is deleted (force deletion): what still runs gets one second, as the kubelet gives."""
        self.removed = True
        self._end(0)

    def halt(self) -> None:
        """Power off: what is just being started must not keep running."""
        self._stopping = self._ended = True

    def _end(self, grace_s: int) -> None:
        """The grace can only become shorter (calculateEffectiveGracePeriod); at least one second is always given."""
        grace_s = max(1, grace_s)
        if self._grace_s is not None and grace_s >= self._grace_s:
            return
        self._grace_s = grace_s
        self._stop.set()
        if self._killing is not None:
            self._killing.cancel()

    def _wanted_resources(self, container: Container) -> Manifest:
        named = [each for each in self.pod["spec"]["containers"] if each["name"] == container.name]
        return (named[0].get("resources") or {}) if named else {}

    # -- the pod's life -----------------------------------------------------------------------------------------------
    async def run(self) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._bring_up, tasks)
            await self._stop.wait()
            await self._terminate()
            tasks.cancel_scope.cancel()
        self._ended = True
        for container in self.containers:
            container.seen = container.state
        with anyio.CancelScope(shield=True), contextlib.suppress(MachineEnded):
            await anyio.sleep(self.options.sandbox_stop_s)
            if self.place == self.uid:
                await self.network.release(self.uid, self.ip)
        await anyio.sleep(self.options.pod_status_s)
        self.over = True
        self.publish()
        if not self.removed and self._grace_s is not None:
            await anyio.sleep(self.options.pod_removal_s)
            self.store.delete(self.ref, 0, uid=self.uid)

    async def _bring_up(self, tasks: TaskGroup) -> None:
        self.publish()
        for container in self.containers:
            for kind in KINDS:
                if container.spec.get(kind) and not container.init:
                    self._start_probe(tasks, container, kind)
        await anyio.sleep(self.options.container_start_s)
        try:
            with anyio.CancelScope(shield=True), contextlib.suppress(MachineEnded):
                self.ip = self.node.net.address if self.place != self.uid else await self.network.attach(self.uid)
        except OSError as problem:
            self.say("Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {problem}")
            return
        for container in self.containers:
            if container.init and not await self._run_to_completion(container):
                return
        for container in self.containers:
            if not container.init:
                tasks.start_soon(self._keep_running, container)

    def _start_probe(self, tasks: TaskGroup, container: Container, kind: str) -> None:
        def target() -> hooks.Target:
            return self._target(container)

        def say(of: Container, words: str) -> None:
            self.say("Warning", "Unhealthy", words, of)

        probe = Probe(self.machine, kind, container, target, self.store.now_s, self._probed, say)
        self._probes.append(probe)
        tasks.start_soon(probe.run)

    async def _run_to_completion(self, container: Container) -> bool:
        """An init container: retried until it succeeds, unless the pod says Never."""
        policy = self.pod["spec"]["restartPolicy"]
        await self._keep_running(container, until_success=True)
        if container.ready:
            return True
        if policy == "Never":
            self._stop.set()
        return False

    async def _keep_running(self, container: Container, until_success: bool = False) -> None:
        """Start it, and start it again as the restart policy says, until the pod is stopped."""
        policy = self.pod["spec"]["restartPolicy"]
        backoff_s = 0.0
        while not self._stopping:
            begun = anyio.current_time()
            await self._start_container(container)
            ended = self._exits.get(container.ident)
            if ended is not None:
                await ended.done.wait()
                container.note_end(ended.code, ended.signal, self.store.time())
            await self._relist()
            code = container.state.get("terminated", {}).get("exitCode", 1)
            if policy == "Never" or (code == 0 and (policy == "OnFailure" or until_success)):
                self._perhaps_finished()
                return
            if anyio.current_time() - begun > BACKOFF_FORGOTTEN_S:
                backoff_s = 0.0
            if backoff_s:
                container.last = container.state
                container.seen = {"waiting": {"reason": "CrashLoopBackOff", "message": f"back-off {backoff_s:.0f}s"}}
                self.say("Warning", "BackOff", f"Back-off restarting failed container {container.name}", container)
                self.publish()
                await anyio.sleep(backoff_s)
            backoff_s = min(LONGEST_BACKOFF_S, 2 * backoff_s or self.options.restart_backoff_s)

    def _perhaps_finished(self) -> None:
        """A pod whose containers have all ended for good is over, deleted or not."""
        mains = [each for each in self.containers if not each.init]
        if all("terminated" in each.state for each in mains):
            self._stop.set()

    # -- containers ---------------------------------------------------------------------------------------------------
    async def _start_container(self, container: Container) -> None:
        container.begin(f"{self.uid}/{container.name}/{container.run + 1}", self._wanted_resources(container))
        try:
            command = command_of(self.node, self.pod, container, self.place, self.ip)
            with anyio.CancelScope(shield=True):  # a process that is being started must become known
                ended = await self.machine.run(command)
                self._exits[container.ident] = ended
                if self._stopping:
                    await self.machine.kill(container.ident, signal.SIGKILL)
        except MachineEnded:
            return
        except (environment.ConfigProblem, OSError) as problem:
            words = str(getattr(problem, "strerror", None) or problem)
            reason = "StartError" if isinstance(problem, OSError) else "CreateContainerConfigError"
            container.note_failure(reason, words, self.store.time())
            self.say("Warning", "Failed", f"Error: {words}", container)
            return
        self.node.logs.note(self.uid, container.name, command.log, ended)
        container.state = {"running": {"startedAt": self.store.time()}}
        self.say("Normal", "Started", f"Started container {container.name}", container)
        self.tasks.start_soon(self._relist)

    def _target(self, container: Container) -> hooks.Target:
        return target_of(self.node, self.pod, container, self.place, self.ip)

    async def _relist(self) -> None:
        """At the node's next relist the kubelet sees the containers as they are, and says so."""
        period_s = self.options.relist_period_s
        if period_s:
            since = anyio.current_time() - self.node.phase_s
            await anyio.sleep(math.ceil(since / period_s) * period_s - since)
        for container in self.containers:
            container.seen, container.seen_ident = container.state, container.ident
            if container.running and "startupProbe" not in container.spec:
                container.started = True
        if not self._ended:
            self.publish()

    async def _resize(self) -> None:
        """KEP-1287: the kubelet takes new resources over at its next sync, with or without a restart."""
        await self._relist()
        for container in self.containers:
            wanted = self._wanted_resources(container)
            if not container.resources or container.resources == wanted:
                continue
            if container.resize(wanted):
                await self._kill(container, self._own_grace_s(), "Container resize requires restart")
        self.publish()

    def _own_grace_s(self) -> int:
        return int(self.pod["spec"]["terminationGracePeriodSeconds"])

    # -- probes -------------------------------------------------------------------------------------------------------
    async def _probed(self, container: Container, kind: str, passed: bool) -> None:
        if kind == "readinessProbe":
            if container.passed is not passed:
                container.passed = passed
                self.publish()
        elif kind == "startupProbe" and passed:
            container.started = True
            self.publish()
        elif not passed:
            grace = container.spec[kind].get("terminationGracePeriodSeconds", self._own_grace_s())
            words = f"Container {container.name} failed {KINDS[kind].lower()} probe, will be restarted"
            self.tasks.start_soon(self._kill, container, grace, words)

    # -- the end ------------------------------------------------------------------------------------------------------
    async def _terminate(self) -> None:
        """Kill all containers within the grace; start over when a later deletion shortened it."""
        self._stopping = True
        for probe in self._probes:
            probe.halted = probe.kind != "readinessProbe"
        while True:
            grace = self._grace_s if self._grace_s is not None else self._own_grace_s()
            with anyio.CancelScope() as self._killing:
                async with anyio.create_task_group() as kills:
                    for container in self.containers:
                        kills.start_soon(self._kill, container, grace, f"Stopping container {container.name}")
            if not self._killing.cancelled_caught:
                self._killing = None
                return

    async def _kill(self, container: Container, grace: int, words: str) -> None:
        ended = self._exits.get(container.ident)
        if ended is None or ended.done.is_set():
            return
        self.say("Normal", "Killing", words, container)
        hook = (container.spec.get("lifecycle") or {}).get("preStop")
        left = grace
        if hook and grace > 0:
            begun = anyio.current_time()
            with anyio.move_on_after(grace):
                try:
                    await hooks.run(self.machine, hook, container.spec, self._target(container), grace)
                except hooks.Failed:
                    self.say("Warning", "FailedPreStopHook", "PreStopHook failed", container)
            left -= int(anyio.current_time() - begun)
        await self.machine.kill(container.ident, signal.SIGTERM)
        with anyio.move_on_after(max(MINIMUM_GRACE_S, left)):
            await ended.done.wait()
        if not ended.done.is_set():
            await self.machine.kill(container.ident, signal.SIGKILL)
            await ended.done.wait()
        if self._stopping:
            container.note_end(ended.code, ended.signal, self.store.time())

    # -- the status ----------------------------------------------------------------------------------------------------
    def publish(self) -> None:
        """Write the status as the kubelet knows it; a container that is not ready is probed at once."""
        current = self.store.find(self.ref)
        if current is None or current["metadata"]["uid"] != self.uid:
            return
        for probe in self._probes:
            container = probe.container
            if probe.kind == "readinessProbe" and container.running and container.started and not container.passed:
                probe.trigger.set()
        host_ip = self.node.net.address
        status = runtime.pod_status(
            current,
            self.containers,
            ip=self.ip,
            host_ip=host_ip,
            over=self.over,
            now=self.store.time(),
            start=self.start,
        )
        try:
            self.pod = self.store.set_status(current, status)
        except NotFound:
            return

    def say(self, kind: str, reason: str, words: str, container: Container | None = None) -> None:
        self.store.event(self.pod, kind, reason, words, "kubelet")


__all__ = ["PodWorker"]
