"""A pass needs traffic that covered the disruption: each way in which it did not is a reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from hazd.analysis import TrialResult, analyse
from hazd.journal import read_trial
from hazd.model import Outcome, TrialRecord
from tests.golden.simulated import EPOCH_NS, S, World
from tests.golden.worlds import rollout, scale_out


def sound() -> World:
    return rollout(readiness=True, prestop_s=5, graceful=True)


def kept(record: TrialRecord, rows: Any) -> TrialRecord:
    """The trial with these samples only, and counts that agree with them, the pods' own too."""
    frame = record.samples[rows].reset_index(drop=True)
    workers = [
        {**item, "due": int(n), "recorded": int(n)}
        for item in record.meta["workers"]
        for n in [(frame["worker"] == item["id"]).sum()]
    ]
    good = frame[frame["kind"] == "ok"]["pod"].value_counts()
    served = {pod: {**item, "served": int(good.get(pod, 0))} for pod, item in record.meta["served"].items()}
    return replace(record, samples=frame, meta={**record.meta, "workers": workers, "served": served})


def stalled(frame: pd.DataFrame, since_s: float, until_s: float) -> pd.DataFrame:
    """The client sent nothing for a while, and then all that was due."""
    frame = frame.copy()
    since_ns, until_ns = EPOCH_NS + int(since_s * S), EPOCH_NS + int(until_s * S)
    late = (frame["sent_ns"] > since_ns) & (frame["sent_ns"] < until_ns)
    moved = until_ns - frame.loc[late, "sent_ns"]
    for column in ("sent_ns", "connected_ns", "first_byte_ns", "done_ns"):
        frame.loc[late & (frame[column] > 0), column] += moved
    return frame


def judged(
    world: World, folder: Path, change: Callable[[TrialRecord], TrialRecord], *, plan: bool = True
) -> TrialResult:
    record = read_trial(world.write(folder / "trial"))
    if not plan:
        record = replace(record, meta={name: value for name, value in record.meta.items() if name != "plan"})
    return analyse(change(record))


@pytest.mark.parametrize("plan", [True, False], ids=["plan", "no-plan"])
def test_a_sound_trial_is_covered(plan: bool, tmp_path: Path) -> None:
    """No reason is found where there is none, with the plan in the journal or without."""
    result = judged(sound(), tmp_path, lambda record: record, plan=plan)
    assert (result.verdict.outcome, len(result.verdict.reasons)) == (Outcome.PASS, 1)
    assert result.coverage.problems == result.coverage.unseen == ()
    assert len(result.coverage.notes) == (0 if plan else 1)


@pytest.mark.parametrize("plan", [True, False], ids=["plan", "no-plan"])
@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (lambda frame: frame["due_ns"] < EPOCH_NS - S // 2, "sent nothing after -0.50 s"),
        (lambda frame: frame["due_ns"] > EPOCH_NS + S, "began to send at +1.00 s"),
        (lambda frame: abs(frame["due_ns"] - EPOCH_NS - 3 * S) > S, "it stalled for 2.0 s"),
    ],
    ids=["stops-before", "begins-late", "hole"],
)
def test_traffic_that_did_not_cover_the_disruption(rows: Any, words: str, plan: bool, tmp_path: Path) -> None:
    """Counts that agree do not help: the records have to reach from start to end, without a hole."""
    result = judged(sound(), tmp_path, lambda record: kept(record, rows(record.samples)), plan=plan)
    assert result.verdict.outcome is Outcome.INCONCLUSIVE
    assert any(words in reason for reason in result.verdict.reasons), result.verdict.reasons


def test_records_that_are_not_the_plans(tmp_path: Path) -> None:
    """Moved in time, thinned out, or under another worker's number: each is named."""

    def moved(record: TrialRecord) -> TrialRecord:
        times = [name for name in record.samples if name.endswith("_ns")]
        return replace(record, samples=record.samples.assign(**{name: record.samples[name] + S for name in times}))

    thin = judged(sound(), tmp_path / "a", lambda record: kept(record, record.samples.index % 2 == 0))
    assert any("neither recorded nor known as not sent" in reason for reason in thin.verdict.reasons)
    assert any("off their due times" in reason for reason in judged(sound(), tmp_path / "b", moved).verdict.reasons)
    world = sound()
    world.vantages = {"node-0": (0.5, 0.3), "node-1": (0.4, 0.2)}
    swapped = judged(
        world,
        tmp_path / "c",
        lambda record: replace(record, samples=record.samples.assign(worker=1 - record.samples["worker"])),
    )
    assert any("are no part of its schedule" in reason for reason in swapped.verdict.reasons)


def test_a_stall_that_covers_a_transition_is_a_reason_with_its_length(tmp_path: Path) -> None:
    """0.9 s without a request while the endpoints change, few enough to be hidden by a p99 over the whole trial."""
    at_s = 2.75  # the first new pod joins and the first old one leaves
    result = judged(
        sound(), tmp_path, lambda record: replace(record, samples=stalled(record.samples, at_s - 0.1, at_s + 0.8))
    )
    assert result.verdict.outcome is Outcome.INCONCLUSIVE
    assert any("joined" in reason and "it stalled for 0.9 s" in reason for reason in result.verdict.reasons)


def test_a_stall_elsewhere_is_a_note(tmp_path: Path) -> None:
    """Half a second between two transitions takes nothing from a pass, but it is said."""
    world = sound()
    record = read_trial(world.write(tmp_path / "trial"))
    calm = replace(record, samples=stalled(record.samples, -2.0, -1.5))
    result = analyse(calm)
    assert result.verdict.outcome is Outcome.PASS
    assert result.coverage.notes == ("the client on node-0 stalled once, for 0.5 s at most",)


def test_lateness_is_judged_during_the_disruption(tmp_path: Path) -> None:
    """A slow warm-up does not matter; the whole trial's p99 says nothing of the disruption."""

    def late(record: TrialRecord, first_s: float, last_s: float) -> TrialRecord:
        frame = record.samples.copy()
        inside = (frame["due_ns"] >= EPOCH_NS + first_s * S) & (frame["due_ns"] < EPOCH_NS + last_s * S)
        frame.loc[inside, "sent_ns"] += 30_000_000
        frame.loc[inside, "done_ns"] += 30_000_000
        return replace(record, samples=frame)

    before = judged(sound(), tmp_path / "a", lambda record: late(record, -3, 0))
    assert before.verdict.outcome is Outcome.PASS
    during = judged(sound(), tmp_path / "b", lambda record: late(record, 0, 1))
    assert any("the generator lagged" in reason for reason in during.verdict.reasons)


def test_a_planned_stream_without_a_record_is_named(tmp_path: Path) -> None:
    """A control target that never got a request says nothing of client or network."""

    def never_sent(record: TrialRecord) -> TrialRecord:
        streams = [*record.meta["streams"], {"name": "control", "connection": "new", "share": 0.02}]
        return replace(record, meta={**record.meta, "streams": streams})

    result = judged(sound(), tmp_path, never_sent)
    assert result.verdict.outcome is Outcome.INCONCLUSIVE
    assert "no request of the planned stream control was recorded" in result.verdict.reasons


def test_pods_that_no_request_reached_are_named(tmp_path: Path) -> None:
    """Kept connections alone never reach what a scale-out adds: that is no pass of the additions."""
    world = scale_out()
    result = judged(world, tmp_path, lambda record: kept(record, record.samples["stream"] == "reused"), plan=False)
    assert any(
        reason.startswith("0 of 4 additions were seen by traffic: no request reached app-new-a")
        for reason in result.verdict.reasons
    )


def test_the_pods_own_counts_are_part_of_the_verdict(tmp_path: Path) -> None:
    """Every pod says that it served 3 requests, clients count thousands; or a pod was not asked at all."""

    def few(record: TrialRecord) -> TrialRecord:
        return replace(
            record, meta={**record.meta, "served": {pod: {"served": 3, "final": True} for pod in record.meta["served"]}}
        )

    result = judged(sound(), tmp_path / "a", few)
    assert result.verdict.outcome is Outcome.INCONCLUSIVE
    assert any("own count does not agree for 8 of 8 pods" in reason for reason in result.verdict.reasons)
    unread = judged(sound(), tmp_path / "b", lambda record: replace(record, meta={**record.meta, "served": {}}))
    assert any("its own count was not read" in reason for reason in unread.verdict.reasons)
    forced = {"served": {}, "options": {"force": True}}
    excused = judged(sound(), tmp_path / "c", lambda record: replace(record, meta={**record.meta, **forced}))
    old = [item for item in excused.accounting.pods if item.pod.startswith("app-old")]
    assert all(item.explained for item in old)
