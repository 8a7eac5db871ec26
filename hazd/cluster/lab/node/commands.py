"""How a container's process is started: its command line, environment, volumes and log, from its pod's spec."""

from __future__ import annotations

from pathlib import Path

from hazd.cluster.lab.machine import Command
from hazd.cluster.lab.node import environment, hooks
from hazd.cluster.lab.node.context import NodeContext
from hazd.cluster.lab.node.runtime import Container
from hazd.cluster.lab.options import WORKER_IMAGE
from hazd.model import Manifest, Ref

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def log_path(folder: Path, container: Container) -> Path:
    """Where the current run's output goes."""
    log = folder / container.name / f"{max(1, container.run)}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.touch(mode=0o600)  # whoever follows it may come before the process has opened it
    return log


def _mounts(folder: Path, container: Container) -> dict[str, Path]:
    mounts = {}
    for mount in container.spec.get("volumeMounts") or ():
        volume = folder / "volumes" / mount["name"] / mount.get("subPath", "")
        volume.mkdir(parents=True, exist_ok=True)
        mounts[mount["mountPath"]] = volume
    return mounts


def command_of(node: NodeContext, pod: Manifest, container: Container, place: str, ip: str) -> Command:
    """Raises environment.ConfigProblem."""
    meta = pod["metadata"]

    def lookup(kind: str, name: str) -> Manifest | None:
        return node.store.find(Ref(kind, name, meta["namespace"]))

    folder = node.pod_folder(meta["uid"])
    mounts = _mounts(folder, container)
    own = environment.environment(pod, container.spec, ip, node.net.address, lookup)
    environ = {"PATH": PATH, "HOME": "/", "LANG": "C.UTF-8", "HOSTNAME": meta["name"], **node.python_path}
    environ |= {name: environment.relocate(value, mounts) for name, value in own.items()}
    words = [environment.relocate(word, mounts) for word in environment.argv(container.spec, own)]
    return Command(
        container.ident,
        place,
        words,
        environ,
        log_path(folder, container),
        hostname=meta["name"],
        cwd=container.spec.get("workingDir", ""),
        nice=node.options.worker_nice if container.spec["image"] == WORKER_IMAGE else 0,
    )


def target_of(node: NodeContext, pod: Manifest, container: Container, place: str, ip: str) -> hooks.Target:
    """Whom this container's probes and hooks are for."""

    def beside(argv: list[str]) -> Command:
        return hooks.exec_command(command_of(node, pod, container, place, ip), argv)

    return hooks.Target(node.net.name, ip, beside)
