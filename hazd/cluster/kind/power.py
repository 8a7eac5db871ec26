"""Takes a kind node's power away and gives it back: `docker kill` and `docker start`, made to work on cgroup v1 too.

runc freezes a cgroup for a moment while it starts a container. A node killed at that moment leaves processes in a
frozen cgroup, which on v1 not even SIGKILL ends ("did not receive an exit event"); Docker can then neither stop nor
remove the node. Here whatever is frozen below the node is thawed, so that the kill arrives. cgroup v2 needs none of it
(kernel, Documentation/admin-guide/cgroup-v2.rst, cgroup.freeze).
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path

import anyio

from hazd.cluster.process import beside, docker
from hazd.errors import EnvironmentProblem

FREEZER = Path("/sys/fs/cgroup/freezer")
KILL_S = 60.0
_THAW = """for id; do find /cgroup/freezer -path "*$id*" -name freezer.state; done |
while read -r f; do grep -q THAWED "$f" || echo THAWED > "$f"; done"""


async def power_off(containers: Sequence[str]) -> None:
    """Kill containers at once, without notice; those that do not run are left alone. Raises EnvironmentProblem."""
    if not containers:
        return
    fields = "{{.Id}} {{.State.Running}} {{.Image}}"
    listed = await docker("inspect", "-f", fields, *containers)
    alive = [line.split()[0] for line in listed.out.splitlines() if line.split()[1] == "true"]
    image = listed.out.split()[2]
    if not alive:
        return
    async with beside(functools.partial(_thaw_for_ever, alive, image)):
        await docker("kill", *alive, timeout_s=KILL_S, check=False)
        with anyio.move_on_after(KILL_S) as scope:
            while alive := await _running(alive):
                await anyio.sleep(0.1)
    if scope.cancelled_caught:
        hint = "`docker ps` shows them; restarting Docker as root ends them"
        raise EnvironmentProblem(f"containers {', '.join(name[:12] for name in alive)} could not be killed", hint)


async def _running(containers: Sequence[str]) -> list[str]:
    found = await docker("inspect", "-f", "{{.Id}} {{.State.Running}}", *containers, check=False)
    return [line.split()[0] for line in found.out.splitlines() if line.endswith("true")]


async def _thaw_for_ever(containers: Sequence[str], image: str) -> None:
    """Begins after a second: a kill that works needs no help. Without root on this machine a container does it."""
    while True:
        await anyio.sleep(1)
        if os.geteuid() == 0 and await anyio.to_thread.run_sync(FREEZER.is_dir):
            await anyio.to_thread.run_sync(_thaw, containers)
        elif (await docker("info", "-f", "{{.CgroupVersion}}", check=False)).out.strip() == "1":
            argv = ["run", "--rm", "--privileged", "--network", "none", "-v", "/sys/fs/cgroup:/cgroup"]
            await docker(*argv, "--entrypoint", "sh", image, "-c", _THAW, "sh", *containers, check=False)


def _thaw(containers: Sequence[str]) -> None:
    for name in containers:
        for state in FREEZER.rglob(f"*{name}*/**/freezer.state"):
            try:
                if state.read_text().strip() != "THAWED":
                    state.write_text("THAWED")
            except OSError:  # the cgroup was removed meanwhile
                continue


async def power_on(containers: Sequence[str]) -> None:
    """Start containers again; idempotent. Raises EnvironmentProblem."""
    if containers:
        await docker("start", *containers, timeout_s=60)


async def remove(containers: Sequence[str]) -> None:
    """Kill and remove containers with their volumes."""
    await power_off(containers)
    if containers:
        await docker("rm", "-f", "-v", *containers, timeout_s=120)


__all__ = ["power_off", "power_on", "remove"]
