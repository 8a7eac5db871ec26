"""Comparing a run with a baseline: what counts as worse, and what is only chance."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hazd.report.compare import Budgets, chance, compare


def trial(failed: int = 0, recorded: int = 7500, **more: Any) -> dict[str, Any]:
    verdict = "FAIL" if failed else "PASS"
    return {
        "name": "rollout--all",
        "scenario": "rollout",
        "fixes": ["prestop"],
        "verdict": verdict,
        "requests": {"failed": failed, "recorded": recorded},
        "failures": {"refused": failed, "timeout": 0},
        "latency_ms": {"p50": 1.0, "p99": 6.0},
        "outages": {"n": failed, "longest_ms": 40.0 if failed else 0.0, "recovery_s": None},
    } | more


def summary(*trials: dict[str, Any], run: str = "now") -> dict[str, Any]:
    return {"run": run, "trials": list(trials), "decided_by": [item["name"] for item in trials]}


def test_the_same_is_no_regression() -> None:
    """A run against itself passes, whatever it is."""
    for item in (trial(), trial(300)):
        found = compare(summary(item), summary(item, run="then"))
        assert (found["verdict"], found["reasons"]) == ("PASS", [])


def test_many_more_failures_are_a_regression() -> None:
    """Beyond chance: said with both rates and the kind."""
    found = compare(summary(trial(120)), summary(trial(20)))
    assert found["verdict"] == "FAIL"
    assert "mostly refused" in found["reasons"][0]
    assert found["trials"][0]["failures"]["refused"] == 100


def test_a_few_more_among_many_are_chance() -> None:
    """Noise between two failing runs is not called a regression."""
    assert compare(summary(trial(103)), summary(trial(100)))["verdict"] == "PASS"


def test_what_passed_and_now_fails_is_a_regression_however_small() -> None:
    """One failed request where there was none."""
    found = compare(summary(trial(1)), summary(trial(0)))
    assert found["verdict"] == "FAIL"
    assert "where the baseline passed" in found["reasons"][0]


@pytest.mark.parametrize(
    ("budgets", "now", "words"),
    [
        (Budgets(max_failed=3), trial(4), "3 are allowed"),
        (Budgets(max_outage_ms=30), trial(1), "30 ms are allowed"),
    ],
)
def test_budgets_need_no_baseline(budgets: Budgets, now: dict[str, Any], words: str) -> None:
    """Absolute budgets hold on their own, and not for trials that are there to fail."""
    found = compare(summary(now), None, budgets)
    assert found["verdict"] == "FAIL"
    assert words in found["reasons"][0]
    bare = summary(now) | {"decided_by": []}
    assert compare(bare, None, budgets)["verdict"] == "PASS"


def test_slower_counts_only_with_a_budget_for_it() -> None:
    """Latency on shared machines is noise unless someone says what is too much."""
    now, then = trial(latency_ms={"p50": 1.0, "p99": 20.0}), trial()
    assert compare(summary(now), summary(then))["verdict"] == "PASS"
    found = compare(summary(now), summary(then), Budgets(latency_ratio=2))
    assert found["verdict"] == "FAIL"
    assert "3.3 times" in found["reasons"][0]
    late, early = (
        trial(outages={"n": 1, "longest_ms": 1.0, "recovery_s": 9.0}),
        trial(outages={"longest_ms": 1.0, "recovery_s": 3.0}),
    )
    assert compare(summary(late), summary(early), Budgets(recovery_ratio=2))["verdict"] == "FAIL"


def test_a_trial_that_is_gone_or_in_doubt_is_inconclusive() -> None:
    """Nothing passes by not being run."""
    gone = compare(summary(), summary(trial()))
    assert (gone["verdict"], gone["missing"]) == ("INCONCLUSIVE", ["rollout--all"])
    doubtful = compare(summary(trial(verdict="INCONCLUSIVE")), summary(trial()))
    assert doubtful["verdict"] == "INCONCLUSIVE"


def test_trials_are_matched_by_what_they_are() -> None:
    """Another name or order of fixes is still the same trial; a new one has no baseline and no regression."""
    renamed = trial(fixes=["b", "a"], name="x"), trial(fixes=["a", "b"], name="y")
    assert compare(summary(renamed[0]), summary(renamed[1]))["trials"][0]["baseline"] is not None
    fresh = compare(summary(trial(5, scenario="drain")), summary(trial()))
    assert fresh["trials"][0]["baseline"] is None


@settings(deadline=None)
@given(st.integers(0, 200), st.integers(0, 200), st.integers(200, 2000))
def test_chance_is_a_probability_that_falls_with_more_failures(now: int, then: int, total: int) -> None:
    """More failures at the same baseline are never likelier by chance; no more than the baseline is certain."""
    found = chance(now, total, then, total)
    assert 0 <= found <= 1
    if now <= then:
        assert found == 1.0
    if now < total:
        assert chance(now + 1, total, then, total) <= found + 1e-12
