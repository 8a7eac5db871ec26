"""Starts the real command line for a benchmark; its progress goes to the terminal."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any


def summary_of(*args: str) -> dict[str, Any]:
    """`hazd ARGS --json`: its summary. Raises CalledProcessError when there is none."""
    command = [sys.executable, "-c", "from hazd.cli import main; main()", *args, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if not done.stdout:
        raise subprocess.CalledProcessError(done.returncode, command)
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


__all__ = ["summary_of"]
