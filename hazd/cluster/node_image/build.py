"""Builds the node image and the Debian base with Python where no registry answers, step by step, resumable.

A step is done when its result is there and right, so an interrupted build goes on where it stopped: files are written
beside their name and renamed. What is missing on this machine is asked for before the first step. A saved image in the
cache was measured and left out: loading it takes 13 s against 30 s to assemble it from the cached binaries, but
writing it costs 16 s and 1.8 GB on every machine that builds.
"""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path

import anyio

from hazd.cluster.node_image import archive, recipe
from hazd.cluster.node_image.recipe import BASE_IMAGE, HERE, KUBERNETES, NODE_IMAGE, RECIPE_LABEL, ROOTFS_IMAGE
from hazd.cluster.node_image.steps import Step, binary_step, build, left_of, logged, mirror, unmet
from hazd.cluster.process import Say, docker, node_cache

BUILDER = "hazd-node-image-build"


async def labelled(image: str) -> str | None:
    """The recipe an image of this name carries: None when there is no such image, "" when hazd did not make it."""
    found = await docker("image", "inspect", "-f", f'{{{{index .Config.Labels "{RECIPE_LABEL}"}}}}', image, check=False)
    return found.out.strip().replace("<no value>", "") if found.code == 0 else None


def _stamp(binary: recipe.Binary) -> str:
    """Linker flags: Kubernetes' programs must know their version, or kubeadm and the kubelet refuse each other."""
    if binary.folder != "kubernetes":
        return "-s -w"
    base = "k8s.io/component-base/version"
    major, minor, _ = KUBERNETES.removeprefix("v").split(".")
    values = {"gitVersion": KUBERNETES, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    stamps = [f"-X {base}.{name}={value}" for name, value in values.items()]
    return " ".join(["-s -w", *stamps, f"-X k8s.io/client-go/pkg/version.gitVersion={KUBERNETES}"])


def _root_step(root: recipe.Root) -> Step:
    tarball, stamp = node_cache() / f"{root.name}.tar", node_cache() / f"{root.name}.recipe"
    wanted = recipe.root_recipe(root)

    async def done() -> bool:
        return tarball.is_file() and (not stamp.is_file() or stamp.read_text() == wanted)

    async def act(say: Say) -> None:
        stamp.unlink(missing_ok=True)
        tarball.unlink(missing_ok=True)
        argv = ["bash", str(HERE / "debian-root"), recipe.DEBIAN, mirror() or "", str(node_cache() / root.name)]
        await logged([*argv, str(tarball), ",".join(root.packages)], root.name, say, timeout_s=1800)
        stamp.write_text(wanted)

    return Step(f"Debian root file system {root.name}, about 1 min", "debootstrap", done, act)


def _import_step(image: str, root: recipe.Root) -> Step:
    wanted = recipe.root_recipe(root)

    async def done() -> bool:
        return await labelled(image) == wanted

    async def act(say: Say) -> None:
        tarball = str(node_cache() / f"{root.name}.tar")
        await docker("import", "--change", f"LABEL {RECIPE_LABEL}={wanted}", tarball, image, timeout_s=300)

    return Step(f"image {image}", "", done, act)


def _node_step() -> Step:
    async def done() -> bool:
        return await labelled(NODE_IMAGE) == recipe.recipe()

    return Step(f"image {NODE_IMAGE}, about 25 s", "", done, _assemble)


async def _assemble(say: Say) -> None:
    cache = node_cache()
    machine = (await docker("version", "-f", "{{.Server.Arch}}")).out.strip()
    images = [
        archive.Image(
            item.image,
            cache / "bin" / item.file,  # an absolute item.file stands for itself
            cache / f"{recipe.PYTHON_ROOT.name}.tar" if item.over_base else None,
            item.entrypoint,
        )
        for item in recipe.components()
    ]
    await docker("rm", "-f", BUILDER, check=False, timeout_s=60)
    try:
        with tempfile.TemporaryDirectory(dir=cache, prefix="assemble-") as folder:
            scratch = Path(folder)
            preloaded, overlay = scratch / "images.tar", scratch / "overlay.tar"
            await anyio.to_thread.run_sync(archive.write_archive, images, preloaded, scratch, machine)
            await anyio.to_thread.run_sync(_write_overlay, overlay)
            run_args = ["run", "-d", "--privileged", "--network", "none", "--name", BUILDER]
            await docker(*run_args, "--entrypoint", "sleep", ROOTFS_IMAGE, "1800")
            with overlay.open("rb") as opened:
                await docker("cp", "-", f"{BUILDER}:/", stdin_file=opened, timeout_s=300)
            with preloaded.open("rb") as opened:
                setup = (HERE / "node-setup").read_text()
                argv = ["docker", "exec", "-i", BUILDER, "bash", "-c", setup, "node-setup", KUBERNETES]
                await logged(argv, "node-image", say, stdin_file=opened, timeout_s=600)
        changes = [f"LABEL {RECIPE_LABEL}={recipe.recipe()}", "ENV container=docker"]
        changes.append('ENTRYPOINT ["/usr/local/bin/entrypoint","/sbin/init"]')
        options = [word for change in changes for word in ("--change", change)]
        await docker("commit", *options, BUILDER, NODE_IMAGE, timeout_s=600)
    finally:
        with anyio.CancelScope(shield=True):
            await docker("rm", "-f", BUILDER, check=False, timeout_s=60)


def _write_overlay(target: Path) -> None:
    with tarfile.open(target, "w", format=tarfile.GNU_FORMAT) as overlay:

        def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = "root"
            return entry

        overlay.add(HERE / "rootfs", ".", filter=plain)
        for name in ("kubelet", "kubeadm", "kubectl"):
            overlay.add(node_cache() / "bin" / name, f"usr/bin/{name}", filter=plain)


def _steps(base_only: bool) -> list[Step]:
    base = [_root_step(recipe.PYTHON_ROOT), _import_step(BASE_IMAGE, recipe.PYTHON_ROOT)]
    if base_only:
        return base
    root = [_root_step(recipe.NODE_ROOT), _import_step(ROOTFS_IMAGE, recipe.NODE_ROOT)]
    binaries = [binary_step(binary, HERE / "go", _stamp(binary)) for binary in recipe.BINARIES]
    return [*binaries, *base, *root, _node_step()]


async def _outstanding(base_only: bool) -> list[Step]:
    """The steps; none when the last one's result stands, as what it was made from need not be there any more."""
    steps = _steps(base_only)
    return [] if await steps[-1].done() else steps


async def missing(base_only: bool = False) -> list[str]:
    """Why this machine cannot build what is still to be built; empty when it can. Docker must answer."""
    return unmet(await left_of(await _outstanding(base_only)))


async def build_node(say: Say) -> str:
    """Build what is missing and return the node image's name. Raises EnvironmentProblem (step, log's end, remedy)."""
    await build(NODE_IMAGE, await _outstanding(base_only=False), say)
    return NODE_IMAGE


async def build_base(say: Say) -> str:
    """Build the Debian base with Python (debian-python) and return its name. Raises EnvironmentProblem."""
    await build(BASE_IMAGE, await _outstanding(base_only=True), say)
    return BASE_IMAGE


__all__ = ["build_base", "build_node", "labelled", "missing"]
