"""Quantities and int-or-percent, against the examples of the Kubernetes API reference."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazd.errors import UsageError
from hazd.manifests.quantities import int_or_percent, parse_quantity, rolling_limits


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("100m", Fraction(1, 10)),
        ("0.5", Fraction(1, 2)),
        (".5", Fraction(1, 2)),
        (2, Fraction(2)),
        ("64Mi", Fraction(64 * 2**20)),
        ("1.5Gi", Fraction(3 * 2**29)),
        ("1G", Fraction(10**9)),
        ("1e3", Fraction(1000)),
        ("12E", Fraction(12 * 10**18)),
        ("250u", Fraction(1, 4000)),
        ("-1", Fraction(-1)),
    ],
)
def test_quantities(text: str | int, value: Fraction) -> None:
    """Every suffix stands for its own power, and the value is exact."""
    assert parse_quantity(text) == value


@pytest.mark.parametrize("text", ["", "1 Gi", "Gi", "1KB", "ten", "1mi", True, "0x10", "1e", "--1"])
def test_what_is_no_quantity(text: str) -> None:
    """The error names field and value."""
    with pytest.raises(UsageError, match="not a quantity") as caught:
        parse_quantity(text, "resources.requests.cpu")
    assert caught.value.message.startswith(f"resources.requests.cpu: {text!r}")


@given(percent=st.integers(0, 300), total=st.integers(0, 10_000))
def test_percentages_round_as_told(percent: int, total: int) -> None:
    """Up is the smallest whole number that is enough, down the largest that is not too much."""
    text = f"{percent}%"
    up, down = (int_or_percent(text, total, round_up=way) for way in (True, False))
    assert down <= Fraction(percent * total, 100) <= up
    assert up - down == (0 if percent * total % 100 == 0 else 1)


@given(value=st.integers(0, 10_000), total=st.integers(0, 10_000), up=st.booleans())
def test_whole_numbers_stand(value: int, total: int, up: bool) -> None:
    """A whole number is itself, whatever the total."""
    assert int_or_percent(value, total, round_up=up) == value


@pytest.mark.parametrize("value", [-1, "25", "-25%", "2.5%", "%", True, None, 1.0])
def test_neither_whole_nor_percent(value: Any) -> None:
    """As the API: a string must carry its per cent sign."""
    with pytest.raises(UsageError, match="maxSurge"):
        int_or_percent(value, 4, round_up=True, field="maxSurge")


def deployment(replicas: int | None, **rolling: Any) -> dict[str, Any]:
    spec: dict[str, Any] = {} if replicas is None else {"replicas": replicas}
    return {"spec": spec | ({"strategy": {"rollingUpdate": rolling}} if rolling else {})}


@pytest.mark.parametrize(
    ("doc", "limits"),
    [
        (deployment(4), (1, 1)),
        (deployment(10), (3, 2)),
        (deployment(1), (1, 0)),
        (deployment(None), (1, 0)),
        (deployment(3, maxSurge="30%", maxUnavailable=0), (1, 0)),
        (deployment(2, maxSurge=0, maxUnavailable="25%"), (0, 1)),
        (deployment(0), (0, 1)),
        ({"spec": {"replicas": 5, "strategy": {"type": "Recreate"}}}, (0, 5)),
    ],
)
def test_limits_of_a_rolling_update(doc: dict[str, Any], limits: tuple[int, int]) -> None:
    """maxSurge rounds up, maxUnavailable down, and two zeros become one pod that may go."""
    assert rolling_limits(doc) == limits


@given(st.integers(1, 500), st.integers(0, 100), st.integers(0, 100))
def test_a_rolling_update_can_always_move(replicas: int, surge: int, gone: int) -> None:
    """Whatever the percentages, at least one pod may come or go."""
    assert max(rolling_limits(deployment(replicas, maxSurge=f"{surge}%", maxUnavailable=f"{gone}%"))) >= 1
