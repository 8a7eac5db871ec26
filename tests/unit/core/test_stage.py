"""The stage and what ends a trial, on the lab's control loops in virtual time: all is put back, whatever happens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from hazd.cluster.kube.errors import Refused, Unreachable
from hazd.cluster.kube.objects import RETRY_S
from hazd.cluster.lab import LabCluster
from hazd.cluster.port import STOPPED_ANNOTATION, UNDO_ANNOTATION
from hazd.errors import ClusterError, EnvironmentProblem, TimedOut, UsageError
from hazd.model import Event, Manifest, Ref, Setup, TrafficPlan, Trial
from hazd.scenario import Scenario, load_scenarios
from hazd.stage.verbs import PUT_BACK_S, Stage
from hazd.trial.cleanup import clean_cluster
from hazd.trial.namespace import remove_namespace
from hazd.trial.preconditions import check_needs
from hazd.trial.vantage import vantage_nodes
from tests.unit.lab.bench import Bench, deployment, run

SCENARIOS = load_scenarios()
WORKERS = ["lab-worker", "lab-worker2"]


class Leaving(LabCluster):
    """A lab whose API server can go away: until `back_s` (virtual time) no verb is answered, then each is denied."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench.plant.options)
        self.store, self._plant = bench.store, bench.plant
        self.back_s = -1e9
        self.denies_s = 2.0
        """How long it denies everything once it is back: its caches of roles are empty then."""
        self.leaves_at: tuple[str, ...] = ()
        """What on the timeline takes it away for half a minute."""

    def saw(self, event: Event) -> None:
        if event.reason in self.leaves_at:
            self.leave(30)

    def leave(self, for_s: float) -> None:
        self.back_s = anyio.current_time() + for_s

    async def _answer(self) -> None:
        await anyio.lowlevel.checkpoint()
        # As kube_objects.py does, a call waits for its server a while before it fails.
        await anyio.sleep(max(0.0, min(RETRY_S, self.back_s - anyio.current_time())))
        if anyio.current_time() < self.back_s:
            raise Unreachable("the API server does not answer: Connection refused")
        if anyio.current_time() < self.back_s + self.denies_s:
            raise Refused('nodes is forbidden: User "admin" cannot patch resource "nodes"', "", 403, None)

    async def get(self, ref: Ref) -> Manifest:
        await self._answer()
        return await super().get(ref)

    async def list(self, kind: str, namespace: str = "", selector: str = "") -> list[Manifest]:
        await self._answer()
        return await super().list(kind, namespace, selector)

    async def patch(self, ref: Ref, patch: dict[str, Any], subresource: str = "") -> Manifest:
        await self._answer()
        return await super().patch(ref, patch, subresource)

    async def delete(self, ref: Ref, grace_s: int | None = None) -> bool:
        await self._answer()
        return await super().delete(ref, grace_s)


def on_stage(test: Callable[[Leaving, Stage, list[Event]], Awaitable[None]], scenario: str, **given: Any) -> None:
    """Run a test with four ready pods in namespace t, on a stage that has this scenario's options."""
    options = dict(SCENARIOS[scenario].options) | given

    async def main(bench: Bench) -> None:
        cluster = Leaving(bench)
        trial = Trial(scenario, scenario, (), 1, 0, 0, 4, Setup(()), TrafficPlan("", 1, ()), options=options)
        events: list[Event] = []

        def mark(event: Event) -> None:
            events.append(event)
            cluster.saw(event)

        stage = Stage(cluster, trial, Ref("Deployment", "app", "t"), "app:b", mark)
        bench.store.create(deployment(4))
        await stage.rollout_status()
        await test(cluster, stage, events)

    run(main, nodes=4, node_monitor_grace_s=5)


def untouched(cluster: LabCluster) -> bool:
    """Whether no node is cordoned, marked by hazd, or gone."""
    nodes = cluster.store.list("Node")
    notes = [note for node in nodes for note in node["metadata"].get("annotations") or {}]
    ready = [item["status"] for node in nodes for item in node["status"]["conditions"] if item["type"] == "Ready"]
    cordoned = [node for node in nodes if node["spec"].get("unschedulable")]
    return not cordoned and not {UNDO_ANNOTATION, STOPPED_ANNOTATION} & set(notes) and set(ready) == {"True"}


@pytest.mark.parametrize("name", ["drain", "node-failure"])
def test_a_scenario_outlasts_an_api_server_that_comes_back(name: str) -> None:
    """It goes away as soon as a node was touched, for half a minute; the scenario then ends as always."""

    async def test(cluster: Leaving, stage: Stage, events: list[Event]) -> None:
        cluster.leaves_at = ("drain", "stop-node")
        await SCENARIOS[name].disrupt(stage)
        assert {event.reason for event in events} & set(cluster.leaves_at)
        assert await stage.put_back() == []
        assert untouched(cluster)

    on_stage(test, name, **({"toleration_s": 1} if name == "node-failure" else {}))


def test_what_was_changed_is_put_back_when_the_api_server_returns() -> None:
    """The trial failed while it was away: the undo is tried until it is done, then the namespace goes."""

    async def test(cluster: Leaving, stage: Stage, events: list[Event]) -> None:
        for node in (await stage.nodes_of_pods())[:2]:
            await stage.cordon(node)
        cluster.leave(25)
        with pytest.raises(ClusterError):
            await stage.deployment()
        assert await stage.put_back() == []
        assert untouched(cluster)
        cluster.leave(25)
        await remove_namespace(cluster, "t")
        assert [item["metadata"]["name"] for item in cluster.store.list("Namespace")].count("t") == 0

    on_stage(test, "drain")


def test_an_api_server_that_stays_away_leaves_word_of_what_is_left() -> None:
    """Bounded; every undo is named with its remedy, and `hazd clean` then finishes them from the marks on the nodes."""

    async def test(cluster: Leaving, stage: Stage, events: list[Event]) -> None:
        first, second, third = (await stage.nodes_of_pods())[:3]
        await stage.cordon(first)
        await stage.cordon(second)
        await stage.stop_node(third)
        cluster.leave(3600)
        began = anyio.current_time()
        problems = await stage.put_back()
        assert anyio.current_time() - began <= PUT_BACK_S + 1
        assert len(problems) == 3
        for node, problem in zip((third, second, first), problems, strict=True):
            assert node in problem
            assert "Connection refused" in problem or "was not reached" in problem
            assert "`hazd clean`" in problem
        cluster.back_s = -1e9
        told: list[str] = []
        cluster.store.patch(Ref("Namespace", "t"), {"metadata": {"labels": {"app.kubernetes.io/managed-by": "hazd"}}})
        await clean_cluster(cluster, told.append)
        assert {f"lab: node {first} restored", f"lab: node {third} started", "lab: namespace t removed"} <= set(told)
        await anyio.sleep(20)
        assert untouched(cluster)
        told.clear()
        await clean_cluster(cluster, told.append)
        assert told == []

    on_stage(test, "drain")


def test_an_undo_that_cannot_be_done_stops_no_other() -> None:
    """A lasting error is reported once, with its words; a passing one right after a restart is outlasted."""

    async def test(cluster: Leaving, stage: Stage, events: list[Event]) -> None:
        calls: list[str] = []

        async def fails() -> None:
            calls.append("fails")
            raise ClusterError("start it by hand")

        async def fails_once() -> None:
            calls.append("fails_once")
            if calls.count("fails_once") == 1:
                raise ClusterError("forbidden, as the rules are not read yet")

        await stage.cordon(WORKERS[0])
        stage.undo("start node x", fails)
        stage.undo("the other", fails_once)
        assert await stage.put_back() == ["start node x: start it by hand"]
        assert calls[:3] == ["fails_once", "fails_once", "fails"]
        assert calls.count("fails") > 1
        assert untouched(cluster)
        assert await stage.put_back() == []

    on_stage(test, "drain")


def test_a_wait_gives_an_absent_api_server_up_in_the_end() -> None:
    """A minute of silence is the cluster's error; a state that does not come is a time-out that says what was seen."""

    async def test(cluster: Leaving, stage: Stage, events: list[Event]) -> None:
        cluster.leave(3600)
        with pytest.raises(Unreachable):
            await stage.rollout_status()
        cluster.back_s = -1e9
        with pytest.raises(TimedOut, match="4 ready of 4 pods, want 5"):
            await stage.wait_replicas(5, 10)

    on_stage(test, "scale")


def test_what_a_scenario_put_back_itself_is_not_put_back_again() -> None:
    """After a drain that went well the end of the trial touches no node: somebody else may have cordoned it since."""

    async def test(cluster: Leaving, stage: Stage, events: list[Event]) -> None:
        await SCENARIOS["drain"].disrupt(stage)
        (node,) = [event.ref.name for event in events if event.reason == "cordon"]
        cluster.store.patch(Ref("Node", node), {"spec": {"unschedulable": True}})
        assert await stage.put_back() == []
        assert cluster.store.get(Ref("Node", node))["spec"].get("unschedulable")

    on_stage(test, "drain")


def test_several_nodes_are_drained_at_once() -> None:
    """Both are empty, all pods run on the third, both are schedulable again."""

    async def test(cluster: Leaving, stage: Stage, events: list[Event]) -> None:
        before = (await stage.nodes_of_pods())[:2]
        await SCENARIOS["drain"].disrupt(stage)
        assert {event.ref.name for event in events if event.reason == "drained-node"} == set(before)
        assert not set(await stage.nodes_of_pods()) & set(before)
        assert untouched(cluster)

    on_stage(test, "drain", nodes=2)


def test_every_lack_of_a_cluster_is_told_at_once() -> None:
    """Too few nodes for two scenarios and an ability for a third: three lines, before anything is changed."""

    class Poor(Leaving):
        async def provide(self, need: str) -> str:
            return "" if need == "stop-node" else f"install {need}"

    async def main(bench: Bench) -> None:
        cluster = Poor(bench)

        def options(name: str, **given: Any) -> tuple[Scenario, dict[str, Any]]:
            return SCENARIOS[name], dict(SCENARIOS[name].options) | given

        await check_needs(cluster, [options("drain"), options("node-failure"), options("rollout")])
        cluster.store.patch(Ref("Node", WORKERS[1]), {"spec": {"unschedulable": True}})
        wanted = [options("drain", nodes=2), options("node-failure"), options("hpa"), options("vpa")]
        with pytest.raises(EnvironmentProblem) as found:
            await check_needs(cluster, wanted)
        assert found.value.message.splitlines() == [
            "drain needs 3 schedulable nodes (2 to take away and one more for the pods to go to), "
            "this cluster has 1 (lab-worker)",
            "node-failure needs 2 schedulable nodes (1 to take away and one more for the pods to go to), "
            "this cluster has 1 (lab-worker)",
            "hpa needs metrics: install metrics",
            "vpa needs vpa: install vpa",
        ]

    run(main)


def test_traffic_stays_off_nodes_that_are_taken_away() -> None:
    """Groups leave them out, node:NAME asks for one all the same; a group with nothing left is a usage error."""

    async def main(bench: Bench) -> None:
        cluster = Leaving(bench)
        taken = [WORKERS[0]]
        assert await vantage_nodes(cluster, ("workers",), taken) == [WORKERS[1]]
        assert await vantage_nodes(cluster, ("spread",), taken) == ["lab-control-plane", WORKERS[1]]
        assert await vantage_nodes(cluster, ("workers",)) == WORKERS
        asked = ("node:lab-worker", "workers")
        assert await vantage_nodes(cluster, asked, taken) == WORKERS
        assert await vantage_nodes(cluster, (), ["lab-control-plane"]) == [WORKERS[0]]
        with pytest.raises(UsageError, match="takes away"):
            await vantage_nodes(cluster, ("workers",), WORKERS)

    run(main)
