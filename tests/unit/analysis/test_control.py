"""The control target: kept out of the service's numbers, and what its failures take from a verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazd.analysis import TrialResult, analyse, summarise
from hazd.analysis.control import CHANCE, Control, doubts, is_charged
from hazd.analysis.requests import read_requests
from hazd.analysis.stats import more_often
from hazd.journal import read_trial
from hazd.model import Outcome, TrialRecord
from tests.golden.simulated import S, World
from tests.golden.worlds import network_cut, rollout

COUNTS = st.integers(0, 300)


def control(failed: int, ok: int) -> Control:
    return Control(ok=ok, failures={"timeout": failed}, not_sent=0, spans={})


def judged(world: World, folder: Path, **meta: Any) -> TrialResult:
    world.rate = 100.0
    return analyse(read_trial(world.write(folder / "trial", **meta)))


def sound() -> World:
    return replace(rollout(readiness=True, prestop_s=5, graceful=True), control_rate=5.0)


def doctored(world: World, folder: Path, wanted: int) -> TrialResult:
    """The trial with that many of its control requests, evenly spread, made failures afterwards."""
    record = read_trial(world.write(folder / "trial"))
    frame = record.samples.copy()
    mine = frame.index[frame["stream"] == "control"]
    chosen = mine[:: max(1, len(mine) // wanted)][:wanted]
    frame.loc[chosen, "kind"], frame.loc[chosen, "phase"] = "timeout", "connect"
    return analyse(TrialRecord(record.name, record.meta, frame, record.events))


def test_the_control_is_in_no_number_of_the_service(tmp_path: Path) -> None:
    """Requests, streams, latency, pods, causes and charts are those of the same trial without a control target."""
    with_it = judged(replace(rollout(), control_rate=5.0), tmp_path / "with")
    without = judged(rollout(), tmp_path / "without")
    assert with_it.control is not None
    assert (with_it.control.recorded, with_it.control.failed) == (52, 0)
    assert without.control is None
    first, second = (summarise({}, [result])["trials"][0] for result in (with_it, without))
    assert first.pop("control")["due"] == 52
    assert second.pop("control") is None
    assert first == second
    assert {row.pod for row in with_it.timeline.rows} == {row.pod for row in without.timeline.rows}
    assert {name: counts.tolist() for name, counts in with_it.timeline.counts.items()} == {
        name: counts.tolist() for name, counts in without.timeline.counts.items()
    }


def test_due_is_recorded_and_not_sent_for_both(tmp_path: Path) -> None:
    """What a worker did not send is told apart by stream; the sums that are checked hold all of it."""
    world = sound()
    world.rate = 100.0
    record = read_trial(world.write(tmp_path / "trial"))
    (worker,) = record.meta["workers"]
    missed = {"due": worker["due"] + 7, "not_sent": 7, "not_sent_streams": [3, 2, 2]}
    meta = {**record.meta, "workers": [{**worker, **missed}]}
    result = analyse(TrialRecord(record.name, meta, record.samples, record.events))
    assert result.accounting.complete, result.accounting.problems
    assert result.control is not None
    assert (result.requests["not_sent"], result.control.not_sent) == (5, 2)
    assert result.requests["due"] == result.requests["recorded"] + 5
    assert result.requests["due"] + result.control.due == worker["due"] + 7


def test_a_cut_network_is_not_the_services_fault(tmp_path: Path) -> None:
    """Every failure came while the control failed: INCONCLUSIVE, with both counts, and the cause is named so."""
    result = judged(network_cut(), tmp_path)
    assert result.verdict.outcome is Outcome.INCONCLUSIVE
    reasons = "\n".join(result.verdict.reasons)
    assert "10 of 115 requests to a pod that nothing disturbed failed too: client or network" in reasons
    assert f"{result.failed} of the {result.failed} failures came at the same time" in reasons
    assert {finding.rule for finding in result.attribution.findings} == {"control_failed_too"}
    assert result.accounting.reconciled


def test_failures_of_the_control_alone_take_a_pass(tmp_path: Path) -> None:
    """The service lost nothing, but the way to it did: that is no pass."""
    result = doctored(sound(), tmp_path, 3)
    assert (result.failed, result.verdict.outcome) == (0, Outcome.INCONCLUSIVE)
    assert result.verdict.reasons == ("3 of 115 requests to a pod that nothing disturbed failed: client or network",)


def test_a_service_far_worse_than_the_control_still_fails(tmp_path: Path) -> None:
    """One lost control request excuses no rollout that loses a fifth of its requests; it is said all the same."""
    result = doctored(replace(rollout(), control_rate=50.0), tmp_path, 1)
    assert result.verdict.outcome is Outcome.FAIL
    assert any(" requests to a pod that nothing disturbed failed too" in text for text in result.verdict.reasons)


def test_an_answer_of_any_status_is_an_answer(tmp_path: Path) -> None:
    """The plan's expected statuses are about the service: the control only has to be reached."""
    world = sound()
    record = read_trial(world.write(tmp_path / "trial"))
    frame = record.samples.copy()
    frame.loc[frame["stream"] == "control", "kind"] = "bad_status"
    result = analyse(TrialRecord(record.name, record.meta, frame, record.events))
    assert result.control is not None
    assert result.control.failed == 0
    assert result.verdict.outcome is Outcome.PASS


def test_only_the_worker_that_saw_it_is_excused(tmp_path: Path) -> None:
    """A failing control says nothing of requests from another worker, nor of those before and after."""
    result = judged(network_cut(), tmp_path)
    assert result.control is not None
    (spans,) = result.control.spans.values()
    ((since_ns, until_ns),) = spans
    assert (until_ns - since_ns) / S == pytest.approx(2.2, abs=0.05)
    (worker,) = result.control.spans
    other = replace(result.control, spans={worker + 1: spans})
    case = read_trial(tmp_path / "trial")
    requests = read_requests(case.samples)
    assert result.control.failing(requests).sum() > 100
    assert not other.failing(requests).any()


@given(COUNTS, COUNTS, COUNTS, st.integers(0, 20))
def test_without_failures_of_the_control_only_the_budget_counts(failed: int, more: int, ok: int, budget: int) -> None:
    """No control, or one that never failed, leaves the rule that was there before."""
    for beside in (None, control(0, ok)):
        assert is_charged(failed, 0, failed + more, beside, budget) is (failed > budget)
        assert doubts(beside, failed, 0) == []


@given(COUNTS, COUNTS, COUNTS, COUNTS, st.integers(1, 50), st.integers(0, 50))
def test_more_trouble_of_the_control_never_charges_more(
    failed: int, shared: int, more: int, ok: int, bad: int, worse: int
) -> None:
    """The blame only shrinks as more control requests fail, or as more failures share their time with them."""
    shared, total = min(shared, failed), failed + more
    if is_charged(failed, shared, total, control(bad + worse, ok)):
        assert is_charged(failed, shared, total, control(bad, ok + worse))
        assert is_charged(failed, 0, total, control(bad + worse, ok))
        assert failed > shared


@given(COUNTS, COUNTS, st.integers(1, 50), COUNTS)
def test_a_service_no_worse_than_the_control_is_not_charged(failed: int, more: int, bad: int, ok: int) -> None:
    """Equal rates are the mark of a common cause."""
    if failed * (bad + ok) <= bad * (failed + more):
        assert not is_charged(failed, 0, failed + more, control(bad, ok))


@pytest.mark.parametrize(
    ("numbers", "chance"),
    [((8, 10, 1, 6), 0.0245), ((3, 4, 1, 4), 0.2429), ((0, 10, 1, 6), 1.0), ((5, 5, 0, 0), 1.0), ((0, 0, 1, 1), 1.0)],
)
def test_fishers_exact_test(numbers: tuple[int, int, int, int], chance: float) -> None:
    """The published values of the tea tasting (Fisher 1935) and of scipy's own example; 1 where nothing is compared."""
    assert more_often(*numbers) == pytest.approx(chance, abs=1e-4)
    assert 0 < CHANCE < 0.05
