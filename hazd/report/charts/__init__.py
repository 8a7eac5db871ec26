"""One file a chart, found by listing this folder; each draws a whole run, or says that it has nothing to show.

A chart is a module with NAME (its file's name), TITLE and `draw(results) -> Figure | None`; a leading underscore in the
name marks what charts share.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, cast

from hazd.analysis.result import TrialResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Chart(Protocol):
    """What every module of this folder offers."""

    NAME: str
    TITLE: str

    def draw(self, results: Sequence[TrialResult]) -> Figure | None: ...


def all_charts() -> tuple[Chart, ...]:
    """Every chart of this folder, by name."""
    names = sorted(item.name for item in pkgutil.iter_modules(__path__) if not item.name.startswith("_"))
    return tuple(cast(Chart, importlib.import_module(f"{__name__}.{name}")) for name in names)


def common_settings(results: Sequence[TrialResult]) -> str:
    """The caption of a chart over several trials: what a run shares, from the first, and the replicas of all."""
    from hazd.report.words import settings_words

    replicas = sorted({int(result.meta.get("replicas") or 0) for result in results})
    words = f"{replicas[0]} to {replicas[-1]}" if len(replicas) > 1 else replicas[0]
    applied = {name: item for result in results for name, item in (result.meta.get("applied") or {}).items()}
    return settings_words({**results[0].meta, "applied": applied, "replicas": words})


__all__ = ["Chart", "all_charts", "common_settings"]
