"""The scheduler: where a pod may go, where it goes, and what is said when it may go nowhere."""

from __future__ import annotations

from collections import Counter

import anyio
import pytest

from hazd.manifests.conditions import condition
from hazd.model import Manifest, Ref

from .bench import Bench, container, deployment, pod, pod_template, run

HOST = "kubernetes.io/hostname"


def _term(**more: object) -> Manifest:
    return {"labelSelector": {"matchLabels": {"app": "app"}}, "topologyKey": HOST, **more}


def _nodes(bench: Bench) -> Counter[str]:
    return Counter(pod["spec"].get("nodeName", "") for pod in bench.pods())


def test_replicas_are_spread_over_the_workers() -> None:
    """Nobody asked for it: the default spread evens them out, and the tainted control plane gets none."""

    async def main(bench: Bench) -> None:
        bench.store.create(deployment(8))
        await anyio.sleep(3)
        assert _nodes(bench) == {"lab-worker": 4, "lab-worker2": 4}

    run(main)


def test_a_cordoned_node_takes_nobody_and_keeps_its_own() -> None:
    """spec.unschedulable keeps new pods away; what is there stays; uncordoned, it takes pods again."""

    async def main(bench: Bench) -> None:
        bench.store.create(deployment(4))
        await anyio.sleep(3)
        node = Ref("Node", "lab-worker")
        bench.store.patch(node, {"spec": {"unschedulable": True}})
        bench.store.patch(Ref("Deployment", "app", "t"), {"spec": {"replicas": 8}})
        await anyio.sleep(3)
        assert _nodes(bench) == {"lab-worker": 2, "lab-worker2": 6}
        bench.store.patch(node, {"spec": {"unschedulable": None}})
        bench.store.patch(Ref("Deployment", "app", "t"), {"spec": {"replicas": 12}})
        await anyio.sleep(3)
        assert _nodes(bench) == {"lab-worker": 6, "lab-worker2": 6}

    run(main)


def test_required_anti_affinity_leaves_the_rest_pending() -> None:
    """One a node: the third replica on two workers waits with its condition saying why, until there is room."""

    async def main(bench: Bench) -> None:
        affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [_term()]}}
        bench.store.create(deployment(3, pod_template(affinity=affinity)))
        await anyio.sleep(3)
        assert _nodes(bench) == {"lab-worker": 1, "lab-worker2": 1, "": 1}
        [waiting] = [each for each in bench.pods() if not each["spec"].get("nodeName")]
        found = condition(waiting, "PodScheduled") or {}
        assert (found["status"], found["reason"]) == ("False", "Unschedulable")
        assert "anti-affinity" in found["message"]
        assert "FailedScheduling" in bench.reasons(waiting["metadata"]["name"])
        bench.store.patch(Ref("Node", "lab-control-plane"), {"spec": {"taints": None}})
        await anyio.sleep(3)
        assert _nodes(bench) == {"lab-worker": 1, "lab-worker2": 1, "lab-control-plane": 1}

    run(main)


def test_preferred_affinity_packs_and_preferred_anti_affinity_parts() -> None:
    """hazd's own "packed" placement (affinity, and a spread over a label that all nodes share) fills one node."""

    async def main(bench: Bench) -> None:
        near = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": _term()}]}
        flat = {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/os",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"app": "app"}},
        }
        packed = pod_template(affinity={"podAffinity": near}, topologySpreadConstraints=[flat])
        bench.store.create(deployment(4, packed))
        await anyio.sleep(3)
        assert sorted(_nodes(bench).values()) == [4]
        apart = pod_template(affinity={"podAntiAffinity": near})
        spec = {"affinity": apart["spec"]["affinity"], "topologySpreadConstraints": None}
        bench.store.patch(Ref("Deployment", "app", "t"), {"spec": {"template": {"spec": spec}}})
        await anyio.sleep(30)
        assert sorted(_nodes(bench).values()) == [2, 2]

    run(main)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"nodeSelector": {HOST: "nowhere"}}, "node affinity/selector"),
        ({"nodeSelector": {HOST: "lab-control-plane"}}, "untolerated taint"),
    ],
)
def test_what_fits_nowhere_is_told(spec: Manifest, words: str) -> None:
    """The condition counts the nodes by reason."""

    async def main(bench: Bench) -> None:
        bench.store.create(pod("one", **spec))
        await anyio.sleep(2)
        found = condition(bench.store.get(Ref("Pod", "one", "t")), "PodScheduled") or {}
        assert found["message"].startswith("0/3 nodes are available")
        assert words in found["message"]

    run(main)


def test_requests_fill_a_node() -> None:
    """Two pods of 3 cores do not fit on one node of 4."""

    async def main(bench: Bench) -> None:
        big = container(resources={"requests": {"cpu": "3"}})
        bench.store.create(deployment(3, pod_template(big)))
        await anyio.sleep(3)
        assert _nodes(bench) == {"lab-worker": 1, "lab-worker2": 1, "": 1}
        [waiting] = [each for each in bench.pods() if not each["spec"].get("nodeName")]
        assert "Insufficient cpu" in (condition(waiting, "PodScheduled") or {})["message"]

    run(main, node_cpu=4)


def test_a_pod_with_a_node_name_goes_there_whatever_its_taints() -> None:
    """spec.nodeName is past the scheduler: hazd's workers sit on the control plane so."""

    async def main(bench: Bench) -> None:
        bench.store.create(pod("one", nodeName="lab-control-plane"))
        await anyio.sleep(3)
        assert [each["metadata"]["name"] for each in bench.ready()] == ["one"]

    run(main)


def test_a_hard_spread_constraint_holds() -> None:
    """maxSkew 1 over hostnames with one node cordoned: the skew stops the rest."""

    async def main(bench: Bench) -> None:
        bench.store.patch(Ref("Node", "lab-worker"), {"spec": {"unschedulable": True}})
        hard = {"maxSkew": 1, "topologyKey": HOST, "whenUnsatisfiable": "DoNotSchedule"}
        hard["labelSelector"] = {"matchLabels": {"app": "app"}}
        bench.store.create(deployment(3, pod_template(topologySpreadConstraints=[hard])))
        await anyio.sleep(3)
        assert _nodes(bench) == {"lab-worker2": 1, "": 2}

    run(main)
