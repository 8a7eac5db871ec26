"""What `hazd run` does once its options are parsed: check, open the cluster, run, report, answer with an exit code."""

from __future__ import annotations

import contextlib
import errno
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
    from hazd.trial.run import Lane, Run

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
    parallel: int | None = None,
    keep: bool = False,
) -> int:
    """Run scenarios and return the exit code. Bad input raises UsageError, nothing touched.

    resume: a run of that name may exist; its complete trials are kept and the rest is run. parallel: trials under way
    at once, on the lab only (None: by cores). keep: leave the trials' namespaces.
    """
    from hazd.fixes import load as load_fixes
    from hazd.plan.check import check_all
    from hazd.scenario import load_scenarios

    label = wanted[0].scenario if len(wanted) == 1 else "matrix"
    folder = out / (name or f"{time.strftime('%Y%m%d-%H%M%S')}-{label}")
    problems = _lane_problems(choice.spec, parallel, keep)
    if folder.exists() and not resume:
        problems.append(f"--name: {folder} exists already; choose another --name, or omit it")
    try:
        scenarios = load_scenarios(*folders)
    except UsageError as error:
        problems.append(error.message)
        scenarios = load_scenarios()
    check_all(wanted, scenarios, load_fixes(), problems)

    from hazd.report.live import live_view

    failure: HazdError | None = None
    interrupted = False
    with live_view() as view:
        observer = unbreakable(view)
        conductor = Conductor(wanted, choice, scenarios, folder, observer, keep_going, keep, parallel)
        try:
            interrupted = anyio.run(conductor.conduct)
        except (HazdError, BaseExceptionGroup) as error:
            failure = first_hazd_error(error)
            if failure is None:
                raise
            interrupted = conductor.interruption.asked
    if not (folder / "run.json").exists():
        if failure is not None:
            raise failure
        return EXIT_INTERRUPTED
    summary = _report_unless_closed(folder, as_json=as_json)
    if interrupted:
        return EXIT_INTERRUPTED
    if failure is not None:
        raise failure
    return EXIT_OF[summary["verdict"]]


def _report_unless_closed(folder: Path, *, as_json: bool) -> dict[str, Any]:
    """report(), also when nobody can read it any more: after a SIGHUP standard output may be closed."""
    from hazd.report import build
    from hazd.trial.failure import full_disk

    try:
        return report(folder, as_json=as_json)
    except OSError as error:
        if problem := full_disk(error, folder):
            raise problem from error
        if error.errno not in (errno.EIO, errno.EPIPE):
            raise
        return build(folder)


def report(folder: Path, *, as_json: bool) -> dict[str, Any]:
    """Analyse a run's folder, print the summary, write its report; returns the summary.

    A reader gets the verdict before the charts are drawn; a script, which goes on to the files, gets it after.
    """
    from hazd.report import build, console

    if as_json:
        summary = build(folder)
        typer.echo(json.dumps(summary, indent=2))
        return summary
    return build(folder, judged=lambda summary: console.show(summary, folder))


@dataclass
class Interruption:
    """What a signal cancels: the work under way, never the cluster under it, which that work needs to end in order."""

    asked: bool = False
    scopes: set[anyio.CancelScope] = field(default_factory=set)

    def ask(self) -> None:
        self.asked = True
        for scope in self.scopes:
            scope.cancel()

    @contextlib.contextmanager
    def stops(self) -> Iterator[None]:
        """The block ends early, without an error, when a signal has come or comes."""
        with anyio.CancelScope() as scope:
            self.scopes.add(scope)
            if self.asked:
                scope.cancel()
            try:
                yield
            finally:
                self.scopes.discard(scope)


@dataclass
class Conductor:
    """One command's run: opens the cluster, or as many labs as trials are to be under way at once, and runs them."""

    wanted: Sequence[Options]
    choice: ClusterChoice
    scenarios: Mapping[str, Scenario]
    folder: Path
    observer: Observer
    keep_going: bool
    keep: bool
    parallel: int | None
    interruption: Interruption = field(default_factory=Interruption)
    run: Run | None = None

    async def conduct(self) -> bool:
        """True when a signal cut it short; the journal is complete either way. Raises the first trial's error."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_listen_to_signals, self.interruption, self.observer)
            await self._open_and_run()
            tasks.cancel_scope.cancel()
        if self.run is not None and self.run.failure is not None:
            raise self.run.failure
        return self.interruption.asked

    async def _open(self) -> Cluster:
        from hazd.cluster.choose import open_cluster

        cluster, why = await open_cluster(
            self.choice.spec,
            progress=self._say,
            lab={key: value for key, value in self.choice.lab.items() if value is not None},
            node_command=self.choice.node_command,
            image=self.choice.image,
        )
        if self.run is None:
            self._note(why)
        return cluster

    async def _open_and_run(self) -> None:
        from hazd.trial.run import work_in_labs

        opened: list[Cluster] = []
        with self.interruption.stops():
            opened.append(await self._open())
        if not opened:
            return
        cluster = opened.pop()
        if not _is_lab(cluster):
            async with cluster:
                with self.interruption.stops():
                    lane = await self._first_lane(cluster)
                    images = await cluster.images()
                    while lane.run.more:
                        await lane.work(cluster, images)
            return
        async with anyio.create_task_group() as lanes:

            async def first_lane(lab: Cluster) -> Lane:
                lane = await self._first_lane(lab)
                for _ in range(self._lanes(len(lane.run.trials)) - 1):
                    lanes.start_soon(work_in_labs, None, self._open, self._lane, self.interruption.stops)
                return lane

            await work_in_labs(cluster, self._open, first_lane, self.interruption.stops)

    async def _first_lane(self, cluster: Cluster) -> Lane:
        """Plan the trials for this cluster and begin the run."""
        from hazd.cli.until import Until
        from hazd.fixes import load as load_fixes
        from hazd.plan import make_trials, skipped_fixes
        from hazd.trial.run import Run

        self._say("container images")
        images = await cluster.images()
        fixes = load_fixes()
        trials = tuple(
            trial
            for options in self.wanted
            for trial in make_trials(options, self.scenarios[options.scenario], fixes, cluster.info, images.app)
        )
        for options in self.wanted:
            for fix, reason in skipped_fixes(options, self.scenarios[options.scenario], fixes).items():
                self._note(f"{fix} is skipped: {reason}")
        keep = self.keep and not _is_lab(cluster)
        if self.keep and not keep:
            self._note("--keep has no effect: a lab ends with the command that made it")
        until = Until.of(self.wanted, trials, self.folder)
        run = Run(
            self.scenarios,
            trials,
            self.folder,
            self.observer,
            keep_going=self.keep_going,
            keep=keep,
            again=until,
            about=until.about if until else None,
        )
        await run.begin(cluster, kept_words(sys.argv[1:]))
        self.run = run
        return await self._lane(cluster)

    async def _lane(self, cluster: Cluster) -> Lane:
        from hazd.trial.run import Lane

        assert self.run is not None
        return Lane(self.run)

    def _lanes(self, trials: int) -> int:
        if any(options.until is not None for options in self.wanted):
            return 1  # whether there is another trial is known when the one before has ended
        lanes = min(self.parallel or default_parallel(os.cpu_count() or 1), trials)
        if lanes > 1:
            self._note(f"{lanes} trials at a time, each in a lab of its own")
        return lanes

    def _say(self, text: str) -> None:
        self.observer(Progress("step", {"text": text}))

    def _note(self, text: str) -> None:
        self.observer(Progress("note", {"text": text}))


def default_parallel(cores: int) -> int:
    """How many trials in labs are under way at once unless --parallel says it: most of a trial is waiting."""
    return max(1, cores)


def _lane_problems(spec: str, parallel: int | None, keep: bool) -> list[str]:
    """Why so many trials cannot be under way at once on this kind of cluster, or their namespaces not be kept."""
    found = []
    is_lab = spec.partition(":")[0] == "lab"
    if parallel is not None and parallel < 1:
        found.append(f"--parallel: {parallel} is not a number of trials, 1 or more")
    if parallel is not None and parallel > 1 and not is_lab:
        why = "trials would disturb one another on one cluster; only labs can be had several times: --cluster lab"
        found.append(f"--parallel: {parallel} does not fit --cluster {spec}; {why}")
    if keep and is_lab:
        found.append("--keep: a lab ends with the command that made it, so nothing can be kept; use --cluster kind")
    return found


def _is_lab(cluster: Cluster) -> bool:
    from hazd.cluster.lab import LabCluster

    return isinstance(cluster, LabCluster)


async def _listen_to_signals(interruption: Interruption, observer: Observer) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        async for _ in signals:
            if interruption.asked:
                os._exit(EXIT_INTERRUPTED)
            text = "interrupted: keeping the data and cleaning up (once more to leave at once, then `hazd clean`)"
            interruption.ask()
            observer(Progress("note", {"text": text}))


def unbreakable(observer: Observer) -> Observer:
    """A view that can no longer be shown, as its terminal or pipe has closed, ends silently; the run goes on."""
    closed = False

    def observe(progress: Progress) -> None:
        nonlocal closed
        if not closed:
            try:
                observer(progress)
            except OSError:
                closed = True

    return observe


__all__ = ["ClusterChoice", "conduct", "default_parallel", "report", "unbreakable"]
