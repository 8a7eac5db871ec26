"""Runs on one cluster leave one another alone: live ones are known, cordons have holders, an admin's own survives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import anyio
import pytest

from hazd.cluster.lab.state import start_time
from hazd.cluster.port import MANAGED_BY, STOPPED_ANNOTATION, UNDO_ANNOTATION
from hazd.errors import ClusterError
from hazd.model import Manifest, Ref, Setup, TrafficPlan, Trial
from hazd.stage import Stage
from hazd.trial.cleanup import clean_cluster
from hazd.trial.lease import LASTS_S, NAME, RENEW_S, hold_lease, holder, holds, lease
from tests.unit.trial.bench import Desk, on_desk

NODE = "lab-worker"
S = 1_000_000_000


def stage(desk: Desk, namespace: str) -> Stage:
    trial = Trial("t", "t", (), 1, 0, 0, 4, Setup(()), TrafficPlan("", 1, ()))
    return Stage(desk, trial, Ref("Deployment", "app", namespace), "app:b", lambda event: None)


def node(desk: Desk) -> Manifest:
    return desk.store.get(Ref("Node", NODE))


def marks(desk: Desk) -> set[str]:
    return {UNDO_ANNOTATION, STOPPED_ANNOTATION} & set(node(desk)["metadata"].get("annotations") or {})


def add_namespace(desk: Desk, name: str, **spec: Any) -> None:
    desk.store.create({"kind": "Namespace", "metadata": {"name": name, "labels": dict(MANAGED_BY)}})
    if spec:
        doc = lease(name, "run")
        desk.store.create({**doc, "spec": doc["spec"] | spec})


def test_an_admins_own_cordon_survives() -> None:
    """The node was cordoned before: after the drain it still is, and no mark of hazd's is left."""

    async def test(desk: Desk) -> None:
        desk.store.patch(Ref("Node", NODE), {"spec": {"unschedulable": True}})
        one = stage(desk, "a")
        await one.cordon(NODE)
        assert marks(desk) == {UNDO_ANNOTATION}
        assert await one.put_back() == []
        assert node(desk)["spec"]["unschedulable"] is True
        assert marks(desk) == set()

    on_desk(test)


def test_two_runs_never_undo_each_others_cordon() -> None:
    """The first to end leaves the node cordoned for the other; the last restores what was before both."""

    async def test(desk: Desk) -> None:
        one, two = stage(desk, "a"), stage(desk, "b")
        await one.cordon(NODE)
        await two.cordon(NODE)
        await one.uncordon(NODE)
        assert node(desk)["spec"]["unschedulable"] is True
        await one.uncordon(NODE)
        assert json.loads(node(desk)["metadata"]["annotations"][UNDO_ANNOTATION])["holders"] == ["b"]
        assert await two.put_back() == []
        assert not node(desk)["spec"].get("unschedulable")
        assert marks(desk) == set()

    on_desk(test)


def test_a_node_that_another_run_stopped_is_not_stopped_again() -> None:
    """The second run's disruption would be the first one's end."""

    async def test(desk: Desk) -> None:
        one, two = stage(desk, "a"), stage(desk, "b")
        await one.stop_node(NODE)
        with pytest.raises(ClusterError, match="stopped by another run, in namespace a"):
            await two.stop_node(NODE)
        assert await two.put_back() == []
        assert marks(desk) == {STOPPED_ANNOTATION}
        assert await one.put_back() == []
        assert marks(desk) == set()

    on_desk(test)


def test_clean_leaves_alone_what_a_live_run_holds() -> None:
    """Its namespace, its cordon and its stopped node stay and are named; a dead run's go; --all takes all."""

    async def test(desk: Desk) -> None:
        add_namespace(desk, "alive", holderIdentity=holder())
        add_namespace(desk, "dead", holderIdentity=holder().rsplit("/", 1)[0] + "/1")
        add_namespace(desk, "old")
        await stage(desk, "alive").cordon(NODE)
        await stage(desk, "dead").cordon(NODE)
        await stage(desk, "alive").stop_node("lab-worker2")
        lines: list[str] = []
        await clean_cluster(desk, lines.append)
        assert sorted(lines) == [
            "lab: namespace alive belongs to a run that is under way; --all removes it too",
            "lab: namespace dead removed",
            "lab: namespace old removed",
            "lab: node lab-worker restored",
        ]
        assert node(desk)["spec"]["unschedulable"] is True
        assert json.loads(node(desk)["metadata"]["annotations"][UNDO_ANNOTATION])["holders"] == ["alive"]
        lines.clear()
        await clean_cluster(desk, lines.append, everything=True)
        assert sorted(lines) == [
            "lab: namespace alive removed",
            "lab: node lab-worker restored",
            "lab: node lab-worker2 started",
        ]
        assert not node(desk)["spec"].get("unschedulable")

    on_desk(test)


def test_a_mark_that_cannot_be_read_is_one_error_and_stops_nothing_else() -> None:
    """Somebody edited the annotation: the node is named with the remedy, namespaces are removed all the same."""

    async def test(desk: Desk) -> None:
        add_namespace(desk, "old")
        desk.store.patch(Ref("Node", NODE), {"metadata": {"annotations": {UNDO_ANNOTATION: "[]"}}})
        lines: list[str] = []
        with pytest.raises(ClusterError, match=r"node lab-worker: annotation hazd.dev/undo cannot be read: \[\]"):
            await clean_cluster(desk, lines.append)
        assert lines == ["lab: namespace old removed"]

    on_desk(test)


def test_a_lease_is_renewed_and_a_cluster_that_refuses_it_is_a_note() -> None:
    """renewTime moves on while the trial runs; without the permission the trial goes on."""

    async def test(desk: Desk) -> None:
        add_namespace(desk, "a")
        notes: list[str] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold_lease, desk, "a", "run", notes.append)
            await anyio.sleep(1)
            desk.store.patch(Ref("Lease", NAME, "a"), {"spec": {"renewTime": "2020-01-01T00:00:00.000000Z"}})
            await anyio.sleep(RENEW_S)
            spec = desk.store.get(Ref("Lease", NAME, "a"))["spec"]
            tasks.cancel_scope.cancel()
        assert not spec["renewTime"].startswith("2020")
        await hold_lease(desk, "no-such-namespace", "run", notes.append)
        assert notes[0].startswith("no Lease could be created")

    on_desk(test)


def test_a_holder_on_this_machine_is_known_by_its_process() -> None:
    """Alive as long as the process is, whatever renewTime says; dead at once with it."""
    here = holder().rsplit("/", 2)[0]
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    spec = {"holderIdentity": f"{here}/{child.pid}/{start_time(child.pid)}", "renewTime": "2020-01-01T00:00:00.000000Z"}
    assert holds(spec, 0)
    assert not holds(spec | {"holderIdentity": f"{here}/{child.pid}/1"}, 0)
    child.communicate(b"\n")
    assert not holds(spec | {"renewTime": "2099-01-01T00:00:00.000000Z", "leaseDurationSeconds": 180}, 0)
    assert holder() == f"{here}/{os.getpid()}/{start_time(os.getpid())}"


@pytest.mark.parametrize(("seconds", "alive"), [(0, True), (LASTS_S - 1, True), (LASTS_S + 1, False)])
def test_a_holder_elsewhere_is_known_by_its_lease(seconds: int, alive: bool) -> None:
    """Until it has run out."""
    renewed_ns = 1_767_225_600 * S  # 2026-01-01
    spec = {"holderIdentity": "elsewhere/7/1", "renewTime": "2026-01-01T00:00:00.000000Z", "leaseDurationSeconds": 180}
    assert holds(spec, renewed_ns + seconds * S) is alive
    assert not holds({}, renewed_ns)
