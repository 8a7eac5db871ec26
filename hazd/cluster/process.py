"""The one place where hazd starts programs of the host: docker, kind, go, debootstrap.

Every call has a time limit, its output kept, and ends with its whole process group when it is cancelled, so that an
interrupted build leaves nothing running. It must know nothing of what the programs are for.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeAlias

import anyio
from anyio.abc import ByteReceiveStream, Process

from hazd.errors import EnvironmentProblem

Say: TypeAlias = Callable[[str], None]
TAIL_LINES = 10
GO_FOLDER = Path("/usr/local/go/bin")
SBIN = (Path("/usr/sbin"), Path("/sbin"), Path("/usr/local/sbin"))
DOCKER_DOWN = ("Cannot connect to the Docker daemon", "failed to connect to the docker API", "permission denied while")
DOCKER_HINT = "start it (`systemctl start docker`, `setup/docker` as root), or `make setup`; `hazd doctor` says more"


def silent(_: str) -> None:
    """The progress callback of those who do not listen."""


def cache_dir() -> Path:
    """Where hazd keeps what can be made again; XDG Base Directory Specification."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hazd"


def state_dir() -> Path:
    """Where hazd keeps what must outlive a run, such as the kubeconfig of its kind cluster."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "hazd"


def node_cache() -> Path:
    return cache_dir() / "node-image"


def find(name: str) -> str | None:
    """A program on PATH, else the one hazd built into its cache, else where it usually is when PATH leaves that out:
    sbin for ordinary users, Go's own folder under cron and sudo (https://go.dev/doc/install)."""
    if found := shutil.which(name):
        return found
    for folder in (node_cache() / "bin", *SBIN, GO_FOLDER):
        if os.access(folder / name, os.X_OK) and (folder / name).is_file():
            return str(folder / name)
    return None


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that ended; `out` and `err` hold its last 256 reads of each stream, some megabytes at most."""

    command: str
    code: int
    out: str
    err: str

    @property
    def tail(self) -> str:
        """The last lines it wrote, those of stderr last."""
        lines = [[line for line in text.splitlines() if line.strip()] for text in (self.out, self.err)]
        return "\n".join([*lines[0][-TAIL_LINES:], *lines[1][-TAIL_LINES:]])


async def run(
    argv: Sequence[str],
    *,
    timeout_s: float,
    check: bool = True,
    stdin: bytes | None = None,
    stdin_file: IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    on_line: Say | None = None,
    log: Path | None = None,
) -> Finished:
    """Run a program to its end. on_line gets each line of both streams; log collects them.

    Raises EnvironmentProblem when it cannot be started, does not end in timeout_s, or (check) exits with other than 0.
    """
    command = " ".join([Path(argv[0]).name, *argv[1:]])
    shown = command if len(command) < 120 else command[:117] + "..."
    program = find(argv[0]) if "/" not in argv[0] else argv[0]
    if program is None:
        raise EnvironmentProblem(f"{argv[0]} is not installed", "`hazd doctor` says what is missing and how to get it")
    source: int | IO[bytes] = stdin_file or (subprocess.PIPE if stdin is not None else subprocess.DEVNULL)
    kept: dict[str, deque[bytes]] = {"out": deque(maxlen=256), "err": deque(maxlen=256)}
    with anyio.move_on_after(timeout_s) as scope:
        try:
            process = await anyio.open_process(
                [program, *argv[1:]],
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                env={**os.environ, **(env or {})},
                cwd=cwd,
            )
        except OSError as error:
            raise EnvironmentProblem(f"`{shown}` cannot be started: {error}") from error
        try:
            async with anyio.create_task_group() as tasks:
                for name, stream in (("out", process.stdout), ("err", process.stderr)):
                    if stream is not None:
                        tasks.start_soon(_drain, stream, kept[name], on_line, log)
                if stdin is not None and process.stdin is not None:
                    # broken: it ended without reading all, and its exit code tells more
                    with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                        await process.stdin.send(stdin)
                    await process.stdin.aclose()
            await process.wait()
        finally:
            if process.returncode is None:
                with anyio.CancelScope(shield=True):
                    await _end(process)
            with anyio.CancelScope(shield=True):
                await process.aclose()
    out, err = (b"".join(kept[name]).decode(errors="replace") for name in ("out", "err"))
    code = process.returncode if process.returncode is not None else -1
    finished = Finished(shown, code, out, err)
    if scope.cancelled_caught:
        raise EnvironmentProblem(f"`{shown}` did not end within {timeout_s:g} s", finished.tail)
    if check and code != 0:
        raise EnvironmentProblem(f"`{shown}` failed (exit {code})", finished.tail)
    return finished


async def _drain(stream: ByteReceiveStream, kept: deque[bytes], on_line: Say | None, log: Path | None) -> None:
    rest = b""
    sink = log.open("ab") if log is not None else None
    try:
        async for chunk in stream:
            kept.append(chunk)
            if sink is not None:
                sink.write(chunk)
                sink.flush()
            if on_line is not None:
                *lines, rest = (rest + chunk).replace(b"\r", b"\n").split(b"\n")
                for line in lines:
                    if line.strip():
                        on_line(line.decode(errors="replace").rstrip())
        if on_line is not None and rest.strip():
            on_line(rest.decode(errors="replace").rstrip())
    finally:
        if sink is not None:
            sink.close()


async def _end(process: Process) -> None:
    """Ask the process group to stop, give its first process 5 s, then kill what is left of it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with anyio.move_on_after(5):
            await process.wait()


async def docker(*args: str, timeout_s: float = 30.0, check: bool = True, **more: object) -> Finished:
    """One call of the docker client. Raises EnvironmentProblem with the remedy when the engine does not answer."""
    if find("docker") is None:
        raise EnvironmentProblem("Docker is not installed", "install it, or run `make setup` as root on Debian")
    done = await run(["docker", *args], timeout_s=timeout_s, check=False, **more)  # type: ignore[arg-type]
    if done.code != 0 and any(text in done.err for text in DOCKER_DOWN):
        raise EnvironmentProblem(f"Docker does not answer: {done.tail.splitlines()[-1]}", DOCKER_HINT)
    if check and done.code != 0:
        raise EnvironmentProblem(f"`{done.command}` failed (exit {done.code})", done.tail)
    return done


@asynccontextmanager
async def beside(work: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Run `work` until the body ends; the body's own error leaves as it is, not wrapped in a group."""
    failed: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        try:
            yield
        except Exception as error:
            failed = error
        tasks.cancel_scope.cancel()
    if failed is not None:
        raise failed


@asynccontextmanager
async def heartbeat(say: Say, what: str, every_s: float = 30.0) -> AsyncIterator[None]:
    """Say every_s seconds that `what` still goes on: a build of minutes must not look dead."""
    start = time.monotonic()

    async def beat() -> None:
        while True:
            await anyio.sleep(every_s)
            say(f"  {what}: still at it after {time.monotonic() - start:.0f} s")

    async with beside(beat):
        yield


@asynccontextmanager
async def alone(path: Path, does_what: str, say: Say) -> AsyncIterator[None]:
    """Hold the lock at `path` (flock(2): freed when the holder dies); who comes second waits, and says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        told = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    say(f"another hazd {does_what}; waiting for it")
                told = True
                await anyio.sleep(0.5)
        yield


__all__ = [
    "DOCKER_HINT", "Finished", "Say", "alone", "beside", "cache_dir", "docker", "find", "heartbeat", "node_cache",
    "run", "silent", "state_dir",
]  # fmt: skip
