"""Recorded journals and what must be found in them: a bug report becomes a folder here and stays one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.golden.record import FINDINGS, SIMULATED, cases, findings


@pytest.mark.parametrize("folder", cases(), ids=lambda folder: folder.name)
def test_the_findings_are_as_recorded(folder: Path) -> None:
    """The analysis of a kept journal says what it said when a person had checked it."""
    assert findings(folder) == json.loads((folder / FINDINGS).read_text())


@pytest.mark.parametrize("folder", cases(), ids=lambda folder: folder.name)
def test_every_failure_of_a_golden_case_has_a_cause(folder: Path) -> None:
    """The cases that are kept are understood: at least 99 % of their failures are attributed."""
    found = findings(folder)
    assert found["attributed"] >= 0.99 * found["requests"]["failed"]


def test_there_are_recorded_cases_beside_the_simulated() -> None:
    """What rules are held against is not only what was made up for them."""
    assert len(cases()) > len(SIMULATED)
