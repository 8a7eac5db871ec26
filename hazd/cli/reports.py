"""`hazd report` and `hazd fix`: what can be told from files alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hazd.cli import app
from hazd.errors import UsageError


@app.command("report", epilog="Example:  hazd report reports/20261121-101500-rollout")
def report_command(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print summary.json on standard output.")] = False,
) -> None:
    """Analyse a recorded run again and write its report anew; works on interrupted runs as well."""
    from hazd.cli.conduct import EXIT_OF, report

    raise typer.Exit(EXIT_OF[report(run, as_json=as_json)["verdict"]])


@app.command("fix", epilog="Examples:  hazd fix prestop   |   hazd fix readiness --file deployment.yaml")
def fix_command(
    name: Annotated[str | None, typer.Argument(help="Which fix; none: list them all.")] = None,
    file: Annotated[Path | None, typer.Option(help="Your own manifests instead of the sample app.")] = None,
    prestop_seconds: Annotated[int | None, typer.Option(help="For prestop, s (default 5).")] = None,
) -> None:
    """Show a fix as a diff of manifests, with the race that it cures and the one it does not."""
    from hazd.fixes import FixSettings, load
    from hazd.manifests import diff, load_documents
    from hazd.model import Setup
    from hazd.sample_app.manifests import sample_workload

    fixes = load()
    if name is None:
        for item in fixes.values():
            typer.echo(f"{item.name:<18} {item.summary}")
        return
    if name not in fixes:
        raise UsageError(f"fix: {name!r} is not one of {', '.join(fixes)}", "`hazd fix` lists them")
    item = fixes[name]
    if prestop_seconds is not None and "prestop_s" not in item.inputs:
        raise UsageError(f"--prestop-seconds: {prestop_seconds} is for prestop, not for {name}", "`hazd fix prestop`")
    before = load_documents(file) if file else sample_workload(image="hazd/workload:example", replicas=4)
    settings = FixSettings() if prestop_seconds is None else FixSettings(prestop_s=prestop_seconds)
    after, _ = item.apply(Setup(before), settings)
    typer.echo(f"# {item.name}: {item.summary}\n# cures: {item.cures}\n# does not cure: {item.not_cures}")
    typer.echo(diff(before, after.documents) or "# nothing to change")


__all__ = ["fix_command", "report_command"]
