"""The fixes: each file of this folder is one, a pure and idempotent transform of a Setup. A new file is a new fix.

Order of application does not matter (they commute under the same settings); `load` gives one fixed order so that names
and reports read the same. A fix never lowers what the manifests already do, unless a setting asks for it by name.
What a fix may be asked for is in FixSettings (_settings.py); what it left in the manifests comes back as Applied.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from hazd.errors import UsageError
from hazd.fixes._settings import FixSettings, setting_problems
from hazd.manifests import choose_workload
from hazd.model import Applied, Manifest, Setup


@dataclass(frozen=True, slots=True)
class Fix:
    """A fix as the command line names it.

    summary: one line. cures, not_cures: the race that it ends, and the one that it leaves. order: where it stands in
    lists. apply(setup, settings): the changed setup, and what now stands in the manifests. why_not(setup, settings):
    the reason why it cannot act on this workload, None when it can; with a reason `apply` changes nothing.
    inputs: the fields of FixSettings that it reads, each with the option that sets it ("" where there is none).
    switch: the option that turns it on, --with-NAME unless given.
    """

    name: str
    summary: str
    cures: str
    not_cures: str
    order: int
    apply: Callable[[Setup, FixSettings], tuple[Setup, Applied]]
    why_not: Callable[[Setup, FixSettings], str | None]
    inputs: Mapping[str, str] = field(default_factory=dict)
    switch: str = ""

    def __post_init__(self) -> None:
        if not self.switch:
            object.__setattr__(self, "switch", f"--with-{self.name}")


def load() -> dict[str, Fix]:
    """Every fix of this folder by name, in the order they are applied; modules that begin with _ are none."""
    names = (item.name for item in pkgutil.iter_modules(__path__) if not item.name.startswith("_"))
    modules = (importlib.import_module(f"{__name__}.{name}") for name in names)
    found: list[Fix] = sorted((module.FIX for module in modules), key=lambda fix: (fix.order, fix.name))
    return {fix.name: fix for fix in found}


def flags(fixes: Mapping[str, Fix]) -> dict[str, str]:
    """The fields of FixSettings that options of the command line set, each with its option."""
    return {name: flag for fix in fixes.values() for name, flag in fix.inputs.items() if flag}


def workload_of(setup: Setup) -> Manifest:
    """The workload a fix changes. Raises UsageError when it is not clear."""
    return choose_workload(setup.documents, setup.workload)


def why_no_workload(setup: Setup, _: FixSettings) -> str | None:
    """The `why_not` of a fix that acts on any Deployment or StatefulSet."""
    try:
        workload_of(setup)
    except UsageError as error:
        return error.message
    return None


__all__ = ["Fix", "FixSettings", "flags", "load", "setting_problems", "why_no_workload", "workload_of"]
