"""hazd's own cluster in Docker: created, looked at and deleted with kind; its node image found, pulled or built.

The user's kubeconfig is never touched: this cluster's lies in hazd's state folder. Nothing is installed here. A cluster
that died with the machine or with Docker is recognised as dead and recreated; the one thing it never does is delete a
cluster that answers. Loads nothing of the Kubernetes client, so that `--cluster auto` can ask without that price.
"""

from __future__ import annotations

import contextlib
import re
import time
from pathlib import Path

import anyio

from hazd.cluster import node_image
from hazd.cluster.kind import registry
from hazd.cluster.kind.power import power_on, remove
from hazd.cluster.kind.state import (
    CLUSTER_LABEL,
    NAME,
    kubeconfig_path,
    nodes,
    running,
    status,
    survey,
    unready,
)  # fmt: skip
from hazd.cluster.node_image.recipe import recipe
from hazd.cluster.process import Say, alone, docker, find, run, silent, state_dir
from hazd.errors import EnvironmentProblem, UsageError

PULLED_IMAGE = (  # the newest 1.34 that kind v0.33.0's release notes list; 1.34 for the sake of cgroup v1 (recipe.py)
    "kindest/node:v1.34.11@sha256:44e222ee2132dab25ff87301682f89eb82c7880ea3a1bf543bfe9708fd08d67d"
)
READY_S = 240.0
SILENT_S = 60.0
"""How long an API server may be away, its node running, before its cluster counts as dead; a crash takes about 20 s."""
KIND_ENV = {"KIND_EXPERIMENTAL_PROVIDER": "docker"}


def default_config() -> Path:
    """kind-config.yaml: beside this file in an installed hazd, at the top of the repository otherwise."""
    installed = Path(__file__).with_name("kind-config.yaml")
    return installed if installed.is_file() else Path(__file__).resolve().parents[3] / "kind-config.yaml"


async def _kind(*args: str, timeout_s: float, say: Say | None = None) -> None:
    if find("kind") is None:
        raise EnvironmentProblem(
            "kind is not installed", "run `make setup` (or setup/kind), or `go install sigs.k8s.io/kind@v0.33.0`"
        )

    def step(line: str) -> None:
        if say is not None and line.strip().startswith("✓"):
            say("  " + re.sub(r"[^\x20-\x7e]", "", line).strip())

    await run(["kind", *args], timeout_s=timeout_s, env=KIND_ENV, on_line=step)


async def why_not_usable() -> str | None:
    """Why `--cluster kind` cannot work here, None when it can: Docker, kind, and a node image to be had."""
    try:
        await docker("version", "-f", "{{.Server.Version}}", timeout_s=10)
        if find("kind") is None:
            return "kind is not installed"
        if not await local_images() and not await registry.answers() and (lacks := await node_image.missing()):
            return f"no kind node image, no registry, and it cannot be built here: {lacks[0]}"
    except EnvironmentProblem as error:
        return error.message
    return None


async def why_not_quick() -> str | None:
    """Why creating a cluster would take many minutes, None when a node image is here or can be pulled."""
    if await local_images() or await registry.answers():
        return None
    return "its node image has to be built first, once, in about 15 minutes: `hazd cluster create`"


async def local_images() -> list[str]:
    """Node images Docker has that can run here, best first; 1.35 and later need cgroup v2."""
    v1 = (await docker("info", "-f", "{{.CgroupVersion}}")).out.strip() == "1"
    tags = (await docker("images", "--format", "{{.Tag}}", "kindest/node")).out.split()
    versions = [tuple(map(int, m.groups())) for m in (re.fullmatch(r"v(1)\.(3\d)\.(\d+)", tag) for tag in tags) if m]
    fit = sorted((version for version in versions if not (v1 and version[1] > 34)), reverse=True)
    return ["kindest/node:v" + ".".join(map(str, version)) for version in fit]


async def find_image(say: Say = silent) -> str:
    """The node image to use: one that is here, else pulled, else built. Raises EnvironmentProblem with every reason."""
    for image in await local_images():
        made_by = await node_image.labelled(image) if image == node_image.NODE_IMAGE else ""
        if made_by in ("", recipe()):
            return image
        if await node_image.missing():
            say(f"{image} was built by an older recipe and cannot be rebuilt here; using it as it is")
            return image
        say(f"{image} was built by an older recipe; rebuilding it")
        return await node_image.build_node(say)
    if await registry.pull(PULLED_IMAGE, say):
        plain = PULLED_IMAGE.partition("@")[0]  # what is pulled by digest has no tag, and would not be found again
        await docker("tag", PULLED_IMAGE, plain)
        return plain
    return await node_image.build_node(say)


async def create(
    name: str = NAME,
    config: Path | None = None,
    image: str | None = None,
    retain: bool = False,
    progress: Say = silent,
) -> str:
    """Make sure the cluster is up and everything in it ready; returns one line about it.

    A stopped node is started, a silent API server waited for, a dead cluster deleted and recreated; one that runs is
    left alone. Raises UsageError (no such config) and EnvironmentProblem; then no cluster is left unless `retain`.
    """
    config = config or default_config()
    if not config.is_file():
        raise UsageError(f"--config {config}: there is no such file")
    async with alone(state_dir() / f"kind-{name}.lock", "creates or deletes the kind cluster", progress):
        found = await status(name)
        stopped = [node.name for node in await nodes(name) if node.state != "running"]
        mute = found["state"] == "dead" and not stopped
        if mute or found["state"] == "degraded":
            progress(f"{found['problem'].splitlines()[0]}: {'waiting' if mute else 'repairing'}")
            await power_on(stopped)
            with contextlib.suppress(EnvironmentProblem):
                await _wait_ready(name, SILENT_S if mute else READY_S / 2, progress)
            found = await status(name)
        if found["state"] == "running":
            await _export_kubeconfig(name)
            return f"kind cluster {name} is up: {found['version']}, {len(found['nodes'])} nodes; {_how_to_reach(name)}"
        if found["state"] != "absent":
            why = found["problem"].splitlines()[0]
            progress(f"the kind cluster {name} is {found['state']} ({why}): recreating it")
            await _delete(name)
        return await _create(name, config, image, retain, progress)


async def _create(name: str, config: Path, image: str | None, retain: bool, say: Say) -> str:
    if image is None:
        image = await find_image(say)
    elif not await registry.has_image(image) and not await registry.pull(image, say):
        hint = "leave --image out to have one found, pulled or built; `docker images kindest/node` shows what is here"
        raise EnvironmentProblem(f"the node image {image} is not here and could not be pulled", hint)
    start = time.monotonic()
    kubeconfig = kubeconfig_path(name)
    say(f"kind cluster {name}: creating it from {image}")
    kept = False
    try:
        args = ["--name", name, "--config", str(config), "--image", image, "--kubeconfig", str(kubeconfig), "--retain"]
        await _kind("create", "cluster", *args, timeout_s=900, say=say)
        say("  waiting until every node and kube-system are ready")
        await _wait_ready(name, READY_S, say)
        kept = True
    except EnvironmentProblem as error:
        kept = retain
        report = state_dir() / f"kind-{name}-failed.log"
        report.write_text("\n".join([error.message, error.hint, *await _node_logs(name)]) + "\n")
        tail = "\n".join((error.hint or error.message).splitlines()[-6:])
        raise EnvironmentProblem(
            f"the kind cluster {name} could not be created: {error.message}",
            f"{tail}\nmore in {report}; `hazd doctor` checks the machine" + ("; the nodes are kept" if retain else ""),
        ) from error
    finally:
        if not kept:
            with anyio.CancelScope(shield=True):
                await _delete(name)
    found = await nodes(name)
    took = time.monotonic() - start
    return f"kind cluster {name} is up: {image}, {len(found)} nodes, {took:.0f} s; {_how_to_reach(name)}"


def _how_to_reach(name: str) -> str:
    return f"KUBECONFIG={kubeconfig_path(name)}"


async def _export_kubeconfig(name: str) -> None:
    path = kubeconfig_path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    await _kind("export", "kubeconfig", "--name", name, "--kubeconfig", str(path), timeout_s=30)


async def _wait_ready(name: str, limit_s: float, say: Say) -> None:
    """kind's own --wait looks at the control plane only, and ends silently when its time is over."""
    deadline, told, lacking = time.monotonic() + limit_s, time.monotonic() + 20, ["nothing was seen yet"]
    while time.monotonic() < deadline:
        found = await nodes(name)
        try:
            control = next((node.name for node in found if node.role == "control-plane"), "")
            lacking = unready(len(found), await survey(control))
        except EnvironmentProblem as error:
            lacking = [f"the API server does not answer ({error.message})"]
        if not lacking:
            return
        if time.monotonic() > told:
            say(f"  still waiting: {'; '.join(lacking[:3])}")
            told += 20
        await anyio.sleep(0.5)
    raise EnvironmentProblem(f"not ready after {limit_s:.0f} s: {'; '.join(lacking)}")


async def _node_logs(name: str) -> list[str]:
    texts = []
    with contextlib.suppress(EnvironmentProblem):
        for node in await nodes(name):
            logs = await docker("logs", "--tail", "20", node.name, check=False)
            texts += [f"--- {node.name} ({node.state})", logs.out, logs.err]
            if node.state == "running":
                journal = ["exec", node.name, "journalctl", "-q", "--no-pager", "-n", "40", "-u", "kubelet"]
                texts.append((await docker(*journal, check=False)).out)
    return texts


async def delete(name: str = NAME, progress: Say = silent) -> None:
    """Delete the cluster and its kubeconfig; says so when there was none. The node image and the caches stay."""
    async with alone(state_dir() / f"kind-{name}.lock", "creates or deletes the kind cluster", progress):
        found = await nodes(name)
        await _delete(name)
        progress(f"kind cluster {name}: deleted {len(found)} nodes" if found else f"there was no kind cluster {name}")


async def _delete(name: str) -> None:
    """Without kind: containers and their volumes by label, so that a half-made or dead cluster goes as well."""
    found = await docker("ps", "-aq", "--filter", f"label={CLUSTER_LABEL}={name}")
    await remove(found.out.split())
    kubeconfig_path(name).unlink(missing_ok=True)


__all__ = [
    "PULLED_IMAGE",
    "create",
    "default_config",
    "delete",
    "find_image",
    "local_images",
    "running",
    "status",
    "why_not_quick",
    "why_not_usable",
]  # fmt: skip
