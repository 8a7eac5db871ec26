"""`--help` with the options under headings: typer groups by `rich_help_panel` only with rich, which is slow."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

ARGUMENTS, OTHERS = "Arguments", "Other options"


class GroupedCommand(TyperCommand):
    """A command whose help lists its options by their `rich_help_panel`, in the order in which they first come."""

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


__all__ = ["GroupedCommand"]
