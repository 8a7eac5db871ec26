"""What this machine has and lacks of everything hazd can use, each with its remedy. Looks only, installs nothing.

Whoever has either all that kind needs or all that the lab needs can use hazd; checks that no cluster needs, such as
kubectl, are shown and never fail.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import anyio

from hazd.cluster.kind import registry
from hazd.cluster.node_image import missing
from hazd.cluster.process import docker, find, node_cache, run
from hazd.errors import EnvironmentProblem

GIB = 2**30
SETUP = "`make setup`"
INOTIFY_URL = "https://kind.sigs.k8s.io/docs/user/known-issues/#pod-errors-due-to-too-many-open-files"


@dataclass(frozen=True, slots=True)
class Check:
    """needed_by: the clusters that cannot do without ("kind", "lab"); empty where it is advice."""

    name: str
    ok: bool
    found: str
    remedy: str = ""
    needed_by: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "needed_by": list(self.needed_by)}


def usable(checks: Iterable[Check]) -> bool:
    """PURE: whether at least one kind of cluster has all it needs."""
    lacking = {cluster for check in checks if not check.ok for cluster in check.needed_by}
    return lacking != {"kind", "lab"}


async def examine() -> list[Check]:
    """All checks, in a second or so; never raises for what is missing."""
    checks = [_system(), _python(), _docker_client()]
    engine, info = await _engine()
    checks += [engine, await _kind(), _kubectl()]
    checks.append(await _node_image() if engine.ok else _unknown("node image", "Docker has to answer first"))
    checks.append(await anyio.to_thread.run_sync(_lab))
    checks += [_disk(Path(str(info.get("DockerRootDir") or node_cache()))), _memory(), _cores(), _inotify(), _swap()]
    return checks


def _unknown(name: str, why: str) -> Check:
    return Check(name, False, f"not looked at: {why}", f"see above; {SETUP}", ("kind",))


def _system() -> Check:
    found = f"{platform.system()} {platform.release()} {platform.machine()}"
    remedy = "hazd needs Linux: a virtual machine will do"
    return Check("system", platform.system() == "Linux", found, remedy, ("kind", "lab"))


def _python() -> Check:
    found = f"{platform.python_version()} ({sys.executable})"
    return Check("python", sys.version_info >= (3, 11), found, "Python 3.11 or newer", ("kind", "lab"))


def _docker_client() -> Check:
    path = find("docker")
    return Check(
        "docker client", path is not None, path or "absent", f"install Docker, or {SETUP} on Debian", ("kind",)
    )


async def _engine() -> tuple[Check, dict[str, Any]]:
    remedy = f"start it: `systemctl start docker`, or {SETUP} as root"
    try:
        info: dict[str, Any] = json.loads((await docker("info", "-f", "{{json .}}", timeout_s=10)).out)
    except (EnvironmentProblem, json.JSONDecodeError) as error:
        return Check("docker engine", False, str(error).splitlines()[0], remedy, ("kind",)), {}
    found = f"{info.get('ServerVersion')}, {info.get('Driver')}, cgroup v{info.get('CgroupVersion')}"
    errors = info.get("ServerErrors") or []
    return Check("docker engine", not errors, "; ".join(errors) or found, remedy, ("kind",)), info


async def _kind() -> Check:
    path = find("kind")
    remedy = f"{SETUP}, or `go install sigs.k8s.io/kind@v0.33.0`"
    if path is None:
        return Check("kind", False, "absent", remedy, ("kind",))
    try:
        version = (await run([path, "version"], timeout_s=10)).out.split()
    except EnvironmentProblem as error:
        return Check("kind", False, f"{path}: {error.message}", remedy, ("kind",))
    return Check("kind", True, f"{version[1] if len(version) > 1 else '?'} ({path})", remedy, ("kind",))


def _kubectl() -> Check:
    return Check("kubectl", True, find("kubectl") or "absent; hazd does not need it")


async def _node_image() -> Check:
    from hazd.cluster.kind.lifecycle import local_images

    if images := await local_images():
        return Check("node image", True, f"{images[0]} is here", needed_by=("kind",))
    if await registry.answers():
        return Check("node image", True, "will be pulled, a registry answers", needed_by=("kind",))
    lacking = await missing()
    if not lacking:
        return Check("node image", True, "will be built here, as no registry answers", needed_by=("kind",))
    found = f"none here, no registry answers, and it cannot be built: {lacking[0]}"
    return Check("node image", False, found, "; ".join(lacking), ("kind",))


def _lab() -> Check:
    from hazd.cluster.lab import lab_problem

    problem = lab_problem()
    if problem is None:
        return Check("lab", True, "network namespaces and nftables", needed_by=("lab",))
    return Check("lab", False, problem.message, problem.hint, ("lab",))


def _disk(docker_root: Path) -> Check:
    """6 GB hold a node image built here with Go's caches; a pulled one needs a third of it."""
    free = {str(place): shutil.disk_usage(_existing(place)).free for place in (docker_root, node_cache())}
    least = min(free.values())
    found = ", ".join(f"{size / 1e9:.0f} GB free at {place}" for place, size in free.items())
    return Check("disk", least >= 6e9, found, "6 GB are needed to build a node image, 2 GB to run one")


def _existing(place: Path) -> Path:
    return next(folder for folder in (place, *place.parents) if folder.exists())


def _memory() -> Check:
    available = _meminfo("MemAvailable")
    found = f"{available / GIB:.1f} GiB available"
    return Check("memory", available >= 3 * GIB, found, "three kind nodes want 3 GiB; the lab is content with 0.5")


def _meminfo(field: str) -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:")), 0)


def _cores() -> Check:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Check("cores", cores >= 2, str(cores), "two or more, or the load generator competes with what it measures")


def _inotify() -> Check:
    wanted = {"max_user_watches": 524288, "max_user_instances": 512}
    now = {}
    for name in wanted:
        try:
            now[name] = int((Path("/proc/sys/fs/inotify") / name).read_text())
        except (OSError, ValueError):
            continue
    ok = all(now[name] >= wanted[name] for name in now)
    found = ", ".join(f"{name} {value}" for name, value in now.items())
    return Check("inotify", ok, found, f"{SETUP}, or sysctl fs.inotify.NAME=VALUE: {INOTIFY_URL}")


def _swap() -> Check:
    total = _meminfo("SwapTotal")
    remedy = "kind's kubelets run with swap on, but a swapping machine measures itself: swapoff"
    return Check("swap", total == 0, f"{total / GIB:.1f} GiB" if total else "off", remedy)


__all__ = ["Check", "examine", "usable"]
