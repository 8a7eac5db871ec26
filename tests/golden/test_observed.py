"""Recorded kind runs with an observer beside the traffic: the kernel's word is what inference is held against."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from hazd.analysis import TrialResult, analyse
from hazd.journal import read_trial
from hazd.journal.flows import FLOWS_FILE
from tests.golden.record import cases
from tests.golden.test_nameless import nameless

OBSERVED = [folder for folder in cases() if (folder / FLOWS_FILE).exists()]
pytestmark = pytest.mark.parametrize("folder", OBSERVED, ids=lambda folder: folder.name)


def counts(result: TrialResult) -> dict[str, int]:
    return {finding.rule: finding.requests for finding in result.attribution.findings if finding.requests}


def test_every_failure_has_an_endpoint_and_a_cause_by_what_was_seen(folder: Path) -> None:
    """No failed request is inferred or unknown, and each has its row with endpoint, pod and cause."""
    result = analyse(read_trial(folder))
    assert result.failed
    assert result.attribution.known() == {"seen": result.failed, "inferred": 0, "unknown": 0}
    rows = result.failure_rows
    assert len(rows["seq"]) == result.failed
    assert "" not in {*rows["pod"], *rows["cause"]}
    assert "" not in set(rows["endpoint"][rows["connection"] == "new"])


def test_the_observation_agrees_with_every_response_that_names_its_pod(folder: Path) -> None:
    """The endpoint of the kernel is the pod that answered, for all good responses: the join does not mix up ports."""
    observed = analyse(read_trial(folder)).observed
    assert observed.checked > 1000
    assert observed.agreed == observed.checked
    assert observed.gaps == 0


def test_without_any_name_and_log_the_causes_are_the_same(folder: Path) -> None:
    """A workload of the user's own is explained as the sample app is: nine of ten or more, and lags are measured."""
    record = read_trial(folder)
    named, alone = analyse(record), analyse(nameless(record))
    same = sum(min(number, counts(alone).get(rule, 0)) for rule, number in counts(named).items())
    assert same >= 0.9 * named.failed
    assert alone.attribution.known()["inferred"] == 0
    assert alone.propagation.of("removal")


def test_what_inference_says_as_a_range_holds_what_was_seen(folder: Path) -> None:
    """With the observation taken away the true number of each cause lies within what is printed."""
    record = read_trial(folder)
    truth = counts(analyse(record))
    blind = analyse(dataclasses.replace(record, flows=None))
    assert not blind.observed.on
    ranges = {finding.rule: (finding.least, finding.most) for finding in blind.attribution.findings}
    for rule, number in truth.items():
        least, most = ranges[rule]
        assert least <= number <= most, (rule, number, least, most)
