"""The control target beside a real run: untouched by the disruption, and failing only when the network does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.hazd_command import run_decided, run_json

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("lab_possible")]
CUT = '''"""The traffic worker's node leads every Service into the void for three seconds; no pod is touched."""

from dataclasses import replace

from hazd.scenario import scenario
from hazd.stage import Stage


@scenario("the worker's network is cut for three seconds", expects=())
async def disrupt(stage: Stage) -> None:
    (worker,) = await stage.cluster.list("Pod", stage.namespace, "app=hazd-worker")
    node, machine = worker["spec"]["nodeName"], stage.cluster.plant.machine
    ports = list(stage.cluster.plant.proxies[node].ports.values())
    nobody = ("172.30.255.254", 8080)
    await machine.rules(node, [replace(port, endpoints=(nobody,)) for port in ports])
    try:
        await stage.sleep(3)
    finally:
        await machine.rules(node, ports)
'''


def test_a_rollout_touches_the_service_and_not_the_control(tmp_path: Path) -> None:
    """Without fixes the service loses requests and its control none; drain, labels and budgets never see it."""
    args = ("run", "rollout", "--cluster", "lab", "--startup-delay", "1", "--rate", "100", "--warmup", "2")
    code, summary = run_decided(tmp_path, *args)
    (trial,) = summary["trials"]
    assert (code, trial["verdict"]) == (1, "FAIL"), trial["reasons"]
    assert trial["requests"]["failed"] > 0
    control = trial["control"]
    assert control["failed"] == 0
    assert control["due"] == control["recorded"] + control["not_sent"]
    # the rates of 100 a second and of a tenth of it are kept side by side
    assert 7.5 < trial["requests"]["due"] / control["due"] < 12.5
    assert [stream["name"] for stream in trial["streams"]] == ["new", "reused"]
    assert not [pod for pod in trial["accounting"]["pods"] if "control" in pod]
    assert trial["accounting"]["reconciled"]


def test_a_cut_network_is_told_from_a_failing_service(tmp_path: Path) -> None:
    """Nobody reaches anybody from the worker's node, the control neither: INCONCLUSIVE, with that reason."""
    (tmp_path / "cut.py").write_text(CUT)
    args = ("run", "cut", "--scenarios", str(tmp_path), "--cluster", "lab", "--rate", "60", "--request-timeout", "1")
    code, summary = run_json(tmp_path, *args, "--warmup", "2", "--settle", "3")
    (trial,) = summary["trials"]
    assert (code, trial["verdict"]) == (3, "INCONCLUSIVE"), trial["reasons"]
    assert trial["requests"]["failed"] > 0
    assert trial["control"]["failed"] > 0
    assert any("to a pod that nothing disturbed failed too: client or network" in text for text in trial["reasons"])
    assert "control_failed_too" in {cause["rule"] for cause in trial["causes"]}


def test_the_control_can_be_left_out(tmp_path: Path) -> None:
    """--control-rate 0: no pod, no stream, no field."""
    args = ("run", "pod-delete", "--cluster", "lab", "--rate", "60", "--warmup", "1", "--settle", "1")
    _, summary = run_json(tmp_path, *args, "--control-rate", "0")
    (trial,) = summary["trials"]
    assert trial["control"] is None
