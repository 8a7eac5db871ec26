"""The statistics that reports rest on: percentiles, bounds on what was not seen, comparison of runs, inequality.

Pure numbers in, pure numbers out. Every function says what it returns for an empty input; none of them guesses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

DISPERSION = 22.0
"""Variance of the failures of a run over the binomial one, where the runs at hand cannot say. From runs of identical
code that had failures: 9 over the eight pairs of bench/fidelity, on a quiet machine; 29 over the first 15 of
bench/compare, on a busy one, where 9 called 4 of 40 identical pairs worse."""
DISPERSION_DEGREES = 21
"""Degrees of freedom of DISPERSION: one less than runs, for each case."""
POWER = 0.8
"""With which a detectable rise is found; the usual choice."""
_MOST_SPLITS = 200_000
"""Of the runs into two sides, that the permutation test goes through; more are drawn at random, with a fixed seed."""
_BETS = (0.0, *((2 * index + 1) / 16 for index in range(8)))
_STAKES = (0.5, *([0.5 / 8] * 8))


def percentile(values: Any, share: float) -> float | None:
    """The smallest value that at least `share` (0..1) of the values do not exceed (nearest rank); None when empty.

    Nearest rank, since it is always a value that was measured: an interpolated p99 of 50 samples is an invention.
    """
    import numpy as np

    if not len(values):
        return None
    return float(np.percentile(np.asarray(values), share * 100.0, method="inverted_cdf"))


def spread(values_ms: Any) -> dict[str, float | int | None]:
    """n, p50, max of durations in ms, rounded to 0.1 ms; p50 and max are None when there are none."""
    return {
        "n": len(values_ms),
        "p50": rounded(percentile(values_ms, 0.5)),
        "max": rounded(percentile(values_ms, 1.0)),
    }


def percent(rate: float) -> str:
    """A rate with two significant digits: "0.04 %", "6.2 %", "38 %"."""
    return "0 %" if rate == 0 else f"{rate * 100:.2g} %" if rate < 0.1 else f"{rate * 100:.0f} %"


def rounded(value: float | None, digits: int = 1) -> float | None:
    return None if value is None else round(value, digits)


def upper_bound(lost: int, total: int, confidence: float = 0.95) -> float:
    """One-sided Clopper-Pearson upper bound on a share (Clopper and Pearson 1934: exact, never too low).

    It is the share at which `lost` or fewer of `total` would be seen with probability 1 - confidence. It holds for
    independent units, such as terminations; requests are none, since they fail in bursts. It holds for one look: for a
    bound that is looked at after each trial there is `anytime_upper_bound`. 1.0 when total is 0.
    """
    if total <= 0 or lost >= total:
        return 1.0
    if lost == 0:  # the closed form of the general case; spares the import of scipy on every passing run
        return float(1.0 - (1.0 - confidence) ** (1.0 / total))
    from scipy.special import betaincinv

    return float(betaincinv(lost + 1, total - lost, confidence))


def log_wealth(lost: Any, total: Any, share: float) -> Any:
    """Log of what a bettor owns who bets against "at least `share` of the units lose", having begun with 1.

    lost and total: counts so far, as numbers or arrays of one shape. A mixture of constant bets: each multiplies its
    part by u when a unit loses and by (1 - share u) / (1 - share) when it does not, which is fair at `share` and loses
    on average above it; half of the money bets that none loses (u = 0), the rest is spread over u. The wealth is a
    nonnegative supermartingale then, so it ever reaches 1/a with probability at most a (Ville 1939). Robbins' method
    of mixtures (1970); as a confidence sequence for a bounded mean: Waudby-Smith and Ramdas 2024, Howard et al. 2021.
    """
    import numpy as np
    from scipy.special import logsumexp, xlogy

    lost, total = np.asarray(lost, dtype=float)[..., None], np.asarray(total, dtype=float)[..., None]
    bets = np.array(_BETS)
    won = (total - lost) * (np.log1p(-share * bets) - np.log1p(-share))
    return logsumexp(xlogy(lost, bets) + won, axis=-1, b=np.array(_STAKES))


def anytime_upper_bound(lost: int, total: int, confidence: float = 0.95) -> float:
    """An upper bound on the share of units that lose, valid at every look at once: for "repeat until it is low enough".

    The share at which `log_wealth` reaches 1 / (1 - confidence); the wealth rises with the share, so there is one. For
    0 lost it takes 68 units for 5 % (Clopper-Pearson at one fixed look: 59). 1.0 when total is 0.
    """
    if total <= 0 or lost >= total:
        return 1.0
    from scipy.optimize import brentq

    goal, most = -math.log(1.0 - confidence), 1.0 - 1e-9
    if log_wealth(lost, total, most) <= goal:
        return 1.0
    return float(brentq(lambda share: float(log_wealth(lost, total, share)) - goal, 0.0, most, xtol=1e-9))


def enough(lost: int, seen: int, bound: float) -> str | None:
    """Whether repeating may stop, with why: `lost` of `seen` units lost a request so far, `bound` (0..1) is the aim.

    None: go on. Both reasons hold at every look with 95 %, by `anytime_upper_bound` of the share that loses, or of the
    share that does not.
    """
    upper, lower = anytime_upper_bound(lost, seen), 1.0 - anytime_upper_bound(seen - lost, seen)
    if upper <= bound:
        return f"{lost} of {seen} lost a request: at most {percent(upper)} do (95 % at every look), as asked for"
    if lower > bound:
        return (
            f"{lost} of {seen} lost a request: at least {percent(lower)} do (95 % at every look), not {percent(bound)}"
        )
    return None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `compare_rates` found. test: "permutation" or "quasi-binomial"; rates are failed / recorded, 0..1.

    p_value: how likely so high a rate, or a higher one, is when nothing changed. rise: the smallest rise of the rate
    that would have been found with probability POWER; None where the runs are too few to find any.
    """

    test: str
    p_value: float
    rate: float
    rate_before: float
    dispersion: float
    degrees: int
    splits: int
    rise: float | None

    @property
    def sentence(self) -> str:
        """Which test, what it said, and what it could have found."""
        how = f"permutation test, {_MOST_SPLITS:,} of {self.splits:,} splits of the runs"
        if self.test != "permutation":
            origin = (
                "from bench/fidelity and bench/compare"
                if self.degrees == DISPERSION_DEGREES
                else "also from these runs"
            )
            how = f"quasi-binomial test, dispersion {self.dispersion:.2g} {origin}"
        elif self.splits <= _MOST_SPLITS:
            how = f"exact permutation test, {self.splits:,} splits of the runs"
        could = f"a rise of {points(self.rise)}" if self.rise is not None else "no rise"
        return f"{how}: p = {self.p_value:.2g}; {could} would be found with a probability of {percent(POWER)}"


def points(difference: float) -> str:
    """A difference of two rates: "5.7 percentage points"."""
    return f"{difference * 100:.2g} percentage points"


Counts = tuple[int, int]
"""Failed and recorded requests of one run."""


def compare_rates(now: Sequence[Counts], before: Sequence[Counts], significance: float = 0.01) -> Comparison | None:
    """Whether the failure rate rose, from the runs of one trial now and before; None when either has no request.

    The run is the unit, since requests of one run fail together. Where there are enough runs for a p-value as small as
    `significance` (five a side for 1 %), the exact permutation test of the mean rates, which assumes nothing but that
    the order of the runs does not matter (Fisher 1935; Phipson and Smyth 2010 for splits that are drawn). Else a t test
    on the quasi-binomial variance (McCullagh and Nelder 1989, 4.5): binomial times a dispersion, which is DISPERSION
    moderated by what the runs at hand say of it, each by its degrees of freedom (Smyth 2004), never below 1.
    """
    now, before = [run for run in now if run[1] > 0], [run for run in before if run[1] > 0]
    if not now or not before:
        return None
    from scipy.stats import t as student

    rate, rate_before = _rate(now), _rate(before)
    dispersion, degrees = _dispersion(now, before)
    size = 1 / _total(now) + 1 / _total(before)
    splits = math.comb(len(now) + len(before), len(now))
    permute = min(len(now), len(before)) > 1 and splits * significance >= 1
    if permute:
        p_value = _permutation(now, before, splits)
    else:
        variance = dispersion * _spread(_rate([*now, *before])) * size
        p_value = float(student.sf((rate - rate_before) / math.sqrt(variance), degrees)) if variance > 0 else 1.0
    need = float(student.isf(significance, degrees) + student.isf(1 - POWER, degrees))
    return Comparison(
        test="permutation" if permute else "quasi-binomial",
        p_value=p_value,
        rate=rate,
        rate_before=rate_before,
        dispersion=dispersion,
        degrees=degrees,
        splits=splits,
        rise=_detectable(rate_before, need * math.sqrt(dispersion * size), _total(now) / _total([*now, *before])),
    )


def _total(runs: Sequence[Counts]) -> int:
    return sum(recorded for _, recorded in runs)


def _rate(runs: Sequence[Counts]) -> float:
    return sum(failed for failed, _ in runs) / _total(runs)


def _spread(rate: float) -> float:
    return rate * (1.0 - rate)


def _dispersion(*sides: Sequence[Counts]) -> tuple[float, int]:
    """The moderated dispersion and its degrees of freedom; a side without any failure has nothing to say of it."""
    chi_square, degrees = 0.0, 0
    for runs in sides:
        rate = _rate(runs)
        if 0 < rate < 1:
            chi_square += sum((failed - n * rate) ** 2 / (n * _spread(rate)) for failed, n in runs)
            degrees += len(runs) - 1
    all_degrees = DISPERSION_DEGREES + degrees
    return max(1.0, (DISPERSION * DISPERSION_DEGREES + chi_square) / all_degrees), all_degrees


def _permutation(now: Sequence[Counts], before: Sequence[Counts], splits: int) -> float:
    """One-sided p-value of the difference of mean rates."""
    import numpy as np
    from scipy.stats import permutation_test

    sides = [[failed / recorded for failed, recorded in runs] for runs in (now, before)]

    def difference(first: Any, second: Any, axis: int) -> Any:
        return np.mean(first, axis=axis) - np.mean(second, axis=axis)

    found = permutation_test(
        sides,
        difference,
        vectorized=True,
        n_resamples=np.inf if splits <= _MOST_SPLITS else _MOST_SPLITS,
        batch=10_000,
        alternative="greater",
        random_state=np.random.default_rng(1),
    )
    return float(found.pvalue)


def _detectable(before: float, errors: float, share: float) -> float | None:
    """The rise at which the difference is `errors` times the square root of rate (1 - rate), at the rate of all runs.

    share: of all requests those of the runs that are judged. None when even a rise to 100 % is too small.
    """
    from scipy.optimize import brentq

    def lack(rise: float) -> float:
        return rise - errors * math.sqrt(_spread(before + share * rise))

    most = 1.0 - before
    if most <= 0 or lack(most) <= 0:
        return None
    return float(brentq(lack, min(1e-9, most / 2), most)) if lack(min(1e-9, most / 2)) < 0 else 0.0


def chance_of(hits: int, total: int, share: float) -> float:
    """How likely `hits` or more of `total` independent trials succeed, each with probability `share` (0..1).

    The upper tail of the binomial distribution, exact; 1.0 for no hits.
    """
    if hits <= 0:
        return 1.0
    from scipy.special import betainc

    return float(betainc(hits, total - hits + 1, share))


def gini(counts: Any) -> float | None:
    """Gini coefficient of the shares: 0 = all alike, (n-1)/n = one has everything. None when nothing was counted."""
    import numpy as np

    ordered = np.sort(np.asarray(counts, dtype=float))
    total = ordered.sum()
    if not len(ordered) or total <= 0:
        return None
    ranks = np.arange(1, len(ordered) + 1)
    return float((2 * ranks - len(ordered) - 1).dot(ordered) / (len(ordered) * total))


__all__ = [
    "DISPERSION",
    "Comparison",
    "anytime_upper_bound",
    "chance_of",
    "compare_rates",
    "enough",
    "gini",
    "log_wealth",
    "percent",
    "percentile",
    "points",
    "rounded",
    "spread",
    "upper_bound",
]
