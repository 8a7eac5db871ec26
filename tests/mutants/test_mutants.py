"""Recorded passing trials of every scenario, mutilated in every way we know: what a PASS needs cannot be taken away.

Seeded, so that a mutant can be made again: `changed(record, kind, seed)`. The kinds and their outcomes stand
in docs/trust.md.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from functools import cache
from pathlib import Path
from random import Random

import pytest

from hazd.analysis import analyse
from hazd.errors import JournalError
from hazd.journal import read_trial, trial_folders
from hazd.model import TrialRecord
from hazd.report import read
from hazd.scenario import load_scenarios
from tests.mutants.kinds import FAILS, KINDS, NEVER_PASS, STAYS, Kind, changed
from tests.mutants.record import recordings

SEEDS = int(os.environ.get("HAZD_MUTANT_SEEDS", "1"))
"""How often each kind is applied to each recording; the default keeps the suite under a minute, more finds more."""
CONTENT = [kind for kind in KINDS if kind.change]
BYTES = [kind for kind in KINDS if kind.damage]
TRUST = Path(__file__).parents[2] / "docs" / "trust.md"


@cache
def recorded() -> tuple[TrialRecord, ...]:
    return tuple(read_trial(folder) for run in recordings() for folder in trial_folders(run))


def test_the_recordings_pass_and_there_is_one_of_every_scenario() -> None:
    """Else no mutant would show anything."""
    assert {run.name for run in recordings()} == set(load_scenarios())
    for run in recordings():
        summary, _ = read(run)
        assert summary["verdict"] == "PASS", (run.name, summary["trials"][0]["reasons"])


@pytest.mark.parametrize("kind", CONTENT, ids=lambda kind: kind.name)
def test_what_a_pass_needs_cannot_be_taken_away(kind: Kind) -> None:
    """The checksums of these mutants are right: it is the verdict that notices, or says FAIL where requests failed."""
    wrong = []
    made = 0
    for record in recorded():
        for seed in range(SEEDS):
            mutant = changed(record, kind, seed)
            if mutant is None:
                continue
            made += 1
            verdict = analyse(mutant).verdict
            if not _is_right(kind, verdict.outcome.value):
                wrong.append((record.meta["scenario"], seed, verdict.outcome.value, verdict.reasons))
    assert made, f"no recording has anything to change by {kind.name}"
    assert wrong == []


@pytest.mark.parametrize("kind", BYTES, ids=lambda kind: kind.name)
def test_a_damaged_folder_never_passes(kind: Kind, tmp_path: Path) -> None:
    """These mutants are files as they lie on a disk; the reader notices, without a traceback."""
    wrong = []
    for run in recordings():
        for seed in range(2 * SEEDS):
            copy = shutil.copytree(run, tmp_path / f"{run.name}-{seed}")
            assert kind.damage is not None
            kind.damage(copy, Random(f"{kind.name}{run.name}{seed}"))
            try:
                outcome = read(copy)[0]["verdict"]
            except JournalError:
                outcome = "one error"
            if outcome == "PASS":
                wrong.append((run.name, seed))
    assert wrong == []


def _is_right(kind: Kind, outcome: str) -> bool:
    return {NEVER_PASS: outcome != "PASS", STAYS: outcome == "PASS", FAILS: outcome == "FAIL"}[kind.outcome]


def test_there_are_at_least_500_mutants_of_20_kinds() -> None:
    """As many as the promise says."""
    made = Counter(
        kind.name for record in recorded() for kind in CONTENT for seed in range(SEEDS) if changed(record, kind, seed)
    )
    assert made.total() + len(BYTES) * len(recordings()) * 2 * SEEDS >= 500
    assert len(KINDS) >= 20
    assert all(kind.why for kind in KINDS if kind.outcome == STAYS)


def test_every_kind_and_its_outcome_stands_in_the_documents() -> None:
    """docs/trust.md has the table; a kind without a row is not explained."""
    text = TRUST.read_text()
    assert [kind.name for kind in KINDS if row(kind) not in text] == []


def row(kind: Kind) -> str:
    """The kind's line of the table."""
    outcome = f"{kind.outcome}: {kind.why}" if kind.why else kind.outcome
    return f"| `{kind.name}` | {kind.text} | {outcome} |"
