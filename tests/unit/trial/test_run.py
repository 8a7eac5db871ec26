"""A run's trials and lanes in virtual time: one trial's error is no other's, and nothing is run twice."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio
import pytest

from hazd.errors import ClusterError, Crash, EnvironmentProblem, JournalError, UsageError
from hazd.scenario import Scenario
from hazd.stage import Stage
from hazd.trial.run import Lane, Run, work_in_labs
from tests.unit.trial.bench import IMAGES, Desk, Shown, now_ns, on_desk, scenario, trial, trial_json

Disrupt = Callable[[Stage], Awaitable[None]]
NAMES = ("one", "two", "three")


async def nothing(stage: Stage) -> None:
    await stage.sleep(1)


def the_run(folder: Path, shown: Shown, disrupt: Disrupt = nothing, names: tuple[str, ...] = NAMES, **more: Any) -> Run:
    trials = tuple(trial(name) for name in names)
    return Run({"poke": scenario(disrupt)}, trials, folder / "run", shown, now_ns=now_ns, **more)


def fails_in(name: str, error: Exception) -> Disrupt:
    async def disrupt(stage: Stage) -> None:
        if stage.trial.name == name:
            raise error

    return disrupt


def states(folder: Path) -> dict[str, str]:
    return {path.name: trial_json(path)["state"] for path in sorted((folder / "run/trials").iterdir())}


@pytest.mark.parametrize("error", [OSError(17, "File exists"), KeyError("x"), ClusterError("away")])
def test_whatever_fails_in_one_trial_the_others_go_on(tmp_path: Path, error: Exception) -> None:
    """With keep_going: all others complete, the first error is remembered, one line says which trial failed."""

    async def test(desk: Desk) -> None:
        shown = Shown()
        run = the_run(tmp_path, shown, fails_in("two", error), keep_going=True)
        await run.begin(desk, [])
        lane = Lane(run)
        while run.more:
            await lane.work(desk, IMAGES)
        assert states(tmp_path) == {"one": "complete", "three": "complete", "two": "failed"}
        assert run.failure is error if isinstance(error, ClusterError) else isinstance(run.failure, Crash)
        assert [note for note in shown.notes if note.startswith("two failed: ")]
        assert shown.done == list(NAMES)

    on_desk(test)


def test_without_keep_going_the_first_failure_ends_the_run(tmp_path: Path) -> None:
    """What comes after is planned in run.json and was not run."""

    async def test(desk: Desk) -> None:
        run = the_run(tmp_path, Shown(), fails_in("two", ClusterError("away")))
        await run.begin(desk, ["run"])
        lane = Lane(run)
        while run.more:
            await lane.work(desk, IMAGES)
        assert states(tmp_path) == {"one": "complete", "two": "failed"}
        planned = json.loads((tmp_path / "run/run.json").read_text())["trials"]
        assert [item["name"] for item in planned] == list(NAMES)

    on_desk(test)


def test_a_resumed_run_keeps_complete_trials_and_discards_others(tmp_path: Path) -> None:
    """A complete one stays byte for byte, an interrupted one is run again from the start."""

    async def test(desk: Desk) -> None:
        first = the_run(tmp_path, Shown(), fails_in("two", ClusterError("away")))
        await first.begin(desk, [])
        await Lane(first).work(desk, IMAGES)
        kept = (tmp_path / "run/trials/one/trial.json").read_bytes()
        shown = Shown()
        second = the_run(tmp_path, shown)
        await second.begin(desk, [])
        await Lane(second).work(desk, IMAGES)
        assert states(tmp_path) == dict.fromkeys(sorted(NAMES), "complete")
        assert (tmp_path / "run/trials/one/trial.json").read_bytes() == kept
        assert shown.done == ["two", "three"]

    on_desk(test)


def test_a_resumed_run_refuses_a_complete_trial_that_is_another_or_damaged(tmp_path: Path) -> None:
    """The error names what differs, or the file; the trial is neither taken for today's nor removed."""

    async def test(desk: Desk) -> None:
        first = the_run(tmp_path, Shown(), names=("one",))
        await first.begin(desk, [])
        await Lane(first).work(desk, IMAGES)
        samples = tmp_path / "run/trials/one/samples.arrow"
        kept = samples.read_bytes()
        other = Run(
            {"poke": scenario(nothing)}, (trial("one", settle_s=3.0),), tmp_path / "run", Shown(), now_ns=now_ns
        )
        with pytest.raises(UsageError, match=r"settle_s was 2\.0, now it is 3\.0"):
            await other.begin(desk, [])
        assert samples.read_bytes() == kept
        samples.write_bytes(kept[:-1])
        with pytest.raises(JournalError, match=r"samples\.arrow: it does not match its checksum"):
            await the_run(tmp_path, Shown(), names=("one",)).begin(desk, [])
        assert samples.exists()

    on_desk(test)


def test_two_trials_of_one_name_are_refused(tmp_path: Path) -> None:
    """Before anything is opened."""
    with pytest.raises(UsageError, match="same name"):
        the_run(tmp_path, Shown(), names=("one", "one"))
    assert not (tmp_path / "run").exists()


class Mortal(Desk):
    """A lab that ends, with an error, when a trial of this name is disrupted; `opened` counts how many there were."""

    def __init__(self, desk: Desk, mortal: bool) -> None:
        super().__init__(desk.bench)
        self.mortal = mortal
        self.dying = anyio.Event()

    async def __aenter__(self) -> Self:
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._die)
        return self

    async def _die(self) -> None:
        await self.dying.wait()
        raise ClusterError("a part of the lab failed: KeyError: 'x'", "Traceback ...")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self._tasks.cancel_scope.cancel()
        return await self._tasks.__aexit__(kind, error, trace)


@contextmanager
def never() -> Iterator[None]:
    yield


def test_a_lab_that_breaks_costs_the_trial_under_way_and_no_other(tmp_path: Path) -> None:
    """The trial is recorded as failed with the lab's words; the lane goes on in a fresh lab."""

    async def test(desk: Desk) -> None:
        labs: list[Mortal] = []

        async def another() -> Mortal:
            labs.append(Mortal(desk, not labs))
            return labs[-1]

        async def disrupt(stage: Stage) -> None:
            if stage.trial.name == "two":
                labs[-1].dying.set()
                await stage.sleep(5)

        run = the_run(tmp_path, Shown(), disrupt, keep_going=True)

        async def first_lane(lab: Any) -> Lane:
            await run.begin(lab, [])
            return Lane(run)

        await work_in_labs(None, another, first_lane, never)
        assert states(tmp_path) == {"one": "complete", "three": "complete", "two": "failed"}
        assert "a part of the lab failed" in trial_json(tmp_path / "run/trials/two")["error"]
        assert len(labs) == 2

    on_desk(test)


def test_a_lab_that_does_not_start_ends_its_lane(tmp_path: Path) -> None:
    """Instead of being tried for ever; before the first trial its error is raised as it is."""

    async def test(desk: Desk) -> None:
        calls: list[int] = []

        async def another() -> Any:
            calls.append(1)
            raise EnvironmentProblem("no namespaces here")

        async def first_lane(lab: Any) -> Lane:
            raise AssertionError

        with pytest.raises(EnvironmentProblem):
            await work_in_labs(None, another, first_lane, never)
        run = the_run(tmp_path, Shown(), fails_in("one", ClusterError("away")), keep_going=True)

        async def lane(lab: Any) -> Lane:
            await run.begin(lab, [])
            return Lane(run)

        await work_in_labs(desk, another, lane, never)
        assert states(tmp_path) == {"one": "failed"}
        assert len(calls) == 2

    on_desk(test)


def test_lanes_share_the_trials_and_run_side_by_side(tmp_path: Path) -> None:
    """Three lanes take each trial once, and the disruptions overlap."""
    spans: dict[str, tuple[float, float]] = {}

    async def disrupt(stage: Stage) -> None:
        begun = anyio.current_time()
        await stage.sleep(5)
        spans[stage.trial.name] = (begun, anyio.current_time())

    async def test(desk: Desk) -> None:
        shown = Shown()
        run = the_run(tmp_path, shown, disrupt)
        await run.begin(desk, [])

        async def lane(lab: Any) -> Lane:
            return Lane(run)

        async def another() -> Desk:
            return Desk(desk.bench)

        async with anyio.create_task_group() as lanes:
            for _ in range(3):
                lanes.start_soon(work_in_labs, None, another, lane, never)
        assert states(tmp_path) == dict.fromkeys(sorted(NAMES), "complete")
        assert sorted(shown.done) == sorted(NAMES)
        assert max(begun for begun, _ in spans.values()) < min(ended for _, ended in spans.values())

    on_desk(test)


def test_a_scenario_that_needs_more_than_there_is_runs_nothing(tmp_path: Path) -> None:
    """Checked before run.json is written."""

    async def test(desk: Desk) -> None:
        hungry = Scenario("poke", "for tests", nothing, workers=9)
        run = Run({"poke": hungry}, (trial("one"),), tmp_path / "run", Shown(), now_ns=now_ns)
        with pytest.raises(EnvironmentProblem, match="needs 9 schedulable nodes"):
            await run.begin(desk, [])
        assert not (tmp_path / "run").exists()

    on_desk(test)
