"""64 bytes a request reach the file whole and in order, with counts, lateness and check-sum that agree with it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from hazd.model import FailureKind
from hazd.record import DTYPE_FIELDS, FIELDS, RECORD
from hazd.traffic.ledger import BATCH, Ledger

DUE = 1_795_000_000_000_000_000


def add(ledger: Ledger, seq: int, kind: int = 0, lag_ns: int = 0) -> None:
    due = DUE + seq
    ledger.add(seq, 1, 1, kind, 2, 200, 104, 3, 40_000, due, due + lag_ns, due + 2, due + 3, due + 4, 7, 9)


def test_fields_land_in_their_places(tmp_path: Path) -> None:
    """The order of `add` is the order of record.FIELDS, at the limits of each field too."""
    ledger = Ledger(tmp_path / "r.bin")
    values = [2 ** {"B": 8, "H": 16, "I": 32, "q": 63}[field.code] - 1 - number for number, field in enumerate(FIELDS)]
    values[3] = 7  # kind: counted, so it must be one
    ledger.add(*values)
    ledger.close()
    row = np.fromfile(ledger.path, dtype=np.dtype(DTYPE_FIELDS))[0]
    assert [int(row[field.name]) for field in FIELDS] == values


def test_batches(tmp_path: Path) -> None:
    """More than one batch, flushed by size and by hand: nothing lost, nothing twice, counts and check-sum right."""
    ledger = Ledger(tmp_path / "r.bin")
    total = BATCH * 2 + 100
    for seq in range(total):
        add(ledger, seq, kind=seq % 8)
        if seq == 50:
            ledger.flush()
            ledger.flush()
    assert ledger.recorded == total
    ledger.flush()
    data = ledger.path.read_bytes()
    assert len(data) == ledger.bytes == total * RECORD.size
    assert ledger.sha256() == hashlib.sha256(data).hexdigest()
    assert np.frombuffer(data, dtype=np.dtype(DTYPE_FIELDS))["seq"].tolist() == list(range(total))
    assert ledger.kinds.tolist() == [len(range(kind, total, 8)) for kind in range(len(FailureKind))]
    assert ledger.streams[1].tolist() == ledger.kinds.tolist()
    assert ledger.streams.sum() == total
    ledger.close()


def test_lateness(tmp_path: Path) -> None:
    """p99 to within 5 %, the maximum exact."""
    ledger = Ledger(tmp_path / "r.bin")
    assert ledger.lag_ms() == {"p99": 0.0, "max": 0.0}
    for seq in range(1000):
        add(ledger, seq, lag_ns=(seq + 1) * 10_000)
    ledger.flush()
    lag = ledger.lag_ms()
    assert lag["max"] == 10.0
    assert lag["p99"] == pytest.approx(9.9, rel=0.05)
    ledger.close()


def test_read_gives_whole_records(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "r.bin")
    for seq in range(10):
        add(ledger, seq)
    assert ledger.read(0, 1000) == b""  # not flushed yet
    ledger.flush()
    data = ledger.path.read_bytes()
    assert ledger.read(0, 10_000) == data
    assert ledger.read(64, 130) == data[64:192]
    assert ledger.read(65, 64) == data[64:128]
    assert ledger.read(640, 64) == ledger.read(6400, 64) == ledger.read(0, 63) == b""
    ledger.close()


def test_pods(tmp_path: Path) -> None:
    """Numbers only grow; 0 is nobody; names that are not text are kept as well as they can be."""
    ledger = Ledger(tmp_path / "r.bin")
    assert [ledger.pod_number(name) for name in (b"", b"a", b"b", b"a", b"\xff")] == [0, 1, 2, 1, 3]
    assert ledger.pods == ["", "a", "b", "\ufffd"]
    ledger.close()


def test_a_full_disk_is_told_to_flush_and_not_to_add(tmp_path: Path) -> None:
    """A sender can do nothing about the disk: its records are kept in memory, and whoever flushes gets the error."""
    ledger = Ledger(Path("/dev/full"))
    for seq in range(BATCH + 10):
        add(ledger, seq)
    assert ledger.recorded == BATCH + 10
    with pytest.raises(OSError, match="space"):
        ledger.flush()
    assert (ledger.bytes, ledger.recorded) == (0, BATCH + 10)
    with pytest.raises(OSError, match="space"):
        ledger.close()
