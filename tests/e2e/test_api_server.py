"""The API server crashes in the middle of a disruption: everything is put back, and a trial with a gap is no PASS."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hazd.cluster.kind.state import NAME, kubeconfig_path
from hazd.journal import read_trial
from tests.e2e.hazd_command import COMMAND, hazd

CONTROL_PLANE = f"{NAME}-control-plane"
AWAY_S = 20.0
"""More than the calls' own retries outlast."""
# A static pod's kubelet starts it again at once, unless its manifest has gone. SIGKILL: a crash says no good-bye.
CRASH = "mv /etc/kubernetes/manifests/kube-apiserver.yaml /run/ && kill -9 $(pgrep -x kube-apiserver)"
RETURN = "test ! -e /run/kube-apiserver.yaml || mv /run/kube-apiserver.yaml /etc/kubernetes/manifests/"


def in_control_plane(*command: str, check: bool = True) -> str:
    argv = ["docker", "exec", CONTROL_PLANE, *command]
    return subprocess.run(argv, capture_output=True, text=True, check=check, timeout=60).stdout


def kubectl(*words: str) -> str:
    return in_control_plane("kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf", *words)


@pytest.fixture
def returning_api_server(kind_cluster: None) -> Iterator[None]:
    """However the test ends, the API server and what depends on it are back."""
    yield
    in_control_plane("sh", "-c", RETURN)
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        status = json.loads(hazd("cluster", "status", "--json").stdout)
        if status["state"] == "running":
            return
        time.sleep(2)
    raise AssertionError(f"the cluster did not recover: {status['problem']}")


@pytest.mark.kind
@pytest.mark.nodes
@pytest.mark.usefixtures("returning_api_server")
def test_a_cluster_whose_api_server_restarts_is_not_made_anew() -> None:
    """Its kubelet brings it back within seconds; until then `create` waits instead of deleting what runs there."""
    argv = ["docker", "inspect", "-f", "{{.Id}} {{.State.StartedAt}}", CONTROL_PLANE]
    before = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    in_control_plane("sh", "-c", "kill -9 $(pgrep -x kube-apiserver)")
    assert hazd("cluster", "create").returncode == 0
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == before


@pytest.mark.kind
@pytest.mark.nodes
@pytest.mark.usefixtures("returning_api_server")
def test_a_crash_of_the_api_server_leaves_nothing_behind(tmp_path: Path) -> None:
    """Killed when the node is cordoned, back after a while: no cordon, no mark and no namespace is left, and the trial
    tells of the gap, or of its own failure, with every request accounted for.
    """
    command = [*COMMAND, "run", "drain", "--cluster", "kind", "--rate", "50", "--startup-delay", "2", "--with-all"]
    command += ["--out", str(tmp_path), "--name", "crash"]
    assert kubeconfig_path().exists()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    said = []
    try:
        for line in process.stderr:
            said.append(line)
            if " cordon " in line:
                break
        assert " cordon " in said[-1], "".join(said)[-4000:]
        in_control_plane("sh", "-c", CRASH)
        time.sleep(AWAY_S)
        in_control_plane("sh", "-c", RETURN)
        _, rest = process.communicate(timeout=400)
    finally:
        process.kill()
        process.wait()
    errors = "".join([*said, rest])
    assert process.returncode in (1, 3), errors[-4000:]
    (folder,) = (tmp_path / "crash" / "trials").iterdir()
    record = read_trial(folder)
    (trial,) = json.loads((tmp_path / "crash" / "summary.json").read_text())["trials"]
    assert trial["verdict"] != "PASS"
    if record.meta["state"] == "complete":
        assert any("saw nothing for" in reason for reason in trial["reasons"]), trial["reasons"]
        requests = trial["requests"]
        assert requests["due"] == requests["recorded"] + requests["not_sent"]
        assert trial["accounting"]["complete"], trial["accounting"]["problems"]
    else:
        assert process.returncode == 3, errors[-4000:]
    assert record.meta["notes"] == [], errors[-4000:]
    nodes = json.loads(kubectl("get", "nodes", "-o", "json"))["items"]
    assert [node["metadata"]["name"] for node in nodes if node["spec"].get("unschedulable")] == []
    notes = [note for node in nodes for note in node["metadata"].get("annotations") or {}]
    assert [note for note in notes if note.startswith("hazd.dev/")] == []
    assert "hazd-crash" not in kubectl("get", "namespaces", "-o", "name")
    assert "crash" not in hazd("clean", "--cluster", "kind").stdout
