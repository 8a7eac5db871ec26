"""Failed requests by kind and the verdict, with and without each fix, one panel a scenario."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hazd.analysis.result import TrialResult
from hazd.report.charts import common_settings
from hazd.report.charts._verdicts import Label, label_verdicts
from hazd.report.figures import INK, OUTCOME, caption, new_figure, plain, spread
from hazd.report.words import failed_of, fix_words, kind_word

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "failures_by_kind"
TITLE = "Failed requests by kind, with and without each fix"
_COLUMNS = 2


def draw(results: Sequence[TrialResult]) -> Figure | None:
    """None for fewer than two trials: there is nothing to compare."""
    if len(results) < 2:
        return None
    groups: dict[str, list[TrialResult]] = {}
    for result in results:
        groups.setdefault(result.scenario, []).append(result)
    columns = min(_COLUMNS, len(groups))
    rows = -(-len(groups) // columns)
    lengths = [len(group) for group in groups.values()]
    tallest = [max(lengths[row * columns : (row + 1) * columns]) for row in range(rows)]
    heights = [1.1 + 0.42 * bars for bars in tallest]
    figure = new_figure(6.8 * columns if columns > 1 else 9.0, sum(heights) + 0.9)
    spread(figure)
    panels = figure.subplots(rows, columns, squeeze=False, height_ratios=heights)
    for axes in panels.flat:
        axes.set_visible(False)
    labels, notes = label_verdicts(results)
    for place, (axes, (scenario, group)) in enumerate(zip(panels.flat, groups.items(), strict=False)):
        axes.set_visible(True)
        _panel(axes, scenario, group, labels, tallest[place // columns])
    handles = {}
    for axes in panels.flat:
        handles.update(dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True)))
    if handles:
        figure.legend(
            handles.values(), handles.keys(), loc="outside upper right", ncols=len(handles), frameon=False, fontsize=9
        )
    figure.suptitle(TITLE, x=0.01, ha="left", fontsize=12, fontweight="bold", color=INK)
    caption(figure, common_settings(results), *notes)
    return figure


def _panel(axes: Axes, scenario: str, group: Sequence[TrialResult], labels: Mapping[str, Label], rows: int) -> None:
    """One scenario; rows: as many as its neighbour's, so that all bars are equally high."""
    from matplotlib.ticker import MaxNLocator

    plain(axes, grid="x")
    most = max((result.failed for result in group), default=0)
    for row, result in enumerate(group):
        left = 0
        for kind, colour in OUTCOME.items():
            count = result.failures.get(kind, 0)
            if count:
                axes.barh(row, count, left=left, height=0.62, color=colour, label=kind_word(kind), linewidth=0)
                left += count
        words, label = failed_of(result.failed, result.requests["recorded"]), labels[result.name]
        counted = axes.annotate(
            words, (left, row), (4, 0), textcoords="offset points", va="center", ha="left", fontsize=9, color=INK
        )
        axes.annotate(
            label.word, (1, 0.5), (6, 0), xycoords=counted, textcoords="offset points", va="center", ha="left",
            fontsize=9, fontweight="bold", color=label.colour,
        )  # fmt: skip
    names = [fix_words(result.fixes, result.meta.get("applied")) or "none" for result in group]
    axes.set_yticks(range(len(group)), [textwrap.fill(name, 26) for name in names])
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_xlim(0, most * 2.0 or 1)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("failed requests", fontsize=9, color=INK)
    axes.set_title(scenario, loc="left", fontsize=11, color=INK)
