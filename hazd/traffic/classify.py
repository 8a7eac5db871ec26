"""Names how a request failed, from the exception chain, the phase it was in, the kernel's errno and the status.

Pure, and ignorant of any HTTP library: a sender's own exceptions must carry their cause (`raise ... from error`), and
texts of errors are never compared. tests/wire checks the table against real servers.
"""

from __future__ import annotations

import errno as e
import ssl
from collections.abc import Collection, Iterator

from hazd.model import FailureKind, Phase

REFUSED = frozenset({e.ECONNREFUSED})
NO_ROUTE = frozenset({e.EHOSTUNREACH, e.ENETUNREACH, e.EACCES, e.EINVAL})  # EACCES: prohibit, EINVAL: blackhole route
RESET = frozenset({e.ECONNRESET, e.EPIPE})

__all__ = ["BadResponse", "PeerClosed", "classify", "classify_errno", "classify_status", "find_errno"]


class PeerClosed(EOFError):
    """The peer closed the connection before the response was whole; no errno exists for that."""


class BadResponse(Exception):
    """The peer sent something that is not HTTP, or more of it than is accepted."""


def classify_errno(errno: int, phase: Phase) -> FailureKind:
    """The kind of a failure the kernel reported. REFUSED and NO_ROUTE exist only while connecting."""
    if errno == e.ETIMEDOUT:
        return FailureKind.TIMEOUT
    if errno in RESET:
        return FailureKind.RESET
    if phase == Phase.CONNECT:
        if errno in REFUSED:
            return FailureKind.REFUSED
        if errno in NO_ROUTE:
            return FailureKind.NO_ROUTE
    return FailureKind.OTHER


def classify_status(status: int, expect: Collection[int]) -> FailureKind:
    """A whole response: good when its status was expected."""
    return FailureKind.OK if status in expect else FailureKind.BAD_STATUS


def classify(error: BaseException, phase: Phase) -> tuple[FailureKind, Phase, int]:
    """(kind, phase, errno) of the exception that ended a request; errno is 0 where the kernel gave none.

    An errno anywhere in the chain wins: libraries wrap it several times. Then a timeout, then an end of file.
    """
    number = find_errno(error)
    if number:
        return classify_errno(number, phase), phase, number
    for link in _chain(error):
        if isinstance(link, TimeoutError):
            return FailureKind.TIMEOUT, phase, 0
        if isinstance(link, EOFError | ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return FailureKind.EOF, phase, 0
    return FailureKind.OTHER, phase, 0


def find_errno(error: BaseException) -> int:
    """The first errno in the chain, 0 when there is none. An SSLError's number is OpenSSL's own, not the kernel's."""
    for link in _chain(error):
        if isinstance(link, OSError) and not isinstance(link, ssl.SSLError) and link.errno:
            return link.errno
    return 0


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what it was raised from or during, and so on; groups (anyio task groups) are walked into."""
    seen: set[int] = set()
    todo = [error]
    while todo:
        link = todo.pop(0)
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        if isinstance(link, BaseExceptionGroup):
            todo.extend(link.exceptions)
        todo.append(link.__cause__ if link.__cause__ is not None else link.__context__)
