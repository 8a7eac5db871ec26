"""`hazd matrix`: scenarios x fix sets into one report; resumable, on the lab several trials at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from hazd.cli import app
from hazd.cli.help import GroupedCommand
from hazd.cli.options import (
    APP,
    FIXES,
    OUTPUT,
    SCENARIO,
    AppOptions,
    ClusterOptions,
    FixValues,
    OutputOptions,
    TrafficOptions,
    plan_options,
    with_groups,
)


@dataclass(frozen=True, kw_only=True)
class SlowStart(AppOptions):
    """The app of a matrix takes its time to start, or a missing readinessProbe would show nowhere."""

    startup_delay: Annotated[float, typer.Option(help="Time before it listens, s.", rich_help_panel=APP)] = 2.0


@app.command(
    "matrix",
    cls=GroupedCommand,
    epilog="Examples:  hazd matrix rollout drain   |   hazd matrix --cluster lab --parallel 4   |   "
    "hazd matrix --cluster kind --name nightly --resume",
)
@with_groups
def matrix_command(
    scenarios: Annotated[
        list[str] | None, typer.Argument(help="Scenarios; none given: all that take the workload.")
    ] = None,
    *,
    cluster: ClusterOptions,
    each: Annotated[
        bool,
        typer.Option("--each/--no-each", help="Also every fix alone, not just none and all.", rich_help_panel=FIXES),
    ] = True,
    fix_values: FixValues,
    workload: SlowStart,
    traffic: TrafficOptions,
    timeout: Annotated[float, typer.Option(help="Of each disruption, s.", rich_help_panel=SCENARIO)] = 300.0,
    folders: Annotated[
        list[Path] | None,
        typer.Option("--scenarios", help="Folder with scenarios of your own.", rich_help_panel=SCENARIO),
    ] = None,
    output: OutputOptions,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Resume the run --name; complete trials stay.", rich_help_panel=OUTPUT),
    ] = False,
) -> None:
    """Run scenarios with no fix, with each fix that cures something there, and with all of them.

    One report with comparison charts. A trial that cannot be run is reported and the others go on.
    """
    from hazd.cli.conduct import conduct
    from hazd.plan import Options
    from hazd.scenario import load_scenarios

    known = load_scenarios(*(folders or ()))
    problems = ["--resume: which run? add --name"] if resume and output.name is None else []
    common = plan_options(cluster, fix_values, workload, traffic, output, problems=problems)
    wanted = [
        Options(scenario=scenario, all_fixes=True, compare=True, each=each, timeout_s=timeout, **common)
        for scenario in scenarios
        or [name for name, item in known.items() if not ("own" in common and item.sample_only)]
    ]
    raise typer.Exit(
        conduct(
            wanted,
            cluster.choice(),
            out=output.out,
            name=output.name,
            resume=resume,
            keep_going=True,
            folders=tuple(folders or ()),
            as_json=output.as_json,
            parallel=output.parallel,
            keep=output.keep,
        )
    )


__all__ = ["matrix_command"]
