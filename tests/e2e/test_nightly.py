"""The nightly workflow's shell steps, read from its file, run as they are: a matrix, a comparison, a kept baseline."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.nightly_steps import ROOT, shell_steps

SHARED = ("hazd cluster delete", "make setup")
"""Not here: other tests need the cluster, and the machine is set up already when its kind lane runs."""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder in which make finds this checkout's environment up to date, and reports of its own."""
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(ROOT / ".venv" / "bin")
    (tmp_path / "pyproject.toml").touch()
    os.utime(tmp_path / "pyproject.toml", (0, 0))
    (tmp_path / ".venv" / ".stamp").touch()
    (tmp_path / "Makefile").symlink_to(ROOT / "Makefile")
    (tmp_path / "reports").mkdir()
    return tmp_path


@pytest.mark.kind
@pytest.mark.usefixtures("kind_cluster")
def test_the_steps_of_the_nightly_workflow_run(checkout: Path) -> None:
    """Each step ends well (a night that INCONCLUSIVE says nothing about aside), and the reports are where it says."""
    environ = {**os.environ, "SCENARIOS": "rollout", "CI": "true"}
    ran = []
    for name, shell in shell_steps().items():
        if any(words in shell for words in SHARED):
            continue
        done = subprocess.run(
            ["bash", "-e", "-c", shell], cwd=checkout, env=environ, capture_output=True, text=True, timeout=500
        )
        ran.append(name)
        if "make nightly" in shell and "verdict: INCONCLUSIVE" in done.stdout:
            continue
        assert done.returncode == 0, f"{name}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    assert len(ran) >= 4
    for folder in ("nightly", "baseline"):
        summary = json.loads((checkout / "reports" / folder / "summary.json").read_text())
        assert summary["trials"][0]["name"] == "rollout--baseline"
        assert len(summary["trials"]) == 2
    for name in ("junit.xml", "summary.md", "report.html"):
        assert (checkout / "reports" / "nightly" / name).stat().st_size > 200
