"""`hazd run` and `hazd list`: the options of a run, as typer sees them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hazd.cli import app
from hazd.cli.options import AppOptions, ClusterOptions, OutputOptions, TrafficOptions, plan_options, with_groups
from hazd.cli.words import parse_set

FIXES = "Fixes"


def _complete_scenario(incomplete: str) -> list[str]:
    from hazd.scenario import load_scenarios

    return [name for name in load_scenarios() if name.startswith(incomplete)]


@app.command(
    "run",
    epilog="Examples:  hazd run rollout --startup-delay 2   |   hazd run rollout --with-prestop --prestop-seconds 2 "
    "--with-readiness --compare   |   hazd run drain --with-all --cluster kind --json",
)
@with_groups
def run_command(
    scenario: Annotated[str, typer.Argument(help="What is done to the service.", autocompletion=_complete_scenario)],
    *,
    cluster: ClusterOptions,
    with_prestop: Annotated[
        bool, typer.Option("--with-prestop/--without-prestop", help="preStop sleep.", rich_help_panel=FIXES)
    ] = False,
    prestop_seconds: Annotated[int, typer.Option(help="Length of the preStop sleep, s.", rich_help_panel=FIXES)] = 5,
    with_readiness: Annotated[
        bool, typer.Option("--with-readiness/--without-readiness", help="readinessProbe.", rich_help_panel=FIXES)
    ] = False,
    readiness_path: Annotated[
        str | None,
        typer.Option(help="Of the probe; own workloads get a TCP probe without.", rich_help_panel=FIXES),
    ] = None,
    with_graceful_shutdown: Annotated[
        bool,
        typer.Option(
            "--with-graceful-shutdown/--without-graceful-shutdown",
            help="On SIGTERM finish what is in flight.",
            rich_help_panel=FIXES,
        ),
    ] = False,
    with_pdb: Annotated[
        bool, typer.Option("--with-pdb/--without-pdb", help="PodDisruptionBudget.", rich_help_panel=FIXES)
    ] = False,
    pdb_max_unavailable: Annotated[
        str | None, typer.Option(help="maxUnavailable of the budget (default 1).", rich_help_panel=FIXES)
    ] = None,
    pdb_min_available: Annotated[
        str | None, typer.Option(help="minAvailable instead of maxUnavailable.", rich_help_panel=FIXES)
    ] = None,
    with_anti_affinity: Annotated[
        bool,
        typer.Option(
            "--with-anti-affinity/--without-anti-affinity", help="Replicas on different nodes.", rich_help_panel=FIXES
        ),
    ] = False,
    anti_affinity: Annotated[str, typer.Option(help="preferred or required.", rich_help_panel=FIXES)] = "preferred",
    topology_key: Annotated[
        str, typer.Option(help="What counts as different.", rich_help_panel=FIXES)
    ] = "kubernetes.io/hostname",
    with_recycle: Annotated[
        bool,
        typer.Option(
            "--with-recycle/--without-recycle",
            help="Close a connection after --recycle-after requests.",
            rich_help_panel=FIXES,
        ),
    ] = False,
    recycle_after: Annotated[
        int | None, typer.Option(help="Requests a connection may carry (default 1000).", rich_help_panel=FIXES)
    ] = None,
    with_min_ready_seconds: Annotated[
        bool,
        typer.Option(
            "--with-min-ready-seconds/--without-min-ready-seconds", help="minReadySeconds.", rich_help_panel=FIXES
        ),
    ] = False,
    min_ready_seconds: Annotated[int, typer.Option(help="Its value, s.", rich_help_panel=FIXES)] = 5,
    grace_seconds: Annotated[
        int | None, typer.Option(help="terminationGracePeriodSeconds (default 30).", rich_help_panel=FIXES)
    ] = None,
    with_all: Annotated[
        bool, typer.Option("--with-all", help="Every fix that cures something here.", rich_help_panel=FIXES)
    ] = False,
    compare: Annotated[
        bool, typer.Option("--compare", help="Run without any fix first, then with the named ones.")
    ] = False,
    workload: AppOptions,
    traffic: TrafficOptions,
    timeout: Annotated[float, typer.Option(help="Of the disruption, s.")] = 300.0,
    max_failed: Annotated[int, typer.Option(help="Failed requests that still count as PASS.")] = 0,
    restart: Annotated[bool, typer.Option("--restart", help="rollout: restart instead of a new tag.")] = False,
    force: Annotated[bool, typer.Option("--force", help="pod-delete: grace period 0.")] = False,
    options: Annotated[list[str] | None, typer.Option("--set", help="A scenario's own option, NAME=VALUE.")] = None,
    scenarios: Annotated[
        list[Path] | None, typer.Option("--scenarios", help="Folder with scenarios of your own.")
    ] = None,
    output: OutputOptions,
) -> None:
    """Disrupt a service under traffic and tell what its clients lost.

    Deploys the sample app, or with --workload your own, into a namespace of its own, sends traffic from inside the
    cluster behind a node's kube-proxy, runs the scenario, and removes everything again. Exit code: 0 PASS, 1 FAIL,
    2 usage, 3 INCONCLUSIVE or environment, 130 interrupted.
    """
    from hazd.cli.conduct import conduct
    from hazd.plan import Options

    named = {
        "prestop": with_prestop,
        "readiness": with_readiness,
        "graceful-shutdown": with_graceful_shutdown,
        "pdb": with_pdb,
        "anti-affinity": with_anti_affinity,
        "recycle": with_recycle,
        "grace": grace_seconds is not None,
        "min-ready-seconds": with_min_ready_seconds,
    }
    settings = {
        "prestop_s": prestop_seconds,
        "readiness_path": readiness_path,
        "grace_s": grace_seconds,
        "pdb_max_unavailable": pdb_max_unavailable,
        "pdb_min_available": pdb_min_available,
        "anti_affinity": anti_affinity,
        "topology_key": topology_key,
        "recycle_after": recycle_after,
        "min_ready_s": min_ready_seconds,
    }
    problems: list[str] = []
    given = parse_set(options or [], problems)
    given |= {key: True for key, on in (("restart", restart), ("force", force)) if on}
    wanted = Options(
        scenario=scenario,
        fixes=tuple(key for key, on in named.items() if on),
        all_fixes=with_all,
        compare=compare,
        timeout_s=timeout,
        max_failed=max_failed,
        settings={key: value for key, value in settings.items() if value is not None},
        given=given,
        **plan_options(workload, traffic, problems=problems),
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
