"""Deployments and ReplicaSets, whole: rolling within the limits, scaling, revisions, who goes first."""

from __future__ import annotations

import anyio
import pytest

from hazd.cluster.lab.control.replicaset import first_to_go
from hazd.cluster.lab.objects import is_active
from hazd.errors import ClusterError
from hazd.manifests.conditions import is_ready
from hazd.model import Manifest, Ref

from .bench import Bench, container, deployment, pod_template, readiness, run

APP = Ref("Deployment", "app", "t")


def test_a_deployment_comes_up_and_says_so() -> None:
    """All counters and both conditions, within container start, relist and probe; observedGeneration follows."""

    async def main(bench: Bench) -> None:
        bench.store.create(deployment(4))
        await anyio.sleep(3)
        status = bench.deployment()["status"]
        for name in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"):
            assert status[name] == 4
        assert status["observedGeneration"] == 1
        conditions = {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]}
        assert conditions == {
            "Available": ("True", "MinimumReplicasAvailable"),
            "Progressing": ("True", "NewReplicaSetAvailable"),
        }
        [replica_set] = bench.store.list("ReplicaSet", "t")
        names = {item["metadata"]["labels"]["pod-template-hash"] for item in bench.pods()}
        assert names == {replica_set["metadata"]["name"].removeprefix("app-")}

    run(main)


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "most", "least"),
    [(4, "25%", "25%", 5, 3), (4, 1, 0, 5, 4), (3, 0, 1, 3, 2), (10, "30%", "15%", 13, 9), (1, "25%", "25%", 2, 1)],
)
def test_a_rolling_update_keeps_its_limits(
    replicas: int, surge: int | str, unavailable: int | str, most: int, least: int
) -> None:
    """Never more pods asked for than replicas + ceil(surge), nor fewer ready than replicas - floor(unavailable)."""

    async def main(bench: Bench) -> None:
        rolling = {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
        template = pod_template(container(readinessProbe=readiness(), env={"LISTEN_S": 1, "TERM_S": 0}))
        bench.store.create(deployment(replicas, template, strategy=rolling))
        await anyio.sleep(10)
        assert len(bench.ready()) == replicas
        old = {pod["metadata"]["uid"] for pod in bench.pods()}
        counts: list[tuple[int, int]] = []

        def count(_: object) -> None:
            asked = sum(each["spec"]["replicas"] for each in bench.store.list("ReplicaSet", "t"))
            counts.append((asked, sum(is_ready(pod) for pod in bench.pods() if is_active(pod))))

        stop = bench.store.on_change(count)
        changed = pod_template(container(readinessProbe=readiness(), env={"LISTEN_S": 1, "TERM_S": 0}, image="app:b"))
        bench.store.patch(APP, {"spec": {"template": {"spec": changed["spec"]}}})
        await anyio.sleep(60)
        stop()
        assert max(asked for asked, _ in counts) == most
        assert min(ready for _, ready in counts) >= least
        assert len(bench.ready()) == replicas
        assert not old & {pod["metadata"]["uid"] for pod in bench.pods()}
        assert bench.deployment()["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"

    run(main)


def test_min_ready_seconds_hold_the_rollout_back() -> None:
    """A pod counts as available only after minReadySeconds of readiness, so each step takes that much longer."""

    async def main(bench: Bench) -> None:
        bench.store.create(deployment(2, minReadySeconds=20))
        await anyio.sleep(15)
        assert bench.deployment()["status"]["readyReplicas"] == 2
        assert "availableReplicas" not in bench.deployment()["status"]
        await anyio.sleep(10)
        assert bench.deployment()["status"]["availableReplicas"] == 2

    run(main)


def test_recreate_waits_for_the_last_old_pod() -> None:
    """Strategy Recreate: no new pod exists before every old one is gone."""

    async def main(bench: Bench) -> None:
        template = pod_template(container(env={"TERM_S": 5}))
        bench.store.create(deployment(2, template, strategy={"type": "Recreate"}))
        await anyio.sleep(5)
        old = {pod["metadata"]["uid"] for pod in bench.pods()}
        bench.store.patch(APP, {"spec": {"template": {"metadata": {"annotations": {"again": "1"}}}}})
        await anyio.sleep(4)
        assert {pod["metadata"]["uid"] for pod in bench.pods()} == old
        await anyio.sleep(6)
        assert len(bench.ready()) == 2
        assert not old & {pod["metadata"]["uid"] for pod in bench.pods()}

    run(main)


def test_scaling_in_the_middle_of_a_rollout_is_shared_out() -> None:
    """Both ReplicaSets grow in proportion, and the total stays within the new size plus surge (sync.go, scale)."""

    async def main(bench: Bench) -> None:
        template = pod_template(container(readinessProbe=readiness(), env={"LISTEN_S": 0, "TERM_S": 0}))
        rolling = {"rollingUpdate": {"maxSurge": 2, "maxUnavailable": 0}}
        bench.store.create(deployment(10, template, strategy=rolling))
        await anyio.sleep(5)
        stuck = pod_template(container(readinessProbe=readiness(), env={"LISTEN_S": 9999}, image="app:b"))
        bench.store.patch(APP, {"spec": {"template": {"spec": stuck["spec"]}}})
        await anyio.sleep(5)
        bench.store.patch(APP, {"spec": {"replicas": 20}})
        await anyio.sleep(2)
        sizes = sorted(each["spec"]["replicas"] for each in bench.store.list("ReplicaSet", "t"))
        assert sum(sizes) == 22
        assert sizes == [4, 18]

    run(main)


def test_a_rollout_back_takes_the_old_replica_set_up_again() -> None:
    """The same template is the same ReplicaSet, with the next revision."""

    async def main(bench: Bench) -> None:
        bench.store.create(deployment(2))
        await anyio.sleep(4)
        for image in ("app:b", "app:a"):
            spec = pod_template(container(image=image))["spec"]
            bench.store.patch(APP, {"spec": {"template": {"spec": spec}}})
            await anyio.sleep(10)
        assert len(bench.store.list("ReplicaSet", "t")) == 2
        assert bench.deployment()["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
        assert {pod["spec"]["containers"][0]["image"] for pod in bench.ready()} == {"app:a"}

    run(main)


def test_a_rollout_that_does_not_move_is_reported() -> None:
    """Progressing turns False with ProgressDeadlineExceeded after progressDeadlineSeconds without a step."""

    async def main(bench: Bench) -> None:
        stuck = pod_template(container(readinessProbe=readiness(), env={"LISTEN_S": 9999}))
        bench.store.create(deployment(1, stuck, progressDeadlineSeconds=30))
        await anyio.sleep(25)
        state = {each["type"]: each for each in bench.deployment()["status"]["conditions"]}
        assert state["Progressing"]["status"] == "True"
        await anyio.sleep(30)
        state = {each["type"]: each for each in bench.deployment()["status"]["conditions"]}
        assert (state["Progressing"]["status"], state["Progressing"]["reason"]) == ("False", "ProgressDeadlineExceeded")

    run(main)


def test_a_deleted_pod_is_replaced_before_it_has_ended() -> None:
    """Pods that are being deleted are no replicas any more."""

    async def main(bench: Bench) -> None:
        bench.store.create(deployment(1, pod_template(container(env={}), terminationGracePeriodSeconds=20)))
        await anyio.sleep(3)
        [old] = bench.pods()
        bench.store.delete(Ref("Pod", old["metadata"]["name"], "t"))
        await anyio.sleep(5)
        assert len(bench.pods()) == 2
        assert len(bench.ready()) == 1

    run(main)


def test_deleting_a_deployment_deletes_what_it_owns() -> None:
    """Background cascading: ReplicaSets and pods go, other pods with the same labels stay."""

    async def main(bench: Bench) -> None:
        bench.store.create(deployment(3))
        await anyio.sleep(3)
        bench.store.delete(APP)
        await anyio.sleep(5)
        assert bench.store.list("ReplicaSet", "t") == bench.pods() == []

    run(main)


def test_a_namespace_goes_with_all_that_is_in_it() -> None:
    """Terminating while pods end, refusing anything new, then gone."""

    async def main(bench: Bench) -> None:
        bench.store.create(deployment(2, pod_template(container(env={"TERM_S": 3}))))
        await anyio.sleep(3)
        bench.store.delete(Ref("Namespace", "t"))
        await anyio.sleep(1)
        assert bench.store.get(Ref("Namespace", "t"))["status"]["phase"] == "Terminating"
        with pytest.raises(ClusterError, match="being terminated"):
            bench.store.create({"kind": "ConfigMap", "metadata": {"name": "late", "namespace": "t"}})
        await anyio.sleep(10)
        assert bench.store.find(Ref("Namespace", "t")) is None
        assert list(bench.store.namespaced("t")) == []

    run(main)


def _pod(name: str, *, node: str = "n1", phase: str = "Running", ready: bool = True, **more: str) -> Manifest:
    since = more.get("since", "2026-01-01T00:00:00Z")
    condition = {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": since}
    meta = {"name": name, "uid": name, "creationTimestamp": since, "annotations": {}}
    if "cost" in more:
        meta["annotations"] = {"controller.kubernetes.io/pod-deletion-cost": more["cost"]}
    return {
        "kind": "Pod",
        "metadata": meta,
        "spec": {"nodeName": node},
        "status": {"phase": phase, "conditions": [condition]},
    }


def test_who_goes_first_when_a_replica_set_shrinks() -> None:
    """Unassigned, pending, not ready, cheap, doubled up on a node, newest: in this order (ActivePodsWithRanks)."""
    now = 1_800_000_000.0
    pods = [
        _pod("old"),
        _pod("new", since="2027-01-15T07:59:00Z"),
        _pod("cheap", cost="-5"),
        _pod("doubled-1", node="n2"),
        _pod("doubled-2", node="n2"),
        _pod("unready", ready=False),
        _pod("pending", phase="Pending", ready=False),
        _pod("nowhere", node="", phase="Pending", ready=False),
    ]
    others = [_pod("x", node="n3"), _pod("y", node="n2")]
    order = [each["metadata"]["name"] for each in first_to_go(pods, [*pods[3:5], *others], now)]
    assert order[:4] == ["nowhere", "pending", "unready", "cheap"]
    assert set(order[4:6]) == {"doubled-1", "doubled-2"}
    assert order[6:] == ["new", "old"]
