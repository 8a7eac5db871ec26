"""Every lawful way to answer is read to its end, and leaves the connection as HTTP says."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from hazd.model import Connection, FailureKind, Phase, Stream

from .dying_servers import OK, Peer, Server, answer_always
from .harness import NEW, REUSED, Row, send

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Hazd-Pod: app-7\r\n\r\n3;x=1\r\nok\n\r\n10\r\n" + b"z" * 16
)
CHUNKED += b"\r\n0\r\nTrailer: 1\r\n\r\n"
ANSWERS = {
    "content_length": OK,
    "chunked": CHUNKED,
    "continue": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK,
    "lone_line_feeds": OK.replace(b"\r\n", b"\n"),
    "no_body": b"HTTP/1.1 204 No Content\r\nX-Hazd-Pod: app-7\r\n\r\n",
    "long_head": b"HTTP/1.1 200 OK\r\n" + b"X-Filler: 0123456789\r\n" * 2000 + OK.partition(b"\r\n")[2],
    "long_body": b"HTTP/1.1 200 OK\r\nX-Hazd-Pod: app-7\r\nContent-Length: 300000\r\n\r\n" + b"b" * 300_000,
    "odd_case": b"HTTP/1.1 200 OK\r\ncOnTeNt-LeNgTh:3\r\nx-HAZD-pod:\tapp-7 \r\n\r\nok\n",
}


def check(rows: list[Row]) -> None:
    for row in rows:
        assert (row.kind, row.phase, row.errno, row.pod) == (FailureKind.OK, Phase.NONE, 0, "app-7"), row
        assert row.due_ns <= row.sent_ns <= row.connected_ns <= row.first_byte_ns <= row.done_ns


@pytest.mark.parametrize("name", ANSWERS)
def test_answer(sender: str, tmp_path: Path, name: str) -> None:
    """One answer after the other on one connection; the second and third are recorded as reused."""

    def script(peer: Peer) -> None:
        while peer.read():
            peer.write(ANSWERS[name])

    with Server(script) as server:
        rows = send(sender, tmp_path, server.url, REUSED, requests=3, expect=(200, 204))
        assert server.connections == 1
    check(rows)
    assert [row.connection for row in rows] == [Connection.NEW, Connection.REUSED, Connection.REUSED]
    assert {row.conn for row in rows} == {rows[0].conn}
    assert {row.local_port for row in rows} == {rows[0].local_port}


@pytest.mark.parametrize("name", ["content_length", "chunked", "continue"])
def test_slow_answer(sender: str, tmp_path: Path, name: str) -> None:
    """Head and body may come byte by byte."""

    def script(peer: Peer) -> None:
        while peer.read():
            for byte in ANSWERS[name]:
                peer.write(bytes([byte]))

    with Server(script) as server:
        rows = send(sender, tmp_path, server.url, REUSED, requests=2)
    check(rows)


CLOSING = {
    "connection_close": OK.replace(b"\r\n\r\n", b"\r\nConnection: Close\r\n\r\n"),
    "http_1_0": OK.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "until_eof": b"HTTP/1.1 200 OK\r\nX-Hazd-Pod: app-7\r\n\r\nsome text",
    "until_eof_1_0": b"HTTP/1.0 200 OK\r\nX-Hazd-Pod: app-7\r\n\r\nsome text",
    "too_much": OK + b"more than was announced",
}


@pytest.mark.parametrize("name", CLOSING)
def test_answer_that_ends_the_connection(sender: str, tmp_path: Path, name: str) -> None:
    """The next request opens a new connection, and none fails."""

    def script(peer: Peer) -> None:
        peer.read()
        peer.write(CLOSING[name])
        if not name.startswith("until_eof"):
            peer.wait_for_client_to_close()

    with Server(script) as server:
        rows = send(sender, tmp_path, server.url, REUSED, requests=3)
        assert server.connections == 3
    check(rows)
    assert {row.connection for row in rows} == {Connection.NEW}
    assert len({row.conn for row in rows}) == 3


def test_until_reset_is_no_answer(sender: str, tmp_path: Path) -> None:
    """A body without length ends with FIN; a reset in it is a failure."""

    def script(peer: Peer) -> None:
        peer.read()
        peer.write(CLOSING["until_eof"])
        peer.reset()

    with Server(script) as server:
        row = send(sender, tmp_path, server.url)[0]
    assert (row.kind, row.phase) == (FailureKind.RESET, Phase.RECEIVE)


def test_request_as_planned(sender: str, tmp_path: Path) -> None:
    """Method, path, query, headers and body arrive; a new stream announces that it closes."""
    with Server(answer_always) as server:
        rows = send(
            sender,
            tmp_path,
            server.url,
            method="POST",
            headers=(("X-One", "1"), ("Accept", "text/x")),
            body="hé",
            requests=2,
        )
        texts = [text for _, text in server.requests]
    check(rows)
    for text in texts:
        head, _, body = text.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        assert head.startswith(b"POST /path?x=1 HTTP/1.1\r\n")
        assert body == "hé".encode()
        for line in (b"x-one: 1", b"accept: text/x", b"content-length: 3", b"connection: close"):
            assert lines.count(line) == 1
        assert lines.count(b"host: 127.0.0.1:%d" % server.port) == 1


@pytest.mark.parametrize("stream", [NEW, REUSED], ids=["new", "reused"])
@pytest.mark.parametrize("secure", [False, True])
def test_long_request(
    sender: str, tmp_path: Path, stream: Stream, secure: bool, certificate: tuple[str, ssl.SSLContext]
) -> None:
    """A body longer than any socket buffer is written to its end while the server reads it in its own time."""
    body = "0123456789" * 600_000
    with Server(answer_always, tls=certificate[1] if secure else None) as server:
        rows = send(
            sender, tmp_path, server.url, stream, requests=2, method="POST", body=body, verify_tls=False, timeout_s=30.0
        )
        sizes = [len(text.partition(b"\r\n\r\n")[2]) for _, text in server.requests]
    check(rows)
    assert sizes == [len(body)] * 2


def test_head_has_no_body(sender: str, tmp_path: Path) -> None:
    """The answer to HEAD carries a length and no body (RFC 9110 9.3.2)."""

    def script(peer: Peer) -> None:
        while peer.read():
            peer.write(OK[: -len(b"ok\n")])

    with Server(script) as server:
        rows = send(sender, tmp_path, server.url, REUSED, requests=2, method="HEAD")
    check(rows)


def test_redirects_and_cookies_are_left_alone(sender: str, tmp_path: Path) -> None:
    """A redirect is an answer like any other, and no cookie is sent back."""
    answer = OK.replace(b"200 OK", b"302 Found\r\nLocation: /elsewhere\r\nSet-Cookie: a=b; Path=/")

    def script(peer: Peer) -> None:
        while peer.read():
            peer.write(answer)

    with Server(script) as server:
        rows = send(sender, tmp_path, server.url, Stream("r", "reused", pool=1), requests=2, expect=(302,))
        assert [b"cookie" in text.lower() for _, text in server.requests] == [False, False]
        assert {text.split(b" ")[1] for _, text in server.requests} == {b"/path?x=1"}
    check(rows)
