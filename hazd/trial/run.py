"""A run: its trials one by one, each with its own errors; several lanes may work on them side by side.

A lane is one cluster and the trials that it takes from the run's list. Only the lab can be had several times, so only
there are several lanes possible, and there a lane goes on with a fresh lab after a failure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hazd import __version__
from hazd.clock import unix_ns
from hazd.cluster.port import Cluster, Images
from hazd.errors import HazdError, UsageError
from hazd.journal import (
    RUN_FILE,
    SCHEMA,
    Identity,
    close_trial,
    discard_trial,
    identity_of,
    read_complete,
    why_not_same,
    write_sealed,
)
from hazd.model import Observer, Progress, Trial
from hazd.scenario import Scenario
from hazd.trial.failure import naming_full_disk, why_failed
from hazd.trial.order import OneTrial
from hazd.trial.preconditions import check_needs
from hazd.trial.vantage import vantage_nodes


class Run:
    """The trials of one run. A folder that has some of them complete is resumed: those are not run again.

    keep: leave the trials' namespaces. keep_going: a trial that fails stops no other; `failure` has the first error.
    again(number): asked when no trial is waiting; the trials of a further round, or why there is none. It may read the
    journals of those that ended. about: more fields for run.json.
    """

    def __init__(
        self,
        scenarios: Mapping[str, Scenario],
        trials: tuple[Trial, ...],
        folder: Path,
        observer: Observer,
        *,
        keep_going: bool = False,
        keep: bool = False,
        again: Callable[[int], tuple[Trial, ...] | str] | None = None,
        about: Mapping[str, Any] | None = None,
        now_ns: Callable[[], int] = unix_ns,
    ) -> None:
        names = [trial.name for trial in trials]
        if len(set(names)) != len(names):
            raise UsageError(f"two trials have the same name: {', '.join(names)}")
        self.scenarios = scenarios
        self.trials = trials
        self.folder = folder
        self.observer = observer
        self.keep_going = keep_going
        self.keep = keep
        self.now_ns = now_ns
        self.failure: HazdError | None = None
        self._waiting = deque(enumerate(trials))
        self._again = again
        self._rounds = 1
        self._meta: dict[str, Any] = dict(about or {})
        self._complete: set[str] = set()
        self._identity: Callable[[Trial], Identity] = lambda trial: {}

    async def begin(self, cluster: Cluster, argv: list[str]) -> None:
        """Check what the trials need of the cluster and which are complete already; write run.json, nothing else.

        Raises EnvironmentProblem; UsageError for a vantage that is no node of the cluster, or a complete trial that is
        not the one asked for; JournalError for a damaged complete trial.
        """
        images = asdict(await cluster.images())
        self._identity = lambda trial: identity_of(trial, cluster.info, images, __version__)
        self._complete = {trial.name for trial in self.trials if self._is_complete(trial)}
        for vantage in dict.fromkeys(trial.vantage for trial in self.trials):
            await vantage_nodes(cluster, vantage)
        options = {trial.scenario: trial.options for trial in self.trials}
        await check_needs(cluster, [(self.scenarios[name], given) for name, given in options.items()])
        self._meta |= {
            "schema": SCHEMA,
            "run": self.folder.name,
            "hazd": __version__,
            "started_ns": self.now_ns(),
            "scenario": ",".join(dict.fromkeys(trial.scenario for trial in self.trials)),
            "cluster": asdict(cluster.info),
            "argv": argv,
        }
        with naming_full_disk(self.folder):
            (self.folder / "trials").mkdir(parents=True, exist_ok=True)
        self._write()
        self.observer(Progress("run", {"trials": [trial.name for trial in self.trials], "path": str(self.folder)}))

    def _write(self) -> None:
        planned = [{"name": item.name, "scenario": item.scenario, "fixes": list(item.fixes)} for item in self.trials]
        with naming_full_disk(self.folder):
            write_sealed(self.folder / RUN_FILE, self._meta | {"trials": planned})

    def _begin_round(self) -> None:
        """Ask for a further round, unless the last answer was that there is none."""
        if self._again is None or self._waiting or self.failure is not None:
            return
        found = self._again(self._rounds + 1)
        if isinstance(found, str):
            self._again = None
            self._meta["stopped"] = found
            self.observer(Progress("note", {"text": found}))
        else:
            self._rounds += 1
            self._waiting.extend(enumerate(found, start=len(self.trials)))
            self.trials += found
            self._complete |= {trial.name for trial in found if self._is_complete(trial)}
        self._write()

    def _is_complete(self, trial: Trial) -> bool:
        """Raises JournalError for a damaged complete trial, UsageError for one that is not the one asked for."""
        folder = self.folder / "trials" / trial.name
        meta = read_complete(folder)
        if meta is None:
            return False
        why = why_not_same(meta.get("identity"), self._identity(trial))
        if why is not None:
            raise UsageError(
                f"--resume: the complete trial {trial.name} is not the one asked for: {why}",
                f"choose another --name, or remove {folder} to run it again",
            )
        return True

    @property
    def more(self) -> bool:
        """Whether a lane still finds a trial to run."""
        return bool(self._waiting) and (self.keep_going or self.failure is None)

    def failed(self, trial: str, error: HazdError) -> None:
        """Remember a trial's error, the first one for the exit code, and show it in one line."""
        self.failure = self.failure or error
        words = error.message.splitlines()[0] if error.message else type(error).__name__
        self.observer(Progress("note", {"text": f"{trial} failed: {words}"}))

    def take(self) -> tuple[int, Trial] | None:
        """The next trial that is not complete, and its place in the plan; None when there is none."""
        self._begin_round()
        while self.more:
            index, trial = self._waiting.popleft()
            folder = self.folder / "trials" / trial.name
            if trial.name not in self._complete:
                discard_trial(folder)
                return index, trial
            self.observer(Progress("note", {"text": f"{trial.name} is complete already"}))
        return None


class Lane:
    """Runs trials of `run` one after the other. current: the name of the trial under way, "" between trials."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.current = ""

    async def work(self, cluster: Cluster, images: Images) -> None:
        """Run trials until none is left or one failed: its error, whatever it was, is its own and is in run.failure.

        A cancelled trial is recorded as interrupted. Either way nothing of it is left in the cluster.
        """
        run = self.run
        while (taken := run.take()) is not None:
            index, trial = taken
            self.current = trial.name
            observer = _of_trial(run.observer, trial.name)
            data = {"name": trial.name, "fixes": list(trial.fixes), "scenario": trial.scenario}
            observer(Progress("trial", data | {"index": index + 1, "of": len(run.trials)}))
            folder = run.folder / "trials" / trial.name
            failure: HazdError | None = None
            try:
                one = OneTrial(
                    cluster,
                    run.scenarios[trial.scenario],
                    trial,
                    images,
                    run.folder,
                    index,
                    observer,
                    keep=run.keep,
                    now_ns=run.now_ns,
                )
                await one.run()
            except Exception as error:
                failure = why_failed(error, folder)
            self.current = ""
            if failure is not None:
                run.failed(trial.name, failure)
            observer(Progress("trial-done", {"name": trial.name, "path": str(folder)}))
            if failure is not None:
                return

    def cluster_failed(self, error: Exception) -> None:
        """The cluster ended under the trial under way: what looks interrupted has failed, and this is why."""
        folder = self.run.folder / "trials" / self.current
        failure = why_failed(error, folder)
        if self.current:
            close_trial(folder, state="failed", error=failure.message)
        self.run.failed(self.current or "a lab", failure)
        self.current = ""


async def work_in_labs(
    cluster: Cluster | None,
    another: Callable[[], Awaitable[Cluster]],
    lane_in: Callable[[Cluster], Awaitable[Lane]],
    until_interrupted: Callable[[], AbstractContextManager[None]],
) -> None:
    """One lane in labs of its own, a fresh one after each failure: a broken lab costs the trial under way, no other.

    cluster: the first lab (None: `another()`). lane_in(lab): called once, in the first lab; what it raises is raised.
    until_interrupted(): a context that ends early, without an error, when the user interrupts; the lab around it stays
    until the trial has ended in order.
    """
    lane: Lane | None = None
    again = True
    while again:
        again = False
        try:
            async with cluster or await another() as lab:
                with until_interrupted():
                    lane = lane or await lane_in(lab)
                    await lane.work(lab, await lab.images())
                    again = lane.run.more
        except Exception as error:
            if lane is None:
                raise
            under_way = bool(lane.current)  # a lab that does not even start will not the next time
            lane.cluster_failed(error)
            again = under_way and lane.run.more
        cluster = None


def _of_trial(observer: Observer, name: str) -> Observer:
    """What a trial says carries the trial's name, as several may be under way."""
    return lambda progress: observer(replace(progress, trial=name))


__all__ = ["Lane", "Run", "work_in_labs"]
