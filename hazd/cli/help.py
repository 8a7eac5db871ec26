"""`--help` with the options under headings: typer groups by `rich_help_panel` only with rich, which is slow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperCommand

ARGUMENTS, OTHERS = "Arguments", "Other options"


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


def _value_of(flags: Sequence[str], words: Sequence[str]) -> str | None:
    """What a command line gives an option, as `--rate fast` or `--rate=fast`, the last time it comes."""
    found = None
    for word, following in zip(words, [*words[1:], ""], strict=False):
        flag, equals, value = word.partition("=")
        if flag in flags:
            found = value if equals else following
    return found


__all__ = ["GroupedCommand"]
