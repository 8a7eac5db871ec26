"""How the sample app ends: each reaction to SIGTERM, seen by its clients and told by its life log."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from hazd.sample_app.app import App
from hazd.sample_app.knobs import Knobs
from tests.unit.sample_app.process import Running, environment, listening, started


def events(app: Running) -> list[str]:
    return [line["event"] for line in app.lines]


def ask_until_refused(app: Running) -> None:
    """Whoever comes between SIGTERM and the end of the listener is still answered, and then nobody."""
    while app.client().ask().closes:
        pass


def test_exit_at_once_cuts_off_what_is_in_flight() -> None:
    """HAZD_ON_SIGTERM=exit: the request under way gets no answer, yet the log has its last lines and the code is 0."""
    with listening(HAZD_LATENCY_MS=60_000) as app:
        client = app.client()
        client.send()
        app.until_in_flight(1)
        app.terminate()
        data = b"nothing was read"
        with contextlib.suppress(ConnectionResetError):
            data = client.sock.recv(100)
            assert data == b""
        assert app.ended() == 0
        assert events(app) == ["started", "listening", "sigterm", "exit"]
        assert (app.lines[-1]["served"], app.lines[-1]["in_flight"]) == (0, 1)


def test_last_request_carries_its_own_time() -> None:
    """`last_request` is dated by the last request, before SIGTERM, and its count is what clients got."""
    with listening() as app:
        client = app.client()
        for _ in range(3):
            client.ask()
        client.ask("GET / HTTP/1.1", "x-hazd-preflight: 1")
        seen = app.stats()["last_request_ns"]
        app.terminate()
        assert app.ended() == 0
        by_event = {line["event"]: line for line in app.lines}
        assert by_event["last_request"]["t_ns"] == seen
        assert by_event["last_request"]["t_ns"] < by_event["sigterm"]["t_ns"] <= by_event["exit"]["t_ns"]
        assert (by_event["exit"]["served"], by_event["exit"]["preflight"]) == (3, 1)


@pytest.mark.parametrize("mode", ["exit", "graceful"])
def test_sigterm_before_it_listens(mode: str) -> None:
    """A pod that is deleted while it starts ends at once in both modes: it has nothing to finish."""
    with started(HAZD_STARTUP_DELAY_S=3600, HAZD_ON_SIGTERM=mode) as app:
        app.terminate()
        assert app.ended() == 0
        assert events(app)[-1] == "exit"
        assert "listening" not in events(app)


def test_graceful_finishes_what_is_in_flight() -> None:
    """A request that is under way at SIGTERM gets its whole answer with Connection: close; then the app ends with 0."""
    with listening(HAZD_LATENCY_MS=1000, HAZD_ON_SIGTERM="graceful") as app:
        client = app.client()
        client.send()
        app.until_in_flight(1)
        app.terminate()
        assert app.wait_for("sigterm")["in_flight"] == 1
        answer = client.read()
        assert (answer.status, answer.closes, answer.json["served"]) == (200, True, 1)
        assert client.at_end()
        client.close()
        assert app.ended() == 0
        assert events(app) == ["started", "listening", "sigterm", "drained", "last_request", "exit"]
        assert app.lines[-1]["timed_out"] is False


def test_graceful_keeps_idle_connections_until_their_next_request() -> None:
    """After SIGTERM new connections are refused, and an idle one is still answered, once, with Connection: close."""
    with listening(HAZD_ON_SIGTERM="graceful", HAZD_SHUTDOWN_TIMEOUT_S=600) as app:
        used, fresh = app.client(), app.client()
        assert not used.ask().closes
        assert app.stats()["connections"] == 3  # the third one asks
        app.terminate()
        app.wait_for("sigterm")
        with pytest.raises(OSError, match=r"refused|reset"):
            ask_until_refused(app)
        for client in (used, fresh):
            assert client.ask("GET /healthz HTTP/1.1").closes
            assert client.at_end()
            client.close()
        assert app.ended() == 0
        assert "drained" in events(app)


def test_graceful_gives_up_at_its_time_out() -> None:
    """An idle connection that never speaks holds the app no longer than HAZD_SHUTDOWN_TIMEOUT_S; the log says so."""
    with listening(HAZD_ON_SIGTERM="graceful", HAZD_SHUTDOWN_TIMEOUT_S=0.05) as app:
        client = app.client()
        client.ask()
        app.terminate()
        assert app.ended() == 0
        assert "drained" not in events(app)
        assert (app.lines[-1]["event"], app.lines[-1]["timed_out"], app.lines[-1]["open"]) == ("exit", True, 1)
        sigterm = next(line for line in app.lines if line["event"] == "sigterm")
        assert app.lines[-1]["t_ns"] - sigterm["t_ns"] >= 50_000_000


def test_graceful_takes_what_the_kernel_already_accepted() -> None:
    """Connections in the accept queue at SIGTERM are answered, not reset.

    In this process, so that it is certain: the clients connect and the app is told to end before its loop runs again.
    """

    class Lasting(App):
        left: asyncio.Event

        def leave(self, timed_out: bool = False) -> None:
            self.left.set()

    async def scene() -> list[bytes]:
        app = Lasting(Knobs.read(environment(HAZD_ON_SIGTERM="graceful", HAZD_SHUTDOWN_TIMEOUT_S="600")))
        app.left = asyncio.Event()
        port = app.listen()
        waiting = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(5)]
        for client in waiting:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        app.on_sigterm()
        assert app.service.open == 5
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)
        answers = await asyncio.gather(*(asyncio.to_thread(read_to_end, client) for client in waiting))
        await asyncio.wait_for(app.left.wait(), 20)
        return answers

    def read_to_end(client: socket.socket) -> bytes:
        with client:
            return b"".join(iter(lambda: client.recv(65536), b""))

    answers = asyncio.run(scene())
    assert [answer.split(b"\r\n", 1)[0] for answer in answers] == [b"HTTP/1.1 200 OK"] * 5
    assert all(b"\r\nConnection: close\r\n" in answer for answer in answers)


def test_ignore_serves_on() -> None:
    """HAZD_ON_SIGTERM=ignore: everyone is served as before, and the count is logged, since SIGKILL follows."""
    with listening(HAZD_ON_SIGTERM="ignore") as app:
        client = app.client()
        client.ask()
        app.terminate()
        app.wait_for("sigterm")
        assert not client.ask().closes
        other = app.client()
        assert other.ask().json["served"] == 3
        while app.wait_for("last_request")["served"] < 3:
            pass
        app.terminate()
        assert app.wait_for("sigterm")["served"] == 3
        assert app.process.poll() is None
