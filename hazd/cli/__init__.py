"""The command line: parse, one call, exit code. Nothing heavy is imported until a command runs.

Exit codes: 0 PASS, 1 FAIL, 2 usage, 3 INCONCLUSIVE or environment, 130 interrupted.
"""

from __future__ import annotations

import importlib
import sys
from typing import Annotated

import typer

from hazd import __version__
from hazd.cli.help import HELP, help_of
from hazd.errors import EXIT_INTERRUPTED, HazdError

app = typer.Typer(
    name="hazd",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": list(HELP), "max_content_width": 110},
    help="Tell whether a Kubernetes service stays up while it is rolled, scaled, drained or rescheduled, why not, and "
    "what the smallest fix is.\n\n"
    "Start with `hazd run rollout --startup-delay 2 --compare --with-prestop --with-readiness "
    "--with-graceful-shutdown`.",
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"hazd {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point of the `hazd` command; turns a HazdError into one message, a hint and its exit code."""
    # Each module registers its commands when it is imported; the order is that of --help.
    for module in ("run", "matrix", "compare", "reports", "cluster"):
        importlib.import_module(f"hazd.cli.{module}")
    shown = help_of(app, sys.argv[1:])
    if shown is not None:
        typer.echo(shown)
        return
    try:
        app()
    except HazdError as error:
        typer.secho(f"error: {error.message}", fg=typer.colors.RED, err=True)
        if error.hint:
            typer.secho(f"hint: {error.hint}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


__all__ = ["app", "main"]
