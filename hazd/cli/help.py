"""`--help` with the options under headings: typer groups by `rich_help_panel` only with rich, which is slow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperCommand
from typer.main import get_command

ARGUMENTS, OTHERS = "Arguments", "Other options"
HELP = ("-h", "--help")


class GroupedCommand(TyperCommand):
    """A command whose help lists its options by their `rich_help_panel`, in the order in which they first come.

    A value of the wrong type is named in the error, which typer leaves out.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        words = list(args)
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            value = _value_of(getattr(error.param, "opts", ()), words)
            if value is not None:
                error.message = f"{value!r}: {error.message}"
            raise

    def format_options(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {ARGUMENTS: []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                is_argument = parameter.param_type_name == "argument"
                title = ARGUMENTS if is_argument else getattr(parameter, "rich_help_panel", None) or OTHERS
                groups.setdefault(title, []).append(record)
        for title in sorted(groups, key=OTHERS.__eq__):
            if groups[title]:
                with formatter.section(title):
                    formatter.write_dl(groups[title])


def help_of(app: typer.Typer, words: Sequence[str]) -> str | None:
    """What `COMMAND... --help` shows; None for any other line.

    typer converts the values of the group's own options first, by pydantic, which takes longer to load than the rest.
    """
    if not words or words[-1] not in HELP:
        return None
    command: Any = get_command(app)
    context = command.context_class(command, info_name=command.name, **command.context_settings)
    for word in words[:-1]:
        command = getattr(command, "commands", {}).get(word)
        if command is None:
            return None
        context = command.context_class(command, info_name=word, parent=context, **command.context_settings)
    return str(context.get_help())


def _value_of(flags: Sequence[str], words: Sequence[str]) -> str | None:
    """What a command line gives an option, as `--rate fast` or `--rate=fast`, the last time it comes."""
    found = None
    for word, following in zip(words, [*words[1:], ""], strict=False):
        flag, equals, value = word.partition("=")
        if flag in flags:
            found = value if equals else following
    return found


__all__ = ["GroupedCommand", "help_of"]
