"""What a scenario can see of the workload under test, and wait for: the looking half of the stage.

Nothing here changes the cluster. Every wait is a poll with a limit, and says in its error what it saw last.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from hazd.clock import unix_ns
from hazd.cluster.outage import Silence
from hazd.cluster.port import Cluster
from hazd.errors import ClusterError, EnvironmentProblem, TimedOut
from hazd.manifests.conditions import is_ready_endpoint
from hazd.model import Event, Manifest, Ref, Trial
from hazd.stage.containers import CRASH_LOOP, UNSCHEDULABLE, troubles

POLL_S = 0.2
LOOK_S = 5.0
"""How often a rollout that is not complete is asked why."""
STUCK_S = 60.0
AWAY_S = 60.0
"""How long a wait outlasts an API server that does not answer; the services it watches over go on without it."""


class View:
    """Looks at one workload through a cluster; `mark` puts a line on the timeline. Times in seconds."""

    def __init__(
        self,
        cluster: Cluster,
        trial: Trial,
        workload: Ref,
        mark: Callable[[Event], None],
        now_ns: Callable[[], int] = unix_ns,
    ) -> None:
        self.cluster = cluster
        self.trial = trial
        self.options = dict(trial.options)
        self.workload = workload
        self.namespace = workload.namespace
        self._mark = mark
        self._now_ns = now_ns

    def mark(self, reason: str, text: str, ref: Ref | None = None) -> None:
        """Put one line on the timeline."""
        self._mark(Event(self._now_ns(), "stage", ref or self.workload, reason, detail={"text": text}))

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)

    async def deployment(self) -> Manifest:
        return await self.cluster.get(self.workload)

    async def pods(self) -> list[Manifest]:
        """The workload's pods, terminating ones as well, oldest first."""
        labels = (await self.deployment())["spec"]["selector"]["matchLabels"]
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        found = await self.cluster.list("Pod", self.namespace, selector)
        return sorted(found, key=lambda pod: (pod["metadata"].get("creationTimestamp") or "", pod["metadata"]["name"]))

    async def nodes_of_pods(self) -> list[str]:
        """Names of the nodes that carry ready pods of the workload, most pods first."""
        count: dict[str, int] = {}
        for pod in await self.pods():
            if is_ready_endpoint(pod):
                count[pod["spec"]["nodeName"]] = count.get(pod["spec"]["nodeName"], 0) + 1
        return sorted(count, key=lambda name: (-count[name], name))

    async def wait_for(
        self, what: str, condition: Callable[[], Awaitable[str]], timeout_s: float | None = None
    ) -> None:
        """Poll until condition() returns "" (done); what it returned last is in TimedOut's message.

        An API server that is away for less than AWAY_S is waited for: its crash ends no disruption.
        """
        limit = self.trial.timeout_s if timeout_s is None else timeout_s
        seen, heard, silence = "", anyio.current_time(), Silence()
        with anyio.move_on_after(limit):
            while True:
                try:
                    seen = await condition()
                    heard = anyio.current_time()
                    silence.broken()
                except ClusterError as error:
                    if not silence.explains(error) or anyio.current_time() - heard > AWAY_S:
                        raise
                    seen = error.message
                if not seen:
                    return
                await anyio.sleep(POLL_S)
        raise TimedOut(f"{what} did not come about in {limit:g} s; last seen: {seen}", "a longer --timeout may help")

    async def wait_replicas(self, replicas: int, timeout_s: float | None = None) -> None:
        """Wait until exactly this many pods are ready and none is starting or going."""

        async def exact() -> str:
            pods = await self.pods()
            ready = sum(map(is_ready_endpoint, pods))
            return "" if ready == replicas == len(pods) else f"{ready} ready of {len(pods)} pods, want {replicas}"

        await self.wait_for(f"{replicas} ready pods", exact, timeout_s)

    async def wait_replaced(self, name: str, replicas: int) -> None:
        """Wait until a pod has left the ready ones and as many others are ready; it may still be terminating."""

        async def replaced() -> str:
            names = [pod["metadata"]["name"] for pod in await self.pods() if is_ready_endpoint(pod)]
            done = name not in names and len(names) >= replicas
            return "" if done else f"{len(names)} ready pods, {name} {'still' if name in names else 'no longer'} one"

        await self.wait_for(f"the replacement of {name}", replaced)

    async def wait_all_replaced(self, names: set[str]) -> None:
        """Wait until none of these pods is left and all replicas are ready."""

        async def replaced() -> str:
            left = names & {pod["metadata"]["name"] for pod in await self.pods()}
            return f"{len(left)} of {len(names)} old pods are left" if left else ""

        await self.wait_for("the replacement of every pod", replaced)

    async def wait_ready(self, replicas: int, away_from: str = "") -> None:
        """Wait until at least this many pods are ready on other nodes than `away_from`."""

        async def enough() -> str:
            pods = await self.pods()
            ready = sum(is_ready_endpoint(pod) and pod["spec"].get("nodeName") != away_from for pod in pods)
            return "" if ready >= replicas else f"{ready} pods ready, want {replicas}"

        await self.wait_for(f"{replicas} ready pods away from {away_from or 'nowhere'}", enough)
        self.mark("replaced", f"{replicas} pods ready away from {away_from}")

    async def wait_endpoints_left(self, node: str) -> None:
        """Wait until no endpoint on this node is ready any more."""

        async def none_ready() -> str:
            slices = await self.cluster.list("EndpointSlice", self.namespace)
            left = [
                item
                for part in slices
                for item in part.get("endpoints") or []
                if item.get("nodeName") == node and item.get("conditions", {}).get("ready")
            ]
            return f"{len(left)} ready endpoints on {node}" if left else ""

        await self.wait_for(f"the endpoints of {node} to leave", none_ready)
        self.mark("endpoints-left", f"no ready endpoint on {node} is left", Ref("Node", node))

    async def wait_scaled(self, way: str, before: int) -> None:
        """Wait until an autoscaler has changed the replicas: way "out" (more than before) or "in" (back to them)."""

        async def scaled() -> str:
            found = await self.deployment()
            want, ready = found["spec"].get("replicas", 1), found.get("status", {}).get("readyReplicas", 0)
            done = want > before if way == "out" else want <= before
            return "" if done and ready >= want else f"{want} replicas wanted, {ready} ready, {before} before"

        await self.wait_for(f"the autoscaler to scale {way}", scaled)
        self.mark(f"scaled-{way}", f"the autoscaler has scaled {way}")

    async def rollout_status(self, timeout_s: float | None = None) -> None:
        """kubectl rollout status: wait until every replica is updated and available, as kubectl counts it.

        Raises EnvironmentProblem, with the kubelet's own words, when a container could not be started for STUCK_S.
        """
        since, look_at, seen = anyio.current_time(), 0.0, ""

        async def complete() -> str:
            nonlocal since, look_at, seen
            missing, now = rollout_state(await self.deployment()), anyio.current_time()
            if missing and now >= look_at:
                found = next(troubles(await self.pods()), None)
                look_at, seen = now + LOOK_S, found.words if found else ""
                # A pod may wait for a node or for a database to come back; a wrong image stays wrong.
                since = since if found and found.reason not in (CRASH_LOOP, UNSCHEDULABLE) else now
                if now - since > STUCK_S:
                    raise EnvironmentProblem(f"{self.workload}: {missing}; {seen}", "can the nodes get that image?")
            return f"{missing}; {seen}" if missing and seen else missing

        await self.wait_for(f"the roll-out of {self.workload}", complete, timeout_s)
        self.mark("rolled-out", "roll-out complete")


def rollout_state(deployment: Manifest) -> str:
    """ "" when a Deployment's rollout is complete, else what is missing; the rules of `kubectl rollout status`.

    Source: kubernetes/kubectl pkg/polymorphichelpers/rollout_status.go.
    """
    spec, status = deployment["spec"], deployment.get("status", {})
    want = spec.get("replicas", 1)
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 0):
        return "the change is not observed yet"
    updated, total = status.get("updatedReplicas", 0), status.get("replicas", 0)
    available = status.get("availableReplicas", 0)
    if updated < want:
        return f"{updated} of {want} replicas are updated"
    if total > updated:
        return f"{total - updated} old replicas are pending termination"
    if available < updated:
        return f"{available} of {updated} updated replicas are available"
    return ""


__all__ = ["POLL_S", "View", "rollout_state"]
