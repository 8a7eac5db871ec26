"""`hazd compare`: runs against baselines and against budgets, for pipelines."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Annotated

import typer

from hazd.cli import app
from hazd.cli.help import GroupedCommand
from hazd.cli.options import OUTPUT

_runs = functools.partial(typer.Option, rich_help_panel="Runs")
_budget = functools.partial(typer.Option, rich_help_panel="Budgets")
_output = functools.partial(typer.Option, rich_help_panel=OUTPUT)


@app.command(
    "compare",
    cls=GroupedCommand,
    epilog="Examples:  hazd compare reports/nightly reports/baseline --max-failed 0   |   "
    "hazd compare reports/nightly reports/monday reports/tuesday   |   "
    "hazd compare reports/nightly --max-outage-ms 500 --junit junit.xml",
)
def compare_command(
    run: Annotated[Path, typer.Argument(help="The run's folder.")],
    baselines: Annotated[
        list[Path] | None, typer.Argument(help="Runs to compare with; the more, the smaller a rise is found.")
    ] = None,
    also: Annotated[list[Path] | None, _runs(help="A further run of what RUN has run; repeatable.")] = None,
    allow_known_failures: Annotated[
        bool, _runs("--allow-known-failures", help="A trial that failed before, and is no worse, passes.")
    ] = False,
    max_failed: Annotated[int | None, _budget(help="Failed requests a deciding trial may have.")] = None,
    max_outage_ms: Annotated[float | None, _budget(help="Longest outage of a deciding trial, ms.")] = None,
    max_latency_ratio: Annotated[float | None, _budget(help="p99 latency, run / baseline.")] = None,
    max_recovery_ratio: Annotated[float | None, _budget(help="Recovery time, run / baseline.")] = None,
    junit: Annotated[Path | None, _output(help="Write JUnit XML here.")] = None,
    markdown: Annotated[Path | None, _output(help="Write a Markdown summary here.")] = None,
    as_json: Annotated[bool, _output("--json", help="Print the comparison as JSON.")] = False,
) -> None:
    """Compare a run with baselines, trial by trial: failures by kind, latency, outages, recovery time.

    A rise in failures counts only when chance does not explain it. Without a regression the run's own verdict stands;
    a trial without its fixes is reported only. Exit code: 1 on a regression, an exceeded budget or a FAIL of the run; 3
    when it cannot be said (a trial is missing, not run or INCONCLUSIVE, or the baseline says nothing); else 0.
    """
    from hazd.cli.conduct import EXIT_OF
    from hazd.report import build, read
    from hazd.report import junit as junit_xml
    from hazd.report import markdown as markdown_text
    from hazd.report.compare import Budgets, compare, lines

    now = build(run)
    budgets = Budgets(max_failed, max_outage_ms, max_latency_ratio, max_recovery_ratio)
    found = compare(
        [now, *(read(folder)[0] for folder in also or ())],
        [read(folder)[0] for folder in baselines or ()],
        budgets,
        allow_known_failures=allow_known_failures,
    )
    if junit is not None:
        junit.write_text(junit_xml.render(now, found))
    if markdown is not None:
        markdown.write_text(markdown_text.render(now, found))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        for line in lines(found):
            typer.echo(line)
        typer.echo(f"verdict: {found['verdict']}")
    raise typer.Exit(EXIT_OF[found["verdict"]])


__all__ = ["compare_command"]
