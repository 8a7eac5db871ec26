"""Every scenario in the listing, with and without its fixes, on lab and kind: the failure is there, then it is not.

Each is one `hazd matrix SCENARIO --no-each`, the command of the nightly workflow, and both tests look at its trials.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest

from hazd.scenario import load_scenarios
from tests.e2e.hazd_command import has_fixes, run_decided

SCENARIOS = load_scenarios()
LAB = "lab:node_monitor_grace_s=10,hpa_sync_s=5,metrics_resolution_s=5,vpa_loop_s=5"
"""The lab with a control plane that looks more often than Kubernetes' own, so that the lane ends sooner."""
RATE = {"node-failure": "60", "rollout": "200", "pod-delete": "200"}
"""Requests a second where 100 are too few (a stale rule meets a gone address a dozen times) or more than needed."""
SOONER = {("lab", "hpa"): ("--profile", "steps:20%@8,100%@25,20%@3600")}
"""A load that rises and falls as fast as the lab's shortened loops see it."""
KILLED = {"node-failure"}
"""What no fix can cure: loss is reported and bounded instead."""

CLUSTERS = [pytest.param("lab", marks=pytest.mark.lab), pytest.param("kind", marks=pytest.mark.kind)]
pytestmark = pytest.mark.usefixtures("cluster_ready")


@functools.cache
def trials_of(cluster: str, name: str, folder: Path) -> dict[bool, dict[str, Any]]:
    """The trial without fixes (False) and the one with all of them (True), run once for both tests."""
    where = LAB if cluster == "lab" else cluster
    args: tuple[str, ...] = ("matrix", name, "--no-each", "--cluster", where, "--rate", RATE.get(name, "100"))
    args += SOONER.get((cluster, name), ())

    def met(summary: dict[str, Any]) -> bool:
        # How stale a node's rules are is chance: now and then every proxy syncs before the address has gone.
        without = next(trial for trial in summary["trials"] if not trial["fixes"])
        return name != "rollout" or kinds(without, "no_route", "timeout") > 0

    def lossless(trial: dict[str, Any]) -> bool:
        return has_fixes(trial) and name not in KILLED

    _, summary = run_decided(folder, *args, timeout_s=1500, met=met, lossless=lossless)
    return {bool(trial["fixes"]): trial for trial in summary["trials"]}


@pytest.fixture
def trials(cluster: str, name: str, tmp_path_factory: pytest.TempPathFactory) -> dict[bool, dict[str, Any]]:
    return trials_of(cluster, name, tmp_path_factory.getbasetemp())


def kinds(trial: dict[str, Any], *names: str) -> int:
    return sum(int(trial["failures"][name]) for name in names)


@pytest.mark.parametrize("cluster", CLUSTERS)
@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_without_fixes_the_failure_is_seen(name: str, trials: dict[bool, dict[str, Any]]) -> None:
    """FAIL, with the failures that the scenario is there to show, most of them tied to a cause."""
    trial = trials[False]
    assert trial["verdict"] == "FAIL", trial["reasons"]
    if name == "keepalive-scale-out":
        assert trial["skew"]["newcomers_share"] < 0.1
        return
    assert trial["requests"]["failed"] > 0
    assert trial["attributed"] >= 0.8 * trial["requests"]["failed"], trial["causes"]
    if name in ("rollout", "pod-delete"):
        assert kinds(trial, "refused") > 0
    if name == "rollout":
        assert kinds(trial, "no_route", "timeout") > 0
    if name == "drain":
        assert trial["outages"]["longest_ms"] > 500


@pytest.mark.parametrize("cluster", CLUSTERS)
@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_with_all_its_fixes_nothing_is_lost(name: str, trials: dict[bool, dict[str, Any]]) -> None:
    """PASS with 0 failed; where nothing can save every request, fewer than without and bounded."""
    trial = trials[True]
    failed = trial["requests"]["failed"]
    if name in KILLED:
        assert 0 < failed < 0.7 * trials[False]["requests"]["failed"]
        return
    assert failed == 0, trial["causes"]
    assert trial["verdict"] == "PASS", trial["reasons"]
