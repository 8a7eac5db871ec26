"""What charts over several trials say: each verdict and what decided it, and no text beyond the picture's edge."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hazd.analysis import TrialResult, analyse
from hazd.journal import read_trial
from hazd.report.charts import all_charts, failures_by_kind, scenario_fix_map
from hazd.report.figures import caption, new_figure, wrapped
from hazd.report.timeline import draw_timeline
from tests.golden.simulated import World
from tests.golden.worlds import network_cut, rollout, scale_out

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLUSTER = {
    "kind": "context",
    "name": "staging",
    "version": "v1.34.4-eks-3cfe0ce",
    "nodes": 128,
    "proxy_mode": "iptables",
    "note": "",
}
META: dict[str, Any] = {
    "cluster": CLUSTER,
    "replicas": 4,
    "rate": 80.0,
    "app": {"startup_delay_s": 2.5},
    "applied": {"prestop": {"words": "preStop 5 s", "values": {}}},
}
SHARES = {"criteria": {"even_shares": True}}


def trial(folder: Path, name: str, world: World, **fields: Any) -> TrialResult:
    world.rate = 80.0
    world.write(folder / name, **({"name": name} | META | fields))
    return analyse(read_trial(folder / name))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[TrialResult]:
    """A small matrix: a trial that fails on requests, one on skew alone, one that passes and one that is in doubt."""
    folder = tmp_path_factory.mktemp("charts")
    scaled = {**SHARES, "scenario": "keepalive-scale-out"}
    fixed = ["prestop", "readiness", "graceful-shutdown"]
    return [
        trial(folder, "rollout--baseline", rollout()),
        trial(folder, "rollout--all", rollout(readiness=True, prestop_s=5, graceful=True), fixes=fixed),
        trial(folder, "scale--baseline", scale_out(), **scaled),
        trial(folder, "scale--recycle", scale_out(recycle_after=5), **scaled, fixes=["recycle"]),
        trial(folder, "cut--all", network_cut(), scenario="drain", fixes=fixed),
    ]


def texts(figure: Figure) -> list[str]:
    """Every text in the figure, laid out as it is saved."""
    from matplotlib.text import Text

    laid_out(figure)
    found = figure.findobj(Text)
    return [item.get_text() for item in found if item.get_visible()]


def laid_out(figure: Figure) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas.get_renderer()


def overhang(figure: Figure) -> float:
    """How far anything drawn, texts included, lies beyond the figure's edge, in points; 0 where nothing does."""
    box = figure.get_tightbbox(laid_out(figure))
    width, height = figure.get_size_inches()
    over = max(-box.x0, -box.y0, box.x1 - width, box.y1 - height) * 72
    return over if over > 1 else 0.0


def test_no_text_is_cut_off(results: list[TrialResult]) -> None:
    """Captions, labels and verdicts of every chart and timeline lie inside the picture."""
    figures = [figure for chart in all_charts() if (figure := chart.draw(results)) is not None]
    assert len(figures) == 3
    for figure in [*figures, *map(draw_timeline, results)]:
        assert overhang(figure) == 0


def test_two_columns_hold_a_long_caption(results: list[TrialResult]) -> None:
    """The heat map of two sets of fixes is the narrowest picture, and its caption no shorter than any other's."""
    figure = scenario_fix_map.draw([*results[:1], *results[2:4]])
    assert figure is not None
    assert overhang(figure) == 0


@pytest.mark.parametrize("width", [3.0, 6.3, 14.0])
def test_a_caption_is_wrapped_and_makes_room_for_itself(width: float) -> None:
    """No line is wider than the picture, no word is lost, and the axes keep their height."""
    figure = new_figure(width, 2.0)
    figure.subplots()
    text = "kind v1.34.4, 4 nodes, kube-proxy iptables, 4 replicas, 200 requests/s, start-up 2 s; empty: not run " * 2
    caption(figure, text, "[1] a note")
    lines = figure.get_supxlabel().splitlines()
    assert " ".join(lines) == f"{text.strip()} [1] a note"
    assert overhang(figure) == 0
    assert figure.get_figheight() == pytest.approx(2.0 + (len(lines) - 1) * 8 * 1.2 / 72)


def test_a_word_wider_than_the_line_stands_alone() -> None:
    """Nothing is broken inside a word."""
    assert wrapped("one extraordinarily two", 30, 8) == ["one", "extraordinarily", "two"]


def drawn(figure: Figure | None) -> list[str]:
    assert figure is not None
    return texts(figure)


@pytest.mark.parametrize("draw", [failures_by_kind.draw, scenario_fix_map.draw])
def test_each_trial_has_its_verdict(draw: Any, results: Sequence[TrialResult]) -> None:
    """A trial that fails without one failed request does not look like one that passes."""
    outcomes = [result.verdict.outcome.value for result in results]
    assert outcomes == ["FAIL", "PASS", "FAIL", "PASS", "INCONCLUSIVE"]
    assert results[2].failed == results[3].failed == 0
    words = [text.split(" [")[0] for text in drawn(draw(results))]
    assert sorted(word for word in words if word in outcomes) == sorted(outcomes)


@pytest.mark.parametrize("draw", [failures_by_kind.draw, scenario_fix_map.draw])
def test_what_decided_is_said_where_the_numbers_do_not(draw: Any, results: Sequence[TrialResult]) -> None:
    """The skew and the doubt have a note each; a FAIL by failed requests needs none, since they are drawn."""
    words = drawn(draw(results))
    (notes,) = [text for text in words if "[1] " in text and "\n" in text]
    said = " ".join(notes.split())
    assert "[1] keepalive-scale-out, no fix: the pods that were added answered" in said
    assert "[2] drain, preStop + readiness + graceful shutdown: " in said
    assert "[3]" not in said
    assert "requests failed" not in said
    assert {"FAIL [1]", "INCONCLUSIVE [2]"} <= set(words)
