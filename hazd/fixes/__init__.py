"""The fixes: each file of this folder is one, a pure and idempotent transform of a Setup. A new file is a new fix.

Order of application does not matter (they commute under the same settings); `load` gives one fixed order so that names
and reports read the same. A fix never lowers what the manifests already do, unless a setting asks for it by name.

Settings, all optional, durations in whole seconds: workload (name of the one to change), containers (names),
prestop_s 5, native_sleep True, grace_s (exactly that), shutdown_s 10 (time the app may take after SIGTERM),
readiness_path, readiness_port, readiness_scheme, readiness_period_s 1, startup_delay_s, pdb_max_unavailable 1 or
pdb_min_available, anti_affinity "preferred" or "required", topology_key, recycle_after 1000, recycle_client False,
min_ready_s 5.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from hazd.errors import UsageError
from hazd.manifests import choose_workload
from hazd.model import Manifest, Setup

Settings: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Fix:
    """A fix as the command line names it.

    summary: one line. cures, not_cures: the race that it ends, and the one that it leaves. order: where it stands in
    lists. apply(setup, settings): the changed setup; raises UsageError for a setting that makes no sense.
    applies(setup): "" when it can act on this workload, else the reason why it cannot; then `apply` changes nothing.
    """

    name: str
    summary: str
    cures: str
    not_cures: str
    order: int
    apply: Callable[[Setup, Settings], Setup]
    applies: Callable[[Setup], str]


def load() -> dict[str, Fix]:
    """Every fix of this folder by name, in the order they are applied."""
    modules = (importlib.import_module(f"{__name__}.{item.name}") for item in pkgutil.iter_modules(__path__))
    found: list[Fix] = sorted((module.FIX for module in modules), key=lambda fix: (fix.order, fix.name))
    return {fix.name: fix for fix in found}


def workload_of(setup: Setup, settings: Settings) -> Manifest:
    """The workload a fix changes. Raises UsageError when it is not clear."""
    return choose_workload(setup.documents, str(settings.get("workload") or setup.workload))


def needs_a_workload(setup: Setup) -> str:
    """The `applies` of a fix that acts on any Deployment or StatefulSet."""
    try:
        choose_workload(setup.documents, setup.workload)
    except UsageError as error:
        return error.message
    return ""


def seconds(settings: Settings, name: str, default: float, least: float = 0) -> int:
    """A setting in seconds, rounded up to whole ones, as every field it ends up in wants it. Raises UsageError."""
    value = settings.get(name)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= 86_400:
        raise UsageError(f"{name}: {value!r} is not right", f"seconds from {least:g} to 86400")
    return math.ceil(value)


__all__ = ["Fix", "Settings", "load", "needs_a_workload", "seconds", "workload_of"]
