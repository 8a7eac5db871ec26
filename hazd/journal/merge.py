"""Puts the batches of several workers into one order of time while holding only what still overlaps.

A stream has its batches in the order in which they were fetched, and each of them its records in the order in which
requests ended. Two passes make a merge of it that is exact whatever the disorder: the first notes the earliest due time
of each batch, the second hands out every row that no later batch can come before. Memory is that of the rows in the
disorder, that is of about a timeout of traffic, not that of the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

ORDER = (("due_ns", "ascending"), ("worker", "ascending"), ("seq", "ascending"))
"""Due time first; the rest makes the order of equals the same in every reading."""
LEAST_ROWS = 16_384
"""Rows are gathered up to here before they are sorted, so that many small batches do not become as many small sorts."""


def earliest_due_ns(batches: Iterable[Any]) -> list[int]:
    """The first pass: of each record batch (which must not be empty) its smallest due_ns."""
    import pyarrow.compute as pc

    return [int(pc.min(batch.column("due_ns")).as_py()) for batch in batches]


def merge_batches(batches: Iterable[Any], earliest_ns: Sequence[int], least_rows: int = LEAST_ROWS) -> Iterator[Any]:
    """The second pass: the rows of all batches as record batches in ORDER; earliest_ns is what the first pass gave."""
    import pyarrow as pa
    import pyarrow.compute as pc

    horizons = _earliest_of_the_rest(earliest_ns)
    held: list[Any] = []
    for batch, horizon in zip(batches, horizons, strict=True):
        held.append(batch)
        if sum(part.num_rows for part in held) < least_rows and horizon is not None:
            continue
        rows = pa.Table.from_batches(held).sort_by(list(ORDER)).combine_chunks()
        done = rows.num_rows
        if horizon is not None:  # sorted, so those before the horizon are the first ones
            done = pc.sum(pc.less(rows.column("due_ns"), horizon)).as_py() or 0
        yield from rows.slice(0, done).to_batches()
        # A slice would keep what was handed out alive.
        held = rows.take(pa.array(range(done, rows.num_rows), pa.int64())).to_batches()


def _earliest_of_the_rest(earliest_ns: Sequence[int]) -> list[int | None]:
    """For each batch the smallest due_ns of all after it; None after the last."""
    found: list[int | None] = []
    least: int | None = None
    for value in reversed(earliest_ns):
        found.append(least)
        least = value if least is None else min(least, value)
    return found[::-1]


__all__ = ["LEAST_ROWS", "ORDER", "earliest_due_ns", "merge_batches"]
