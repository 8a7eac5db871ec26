"""Builds the one container image of app and traffic workers, and brings it to the nodes; no build step needs a network.

The tag is a hash over what goes in, so an unchanged image is neither built nor loaded twice. It has two tags, -a and
-b, because changing from one to the other is what rolls a Deployment. Python packages are fetched by pip on the host,
for the base image's Python, and kept in the cache.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import anyio

import hazd
from hazd.cluster import node_image
from hazd.cluster.kind import registry
from hazd.cluster.port import Images
from hazd.cluster.process import Say, alone, cache_dir, docker, find, run, silent
from hazd.errors import EnvironmentProblem

REPOSITORY = "hazd/workload"
REGISTRY_BASE, REGISTRY_PYTHON = "python:3.12-slim", "3.12"
KEPT = 4
LOCAL_PYTHON = "3.11"  # Debian bookworm's
PACKAGE = Path(hazd.__file__).resolve().parent
PARTS = (
    *("__init__.py", "errors.py", "model.py", "record.py", "clock.py"),
    *("traffic/**/*.py", "observe/**/*.py", "sample_app/**/*.py"),
)
GLIBC = ("manylinux2014", *(f"manylinux_2_{minor}" for minor in (17, 24, 26, 27, 28, 31, 34)))
MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "x86_64": "x86_64", "aarch64": "aarch64"}


def sources() -> dict[str, bytes]:
    """What the container holds of this package, and how it is built: name in the build context -> content.

    Read once for tag and image, so that a file edited meanwhile cannot end up under the tag of its older self.
    """
    files = {f"hazd/{path.relative_to(PACKAGE)}": path for part in PARTS for path in PACKAGE.glob(part)}
    files |= {name: PACKAGE / "sample_app" / name for name in ("Dockerfile", "requirements.txt")}
    return {name: files[name].read_bytes() for name in sorted(files)}


def tag(content: Mapping[str, bytes]) -> str:
    """PURE: a hash over all names and contents."""
    whole = hashlib.sha256()
    for name, text in sorted(content.items()):
        whole.update(f"{name}\0{hashlib.sha256(text).hexdigest()}\n".encode())
    return whole.hexdigest()[:12]


async def build(say: Say = silent) -> Images:
    """Make sure Docker has the image under both tags. Raises EnvironmentProblem."""
    content = await anyio.to_thread.run_sync(sources)
    name = f"{REPOSITORY}:{tag(content)}"
    images = Images(app=f"{name}-a", app_next=f"{name}-b", worker=f"{name}-a")
    if await registry.has_image(images.app) and await registry.has_image(images.app_next):
        return images
    async with alone(cache_dir() / "workload.lock", "builds the workload image", say):
        if not await registry.has_image(images.app):
            say(f"building {images.app}")
            base, python = await _base(say)
            machine = MACHINES.get((await docker("version", "-f", "{{.Server.Arch}}")).out.strip(), "x86_64")
            site = await _site(python, machine, content["requirements.txt"], say)
            with tempfile.TemporaryFile() as context:
                await anyio.to_thread.run_sync(write_context, context, content, site)
                context.seek(0)
                argv = ["build", "--network", "none", "--build-arg", f"BASE={base}", "-t", images.app, "-"]
                # No attestations: they would turn the image into an index that `kind load` cannot take apart.
                env = {"BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
                await docker(*argv, stdin_file=context, env=env, timeout_s=600)
        await docker("tag", images.app, images.app_next)
        await _forget_old()
    return images


async def _forget_old() -> None:
    """Keep the newest KEPT builds; Docker refuses by itself to remove what a container runs from."""
    listed = await docker("images", "--format", "{{.Tag}}", REPOSITORY, check=False)
    old = [f"{REPOSITORY}:{name}" for name in listed.out.split()[2 * KEPT :] if name != "<none>"]
    if old:
        await docker("rmi", *old, check=False)


async def _base(say: Say) -> tuple[str, str]:
    """(base image, its Python): what is here, else pulled, else built from Debian packages."""
    known = ((REGISTRY_BASE, REGISTRY_PYTHON), (node_image.BASE_IMAGE, LOCAL_PYTHON))
    for image, python in known:
        if await registry.has_image(image):
            return image, python
    if await registry.pull(REGISTRY_BASE, say):
        return known[0]
    return await node_image.build_base(say), LOCAL_PYTHON


async def _site(python: str, machine: str, pinned: bytes, say: Say) -> Path:
    """The folder with the pinned packages for this Python and machine; complete or absent."""
    key = hashlib.sha256(pinned + f"{python} {machine}".encode()).hexdigest()[:12]
    target = cache_dir() / f"site-{key}"
    if target.is_dir():
        return target
    say(f"fetching the worker's Python packages for Python {python} on {machine}")
    part = target.with_name(target.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        with tempfile.NamedTemporaryFile(suffix=".txt") as listed:
            listed.write(pinned)
            listed.flush()
            await run([*_installer(python, machine), "--target", str(part), "-r", listed.name], timeout_s=600)
    except EnvironmentProblem as error:
        hint = f"{error.hint}\npip needs its package index once; later builds use {target.parent}"
        raise EnvironmentProblem(f"the worker's Python packages could not be fetched: {error.message}", hint) from error
    part.rename(target)
    return target


def _installer(python: str, machine: str) -> list[str]:
    if importlib.util.find_spec("pip") is not None or not find("uv"):
        platforms = [word for glibc in GLIBC for word in ("--platform", f"{glibc}_{machine}")]
        pip = [sys.executable, "-m", "pip"] if importlib.util.find_spec("pip") is not None else ["pip3"]
        options = ["--disable-pip-version-check", "-q", "--no-deps", "--no-compile", "--only-binary", ":all:"]
        return [*pip, "install", *options, "--python-version", python, "--implementation", "cp", *platforms]
    options = ["-q", "--no-deps", "--only-binary", ":all:", "--python-version", python]
    return ["uv", "pip", "install", *options, "--python-platform", f"{machine}-manylinux_2_28"]


def write_context(target: IO[bytes], content: Mapping[str, bytes], site: Path) -> None:
    """The content and site/ as a tar; without times and owners, so that Docker's layer cache can work."""
    with tarfile.open(fileobj=target, mode="w", format=tarfile.GNU_FORMAT) as context:
        for name, text in content.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text), 0o644
            context.addfile(entry, io.BytesIO(text))
        for path in sorted(site.rglob("*")):
            inside = path.relative_to(site)
            if path.is_file() and "tests" not in inside.parts and inside.parts[0] != "bin":
                context.add(path, f"site/{inside}", filter=_plain)


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o755 if entry.mode & 0o100 else 0o644
    return entry


async def load(images: Images, cluster: str, nodes: Sequence[str], say: Say = silent) -> None:
    """Bring the images to the nodes that lack one of them. Raises EnvironmentProblem."""
    wanted = sorted({images.app, images.app_next, images.worker})
    lacking = []
    for node in nodes:
        listed = await docker("exec", node, "ctr", "-n", "k8s.io", "images", "ls", "-q", check=False)
        if not {f"docker.io/{name}" for name in wanted} <= set(listed.out.split()):
            lacking.append(node)
    if lacking:
        say(f"loading {', '.join(wanted)} into {', '.join(sorted(lacking))}")
        argv = ["kind", "load", "docker-image", "--name", cluster, "--nodes", ",".join(lacking), *wanted]
        await run(argv, timeout_s=300, env={"KIND_EXPERIMENTAL_PROVIDER": "docker"})


__all__ = ["REPOSITORY", "build", "load", "sources", "tag", "write_context"]
