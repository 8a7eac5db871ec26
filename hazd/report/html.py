"""report.html: one file that says everything, readable without a network and still in ten years.

Nothing is fetched: styles and pictures are in the page. All text is escaped by the template engine; only the SVG that
hazd drew itself goes in as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hazd.report.console import measures, sentence
from hazd.report.words import fix_words, kind_word, kinds_words, number, percent, pooled_lines, terminations_words


def render(
    summary: Mapping[str, Any], pictures: Mapping[str, str], charts: Sequence[tuple[str, str]], patch: str
) -> str:
    """The page. pictures: trial name -> <svg>; charts: (title, <svg>) of the whole run; patch: a unified diff."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters.update(
        number=number,
        percent=percent,
        kind=kind_word,
        kinds=kinds_words,
        sentence=sentence,
        measures=measures,
        terminations=terminations_words,
    )
    environment.globals |= {"fix_words": fix_words, "pooled_lines": pooled_lines}
    page = environment.get_template("report.html.j2")
    inline = {name: Markup(_own_ids(svg, f"t{index}")) for index, (name, svg) in enumerate(pictures.items())}
    drawn = [(title, Markup(_own_ids(svg, f"c{index}"))) for index, (title, svg) in enumerate(charts)]
    lines = [(_line_class(line), line) for line in patch.splitlines()]
    return page.render(summary=summary, pictures=inline, charts=drawn, patch=lines)


def _own_ids(svg: str, prefix: str) -> str:
    """Make an SVG's ids its own: several of them share one page, and matplotlib numbers each from one."""
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'href="#', f'href="#{prefix}-', svg)
    return re.sub(r"url\(#", f"url(#{prefix}-", svg)


def _line_class(line: str) -> str:
    if line.startswith(("+++", "---", "@@")):
        return "head"
    return {"+": "plus", "-": "minus"}.get(line[:1], "")


__all__ = ["render"]
