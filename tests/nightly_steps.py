"""The shell steps of .github/workflows/nightly.yml, as the house's rules and the kind lane read them."""

from __future__ import annotations

from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
WORKFLOW = ROOT / ".github" / "workflows" / "nightly.yml"


def shell_steps() -> dict[str, str]:
    """Each step's name and its shell text, in order; steps that are actions have none."""
    steps = yaml.safe_load(WORKFLOW.read_text())["jobs"]["hazd"]["steps"]
    return {step["name"]: step["run"] for step in steps if "run" in step}


__all__ = ["ROOT", "shell_steps"]
