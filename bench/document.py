"""Puts a benchmark's table into the document that shows it, between two comments that mark its place."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
END = "<!-- end of table -->"


def put_table(document: Path, command: str, table: str) -> None:
    """Replace what stands between `<!-- table: COMMAND -->` and the next end mark. Raises ValueError without them."""
    begin = f"<!-- table: {command} -->"
    before, found, rest = document.read_text().partition(begin)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"{document}: no place for a table between {begin} and {END}")
    document.write_text(f"{before}{begin}\n{table}\n{END}{after}")


__all__ = ["END", "ROOT", "put_table"]
