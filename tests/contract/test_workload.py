"""Control loops: Deployments, endpoints, budgets, cordons and nodes behave as Kubernetes documents them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from hazd.cluster.port import Cluster, Images
from hazd.errors import ClusterError, NotFound
from hazd.model import Event, Ref

from .objects import (
    all_ready,
    budget,
    deployment,
    endpoints,
    is_ready,
    pod,
    pod_spec,
    ready_pods,
    service,
    until,
)

pytestmark = pytest.mark.anyio


async def test_a_deployment_gets_ready_pods_and_endpoints(cluster: Cluster, namespace: str, images: Images) -> None:
    """Pods run on nodes with addresses of their own, and the Service's slice lists each of them as ready."""
    await cluster.create(service("web", namespace))
    await cluster.create(deployment("web", namespace, 3, pod_spec(images.app)))
    pods = await all_ready(cluster, namespace, "web", 3)
    addresses = {item["metadata"]["name"]: item["status"]["podIP"] for item in pods}
    nodes = {node["metadata"]["name"] for node in await cluster.list("Node")}
    assert len(set(addresses.values())) == 3
    assert {item["spec"]["nodeName"] for item in pods} <= nodes

    async def listed() -> bool:
        found = await endpoints(cluster, namespace, "web")
        return {name for name, item in found.items() if item["conditions"].get("ready")} == set(addresses)

    await until("all endpoints ready", listed)
    found = await endpoints(cluster, namespace, "web")
    assert {name: item["addresses"] for name, item in found.items()} == {name: [ip] for name, ip in addresses.items()}
    assert (await cluster.get(Ref("Service", "web", namespace)))["spec"]["clusterIP"]

    async def counted() -> bool:
        status = (await cluster.get(Ref("Deployment", "web", namespace))).get("status", {})
        return [status.get(name) for name in ("replicas", "readyReplicas", "availableReplicas")] == [3, 3, 3]

    await until("the Deployment's status to count 3", counted)


async def test_an_endpoint_is_not_ready_before_its_probe(cluster: Cluster, namespace: str, images: Images) -> None:
    """A pod that starts slowly is listed unready first: the readiness probe keeps it out of the rules."""
    await cluster.create(service("web", namespace))
    seen: list[bool] = []
    async with cluster.watch("EndpointSlice", namespace) as events:
        await cluster.create(deployment("web", namespace, 1, pod_spec(images.app, startup_delay_s=3)))
        with anyio.fail_after(90):
            async for event in events:
                for item in event.detail.get("endpoints", ()):
                    seen.append(bool(item["conditions"].get("ready")))
                if seen and seen[-1]:
                    break
    assert seen[0] is False


async def test_the_scale_subresource_scales(cluster: Cluster, namespace: str, images: Images) -> None:
    """Both ways; the Deployment shows the number, and the surplus pods go."""
    await cluster.create(deployment("web", namespace, 1, pod_spec(images.app)))
    ref = Ref("Deployment", "web", namespace)
    for count in (3, 1):
        await cluster.patch(ref, {"spec": {"replicas": count}}, "scale")
        assert (await cluster.get(ref))["spec"]["replicas"] == count
        await all_ready(cluster, namespace, "web", count)


async def test_a_rolling_update_replaces_all_pods_within_its_limits(
    cluster: Cluster, namespace: str, images: Images
) -> None:
    """maxUnavailable 0, maxSurge 1: never fewer than 3 available, never more than 4 ordered."""
    spec = pod_spec(images.app)
    await cluster.create(deployment("web", namespace, 3, spec, max_surge=1, max_unavailable=0))
    before = {item["metadata"]["uid"] for item in await all_ready(cluster, namespace, "web", 3)}
    ref = Ref("Deployment", "web", namespace)

    async def available() -> bool:
        return bool((await cluster.get(ref)).get("status", {}).get("availableReplicas") == 3)

    await until("3 available replicas", available)
    fewest, wanted, most = [3], {}, [3]

    async def count_wanted(events: AsyncIterator[Event]) -> None:
        # What the controller promises is about the numbers it orders; status and pods follow with delay.
        async for event in events:
            wanted[event.ref.name] = 0 if event.reason == "DELETED" else event.detail["spec"]["replicas"]
            most.append(sum(wanted.values()))

    async with (
        cluster.watch("ReplicaSet", namespace) as sets,
        cluster.watch("Deployment", namespace) as events,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(count_wanted, sets)
        spec["containers"][0]["image"] = images.app_next
        await cluster.patch(ref, {"spec": {"template": {"spec": {"containers": spec["containers"]}}}})
        with anyio.fail_after(90):
            async for event in events:
                status = event.detail.get("status", {})
                fewest.append(status.get("availableReplicas", 0))
                observed = status.get("observedGeneration", 0) >= event.detail["generation"]
                updated = status.get("updatedReplicas", 0)
                if observed and event.detail["generation"] > 1 and updated == 3 == status.get("replicas", 0):
                    break
        tasks.cancel_scope.cancel()
    assert min(fewest) == 3
    assert max(most) == 4
    after = await all_ready(cluster, namespace, "web", 3)
    assert not before & {item["metadata"]["uid"] for item in after}
    assert {item["spec"]["containers"][0]["image"] for item in after} == {images.app_next}


async def test_a_deleted_pod_shows_a_terminating_endpoint_and_is_replaced(
    cluster: Cluster, namespace: str, images: Images
) -> None:
    """EndpointSlice conditions of KEP-1672: ready false, terminating true, then gone, and replaced."""
    await cluster.create(service("web", namespace))
    await cluster.create(deployment("web", namespace, 2, pod_spec(images.app, prestop_s=3)))
    victim = (await all_ready(cluster, namespace, "web", 2))[0]["metadata"]["name"]

    async def listed() -> bool:
        found = (await endpoints(cluster, namespace, "web")).get(victim, {})
        return bool(found.get("conditions", {}).get("ready"))

    await until("the endpoint to be ready", listed)
    states: list[dict[str, Any] | None] = []
    async with cluster.watch("EndpointSlice", namespace) as events:
        await cluster.delete(Ref("Pod", victim, namespace))
        with anyio.fail_after(90):
            async for event in events:
                found = {item["targetRef"]["name"]: item["conditions"] for item in event.detail.get("endpoints", ())}
                states.append(found.get(victim))
                if len(states) > 1 and states[-1] is None:
                    break
    terminating = [state for state in states if state and state.get("terminating")]
    assert terminating
    assert all(not state["ready"] and state["serving"] for state in terminating)
    replaced = await all_ready(cluster, namespace, "web", 2)
    assert victim not in {item["metadata"]["name"] for item in replaced}


async def test_grace_zero_removes_a_pod_at_once(cluster: Cluster, namespace: str, images: Images) -> None:
    """kubectl delete --force: the object is gone although its preStop hook would sleep for half a minute."""
    ref = Ref("Pod", "web", namespace)
    await cluster.create(pod("web", namespace, pod_spec(images.app, prestop_s=30, grace_s=60)))
    await until("the pod to be ready", lambda: ready_pods(cluster, namespace, "web"))
    assert await cluster.delete(ref, grace_s=0) is True
    with pytest.raises(NotFound):
        await cluster.get(ref)


async def test_a_graceful_deletion_keeps_the_pod_until_it_ended(
    cluster: Cluster, namespace: str, images: Images
) -> None:
    """deletionTimestamp lies grace seconds ahead, the pod stays while its preStop hook sleeps, then it goes."""
    ref = Ref("Pod", "web", namespace)
    await cluster.create(pod("web", namespace, pod_spec(images.app, prestop_s=3, grace_s=30)))
    await until("the pod to be ready", lambda: ready_pods(cluster, namespace, "web"))
    assert await cluster.delete(ref) is True
    going = await cluster.get(ref)
    assert going["metadata"]["deletionTimestamp"]
    assert going["metadata"]["deletionGracePeriodSeconds"] == 30

    async def gone() -> bool:
        return not await cluster.list("Pod", namespace)

    await until("the pod to be gone", gone, 25)


async def test_a_budget_blocks_an_eviction_until_it_allows_it(cluster: Cluster, namespace: str, images: Images) -> None:
    """policy/v1: minAvailable 2 of 2 says no with a message, minAvailable 1 says yes and the pod goes."""
    await cluster.create(deployment("web", namespace, 2, pod_spec(images.app)))
    await cluster.create(budget("web", namespace, 2))
    victim = Ref("Pod", (await all_ready(cluster, namespace, "web", 2))[0]["metadata"]["name"], namespace)
    ref = Ref("PodDisruptionBudget", "web", namespace)

    async def counted() -> bool:
        return bool((await cluster.get(ref)).get("status", {}).get("currentHealthy") == 2)

    await until("the budget to count 2 healthy pods", counted)
    answer = await cluster.evict(victim)
    assert answer.allowed is False
    assert "disruption budget" in answer.message
    assert not (await cluster.get(victim))["metadata"].get("deletionTimestamp")
    await cluster.patch(ref, {"spec": {"minAvailable": 1}})

    async def allowed() -> bool:
        return (await cluster.evict(victim)).allowed

    await until("the eviction to be allowed", allowed)

    async def gone() -> bool:
        return victim.name not in {item["metadata"]["name"] for item in await cluster.list("Pod", namespace)}

    await until("the evicted pod to be gone", gone)


async def test_evicting_nobody_is_not_found(cluster: Cluster, namespace: str) -> None:
    """A drain must be able to distinguish a deleted pod from a protected one."""
    with pytest.raises(NotFound, match="nobody"):
        await cluster.evict(Ref("Pod", "nobody", namespace))


async def _schedulable(cluster: Cluster) -> list[str]:
    nodes = await cluster.list("Node")
    return [
        node["metadata"]["name"]
        for node in nodes
        if is_ready(node) and not node["spec"].get("unschedulable") and not node["spec"].get("taints")
    ]


async def test_a_cordon_keeps_new_pods_away(cluster: Cluster, namespace: str, images: Images) -> None:
    """spec.unschedulable: what runs stays, what is new goes elsewhere; uncordoned, the node takes pods again."""
    workers = await _schedulable(cluster)
    if len(workers) < 2:
        pytest.skip("needs two schedulable nodes")
    ref = Ref("Node", workers[0])
    try:
        await cluster.patch(ref, {"spec": {"unschedulable": True}})
        await cluster.create(deployment("web", namespace, 4, pod_spec(images.app)))
        pods = await all_ready(cluster, namespace, "web", 4)
        assert workers[0] not in {item["spec"]["nodeName"] for item in pods}
    finally:
        await cluster.patch(ref, {"spec": {"unschedulable": None}})
    spec = {**pod_spec(images.app), "nodeSelector": {"kubernetes.io/hostname": workers[0]}}
    await cluster.create(pod("back", namespace, spec))
    [back] = await until("a pod on the uncordoned node", lambda: ready_pods(cluster, namespace, "back"))
    assert back["spec"]["nodeName"] == workers[0]


@pytest.mark.nodes
async def test_a_stopped_node_becomes_not_ready_and_comes_back(
    cluster: Cluster, namespace: str, images: Images
) -> None:
    """Power off: the node's Ready turns from True, its endpoints leave the slice; started again, it is Ready."""
    workers = await _schedulable(cluster)
    if len(workers) < 2:
        pytest.skip("needs two schedulable nodes")
    if await cluster.provide("stop-node"):
        with pytest.raises(ClusterError, match=workers[-1]) as caught:
            await cluster.stop_node(workers[-1])
        assert "--node-command" in caught.value.hint
        return
    await cluster.create(service("web", namespace))
    spec = {**pod_spec(images.app), "nodeSelector": {"kubernetes.io/hostname": workers[-1]}}
    await cluster.create(pod("web", namespace, spec))
    await until("the pod to be ready", lambda: ready_pods(cluster, namespace, "web"))
    ref = Ref("Node", workers[-1])

    async def node_is_ready() -> bool:
        return is_ready(await cluster.get(ref))

    async def node_is_lost() -> bool:
        return not await node_is_ready()

    async def nobody_is_ready() -> bool:
        found = await endpoints(cluster, namespace, "web")
        return not any(item["conditions"].get("ready") for item in found.values())

    try:
        await cluster.stop_node(workers[-1])
        await until("the node to be not Ready", node_is_lost, 120)
        await until("its endpoint to be not ready", nobody_is_ready, 30)
    finally:
        await cluster.start_node(workers[-1])
        await cluster.start_node(workers[-1])
    await until("the node to be Ready again", node_is_ready, 120)


async def test_a_stranger_is_no_node(cluster: Cluster) -> None:
    """A mistyped node name is an error that names it, not a silent success."""
    with pytest.raises(ClusterError, match="hazd-no-such-node"):
        await cluster.stop_node("hazd-no-such-node")


async def test_trouble_is_told_as_an_event(cluster: Cluster, namespace: str, images: Images) -> None:
    """A readiness probe that fails writes a Warning of reason Unhealthy about the pod."""
    found: list[Event] = []
    async with cluster.watch("Event", namespace) as events:
        await cluster.create(pod("web", namespace, pod_spec(images.app, startup_delay_s=8)))
        with anyio.fail_after(90):
            async for event in events:
                if event.detail.get("reason") == "Unhealthy":
                    found.append(event)
                    break
    assert found[0].detail["type"] == "Warning"
    assert found[0].detail["involvedObject"]["name"] == "web"
