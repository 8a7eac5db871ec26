"""Share of the responses per pod over time, one panel a trial: whether new pods get their part of the traffic.

Drawn for trials with kept connections in which pods were added beside old ones that stayed: a scale-out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hazd.analysis.result import TrialResult
from hazd.analysis.skew import Skew
from hazd.report.charts import common_settings
from hazd.report.figures import FAINT, INK, caption, new_figure, plain
from hazd.report.words import fix_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "share_per_pod"
TITLE = "Share of requests per pod over time, kept connections"
_BEFORE, _ADDED = "pods from before", "pods added (a shade each)"
_OLD = ("#0072B2", "#3A8FC4", "#56B4E9", "#86C9EF", "#A9D8F3", "#C7E6F8")
_NEW = ("#D55E00", "#E69F00", "#EFB53F", "#F3C871", "#F7DAA0", "#FAE9C8")


def draw(results: Sequence[TrialResult]) -> Figure | None:
    """None when no trial kept connections while pods were added."""
    panels = [(result, skew) for result in results if (skew := _kept(result)) is not None]
    if not panels:
        return None
    figure = new_figure(10.5, 0.9 + 2.7 * len(panels))
    grid = figure.subplots(len(panels), 1, squeeze=False, sharex=True)
    for axes, (result, skew) in zip(grid.flat, panels, strict=True):
        _panel(axes, result, skew)
    drawn = [item for axes in grid.flat for item in zip(*axes.get_legend_handles_labels(), strict=True)]
    first = {label: handle for handle, label in reversed(drawn)}
    first = {label: first[label] for label in (_BEFORE, _ADDED) if label in first}
    figure.legend(first.values(), first.keys(), loc="outside upper right", ncols=2, frameon=False, fontsize=9)
    grid.flat[-1].set_xlabel("seconds since the disruption began", color=INK, fontsize=10)
    figure.suptitle(TITLE, x=0.01, ha="left", fontsize=12, fontweight="bold", color=INK)
    caption(figure, common_settings(results))
    return figure


def _kept(result: TrialResult) -> Skew | None:
    lives = result.story.pods.values()
    stayed = all(life.deleted_ns is None for life in lives if life.existed)
    added = any(not life.existed and life.deleted_ns is None for life in lives)
    if not (stayed and added):
        return None
    for stream in result.streams:
        if stream.connection == "reused" and stream.skew is not None:
            return stream.skew
    return None


def _panel(axes: Axes, result: TrialResult, skew: Skew) -> None:
    import numpy as np

    plain(axes)
    old = [pod for pod in skew.pods if (life := result.story.pods.get(pod)) is not None and life.existed]
    colours = {pod: (_OLD if pod in old else _NEW) for pod in skew.pods}
    seen: dict[bool, int] = {}
    base = np.zeros(len(skew.edges_s))
    edges = np.append(skew.edges_s, skew.edges_s[-1] + skew.bin_s)
    for column, pod in enumerate(skew.pods):
        is_old = pod in old
        rank = seen[is_old] = seen.get(is_old, -1) + 1
        share = np.nan_to_num(skew.shares[:, column])
        axes.stairs(
            (base + share) * 100,
            edges,
            baseline=base * 100,
            fill=True,
            color=colours[pod][rank % len(_OLD)],
            edgecolor="white",
            linewidth=0.4,
            label=_BEFORE if is_old else _ADDED,
        )
        base = base + share
    axes.set_ylim(0, 100)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylabel("share of responses, %", color=INK, fontsize=10)
    axes.axvline(0, color=INK, linewidth=1.0, linestyle=(0, (4, 3)))
    fixes = fix_words(result.fixes, result.meta.get("applied")) or "no fix"
    axes.set_title(f"{result.scenario}, {fixes}", loc="left", fontsize=11, color=INK)
    if skew.gini is not None and skew.max_over_mean is not None:
        text = f"at the end: Gini {skew.gini:.2f}, busiest pod {skew.max_over_mean:.1f} x the mean"
        axes.set_title(text, loc="right", fontsize=9, color=FAINT)
