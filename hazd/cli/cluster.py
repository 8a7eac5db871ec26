"""`hazd cluster`, `hazd doctor`, `hazd clean`: hazd's own kind cluster, what is missing, what was left behind."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from hazd.cli import app
from hazd.errors import EXIT_INCONCLUSIVE

T = TypeVar("T")
group = typer.Typer(no_args_is_help=True, help="hazd's own kind cluster.", rich_markup_mode=None)
app.add_typer(group, name="cluster")


def _go(work: Callable[..., Awaitable[T]], *args: object) -> T:
    """anyio.run, imported only when a command runs."""
    import anyio

    return anyio.run(work, *args)


def _say(text: str) -> None:
    typer.echo(text, err=True)


@group.command("create", epilog="Examples:  hazd cluster create   |   hazd cluster create --image kindest/node:v1.34.0")
def create(
    config: Annotated[Path | None, typer.Option(help="kind's configuration instead of hazd's.")] = None,
    image: Annotated[str | None, typer.Option(help="Node image instead of the one found, pulled or built.")] = None,
    retain: Annotated[bool, typer.Option("--retain", help="Keep the nodes when creation fails.")] = False,
) -> None:
    """Create the kind cluster; nothing is installed, and your kubeconfig stays as it is."""
    from hazd.cluster.kind import lifecycle as kind

    async def work() -> str:
        return await kind.create(config=config, image=image, retain=retain, progress=_say)

    typer.echo(_go(work))


@group.command("status")
def status(as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False) -> None:
    """Show whether the kind cluster is there, and its state."""
    from hazd.cluster.kind import lifecycle as kind

    found = _go(kind.status)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for key, value in found.items():
        typer.echo(f"{key}: {', '.join(map(str, value)) if isinstance(value, list) else value}")


@group.command("delete")
def delete() -> None:
    """Delete the kind cluster; the node image and caches stay."""
    from hazd.cluster.kind import lifecycle as kind

    async def work() -> None:
        await kind.delete(progress=_say)

    _go(work)


@app.command("doctor")
def doctor(as_json: Annotated[bool, typer.Option("--json", help="For scripts.")] = False) -> None:
    """Check this machine for everything hazd can use; what is missing is named with its remedy."""
    from hazd.cluster import doctor as checks

    found = _go(checks.examine)
    if as_json:
        typer.echo(json.dumps([item.as_dict() for item in found], indent=2))
    else:
        for item in found:
            typer.secho(f"{'ok  ' if item.ok else 'MISS'}  {item.name}: {item.found}", fg=None if item.ok else "yellow")
            if not item.ok:
                typer.echo(f"      remedy: {item.remedy}")
    if not checks.usable(found):
        raise typer.Exit(EXIT_INCONCLUSIVE)


@app.command("clean")
def clean(
    cluster: Annotated[
        list[str] | None, typer.Option(help="kind, lab or context:NAME; default: kind if it runs, and the lab.")
    ] = None,
    node_command: Annotated[
        str | None, typer.Option(help="context: shell command that starts a node, with {node} and {action}.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also what runs that are under way hold.")] = False,
) -> None:
    """Remove what a killed run left: namespaces, cordons, stopped nodes, lab processes.

    Safe to repeat. Runs that are under way, on this machine or elsewhere, are left alone unless --all is given; a run
    that was killed on another machine counts as under way until its Lease has run out, three minutes.
    """
    from hazd.trial.cleanup import clean_all

    lines: list[str] = []

    def report(line: str) -> None:
        lines.append(line)
        typer.echo(line)

    _go(clean_all, tuple(cluster or ()), node_command, report, everything)
    if not lines:
        typer.echo("nothing was left")


__all__ = ["clean", "create", "delete", "doctor", "status"]
