"""The shell steps of .github/workflows/nightly.yml, as the house's rules and the tests of the nightly run read them."""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
WORKFLOW = ROOT / ".github" / "workflows" / "nightly.yml"


def _steps() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(WORKFLOW.read_text())["jobs"]["hazd"]["steps"]
    return [step for step in found if "run" in step]


def shell_steps() -> dict[str, str]:
    """Each step's name and its shell text, in order; steps that are actions have none."""
    return {step["name"]: step["run"] for step in _steps()}


def run_steps(
    checkout: Path, environ: Mapping[str, str], skipped: Collection[str] = ()
) -> dict[str, subprocess.CompletedProcess[str]]:
    """Run the shell steps in a checkout as GitHub does: `if: success()`, the default, ends with the first failed step,
    `if: always()` does not. skipped: words of steps that are skipped. Returns what ran, by the step's name.
    """
    ran: dict[str, subprocess.CompletedProcess[str]] = {}
    for step in _steps():
        condition = step.get("if", "success()")
        assert condition in ("success()", "always()")
        failed = any(done.returncode for done in ran.values())
        if (failed and condition == "success()") or any(words in step["run"] for words in skipped):
            continue
        ran[step["name"]] = subprocess.run(
            ["bash", "-e", "-c", step["run"]],
            cwd=checkout,
            env=dict(environ),
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
    return ran


__all__ = ["ROOT", "run_steps", "shell_steps"]
