"""`hazd clean` for labs: ends the processes and removes the files of every lab whose hazd has ended.

A lab's namespaces, links and rules are freed with its last process, so there is nothing else to remove.
"""

from __future__ import annotations

import os
import signal
import time

import anyio

from hazd.cluster.lab import state

YOUNG_S = 5.0
"""A folder without an owner may be one that is just being made."""


async def clean_lab() -> list[str]:
    """What was removed, a line each; labs of a living hazd are left alone. Safe to call at any time, twice too."""
    return await anyio.to_thread.run_sync(_clean)


def _clean() -> list[str]:
    removed = []
    home = state.base()
    if not home.is_dir() or home.lstat().st_uid != os.geteuid():
        return []
    for folder in sorted(home.iterdir()):
        owners = state.living(folder)
        if "hazd" in owners:
            continue
        if not (folder / state.OWNER).exists() and time.time() - folder.stat().st_mtime < YOUNG_S:
            continue
        launcher = owners.get("launcher")
        if launcher is not None:
            removed.append(f"processes of lab {folder.name}")
            _end(launcher)
        state.remove(folder)
        removed.append(f"files of lab {folder.name}")
    return removed


def _end(launcher: int) -> None:
    """Kill the lab's process 1 (the launcher's child), which takes all others along, then the launcher."""
    try:
        with open(f"/proc/{launcher}/task/{launcher}/children") as file:
            children = [int(word) for word in file.read().split()]
    except OSError:
        children = []
    for pid in (*children, launcher):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    for _ in range(200):
        if state.start_time(launcher) is None:
            return
        time.sleep(0.02)
