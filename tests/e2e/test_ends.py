"""However a run ends, its data is kept, nothing stays in the cluster, and the exit code says what happened."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from hazd.journal import read_trial
from tests.e2e.hazd_command import COMMAND, hazd
from tests.e2e.test_scenarios import CLUSTERS

pytestmark = pytest.mark.usefixtures("cluster_ready")
ARGS = ("rollout", "--startup-delay", "2", "--rate", "100")


def start_and_wait_for(text: str, out: Path, cluster: str) -> subprocess.Popen[str]:
    """A run in the background that has said `text` on standard error."""
    command = [*COMMAND, "run", *ARGS, "--cluster", cluster, "--out", str(out), "--name", "cut"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return process
    raise AssertionError(f"the run ended ({process.wait()}) before it said {text!r}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("cluster", CLUSTERS)
def test_an_interrupted_run_keeps_the_data_and_cleans_up(cluster: str, number: signal.Signals, tmp_path: Path) -> None:
    """Exit code 130, complete records up to the interruption, a report, nothing left to clean."""
    process = start_and_wait_for("disruption: rollout", tmp_path, cluster)
    process.send_signal(number)
    _, errors = process.communicate(timeout=150)
    assert process.returncode == 130, errors[-3000:]
    record = read_trial(tmp_path / "cut" / "trials" / "rollout--baseline")
    assert record.meta["state"] == "interrupted"
    (worker,) = record.meta["workers"]
    assert worker["due"] == worker["recorded"] + worker["not_sent"] == len(record.samples) + worker["not_sent"]
    assert worker["sha256_ok"]
    assert len(record.samples) > 100
    assert json.loads((tmp_path / "cut" / "summary.json").read_text())["verdict"] == "INCONCLUSIVE"
    assert "cut" not in hazd("clean", "--cluster", cluster).stdout


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_what_a_killed_run_left_is_cleaned(cluster: str, tmp_path: Path) -> None:
    """After SIGKILL `hazd clean` removes everything, a second time there is nothing, and the records are readable."""
    process = start_and_wait_for("disruption: rollout", tmp_path, cluster)
    process.kill()
    process.communicate(timeout=30)
    cleaned = hazd("clean", "--cluster", cluster)
    assert cleaned.returncode == 0
    # The lab dies with its hazd, so there the kernel has cleaned already.
    assert cluster == "lab" or "cut" in cleaned.stdout
    assert "cut" not in hazd("clean", "--cluster", cluster).stdout
    record = read_trial(tmp_path / "cut" / "trials" / "rollout--baseline")
    assert any("did not end" in problem for problem in record.problems)
    assert len(record.samples) > 50
    assert hazd("report", str(tmp_path / "cut")).returncode == 3


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_a_run_of_the_same_name_is_refused(cluster: str, tmp_path: Path) -> None:
    """Nothing recorded is overwritten: exit code 2 and a message that names the folder."""
    (tmp_path / "taken").mkdir()
    done = hazd("run", *ARGS, "--cluster", cluster, "--out", str(tmp_path), "--name", "taken")
    assert done.returncode == 2
    assert str(tmp_path / "taken") in done.stderr
