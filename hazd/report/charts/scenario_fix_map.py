"""The heat map of a matrix run: scenarios down, sets of fixes across, the share of failed requests in each cell.

The scale is logarithmic, since 0.01 % and 10 % both matter; "0" was measured, an empty cell was not run. The colour is
not the verdict: a trial without one failed request may FAIL (on skew), so each cell has the verdict's word.
What helps differs by scenario, so where each has one set of several fixes these share a column: all that help there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hazd.analysis.result import TrialResult
from hazd.report.charts import common_settings
from hazd.report.charts._verdicts import label_verdicts
from hazd.report.figures import FAINT, INK, caption, new_figure, spread
from hazd.report.words import fix_words, number, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME = "scenario_fix_map"
TITLE = "Share of failed requests: scenario by fixes"
_TOGETHER = "all that help\nthere, together"
_FLOOR, _CEILING = 1e-4, 1.0


def draw(results: Sequence[TrialResult]) -> Figure | None:
    """None unless there are at least two scenarios and two sets of fixes."""
    scenarios = list(dict.fromkeys(result.scenario for result in results))
    column_of = _columns(results)
    sets = list(dict.fromkeys(column_of.values()))
    if len(scenarios) < 2 or len(sets) < 2:
        return None
    import numpy as np
    from matplotlib.colors import LogNorm

    rates = np.full((len(scenarios), len(sets)), np.nan)
    cells: dict[tuple[int, int], TrialResult] = {}
    for result in results:
        place = scenarios.index(result.scenario), sets.index(column_of[result.fixes])
        cells[place] = result
        total = result.requests["recorded"]
        rates[place] = max(result.failed / total, _FLOOR) if total else np.nan
    figure = new_figure(3.6 + 1.45 * len(sets), 2.1 + 0.66 * len(scenarios))
    spread(figure)
    axes = figure.subplots()
    image = axes.imshow(rates, cmap="cividis_r", norm=LogNorm(_FLOOR, _CEILING), aspect="auto")
    labels, notes = label_verdicts(results)
    for (row, column), result in cells.items():
        dark = not np.isnan(rates[row, column]) and _luminance(image.to_rgba(rates[row, column])) < 0.45
        axes.annotate(
            _words(result), (column, row), (0, 7), textcoords="offset points", ha="center", va="center",
            fontsize=9, color="white" if dark else INK,
        )  # fmt: skip
        label = labels[result.name]
        axes.annotate(
            label.word, (column, row), (0, -10), textcoords="offset points", ha="center", va="center",
            fontsize=8, fontweight="bold", color=label.colour,
            bbox={"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": "none"},
        )  # fmt: skip
    axes.set_xticks(range(len(sets)), sets, fontsize=9)
    axes.set_yticks(range(len(scenarios)), scenarios, fontsize=10)
    axes.tick_params(length=0, colors=INK)
    axes.xaxis.set_ticks_position("top")
    axes.set_xticks([edge - 0.5 for edge in range(1, len(sets))], minor=True)
    axes.set_yticks([edge - 0.5 for edge in range(1, len(scenarios))], minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="minor", length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.9, pad=0.02)
    bar.set_label("failed share (logarithmic)", fontsize=9, color=INK)
    bar.set_ticks([1e-4, 1e-3, 1e-2, 1e-1, 1.0], labels=["≤ 0.01 %", "0.1 %", "1 %", "10 %", "100 %"])
    bar.outline.set_edgecolor(FAINT)
    figure.suptitle(TITLE, x=0.01, ha="left", fontsize=12, fontweight="bold", color=INK)
    caption(figure, common_settings(results) + "; empty: not run", *notes)
    return figure


def _columns(results: Sequence[TrialResult]) -> dict[tuple[str, ...], str]:
    """The title of each set's column, the sets in order: none, single fixes as they were tried, several together."""
    sets = sorted(dict.fromkeys(result.fixes for result in results), key=len)
    several = {(result.scenario, result.fixes) for result in results if len(result.fixes) > 1}
    together = len({scenario for scenario, _ in several}) == len(several) > 1
    words = {fixes: (fix_words(fixes) or "none").replace(" + ", " +\n") for fixes in sets}
    return {fixes: _TOGETHER if together and len(fixes) > 1 else words[fixes] for fixes in sets}


def _luminance(colour: Any) -> float:
    """Of a colour in sRGB, 0 to 1, near enough to choose black or white text on it (ITU-R BT.709 weights)."""
    return float(0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2])


def _words(result: TrialResult) -> str:
    recorded = result.requests["recorded"]
    if not recorded:
        return "no requests"
    return f"{number(result.failed)} ({percent(result.failed / recorded)})" if result.failed else "0"
