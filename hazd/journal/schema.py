"""What lies in a run's folder: the names of the files, and the Arrow columns of a sample, derived from hazd/record.py.

reports/<run>/run.json, then one folder a trial under trials/: trial.json (what was asked and how it ended),
events.jsonl, samples.arrows while it runs (an Arrow IPC stream, at most half a second behind, in the order of
fetching), samples.arrow once it is complete (an Arrow IPC file, all workers merged in the order of due times;
pandas.read_feather, polars and DuckDB read it).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from enum import EnumType
from typing import Any

from hazd.errors import JournalError
from hazd.record import DTYPE_FIELDS, FIELDS, RECORD, Field, Holds

SCHEMA = 2
"""2 (2026-11-24): run.json and trial.json carry a checksum, trial.json those of the other files as well."""
STREAM_FILE, SAMPLES_FILE, EVENTS_FILE, TRIAL_FILE, RUN_FILE = (
    "samples.arrows",
    "samples.arrow",
    "events.jsonl",
    "trial.json",
    "run.json",
)
CHECKSUM = "sha256"
"""The field of run.json and trial.json with the checksum of all their other fields."""
CHECKSUMS = "files"
"""The field of trial.json with the checksum (SHA-256) of each file that was closed with the trial."""
_WIDTHS = {"B": 8, "H": 16, "I": 32}


def sample_schema() -> Any:
    """Arrow schema of samples: one row a request; `_ns` columns are ns since the epoch, null where it never came."""
    import pyarrow as pa

    columns = [("worker", pa.uint8()), *((field.name, _arrow_type(field)) for field in FIELDS)]
    return pa.schema(columns, metadata={"hazd.schema": "1"})


def _arrow_type(field: Field) -> Any:
    import pyarrow as pa

    if isinstance(field.holds, EnumType):
        return pa.dictionary(pa.int8(), pa.string())
    match field.holds:
        case Holds.STREAM | Holds.POD:
            return pa.string()
        case Holds.TIME:
            return pa.int64()
    return getattr(pa, f"uint{_WIDTHS[field.code]}")()


def labels_of(field: Field) -> list[str] | None:
    """The words of a field that holds codes of an enum, by code; None for any other field."""
    return [item.label for item in field.holds] if isinstance(field.holds, EnumType) else None


def decode_records(raw: bytes, worker: int, streams: Sequence[str], pods: Sequence[str], offset_ns: int = 0) -> Any:
    """64-byte records as an Arrow batch. offset_ns is added to every time (controller clock - worker clock).

    Raises JournalError when a code is out of range: a record that cannot be read is never guessed at.
    """
    import numpy as np
    import pyarrow as pa

    if len(raw) % RECORD.size:
        raise JournalError(f"{len(raw)} bytes of records are not a multiple of {RECORD.size}")
    rows = np.frombuffer(raw, dtype=np.dtype(DTYPE_FIELDS))
    columns: list[Any] = [pa.array(np.full(len(rows), worker, dtype=np.uint8))]
    tables: dict[object, list[str]] = {Holds.STREAM: list(streams), Holds.POD: list(pods)}
    for field in FIELDS:
        values, labels = rows[field.name], labels_of(field)
        words = labels or tables.get(field.holds)
        if words is not None and len(rows) and int(values.max()) >= len(words):
            raise JournalError(f"record field {field.name}: {int(values.max())} is not below {len(words)}")
        if labels is not None:
            columns.append(pa.DictionaryArray.from_arrays(values.astype(np.int8), pa.array(labels)))
        elif words is not None:
            columns.append(pa.array(np.asarray(words, dtype=object)[values], type=pa.string()))
        elif field.holds is Holds.TIME:
            columns.append(pa.array(values.astype(np.int64) + offset_ns, mask=(values == 0)))
        else:
            columns.append(pa.array(np.ascontiguousarray(values)))
    return pa.RecordBatch.from_arrays(columns, schema=sample_schema())


def checksum_of(fields: Mapping[str, Any]) -> str:
    """SHA-256 of a JSON object, without its own checksum; the order of its keys and its layout do not matter."""
    rest = {name: value for name, value in fields.items() if name != CHECKSUM}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


__all__ = [
    "CHECKSUM",
    "CHECKSUMS",
    "EVENTS_FILE",
    "RUN_FILE",
    "SAMPLES_FILE",
    "SCHEMA",
    "STREAM_FILE",
    "TRIAL_FILE",
    "checksum_of",
    "decode_records",
    "labels_of",
    "sample_schema",
]
