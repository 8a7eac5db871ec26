"""Trials that are repeated: what they count together, when repeating stops, and what the run says of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hazd.analysis.stats import percent
from hazd.cli.until import Until
from hazd.fixes import load as load_fixes
from hazd.journal import write_sealed
from hazd.model import ClusterInfo, Trial
from hazd.plan import Options, make_trials
from hazd.report import markdown, read
from hazd.scenario import load_scenarios
from tests.golden.worlds import rollout
from tests.unit.report.test_build import write_run

SOUND = {"readiness": True, "prestop_s": 5.0, "graceful": True}
FIXES: dict[str, Any] = {"fixes": ["anti-affinity"]}


def planned(**options: Any) -> tuple[Trial, ...]:
    """The trials of a rolling update with a fix, and without where compare is set."""
    info = ClusterInfo("lab", "lab", "v1.34.4", 3, "nftables")
    wanted = Options(scenario="rollout", fixes=("anti-affinity",), **options)
    return make_trials(wanted, load_scenarios()["rollout"], load_fixes(), info, "hazd/app:a")


def add_trials(folder: Path, names: list[str], sound: bool = True, **fields: Any) -> None:
    """Further trials of a run that is there, as they lie when they have ended."""
    meta = json.loads((folder / "run.json").read_text())
    for name in names:
        world = rollout(**SOUND) if sound else rollout()  # type: ignore[arg-type]
        world.rate = 60.0
        world.write(folder / "trials" / name, **({"name": name, "run": folder.name} | FIXES | fields))
        meta["trials"].append({"name": name})
    write_sealed(folder / "run.json", meta)


@dataclass
class Clock:
    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", {})


def test_rounds_are_trials_of_their_own() -> None:
    """--repeat 3 with a baseline: both in turn, each with a name of its own, all else alike."""
    trials = planned(repeat=3, compare=True)
    assert [trial.name.partition("--")[2] for trial in trials] == [
        *("baseline", "anti-affinity", "baseline#2", "anti-affinity#2", "baseline#3", "anti-affinity#3")
    ]
    assert trials[1].setup == trials[3].setup


def test_repeated_trials_are_taken_together(folder: Path) -> None:
    """Three rollouts: 0 of 12 terminations, and the bound of twelve; one that answers nothing is not counted."""
    add_trials(folder, ["rollout--x", "rollout--x#2", "rollout--x#3"])
    (pool,) = read(folder)[0]["pooled"]
    assert pool["terminations_lost"] == {
        "terminations": 12,
        "seen_by_traffic": 12,
        "lost_requests": 0,
        "upper_bound_95": pytest.approx(1 - 0.05 ** (1 / 12), rel=1e-3),
        "anytime_upper_bound_95": pytest.approx(0.249, abs=0.002),
    }
    assert pool["sentence"].startswith("0 of 12 terminations lost a request: at most 22 % do (95 %); 0 of ")
    add_trials(folder, ["rollout--x#4"], state="interrupted")
    summary = read(folder)[0]
    assert (summary["pooled"][0]["counted"], len(summary["pooled"][0]["trials"])) == (3, 4)
    assert summary["verdict"] == "INCONCLUSIVE"
    assert "4 trials, 1 of them INCONCLUSIVE and not counted" in markdown.render(summary)


def test_one_trial_is_no_pool(folder: Path) -> None:
    """What a single trial says is in the trial."""
    add_trials(folder, ["rollout--x"])
    assert read(folder)[0]["pooled"] == []


def test_rounds_go_on_until_the_bound_is_reached(folder: Path) -> None:
    """Until 40 %: after 4 and after 8 terminations the bound at every look is above, after 8 it is 34 %."""
    until = Until.of([Options(scenario="rollout", until=0.4)], planned(compare=True), folder)
    assert until is not None
    name = until.trials[0].name
    assert [trial.name for trial in until.trials] == ["rollout--anti-affinity"]
    add_trials(folder, ["rollout--baseline"], sound=False, fixes=[])
    add_trials(folder, [name])
    found = until(2)
    assert not isinstance(found, str)
    assert [trial.name for trial in found] == [f"{name}#2"]
    add_trials(folder, [f"{name}#2"])
    assert "0 of 8 lost a request: at most 3" in str(until(3))


def test_rounds_end_when_the_bound_is_out_of_reach(folder: Path) -> None:
    """All four terminations lost requests: at most 5 % is refuted, and no budget is spent on it."""
    until = Until(0.05, 600.0, planned(), folder)
    add_trials(folder, [until.trials[0].name], sound=False)
    assert "at least" in str(until(2))


def test_no_round_is_begun_that_would_exceed_the_budget(folder: Path) -> None:
    """Two rounds took 70 s, so a third would end after 105 s: it is begun with 106 s and not with 100."""
    for budget_s, goes_on in ((100.0, False), (106.0, True)):
        clock = Clock()
        until = Until(0.01, budget_s, planned(), folder, clock)
        clock.now_s = 70.0
        found = until(3)
        assert isinstance(found, tuple) == goes_on
        assert goes_on or "100 s" in str(found)


def test_without_a_bound_nothing_is_repeated(folder: Path) -> None:
    """The run is the one that was planned."""
    assert Until.of([Options(scenario="rollout")], planned(), folder) is None


@pytest.mark.parametrize(("bound", "verdict"), [(0.6, "PASS"), (0.5, "INCONCLUSIVE")])
def test_a_bound_that_was_not_reached_is_no_pass(bound: float, verdict: str, folder: Path) -> None:
    """Nothing failed, but four terminations do not show what was asked for; both are said."""
    add_trials(folder, ["rollout--x"])
    meta = json.loads((folder / "run.json").read_text())
    about = {"until": {"bound": bound, "budget_s": 1.0}, "stopped": "another round would exceed the budget"}
    write_sealed(folder / "run.json", meta | about)
    summary = read(folder)[0]
    assert summary["verdict"] == verdict
    text = markdown.render(summary)
    assert f"at most 57 % do (95 % at every look), {percent(bound)} was asked for" in text
    assert "stopped: another round" in text
