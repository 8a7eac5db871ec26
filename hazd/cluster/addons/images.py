"""The add-ons' images on the control-plane node: pulled by it where a registry answers, else built from Go modules.

A built image carries the upstream image's name, so the manifests are the same either way. Only the control plane gets
them, as the add-ons run nowhere else.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio

from hazd.cluster.kind import registry
from hazd.cluster.node_image import archive
from hazd.cluster.node_image.recipe import Binary
from hazd.cluster.node_image.steps import binary_step, build
from hazd.cluster.process import Say, docker, node_cache

GO_MODULES = Path(__file__).with_name("go")
METRICS = "sigs.k8s.io/metrics-server"
VPA = "k8s.io/autoscaler/vertical-pod-autoscaler"


@dataclass(frozen=True, slots=True)
class Addon:
    """One program of an add-on and the image its Deployment names."""

    image: str
    binary: Binary


METRICS_ADDONS = (
    Addon(
        "registry.k8s.io/metrics-server/metrics-server:v0.9.0",
        Binary("metrics-server", "metrics-server", f"{METRICS}/cmd/metrics-server", f"{METRICS}\tv0.9.0\t", 3.0),
    ),
)
VPA_ADDONS = tuple(
    Addon(
        f"registry.k8s.io/autoscaling/vpa-{name}:1.8.1",
        Binary(f"vpa-{name}", "vpa", f"{VPA}/pkg/{name}", f"{VPA}\tv1.8.1\t", minutes),
    )
    for name, minutes in (("recommender", 2.5), ("updater", 0.6), ("admission-controller", 0.3))
)


async def provide(addons: Sequence[Addon], node: str, say: Say) -> None:
    """See to it that the node can start these images. Raises EnvironmentProblem when one cannot be built."""
    listed = await docker("exec", node, "ctr", "-n", "k8s.io", "images", "ls", "-q")
    lacking = [addon for addon in addons if addon.image not in listed.out.split()]
    if not lacking or await registry.answers():
        return
    names = ", ".join(addon.binary.name for addon in lacking)
    await build(names, [binary_step(addon.binary, GO_MODULES) for addon in lacking], say)
    say(f"loading {names} into {node}")
    machine = (await docker("version", "-f", "{{.Server.Arch}}")).out.strip()
    images = [
        archive.Image(addon.image, node_cache() / "bin" / addon.binary.name, entrypoint=True) for addon in lacking
    ]
    with tempfile.TemporaryDirectory(dir=node_cache(), prefix="addons-") as folder:
        target = Path(folder) / "images.tar"
        await anyio.to_thread.run_sync(archive.write_archive, images, target, Path(folder), machine)
        with target.open("rb") as opened:
            argv = ["exec", "-i", node, "ctr", "-n", "k8s.io", "images", "import", "--all-platforms", "-"]
            await docker(*argv, stdin_file=opened, timeout_s=300)


__all__ = ["GO_MODULES", "METRICS_ADDONS", "VPA_ADDONS", "Addon", "provide"]
