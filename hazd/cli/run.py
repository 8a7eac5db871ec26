"""`hazd run` and `hazd list`: the options of a run, as typer sees them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from hazd.cli import app
from hazd.errors import UsageError

FIXES = "Fixes"
APP = "Sample app"
TRAFFIC = "Traffic"
OUTPUT = "Output"


def _complete_scenario(incomplete: str) -> list[str]:
    from hazd.scenario import load_scenarios

    return [name for name in load_scenarios() if name.startswith(incomplete)]


def parse_set(pairs: list[str]) -> dict[str, Any]:
    """NAME=VALUE pairs; a value that reads as JSON is taken as such (numbers, true, lists). Raises UsageError."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {pair!r}: not NAME=VALUE", "for example --set to=8")
        try:
            found[name.strip().replace("-", "_")] = json.loads(value)
        except ValueError:
            found[name.strip().replace("-", "_")] = value
    return found


Flag = Annotated[bool, typer.Option()]


@app.command(
    "run",
    epilog="Examples:  hazd run rollout --startup-delay 2   |   hazd run rollout --with-prestop --prestop-seconds 2 "
    "--with-readiness --compare   |   hazd run drain --with-all --cluster kind --json",
)
def run_command(
    scenario: Annotated[str, typer.Argument(help="What is done to the service.", autocompletion=_complete_scenario)],
    cluster: Annotated[
        str, typer.Option(help="auto, kind, lab, or context:NAME of your kubeconfig.", rich_help_panel="Cluster")
    ] = "auto",
    with_prestop: Annotated[
        bool, typer.Option("--with-prestop/--without-prestop", help="preStop sleep.", rich_help_panel=FIXES)
    ] = False,
    prestop_seconds: Annotated[int, typer.Option(help="Length of the preStop sleep, s.", rich_help_panel=FIXES)] = 5,
    with_readiness: Annotated[
        bool, typer.Option("--with-readiness/--without-readiness", help="readinessProbe.", rich_help_panel=FIXES)
    ] = False,
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
    replicas: Annotated[int | None, typer.Option(help="Pods of the workload.", rich_help_panel=APP)] = None,
    startup_delay: Annotated[float, typer.Option(help="Time before it listens, s.", rich_help_panel=APP)] = 0.0,
    latency: Annotated[float, typer.Option(help="Time it takes to answer, ms.", rich_help_panel=APP)] = 0.0,
    cpu: Annotated[float, typer.Option(help="CPU it burns per request, ms.", rich_help_panel=APP)] = 0.0,
    max_surge: Annotated[str, typer.Option(help="Of the rolling update.", rich_help_panel=APP)] = "25%",
    max_unavailable: Annotated[str, typer.Option(help="Of the rolling update.", rich_help_panel=APP)] = "25%",
    rate: Annotated[float, typer.Option(help="Requests a second, all workers.", rich_help_panel=TRAFFIC)] = 200.0,
    connection: Annotated[str | None, typer.Option(help="both, new or reused.", rich_help_panel=TRAFFIC)] = None,
    pool: Annotated[int, typer.Option(help="Kept connections per worker.", rich_help_panel=TRAFFIC)] = 8,
    workers: Annotated[int, typer.Option(help="Worker pods.", rich_help_panel=TRAFFIC)] = 1,
    vantage: Annotated[
        list[str] | None,
        typer.Option(help="Nodes they run on: control-plane, workers, spread, node:NAME.", rich_help_panel=TRAFFIC),
    ] = None,
    sender: Annotated[str, typer.Option(help="httpx, fast or auto.", rich_help_panel=TRAFFIC)] = "auto",
    profile: Annotated[
        str | None,
        typer.Option(help="constant, poisson, ramp:FROM:TO:S, steps:RATE@S,...", rich_help_panel=TRAFFIC),
    ] = None,
    warmup: Annotated[float, typer.Option(help="Traffic before the disruption, s.", rich_help_panel=TRAFFIC)] = 3.0,
    settle: Annotated[float, typer.Option(help="Traffic after it, s.", rich_help_panel=TRAFFIC)] = 5.0,
    request_timeout: Annotated[
        float,
        typer.Option(help="Of one request, s; below 3 s no EHOSTUNREACH is ever seen.", rich_help_panel=TRAFFIC),
    ] = 5.0,
    timeout: Annotated[float, typer.Option(help="Of the disruption, s.")] = 300.0,
    max_failed: Annotated[int, typer.Option(help="Failed requests that still count as PASS.")] = 0,
    restart: Annotated[bool, typer.Option("--restart", help="rollout: restart instead of a new tag.")] = False,
    force: Annotated[bool, typer.Option("--force", help="pod-delete: grace period 0.")] = False,
    options: Annotated[list[str] | None, typer.Option("--set", help="A scenario's own option, NAME=VALUE.")] = None,
    scenarios: Annotated[
        list[Path] | None, typer.Option("--scenarios", help="Folder with scenarios of your own.")
    ] = None,
    propagation_delay: Annotated[
        float | None, typer.Option(help="lab: s until nodes hear of endpoints.", rich_help_panel="Cluster")
    ] = None,
    min_sync_period: Annotated[
        float | None, typer.Option(help="lab: kube-proxy's minSyncPeriod, s.", rich_help_panel="Cluster")
    ] = None,
    nodes: Annotated[int | None, typer.Option(help="lab: number of nodes.", rich_help_panel="Cluster")] = None,
    node_command: Annotated[
        str | None,
        typer.Option(
            help="context: shell command that stops a node, with {node} and {action}.", rich_help_panel="Cluster"
        ),
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(
            help="context: hazd's workload image in a registry its nodes reach, NAME:TAG.", rich_help_panel="Cluster"
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder that gets the run's folder.", rich_help_panel=OUTPUT)] = Path(
        "reports"
    ),
    name: Annotated[str | None, typer.Option(help="The run's name.", rich_help_panel=OUTPUT)] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print summary.json on standard output.", rich_help_panel=OUTPUT)
    ] = False,
) -> None:
    """Disrupt a service under traffic and tell what its clients lost.

    Deploys the sample app into a namespace of its own, sends traffic from inside the cluster behind a node's
    kube-proxy, runs the scenario, and removes everything again. Exit code: 0 PASS, 1 FAIL, 2 usage, 3 INCONCLUSIVE or
    environment, 130 interrupted.
    """
    from hazd.cli.conduct import ClusterChoice, conduct
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
        "grace_s": grace_seconds,
        "pdb_max_unavailable": pdb_max_unavailable,
        "pdb_min_available": pdb_min_available,
        "anti_affinity": anti_affinity,
        "topology_key": topology_key,
        "recycle_after": recycle_after,
        "min_ready_s": min_ready_seconds,
    }
    given = parse_set(options or []) | {key: True for key, on in (("restart", restart), ("force", force)) if on}
    wanted = Options(
        scenario=scenario,
        fixes=tuple(key for key, on in named.items() if on),
        all_fixes=with_all,
        compare=compare,
        rate=rate,
        connection=connection,
        pool=pool,
        profile=profile,
        sender=sender,
        workers=workers,
        vantage=tuple(vantage or ("control-plane",)),
        warmup_s=warmup,
        settle_s=settle,
        timeout_s=timeout,
        request_timeout_s=request_timeout,
        replicas=replicas,
        max_failed=max_failed,
        workload={
            "startup_delay_s": startup_delay,
            "latency_ms": latency,
            "cpu_ms": cpu,
            "max_surge": max_surge,
            "max_unavailable": max_unavailable,
        },
        settings={key: value for key, value in settings.items() if value is not None},
        given=given,
    )
    choice = ClusterChoice(
        spec=cluster,
        lab={"propagation_delay_s": propagation_delay, "min_sync_period_s": min_sync_period, "nodes": nodes},
        node_command=node_command,
        image=image,
    )
    raise typer.Exit(conduct([wanted], choice, out=out, name=name, folders=tuple(scenarios or ()), as_json=as_json))


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
        typer.echo(
            f"{'':<{width}}  fixes: {', '.join(item.fixes) or 'none'}; needs: {', '.join(filter(None, needs)) or '-'}"
        )


__all__ = ["list_command", "parse_set", "run_command"]
