"""Chain, phase and errno become one kind, by number and type and never by text."""

from __future__ import annotations

import errno as e
import socket
import ssl

import pytest

from hazd.model import FailureKind, Phase
from hazd.traffic.classify import BadResponse, PeerClosed, classify, classify_errno, classify_status, find_errno

K, P = FailureKind, Phase


def raised(error: BaseException, *causes: BaseException, implicit: bool = False) -> BaseException:
    """`error` as if raised from the first cause, which was raised from the second, ..."""
    link = error
    for cause in causes:
        if implicit:
            link.__context__ = cause
        else:
            link.__cause__ = cause
        link = cause
    return error


@pytest.mark.parametrize(
    ("number", "phase", "kind"),
    [
        (e.ECONNREFUSED, P.CONNECT, K.REFUSED),
        (e.ECONNREFUSED, P.WAIT, K.OTHER),
        (e.EHOSTUNREACH, P.CONNECT, K.NO_ROUTE),
        (e.ENETUNREACH, P.CONNECT, K.NO_ROUTE),
        (e.EACCES, P.CONNECT, K.NO_ROUTE),
        (e.EINVAL, P.CONNECT, K.NO_ROUTE),
        (e.EINVAL, P.SEND, K.OTHER),
        (e.ETIMEDOUT, P.CONNECT, K.TIMEOUT),
        (e.ETIMEDOUT, P.RECEIVE, K.TIMEOUT),
        (e.ECONNRESET, P.TLS, K.RESET),
        (e.ECONNRESET, P.WAIT, K.RESET),
        (e.EPIPE, P.SEND, K.RESET),
        (e.EADDRNOTAVAIL, P.CONNECT, K.OTHER),
        (e.EMFILE, P.CONNECT, K.OTHER),
    ],
)
@pytest.mark.parametrize("implicit", [False, True])
def test_errno(number: int, phase: Phase, kind: FailureKind, implicit: bool) -> None:
    """The same, bare or three exceptions deep, whether chained by `from` or while handling."""
    assert classify_errno(number, phase) == kind
    error = OSError(number, "whatever the text")
    assert classify(error, phase) == (kind, phase, number)
    deep = raised(RuntimeError("a"), ValueError("timed out"), OSError("no errno"), error, implicit=implicit)
    assert classify(deep, phase) == (kind, phase, number)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TimeoutError(), K.TIMEOUT),
        (raised(RuntimeError(), TimeoutError()), K.TIMEOUT),
        (PeerClosed(), K.EOF),
        (raised(RuntimeError(), EOFError()), K.EOF),
        (ssl.SSLEOFError(8, "eof"), K.EOF),
        (BadResponse("x"), K.OTHER),
        (ssl.SSLCertVerificationError(1, "no"), K.OTHER),
        (socket.gaierror(-2, "unknown"), K.OTHER),
        (ValueError("connection refused"), K.OTHER),
        (ExceptionGroup("g", [ValueError(), ConnectionResetError(e.ECONNRESET, "x")]), K.RESET),
    ],
)
def test_without_errno(error: BaseException, kind: FailureKind) -> None:
    assert classify(error, P.WAIT)[0] == kind


def test_openssl_numbers_are_no_errnos() -> None:
    """SSLError is an OSError whose errno is OpenSSL's own number."""
    assert find_errno(ssl.SSLError(1, "x")) == 0
    assert find_errno(raised(ssl.SSLError(1, "x"), ConnectionResetError(e.ECONNRESET, "x"))) == e.ECONNRESET


def test_a_chain_that_bites_its_tail() -> None:
    first, second = RuntimeError(), RuntimeError()
    first.__cause__, second.__cause__ = second, first
    assert classify(first, P.SEND) == (K.OTHER, P.SEND, 0)


def test_status() -> None:
    assert classify_status(200, (200, 204)) == K.OK
    assert classify_status(404, (404,)) == K.OK
    assert classify_status(200, (404,)) == K.BAD_STATUS
