"""Comparing a run with a baseline: what counts as worse, and what is only chance."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from hazd.report import junit, markdown
from hazd.report.compare import Budgets, compare, lines
from tests.golden.simulated import Pod, World
from tests.golden.worlds import rollout
from tests.unit.report.test_build import write_run


def trial(failed: int = 0, recorded: int = 7500, **more: Any) -> dict[str, Any]:
    verdict = "FAIL" if failed else "PASS"
    return {
        "name": "rollout--all",
        "scenario": "rollout",
        "fixes": ["prestop"],
        "verdict": verdict,
        "reasons": [f"{failed} of {recorded} requests failed"],
        "requests": {"due": recorded, "failed": failed, "recorded": recorded},
        "failures": {"refused": failed, "timeout": 0},
        "latency_ms": {"p50": 1.0, "p99": 6.0},
        "outages": {"n": failed, "longest_ms": 40.0 if failed else 0.0, "recovery_s": None},
    } | more


def summary(*trials: dict[str, Any], run: str = "now", **more: Any) -> dict[str, Any]:
    deciders = [item for item in trials if item["fixes"]] or list(trials)
    outcomes = {item["verdict"] for item in deciders}
    verdict = next(
        (word for word in ("FAIL", "INCONCLUSIVE") if word in outcomes), "PASS" if trials else "INCONCLUSIVE"
    )
    decided = {"decided_by": [item["name"] for item in deciders], "verdict": verdict, "not_run": []}
    return {"run": run, "scenario": "rollout", "trials": list(trials)} | decided | more


def bare(failed: int, **more: Any) -> dict[str, Any]:
    """A trial without its fixes, beside one with them."""
    return trial(failed, name="rollout--baseline", fixes=[]) | more


def test_a_passing_run_against_a_passing_one_passes() -> None:
    """No regression, nothing else to say."""
    found = compare([summary(trial())], [summary(trial(), run="then")])
    assert (found["verdict"], found["reasons"]) == ("PASS", [])


def test_a_failing_run_fails_whatever_the_baseline_is() -> None:
    """No baseline, one as bad, an unusable one: 500 failed requests are never a PASS."""
    for baselines in ([], [summary(trial(500))], [summary(trial(0, recorded=0))], [summary()]):
        found = compare([summary(trial(500))], baselines)
        assert found["verdict"] == "FAIL"
        assert any("500 of 7500 requests failed" in reason for reason in found["reasons"])


@pytest.mark.parametrize(
    ("then", "words"),
    [
        (trial(0, recorded=0), "without a request"),
        (trial(0, verdict="INCONCLUSIVE"), "the baseline is INCONCLUSIVE"),
    ],
)
def test_a_baseline_that_says_nothing_is_inconclusive(then: dict[str, Any], words: str) -> None:
    """Nothing can be compared with 0 requests or with a trial that answered nothing."""
    found = compare([summary(trial())], [summary(then)])
    assert found["verdict"] == "INCONCLUSIVE"
    assert any(words in reason for reason in found["reasons"])


def test_an_empty_baseline_is_inconclusive() -> None:
    """A run without a trial is no baseline."""
    found = compare([summary(trial())], [summary(run="then")])
    assert (found["verdict"], len(found["reasons"])) == ("INCONCLUSIVE", 1)


def test_one_usable_baseline_among_several_is_enough() -> None:
    """History may have a bad night in it."""
    history = [summary(trial(verdict="INCONCLUSIVE"), run="monday"), summary(trial(), run="tuesday")]
    found = compare([summary(trial())], history)
    assert found["verdict"] == "PASS"
    assert found["trials"][0]["baseline"]["trials"] == 1


def test_known_failures_pass_only_when_that_is_asked_for() -> None:
    """FAIL against FAIL, no worse: FAIL, and PASS with allow_known_failures; worse is a regression either way."""
    now, then = summary(trial(103)), summary(trial(100))
    assert compare([now], [then])["verdict"] == "FAIL"
    found = compare([now], [then], allow_known_failures=True)
    assert (found["verdict"], found["known_failures"]) == ("PASS", ["rollout--all"])
    assert compare([summary(trial(1200))], [then], allow_known_failures=True)["verdict"] == "FAIL"
    assert compare([now], [summary(trial())], allow_known_failures=True)["verdict"] == "FAIL"
    assert compare([now], [], allow_known_failures=True)["verdict"] == "FAIL"
    late = summary(trial(103), not_run=["rollout--later"])
    assert compare([late], [then], allow_known_failures=True)["verdict"] == "INCONCLUSIVE"
    other = trial(5, name="drain--all", scenario="drain")
    assert compare([summary(trial(103), other)], [then], allow_known_failures=True)["verdict"] == "FAIL"


def test_many_more_failures_are_a_regression() -> None:
    """Beyond chance: said with both rates, the kind, the test and what it could have found."""
    found = compare([summary(trial(1200))], [summary(trial(20))])
    assert found["verdict"] == "FAIL"
    for words in ("16 % failed, 0.27 % in the baseline", "mostly refused", "quasi-binomial test", "percentage points"):
        assert words in found["reasons"][0]
    assert found["trials"][0]["failures"]["refused"] == 1180
    assert 0 < found["trials"][0]["detectable_rise"] < 0.1


def test_noise_between_two_failing_runs_is_no_regression() -> None:
    """The project's own pair of identical runs, 248 and 169 of 2,628: p = 0.0001 by Fisher's test over requests."""
    found = compare([summary(trial(248, 2628))], [summary(trial(169, 2628))])
    assert found["trials"][0]["regressions"] == []
    assert found["trials"][0]["p_value"] > 0.05
    assert any("bench/compare" in line for line in lines(found))


def test_five_runs_a_side_are_compared_by_permutation() -> None:
    """Several runs now and before, each one unit."""
    now = [summary(trial(failed)) for failed in (300, 310, 290, 305, 320)]
    then = [summary(trial(failed)) for failed in (200, 190, 210, 205, 180)]
    found = compare(now, then)
    assert "exact permutation test, 252 splits" in found["reasons"][0]
    assert (found["trials"][0]["failed"], found["trials"][0]["trials"]) == (1525, 5)
    assert compare(then, now)["trials"][0]["regressions"] == []


def test_repeated_trials_of_one_run_are_runs_of_one_trial() -> None:
    """rollout--all and rollout--all#2 have one line, and the worst of their verdicts."""
    found = compare([summary(trial(), trial(3, name="rollout--all#2"))], [summary(trial())])
    assert len(found["trials"]) == 1
    assert (found["trials"][0]["trials"], found["verdict"]) == (2, "FAIL")


def test_what_passed_and_now_fails_is_a_regression_however_small() -> None:
    """One failed request where there was none."""
    found = compare([summary(trial(1))], [summary(trial(0))])
    assert found["verdict"] == "FAIL"
    assert found["reasons"] == ["rollout--all: 1 requests failed where the baseline passed"]


def test_a_trial_without_its_fixes_is_reported_and_never_gated() -> None:
    """It is there to fail: many more failures, doubt about it or its absence are notes at most."""
    then = summary(trial(), bare(100))
    found = compare([summary(trial(), bare(3000))], [then])
    assert found["verdict"] == "PASS"
    assert any("rollout--baseline: 40 % failed" in note for note in found["notes"])
    assert compare([summary(trial(), bare(3000, verdict="INCONCLUSIVE"))], [then])["verdict"] == "PASS"
    assert compare([summary(trial())], [then])["verdict"] == "PASS"
    assert compare([summary(trial(), bare(50))], [summary(trial(), bare(0, recorded=0))])["verdict"] == "PASS"
    alone = compare([summary(bare(3000))], [summary(bare(100))])
    assert alone["verdict"] == "FAIL"
    assert alone["trials"][0]["regressions"]


@pytest.mark.parametrize(
    ("budgets", "now", "words"),
    [
        (Budgets(max_failed=3), trial(4), "3 are allowed"),
        (Budgets(max_outage_ms=30), trial(1, verdict="PASS"), "30 ms are allowed"),
    ],
)
def test_budgets_need_no_baseline(budgets: Budgets, now: dict[str, Any], words: str) -> None:
    """Absolute budgets hold on their own, and not for trials that are there to fail."""
    found = compare([summary(now)], [], budgets)
    assert found["verdict"] == "FAIL"
    assert words in found["reasons"][0]
    assert compare([summary(bare(400), trial())], [], budgets)["verdict"] == "PASS"


def test_slower_counts_only_with_a_budget_for_it() -> None:
    """Latency on shared machines is noise unless someone says what is too much."""
    now, then = summary(trial(latency_ms={"p50": 1.0, "p99": 20.0})), summary(trial())
    assert compare([now], [then])["verdict"] == "PASS"
    found = compare([now], [then], Budgets(latency_ratio=2))
    assert found["verdict"] == "FAIL"
    assert "3.3 times" in found["reasons"][0]
    late = summary(trial(outages={"n": 1, "longest_ms": 1.0, "recovery_s": 9.0}))
    early = summary(trial(outages={"longest_ms": 1.0, "recovery_s": 3.0}))
    assert compare([late], [early], Budgets(recovery_ratio=2))["verdict"] == "FAIL"


def test_a_trial_that_is_missing_not_run_or_in_doubt_is_inconclusive() -> None:
    """Nothing passes by not being run."""
    gone = compare([summary()], [summary(trial())])
    assert (gone["verdict"], gone["missing"]) == ("INCONCLUSIVE", ["rollout--all"])
    assert compare([summary(trial(verdict="INCONCLUSIVE"))], [summary(trial())])["verdict"] == "INCONCLUSIVE"
    late = compare([summary(trial(), not_run=["drain--all"])], [])
    assert (late["verdict"], late["reasons"]) == ("INCONCLUSIVE", ["drain--all was not run"])


def test_the_runs_own_verdict_stands_even_where_no_trial_says_why() -> None:
    """A summary that says FAIL is never passed on as anything better."""
    assert compare([summary(trial(), verdict="FAIL")], [summary(trial())])["verdict"] == "FAIL"
    assert compare([summary(trial(), verdict="INCONCLUSIVE")], [summary(trial())])["verdict"] == "INCONCLUSIVE"


def test_trials_are_matched_by_what_they_are() -> None:
    """Another name or order of fixes is still the same trial; a new one has no baseline and stands by itself."""
    renamed = trial(fixes=["b", "a"], name="x"), trial(fixes=["a", "b"], name="y")
    assert compare([summary(renamed[0])], [summary(renamed[1])])["trials"][0]["baseline"] is not None
    fresh = compare([summary(trial(), trial(scenario="drain", name="drain--all"))], [summary(trial())])
    assert fresh["trials"][1]["baseline"] is None
    assert fresh["verdict"] == "PASS"


@pytest.mark.parametrize("then", [[], [summary(trial(), run="then")], [summary(trial(0, recorded=0), run="then")]])
@pytest.mark.parametrize("failed", [0, 500])
def test_junit_says_what_the_comparison_says(failed: int, then: list[dict[str, Any]]) -> None:
    """A CI system that reads only the XML is green where, and only where, the verdict is PASS."""
    now = summary(trial(failed, settings={}, applied={}, sentence="said", terminations_lost={}))
    found = compare([now], then)
    root = ElementTree.fromstring(junit.render(now, found))
    red = bool(root.findall(".//failure") + root.findall(".//error"))
    assert red == (found["verdict"] != "PASS")
    (case,) = [item for item in root.findall(".//testcase") if item.get("name") == "comparison"]
    assert bool(len(case) - 1) == red


def test_a_known_failure_that_is_allowed_is_no_failure_in_junit() -> None:
    """With allow_known_failures the XML is green as the exit code is."""
    now = summary(trial(103, settings={}, applied={}, sentence="said"))
    found = compare([now], [summary(trial(100))], allow_known_failures=True)
    root = ElementTree.fromstring(junit.render(now, found))
    assert not root.findall(".//failure")


def test_markdown_says_against_what_and_by_which_test() -> None:
    """Every baseline's name, the reasons, and what the test could have found."""
    parts: dict[str, Any] = {
        "settings": {},
        "applied": {},
        "sentence": "said",
        "outages": {"n": 0, "longest_ms": 0, "recovery_s": None},
        "terminations_lost": {"seen_by_traffic": 4, "lost_requests": 0, "upper_bound_95": 0.527},
        "propagation_ms": {name: {"n": 0} for name in ("removal", "addition", "since_deletion")},
    }
    now = summary(trial(**parts))
    text = markdown.render(now, compare([now], [summary(trial(), run="monday"), summary(trial(), run="tuesday")]))
    assert "PASS: against monday and tuesday" in text
    assert "- no regression" in text
    assert "| 0 of 4 (53 %) |" in text
    assert "quasi-binomial test" in text


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs as they lie on disk: one that failed, one that passed, one without a single request."""
    place, fixes = tmp_path_factory.mktemp("runs"), {"fixes": ["anti-affinity"]}
    worlds = {"failed": rollout(), "passed": rollout(readiness=True, prestop_s=5, graceful=True)}
    found = {}
    for name, world in worlds.items():
        found[name] = write_run(place / name, {"rollout--all": (world, fixes)})
    empty = World([Pod("app-a")], end=-3.0)
    found["empty"] = write_run(place / "empty", {"rollout--all": (empty, fixes)})
    return found


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("failed", 1),
        ("failed failed --allow-known-failures", 0),
        ("passed passed", 0),
        ("passed empty", 3),
        ("passed --also failed", 1),
    ],
)
def test_the_exit_code_is_the_verdicts(words: str, code: int, folders: dict[str, Path]) -> None:
    """From the folders of runs to 0, 1 or 3; the baselines' own reports are not written over."""
    import hazd.cli.compare  # noqa: F401
    from hazd.cli import app

    before = {path for folder in folders.values() for path in folder.rglob("*")}
    done = CliRunner().invoke(app, ["compare", *(str(folders.get(word, word)) for word in words.split())])
    assert done.exit_code == code, done.output
    written = {path for folder in folders.values() for path in folder.rglob("*")} - before
    assert all(path.is_relative_to(folders[words.split()[0]]) for path in written)
