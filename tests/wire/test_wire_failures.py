"""Each way a server can die becomes its kind, phase and errno: the table of the project's measured facts, for real."""

from __future__ import annotations

import errno as e
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest

from hazd.model import Connection, FailureKind, Phase

from .dying_servers import OK, Peer, Script, Server
from .harness import REUSED, send

HEAD_100 = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nX-Hazd-Pod: app-7\r\n\r\n"
HEAD_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def reset_on_accept(peer: Peer) -> None:
    peer.reset()


def reset_after_request(peer: Peer) -> None:
    peer.read()
    peer.reset()


def fin_before_reply(peer: Peer) -> None:
    peer.read()


def fin_in_head(peer: Peer) -> None:
    peer.read()
    peer.write(b"HTTP/1.1 200 OK\r\nContent-Le")


def fin_in_body(peer: Peer) -> None:
    peer.read()
    peer.write(HEAD_100 + b"only this")


def fin_in_chunk(peer: Peer) -> None:
    peer.read()
    peer.write(HEAD_CHUNKED + b"a\r\n12345")


def fin_before_last_chunk(peer: Peer) -> None:
    peer.read()
    peer.write(HEAD_CHUNKED + b"5\r\n12345\r\n")


def reset_in_body(peer: Peer) -> None:
    peer.read()
    peer.write(HEAD_100 + b"only this")
    peer.reset()


def hang(peer: Peer) -> None:
    peer.read()
    peer.wait_for_client_to_close()


def hang_in_body(peer: Peer) -> None:
    peer.read()
    peer.write(HEAD_100)
    peer.wait_for_client_to_close()


def garbage(peer: Peer) -> None:
    peer.read()
    peer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
    peer.wait_for_client_to_close()


def garbage_after_the_version(peer: Peer) -> None:
    peer.read()
    peer.write(b"HTTP/1.1 OK\r\n\r\n")
    peer.wait_for_client_to_close()


def garbage_length(peer: Peer) -> None:
    peer.read()
    peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n")
    peer.wait_for_client_to_close()


def garbage_chunk(peer: Peer) -> None:
    peer.read()
    peer.write(HEAD_CHUNKED + b"xyz\r\n")
    peer.wait_for_client_to_close()


def endless_head(peer: Peer) -> None:
    peer.read()
    peer.write(b"HTTP/1.1 200 OK\r\n" + b"X-Filler: 0123456789\r\n" * 10_000 + b"Content-Length: 0\r\n\r\n")


def bad_status(peer: Peer) -> None:
    peer.read()
    peer.write(OK.replace(b"200 OK", b"503 Service Unavailable"))


K, P = FailureKind, Phase
Case: TypeAlias = tuple[Script, FailureKind, set[Phase], set[int]]
CASES: list[Case] = [
    # The reset may arrive before or after the request is written; either way it is a reset.
    (reset_on_accept, K.RESET, {P.SEND, P.WAIT}, {e.ECONNRESET, e.EPIPE}),
    (reset_after_request, K.RESET, {P.WAIT}, {e.ECONNRESET}),
    (fin_before_reply, K.EOF, {P.WAIT}, {0}),
    (fin_in_head, K.EOF, {P.WAIT}, {0}),
    (fin_in_body, K.EOF, {P.RECEIVE}, {0}),
    (fin_in_chunk, K.EOF, {P.RECEIVE}, {0}),
    (fin_before_last_chunk, K.EOF, {P.RECEIVE}, {0}),
    (reset_in_body, K.RESET, {P.RECEIVE}, {e.ECONNRESET}),
    (hang, K.TIMEOUT, {P.WAIT}, {0}),
    (hang_in_body, K.TIMEOUT, {P.RECEIVE}, {0}),
    (garbage, K.OTHER, {P.WAIT}, {0}),
    (garbage_after_the_version, K.OTHER, {P.WAIT}, {0}),
    (garbage_length, K.OTHER, {P.WAIT}, {0}),
    (garbage_chunk, K.OTHER, {P.RECEIVE}, {0}),
    (endless_head, K.OTHER, {P.WAIT}, {0}),
    (bad_status, K.BAD_STATUS, {P.NONE}, {0}),
]


PLACES = [(case, first) for case in CASES for first in (False, True) if not (first and case[0] is reset_on_accept)]


@pytest.mark.parametrize(
    ("case", "on_reused"), PLACES, ids=[f"{case[0].__name__}-{'reused' if first else 'new'}" for case, first in PLACES]
)
def test_death(
    sender: str,
    tmp_path: Path,
    case: Case,
    on_reused: bool,
) -> None:
    """Kind, phase and errno are the same whether it happens on a new connection or on one that served before."""
    script, kind, phases, errnos = case

    def after_one_answer(peer: Peer) -> None:
        peer.read()
        peer.write(OK)
        script(peer)

    with Server(after_one_answer if on_reused else script) as server:
        requests = 2 if on_reused else 1
        row = send(sender, tmp_path, server.url, REUSED, requests=requests, timeout_s=0.5)[-1]
        assert (row.kind, row.errno in errnos, row.phase in phases) == (kind, True, True), row
        assert row.connection == (Connection.REUSED if on_reused else Connection.NEW)
        assert row.local_port > 0
        assert row.due_ns <= row.sent_ns <= row.connected_ns <= row.done_ns
        assert (row.first_byte_ns > 0) == (script in ANSWERED), row
        assert row.status == STATUS.get(script, 0)
        assert len(server.requests) == (0 if script is reset_on_accept else requests)


ANSWERED = {
    fin_in_head, fin_in_body, fin_in_chunk, fin_before_last_chunk, reset_in_body, hang_in_body, garbage,
    garbage_after_the_version, garbage_length, garbage_chunk, endless_head, bad_status,
}  # fmt: skip
STATUS: dict[Script, int] = dict.fromkeys(
    [fin_in_body, fin_in_chunk, fin_before_last_chunk, reset_in_body, hang_in_body, garbage_chunk], 200
)
STATUS |= {bad_status: 503}


def test_refused(sender: str, tmp_path: Path) -> None:
    """A port that is bound and does not listen refuses; the source port is kept."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        row = send(sender, tmp_path, f"http://127.0.0.1:{nobody.getsockname()[1]}/")[0]
    assert (row.kind, row.phase, row.errno) == (K.REFUSED, P.CONNECT, e.ECONNREFUSED)
    assert row.connected_ns == row.first_byte_ns == row.status == 0
    assert row.due_ns <= row.sent_ns <= row.done_ns
    assert row.local_port > 0


@contextmanager
def full_backlog() -> Iterator[int]:
    """A listener that never accepts, with its queue full: the kernel drops further SYNs."""
    waiting: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        try:
            for _ in range(16):
                client = socket.socket()
                waiting.append(client)
                client.settimeout(0.1)
                try:
                    client.connect(listener.getsockname())
                except TimeoutError:
                    break
            else:
                pytest.skip("this kernel accepts on behalf of a listener whose backlog is full")
            yield listener.getsockname()[1]
        finally:
            for client in waiting:
                client.close()


def test_backlog_full(sender: str, tmp_path: Path) -> None:
    """Nobody says no: the connect times out, without errno, dated by its own start."""
    with full_backlog() as port:
        row = send(sender, tmp_path, f"http://127.0.0.1:{port}/", timeout_s=0.3)[0]
    assert (row.kind, row.phase, row.errno, row.connected_ns) == (K.TIMEOUT, P.CONNECT, 0, 0)
    assert row.done_ns - row.sent_ns >= 300_000_000


def test_one_failure_does_not_colour_the_next(sender: str, tmp_path: Path) -> None:
    """Good answers between failures are recorded as good, with pod and served of their own."""

    def every_other(peer: Peer) -> None:
        peer.read()
        if peer.number % 2:
            peer.write(OK)

    with Server(every_other) as server:
        rows = send(sender, tmp_path, server.url, requests=6)
    assert [row.kind for row in rows] == [K.OK, K.EOF] * 3
    assert [(row.pod, row.served) for row in rows] == [("app-7", 41), ("", 0)] * 3
