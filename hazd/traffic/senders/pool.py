"""Which kept connection a `reused` stream uses next: oldest first, so that each one is used regularly.

Holds connections of any sender and does no I/O of its own. A connection found closed before anything was written is
replaced by a new one; that is no retry, because no request has been sent yet.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, Protocol, TypeVar

from hazd.model import Stream

NS = 1_000_000_000

__all__ = ["Pool", "Pooled"]


class Pooled(Protocol):
    """A connection as the pool sees it."""

    uses: int
    opened_ns: int

    def usable(self) -> bool:
        """Nothing has come on it since the last response: neither bytes nor an end nor an error."""
        ...

    def close(self) -> None: ...


C = TypeVar("C", bound=Pooled)


class Pool(Generic[C]):
    """The connections of one stream. `take` or `opened`, then `give_back` or `lost`, for every request."""

    __slots__ = ("_idle", "_members", "_open", "_reuse", "_size", "recycle_after", "recycle_ns")

    def __init__(self, stream: Stream) -> None:
        self._reuse = stream.connection == "reused"
        self._size = stream.pool if self._reuse else 0
        self.recycle_after = stream.recycle_after
        self.recycle_ns = int(stream.recycle_s * NS)
        self._idle: deque[C] = deque()
        self._members: set[int] = set()
        self._open = 0

    def take(self) -> C | None:
        """A kept connection, or None: open a new one. The pool is filled before any connection is used twice.

        When every connection is busy a new one is opened beyond the size, because a slow response must not delay the
        next request; it is closed again when it comes back.
        """
        if self._open < self._size or not self._idle:
            return None
        connection = self._idle.popleft()
        if connection.usable():
            return connection
        self.lost(connection)
        return None

    def opened(self) -> None:
        """A new connection is being opened; every one is later given back or lost."""
        self._open += 1

    def is_last_use(self, connection: C, now_ns: int) -> bool:
        """Whether the request about to be written is to be this connection's last (`Connection: close`)."""
        if not self._reuse:
            return True
        if self.recycle_after and connection.uses + 1 >= self.recycle_after:
            return True
        return bool(self.recycle_ns) and now_ns - connection.opened_ns >= self.recycle_ns

    def give_back(self, connection: C) -> None:
        """After a whole response that leaves the connection open.

        One opened beyond the size never takes the place of one that is kept: a burst would otherwise renew the pool
        bit by bit, and connections that are said to persist would find their way to new pods after all.
        """
        if id(connection) in self._members or len(self._members) < self._size:
            self._members.add(id(connection))
            self._idle.append(connection)
        else:
            self.lost(connection)

    def lost(self, connection: C | None) -> None:
        """After a failure, or when the peer said it closes; None when it never stood."""
        self._open -= 1
        if connection is not None:
            self._members.discard(id(connection))
            connection.close()

    def left(self, connection: C) -> None:
        """After its last use: the pool is done with it, whoever lets it linger closes it."""
        self._open -= 1
        self._members.discard(id(connection))

    def close(self) -> None:
        while self._idle:
            self.lost(self._idle.popleft())
