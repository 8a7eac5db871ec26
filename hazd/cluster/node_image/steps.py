"""How anything is built here: a list of steps, each done when its result stands, so that an interrupted build goes on.

Knows of Go programs and of logs, but not of what is made of them. What the machine lacks for the steps that are left is
asked for before the first of them.
"""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio

from hazd.cluster.node_image import archive, recipe
from hazd.cluster.process import Say, alone, find, heartbeat, node_cache, run
from hazd.errors import EnvironmentProblem

GO_ENV = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false -trimpath", "GOWORK": "off"}
GO_HINT = "install Go 1.21 or newer (https://go.dev/doc/install); it fetches the toolchain that is needed by itself"
COLD_BYTES, WARM_BYTES = 6 * 10**9, 3 * 10**9


@dataclass(frozen=True, slots=True)
class Step:
    """One piece of the build: `needs` is what must be on the machine for it ("go", "debootstrap")."""

    title: str
    needs: str
    done: Callable[[], Awaitable[bool]]
    act: Callable[[Say], Awaitable[None]]


def binary_step(binary: recipe.Binary, modules: Path, flags: str = "-s -w") -> Step:
    """Build one Go program of `modules` (a folder of Go modules) into the cache."""
    target = node_cache() / "bin" / binary.name

    async def done() -> bool:
        return await anyio.to_thread.run_sync(binary.is_in, target)

    async def act(say: Say) -> None:
        part = target.with_suffix(".part")
        argv = ["go", "build", "-ldflags", flags, "-o", str(part), binary.package]
        await logged(argv, binary.name, say, env=GO_ENV, cwd=modules / binary.folder, timeout_s=3600)
        part.replace(target)

    minutes = f", about {binary.minutes:g} min on 2 cores" if binary.minutes >= 0.5 else ""
    return Step(f"{binary.name}{minutes}", "go", done, act)


async def logged(argv: Sequence[str], name: str, say: Say, *, timeout_s: float, **more: object) -> None:
    """Run a program with its log in the cache; a failure shows the log's end. Raises EnvironmentProblem."""
    log = node_cache() / f"{name}.log"
    log.write_bytes(b"")
    try:
        async with heartbeat(say, name):
            await run(argv, timeout_s=timeout_s, log=log, **more)  # type: ignore[arg-type]
    except EnvironmentProblem as error:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        reason = error.message.splitlines()[0].split("`")[-1].strip()  # "failed (exit 1)"; the command is in the log
        raise EnvironmentProblem(f"{name} {reason}; the end of {log}:\n{tail}", _advice(tail)) from error


def _advice(tail: str) -> str:
    for sign, advice in (
        ("No space left", "free some space; `hazd doctor` says how much is needed"),
        ("no such host", "a host is unknown to DNS: Go needs its module proxy (GOPROXY), debootstrap a Debian mirror"),
        ("checksum mismatch", "a Go module is not what go.sum says; do not go on before you know why"),
        ("Failed getting release", "the Debian mirror does not answer; set HAZD_DEBIAN_MIRROR to one that does"),
    ):
        if sign in tail:
            return advice
    return "what was finished is kept: the next `hazd cluster create` goes on from here"


def mirror() -> str | None:
    """Where debootstrap fetches from: HAZD_DEBIAN_MIRROR, else what this system's apt uses."""
    if given := os.environ.get("HAZD_DEBIAN_MIRROR"):
        return given
    etc = Path("/etc/apt")
    sources = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]
    sources = [path for path in sources if path.suffix in (".list", ".sources") and path.is_file()]
    texts = [path.read_text(errors="replace") for path in sources]
    lists = [(str(path), path.read_text(errors="replace")) for path in (etc / "mirrors").glob("*.list")]
    return recipe.debian_mirror(texts, lists)


async def left_of(steps: Sequence[Step]) -> list[Step]:
    """What is still to do."""
    return [step for step in steps if not await step.done()]


def unmet(left: Sequence[Step]) -> list[str]:
    """What this machine lacks for these steps, with the remedy; empty when nothing."""
    problems = []
    needs = {step.needs for step in left}
    if platform.system() != "Linux":
        problems.append(f"a node image can be built on Linux only, this is {platform.system()}")
    if "go" in needs and find("go") is None:
        problems.append(f"Go is not installed: {GO_HINT}")
    if "debootstrap" in needs:
        if find("debootstrap") is None:
            problems.append("debootstrap is not installed: `apt-get install debootstrap`, or `make setup` as root")
        if os.geteuid() != 0:
            problems.append("debootstrap needs root: run `hazd cluster create` as root once")
        if mirror() is None:
            problems.append("no Debian archive in /etc/apt: set HAZD_DEBIAN_MIRROR to one")
    if left:
        wanted = COLD_BYTES if "go" in needs else WARM_BYTES
        free = archive.disk_free(node_cache())
        if free < wanted:
            problems.append(f"{free / 1e9:.1f} GB are free at {node_cache()}, {wanted / 1e9:.0f} GB are needed")
    return problems


async def build(what: str, steps: Sequence[Step], say: Say) -> None:
    """Do what is left of the steps. Raises EnvironmentProblem (step, log's end, remedy)."""
    (node_cache() / "bin").mkdir(parents=True, exist_ok=True)
    async with alone(node_cache() / "lock", "builds for hazd's nodes", say):
        left = await left_of(steps)
        if problems := unmet(left):
            raise EnvironmentProblem(f"{what} cannot be built here: {problems[0]}", "\n".join(problems[1:]))
        if left:
            say(f"building {what} here: {len(left)} of {len(steps)} steps to do")
        for number, step in enumerate(left, start=1):
            say(f"step {number}/{len(left)}: {step.title}")
            start = time.monotonic()
            try:
                await step.act(say)
            except EnvironmentProblem as error:
                title = f"step {number}/{len(left)} ({step.title.split(',')[0]})"
                raise EnvironmentProblem(f"{what} could not be built: {title}: {error.message}", error.hint) from error
            say(f"  done in {time.monotonic() - start:.0f} s")
        for leftover in (*node_cache().glob("assemble-*"), node_cache() / "debs"):
            shutil.rmtree(leftover, ignore_errors=True)


__all__ = ["Step", "binary_step", "build", "left_of", "logged", "mirror", "unmet"]
