"""An undecided end-to-end run is asked again, and what it lost before is not forgotten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e import hazd_command


def trial(verdict: str, failed: int = 0, fixes: tuple[str, ...] = ("prestop",)) -> dict[str, Any]:
    return {
        "name": "t", "verdict": verdict, "fixes": list(fixes), "reasons": [], "causes": [],
        "requests": {"failed": failed},
    }  # fmt: skip


def attempts(monkeypatch: pytest.MonkeyPatch, *trials: dict[str, Any]) -> list[dict[str, Any]]:
    """What the runs say, one after the other; those not asked for stay in the list that is returned."""
    left = list(trials)
    monkeypatch.setattr(hazd_command, "run_json", lambda *_, **__: (0, {"trials": [left.pop(0)]}))
    return left


def test_a_loss_in_a_discarded_attempt_fails_the_test(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """INCONCLUSIVE with three lost requests, then PASS: a tool that promises zero loss cannot have that."""
    attempts(monkeypatch, trial("INCONCLUSIVE", failed=3), trial("PASS"))
    with pytest.raises(AssertionError, match="attempt 1: t INCONCLUSIVE, 3 failed"):
        hazd_command.run_decided(tmp_path)


def test_an_undecided_attempt_without_loss_is_asked_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Until one decides, and no longer."""
    left = attempts(monkeypatch, trial("INCONCLUSIVE"), trial("PASS"), trial("PASS"))
    _, summary = hazd_command.run_decided(tmp_path)
    assert summary["trials"][0]["verdict"] == "PASS"
    assert len(left) == 1


def test_a_trial_that_shows_the_failure_may_lose(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without fixes losses are the point; so they are where the caller says that nothing saves every request."""
    attempts(monkeypatch, trial("FAIL", failed=9, fixes=()))
    assert hazd_command.run_decided(tmp_path)[1]["trials"][0]["requests"]["failed"] == 9
    attempts(monkeypatch, trial("FAIL", failed=9))
    assert hazd_command.run_decided(tmp_path, lossless=lambda _: False)[1]["trials"][0]["verdict"] == "FAIL"
