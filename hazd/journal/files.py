"""The record of a run on disk: an append-only writer and a reader that forgives a torn end.

reports/<run>/run.json, then one folder a trial under trials/: trial.json (what was asked and how it ended),
events.jsonl, samples.arrows while it runs (an Arrow IPC stream, at most half a second behind, in the order of
fetching), samples.arrow once it is complete (an Arrow IPC file, all workers merged in the order of due times;
pandas.read_feather, polars and DuckDB read it). Nothing here judges.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hazd.errors import JournalError
from hazd.journal.flows import read_flows
from hazd.journal.merge import ORDER, earliest_due_ns, merge_batches
from hazd.model import Connection, Event, FailureKind, Phase, Ref, TrialRecord
from hazd.record import DTYPE_FIELDS, RECORD

SCHEMA = 1
STREAM_FILE, SAMPLES_FILE, EVENTS_FILE, TRIAL_FILE, RUN_FILE = (
    "samples.arrows",
    "samples.arrow",
    "events.jsonl",
    "trial.json",
    "run.json",
)
_CODES: dict[str, list[str]] = {
    "connection": [item.label for item in Connection],
    "kind": [item.label for item in FailureKind],
    "phase": [item.label for item in Phase],
}


def sample_schema() -> Any:
    """Arrow schema of samples: one row a request; `_ns` columns are ns since the epoch, null where it never came."""
    import pyarrow as pa

    words = pa.dictionary(pa.int8(), pa.string())
    return pa.schema(
        [
            ("worker", pa.uint8()),
            ("seq", pa.uint32()),
            ("stream", pa.string()),
            ("connection", words),
            ("kind", words),
            ("phase", words),
            ("status", pa.uint16()),
            ("errno", pa.uint16()),
            ("pod", pa.string()),
            ("local_port", pa.uint16()),
            ("due_ns", pa.int64()),
            ("sent_ns", pa.int64()),
            ("connected_ns", pa.int64()),
            ("first_byte_ns", pa.int64()),
            ("done_ns", pa.int64()),
            ("served", pa.uint32()),
            ("conn", pa.uint32()),
        ],
        metadata={"hazd.schema": str(SCHEMA)},
    )


def decode_records(raw: bytes, worker: int, streams: Sequence[str], pods: Sequence[str], offset_ns: int = 0) -> Any:
    """64-byte records as an Arrow batch. offset_ns is added to every time (controller clock - worker clock).

    Raises JournalError when a code is out of range: a record that cannot be read is never guessed at.
    """
    import numpy as np
    import pyarrow as pa

    if len(raw) % RECORD.size:
        raise JournalError(f"{len(raw)} bytes of records are not a multiple of {RECORD.size}")
    rows = np.frombuffer(raw, dtype=np.dtype(DTYPE_FIELDS))
    schema = sample_schema()
    limits = {"stream": len(streams), "pod": len(pods)} | {name: len(words) for name, words in _CODES.items()}
    for name, limit in limits.items():
        if len(rows) and int(rows[name].max()) >= limit:
            raise JournalError(f"record field {name}: {int(rows[name].max())} is not below {limit}")
    columns: list[Any] = []
    for column in schema:
        name = column.name
        if name == "worker":
            columns.append(pa.array(np.full(len(rows), worker, dtype=np.uint8)))
        elif name in _CODES:
            columns.append(pa.DictionaryArray.from_arrays(rows[name].astype(np.int8), pa.array(_CODES[name])))
        elif name in ("stream", "pod"):
            names = np.asarray(list(streams if name == "stream" else pods), dtype=object)
            columns.append(pa.array(names[rows[name]], type=pa.string()))
        elif name.endswith("_ns"):
            values = rows[name].astype(np.int64)
            columns.append(pa.array(values + offset_ns, mask=(values == 0)))
        else:
            columns.append(pa.array(np.ascontiguousarray(rows[name])))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file so that a reader sees the old or the new one, never half."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(value, indent=2, default=_plain) + "\n")
    os.replace(part, path)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    raise TypeError(f"{type(value).__name__} does not go into JSON")


class TrialWriter:
    """Writes one trial's folder. Open it, add batches and events as they come, close it; no call keeps data back."""

    def __init__(self, folder: Path, meta: Mapping[str, Any]) -> None:
        import pyarrow as pa

        folder.mkdir(parents=True, exist_ok=False)
        self.folder = folder
        self.meta = dict(meta) | {"state": "running"}
        write_json(folder / TRIAL_FILE, self.meta)
        self._events = (folder / EVENTS_FILE).open("a", buffering=1)
        self._sink = (folder / STREAM_FILE).open("wb", buffering=0)
        self._stream = pa.ipc.new_stream(self._sink, sample_schema())

    def add_samples(self, batch: Any) -> None:
        if batch.num_rows:
            self._stream.write_batch(batch)

    def add_event(self, event: Event) -> None:
        self._events.write(json.dumps(asdict(event), default=_plain) + "\n")

    def update(self, **fields: Any) -> None:
        """Merge fields into trial.json at once."""
        self.meta.update(fields)
        write_json(self.folder / TRIAL_FILE, self.meta)

    def recorded_seqs(self, worker: int) -> Iterator[int]:
        """The sequence numbers of a worker's records as far as they were added."""
        import pyarrow.compute as pc

        for batch in _stream_batches(self.folder / STREAM_FILE):
            yield from batch.column("seq").filter(pc.equal(batch.column("worker"), worker)).to_numpy().tolist()

    def close(self, state: str) -> None:
        """state: complete, failed or interrupted. The stream becomes a file that any Arrow reader opens.

        All workers' records are merged by due time on the way; the stream stays until the file is whole.
        """
        import pyarrow as pa

        self._stream.close()
        self._sink.close()
        self._events.close()
        part = self.folder / (SAMPLES_FILE + ".part")
        with (
            pa.OSFile(str(part), "wb") as sink,
            pa.ipc.new_file(sink, sample_schema(), options=pa.ipc.IpcWriteOptions(compression="zstd")) as out,
        ):
            earliest_ns = earliest_due_ns(_stream_batches(self.folder / STREAM_FILE))
            for batch in merge_batches(_stream_batches(self.folder / STREAM_FILE), earliest_ns):
                out.write_batch(batch)
        os.replace(part, self.folder / SAMPLES_FILE)
        (self.folder / STREAM_FILE).unlink()
        self.update(state=state)


def _stream_batches(path: Path) -> Iterator[Any]:
    """The batches of a samples.arrows one by one. Raises ArrowInvalid or OSError where it is torn."""
    import pyarrow as pa

    with pa.OSFile(str(path), "rb") as source:
        yield from pa.ipc.open_stream(source)


def read_run(folder: Path) -> dict[str, Any]:
    """run.json of a run folder. Raises JournalError when the folder is no run."""
    try:
        found: dict[str, Any] = json.loads((folder / RUN_FILE).read_text())
    except (OSError, ValueError) as error:
        raise JournalError(f"{folder} is not a run of hazd: {error}", "name a folder below reports/") from None
    return found


def trial_folders(folder: Path) -> list[Path]:
    """Folders of a run's trials in the order they were planned; those that never began are left out."""
    planned = [str(item["name"]) for item in read_run(folder).get("trials", [])]
    return [folder / "trials" / name for name in planned if (folder / "trials" / name / TRIAL_FILE).exists()]


def trial_state(folder: Path) -> str:
    """running, complete, failed or interrupted as trial.json says it; "" when there is no trial."""
    try:
        return str(json.loads((folder / TRIAL_FILE).read_text()).get("state", ""))
    except (OSError, ValueError):
        return ""


def discard_trial(folder: Path) -> None:
    """Remove an incomplete trial so that it can be run again; nothing when there is none."""
    if folder.exists():
        shutil.rmtree(folder)


def read_trial(folder: Path) -> TrialRecord:
    """A trial as far as it got; `problems` names all that is missing or torn. Raises JournalError for no trial."""
    import pyarrow as pa

    problems: list[str] = []
    try:
        meta = json.loads((folder / TRIAL_FILE).read_text())
    except (OSError, ValueError) as error:
        raise JournalError(f"{folder} is not a trial of hazd: {error}") from None
    if meta.get("state") not in ("complete", "failed"):
        problems.append(f"the trial did not end by itself (state {meta.get('state')!r})")
    batches: list[Any] = []
    try:
        if (folder / SAMPLES_FILE).exists():
            with pa.OSFile(str(folder / SAMPLES_FILE), "rb") as source:
                reader = pa.ipc.open_file(source)
                batches = [reader.get_batch(index) for index in range(reader.num_record_batches)]
        elif (folder / STREAM_FILE).exists():
            for batch in _stream_batches(folder / STREAM_FILE):
                batches.append(batch)
            problems.append("samples were read from an unfinished stream: up to the last half second is missing")
        else:
            problems.append("there are no samples")
    except (pa.ArrowInvalid, OSError) as error:
        problems.append(f"the samples end in a torn batch: {error}")
    table = pa.Table.from_batches(batches, schema=sample_schema())
    frame = table.to_pandas(types_mapper=None).sort_values([name for name, _ in ORDER], ignore_index=True)
    flows = None
    try:
        flows = read_flows(folder)
    except (pa.ArrowInvalid, OSError) as error:
        problems.append(f"the observed flows cannot be read: {error}")
    events = tuple(_read_events(folder / EVENTS_FILE, problems))
    return TrialRecord(folder.name, meta, frame, events, tuple(problems), flows)


def _read_events(path: Path, problems: list[str]) -> list[Event]:
    events: list[Event] = []
    if not path.exists():
        problems.append("there are no events")
        return events
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            fields = json.loads(line)
            fields["ref"] = Ref(**fields["ref"])
            events.append(Event(**fields))
        except (ValueError, TypeError, KeyError) as error:
            problems.append(f"{path.name} line {number} is torn: {error}")
    return sorted(events, key=lambda event: event.observed_ns)


__all__ = [
    "TrialWriter",
    "decode_records",
    "discard_trial",
    "read_run",
    "read_trial",
    "sample_schema",
    "trial_folders",
    "trial_state",
    "write_json",
]
