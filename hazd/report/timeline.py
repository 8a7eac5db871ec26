"""The picture of a trial: requests per 100 ms by outcome above, the pods' lives below, on one axis of seconds.

Second 0 is the start of the disruption. Failed requests stand at the foot of each bar, so that one of them is seen
among hundreds of good ones.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hazd.analysis.result import TrialResult
from hazd.analysis.timeline import Row, Timeline
from hazd.report.figures import FAINT, INK, OUTCOME, POD_STATE, caption, new_figure, plain
from hazd.report.words import fix_words, kind_word, number, settings_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PODS = 40
_STAGE_ROWS, _STAGE_HEIGHT, _CHARACTER = 4, 0.058, 0.0074
_MARKS = {"listening": ("^", "starts to listen"), "sigterm": ("v", "SIGTERM"), "exit": ("X", "process ended")}


def draw_timeline(result: TrialResult) -> Figure:
    """The figure, not saved. Draws what there is, also of a trial without pods or requests."""
    timeline = result.timeline
    rows = timeline.rows[:MOST_PODS]
    figure = new_figure(11.5, 4.2 + 0.26 * max(4, len(rows)))
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2.6, max(1.0, 0.26 * len(rows))])
    _requests(above, timeline)
    _pods(below, rows, _last_sent(result))
    for axes in (above, below):
        _disruption(axes, timeline)
    _stages(above, timeline)
    below.set_xlim(timeline.start_s, timeline.end_s)
    below.set_xlabel("seconds since the disruption began", color=INK, fontsize=10)
    figure.suptitle(_title(result), x=0.01, ha="left", fontsize=12, color=INK, fontweight="bold")
    hidden = len(timeline.rows) - len(rows)
    caption(figure, settings_words(result.meta) + (f"; {hidden} more pods not drawn" if hidden else ""))
    return figure


def _title(result: TrialResult) -> str:
    fixes = fix_words(result.fixes, result.meta.get("applied")) or "no fix"
    kinds = sorted(((count, kind) for kind, count in result.failures.items() if count), reverse=True)
    words = ", ".join(f"{number(count)} {kind_word(kind)}" for count, kind in kinds)
    recorded = result.requests["recorded"]
    count = f"{number(result.failed)} of {number(recorded)} requests failed" if recorded else "no request recorded"
    head = f"{result.scenario}, {fixes}: {count}"
    return textwrap.fill(head + (f" ({words})" if words else ""), 105)


def _requests(axes: Axes, timeline: Timeline) -> None:
    import numpy as np

    plain(axes)
    base = np.zeros(len(timeline.edges_s))
    order = [kind for kind in OUTCOME if kind != "ok" and kind in timeline.counts]
    for kind in [*order, "ok"]:
        counts = timeline.counts[kind]
        label = f"{kind_word(kind)} ({number(int(counts.sum()))})"
        axes.stairs(
            base + counts,
            np.append(timeline.edges_s, timeline.end_s),
            baseline=base.copy(),
            fill=True,
            color=OUTCOME[kind],
            label=label,
            linewidth=0,
        )
        base = base + counts
    axes.set_ylim(0, max(1.0, float(base.max()) * 1.02) if len(base) else 1.0)
    axes.set_ylabel(f"requests per {timeline.bin_s * 1000:.0f} ms", color=INK, fontsize=10)
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        frameon=False,
        fontsize=9,
        reverse=True,
        title="outcome, by send time",
    )


def _last_sent(result: TrialResult) -> dict[str, tuple[float, float]]:
    """Per pod: from when no EndpointSlice listed it to the last request a node's rules still sent there, in seconds."""
    spans: dict[str, tuple[float, float]] = {}
    for lag in result.propagation.lags:
        if lag.what == "removal" and lag.seen_ns > lag.changed_ns:
            start_s, end_s = ((at_ns - result.origin_ns) / 1e9 for at_ns in (lag.changed_ns, lag.seen_ns))
            spans[lag.pod] = (start_s, max(end_s, spans.get(lag.pod, (0.0, end_s))[1]))
    return spans


def _pods(axes: Axes, rows: Sequence[Row], last_sent: Mapping[str, tuple[float, float]]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    plain(axes, grid="x")
    used: set[str] = set()
    marked: set[str] = set()
    for index, row in enumerate(rows):
        for bar in row.bars:
            used.add(bar.state)
            axes.barh(
                index, bar.end_s - bar.start_s, left=bar.start_s, height=0.62, color=POD_STATE[bar.state], linewidth=0
            )
        if row.pod in last_sent:
            axes.hlines(index, *last_sent[row.pod], color=INK, linewidth=1.6, linestyle=(0, (1.2, 1.0)))
        for at_s, word in row.marks:
            marked.add(word)
            axes.plot(at_s, index, marker=_MARKS[word][0], color=INK, markersize=5, markeredgewidth=0, linestyle="none")
    axes.set_yticks(range(len(rows)), [_label(row) for row in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    handles: list[Patch | Line2D] = [
        Patch(color=POD_STATE[state], label=_STATE[state]) for state in POD_STATE if state in used
    ]
    for word, (marker, label) in _MARKS.items():
        if word in marked:
            handles.append(Line2D([], [], marker=marker, color=INK, linestyle="none", markersize=5, label=label))
    if last_sent:
        handles.append(
            Line2D([], [], color=INK, linewidth=1.6, linestyle=(0, (1.2, 1.0)), label="rules still send to it")
        )
    if handles:
        axes.legend(
            handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9, title="pods"
        )


_STATE = {
    "starting": "starting",
    "ready": "ready: in the EndpointSlice",
    "not_listening": "in it, but not listening",
    "unready": "not ready",
    "terminating": "terminating",
}


def _label(row: Row) -> str:
    """The part of the name that distinguishes pods, and the node: "x7k2p  worker2"."""
    short = row.pod.rpartition("-")[2] if row.pod.count("-") >= 2 else row.pod
    last = row.node.rpartition("-")[2]
    node = row.node if last.isdigit() or not last else last
    return f"{'new ' if row.new else ''}{short}  {node}".rstrip()


def _disruption(axes: Axes, timeline: Timeline) -> None:
    start_s, end_s = timeline.disrupt_s
    axes.axvline(start_s, color=INK, linewidth=1.0, linestyle=(0, (4, 3)))
    if end_s is not None:
        axes.axvline(end_s, color=FAINT, linewidth=1.0, linestyle=(0, (1, 2)))


def _stages(axes: Axes, timeline: Timeline) -> None:
    """What the scenario did, in up to four lines above the bars; what finds no room is counted, not drawn over."""
    span_s = timeline.end_s - timeline.start_s
    free = [timeline.start_s] * _STAGE_ROWS
    left_out = 0
    for at_s, text in timeline.stages:
        if not timeline.start_s <= at_s <= timeline.end_s:
            continue
        label = textwrap.shorten(re.sub(r"\b[a-z0-9-]+-([a-z0-9]{5})\b", r"\1", text), 40, placeholder="…")
        width_s = (len(label) + 2) * _CHARACTER * span_s
        late = at_s + width_s > timeline.end_s
        begin, end = (at_s - width_s, at_s) if late else (at_s, at_s + width_s)
        row = next((index for index, until in enumerate(free) if until <= begin), None)
        if row is None:
            left_out += 1
            continue
        free[row] = end
        axes.annotate(
            label,
            (at_s, 1.0 - _STAGE_HEIGHT * row),
            xycoords=("data", "axes fraction"),
            xytext=(-4 if late else 4, -2),
            textcoords="offset points",
            ha="right" if late else "left",
            va="top",
            fontsize=8,
            color=INK,
        )
        top = 1.0 - _STAGE_HEIGHT * row
        axes.axvline(at_s, ymin=top - _STAGE_HEIGHT, ymax=top, color=FAINT, linewidth=0.8)
    used = sum(until > timeline.start_s for until in free)
    axes.set_ylim(0, axes.get_ylim()[1] / max(0.5, 1.0 - _STAGE_HEIGHT * (used + 0.4)))
    if left_out:
        axes.set_title(f"{left_out} more steps not drawn", loc="right", fontsize=8, color=FAINT)


__all__ = ["draw_timeline"]
