"""What the fixes take: one frozen value, a field an input, each with its default and its rule.

A fix names the fields that it reads, and the options of the command line that set them (`Fix.inputs`). The module's
name begins with an underscore because it is no fix.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias

from hazd.errors import UsageError
from hazd.manifests.check import Problem

Rule: TypeAlias = Callable[[object], str | None]
"""None for a right value, else what would be right."""
DAY_S = 86_400


def _whole(low: int, high: int, unit: str) -> Rule:
    def why_not(value: object) -> str | None:
        fits = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        return None if fits else f"an integer number of {unit} from {low} to {high}"

    return why_not


def _match(pattern: str, want: str) -> Rule:
    def why_not(value: object) -> str | None:
        return None if isinstance(value, str) and re.fullmatch(pattern, value) else want

    return why_not


def _one_of(*words: str) -> Rule:
    return lambda value: None if value in words else " or ".join(words)


def _number_or_percent(value: object) -> str | None:
    """As the API validates a budget's limits: a percentage of at most 100 (ValidatePodDisruptionBudgetSpec)."""
    found = None if isinstance(value, bool) else re.fullmatch(r"(\d+)(%?)", str(value))
    fits = found is not None and (not found[2] or int(found[1]) <= 100)
    return None if fits else "an integer from 0, or a percentage such as 50%"


def _port(value: object) -> str | None:
    """A number, or a port's name (IANA_SVC_NAME: RFC 6335 section 5.1)."""
    text = str(value)
    if not isinstance(value, bool) and text.isascii() and text.isdigit():
        fits = 1 <= int(text) <= 65_535
    else:
        fits = bool(re.fullmatch(r"(?=.*[a-z])[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?", text)) and "--" not in text
    return None if fits else "a port's number from 1 to 65535, or its name in the manifests"


def _setting(default: Any, rule: Rule) -> Any:
    return field(default=default, metadata={"rule": rule})


@dataclass(frozen=True, slots=True, kw_only=True)
class FixSettings:
    """Durations in whole seconds, as every field of a manifest that they end up in wants them.

    None: nothing is asked for, and the fix decides by the manifests. shutdown_s: time the app may take after SIGTERM
    (None: its own, else 10). grace_s: terminationGracePeriodSeconds, exactly that, instead of what hooks and shutdown
    need. readiness_path None: the sample app's own, a TCP probe for others. readiness_port None: the Service's target.
    pdb_min_available stands instead of pdb_max_unavailable, which is 1 where neither is given.
    Raises UsageError with every field that has no right value.
    """

    prestop_s: int = _setting(5, _whole(1, DAY_S, "seconds"))
    readiness_path: str | None = _setting(
        None, _match(r"/[!-~]*", "a path that begins with / and holds no blank, such as /healthz")
    )
    readiness_port: int | str | None = _setting(None, _port)
    readiness_scheme: str | None = _setting(None, _one_of("HTTP", "HTTPS"))
    readiness_period_s: int = _setting(1, _whole(1, DAY_S, "seconds"))
    shutdown_s: int | None = _setting(None, _whole(0, DAY_S, "seconds"))
    grace_s: int | None = _setting(None, _whole(0, DAY_S, "seconds"))
    pdb_max_unavailable: int | str | None = _setting(None, _number_or_percent)
    pdb_min_available: int | str | None = _setting(None, _number_or_percent)
    anti_affinity: str = _setting("preferred", _one_of("preferred", "required"))
    topology_key: str = _setting(
        "kubernetes.io/hostname",
        _match(
            r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?",
            "a node's label, such as kubernetes.io/hostname or topology.kubernetes.io/zone",
        ),
    )
    recycle_after: int = _setting(1000, _whole(1, 2**31, "requests"))
    min_ready_s: int = _setting(5, _whole(1, DAY_S, "seconds"))

    def __post_init__(self) -> None:
        wrong = setting_problems({item.name: getattr(self, item.name) for item in fields(self)})
        if wrong:
            raise UsageError("\n".join(f"{name}: {value!r} is not {want}" for name, value, want in wrong))

    def asked(self, names: set[str]) -> dict[str, Any]:
        """The fields of these names that ask for something, in their own order; JSON types."""
        found = {item.name: getattr(self, item.name) for item in fields(self) if item.name in names}
        return {name: value for name, value in found.items() if value is not None}


def setting_problems(given: Mapping[str, object]) -> list[Problem]:
    """What is wrong with some of the fields of FixSettings. A field whose default is None may be None."""
    known = {item.name: item for item in fields(FixSettings)}
    found: list[Problem] = []
    for name, value in given.items():
        if name not in known:
            found.append((name, value, f"a setting of any fix; there are {', '.join(known)}"))
        elif value is None and known[name].default is None:
            continue
        elif want := known[name].metadata["rule"](value):
            found.append((name, value, want))
    most, least = given.get("pdb_max_unavailable"), given.get("pdb_min_available")
    if most is not None and least is not None:
        found.append(("pdb_min_available", least, f"possible beside maxUnavailable {most}: give one of the two"))
    return found


__all__ = ["FixSettings", "Rule", "setting_problems"]
