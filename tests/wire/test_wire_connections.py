"""How connections are kept: never a retry, each one used in turn, recycled when told, replaced when found dead."""

from __future__ import annotations

import random
import threading
from collections import Counter
from pathlib import Path

import anyio
import pytest

from hazd.model import Connection, FailureKind, Phase, Stream, TrafficPlan
from hazd.traffic.clock import MonotonicClock
from hazd.traffic.ledger import Ledger
from hazd.traffic.senders.choice import make_sender

from .dying_servers import OK, Peer, Server, answer_always
from .harness import NEW, REUSED, read_rows, send


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_no_request_is_sent_twice(sender: str, tmp_path: Path, how: str) -> None:
    """20 requests, each connection killed at its second: 10 failures are reported and the server read exactly 20."""

    def kill_the_second(peer: Peer) -> None:
        peer.read()
        peer.write(OK)
        peer.read()
        if how == "rst":
            peer.reset()

    with Server(kill_the_second) as server:
        rows = send(sender, tmp_path, server.url, REUSED, requests=20)
        assert len(server.requests) == 20
    kind = FailureKind.RESET if how == "rst" else FailureKind.EOF
    assert [row.kind for row in rows] == [FailureKind.OK, kind] * 10
    assert [row.connection for row in rows] == [Connection.NEW, Connection.REUSED] * 10
    assert {row.phase for row in rows if row.kind == kind} == {Phase.WAIT}


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_connection_closed_while_idle_is_replaced(sender: str, tmp_path: Path, how: str) -> None:
    """Seen before anything was written, a closed connection costs no request: another is opened, recorded as new."""

    def answer_once(peer: Peer) -> None:
        peer.read()
        peer.write(OK)
        if how == "rst":
            # The client must have taken the answer first: a reset may overtake what it has not read.
            server.answered.wait(5)
            peer.reset()

    class Idle(Server):
        answered = threading.Event()

    with Idle(answer_once) as server:

        def closed(seq: int) -> bool:
            server.answered.set()
            return server.closed == seq

        server.answered.clear()
        rows = send(sender, tmp_path, server.url, REUSED, requests=4, ready=closed)
        assert len(server.requests) == 4
    assert {row.kind for row in rows} == {FailureKind.OK}
    assert {row.connection for row in rows} == {Connection.NEW}
    assert len({row.conn for row in rows}) == 4


def test_new_stream_uses_each_connection_once(sender: str, tmp_path: Path) -> None:
    with Server(answer_always) as server:
        rows = send(sender, tmp_path, server.url, requests=5)
        assert server.connections == 5
    assert {row.connection for row in rows} == {Connection.NEW}
    assert len({row.conn for row in rows}) == 5


def test_pool_is_filled_and_used_in_turn(sender: str, tmp_path: Path) -> None:
    """4 connections and 12 requests: each connection gets its 3, in the order they were opened."""
    with Server(answer_always) as server:
        rows = send(sender, tmp_path, server.url, Stream("r", "reused", pool=4), requests=12)
        assert Counter(number for number, _ in server.requests) == {1: 3, 2: 3, 3: 3, 4: 3}
    order = [row.conn for row in rows]
    assert order[:4] == order[4:8] == order[8:]
    assert [row.connection for row in rows] == [Connection.NEW] * 4 + [Connection.REUSED] * 8


def answer_and_stay(peer: Peer) -> None:
    """A server that leaves it to its client to close: the end of an answer and the end of a connection are apart."""
    while peer.read():
        peer.write(OK)


@pytest.mark.parametrize("server_closes", [True, False])
def test_recycle_after_requests(sender: str, tmp_path: Path, server_closes: bool) -> None:
    """The last request on a connection says so, and the next one opens another that is kept as long."""
    with Server(answer_always if server_closes else answer_and_stay) as server:
        rows = send(sender, tmp_path, server.url, Stream("r", "reused", pool=1, recycle_after=3), requests=7)
        said = [(number, b"connection: close" in text.lower()) for number, text in server.requests]
    assert {row.kind for row in rows} == {FailureKind.OK}
    assert said == [(1, False), (1, False), (1, True), (2, False), (2, False), (2, True), (3, False)]


def test_recycle_after_time(sender: str, tmp_path: Path) -> None:
    """A connection older than recycle_s serves one request more, its last."""
    with Server(answer_always) as server:
        rows = send(sender, tmp_path, server.url, Stream("r", "reused", pool=1, recycle_s=1e-9), requests=3)
        said = [b"connection: close" in text.lower() for _, text in server.requests]
    assert {row.kind for row in rows} == {FailureKind.OK}
    # Opening takes longer than a nanosecond, but is counted from: the first request may or may not be the last one.
    assert said[-1] is True or said[-2] is True
    assert server.connections >= 2


def test_slow_answers_delay_no_other_request(sender: str, tmp_path: Path) -> None:
    """With every pooled connection busy a further one is opened, and closed again when it comes back."""
    all_here = threading.Barrier(3, timeout=5)

    def script(peer: Peer) -> None:
        peer.read()
        all_here.wait()
        peer.write(OK)
        peer.wait_for_client_to_close()

    with Server(script) as server:
        rows = send(sender, tmp_path, server.url, REUSED, requests=3, wave=3)
        assert server.connections == 3
    assert {row.kind for row in rows} == {FailureKind.OK}
    assert {row.connection for row in rows} == {Connection.NEW}


@pytest.mark.parametrize("at_once", [True, False])
def test_leaving_records_what_is_in_flight(sender: str, tmp_path: Path, at_once: bool) -> None:
    """A sender that is closed in the middle records its open requests as OTHER: nothing sent is ever unrecorded."""

    def hang(peer: Peer) -> None:
        peer.read()
        peer.wait_for_client_to_close()

    with Server(hang) as server:
        plan = TrafficPlan(url=server.url, rate=1.0, streams=(REUSED,), sender=sender)
        ledger = Ledger(tmp_path / "r.bin")

        async def run() -> None:
            async with make_sender(plan, ledger, MonotonicClock()) as under_test:
                for seq in range(3):
                    under_test.send(seq, 0, 1)
                while not at_once and len(server.requests) < 3:
                    await anyio.sleep(0.001)

        anyio.run(run, backend_options={"use_uvloop": True})
        ledger.close()
    assert ledger.recorded == 3
    assert ledger.kinds[FailureKind.OTHER] == 3


def test_streams_may_have_targets_of_their_own(sender: str, tmp_path: Path) -> None:
    """A control target beside the real one: each stream's requests reach its own server, with its own Host."""
    with Server(answer_always) as real, Server(answer_always) as control:
        streams = (NEW, Stream("control", "reused", url=f"http://127.0.0.1:{control.port}/other"))
        plan = TrafficPlan(url=real.url, rate=1.0, streams=streams, sender=sender)
        ledger = Ledger(tmp_path / "r.bin")

        async def run() -> None:
            async with make_sender(plan, ledger, MonotonicClock()) as under_test:
                for seq, stream in enumerate((0, 1, 1)):
                    under_test.send(seq, stream, 1)
                    await under_test.drain()

        anyio.run(run, backend_options={"use_uvloop": True})
        ledger.close()
        assert [text.split(b"\r\n")[0] for _, text in real.requests] == [b"GET /path?x=1 HTTP/1.1"]
        assert [text.split(b"\r\n")[0] for _, text in control.requests] == [b"GET /other HTTP/1.1"] * 2
        assert b"host: 127.0.0.1:%d\r\n" % control.port in control.requests[0][1].lower()
    rows = read_rows(ledger.path, ledger.pods)
    assert [(row.stream, row.kind) for row in rows] == [(0, FailureKind.OK), (1, FailureKind.OK), (1, FailureKind.OK)]


@pytest.mark.parametrize("stream", [NEW, Stream("reused", "reused", pool=8, recycle_after=7)], ids=["new", "reused"])
def test_chaos_is_counted_to_the_last_request(sender: str, tmp_path: Path, stream: Stream) -> None:
    """Many at once on a server that dies at random: each request is read once, recorded once, and as what it met."""
    dice = random.Random(7)
    met: Counter[FailureKind] = Counter()

    def script(peer: Peer) -> None:
        while peer.read():
            with peer.server.lock:
                fate = dice.choice(["ok", "ok", "ok", "fin", "rst", "half", "503"])
                met[FATES[fate]] += 1
            if fate in ("ok", "503"):
                peer.write(OK if fate == "ok" else OK.replace(b"200 OK", b"503 No"))
                continue
            if fate == "half":
                peer.write(OK[:-2])
            elif fate == "rst":
                peer.reset()
            return

    with Server(script) as server:
        rows = send(sender, tmp_path, server.url, stream, requests=400, wave=25)
        assert len(server.requests) == 400
    assert Counter(row.kind for row in rows) == met
    assert [row.seq for row in rows] == list(range(400))


FATES = {
    "ok": FailureKind.OK,
    "503": FailureKind.BAD_STATUS,
    "fin": FailureKind.EOF,
    "half": FailureKind.EOF,
    "rst": FailureKind.RESET,
}
