"""Kubernetes' small number languages: quantities ("100m", "64Mi") and int-or-percent, with each field's own rounding.

Pure and exact. The rounding differs from field to field, so callers name the field's rule instead of guessing one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from hazd.errors import UsageError

_SUFFIXES = {"n": (10, -9), "u": (10, -6), "m": (10, -3), "": (10, 0), "k": (10, 3), "M": (10, 6), "G": (10, 9)}
_SUFFIXES |= {"T": (10, 12), "P": (10, 15), "E": (10, 18)}
_SUFFIXES |= {"Ki": (2, 10), "Mi": (2, 20), "Gi": (2, 30), "Ti": (2, 40), "Pi": (2, 50), "Ei": (2, 60)}
_QUANTITY = re.compile(r"([+-]?)(\d+\.?\d*|\.\d+)(?:[eE]([+-]?\d{1,3})|([numkMGTPE]|[KMGTPE]i)?)")
_PERCENT = re.compile(r"(\d+)%")


def parse_quantity(value: str | int | float, field: str = "quantity") -> Fraction:
    """A resource quantity in its base unit: cores or bytes. Raises UsageError naming `field`.

    Grammar: Kubernetes API reference, common definitions, Quantity.
    """
    text = str(value)
    match = None if isinstance(value, bool) else _QUANTITY.fullmatch(text)
    if match is None:
        raise UsageError(f"{field}: {value!r} is not a quantity", "for example 100m or 0.5 (cores), 64Mi or 1G (bytes)")
    sign, number, exponent, suffix = match.groups()
    base, power = (10, int(exponent)) if exponent else _SUFFIXES[suffix or ""]
    return (-1 if sign == "-" else 1) * Fraction(number) * Fraction(base) ** power


def int_or_percent(value: str | int, total: int, *, round_up: bool, field: str = "value") -> int:
    """An integer as it stands, or a percentage of `total`, rounded to an integer. Raises UsageError.

    Who rounds how (API reference): Deployment maxSurge up, Deployment maxUnavailable down, both fields of a
    PodDisruptionBudget up.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise UsageError(f"{field}: {value!r} is invalid", "an integer from 0, or a percentage such as 25%")
    share = int(match[1]) * total
    return -(-share // 100) if round_up else share // 100


def rolling_limits(workload: Mapping[str, Any], replicas: int | None = None) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) of a Deployment in pods, as its controller resolves them; defaults 25% and 25%.

    When both come out as 0 the controller takes maxUnavailable 1, else nothing could ever roll
    (ResolveFenceposts in kubernetes/pkg/controller/deployment/util). Raises UsageError for values it refuses.
    """
    spec = workload["spec"]
    count = int(spec.get("replicas", 1)) if replicas is None else replicas
    strategy = spec.get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return 0, count
    rolling = strategy.get("rollingUpdate") or {}
    where = "spec.strategy.rollingUpdate"
    surge = int_or_percent(rolling.get("maxSurge", "25%"), count, round_up=True, field=f"{where}.maxSurge")
    gone = int_or_percent(rolling.get("maxUnavailable", "25%"), count, round_up=False, field=f"{where}.maxUnavailable")
    return (surge, gone) if surge or gone else (0, 1)


__all__ = ["int_or_percent", "parse_quantity", "rolling_limits"]
