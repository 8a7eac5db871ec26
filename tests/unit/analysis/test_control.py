"""The control target: kept out of the service's numbers, and what its failures take from a verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazd.analysis import TrialResult, analyse, summarise
from hazd.analysis.control import CHANCE, Control, doubts, is_charged, placed_by_chance
from hazd.analysis.requests import read_requests
from hazd.analysis.stats import chance_of
from hazd.journal import read_trial
from hazd.model import Event, Outcome, Ref, TrialRecord
from tests.golden.simulated import CONTROL, EPOCH_NS, NAMESPACE, S, World
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
    first.pop("notes")
    second.pop("notes")  # the simulated schedule holds no control
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


@given(COUNTS, COUNTS, st.integers(0, 20))
def test_without_failures_of_the_control_only_the_budget_counts(failed: int, ok: int, budget: int) -> None:
    """No control, or one that never failed, leaves the rule that was there before."""
    for beside in (None, control(0, ok)):
        assert is_charged(failed, 0, beside, budget, 1.0) is (failed > budget)
        assert doubts(beside, failed, 0) == []


@given(COUNTS, COUNTS, COUNTS, st.integers(1, 50), st.floats(0, 1))
def test_only_failures_at_the_same_time_or_without_a_place_are_excused(
    failed: int, shared: int, ok: int, bad: int, by_chance: float
) -> None:
    """How often the control failed plays no part: when and where the service's failures lie does."""
    shared = min(shared, failed)
    charged = is_charged(failed, shared, control(bad, ok), 0, by_chance)
    assert charged is (failed > shared and by_chance < CHANCE)
    assert is_charged(failed, shared, control(bad + 1, ok), 0, by_chance) is charged


def test_one_stray_failure_of_the_control_excuses_no_outage(tmp_path: Path) -> None:
    """A rollout without fixes and one lost control request after it: FAIL, and both are said."""
    world = replace(rollout(), control_rate=30.0)
    record = read_trial(world.write(tmp_path / "trial"))
    frame = record.samples.copy()
    last = frame.index[frame["stream"] == "control"][-20]
    frame.loc[last, "kind"], frame.loc[last, "phase"] = "timeout", "connect"
    result = analyse(TrialRecord(record.name, record.meta, frame, record.events))
    assert result.verdict.outcome is Outcome.FAIL
    assert "1 of 317 requests to a pod that nothing disturbed failed too: client or network" in result.verdict.reasons


def test_a_client_that_loses_packets_at_any_time_blames_nobody(tmp_path: Path) -> None:
    """One request in fifty lost, of the service and of the control alike, in no relation to the pods' transitions."""
    record = read_trial(replace(sound(), control_rate=30.0).write(tmp_path / "trial"))
    frame = record.samples.copy()
    lost = frame.index[frame["connection"] == "new"][::50]
    frame.loc[lost, ["kind", "phase", "pod"]] = ["timeout", "connect", ""]
    result = analyse(TrialRecord(record.name, record.meta, frame, record.events))
    assert result.failed > 20
    assert result.control is not None
    assert result.control.telling > 2
    assert result.verdict.outcome is Outcome.INCONCLUSIVE


def test_a_dead_control_pod_takes_nothing_and_excuses_nothing(tmp_path: Path) -> None:
    """Requests to it fail while its own endpoint is not ready: that says nothing of client or network."""
    world = replace(rollout(), control_rate=30.0)
    record = read_trial(world.write(tmp_path / "trial"))
    frame = record.samples.copy()
    late = frame.index[(frame["stream"] == "control") & (frame["sent_ns"] > EPOCH_NS + 4 * S)]
    frame.loc[late, "kind"], frame.loc[late, "phase"] = "refused", "connect"
    ref = Ref("EndpointSlice", f"{CONTROL}-slice", NAMESPACE)
    dead = Event(EPOCH_NS + 5 * S, "watch", ref, "MODIFIED", detail={"service": CONTROL, "endpoints": []})
    meta = {**record.meta, "watched": None}
    bare = analyse(TrialRecord(record.name, meta, frame, (*record.events, dead)))
    assert bare.control is not None
    assert (bare.control.telling, bare.control.disturbed) == (0, bare.control.failed)
    assert bare.verdict.outcome is Outcome.FAIL


def test_placement_is_the_binomial_tail() -> None:
    """Three of four failures in a quarter of the requests: 13 of 256 ways."""
    times = np.arange(100)
    assert placed_by_chance(times, np.array([1, 2, 3, 50]), [(0, 24)]) == pytest.approx(13 / 256)
    assert placed_by_chance(times, np.array([], dtype=int), [(0, 24)]) == 1.0
    assert chance_of(4, 4, 0.5) == pytest.approx(1 / 16)
    assert chance_of(0, 0, 0.5) == 1.0
