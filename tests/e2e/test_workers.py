"""Several workers are one schedule, and one that is lost in the middle is named with the exact interval it missed."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from hazd.journal import read_trial
from hazd.traffic.pacer import Profile
from tests.e2e.hazd_command import hazd, run_decided
from tests.e2e.test_scenarios import CLUSTERS

pytestmark = pytest.mark.usefixtures("cluster_ready")
RATE = 200
LOSS = '''
"""A rolling update in the middle of which the last worker is lost."""

from hazd.trial.worker import index_of
from hazd.model import Ref
from hazd.scenario import scenario
from hazd.stage import Stage


@scenario("a worker is lost", fixes=("prestop", "readiness", "graceful-shutdown"), expects=("terminations",))
async def disrupt(stage: Stage) -> None:
    await stage.set_image()
    worker = max(await stage.cluster.list("Pod", stage.namespace, "app=hazd-worker"), key=index_of)["metadata"]
    await HOW
    await stage.rollout_status()
'''
HOW = {
    "pod": 'stage.cluster.delete(Ref("Pod", worker["name"], stage.namespace), 0)',
    "process": 'stage.cluster.plant.machine.kill(worker["uid"] + "/worker/1", 9)',
}


def workers_of(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read_trial(folder).meta["workers"]
    return found


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_workers_on_all_nodes_send_one_schedule(cluster: str, tmp_path: Path) -> None:
    """PASS; every number of the schedule exactly once over all workers, in one file in the order of due times."""
    args = ("rollout", "--with-all", "--workers", "2", "--vantage", "spread", "--rate", str(RATE))
    code, summary = run_decided(tmp_path, "run", *args, "--cluster", cluster, "--settle", "1")
    (trial,) = summary["trials"]
    assert (code, trial["verdict"]) == (0, "PASS"), trial["reasons"]
    folder = tmp_path / summary["run"] / "trials" / trial["name"]
    table = pa.ipc.open_file(str(folder / "samples.arrow")).read_all()
    due_ns = table.column("due_ns").to_pylist()
    assert due_ns == sorted(due_ns)
    assert sorted(table.column("seq").to_pylist()) == list(range(len(due_ns)))
    workers = workers_of(folder)
    assert len(workers) >= 2
    assert len({item["node"] for item in workers}) == summary["cluster"]["nodes"]
    assert sum(item["due"] for item in workers) == len(due_ns)
    for item in workers:
        mine = [seq for seq, number in zip(*seqs_of(table), strict=True) if number == item["id"]]
        assert {seq % len(workers) for seq in mine} == {item["id"]}


def seqs_of(table: Any) -> tuple[list[int], list[int]]:
    return table.column("seq").to_pylist(), table.column("worker").to_pylist()


@pytest.mark.parametrize(
    ("cluster", "how"),
    [
        pytest.param("lab", "pod", marks=pytest.mark.lab),
        pytest.param("lab", "process", marks=pytest.mark.lab),
        pytest.param("kind", "pod", marks=pytest.mark.kind),
    ],
)
def test_a_lost_worker_makes_the_trial_inconclusive_and_is_named(cluster: str, how: str, tmp_path: Path) -> None:
    """Its records up to the loss are kept, what it missed is counted from its first missing request to the end."""
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenarios" / "worker_lost.py").write_text(LOSS.lstrip().replace("HOW", HOW[how]))
    args = (
        "--workers",
        "2",
        "--rate",
        str(RATE),
        "--settle",
        "1",
        "--control-rate",
        "0",
        "--with-prestop",
        "--with-readiness",
        "--with-graceful-shutdown",
    )
    where = ("--cluster", cluster, "--scenarios", str(tmp_path / "scenarios"), "--out", str(tmp_path), "--name", "r")
    done = hazd("run", "worker-lost", *args, *where)
    assert done.returncode == 3
    (folder,) = (tmp_path / "r" / "trials").iterdir()
    record = read_trial(folder)
    kept, gone = record.meta["workers"]
    assert (kept["lost"], kept["sha256_ok"], kept["error"]) == (0, True, "")
    assert gone["lost"] > 0
    assert gone["due"] == gone["recorded"] + gone["not_sent"] + gone["lost"]
    assert abs(gone["due"] - kept["due"]) <= 1
    mine = record.samples[record.samples["worker"] == gone["id"]]
    assert len(mine) == gone["recorded"] > 0
    phases = record.meta["phases"]
    from_ns, until_ns = gone["missed_ns"]
    assert until_ns == phases["traffic_end_ns"]
    start_ns = phases["traffic_start_ns"]
    times = Profile.parse("constant", RATE).due_times(start_ns, gone["id"], 2)
    owed = itertools.takewhile(lambda each: each[1] < until_ns, times)
    have = set(mine["seq"])
    missing = [due_ns for seq, due_ns in owed if seq not in have]
    assert (gone["lost"] + gone["not_sent"], from_ns) == (len(missing), missing[0])
    since, until = ((at_ns - start_ns) / 1e9 for at_ns in (from_ns, until_ns))
    words = rf"worker {gone['id']} on {re.escape(gone['node'])} was lost: .* {gone['lost']:,} requests due from "
    assert re.search(words + rf"{since:.3f} s to {until:.3f} s", (tmp_path / "r" / "summary.json").read_text())
