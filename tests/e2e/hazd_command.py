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
BRIEF = ("--warmup", "1", "--settle", "1")
"""For trials of which nothing is asserted that a longer look before or after the disruption would change."""
KIND_CONFIG = str(Path(__file__).parents[1] / "kind-config.yaml")
ATTEMPTS = 3


def hazd(*args: str, timeout_s: float = 400) -> subprocess.CompletedProcess[str]:
    """One call of hazd; its standard error is shown when a test fails."""
    done = subprocess.run([*COMMAND, *args], capture_output=True, text=True, timeout=timeout_s, check=False)
    print(done.stderr[-4000:], file=sys.stderr)
    return done


def run_json(out: Path, *args: str, timeout_s: float = 400) -> tuple[int, dict[str, Any]]:
    """`hazd run` or `matrix` with --json: exit code and summary, after the invariants of every run were checked."""
    for option, value in zip((PATIENT + BRIEF)[::2], (PATIENT + BRIEF)[1::2], strict=True):
        if option not in args:
            args += (option, value)
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


def has_fixes(trial: dict[str, Any]) -> bool:
    return bool(trial["fixes"])


def run_decided(
    out: Path,
    *args: str,
    timeout_s: float = 400,
    met: Callable[[dict[str, Any]], bool] = lambda summary: True,
    lossless: Callable[[dict[str, Any]], bool] = has_fixes,
) -> tuple[int, dict[str, Any]]:
    """As `run_json`, asked again (ATTEMPTS in all) while a trial decides nothing or `met` was not, by chance.

    Every attempt counts: a trial that is to lose nothing (`lossless`: those with fixes) fails the test when it lost a
    request in any of them, whatever a later one says.
    """
    for attempt in range(1, ATTEMPTS + 1):
        code, summary = run_json(out, *args, timeout_s=timeout_s)
        for trial in summary["trials"]:
            failed = trial["requests"]["failed"]
            words = f"{trial['name']} {trial['verdict']}, {failed} failed {trial['reasons']}"
            print(f"attempt {attempt} of {ATTEMPTS}: {words}", file=sys.stderr)
            assert not (failed and lossless(trial)), f"attempt {attempt}: {words}; {trial['causes']}"
        if all(trial["verdict"] != "INCONCLUSIVE" for trial in summary["trials"]) and met(summary):
            break
    return code, summary


__all__ = ["BRIEF", "COMMAND", "KIND_CONFIG", "PATIENT", "has_fixes", "hazd", "run_decided", "run_json"]
