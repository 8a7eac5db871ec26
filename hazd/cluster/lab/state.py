"""Where a lab keeps its files while it lives, and who owns them, so that what a killed hazd left can be found.

One folder a lab, below a folder of this user's own in the system's temporary directory. owner.json names the hazd
process and the lab's launcher by pid and start time, because a pid alone may have been given again.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
import uuid
from pathlib import Path

from hazd.errors import EnvironmentProblem

OWNER = "owner.json"


def base() -> Path:
    """This user's folder of labs; it may not exist."""
    return Path(tempfile.gettempdir()) / f"hazd-lab-{os.geteuid()}"


def start_time(pid: int) -> int | None:
    """Clock ticks since boot at which the process began (field 22 of proc(5) stat), None when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return None if fields[0] == "Z" else int(fields[19])


def make() -> Path:
    """A new lab's folder, owned by this process. Raises EnvironmentProblem when the name is another user's."""
    home = base()
    home.mkdir(mode=0o700, exist_ok=True)
    info = home.lstat()
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid():
        raise EnvironmentProblem(f"{home} belongs to another user", "remove it, or set TMPDIR")
    folder = home / uuid.uuid4().hex[:12]
    folder.mkdir(mode=0o700)
    write_owner(folder, None)
    return folder


def write_owner(folder: Path, launcher: int | None) -> None:
    pids = {"hazd": os.getpid(), "launcher": launcher}
    owner = {name: [pid, start_time(pid)] for name, pid in pids.items() if pid is not None}
    (folder / OWNER).write_text(json.dumps(owner))


def living(folder: Path) -> dict[str, int]:
    """Which of the owners still are what they were: role to pid."""
    try:
        owner = json.loads((folder / OWNER).read_text())
        return {role: pid for role, (pid, since) in owner.items() if since is not None and start_time(pid) == since}
    except (OSError, ValueError):
        return {}


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
