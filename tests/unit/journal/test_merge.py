"""The merge of several workers' records: the sorted union, nothing lost, nothing doubled, and little held at a time."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from hazd.journal import TrialWriter, decode_records, read_trial
from hazd.journal.merge import earliest_due_ns, merge_batches
from hazd.model import TrafficPlan
from hazd.record import FIELDS, RECORD
from hazd.traffic.pacer import due_times

T0 = 1_790_000_000_000_000_000
SCHEMA = pa.schema([("due_ns", pa.int64()), ("worker", pa.uint8()), ("seq", pa.uint32())])
Row = tuple[int, int, int]
BATCHES = st.lists(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 3), st.integers(0, 99)), min_size=1, max_size=12),
    max_size=12,
)


def batch_of(rows: list[Row]) -> Any:
    columns = zip(*rows, strict=True)
    return pa.RecordBatch.from_arrays(
        [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)], schema=SCHEMA
    )


def rows_of(batch: Any) -> list[Row]:
    return list(zip(*(column.to_pylist() for column in batch.columns), strict=True))


@settings(deadline=None)
@given(BATCHES, st.integers(1, 30))
def test_the_merge_is_the_sorted_union(batches: list[list[Row]], least_rows: int) -> None:
    """Whatever the disorder within and between batches, and however many rows are gathered before a sort."""
    made = [batch_of(rows) for rows in batches]
    merged = [row for part in merge_batches(made, earliest_due_ns(made), least_rows) for row in rows_of(part)]
    assert merged == sorted(row for rows in batches for row in rows)


def test_no_more_is_held_than_overlaps() -> None:
    """Two workers of 500 batches whose records come up to two batches late: some batches are held, never the run."""
    batches = []
    for step in range(500):
        for worker in (0, 1):
            rows = [(step * 10 + n - (20 if n == 0 else 0), worker, step * 10 + n) for n in range(10)]
            batches.append(batch_of(sorted(rows, key=lambda row: -row[2])))
    taken = given_out = most = 0

    def source() -> Iterator[Any]:
        nonlocal taken, most
        for batch in batches:
            taken += batch.num_rows
            most = max(most, taken - given_out)
            yield batch

    for part in merge_batches(source(), earliest_due_ns(batches), 40):
        given_out += part.num_rows
    assert taken == given_out == 10_000
    assert most <= 200


def raw_record(seq: int, due_ns: int) -> bytes:
    values = dict.fromkeys((field.name for field in FIELDS), 0) | {"seq": seq, "due_ns": due_ns, "done_ns": due_ns}
    return RECORD.pack(*(values[field.name] for field in FIELDS))


def write_shards(writer: TrialWriter, shards: int, number: int) -> None:
    """A schedule as `shards` workers record it: each its own part, late answers first, fetched in turns."""
    plan = TrafficPlan("http://x", 100.0, ())
    turns = []
    for shard in range(shards):
        times = due_times(replace(plan, shard=shard, shards=shards), T0)
        mine = [raw_record(*next(times)) for _ in range(number // shards)]
        turns.append([mine[start : start + 7][::-1] for start in range(0, len(mine), 7)])
    for parts in zip(*turns, strict=True):
        for shard, part in enumerate(parts):
            writer.add_samples(decode_records(b"".join(part), shard, ["new"], [""]))


def test_a_closed_trial_holds_all_workers_in_one_order(tmp_path: Path) -> None:
    """samples.arrow itself, as any Arrow reader sees it: one schedule, each request once, by due time."""
    writer = TrialWriter(tmp_path / "trial", {"name": "trial"})
    write_shards(writer, 3, 630)
    assert sorted(writer.recorded_seqs(1)) == list(range(1, 630, 3))
    writer.close("complete")
    table = pa.ipc.open_file(str(tmp_path / "trial" / "samples.arrow")).read_all()
    assert table.column("seq").to_pylist() == list(range(630))
    assert set(table.column("worker").to_pylist()) == {0, 1, 2}
    assert not (tmp_path / "trial" / "samples.arrows").exists()


def test_a_torn_stream_of_several_workers_gives_what_is_whole(tmp_path: Path) -> None:
    """Killed in the middle of a batch: every batch before it is read, in order, and the tear is named."""
    writer = TrialWriter(tmp_path / "trial", {"name": "trial"})
    write_shards(writer, 2, 280)
    whole = (tmp_path / "trial" / "samples.arrows").stat().st_size
    writer.add_samples(decode_records(raw_record(280, T0 + 10**10), 0, ["new"], [""]))
    killed = shutil.copytree(tmp_path / "trial", tmp_path / "killed")
    writer.close("complete")
    with (killed / "samples.arrows").open("r+b") as file:
        file.truncate((whole + (killed / "samples.arrows").stat().st_size) // 2)
    found = read_trial(killed)
    assert list(found.samples["seq"]) == list(range(280))
    assert any("torn" in text for text in found.problems)
