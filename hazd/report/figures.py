"""How hazd's pictures look and how they are saved: one palette, no global state, the same bytes for the same data.

The colours are Okabe and Ito's (2008), told apart with every common colour blindness; outcomes keep theirs in every
chart. matplotlib is used through Figure alone, never pyplot, so reports can be drawn in any thread or test.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILLION, PURPLE, GREY = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
    "#999999",
)
OUTCOME = {
    "ok": "#C9E3F3",
    "refused": VERMILLION,
    "timeout": PURPLE,
    "no_route": ORANGE,
    "reset": BLACK,
    "eof": BLUE,
    "bad_status": YELLOW,
    "other": GREY,
}
POD_STATE = {"starting": YELLOW, "ready": GREEN, "deaf": VERMILLION, "unready": ORANGE, "terminating": "#BBBBBB"}
INK, FAINT = "#222222", "#8A8A8A"


def new_figure(width: float, height: float) -> Figure:
    """A figure in inches, not known to pyplot. Text stays text in SVG: small files, searchable, any font."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), facecolor="white", layout="constrained")


def plain(axes: Axes, *, grid: str = "y") -> None:
    """No frame but the left and bottom line, a faint grid along one axis ("" for none)."""
    axes.set_facecolor("white")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(FAINT)
    axes.tick_params(colors=INK, labelsize=9, length=3)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(axis=grid, color="#E6E6E6", linewidth=0.7)  # type: ignore[arg-type]


def spread(figure: Figure) -> None:
    """More room between panels and at the edges than the layout engine leaves, for long labels."""
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1, wspace=0.03, hspace=0.03)  # type: ignore[union-attr, call-arg]


def caption(figure: Figure, text: str) -> None:
    """The settings of the run, small, below the picture."""
    figure.supxlabel(text, fontsize=8, color=FAINT, x=0.01, ha="left")


def save(figure: Figure, path: Path) -> str:
    """Write path.svg and path.png (150 dpi) and return the <svg> element; the same figure gives the same bytes."""
    drawn = _bytes(figure, "svg")
    path.with_suffix(".svg").write_bytes(drawn)
    # the layout stands after the first drawing and is the costly half of the second
    figure.set_layout_engine("none")
    path.with_suffix(".png").write_bytes(_bytes(figure, "png"))
    text = drawn.decode()
    return text[text.index("<svg") :]


def _bytes(figure: Figure, kind: str) -> bytes:
    import matplotlib

    settings: Any = {
        "svg.hashsalt": "hazd",
        "svg.fonttype": "none",
        "font.family": ["DejaVu Sans", "sans-serif"],
    }
    out = io.BytesIO()
    with matplotlib.rc_context(settings):
        metadata = {"Date": None, "Creator": "hazd"} if kind == "svg" else {"Software": "hazd"}
        figure.savefig(out, format=kind, dpi=150, metadata=metadata)
    return out.getvalue()


__all__ = ["FAINT", "INK", "OUTCOME", "POD_STATE", "caption", "new_figure", "plain", "save", "spread"]
