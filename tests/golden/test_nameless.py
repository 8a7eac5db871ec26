"""The recorded cases as if a user's own workload had been tested: no answer names its pod, no pod keeps a log."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from hazd.analysis import analyse, summarise
from hazd.journal import read_trial
from hazd.journal.flows import FLOWS_FILE
from hazd.model import TrialRecord
from tests.golden.record import cases

RECORDED = [folder for folder in cases() if folder.name.startswith("kind-") and not (folder / FLOWS_FILE).exists()]


def nameless(record: TrialRecord) -> TrialRecord:
    about = {"labels": {}, "sample": False, "probed": "readiness" in record.meta["fixes"]}
    return dataclasses.replace(
        record,
        samples=record.samples.assign(pod=None, served=0),
        events=[event for event in record.events if event.source != "app"],
        meta={**record.meta, "served": {}, "workload": about},
    )


def trial_of(record: TrialRecord) -> dict[str, Any]:
    trial: dict[str, Any] = summarise({}, [analyse(record)])["trials"][0]
    return trial


@pytest.mark.parametrize("folder", RECORDED, ids=lambda folder: folder.name)
def test_the_causes_are_the_same_by_times_alone(folder: Path) -> None:
    """Nine of ten failures get the cause that they have when pods name themselves, and the verdict is the same."""
    record = read_trial(folder)
    named, alone = trial_of(record), trial_of(nameless(record))
    counts = [{cause["rule"]: cause["requests"] for cause in trial["causes"]} for trial in (named, alone)]
    same = sum(min(number, counts[1].get(rule, 0)) for rule, number in counts[0].items())
    assert same >= 0.9 * named["requests"]["failed"]
    assert alone["verdict"] == named["verdict"]


@pytest.mark.parametrize("folder", RECORDED, ids=lambda folder: folder.name)
def test_what_was_not_seen_is_not_claimed(folder: Path) -> None:
    """No lag of a node's rules, no agreement of counts."""
    alone = trial_of(nameless(read_trial(folder)))
    assert [alone["propagation_ms"][what]["n"] for what in ("removal", "addition", "since_deletion")] == [0, 0, 0]
    assert alone["accounting"]["reconciled"] is None
