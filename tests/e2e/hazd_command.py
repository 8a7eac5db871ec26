"""Runs the real command line for the end-to-end tests and checks what holds in every run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-c", "from hazd.cli import main; main()"]


def hazd(*args: str, timeout_s: float = 400) -> subprocess.CompletedProcess[str]:
    """One call of hazd; its standard error is shown when a test fails."""
    done = subprocess.run([*COMMAND, *args], capture_output=True, text=True, timeout=timeout_s, check=False)
    print(done.stderr[-4000:], file=sys.stderr)
    return done


def run_json(out: Path, *args: str, timeout_s: float = 400) -> tuple[int, dict[str, Any]]:
    """`hazd run` or `matrix` with --json: exit code and summary, after the invariants of every run were checked."""
    done = hazd(*args, "--json", "--out", str(out), timeout_s=timeout_s)
    assert done.stdout, f"no summary; exit code {done.returncode}"
    summary: dict[str, Any] = json.loads(done.stdout)
    for trial in summary["trials"]:
        requests = trial["requests"]
        assert requests["due"] == requests["recorded"] + requests["not_sent"]
        assert requests["recorded"] == requests["ok"] + requests["failed"]
        assert requests["failed"] == sum(trial["failures"].values())
        assert trial["accounting"]["complete"], trial["accounting"]["problems"]
        assert trial["accounting"]["duplicates"] == 0
    return done.returncode, summary


__all__ = ["COMMAND", "hazd", "run_json"]
