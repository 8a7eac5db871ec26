"""What engine and senders agree on: start a request now, write exactly one record of it, never again.

A sender owns its connections and its timeouts; it knows nothing of schedules. It must never retry: a client that
quietly sends again hides the very failures hazd is for.
"""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

__all__ = ["Sender", "Sink"]


class Sink(Protocol):
    """Takes the records (`ledger.Ledger`, or the preflight's count)."""

    def pod_number(self, name: bytes) -> int: ...

    def add(self, *record: int) -> None:
        """One record: its numbers in the order of record.FIELDS."""
        ...


class Sender(Protocol):
    """An async context manager. Leaving it ends what is still in flight, and records that too (kind OTHER)."""

    name: str

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def in_flight(self) -> int:
        """Requests started and not yet recorded."""
        ...

    def send(self, seq: int, stream: int, due_ns: int) -> None:
        """Start a request and return at once; its one record follows within the plan's timeout_s, or shortly after."""
        ...

    async def drain(self) -> None:
        """Wait until nothing is in flight."""
        ...
