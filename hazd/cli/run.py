"""`hazd run` and `hazd list`: the options of a run, as typer sees them."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Annotated

import typer

from hazd.cli import app
from hazd.cli.help import GroupedCommand
from hazd.cli.options import (
    FIXES,
    SCENARIO,
    AppOptions,
    ClusterOptions,
    FixSwitches,
    FixValues,
    OutputOptions,
    RepeatOptions,
    TrafficOptions,
    plan_options,
    with_groups,
)
from hazd.cli.words import parse_set

_option = functools.partial(typer.Option, rich_help_panel=SCENARIO)


def _complete_scenario(incomplete: str) -> list[str]:
    from hazd.scenario import load_scenarios

    return [name for name in load_scenarios() if name.startswith(incomplete)]


@app.command(
    "run",
    cls=GroupedCommand,
    epilog="Examples:  hazd run rollout --startup-delay 2   |   hazd run rollout --with-prestop --prestop-seconds 2 "
    "--with-readiness --compare   |   hazd run drain --with-all --cluster kind --json   |   "
    "hazd run rollout --with-all --until 5% --budget 20m",
)
@with_groups
def run_command(
    scenario: Annotated[str, typer.Argument(help="What is done to the service.", autocompletion=_complete_scenario)],
    *,
    cluster: ClusterOptions,
    fixes: FixSwitches,
    fix_values: FixValues,
    compare: Annotated[
        bool,
        typer.Option("--compare", help="Run without any fix first, then with the named ones.", rich_help_panel=FIXES),
    ] = False,
    workload: AppOptions,
    traffic: TrafficOptions,
    timeout: Annotated[float, _option(help="Of the disruption, s.")] = 300.0,
    repeat: RepeatOptions,
    max_failed: Annotated[int, _option(help="Failed requests that still count as PASS.")] = 0,
    restart: Annotated[bool, _option("--restart", help="rollout: restart instead of a new tag.")] = False,
    force: Annotated[bool, _option("--force", help="pod-delete: grace period 0.")] = False,
    options: Annotated[list[str] | None, _option("--set", help="A scenario's own option, NAME=VALUE.")] = None,
    scenarios: Annotated[
        list[Path] | None,
        _option("--scenarios", help="Folder with scenarios of your own."),
    ] = None,
    output: OutputOptions,
) -> None:
    """Disrupt a service under traffic and report what its clients lost.

    Deploys the sample app, or with --workload your own, into a namespace of its own, sends traffic from inside the
    cluster behind a node's kube-proxy, runs the scenario, and removes everything again. Exit code: 0 PASS, 1 FAIL,
    2 usage, 3 INCONCLUSIVE or environment, 130 interrupted.
    """
    from hazd.cli.conduct import conduct
    from hazd.plan import Options

    problems: list[str] = []
    given = parse_set(options or [], problems)
    asked_by = {key: f"--{key}" for key, on in (("restart", restart), ("force", force)) if on}
    wanted = Options(
        scenario=scenario,
        compare=compare,
        timeout_s=timeout,
        max_failed=max_failed,
        given=given | dict.fromkeys(asked_by, True),
        asked_by=asked_by,
        **plan_options(cluster, fixes, fix_values, workload, traffic, repeat, output, problems=problems),
    )
    folders = tuple(scenarios or ())
    raise typer.Exit(
        conduct(
            [wanted],
            cluster.choice(),
            out=output.out,
            name=output.name,
            folders=folders,
            as_json=output.as_json,
            parallel=output.parallel,
            keep=output.keep,
        )
    )


@app.command("list")
def list_command(
    as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False,
    scenarios: Annotated[
        list[Path] | None, typer.Option("--scenarios", help="Folder with scenarios of your own.")
    ] = None,
) -> None:
    """List the scenarios, what they need and which fixes cure them."""
    from hazd.scenario import load_scenarios

    found = load_scenarios(*(scenarios or ()))
    if as_json:
        typer.echo(json.dumps([item.as_dict() for item in found.values()], indent=2))
        return
    width = max(map(len, found))
    for item in found.values():
        typer.echo(f"{item.name:<{width}}  {item.summary}")
        needs = [f"{item.workers} worker nodes" if item.workers > 1 else "", *item.needs]
        needs += ["hazd's sample app"] if item.sample_only else []
        typer.echo(
            f"{'':<{width}}  fixes: {', '.join(item.fixes) or 'none'}; needs: {', '.join(filter(None, needs)) or '-'}"
        )


__all__ = ["list_command", "run_command"]
