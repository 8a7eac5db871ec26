"""A killed matrix is resumed: what is complete stays as it is, the rest is run, one report has all."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from hazd.journal import trial_state
from tests.e2e.hazd_command import BRIEF, COMMAND, PATIENT, hazd, run_json

MATRIX = (
    "matrix",
    "pod-delete",
    "--no-each",
    "--cluster",
    "lab",
    "--parallel",
    "1",
    "--rate",
    "60",
    "--replicas",
    "2",
    *PATIENT,
    *BRIEF,
)
NAME = ("--name", "night")


def digests(folder: Path) -> dict[str, str]:
    """The recorded data's checksums; what a report writes beside it is not recorded."""
    recorded = [path for path in folder.iterdir() if path.name in ("trial.json", "samples.arrow", "events.jsonl")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in recorded}


@pytest.mark.lab
@pytest.mark.usefixtures("lab_possible")
def test_a_killed_matrix_is_resumed(tmp_path: Path) -> None:
    """SIGKILL in the second trial: --resume runs that one alone, all reports are of both; other options are refused."""
    command = [*COMMAND, *MATRIX, *NAME, "--out", str(tmp_path)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    disruptions = 0
    for line in process.stderr:
        disruptions += "disruption: pod-delete" in line
        if disruptions == 2:
            break
    process.kill()
    process.communicate(timeout=30)
    assert disruptions == 2
    first, second = sorted((tmp_path / "night" / "trials").iterdir())
    assert (trial_state(first), trial_state(second) == "complete") == ("complete", False)
    before = digests(first)
    assert len(before) == 3

    again = hazd(*MATRIX, *NAME, "--out", str(tmp_path))
    assert again.returncode == 2
    assert "exists already" in again.stderr
    other = hazd(*MATRIX, *NAME, "--out", str(tmp_path), "--resume", "--rate", "61")
    assert other.returncode == 2
    assert "rate was 60.0, now it is 61.0" in other.stderr
    assert digests(first) == before
    _, summary = run_json(tmp_path, *MATRIX, *NAME, "--resume")
    assert digests(first) == before
    assert [trial["name"] for trial in summary["trials"]] == [first.name, second.name]
    assert all(trial["requests"]["recorded"] > 100 for trial in summary["trials"])
    assert trial_state(second) == "complete"
    assert json.loads((tmp_path / "night" / "summary.json").read_text()) == summary
    assert (tmp_path / "night" / "charts" / "failures_by_kind.png").stat().st_size > 10_000
    assert first.name in (tmp_path / "night" / "report.html").read_text()
