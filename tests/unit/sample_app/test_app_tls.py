"""The app behind TLS and over HTTP/2: the same answers and counts, the plain port beside it, the same polite ends."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, Event, ResponseReceived, StreamEnded

from hazd.sample_app.certificate import SERVER_NAME, Certificate, issue_certificate

from .process import PATIENCE_S, Client, Running, environment, listening, started

CERTIFICATE = issue_certificate()


@contextlib.contextmanager
def secured(**knobs: object) -> Iterator[tuple[Running, int]]:
    """A process that serves TLS, and the port where it does."""
    pems = {"HAZD_TLS_CERT": CERTIFICATE.chain_pem, "HAZD_TLS_KEY": CERTIFICATE.key_pem}
    with started(HAZD_TLS_PORT=0, **pems, **knobs) as running:
        line = running.wait_for("listening")
        running.port = line["port"]
        yield running, line["tls_port"]


def secure_client(running: Running, port: int, alpn: tuple[str, ...] = ()) -> Client:
    """Verifies against the run's own authority, by the name the certificate has."""
    client = Client(port)
    context = ssl.create_default_context(cadata=CERTIFICATE.ca_pem)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    client.sock = context.wrap_socket(client.sock, server_hostname=SERVER_NAME)
    running.clients.append(client)
    return client


class Http2Client:
    """One HTTP/2 connection, prior knowledge or TLS."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.events: list[Event] = []

    def ask(self, path: str = "/", method: str = "GET", body: bytes = b"", **headers: str) -> int:
        """Send a request; gives its stream."""
        stream = self.h2.get_next_available_stream_id()
        named = [(name.replace("_", "-"), value) for name, value in headers.items()]
        head = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "app"), *named]
        self.h2.send_headers(stream, head, end_stream=not body)
        if body:
            self.h2.send_data(stream, body, end_stream=True)
        self.sock.sendall(self.h2.data_to_send())
        return stream

    def until(self, kind: type[Event], stream: int | None = None) -> Event:
        """Read until there is such an event."""
        while True:
            for event in self.events:
                if isinstance(event, kind) and (stream is None or getattr(event, "stream_id", None) == stream):
                    return event
            data = self.sock.recv(65536)
            assert data, f"the server closed before any {kind.__name__}: {self.events}"
            self.events += self.h2.receive_data(data)
            self.sock.sendall(self.h2.data_to_send())


def test_answers_are_the_same_behind_tls() -> None:
    """Verified against the authority; the counts are one, whichever port is asked."""
    with secured() as (running, port):
        client = secure_client(running, port)
        first, second = client.ask(), client.ask("POST /orders HTTP/1.1", "Content-Length: 3", body=b"abc")
        assert [answer.headers["x-hazd-served"] for answer in (first, second)] == ["1", "2"]
        assert not first.closes
        assert running.stats()["served"] == 2


def test_the_plain_port_stays_for_questions() -> None:
    """Whoever reads the counts back needs no certificate, and a client that is no TLS does not count as open."""
    with secured(HAZD_ON_SIGTERM="graceful") as (running, port):
        plain = Client(port)
        plain.send()
        assert b"HTTP" not in plain.sock.recv(100)  # an alert, or the end
        plain.close()
        while running.stats()["connections"] != 1:  # the question's own
            assert running.process.poll() is None
        running.terminate()
        assert running.ended() == 0
        assert [line["event"] for line in running.lines][-2:] == ["drained", "exit"]


def test_a_recycled_connection_ends_with_a_close_notify() -> None:
    """The last answer says so and arrives whole; then TLS ends in order, without a reset."""
    with secured(HAZD_RECYCLE_AFTER=2) as (running, port):
        client = secure_client(running, port)
        assert not client.ask().closes
        assert client.ask().closes
        assert client.at_end()


def test_graceful_shutdown_finishes_what_is_under_way() -> None:
    """The answer comes after SIGTERM, with `Connection: close`, and the process ends by itself."""
    with secured(HAZD_ON_SIGTERM="graceful", HAZD_LATENCY_MS=300) as (running, port):
        client = secure_client(running, port)
        client.send()
        running.until_in_flight(1)
        running.terminate()
        running.wait_for("sigterm")
        answer = client.read()
        assert (answer.status, answer.closes) == (200, True)
        client.close()
        assert running.ended() == 0


@pytest.mark.parametrize("tls", [False, True])
def test_http2_is_answered(tls: bool) -> None:
    """By prior knowledge and by ALPN: pod and count in the head, requests side by side, preflight counted apart."""
    with secured(HAZD_HTTP2=1) as (running, port):
        if tls:
            sock = secure_client(running, port, ("h2",)).sock
            assert isinstance(sock, ssl.SSLSocket)
            assert sock.selected_alpn_protocol() == "h2"
        else:
            sock = running.client().sock
        client = Http2Client(sock)
        one, two = client.ask(), client.ask("/orders?a=1", "POST", b"abc")
        three = client.ask(x_hazd_preflight="1")
        for stream in (one, two, three):
            client.until(StreamEnded, stream)
        head = client.until(ResponseReceived, two)
        assert isinstance(head, ResponseReceived)
        assert dict(head.headers).items() >= {":status": "200", "x-hazd-pod": "pod-1", "x-hazd-served": "2"}.items()
        body = client.until(DataReceived, one)
        assert isinstance(body, DataReceived)
        assert b'"pod": "pod-1"' in body.data
        stats = running.stats()
        assert (stats["served"], stats["preflight"]) == (2, 1)


def test_http2_ends_with_goaway_after_the_last_answer() -> None:
    """Recycled after two requests: both are answered whole, then GOAWAY without an error."""
    with listening(HAZD_RECYCLE_AFTER=2) as running:
        client = Http2Client(running.client().sock)
        streams = [client.ask(), client.ask()]
        for stream in streams:
            client.until(StreamEnded, stream)
        ended = client.until(ConnectionTerminated)
        assert isinstance(ended, ConnectionTerminated)
        assert ended.error_code == 0


def test_http2_graceful_shutdown() -> None:
    """What is in flight at SIGTERM is answered; the process ends when the connection is gone."""
    with listening(HAZD_ON_SIGTERM="graceful", HAZD_LATENCY_MS=300) as running:
        client = Http2Client(running.client().sock)
        stream = client.ask()
        running.until_in_flight(1)
        running.terminate()
        client.until(StreamEnded, stream)
        client.until(ConnectionTerminated)
        client.sock.close()
        assert running.ended() == 0


def test_a_body_that_looks_like_a_preface_is_a_body() -> None:
    """Only the first bytes of a connection can be one."""
    with listening() as running:
        client = running.client()
        client.send("POST / HTTP/1.1", "Content-Length: 24", "Expect: 100-continue")
        assert client.read().status == 100
        client.sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert client.read().status == 200


def test_nonsense_after_the_preface_ends_the_connection_alone() -> None:
    """GOAWAY with an error; the next client is served."""
    with listening() as running:
        client = running.client()
        client.sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\1\0\0\0\0\0\0x")  # data of stream 0
        while client.sock.recv(4096):
            pass
        assert running.client().ask().status == 200


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"HAZD_TLS_CERT": CERTIFICATE.chain_pem}, "HAZD_TLS_CERT, HAZD_TLS_KEY: must be given both or neither"),
        ({"HAZD_TLS_CERT": "a", "HAZD_TLS_KEY": "b"}, "HAZD_TLS_CERT, HAZD_TLS_KEY: must be a PEM certificate"),
        ({"HAZD_HTTP2": "yes"}, "HAZD_HTTP2='yes': must be an integer from 0 to 1"),
    ],
)
def test_what_cannot_be_served_is_one_line(knobs: dict[str, str], words: str) -> None:
    """Exit code 2, and no key in the message."""
    done = subprocess.run(
        [sys.executable, "-m", "hazd.sample_app.app"],
        env=environment(**knobs),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert words in done.stderr


def test_a_certificate_does_not_show_its_key() -> None:
    """Neither in a message nor in a traceback."""
    assert isinstance(CERTIFICATE, Certificate)
    assert CERTIFICATE.key_pem not in repr(CERTIFICATE)
    assert "PRIVATE KEY" not in repr(CERTIFICATE)
