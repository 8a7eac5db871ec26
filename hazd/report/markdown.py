"""The run as Markdown: for a pull request's comment or a CI job's summary page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hazd.report.compare import lines as comparison
from hazd.report.console import measures, sentence
from hazd.report.words import fix_words, kinds_words, number, pooled_lines, terminations_words


def render(summary: Mapping[str, Any], differences: Mapping[str, Any] | None = None) -> str:
    """A table of the trials and a sentence for each; differences: what `compare` said, if there was a baseline.

    Pipes in names are escaped: they would end a cell.
    """
    cluster = summary.get("cluster") or {}
    lines = [
        f"## {summary['verdict']}: {_cell(summary['scenario'])}",
        "",
        f"Run `{summary['run']}` on {cluster.get('kind', '?')} {cluster.get('version', '')}, "
        f"{cluster.get('nodes', '?')} nodes.",
        "",
        "| scenario | fixes | requests | failed | how | terminations that lost requests (at most, 95 %) | verdict |",
        "| --- | --- | ---: | ---: | --- | ---: | --- |",
    ]
    for trial in summary["trials"]:
        cells = (
            trial["scenario"],
            fix_words(trial["fixes"], trial["applied"]) or "none",
            number(trial["requests"]["due"]),
            number(trial["requests"]["failed"]),
            kinds_words(trial["failures"]) or "·",
            terminations_words(trial),
            f"**{trial['verdict']}**",
        )
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    for trial in summary["trials"]:
        lines += ["", f"### {trial['name']}", "", sentence(trial) + "."]
        lines += [f"- {reason}" for reason in trial["reasons"] if " requests failed" not in reason]
        if words := measures(trial):
            lines += ["", f"_{words}_"]
    if differences is not None:
        against = " and ".join(differences["baselines"]) or "the budgets"
        lines += ["", f"### {differences['verdict']}: against {against}", ""]
        lines += [f"- {line}" for line in comparison(differences)]
    if pooled := pooled_lines(summary):
        lines += ["", "### Taken together", "", *(f"- {line}" for line in pooled)]
    if summary.get("not_run"):
        lines += ["", "Not run: " + ", ".join(summary["not_run"])]
    return "\n".join(lines) + "\n"


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ")


__all__ = ["render"]
