"""A fix that did not act makes a trial INCONCLUSIVE: each check finds its own failure and nothing in a sound trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hazd.analysis import analyse
from hazd.analysis.checks import all_checks
from hazd.fixes import load
from hazd.journal import read_trial
from hazd.model import Event, Outcome, Ref, TrialRecord
from tests.golden.simulated import EPOCH_NS, NAMESPACE, World
from tests.golden.worlds import rollout, scale_out

ALL = ["prestop", "readiness", "graceful-shutdown", "pdb", "recycle"]
APPLIED = {"prestop": {"words": "preStop 5 s", "values": {"prestop_s": 5}}}
SOUND: dict[str, Any] = {"readiness": True, "prestop_s": 5, "graceful": True}


def failed_checks(world: World, folder: Path, *events: Event, **meta: Any) -> tuple[list[str], Outcome]:
    record = read_trial(world.write(folder / "trial", **({"fixes": ALL, "applied": APPLIED} | meta)))
    result = analyse(TrialRecord(record.name, record.meta, record.samples, (*record.events, *events)))
    return [str(check["message"]) for check in result.checks if not check["ok"]], result.verdict.outcome


def test_a_sound_trial_passes_every_check(tmp_path: Path) -> None:
    """No check cries wolf; what is not on is not checked."""
    assert failed_checks(rollout(**SOUND), tmp_path) == ([], Outcome.PASS)
    assert {check.FIX for check in all_checks()} <= set(load())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"prestop_s": 1}, "got SIGTERM before the preStop of 5 s was over"),
        ({"readiness": False}, "were listed ready before they listened"),
        ({"graceful": False}, "did not end gracefully"),
    ],
)
def test_a_fix_that_did_not_act_is_found(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    """The pods' own lives contradict the fix; requests that failed are a FAIL all the same."""
    world = rollout(**(SOUND | change))
    problems, outcome = failed_checks(world, tmp_path)
    assert any(words in problem for problem in problems)
    assert outcome is (Outcome.FAIL if world.truth else Outcome.INCONCLUSIVE)


def test_a_failed_hook_and_an_empty_budget_are_found(tmp_path: Path) -> None:
    """The cluster itself says so, in an Event or in a status."""
    hook = {"type": "Warning", "reason": "FailedPreStopHook", "message": "no such file"}
    said = Event(EPOCH_NS, "watch", Ref("Event", "x", NAMESPACE), "ADDED", detail=hook)
    budget = Event(EPOCH_NS, "watch", Ref("PodDisruptionBudget", "app", NAMESPACE), "ADDED", detail={"status": {}})
    problems, outcome = failed_checks(rollout(**SOUND), tmp_path, said, budget)
    assert any("FailedPreStopHook: no such file" in problem for problem in problems)
    assert any("never selected a pod" in problem for problem in problems)
    assert outcome is Outcome.INCONCLUSIVE


def test_connections_used_beyond_their_limit_are_found(tmp_path: Path) -> None:
    """Recycling after 20 requests means no connection carries many more."""
    applied = {"recycle": {"words": "recycling", "values": {"recycle_after": 20}}}
    meta: dict[str, Any] = {"fixes": ["recycle"], "applied": applied}
    assert failed_checks(scale_out(recycle_after=20), tmp_path / "kept", **meta)[0] == []
    problems, _ = failed_checks(scale_out(), tmp_path / "not", **meta)
    assert "recycling was set to 20" in problems[0]


def test_a_forced_deletion_has_no_hook_to_run(tmp_path: Path) -> None:
    """With --force the missing preStop is the point of the scenario, not a fault of the trial."""
    world = rollout(**(SOUND | {"prestop_s": 0}))
    problems, _ = failed_checks(world, tmp_path, fixes=["prestop"], options={"force": True})
    assert problems == []


def test_shares_that_stay_uneven_fail_where_they_are_the_question(tmp_path: Path) -> None:
    """No request fails, and yet the new pods are idle: FAIL with the share; recycling passes."""
    criteria = {"even_shares": True, "expects": ["additions"]}
    kept = analyse(read_trial(scale_out().write(tmp_path / "kept", criteria=criteria)))
    assert kept.verdict.outcome is Outcome.FAIL
    assert "answered 0% of the requests in the end, 67% would be even" in kept.sentence
    even = analyse(read_trial(scale_out(recycle_after=5).write(tmp_path / "even", criteria=criteria)))
    assert even.verdict.outcome is Outcome.PASS
