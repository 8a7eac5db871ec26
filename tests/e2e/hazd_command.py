"""Runs the real command line for the end-to-end tests and checks what holds in every run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-c", "from hazd.cli import main; main()"]
PATIENT = ("--max-late-ms", "2000")
"""How late a request may leave says how busy this machine is: `bench/` measures it, a test does not judge by it."""
ATTEMPTS = 3


def hazd(*args: str, timeout_s: float = 400) -> subprocess.CompletedProcess[str]:
    """One call of hazd; its standard error is shown when a test fails."""
    done = subprocess.run([*COMMAND, *args], capture_output=True, text=True, timeout=timeout_s, check=False)
    print(done.stderr[-4000:], file=sys.stderr)
    return done


def run_json(out: Path, *args: str, timeout_s: float = 400) -> tuple[int, dict[str, Any]]:
    """`hazd run` or `matrix` with --json: exit code and summary, after the invariants of every run were checked."""
    if PATIENT[0] not in args:
        args += PATIENT
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


def run_decided(
    out: Path, *args: str, timeout_s: float = 400, met: Callable[[dict[str, Any]], bool] = lambda summary: True
) -> tuple[int, dict[str, Any]]:
    """As `run_json`, asked again (ATTEMPTS in all) while a trial answers nothing or `met` was not, by chance."""
    for _ in range(ATTEMPTS):
        code, summary = run_json(out, *args, timeout_s=timeout_s)
        if all(trial["verdict"] != "INCONCLUSIVE" for trial in summary["trials"]) and met(summary):
            break
    return code, summary


__all__ = ["COMMAND", "PATIENT", "hazd", "run_decided", "run_json"]
