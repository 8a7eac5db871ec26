"""The stage a scenario acts on: kubectl's verbs on the workload under test, each marked on the timeline.

What leaves the trial's namespace (a cordon, a stopped node) is registered for undoing *before* it is done, and
written on the object itself, so that a run killed in the middle can still be cleaned up by `hazd clean`.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import anyio

from hazd.clock import unix_ns
from hazd.cluster.outage import Silence
from hazd.cluster.port import STOPPED_ANNOTATION, Cluster, Eviction
from hazd.errors import ClusterError, Conflict, NotFound
from hazd.manifests import app_containers, choose_workload
from hazd.manifests.conditions import condition, is_ready
from hazd.model import Event, Manifest, Ref, Trial
from hazd.stage.marks import change_node, cordoned, released, stopped_by
from hazd.stage.view import View

PUT_BACK_S = 90.0
PUT_BACK_PAUSE_S = 1.0


class Stage(View):
    """What `disrupt(stage)` gets. Verbs raise ClusterError and its kin; TimedOut when a state does not come.

    trial: the Trial under way; options: the scenario's own options. namespace, workload (the Deployment), service:
    what is under test. next_image: what a rolling update changes the image to, "" = there is none. mark() puts a line
    on the timeline.
    """

    def __init__(
        self,
        cluster: Cluster,
        trial: Trial,
        workload: Ref,
        next_image: str,
        mark: Callable[[Event], None],
        now_ns: Callable[[], int] = unix_ns,
    ) -> None:
        super().__init__(cluster, trial, workload, mark, now_ns)
        self.next_image = next_image
        self._undo: list[tuple[str, Callable[[], Awaitable[None]]]] = []

    # -- acting ------------------------------------------------------------------------------------------------------
    async def set_image(self, image: str = "") -> None:
        """kubectl set image: the rolling update of every release, on the container behind the Service."""
        setup = self.trial.setup
        names = {
            item["name"] for item in app_containers(choose_workload(setup.documents, setup.workload), setup.documents)
        }

        def change(spec: dict[str, Any]) -> None:
            for item in spec["containers"]:
                if item["name"] in names:
                    item["image"] = image or self.next_image

        await self._change_template(change)
        self.mark("set-image", f"set image {image or self.next_image}")

    async def restart(self) -> None:
        """kubectl rollout restart."""
        patch = {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": str(self._now_ns())}}}
        await self.cluster.patch(self.workload, {"spec": {"template": patch}})
        self.mark("restart", "rollout restart")

    async def _change_template(self, change: Callable[[dict[str, Any]], None]) -> None:
        for _ in range(5):
            current = await self.deployment()
            spec = json.loads(json.dumps(current["spec"]["template"]["spec"]))
            change(spec)
            version = current["metadata"]["resourceVersion"]
            patch = {"metadata": {"resourceVersion": version}, "spec": {"template": {"spec": spec}}}
            try:
                await self.cluster.patch(self.workload, patch)
                return
            except Conflict:
                continue
        raise Conflict(f"{self.workload} changed under five patches in a row")

    async def scale(self, replicas: int, *, wait: bool = True) -> None:
        """kubectl scale, through the scale subresource."""
        await self.cluster.patch(self.workload, {"spec": {"replicas": replicas}}, "scale")
        self.mark("scale", f"scale to {replicas}")
        if wait:
            await self.wait_replicas(replicas)

    async def resize(self, name: str, cpu: str) -> None:
        """Change a running pod's CPU request in place (KEP-1287, subresource resize) and wait until it acted."""
        ref = Ref("Pod", name, self.namespace)
        pod = await self.cluster.get(ref)
        containers = [
            {**item, "resources": _with_cpu(item.get("resources") or {}, cpu)} for item in pod["spec"]["containers"]
        ]
        await self.cluster.patch(ref, {"spec": {"containers": containers}}, "resize")
        self.mark("resize", f"resize {name} to {cpu} CPU", ref)

        async def acted() -> str:
            status = (await self.cluster.get(ref)).get("status", {})
            now = [(item.get("resources") or {}).get("requests", {}).get("cpu") for item in status["containerStatuses"]]
            return "" if all(item == cpu for item in now) else f"CPU requests in force: {now}"

        await self.wait_for(f"the resize of {name}", acted, 60)

    async def together(self, *work: Coroutine[Any, Any, None]) -> None:
        """Run several verbs at the same time; the first error ends the others."""
        async with anyio.create_task_group() as tasks:
            for item in work:
                tasks.start_soon(_wait_for, item)

    async def delete_pod(self, name: str, grace_s: int | None = None) -> None:
        """kubectl delete pod; grace_s=0 is --force."""
        ref = Ref("Pod", name, self.namespace)
        self.mark("delete-pod", f"delete pod {name}" + ("" if grace_s is None else f", grace {grace_s} s"), ref)
        await self.cluster.delete(ref, grace_s)

    async def evict(self, name: str) -> Eviction:
        ref = Ref("Pod", name, self.namespace)
        answer = await self.cluster.evict(ref)
        text = f"evict pod {name}" if answer.allowed else f"eviction of {name} refused (429): {answer.message}"
        self.mark("evict" if answer.allowed else "evict-refused", text, ref)
        return answer

    async def cordon(self, node: str) -> None:
        """kubectl cordon; as it was before when the trial ends, or after `hazd clean`."""
        self.undo(f"uncordon {node}", lambda: self.uncordon(node))
        await change_node(self.cluster, node, lambda found: cordoned(found, self.namespace))
        self.mark("cordon", f"cordon {node}", Ref("Node", node))

    async def uncordon(self, node: str) -> None:
        """Let go of a node: it becomes what it was before cordon(), unless another run still wants it cordoned."""
        await change_node(self.cluster, node, lambda found: released(found, {self.namespace}))
        self._undone(f"uncordon {node}")
        self.mark("uncordon", f"uncordon {node}", Ref("Node", node))

    async def drain(self, node: str, timeout_s: float | None = None) -> None:
        """kubectl drain, for this trial's workload only: cordon, then evict until none of its pods is left there."""
        await self.cordon(node)
        self.mark("drain", f"drain {node}", Ref("Node", node))
        refused: set[str] = set()

        async def empty() -> str:
            left = [pod for pod in await self.pods() if pod["spec"].get("nodeName") == node]
            for pod in left:
                name = pod["metadata"]["name"]
                if pod["metadata"].get("deletionTimestamp"):
                    continue
                try:
                    answer = await self.cluster.evict(Ref("Pod", name, self.namespace))
                except NotFound:
                    continue
                # kubectl retries every 5 s; the timeline keeps the first refusal of each pod and the final yes.
                if answer.allowed:
                    self.mark("evict", f"evict pod {name}", Ref("Pod", name, self.namespace))
                elif name not in refused:
                    refused.add(name)
                    text = f"eviction of {name} refused (429): {answer.message}"
                    self.mark("evict-refused", text, Ref("Pod", name, self.namespace))
            return f"{len(left)} pods left on {node}" if left else ""

        await self.wait_for(f"the drain of {node}", empty, timeout_s)
        self.mark("drained-node", f"{node} is drained", Ref("Node", node))

    async def stop_node(self, node: str) -> None:
        """Power a node off without notice; started again when the trial ends, or by `hazd clean`."""
        ref = Ref("Node", node)
        other = stopped_by(await self.cluster.get(ref))
        if other not in (None, self.namespace):
            raise ClusterError(f"node {node} is stopped by another run, in namespace {other}", "wait for its end")
        self.undo(f"start {node}", lambda: self.start_node(node))
        await self.cluster.patch(ref, {"metadata": {"annotations": {STOPPED_ANNOTATION: self.namespace}}})
        self.mark("stop-node", f"stop node {node}", ref)
        await self.cluster.stop_node(node)

    async def start_node(self, node: str) -> None:
        ref = Ref("Node", node)
        await self.cluster.start_node(node)
        self.mark("start-node", f"start node {node}", ref)

        async def ready() -> str:
            found = await self.cluster.get(ref)
            state = (condition(found, "Ready") or {}).get("status", "Unknown")
            return "" if is_ready(found) else f"{node} Ready={state}"

        await self.wait_for(f"{node} to be Ready", ready, 120)
        await self.cluster.patch(ref, {"metadata": {"annotations": {STOPPED_ANNOTATION: None}}})
        self._undone(f"start {node}")

    async def create(self, doc: Manifest) -> Manifest:
        """Create one more object in the trial's namespace; it goes with the namespace."""
        made = await self.cluster.create(doc)
        ref = Ref(doc["kind"], doc["metadata"]["name"], doc["metadata"].get("namespace", self.namespace))
        self.mark("create", f"create {ref}", ref)
        return made

    # -- putting back ------------------------------------------------------------------------------------------------
    def undo(self, text: str, action: Callable[[], Awaitable[None]]) -> None:
        """Register what puts something back; done in reverse order when the trial ends, however it ends."""
        self._undo.append((text, action))

    def _undone(self, text: str) -> None:
        """What is put back already needs no undoing at the end."""
        self._undo = [item for item in self._undo if item[0] != text]

    async def put_back(self, within_s: float = PUT_BACK_S) -> list[str]:
        """Do every registered undo; returns the problems instead of raising, so that one failure stops no other.

        While the API server is away it is tried again, for within_s in all; what is left then is named.
        """
        problems, seen, silence = [], "it was not reached", Silence(just_now=True)
        with anyio.move_on_after(within_s):
            while self._undo:
                text, action = last = self._undo[-1]
                try:
                    await action()
                except Exception as error:
                    seen = str(getattr(error, "message", error))
                    if silence.explains(error):
                        await anyio.sleep(PUT_BACK_PAUSE_S)
                        continue
                    problems.append(f"{text}: {error}")
                silence = Silence(just_now=True)
                self._undo = [item for item in self._undo if item is not last]
        left = [text for text, _ in reversed(self._undo)]
        return problems + [f"not done in {within_s:g} s: {text} ({seen}); `hazd clean` finishes it" for text in left]


async def _wait_for(work: Coroutine[Any, Any, None]) -> None:
    await work


def _with_cpu(resources: dict[str, Any], cpu: str) -> dict[str, Any]:
    return {**resources, "requests": {**(resources.get("requests") or {}), "cpu": cpu}}


__all__ = ["Stage"]
