"""Variants of scenarios that the listing's own tests do not reach: --force, in place, several nodes, other vantages."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from hazd.cluster.kind import state
from hazd.cluster.kind.cluster import KindCluster
from hazd.journal import read_trial
from hazd.model import TrialRecord
from tests.e2e.hazd_command import has_fixes, hazd, run_decided, run_json
from tests.e2e.test_scenarios import CLUSTERS

pytestmark = pytest.mark.usefixtures("cluster_ready")
SMALL = ("--rate", "100", "--replicas", "3")


def every(_: dict[str, Any]) -> bool:
    return True


def none(_: dict[str, Any]) -> bool:
    return False


def decided(out: Path, *args: str, lossless: Callable[[dict[str, Any]], bool] = has_fixes) -> list[dict[str, Any]]:
    """The trials of a run that decides something."""
    _, summary = run_decided(out, *args, lossless=lossless)
    return list(summary["trials"])


def journal_of(out: Path, trial: dict[str, Any]) -> TrialRecord:
    """What the newest run of this folder recorded of a trial."""
    folder = max(out.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    return read_trial(folder / "trials" / trial["name"])


def stage_events(out: Path, trial: dict[str, Any]) -> list[tuple[str, str]]:
    """What the stage did: reason and the object's name."""
    events = journal_of(out, trial).events
    return [(event.reason, event.ref.name) for event in events if event.source == "stage"]


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_what_a_forced_deletion_loses_is_bounded(cluster: str, tmp_path: Path) -> None:
    """The minimum grace of one second outlasts a small cluster's proxies: all fixes leave a handful at most."""
    args = ("run", "pod-delete", "--force", "--compare", "--with-all", "--startup-delay", "2", "--cluster", cluster)
    without, fixed = decided(tmp_path, *args, *SMALL, lossless=none)
    assert without["verdict"] == "FAIL", without["reasons"]
    assert fixed["verdict"] in ("PASS", "FAIL"), fixed["reasons"]
    assert fixed["terminations"] == without["terminations"] == 3
    assert fixed["requests"]["failed"] <= 0.3 * without["requests"]["failed"]
    assert fixed["requests"]["failed"] <= 0.02 * fixed["requests"]["recorded"]
    assert fixed["upper_bound_failure_rate_95"] < 0.04


@pytest.mark.lab
@pytest.mark.parametrize("cluster", ["lab"])
def test_no_prestop_saves_what_is_sent_to_a_forced_pod(cluster: str, tmp_path: Path) -> None:
    """Where nodes hear late, the same fixes that lose nothing in an ordinary deletion lose requests in a forced one."""
    args = ("run", "pod-delete", "--with-all", "--set", "count=1", "--cluster", f"{cluster}:propagation_delay_s=3")
    (ordinary,) = decided(tmp_path / "ordinary", *args, *SMALL)
    (forced,) = decided(tmp_path / "forced", *args, *SMALL, "--force", lossless=none)
    assert ordinary["requests"]["failed"] == 0, ordinary["causes"]
    assert ordinary["verdict"] == "PASS", ordinary["reasons"]
    assert forced["requests"]["failed"] > 20
    assert forced["verdict"] == "FAIL", forced["reasons"]
    assert forced["attributed"] >= 0.8 * forced["requests"]["failed"], forced["causes"]


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_a_resize_in_place_loses_no_request(cluster: str, tmp_path: Path) -> None:
    """Every pod gets new CPU requests where it runs: none ends, none is evicted, nothing fails, no fix needed."""
    args = ("run", "vpa", "--set", "mode=in-place", "--cluster", cluster, "--replicas", "3", "--rate", "50")
    (trial,) = decided(tmp_path, *args, lossless=every)
    assert [reason for reason, _ in stage_events(tmp_path, trial)].count("resize") == 3
    assert trial["terminations"] == 0
    assert trial["requests"]["failed"] == 0, trial["causes"]
    assert trial["verdict"] == "PASS", trial["reasons"]


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_a_drain_of_every_node_is_refused_beforehand(cluster: str, tmp_path: Path) -> None:
    """Two workers, both to be drained: exit code 3 and what is needed, and nothing was made."""
    done = hazd("run", "drain", "--set", "nodes=2", "--cluster", cluster, "--out", str(tmp_path), "--name", "all")
    assert done.returncode == 3
    assert "drain needs 3 schedulable nodes (2 to take away and one more for the pods to go to)" in done.stderr
    assert "this cluster has 2" in done.stderr
    assert not (tmp_path / "all").exists()


@pytest.mark.lab
@pytest.mark.parametrize("cluster", ["lab:nodes=4"])
def test_two_nodes_are_drained_at_once_and_traffic_stays_off_them(cluster: str, tmp_path: Path) -> None:
    """Where a third takes the pods nothing is lost; --vantage workers means those that stay."""
    args = ("run", "drain", "--set", "nodes=2", "--with-all", "--vantage", "workers", "--cluster", cluster)
    (trial,) = decided(tmp_path, *args, *SMALL)
    drained = {name for reason, name in stage_events(tmp_path, trial) if reason == "drained-node"}
    assert len(drained) == 2
    workers = journal_of(tmp_path, trial).meta["workers"]
    assert workers
    assert {worker["node"] for worker in workers} & drained == set()
    assert trial["requests"]["failed"] == 0, trial["causes"]


@pytest.fixture
def kind_as_a_context(kind_cluster: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """hazd's kind cluster by its kubeconfig context, as if it were a user's; the image's name. No node stays paused."""

    async def image() -> str:
        async with KindCluster() as cluster:
            return (await cluster.images()).app

    monkeypatch.setenv("KUBECONFIG", str(state.kubeconfig_path()))
    yield anyio.run(image)
    nodes = subprocess.run(["docker", "ps", "--format", "{{.Names}}"], capture_output=True, text=True, check=True)
    for name in nodes.stdout.split():
        if name.startswith(f"{state.NAME}-worker"):
            subprocess.run(["docker", "unpause", name], capture_output=True, check=False)
    assert hazd("cluster", "create").returncode == 0


@pytest.mark.kind
@pytest.mark.nodes
@pytest.mark.parametrize("cluster", ["kind"])
def test_a_node_of_a_context_goes_and_comes_back_by_command(
    cluster: str, kind_as_a_context: str, tmp_path: Path
) -> None:
    """--node-command stops and starts it, the loss is there, and nothing is left: neither a mark nor a namespace."""
    command = "case {action} in stop) docker pause {node};; start) docker unpause {node};; esac"
    args = ("run", "node-failure", "--cluster", f"context:{state.context_name()}", "--image", kind_as_a_context)
    (trial,) = decided(tmp_path, *args, "--node-command", command, "--rate", "50", "--replicas", "2")
    reasons = [reason for reason, _ in stage_events(tmp_path, trial)]
    assert [each for each in reasons if each in ("stop-node", "start-node")] == ["stop-node", "start-node"]
    assert trial["requests"]["failed"] > 0
    asked = ["docker", "exec", f"{state.NAME}-control-plane", "kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf"]
    found = subprocess.run([*asked, "get", "nodes", "-o", "json"], capture_output=True, text=True, check=True).stdout
    notes = [note for node in json.loads(found)["items"] for note in node["metadata"].get("annotations") or {}]
    assert not [note for note in notes if note.startswith("hazd.dev/")]


@pytest.mark.lab
@pytest.mark.parametrize("cluster", ["lab"])
def test_a_prestop_that_the_grace_period_cuts_off_is_found(cluster: str, tmp_path: Path) -> None:
    """The trial looks fixed and is not: INCONCLUSIVE with the pod and how long its hook really had."""
    args = ("run", "pod-delete", "--with-prestop", "--grace-seconds", "2", "--set", "count=1", "--cluster", cluster)
    code, summary = run_json(tmp_path, *args, *SMALL)
    (trial,) = summary["trials"]
    assert code == 3
    assert trial["verdict"] == "INCONCLUSIVE"
    assert any("got SIGTERM before the preStop of 5 s was over" in reason for reason in trial["reasons"])
