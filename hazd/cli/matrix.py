"""`hazd matrix`: scenarios x fix sets, one after the other, into one report; resumable."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hazd.cli import app


@app.command(
    "matrix",
    epilog="Examples:  hazd matrix rollout drain   |   hazd matrix --cluster kind --name nightly --resume",
)
def matrix_command(
    scenarios: Annotated[list[str] | None, typer.Argument(help="Scenarios; none given: all of them.")] = None,
    cluster: Annotated[str, typer.Option(help="auto, kind, lab, or context:NAME of your kubeconfig.")] = "auto",
    each: Annotated[bool, typer.Option("--each/--no-each", help="Also every fix alone, not just none and all.")] = True,
    rate: Annotated[float, typer.Option(help="Requests a second.")] = 200.0,
    replicas: Annotated[int | None, typer.Option(help="Pods of the workload.")] = None,
    startup_delay: Annotated[float, typer.Option(help="Time before the app listens, s.")] = 2.0,
    prestop_seconds: Annotated[int, typer.Option(help="Length of the preStop sleep, s.")] = 5,
    timeout: Annotated[float, typer.Option(help="Of each disruption, s.")] = 300.0,
    folders: Annotated[
        list[Path] | None, typer.Option("--scenarios", help="Folder with scenarios of your own.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder that gets the run's folder.")] = Path("reports"),
    name: Annotated[str | None, typer.Option(help="The run's name.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Carry on with the run --name; complete trials stay.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print summary.json on standard output.")] = False,
) -> None:
    """Run scenarios with no fix, with each fix that cures something there, and with all of them.

    One report with comparison charts. A trial that cannot be run is reported and the others go on.
    """
    from hazd.cli.conduct import ClusterChoice, conduct
    from hazd.plan import Options
    from hazd.scenario import load_scenarios

    known = load_scenarios(*(folders or ()))
    wanted = [
        Options(
            scenario=scenario,
            all_fixes=True,
            compare=True,
            each=each,
            rate=rate,
            replicas=replicas,
            timeout_s=timeout,
            workload={"startup_delay_s": startup_delay},
            settings={"prestop_s": prestop_seconds},
        )
        for scenario in scenarios or known
    ]
    raise typer.Exit(
        conduct(
            wanted,
            ClusterChoice(spec=cluster),
            out=out,
            name=name,
            resume=resume,
            keep_going=True,
            folders=tuple(folders or ()),
            as_json=as_json,
        )
    )


__all__ = ["matrix_command"]
