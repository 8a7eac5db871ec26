"""Budgets and evictions, lost nodes and what becomes of their pods, autoscalers."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from hazd.cluster.lab.control.disruption import evict
from hazd.cluster.lab.control.metrics import Usage
from hazd.cluster.lab.control.replica_count import NoMetrics, Past, limited, stabilized, wanted
from hazd.cluster.lab.control.vertical import percentile, recommendation
from hazd.cluster.lab.options import LabOptions
from hazd.errors import ClusterError, NotFound
from hazd.manifests.conditions import condition
from hazd.model import Manifest, Ref

from .bench import Bench, container, deployment, pod, pod_template, readiness, run, service

APP = Ref("Deployment", "app", "t")


def budget(name: str = "app", **spec: Any) -> Manifest:
    selector = {"matchLabels": {"app": "app"}}
    return {
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": "t"},
        "spec": {"selector": selector, **spec},
    }


@pytest.mark.parametrize(
    ("spec", "desired", "allowed"),
    [
        ({"minAvailable": 3}, 3, 1),
        ({"minAvailable": "50%"}, 2, 2),
        ({"minAvailable": "51%"}, 3, 1),
        ({"maxUnavailable": 1}, 3, 1),
        ({"maxUnavailable": "30%"}, 2, 2),
        ({"minAvailable": 4}, 4, 0),
        ({"minAvailable": 9}, 9, 0),
        ({}, 0, 0),
    ],
)
def test_what_a_budget_allows(spec: Manifest, desired: int, allowed: int) -> None:
    """Of 4 healthy pods; percentages of either field round up."""

    async def main(bench: Bench) -> None:
        bench.store.create(deployment(4))
        bench.store.create(budget(**spec))
        await anyio.sleep(3)
        status = bench.store.get(Ref("PodDisruptionBudget", "app", "t"))["status"]
        assert (status["currentHealthy"], status["desiredHealthy"]) == (4, desired)
        assert status["disruptionsAllowed"] == allowed

    run(main)


def test_evictions_stop_at_the_budget_and_go_on_with_the_replacement() -> None:
    """The second eviction in a row is refused in Kubernetes' words; when the new pod is ready, it is allowed."""

    async def main(bench: Bench) -> None:
        template = pod_template(container(readinessProbe=readiness(), env={"LISTEN_S": 1, "TERM_S": 1}))
        bench.store.create(deployment(4, template))
        bench.store.create(budget(maxUnavailable=1))
        await anyio.sleep(5)
        first, second = (Ref("Pod", each["metadata"]["name"], "t") for each in bench.pods()[:2])
        assert evict(bench.store, first, None).allowed
        answer = evict(bench.store, second, None)
        assert not answer.allowed
        assert answer.message.startswith("Cannot evict pod as it would violate the pod's disruption budget.")
        assert "needs 3 healthy pods and has 4 currently" in answer.message
        await anyio.sleep(0.2)
        assert "has 3 currently" in evict(bench.store, second, None).message
        assert "deletionTimestamp" not in bench.store.get(second)["metadata"]
        await anyio.sleep(5)
        assert evict(bench.store, second, None).allowed
        assert (condition(bench.store.get(second), "DisruptionTarget") or {})["reason"] == "EvictionByEvictionAPI"

    run(main)


def test_evictions_without_a_budget_or_of_what_does_not_run() -> None:
    """No budget: yes. Pending: yes, whatever the budget says. Nobody: NotFound. Two budgets: an error."""

    async def main(bench: Bench) -> None:
        bench.store.create(deployment(1))
        bench.store.create(pod("waiting", nodeSelector={"no": "where"}))
        await anyio.sleep(3)
        bench.store.create(budget(minAvailable=5))
        await anyio.sleep(1)
        assert evict(bench.store, Ref("Pod", "waiting", "t"), None).allowed
        with pytest.raises(NotFound, match="nobody"):
            evict(bench.store, Ref("Pod", "nobody", "t"), None)
        [running] = bench.ready()
        ref = Ref("Pod", running["metadata"]["name"], "t")
        bench.store.create(budget("second", minAvailable=1))
        with pytest.raises(ClusterError, match="more than one PodDisruptionBudget"):
            evict(bench.store, ref, None)
        for name in ("app", "second"):
            bench.store.delete(Ref("PodDisruptionBudget", name, "t"))
        assert evict(bench.store, ref, None).allowed

    run(main)


@pytest.mark.parametrize(("policy", "allowed"), [(None, False), ("IfHealthyBudget", False), ("AlwaysAllow", True)])
def test_unhealthy_pods_under_a_budget(policy: str | None, allowed: bool) -> None:
    """KEP-3017: a pod that is not ready may be evicted under AlwaysAllow, else only while the budget is healthy."""

    async def main(bench: Bench) -> None:
        template = pod_template(container(readinessProbe=readiness(), env={"LISTEN_S": 999}))
        bench.store.create(deployment(2, template))
        bench.store.create(budget(minAvailable=1, **({"unhealthyPodEvictionPolicy": policy} if policy else {})))
        await anyio.sleep(3)
        ref = Ref("Pod", bench.pods()[0]["metadata"]["name"], "t")
        assert evict(bench.store, ref, None).allowed is allowed

    run(main)


def test_a_lost_node() -> None:
    """Silent, then after the grace not Ready with its pods, then after the toleration its pods are replaced."""

    async def main(bench: Bench) -> None:
        bench.store.create(service())
        bench.store.create(deployment(4))
        await anyio.sleep(5)
        on_it = {p["metadata"]["name"] for p in bench.pods() if p["spec"]["nodeName"] == "lab-worker"}
        await bench.plant.stop_node("lab-worker")
        assert [whom for _, what, whom in bench.machine.log if what == "cut"] == ["lab-worker"]
        assert len(bench.machine.times("sigkill")) == len(on_it) == 2
        await anyio.sleep(20)
        node = bench.store.get(Ref("Node", "lab-worker"))
        assert (condition(node, "Ready") or {})["status"] == "True"
        assert len(bench.ready()) == 4
        await anyio.sleep(26)
        node = bench.store.get(Ref("Node", "lab-worker"))
        assert (condition(node, "Ready") or {})["status"] == "Unknown"
        effects = {taint["effect"] for taint in node["spec"]["taints"]}
        assert effects == {"NoSchedule", "NoExecute"}
        assert {p["metadata"]["name"] for p in bench.pods()} - {p["metadata"]["name"] for p in bench.ready()} == on_it
        await anyio.sleep(35)
        going = {p["metadata"]["name"] for p in bench.pods() if "deletionTimestamp" in p["metadata"]}
        assert going == on_it
        assert len(bench.ready()) == 4
        assert {p["spec"]["nodeName"] for p in bench.ready()} == {"lab-worker2"}
        await bench.plant.start_node("lab-worker")
        await bench.plant.start_node("lab-worker")
        await anyio.sleep(5)
        node = bench.store.get(Ref("Node", "lab-worker"))
        assert (condition(node, "Ready") or {})["status"] == "True"
        assert not node["spec"].get("taints")
        assert not on_it & {p["metadata"]["name"] for p in bench.pods()}

    run(main, toleration_s=30)


def test_a_node_that_comes_back_in_time_keeps_its_pods() -> None:
    """Rebooted within the toleration: the same pod objects, their containers restarted, ready again."""

    async def main(bench: Bench) -> None:
        bench.store.create(deployment(2))
        await anyio.sleep(5)
        names = {p["metadata"]["name"] for p in bench.pods()}
        await bench.plant.stop_node("lab-worker")
        await anyio.sleep(60)
        await bench.plant.start_node("lab-worker")
        await anyio.sleep(10)
        assert {p["metadata"]["name"] for p in bench.ready()} == names
        counts = sorted(p["status"]["containerStatuses"][0]["restartCount"] for p in bench.pods())
        assert counts == [0, 1]

    run(main)


def test_a_pod_may_tolerate_a_lost_node_for_ever_or_not_at_all() -> None:
    """tolerationSeconds of the pod itself win over the admission's."""

    async def main(bench: Bench) -> None:
        key = "node.kubernetes.io/unreachable"
        for name, more in (("ever", {}), ("never", {"tolerationSeconds": 0})):
            toleration = {"key": key, "operator": "Exists", "effect": "NoExecute", **more}
            bench.store.create(pod(name, nodeName="lab-worker", tolerations=[toleration]))
        await anyio.sleep(5)
        await bench.plant.stop_node("lab-worker")
        await anyio.sleep(60)
        going = {p["metadata"]["name"] for p in bench.pods() if "deletionTimestamp" in p["metadata"]}
        assert going == {"never"}
        await anyio.sleep(3600)
        assert "deletionTimestamp" not in bench.store.get(Ref("Pod", "ever", "t"))["metadata"]

    run(main)


def autoscaler(**spec: Any) -> Manifest:
    return {
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "app", "namespace": "t"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"},
            "minReplicas": 2,
            "maxReplicas": 6,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}},
                }
            ],
            **spec,
        },
    }


def test_an_autoscaler_scales_out_and_in_with_the_load() -> None:
    """Twice the target doubles the replicas, at once; idle ones go after the stabilization window, not before."""

    async def main(bench: Bench) -> None:
        busy = container(resources={"requests": {"cpu": "200m"}}, env={"CPU": 0.24, "TERM_S": 0})
        bench.store.create(deployment(2, pod_template(busy)))
        bench.store.create(autoscaler(behavior={"scaleDown": {"stabilizationWindowSeconds": 60}}))
        await anyio.sleep(80)
        sizes = [c.obj["spec"]["replicas"] for _, c in bench.changes if c.obj["kind"] == "Deployment"]
        assert 4 in sizes
        assert "SuccessfulRescale" in bench.reasons("app")
        for process in bench.machine.processes.values():
            process.command.env["CPU"] = "0"  # type: ignore[index]
        calm = anyio.current_time()
        await anyio.sleep(50)
        assert bench.deployment()["spec"]["replicas"] > 2
        await anyio.sleep(120)
        assert bench.deployment()["spec"]["replicas"] == 2
        shrunk = [at for at, c in bench.changes if c.obj["kind"] == "Deployment" and c.obj["spec"]["replicas"] == 2]
        assert min(at for at in shrunk if at > calm) > calm + 50
        status = bench.store.get(Ref("HorizontalPodAutoscaler", "app", "t"))["status"]
        assert (status["currentReplicas"], status["desiredReplicas"]) == (2, 2)

    run(main)


def _pods(*ready: bool) -> list[Manifest]:
    return [
        {
            "metadata": {"uid": str(n), "name": str(n)},
            "spec": {"containers": [{"resources": {"requests": {"cpu": "100m"}}}]},
            "status": {
                "phase": "Running",
                "startTime": "2026-01-01T00:00:00Z",
                "conditions": [
                    {
                        "type": "Ready",
                        "status": "True" if good else "False",
                        "lastTransitionTime": "2026-01-01T00:00:05Z",
                    }
                ],
            },
        }
        for n, good in enumerate(ready)
    ]


def _use(*cores: float) -> dict[str, dict[str, Usage]]:
    return {str(n): {"app": Usage(value, 1.8e9, 15)} for n, value in enumerate(cores)}


@pytest.mark.parametrize(
    ("ready", "cores", "count"),
    [
        ((True, True), (0.1, 0.1), 4),  # 100 % of a target of 50 %
        ((True, True), (0.054, 0.054), 2),  # within the tolerance of 10 %
        ((True, True), (0.056, 0.056), 3),
        ((True, True, True), (0.01, 0.01, 0.01), 1),
        ((True, True), (0.1,), 2),  # a missing one counts as idle on the way out: 100 of 200 m is the target
        ((True, True), (0.02,), 2),  # and as busy on the way in: the direction would turn
        ((True, False), (0.1, 0.1), 2),  # one that was never ready counts as idle on the way out
    ],
)
def test_how_many_replicas_are_wanted(ready: tuple[bool, ...], cores: tuple[float, ...], count: int) -> None:
    """The algorithm's published cases: ratio, tolerance, missing metrics."""
    target = {"type": "Utilization", "averageUtilization": 50}
    pods = _pods(*ready)
    assert wanted(pods, _use(*cores), target, len(pods), 1.8e9, LabOptions()).replicas == count


def test_nothing_is_computed_without_metrics() -> None:
    """No pods, no metrics, no requests: each has its own reason."""
    target = {"type": "Utilization", "averageUtilization": 50}
    with pytest.raises(NoMetrics, match="no pods"):
        wanted([], {}, target, 1, 1.8e9, LabOptions())
    with pytest.raises(NoMetrics, match="did not receive"):
        wanted(_pods(True), {}, target, 1, 1.8e9, LabOptions())
    bare = [{**_pods(True)[0], "spec": {"containers": [{}]}}]
    with pytest.raises(NoMetrics, match="missing request"):
        wanted(bare, _use(0.1), target, 1, 1.8e9, LabOptions())


def test_policies_bound_a_step() -> None:
    """Out: the bolder of 4 pods and 100 % in 15 s; in: everything; custom policies; what was done counts."""
    assert limited(100, 3, {}, [], [], 0) == 7
    assert limited(100, 10, {}, [], [], 0) == 20
    assert limited(100, 10, {}, [Past(-5, 8)], [], 0) == 10
    assert limited(1, 10, {}, [], [], 0) == 1
    slow = {"scaleDown": {"policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}]}}
    assert limited(1, 10, slow, [], [], 0) == 8
    assert limited(1, 8, slow, [], [Past(-30, 2)], 0) == 8
    assert limited(1, 10, {"scaleDown": {"selectPolicy": "Disabled"}}, [], [], 0) == 10


def test_the_highest_recent_wish_holds_a_scale_in_back() -> None:
    """Within the window; a scale-up window holds the other way."""
    assert stabilized(2, 5, {}, [Past(-100, 5)], 0, 300) == 5
    assert stabilized(2, 5, {}, [Past(-400, 5)], 0, 300) == 2
    assert stabilized(9, 3, {"scaleUp": {"stabilizationWindowSeconds": 60}}, [Past(-10, 4)], 0, 300) == 4


def vertical(mode: str, **policy: Any) -> Manifest:
    return {
        "kind": "VerticalPodAutoscaler",
        "metadata": {"name": "app", "namespace": "t"},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"},
            "updatePolicy": {"updateMode": mode, **policy},
            "resourcePolicy": {"containerPolicies": [{"containerName": "*", "minAllowed": {"cpu": "60m"}}]},
        },
    }


def _requests(bench: Bench) -> set[str]:
    return {each["spec"]["containers"][0]["resources"]["requests"]["cpu"] for each in bench.ready()}


def test_a_vertical_autoscaler_replaces_pods_within_the_budget() -> None:
    """Recreate: all pods get the new requests by eviction, and the budget is never broken."""

    async def main(bench: Bench) -> None:
        small = container(resources={"requests": {"cpu": "20m"}})
        bench.store.create(deployment(4, pod_template(small)))
        bench.store.create(budget(maxUnavailable=1))
        await anyio.sleep(5)
        before = {each["metadata"]["uid"] for each in bench.pods()}
        bench.store.create(vertical("Recreate"))
        lowest: list[int] = []
        stop = bench.store.on_change(lambda _: lowest.append(len(bench.ready())))
        await anyio.sleep(400)
        stop()
        assert not before & {each["metadata"]["uid"] for each in bench.pods()}
        assert _requests(bench) == {"60m"}
        assert min(lowest) >= 3

    run(main)


def test_a_vertical_autoscaler_in_place_replaces_nobody() -> None:
    """InPlaceOrRecreate: the same pods, the new requests, no restart."""

    async def main(bench: Bench) -> None:
        small = container(resources={"requests": {"cpu": "20m"}})
        bench.store.create(deployment(3, pod_template(small)))
        await anyio.sleep(5)
        before = {each["metadata"]["uid"] for each in bench.pods()}
        bench.store.create(vertical("InPlaceOrRecreate"))
        await anyio.sleep(20)
        assert before == {each["metadata"]["uid"] for each in bench.pods()}
        assert _requests(bench) == {"60m"}
        statuses = [each["status"]["containerStatuses"][0] for each in bench.pods()]
        assert {(each["restartCount"], each["resources"]["requests"]["cpu"]) for each in statuses} == {(0, "60m")}

    run(main)


def test_a_recommendation_is_the_90th_percentile_and_a_margin() -> None:
    """Plus 15 %, not below 25m, within the policy; bounds at the 50th and 95th percentile."""
    samples = [n / 100 for n in range(1, 101)]
    assert percentile(samples, 0.9) == 0.9
    recommended = recommendation(samples, {})
    assert recommended["target"] == pytest.approx(0.9 * 1.15)
    assert recommended["lowerBound"] == pytest.approx(0.5 * 1.15)
    assert recommended["upperBound"] == pytest.approx(0.95 * 1.15)
    assert recommendation([], {})["target"] == 0.025
    capped = recommendation(samples, {"minAllowed": {"cpu": "2"}, "maxAllowed": {"cpu": "3"}})
    assert capped["target"] == 2
    assert capped["uncappedTarget"] == pytest.approx(0.9 * 1.15)
