"""Bounds that hold at every look, and comparisons of runs whose requests fail in bursts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from bench.compare.__main__ import CALIBRATION
from hazd.analysis.stats import (
    DISPERSION,
    DISPERSION_DEGREES,
    anytime_upper_bound,
    compare_rates,
    enough,
    log_wealth,
    percent,
    upper_bound,
)

ROOT = Path(__file__).parents[3]
HISTORIES, LOOKS = 10_000, 1000
GOAL = np.log(20)


@pytest.mark.parametrize("share", [0.005, 0.05, 0.2, 0.5])
def test_the_anytime_bound_covers_at_every_look(share: float) -> None:
    """In at least 95 % of 10,000 histories no look of 1,000 has a bound below the truth; Clopper-Pearson's fails.

    A bound is below the truth where the wealth at the truth has passed 20 (the next test ties the two together), and
    Clopper-Pearson's where so few losses have a chance of less than 5 %.
    """
    lost = (np.random.default_rng(11).random((HISTORIES, LOOKS)) < share).cumsum(axis=1, dtype=np.int16)
    looks, counts = np.arange(1, LOOKS + 1), np.arange(LOOKS + 1)[:, None]
    wealth = log_wealth(np.minimum(counts, looks), np.broadcast_to(looks, (LOOKS + 1, LOOKS)), share)
    assert (wealth[lost, looks - 1] > GOAL).any(axis=1).mean() <= 0.05
    peeked = (binom.cdf(counts, looks, share)[lost, looks - 1] < 0.05).any(axis=1)
    assert peeked.mean() > 0.05


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 60), st.integers(1, 400))
def test_the_anytime_bound_is_where_the_wealth_reaches_twenty(lost: int, total: int) -> None:
    """By its definition; it is above Clopper-Pearson's and above what was seen."""
    bound = anytime_upper_bound(lost, total)
    if lost >= total:
        assert bound == 1.0
        return
    assert bound >= upper_bound(lost, total)
    assert bound > lost / total
    if bound < 1:
        assert log_wealth(lost, total, bound) == pytest.approx(GOAL, abs=1e-3)
        assert log_wealth(lost, total, bound * 0.99) < GOAL


@pytest.mark.parametrize("share", [0.02, 0.3, 0.8])
def test_the_wealth_is_fair_at_the_share_and_shrinks_above_it(share: float) -> None:
    """One more unit leaves the mean wealth as it is where the share is true, and lowers it where it is larger."""
    for lost, total in ((0, 0), (0, 30), (3, 40)):
        now, after, after_loss = (
            np.exp(log_wealth(*at, share)) for at in ((lost, total), (lost, total + 1), (lost + 1, total + 1))
        )
        assert share * after_loss + (1 - share) * after == pytest.approx(now)
        more = min(1.0, share + 0.1)
        assert more * after_loss + (1 - more) * after < now


def test_what_looking_at_every_trial_costs() -> None:
    """For 5 % with nothing lost: 68 terminations, where one fixed look takes 59; after one loss 152 and 93."""

    def needed(lost: int, bound: float) -> tuple[int, int]:
        first = next(n for n in range(lost + 1, 2000) if anytime_upper_bound(lost, n) <= bound)
        return first, next(n for n in range(lost + 1, 2000) if upper_bound(lost, n) <= bound)

    assert [needed(0, 0.05), needed(1, 0.05), needed(0, 0.01)] == [(68, 59), (152, 93), (343, 299)]


def test_repeating_stops_at_the_bound_or_when_it_is_out_of_reach() -> None:
    """Low enough, certainly above, or go on; nothing seen yet says nothing."""
    assert enough(0, 0, 0.05) is None
    assert enough(0, 67, 0.05) is None
    assert "at most 4.9 %" in (enough(0, 68, 0.05) or "")
    assert enough(1, 4, 0.05) is None
    assert "at least 43 %" in (enough(4, 4, 0.05) or "")


def runs(rate: float, count: int, dispersion: float, generator: np.random.Generator) -> list[tuple[int, int]]:
    """Runs of 2,600 requests whose failures have that dispersion (beta-binomial)."""
    inside = (dispersion - 1) / 2599
    shape = 1 / inside - 1
    rates = generator.beta(rate * shape, (1 - rate) * shape, count)
    return [(int(failed), 2600) for failed in generator.binomial(2600, rates)]


@pytest.mark.parametrize(("now", "before"), [(1, 1), (1, 3), (3, 3), (5, 5), (1, 12), (2, 14)])
def test_identical_code_is_rarely_called_worse(now: int, before: int) -> None:
    """At 1 %, of 300 pairs of sides from one distribution with the project's own dispersion at most 2 % are."""
    generator = np.random.default_rng(5)
    found = [
        compare_rates(runs(0.07, now, DISPERSION, generator), runs(0.07, before, DISPERSION, generator))
        for _ in range(300)
    ]
    assert np.mean([item is not None and item.p_value < 0.01 for item in found]) <= 0.02


def test_a_rise_that_is_said_to_be_found_is_found() -> None:
    """With the rise that the report names, four of five comparisons find it."""
    generator = np.random.default_rng(6)
    first = compare_rates([(130, 2600)], [(130, 2600)])
    assert first is not None
    assert first.rise is not None
    found = [
        compare_rates(runs(0.05 + first.rise, 1, DISPERSION, generator), runs(0.05, 1, DISPERSION, generator))
        for _ in range(400)
    ]
    assert 0.7 <= np.mean([item is not None and item.p_value < 0.01 for item in found]) <= 0.9


def chi_square(counts: list[tuple[int, int]]) -> float:
    """Pearson's, of runs with one rate; one degree of freedom less than runs."""
    rate = sum(failed for failed, _ in counts) / sum(recorded for _, recorded in counts)
    return sum((failed - n * rate) ** 2 / (n * rate * (1 - rate)) for failed, n in counts)


def test_the_projects_own_repeated_runs_say_the_dispersion() -> None:
    """The default is what the runs of identical code in bench say; no pair of bench/fidelity is a regression."""
    cells = json.loads((ROOT / "bench" / "fidelity" / "result.json").read_text())["cells"]
    sides = []
    for cell in (cell for by_cluster in cells.values() for cell in by_cluster.values()):
        if sum(cell["failed"]):
            pair = [(failed, int(cell["due"])) for failed in sorted(cell["failed"])]
            sides.append(pair)
            found = compare_rates(pair[1:], pair[:1])
            assert found is not None
            assert found.p_value > 0.01
    runs = json.loads((ROOT / "bench" / "compare" / "result.json").read_text())["runs"]
    for case, count in CALIBRATION.items():
        requests = [trial["requests"] for trial in runs[case][:count]]
        sides.append([(item["failed"], item["recorded"]) for item in requests])
    degrees = sum(len(side) - 1 for side in sides)
    assert degrees == DISPERSION_DEGREES
    assert sum(map(chi_square, sides)) / degrees == pytest.approx(DISPERSION, abs=0.5)


def test_the_test_is_the_one_that_the_runs_allow_and_is_named() -> None:
    """Five a side: exact permutations, smallest p 1/252. Fewer: quasi-binomial, and where its dispersion is from."""
    many = compare_rates([(400, 2600)] * 5, [(100, 2600)] * 5)
    assert many is not None
    assert many.test == "permutation"
    assert many.p_value == pytest.approx(1 / 252)
    assert "exact permutation test, 252 splits" in many.sentence
    few = compare_rates([(400, 2600)] * 4, [(100, 2600)] * 4)
    assert few is not None
    assert few.test == "quasi-binomial"
    assert few.degrees == DISPERSION_DEGREES + 6
    assert few.p_value < 0.01
    one = compare_rates([(100, 2600)], [(100, 2600)])
    assert one is not None
    assert "dispersion 22 from bench/fidelity and bench/compare: p = 0.5" in one.sentence
    assert "percentage points" in one.sentence


def test_runs_that_scatter_more_raise_the_dispersion() -> None:
    """History counts: the same two rates differ less when earlier runs scattered widely."""
    calm = compare_rates([(260, 2600)], [(130, 2600), (131, 2600), (129, 2600)])
    wild = compare_rates([(260, 2600)], [(130, 2600), (10, 2600), (250, 2600)])
    assert calm is not None
    assert wild is not None
    assert calm.dispersion < DISPERSION < wild.dispersion
    assert calm.p_value < wild.p_value


def test_nothing_to_compare_is_none() -> None:
    """A side without a request says nothing; equal rates of 0 and of 1 are no rise."""
    assert compare_rates([], [(1, 2)]) is None
    assert compare_rates([(1, 2)], [(0, 0)]) is None
    for counts in ((0, 100), (100, 100)):
        found = compare_rates([counts], [counts])
        assert found is not None
        assert found.p_value >= 0.5


def test_percent_is_written_one_way() -> None:
    """Two significant digits, and 0 is 0."""
    assert [percent(rate) for rate in (0, 0.000719, 0.0617, 0.53, 1)] == ["0 %", "0.072 %", "6.2 %", "53 %", "100 %"]
