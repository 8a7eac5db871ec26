"""Keeps 64 bytes of every request and appends them to a file, so memory is flat however long a run is.

Called once per request on the hot path (`add` only packs into a buffer); counts, lateness and the checksum are made
from whole batches with NumPy when a batch is written. Nothing is ever changed once written.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from hazd.model import FailureKind
from hazd.record import DTYPE_FIELDS, RECORD

BATCH = 4096
MAX_PODS = 65_535
MAX_STREAMS = 256
_LAG_EDGES_NS = np.concatenate(([0.0], np.geomspace(1e3, 1e11, 401)))  # 4.7 % apart, 1 us to 100 s

__all__ = ["BATCH", "Ledger"]


class Ledger:
    """The record file of one run. Counts are exact after `flush`. streams: requests by stream and kind."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pods: list[str] = [""]
        self.streams = np.zeros((MAX_STREAMS, len(FailureKind)), dtype=np.int64)
        self.bytes = 0
        self._file: BinaryIO = path.open("wb", buffering=0)
        self._buffer = bytearray(BATCH * RECORD.size)
        self._used = 0
        self._written = 0  # of a batch that the disk took in part
        self._pack_into = RECORD.pack_into
        self._dtype = np.dtype(DTYPE_FIELDS)
        self._hash = hashlib.sha256()
        self._pod_numbers: dict[bytes, int] = {b"": 0}
        self._lags = np.zeros(len(_LAG_EDGES_NS) + 1, dtype=np.int64)
        self._lag_max_ns = 0

    @property
    def recorded(self) -> int:
        return (self.bytes + self._used) // RECORD.size

    @property
    def kinds(self) -> Any:
        """Requests by kind, all streams together."""
        return self.streams.sum(axis=0)

    def pod_number(self, name: bytes) -> int:
        """The record field `pod` for a pod's name; 0 for b"" and, should they ever run out, for further names."""
        number = self._pod_numbers.get(name)
        if number is None:
            number = len(self.pods) if len(self.pods) < MAX_PODS else 0
            if number:
                self.pods.append(name.decode("utf-8", "replace"))
                self._pod_numbers[name] = number
        return number

    def add(self, *record: int) -> None:
        """One record: its numbers in the order of record.FIELDS. Raises struct.error for what does not fit them."""
        used = self._used
        self._pack_into(self._buffer, used, *record)
        self._used = used = used + 64
        if used == len(self._buffer):
            try:
                self.flush()
            except OSError:  # a sender could do nothing about it; whoever calls flush next gets it
                self._buffer.extend(bytes(BATCH * RECORD.size))

    def flush(self) -> None:
        """Write what has come since the last time. Raises OSError when the disk will not take it."""
        used = self._used
        if not used:
            return
        batch = memoryview(self._buffer)[:used]
        try:
            while self._written < used:
                self._written += self._file.write(batch[self._written :])
        except OSError:
            batch.release()
            raise
        self._written = 0
        self._hash.update(batch)
        self.bytes += used
        self._used = 0
        rows = np.frombuffer(batch, dtype=self._dtype)
        place = rows["stream"].astype(np.int64) * len(FailureKind) + rows["kind"]
        self.streams += np.bincount(place, minlength=self.streams.size).reshape(self.streams.shape)
        lags = rows["sent_ns"] - rows["due_ns"]
        self._lags += np.bincount(np.searchsorted(_LAG_EDGES_NS, lags), minlength=len(self._lags))
        self._lag_max_ns = max(self._lag_max_ns, int(lags.max()))

    def lag_ms(self) -> dict[str, float]:
        """Lateness (sent - due) of everything flushed: p99 to within 5 %, and the exact maximum."""
        total = int(self._lags.sum())
        if not total:
            return {"p99": 0.0, "max": 0.0}
        index = int(np.searchsorted(np.cumsum(self._lags), total * 0.99))
        edge = float(_LAG_EDGES_NS[min(index, len(_LAG_EDGES_NS) - 1)])
        return {"p99": round(min(edge, self._lag_max_ns) / 1e6, 3), "max": round(self._lag_max_ns / 1e6, 3)}

    def sha256(self) -> str:
        """Of the whole file as far as flushed."""
        return self._hash.hexdigest()

    def read(self, offset: int, limit: int) -> bytes:
        """Whole records from a byte offset; both are cut down to record boundaries."""
        size = RECORD.size
        offset -= offset % size
        length = max(min(limit - limit % size, self.bytes - offset), 0)
        with self.path.open("rb") as file:
            return os.pread(file.fileno(), length, offset)

    def close(self) -> None:
        """Raises OSError when the disk will not take the rest; the file is closed all the same."""
        try:
            self.flush()
        finally:
            self._file.close()
