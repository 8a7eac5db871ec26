"""How hazd's pictures look and how they are saved: one palette, no global state, the same bytes for the same data.

The colours are Okabe and Ito's (2008), distinct with every common colour blindness; outcomes keep theirs in every
chart. matplotlib is used through Figure alone, never pyplot, so reports can be drawn in any thread or test.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hazd.model import Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLACK, ORANGE, GREEN, YELLOW, BLUE, VERMILLION, PURPLE, GREY = (
    "#000000",
    "#E69F00",
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
POD_STATE = {
    "starting": YELLOW,
    "ready": GREEN,
    "not_listening": VERMILLION,
    "unready": ORANGE,
    "terminating": "#BBBBBB",
}
VERDICT = {Outcome.PASS: "#00694D", Outcome.FAIL: "#B03A00", Outcome.INCONCLUSIVE: "#7A5C00"}
"""Dark shades of the palette's green, vermillion and orange, as the page has them: they are read as text."""
INK, FAINT = "#222222", "#6E6E6E"
_FAMILY = ["DejaVu Sans", "sans-serif"]
_CAPTION_PT, _CAPTION_SHARE = 8.0, 0.94


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


def caption(figure: Figure, *paragraphs: str) -> None:
    """The settings of the run and what else has to be said, small, below the picture, which grows by what it takes.

    Wrapped by the text's measured width: whatever does not fit into the figure is cut off when it is saved.
    """
    width_pt = figure.get_figwidth() * 72 * _CAPTION_SHARE
    lines = [line for text in paragraphs for line in wrapped(text, width_pt, _CAPTION_PT)]
    figure.set_figheight(figure.get_figheight() + len(lines[1:]) * _CAPTION_PT * 1.2 / 72)
    figure.supxlabel("\n".join(lines), fontsize=_CAPTION_PT, color=FAINT, x=0.01, ha="left", ma="left")


def wrapped(text: str, width_pt: float, size_pt: float, weight: str = "normal") -> list[str]:
    """Lines of whole words that are no wider than width_pt points in a font of size_pt; a longer word has its own."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=_FAMILY, size=size_pt, weight=weight)
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_to_path.get_text_width_height_descent(longer, font, ismath=False)[0] <= width_pt:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


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
        "font.family": _FAMILY,
    }
    out = io.BytesIO()
    with matplotlib.rc_context(settings):
        metadata = {"Date": None, "Creator": "hazd"} if kind == "svg" else {"Software": "hazd"}
        figure.savefig(out, format=kind, dpi=150, metadata=metadata)
    return out.getvalue()


__all__ = [
    "FAINT",
    "INK",
    "OUTCOME",
    "POD_STATE",
    "VERDICT",
    "caption",
    "new_figure",
    "plain",
    "save",
    "spread",
    "wrapped",
]
