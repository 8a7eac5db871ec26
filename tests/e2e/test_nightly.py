"""The nightly workflow's shell steps, read from its file, run as they are: a matrix, a comparison, a kept baseline."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.nightly_steps import ROOT, run_steps

SHARED = ("hazd cluster delete", "make setup")
"""Not here: other tests need the cluster, and the machine is set up already when its kind lane runs."""

STAND_IN = """#!{python}
import os, pathlib, sys
command = sys.argv[1]
if command == "matrix":
    folder = pathlib.Path("reports/nightly")
    folder.mkdir()
    (folder / "night").write_text(os.environ["NIGHT"])
sys.exit(int(os.environ.get(command.upper(), "0")))
"""


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


@pytest.mark.parametrize(
    ("matrix", "compare", "kept"),
    [(0, 0, True), (1, 0, False), (3, 0, False), (0, 1, False), (0, 3, False), (1, 1, False), (130, 0, False)],
)
def test_only_a_night_that_passes_becomes_the_baseline(checkout: Path, matrix: int, compare: int, kept: bool) -> None:
    """Whatever hazd's own commands say: make fails where either does, and the last green baseline stays."""
    (checkout / ".venv" / "bin").unlink()
    (checkout / ".venv" / "bin").mkdir()
    for name, text in (("hazd", STAND_IN.format(python=sys.executable)), ("python", "#!/bin/sh\nexit 0\n")):
        (checkout / ".venv" / "bin" / name).write_text(text)
        (checkout / ".venv" / "bin" / name).chmod(0o755)
    (checkout / "reports" / "baseline").mkdir()
    (checkout / "reports" / "baseline" / "night").write_text("green")
    environ = {**os.environ, "NIGHT": "new", "MATRIX": str(matrix), "COMPARE": str(compare)}
    ran = run_steps(checkout, environ, SHARED)
    assert bool(ran["matrix and comparison"].returncode) == (not kept)
    assert ("keep as the next baseline" in ran) == kept
    assert (checkout / "reports" / "baseline" / "night").read_text() == ("new" if kept else "green")


@pytest.mark.kind
@pytest.mark.usefixtures("kind_cluster")
def test_the_steps_of_the_nightly_workflow_run(checkout: Path) -> None:
    """Each step ends well (a night that is INCONCLUSIVE keeps no baseline), and the reports are where it says."""
    ran = run_steps(checkout, {**os.environ, "SCENARIOS": "rollout", "CI": "true"}, SHARED)
    nightly = ran["matrix and comparison"]
    undecided = "verdict: INCONCLUSIVE" in nightly.stdout
    for name, done in ran.items():
        if done is not nightly or not undecided:
            assert done.returncode == 0, f"{name}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    assert len(ran) >= 3
    for folder in ("nightly",) if undecided else ("nightly", "baseline"):
        summary = json.loads((checkout / "reports" / folder / "summary.json").read_text())
        assert summary["trials"][0]["name"] == "rollout--baseline"
        assert len(summary["trials"]) == 2
    for name in ("junit.xml", "summary.md", "report.html"):
        assert (checkout / "reports" / "nightly" / name).stat().st_size > 200
