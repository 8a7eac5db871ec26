"""Sends a few requests with a real sender and gives back the records it made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import numpy as np

from hazd.model import Connection, FailureKind, Phase, Stream, TrafficPlan
from hazd.record import DTYPE_FIELDS
from hazd.traffic.clock import MonotonicClock
from hazd.traffic.ledger import Ledger
from hazd.traffic.senders.choice import make_sender

NEW = Stream("new")
REUSED = Stream("reused", "reused", pool=1)


@dataclass(frozen=True)
class Row:
    """One record, its enums named."""

    seq: int
    stream: int
    connection: Connection
    kind: FailureKind
    phase: Phase
    status: int
    errno: int
    pod: str
    local_port: int
    due_ns: int
    sent_ns: int
    connected_ns: int
    first_byte_ns: int
    done_ns: int
    served: int
    conn: int


def read_rows(path: Path, pods: list[str]) -> list[Row]:
    rows = []
    for raw in np.fromfile(path, dtype=np.dtype(DTYPE_FIELDS)):
        values: dict[str, Any] = {name: int(raw[name]) for name, _ in DTYPE_FIELDS}
        values["connection"] = Connection(values["connection"])
        values["kind"] = FailureKind(values["kind"])
        values["phase"] = Phase(values["phase"])
        values["pod"] = pods[values["pod"]]
        rows.append(Row(**values))
    return rows


Between = Callable[[int], bool]


def send(
    sender_name: str,
    folder: Path,
    url: str,
    stream: Stream = NEW,
    requests: int = 1,
    wave: int = 1,
    ready: Between = lambda seq: True,
    **changes: Any,
) -> list[Row]:
    """Records of `requests` requests, `wave` of them at a time; `ready(seq)` is awaited before each."""
    plan = TrafficPlan(url=url, rate=1.0, streams=(stream,), timeout_s=5.0, sender=sender_name)
    plan = replace(plan, **changes)
    ledger = Ledger(folder / f"{sender_name}.bin")

    async def run() -> None:
        clock = MonotonicClock()
        async with make_sender(plan, ledger, clock) as sender:
            assert sender.name == sender_name
            for seq in range(requests):
                with anyio.fail_after(5):
                    while not ready(seq):
                        await anyio.sleep(0.001)
                sender.send(seq, 0, clock.now_ns())
                if not (seq + 1) % wave:
                    await sender.drain()
            await sender.drain()
            assert sender.in_flight == 0

    anyio.run(run, backend_options={"use_uvloop": True})
    ledger.close()
    rows = read_rows(ledger.path, ledger.pods)
    assert len(rows) == requests
    return sorted(rows, key=lambda row: row.seq)
