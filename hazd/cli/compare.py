"""`hazd compare`: a run against a baseline and against budgets, for pipelines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from hazd.cli import app


@app.command(
    "compare",
    epilog="Examples:  hazd compare reports/nightly reports/baseline --max-failed 0   |   "
    "hazd compare reports/nightly --max-outage-ms 500 --junit junit.xml",
)
def compare_command(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    baseline: Annotated[Path | None, typer.Argument(help="The folder of the run to compare with.")] = None,
    max_failed: Annotated[int | None, typer.Option(help="Failed requests a deciding trial may have.")] = None,
    max_outage_ms: Annotated[float | None, typer.Option(help="Longest outage of a deciding trial, ms.")] = None,
    max_latency_ratio: Annotated[float | None, typer.Option(help="p99 latency, run / baseline.")] = None,
    max_recovery_ratio: Annotated[float | None, typer.Option(help="Recovery time, run / baseline.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML here.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write a Markdown summary here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
) -> None:
    """Compare a run with a baseline, trial by trial: failures by kind, latency, outages, recovery time.

    Exit code: 1 on a regression or an exceeded budget, 3 when it cannot be said (a trial is missing or inconclusive).
    A difference in failures counts only when chance does not explain it.
    """
    from hazd.cli.conduct import EXIT_OF
    from hazd.report import junit as junit_xml
    from hazd.report import markdown as markdown_text
    from hazd.report.compare import Budgets, compare

    now = _summary(run)
    budgets = Budgets(max_failed, max_outage_ms, max_latency_ratio, max_recovery_ratio)
    found = compare(now, _summary(baseline) if baseline else None, budgets)
    if junit is not None:
        junit.write_text(junit_xml.render(now, found))
    if markdown is not None:
        markdown.write_text(markdown_text.render(now, found))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        for reason in found["reasons"] or ["no regression"]:
            typer.echo(reason)
        typer.echo(f"verdict: {found['verdict']}")
    raise typer.Exit(EXIT_OF[found["verdict"]])


def _summary(folder: Path) -> dict[str, Any]:
    """The summary of a run, made anew from its journal. Raises JournalError when the folder is no run."""
    from hazd.report import build

    return build(folder)


__all__ = ["compare_command"]
