"""python -m tests.lanes [--strict]: every check and test this machine can run, in lanes side by side.

`make test` and `.ci/run` are this. What is missing is set up first where root on Debian can (setup/docker, setup/kind);
one line each says what could not be, and which test was skipped. --strict makes what could not be set up a failure. The
last line counts the tests of all lanes. What was started here is ended here: a kind cluster, Docker; every lane's
output stays in .lanes/.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio

from hazd.cluster.process import run
from hazd.errors import EnvironmentProblem

ROOT = Path(__file__).resolve().parents[1]
LOGS = ROOT / ".lanes"
HAZD = str(ROOT / ".venv" / "bin" / "hazd")
PYTEST = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--durations=30")
LANES = {
    "check": ("make", "--no-print-directory", "check"),
    "unit": (*PYTEST, "-m", "not lab and not kind"),
    "lab": (*PYTEST, "-m", "lab", "--require-lab"),
    "kind": (*PYTEST, "-m", "kind", "--require-kind"),
}
GIVING_WAY = ("nice", "-n", "10")
LIMIT_S = 5400.0
KIND_CONFIG = ROOT / "tests" / "kind-config.yaml"
COUNTS = re.compile(r"^=+ (?P<counts>.*?) in [0-9.]+s.*=+$", re.MULTILINE)


@dataclass
class Outcome:
    """code: of its process; counts: of its tests, by pytest's words ("passed", "failed", "skipped", "error")."""

    code: int
    seconds: float
    counts: dict[str, int] = field(default_factory=dict)
    skips: list[str] = field(default_factory=list)


def count(text: str) -> dict[str, int]:
    """PURE: what pytest's closing line counts; empty where there is none."""
    lines = COUNTS.findall(text)
    found = re.findall(r"(\d+) (passed|failed|skipped|error)s?\b", lines[-1]) if lines else []
    return {word: int(number) for number, word in found}


def skips(text: str) -> list[str]:
    """PURE: pytest's lines on skipped tests, each with its reason (-ra)."""
    return re.findall(r"^SKIPPED .*$", text, re.MULTILINE)


def closing_line(outcomes: Iterable[Outcome]) -> str:
    """PURE: one line over all lanes. An error is a failure, and so is a lane that failed without a failed test."""
    passed = failed = skipped = 0
    for outcome in outcomes:
        lost = outcome.counts.get("failed", 0) + outcome.counts.get("error", 0)
        passed += outcome.counts.get("passed", 0)
        skipped += outcome.counts.get("skipped", 0)
        failed += lost or int(outcome.code != 0)
    return f"{passed} passed, {failed} failed, {skipped} skipped"


def say(name: str, line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {name:5} {line}", flush=True)


@dataclass
class Lanes:
    """One call of this program: what came of each lane, and what has to be ended."""

    strict: bool
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    lacking: list[str] = field(default_factory=list)
    cluster_made: bool = False
    docker_started: bool = False
    start: float = field(default_factory=time.monotonic)

    async def lane(self, name: str, argv: Sequence[str]) -> Outcome:
        log = LOGS / f"{name}.log"
        log.unlink(missing_ok=True)
        start = time.monotonic()
        try:
            done = await run(
                argv, timeout_s=LIMIT_S, check=False, cwd=ROOT, log=log, on_line=lambda line: say(name, line)
            )
            code = done.code
        except EnvironmentProblem as problem:
            say(name, str(problem))
            code = 3
        text = log.read_text(errors="replace") if log.exists() else ""
        self.outcomes[name] = outcome = Outcome(code, time.monotonic() - start, count(text), skips(text))
        return outcome

    def lacks(self, what: str, why: str) -> None:
        self.lacking.append(f"{what}: {why}")
        say("setup", f"not set up: {what}: {why}")

    async def prepare_kind(self) -> bool:
        """Docker, kind and a cluster with its add-ons, as far as they can be had; whether the kind lane can run."""
        was_there = await _docker_answers()
        for script in ("docker", "kind"):
            if script == "docker" and was_there:
                continue
            if os.geteuid() != 0 or not shutil.which("apt-get"):
                self.lacks(script, f"only root on Debian sets it up here (setup/{script})")
                continue
            try:
                await run([f"setup/{script}"], timeout_s=900, cwd=ROOT, on_line=lambda line: say("setup", line))
            except EnvironmentProblem as problem:
                self.lacks(script, (problem.hint or problem.message).splitlines()[-1])
        self.docker_started = not was_there and await _docker_answers()
        if not await _docker_answers():
            self.lacks("the kind cluster", "Docker does not answer")
            return False
        status = await run([HAZD, "cluster", "status", "--json"], timeout_s=120, check=False, cwd=ROOT)
        self.cluster_made = '"state": "absent"' in status.out
        create = [HAZD, "cluster", "create", "--config", str(KIND_CONFIG)]
        try:
            await run(create, timeout_s=3600, cwd=ROOT, on_line=lambda line: say("setup", line))
        except EnvironmentProblem as problem:
            self.lacks("the kind cluster", (problem.hint or problem.message).splitlines()[-1])
            return False
        # Minutes the first time: no test should wait for it. A test that needs what failed here says so itself.
        addons = [sys.executable, "-m", "hazd.cluster.addons"]
        done = await run(addons, timeout_s=1800, check=False, cwd=ROOT, on_line=lambda line: say("setup", line))
        if done.code:
            self.lacks("metrics-server or the Vertical Pod Autoscaler", "the reason is above")
        return True

    async def all(self) -> None:
        """Preparing compiles on all cores the first time, so the lab, which looks at times, does not run beside it.

        The kind lane is the longest and mostly waits for Kubernetes: it starts as soon as its cluster is there, and
        what computes beside it gives way (nice).
        """
        prepared = anyio.Event()

        async def kind() -> None:
            try:
                ready = await self.prepare_kind()
            finally:
                prepared.set()
            if ready:
                await self.lane("kind", LANES["kind"])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(kind)
            await self.lane("check", (*GIVING_WAY, *LANES["check"]))
            await self.lane("unit", (*GIVING_WAY, *LANES["unit"]))
            await prepared.wait()
            await self.lane("lab", LANES["lab"] if self.strict or os.geteuid() == 0 else LANES["lab"][:-1])

    async def end(self) -> None:
        """End what was started here."""
        if not (self.cluster_made or self.docker_started):
            return
        say("setup", "clearing away")
        for words in (("clean",), ("cluster", "delete")) if self.cluster_made else ():
            with suppress(EnvironmentProblem):
                await run([HAZD, *words], timeout_s=300, check=False, cwd=ROOT)
        if self.docker_started:
            await anyio.to_thread.run_sync(_stop_docker)

    def conclude(self) -> int:
        """The times, what is lacking, and the closing line; the exit code."""
        print()
        for name, outcome in self.outcomes.items():
            counts = ", ".join(f"{number} {word}" for word, number in outcome.counts.items())
            ending = f"exit {outcome.code}" if outcome.code else "ok"
            minutes, seconds = divmod(round(outcome.seconds), 60)
            print(f"lane {name:6} {minutes:3}:{seconds:02} {ending:8} {counts} ({LOGS.name}/{name}.log)")
        for line in self.lacking:
            print(f"not set up: {line}")
        absent = [name for name in LANES if name not in self.outcomes]
        for name in absent:
            print(f"lane {name} did not run")
        failed = any(outcome.code for outcome in self.outcomes.values()) or "lab" in absent
        for name, outcome in self.outcomes.items():
            for line in outcome.skips:
                print(f"lane {name}: {line}")
        if self.strict and (self.lacking or absent):
            print("strict: what is not set up or a lane that did not run is a failure")
            failed = True
        print(f"{(time.monotonic() - self.start) / 60:.1f} minutes in all")
        print(closing_line(self.outcomes.values()), flush=True)
        return int(failed)


async def _docker_answers() -> bool:
    with suppress(EnvironmentProblem):
        return (await run(["docker", "info"], timeout_s=20, check=False)).code == 0
    return False


def _stop_docker() -> None:
    """The engine that setup/docker started; one that systemd started is the machine's own from now on."""
    pid = Path("/run/docker.pid")
    if Path("/run/systemd/system").exists() or not pid.exists():
        return
    with suppress(OSError, ValueError):
        os.kill(int(pid.read_text()), signal.SIGTERM)
    for _ in range(60):
        if pid.exists():
            time.sleep(0.5)


async def main(strict: bool) -> int:
    LOGS.mkdir(exist_ok=True)
    lanes = Lanes(strict)
    interrupted = False
    async with anyio.create_task_group() as tasks:

        async def listen() -> None:
            nonlocal interrupted
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for _ in signals:
                    interrupted = True
                    work.cancel()

        tasks.start_soon(listen)
        with anyio.CancelScope() as work:
            await lanes.all()
        with anyio.CancelScope(shield=True):
            await lanes.end()
        tasks.cancel_scope.cancel()
    code = lanes.conclude()
    return 130 if interrupted else code


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strict", action="store_true", help="what could not run is a failure")
    sys.exit(anyio.run(main, parser.parse_args().strict))


__all__ = ["Lanes", "Outcome", "closing_line", "count", "main", "skips"]
