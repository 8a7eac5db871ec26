"""What `hazd run` does once its options are parsed: check, open the cluster, run, report, answer with an exit code."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import typer

from hazd.cli.words import kept_words
from hazd.errors import (
    EXIT_FAIL,
    EXIT_INCONCLUSIVE,
    EXIT_INTERRUPTED,
    EXIT_PASS,
    HazdError,
    UsageError,
    first_hazd_error,
)
from hazd.model import Observer, Progress

if TYPE_CHECKING:
    from hazd.cluster.port import Cluster
    from hazd.plan import Options
    from hazd.scenario import Scenario

EXIT_OF = {"PASS": EXIT_PASS, "FAIL": EXIT_FAIL, "INCONCLUSIVE": EXIT_INCONCLUSIVE}


@dataclass(frozen=True, slots=True)
class ClusterChoice:
    """Which cluster, and what only some kinds of it understand (None: their defaults)."""

    spec: str = "auto"
    lab: Mapping[str, Any] = field(default_factory=dict)
    node_command: str | None = None
    image: str | None = None


def conduct(
    wanted: Sequence[Options],
    choice: ClusterChoice,
    *,
    out: Path,
    name: str | None = None,
    resume: bool = False,
    keep_going: bool = False,
    folders: tuple[Path, ...] = (),
    as_json: bool = False,
) -> int:
    """Run scenarios one after the other and return the exit code. Bad input raises UsageError, nothing touched.

    resume: a run of that name may exist; its complete trials are kept and the rest is run.
    """
    from hazd.fixes import load as load_fixes
    from hazd.plan.check import check
    from hazd.scenario import load_scenarios

    scenarios = load_scenarios(*folders)
    for options in wanted:
        check(options, scenarios, load_fixes())
    label = wanted[0].scenario if len(wanted) == 1 else "matrix"
    folder = out / (name or f"{time.strftime('%Y%m%d-%H%M%S')}-{label}")
    if folder.exists() and not resume:
        raise UsageError(f"--name: {folder} exists already", "choose another --name, or leave it out")

    from hazd.report.live import live_view

    failure: HazdError | None = None
    interrupted = False
    with live_view() as observer:
        try:
            interrupted = anyio.run(_run, wanted, choice, scenarios, folder, observer, keep_going)
        except (HazdError, BaseExceptionGroup) as error:
            failure = first_hazd_error(error)
            if failure is None:
                raise
    if not (folder / "run.json").exists():
        if failure is not None:
            raise failure
        return EXIT_INTERRUPTED
    summary = report(folder, as_json=as_json)
    if failure is not None:
        raise failure
    return EXIT_INTERRUPTED if interrupted else EXIT_OF[summary["verdict"]]


def report(folder: Path, *, as_json: bool) -> dict[str, Any]:
    """Analyse a run's folder, write its report, print the summary; returns it."""
    from hazd.report import build, console

    summary = build(folder)
    if as_json:
        typer.echo(json.dumps(summary, indent=2))
    else:
        console.show(summary, folder)
    return summary


@dataclass
class Interruption:
    """What a signal cancels: the work under way, never the cluster under it, which that work needs to end in order."""

    asked: bool = False
    scope: anyio.CancelScope | None = None

    def ask(self) -> None:
        self.asked = True
        if self.scope is not None:
            self.scope.cancel()

    @contextlib.contextmanager
    def stops(self) -> Iterator[None]:
        """The block ends early, without an error, when a signal has come or comes."""
        with anyio.CancelScope() as self.scope:
            if self.asked:
                self.scope.cancel()
            yield
        self.scope = None


async def _run(
    wanted: Sequence[Options],
    choice: ClusterChoice,
    scenarios: Mapping[str, Scenario],
    folder: Path,
    observer: Observer,
    keep_going: bool,
) -> bool:
    """True when a signal cut it short; the journal is complete either way."""
    interruption = Interruption()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_listen_to_signals, interruption, observer)
        await _open_and_run(wanted, choice, scenarios, folder, observer, keep_going, interruption)
        tasks.cancel_scope.cancel()
    return interruption.asked


async def _listen_to_signals(interruption: Interruption, observer: Observer) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            if interruption.asked:
                os._exit(EXIT_INTERRUPTED)
            text = "interrupted: keeping the data and cleaning up (once more to leave at once, then `hazd clean`)"
            observer(Progress("note", {"text": text}))
            interruption.ask()


async def _open_and_run(
    wanted: Sequence[Options],
    choice: ClusterChoice,
    scenarios: Mapping[str, Scenario],
    folder: Path,
    observer: Observer,
    keep_going: bool,
    interruption: Interruption,
) -> None:
    from hazd.cluster.choose import open_cluster
    from hazd.fixes import load as load_fixes
    from hazd.plan import left_out, make_trials
    from hazd.trial.order import run_trials

    def say(text: str) -> None:
        observer(Progress("step", {"text": text}))

    opened: list[Cluster] = []
    with interruption.stops():
        cluster, why = await open_cluster(
            choice.spec,
            progress=say,
            lab={key: value for key, value in choice.lab.items() if value is not None},
            node_command=choice.node_command,
            image=choice.image,
        )
        observer(Progress("note", {"text": why}))
        opened.append(cluster)
    if not opened:
        return
    async with opened.pop() as cluster:
        with interruption.stops():
            say("container images")
            images = await cluster.images()
            fixes = load_fixes()
            trials = tuple(
                trial
                for options in wanted
                for trial in make_trials(options, scenarios[options.scenario], fixes, cluster.info, images.app)
            )
            for options in wanted:
                for fix, reason in left_out(options, scenarios[options.scenario], fixes).items():
                    observer(Progress("note", {"text": f"{fix} is left out: {reason}"}))
            argv = kept_words(sys.argv[1:])
            await run_trials(cluster, images, scenarios, trials, folder, observer, argv, keep_going=keep_going)


__all__ = ["ClusterChoice", "conduct", "report"]
