"""What the lanes' closing line counts: pytest's own words, and nothing that failed unseen."""

from __future__ import annotations

import pytest

from tests.lanes import Outcome, closing_line, count, skips


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("...\n==== 12 passed, 3 deselected in 4.56s ====\n", {"passed": 12}),
        (
            "= 1 failed, 2 passed, 3 skipped, 1 error in 61.20s (0:01:01) =",
            {"failed": 1, "passed": 2, "skipped": 3, "error": 1},
        ),
        ("== 2 errors in 0.10s ==", {"error": 2}),
        ("== no tests ran in 0.10s ==", {}),
        ("== 5 passed in 1.00s ==\nkilled", {"passed": 5}),
        ("Fatal Python error", {}),
    ],
)
def test_pytests_closing_line_is_read(text: str, counts: dict[str, int]) -> None:
    """Every word of it that says what became of a test; deselected ones belong to another lane."""
    assert count(text) == counts


def test_skips_are_repeated_with_their_reasons() -> None:
    """Nobody reads a lane's whole log to learn what was not tested."""
    text = "SKIPPED [1] tests/a.py:3: needs a registry\nPASSED tests/b.py\n= 1 passed, 1 skipped in 1.00s ="
    assert skips(text) == ["SKIPPED [1] tests/a.py:3: needs a registry"]


def test_the_closing_line_adds_the_lanes() -> None:
    """In the form that reads as a test runner's own."""
    unit, lab = Outcome(0, 1.0, {"passed": 10, "skipped": 1}), Outcome(1, 1.0, {"passed": 3, "failed": 2, "error": 1})
    assert closing_line([unit, lab]) == "13 passed, 3 failed, 1 skipped"


def test_a_lane_that_failed_without_a_failed_test_is_a_failure() -> None:
    """A crash, a lint error or a time limit must not read as "0 failed"."""
    assert closing_line([Outcome(0, 1.0, {"passed": 10}), Outcome(-9, 1.0, {})]) == "10 passed, 1 failed, 0 skipped"
