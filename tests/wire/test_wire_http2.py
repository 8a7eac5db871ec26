"""HTTP/2 through httpx's own transport: the same records, kinds and phases where HTTP/2 has the same deaths."""

from __future__ import annotations

import errno as e
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from hazd.model import Connection, FailureKind, Phase, Stream

from .dying_servers import Peer, Server
from .harness import NEW, REUSED, Row, send

h2_config = pytest.importorskip("h2.config", reason="HTTP/2 needs the package h2, which is not installed")

Certificate = tuple[str, ssl.SSLContext]
HEADERS = [(":status", "200"), ("x-hazd-pod", "app-7"), ("x-hazd-served", "41")]


def speak_h2(on_request: Callable[[Peer, object, int, int], bool]) -> Callable[[Peer], None]:
    """A script that calls on_request(peer, h2 connection, stream id, number on this connection) until it says False."""
    import h2.connection
    import h2.events

    def script(peer: Peer) -> None:
        connection = h2.connection.H2Connection(h2_config.H2Configuration(client_side=False))
        connection.initiate_connection()
        peer.write(connection.data_to_send())
        number = 0
        while data := peer.sock.recv(65_536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    headers = b"\n".join(b"%b: %b" % (bytes(name), bytes(value)) for name, value in event.headers or [])
                    with peer.server.lock:
                        peer.server.requests.append((peer.number, headers))
                    number += 1
                    assert event.stream_id is not None
                    if not on_request(peer, connection, event.stream_id, number):
                        return
            peer.write(connection.data_to_send())

    return script


def answer(peer: Peer, connection: object, stream_id: int, number: int) -> bool:
    connection.send_headers(stream_id, HEADERS)  # type: ignore[attr-defined]
    connection.send_data(stream_id, b"ok\n", end_stream=True)  # type: ignore[attr-defined]
    return True


def close(peer: Peer, connection: object, stream_id: int, number: int) -> bool:
    """FIN, whatever the client still sends: closing with unread frames would be a reset."""
    peer.sock.shutdown(socket.SHUT_WR)
    peer.wait_for_client_to_close()
    return False


def reset(peer: Peer, connection: object, stream_id: int, number: int) -> bool:
    peer.reset()
    return False


def close_in_body(peer: Peer, connection: object, stream_id: int, number: int) -> bool:
    connection.send_headers(stream_id, HEADERS)  # type: ignore[attr-defined]
    connection.send_data(stream_id, b"o")  # type: ignore[attr-defined]
    peer.write(connection.data_to_send())  # type: ignore[attr-defined]
    return close(peer, connection, stream_id, number)


def go_away(peer: Peer, connection: object, stream_id: int, number: int) -> bool:
    connection.close_connection(last_stream_id=0)  # type: ignore[attr-defined]
    peer.write(connection.data_to_send())  # type: ignore[attr-defined]
    peer.wait_for_client_to_close()
    return False


def reset_stream(peer: Peer, connection: object, stream_id: int, number: int) -> bool:
    connection.reset_stream(stream_id)  # type: ignore[attr-defined]
    return True


def hang(peer: Peer, connection: object, stream_id: int, number: int) -> bool:
    return True


@pytest.fixture
def h2_tls(certificate: Certificate) -> tuple[str, ssl.SSLContext]:
    pem, context = certificate
    context.set_alpn_protocols(["h2"])
    return pem, context


def check_good(rows: list[Row]) -> None:
    for row in rows:
        assert (row.kind, row.phase, row.status, row.pod, row.served) == (
            FailureKind.OK,
            Phase.NONE,
            200,
            "app-7",
            41,
        ), row
        assert row.due_ns <= row.sent_ns <= row.connected_ns <= row.first_byte_ns <= row.done_ns
        assert row.local_port > 0


@pytest.mark.parametrize("secure", [False, True])
def test_reused(tmp_path: Path, h2_tls: Certificate, secure: bool) -> None:
    """One connection, many streams; prior knowledge on http://, ALPN and our own authority on https://."""
    pem, context = h2_tls
    with Server(speak_h2(answer), tls=context if secure else None) as server:
        rows = send("httpx", tmp_path, server.url, REUSED, requests=4, http2=True, ca_pem=pem, sni="app.test")
        assert server.connections == 1
        assert len(server.requests) == 4
    check_good(rows)
    assert [row.connection for row in rows] == [Connection.NEW] + [Connection.REUSED] * 3
    assert {row.conn for row in rows} == {1}


def test_new_and_pool_and_recycling(tmp_path: Path) -> None:
    """A new stream has a connection for each request; a kept one takes at most recycle_after of them."""
    with Server(speak_h2(answer)) as server:
        rows = send("httpx", tmp_path, server.url, NEW, requests=3, http2=True)
        assert server.connections == 3
        check_good(rows)
        rows = send(
            "httpx", tmp_path, server.url, Stream("r", "reused", pool=2, recycle_after=3), requests=12, http2=True
        )
        counts = Counter(number for number, _ in server.requests)
    check_good(rows)
    assert [counts[number] for number in (1, 2, 3)] == [1, 1, 1]
    assert sum(counts.values()) == 15
    assert max(counts.values()) == 3


@pytest.mark.parametrize(
    ("how", "kind", "phase", "errno"),
    [
        (close, FailureKind.EOF, Phase.WAIT, 0),
        (reset, FailureKind.RESET, Phase.WAIT, e.ECONNRESET),
        (close_in_body, FailureKind.EOF, Phase.RECEIVE, 0),
        (go_away, FailureKind.EOF, Phase.WAIT, 0),
        (reset_stream, FailureKind.EOF, Phase.WAIT, 0),
        (hang, FailureKind.TIMEOUT, Phase.WAIT, 0),
    ],
)
@pytest.mark.parametrize("stream", [NEW, REUSED], ids=["new", "reused"])
def test_death(
    tmp_path: Path,
    how: Callable[[Peer, object, int, int], bool],
    kind: FailureKind,
    phase: Phase,
    errno: int,
    stream: Stream,
) -> None:
    """On a kept connection the second request dies: reported, not sent again, and the next one has a new connection."""

    def second_dies(peer: Peer, connection: object, stream_id: int, number: int) -> bool:
        deadly = number == 2 if stream is REUSED else True
        return (how if deadly else answer)(peer, connection, stream_id, number)

    with Server(speak_h2(second_dies)) as server:
        rows = send("httpx", tmp_path, server.url, stream, requests=2, http2=True, timeout_s=0.5)
        assert len(server.requests) == 2
    row = rows[-1]
    assert (row.kind, row.phase, row.errno) == (kind, phase, errno), row
    assert row.connection == (Connection.REUSED if stream is REUSED else Connection.NEW)


def test_server_that_speaks_only_http_1(tmp_path: Path) -> None:
    """No quiet falling back: it is a failure."""

    def http_1(peer: Peer) -> None:
        peer.sock.recv(65_536)
        peer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        peer.wait_for_client_to_close()

    with Server(http_1) as server:
        row = send("httpx", tmp_path, server.url, http2=True, timeout_s=0.5)[0]
    assert row.kind != FailureKind.OK
    assert row.status == 0


def test_refused(tmp_path: Path) -> None:
    """httpx's own connect keeps the errno in its chain."""
    with Server(speak_h2(answer)) as server:
        url = server.url
    row = send("httpx", tmp_path, url, http2=True)[0]
    assert (row.kind, row.phase, row.errno) == (FailureKind.REFUSED, Phase.CONNECT, e.ECONNREFUSED)
