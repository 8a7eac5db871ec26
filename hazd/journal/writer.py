"""Writes a run's folder: append-only while a trial runs, with checksums once it is closed.

What is replaced is replaced whole and is on the disk before its name is (fsync of the file, then of the folder), so
that a crash of the machine leaves the old file or the new one.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hazd.journal.merge import earliest_due_ns, merge_batches
from hazd.journal.schema import (
    CHECKSUM,
    CHECKSUMS,
    EVENTS_FILE,
    SAMPLES_FILE,
    SCHEMA,
    STREAM_FILE,
    TRIAL_FILE,
    checksum_of,
    sample_schema,
)
from hazd.model import Event

CLOSED_STATES = ("complete", "failed", "interrupted")
"""The states a closed trial can have; until then it is "running"."""


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file so that a reader sees the old or the new one, never half."""
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        file.write(json.dumps(value, indent=2, default=_plain) + "\n")
        file.flush()
        _to_disk(file.fileno())
    _put(part, path)


def write_sealed(path: Path, fields: Mapping[str, Any]) -> None:
    """`write_json` of fields with their own checksum."""
    plain = json.loads(json.dumps(fields, default=_plain))
    write_json(path, {**plain, CHECKSUM: checksum_of(plain)})


def seal(folder: Path, meta: Mapping[str, Any]) -> None:
    """Write trial.json of a trial whose files are final, with the checksum of each of them."""
    files = [path for path in sorted(folder.iterdir()) if path.suffix in (".arrow", ".jsonl", ".yaml")]
    write_sealed(folder / TRIAL_FILE, {**meta, CHECKSUMS: {path.name: file_checksum(path) for path in files}})


def close_trial(folder: Path, **fields: Any) -> None:
    """Set fields of a trial whose writer is closed or lost, and seal it again; nothing where there is no trial."""
    path = folder / TRIAL_FILE
    if path.exists():
        seal(folder, {**json.loads(path.read_text(encoding="utf-8")), **fields})


def file_checksum(path: Path) -> str:
    """SHA-256 of a file's bytes. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def discard_trial(folder: Path) -> None:
    """Remove an incomplete trial so that it can be run again; nothing when there is none."""
    if folder.exists():
        shutil.rmtree(folder)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    raise TypeError(f"{type(value).__name__} does not go into JSON")


def _to_disk(descriptor: int) -> None:
    os.fsync(descriptor)


def _put(part: Path, path: Path) -> None:
    """Give a file, whose content is on the disk, its name."""
    os.replace(part, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _to_disk(folder)
    finally:
        os.close(folder)


class TrialWriter:
    """Writes one trial's folder. Open it, add batches and events as they come, close it; no call keeps data back."""

    def __init__(self, folder: Path, meta: Mapping[str, Any]) -> None:
        import pyarrow as pa

        folder.mkdir(parents=True, exist_ok=False)
        self.folder = folder
        self.meta = dict(meta) | {"schema": SCHEMA, "state": "running"}
        write_sealed(folder / TRIAL_FILE, self.meta)
        self._events = (folder / EVENTS_FILE).open("a", buffering=1, encoding="utf-8")
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
        write_sealed(self.folder / TRIAL_FILE, self.meta)

    def recorded_seqs(self, worker: int) -> Iterator[int]:
        """The sequence numbers of a worker's records as far as they were added."""
        import pyarrow.compute as pc

        for batch in _stream_batches(self.folder / STREAM_FILE):
            yield from batch.column("seq").filter(pc.equal(batch.column("worker"), worker)).to_numpy().tolist()

    def close(self, state: str) -> None:
        """state: complete, failed or interrupted. The stream becomes a file that any Arrow reader opens.

        All workers' records are merged by due time on the way; the stream stays until the file is whole. From here on
        trial.json has the checksums of everything; nothing in the folder is written again.
        """
        self._stream.close()
        self._sink.close()
        _to_disk(self._events.fileno())
        self._events.close()
        self._merge()
        self.meta["state"] = state
        seal(self.folder, self.meta)
        (self.folder / STREAM_FILE).unlink()

    def _merge(self) -> None:
        import pyarrow as pa

        part = self.folder / (SAMPLES_FILE + ".part")
        with part.open("wb") as file:
            options = pa.ipc.IpcWriteOptions(compression="zstd")
            with pa.ipc.new_file(file, sample_schema(), options=options) as out:
                earliest_ns = earliest_due_ns(_stream_batches(self.folder / STREAM_FILE))
                for batch in merge_batches(_stream_batches(self.folder / STREAM_FILE), earliest_ns):
                    out.write_batch(batch)
            file.flush()
            _to_disk(file.fileno())
        _put(part, self.folder / SAMPLES_FILE)


def _stream_batches(path: Path) -> Iterator[Any]:
    """The batches of a stream that this process wrote, one by one."""
    import pyarrow as pa

    with pa.OSFile(str(path), "rb") as source:
        yield from pa.ipc.open_stream(source)


__all__ = [
    "CLOSED_STATES",
    "TrialWriter",
    "close_trial",
    "discard_trial",
    "file_checksum",
    "seal",
    "write_json",
    "write_sealed",
]
