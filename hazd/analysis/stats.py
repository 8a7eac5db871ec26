"""The few statistics reports rest on: percentiles, the bound on what was not seen, inequality of shares.

Pure numbers in, pure numbers out. Every function says what it returns for an empty input; none of them guesses.
"""

from __future__ import annotations

from typing import Any


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


def upper_bound(failed: int, total: int, confidence: float = 0.95) -> float:
    """One-sided Clopper-Pearson upper bound on the failure rate (Clopper and Pearson 1934: exact, never too low).

    It is the rate at which `failed` or fewer failures of `total` would be seen with probability 1 - confidence. It
    holds for independent requests; failures in bursts make the true uncertainty larger. 1.0 when nothing was sent.
    """
    if total <= 0 or failed >= total:
        return 1.0
    if failed == 0:  # the closed form of the general case; spares the import of scipy on every passing run
        return float(1.0 - (1.0 - confidence) ** (1.0 / total))
    from scipy.special import betaincinv

    return float(betaincinv(failed + 1, total - failed, confidence))


def more_often(failed: int, total: int, control_failed: int, control_total: int) -> float:
    """How likely so many failures among the first, or more, are when both fail at the same rate (0..1).

    Fisher's exact test, one-sided (Fisher 1935): exact for any numbers, also for a control of a few requests. 1.0 when
    there is nothing to compare.
    """
    if not total or not control_total:
        return 1.0
    from scipy.stats import hypergeom

    all_failed, all_total = failed + control_failed, total + control_total
    return float(min(1.0, hypergeom.sf(failed - 1, all_total, all_failed, total)))


def gini(counts: Any) -> float | None:
    """Gini coefficient of the shares: 0 = all alike, (n-1)/n = one has everything. None when nothing was counted."""
    import numpy as np

    ordered = np.sort(np.asarray(counts, dtype=float))
    total = ordered.sum()
    if not len(ordered) or total <= 0:
        return None
    ranks = np.arange(1, len(ordered) + 1)
    return float((2 * ranks - len(ordered) - 1).dot(ordered) / (len(ordered) * total))


__all__ = ["gini", "more_often", "percent", "percentile", "rounded", "spread", "upper_bound"]
