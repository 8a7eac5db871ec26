"""What the sample app answers, and what it counts."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.unit.sample_app.process import Running, environment, listening, started


@pytest.fixture(scope="module")
def app() -> Iterator[Running]:
    with listening(HAZD_RUN_TAG='two "v2"') as running:
        yield running


def test_every_answer_names_the_pod_and_the_count(app: Running) -> None:
    """An ordinary answer carries pod, count and tag in its body, pod and count in its headers."""
    client = app.client()
    before = app.stats()["served"]
    answer = client.ask("GET /any/path?x=1 HTTP/1.1")
    assert answer.status == 200
    assert answer.json == {"pod": "pod-1", "served": before + 1, "tag": 'two "v2"'}
    assert answer.headers["x-hazd-pod"] == "pod-1"
    assert answer.headers["x-hazd-served"] == str(before + 1)
    assert "date" in answer.headers
    assert not answer.closes


def test_counts_keep_probes_and_preflights_apart(app: Running) -> None:
    """served grows by ordinary requests alone; preflight by marked ones; /healthz and /stats count as neither."""
    before = app.stats()
    client = app.client()
    for head, header in (
        ("GET /", "a: b"),
        ("GET /", "X-Hazd-Preflight: 1"),
        ("GET /healthz", "a: b"),
        ("POST /x", "a: b"),
    ):
        assert client.ask(f"{head} HTTP/1.1", header).status == 200
    after = app.stats()
    assert after["served"] - before["served"] == 2
    assert after["preflight"] - before["preflight"] == 1
    assert before["last_request_ns"] < after["last_request_ns"]


def test_pipelined_requests_are_answered_in_order(app: Running) -> None:
    """Three requests in one segment give three answers in their order, each counted once."""
    client = app.client()
    before = app.stats()["served"]
    one = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    client.sock.sendall(one + b"GET /stats HTTP/1.1\r\nHost: a\r\n\r\n" + one)
    answers = [client.read() for _ in range(3)]
    assert [answer.json["served"] for answer in answers] == [before + 1, before + 1, before + 2]
    assert "accepted" in answers[1].json


def test_bodies_are_skipped(app: Running) -> None:
    """A body, plain or chunked with extension and trailer, is no part of the next request."""
    client = app.client()
    assert client.ask("POST / HTTP/1.1", "Content-Length: 5", body=b"GET /").status == 200
    chunks = b"3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: 1\r\n\r\n"
    assert client.ask("PUT / HTTP/1.1", "Transfer-Encoding: chunked", body=chunks).status == 200
    assert client.ask().status == 200


def test_head_has_no_body(app: Running) -> None:
    """HEAD gives the length of the body and not the body; the next answer follows at once."""
    client = app.client()
    assert int(client.ask("HEAD / HTTP/1.1").headers["content-length"]) > 10
    assert client.ask().status == 200


def test_expect_continue(app: Running) -> None:
    """A client that asks first is told to go on (RFC 9110 section 10.1.1), then gets its answer."""
    client = app.client()
    client.send("POST / HTTP/1.1", "Expect: 100-continue", "Content-Length: 3")
    assert client.read().status == 100
    client.sock.sendall(b"abc")
    assert client.read().status == 200


def test_nonsense_is_refused_and_the_connection_ends(app: Running) -> None:
    """What is not HTTP gets 400 with the reason, after the good request before it was answered, and then a FIN."""
    client = app.client()
    bad_before = app.stats()["bad"]
    client.sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nnonsense\r\n\r\n")
    assert client.read().status == 200
    answer = client.read()
    assert (answer.status, answer.closes) == (400, True)
    assert "request line" in answer.json["error"]
    assert client.at_end()
    assert app.stats()["bad"] == bad_before + 1


def test_asked_to_close_it_closes_without_reset(app: Running) -> None:
    """After Connection: close the answer arrives whole although more data is under way: lingering close, no RST."""
    client = app.client()
    # In one piece: a request that comes alone is answered and closed for good, there is nothing yet to reset it for.
    client.send("GET / HTTP/1.1", "Connection: close", body=b"x" * 100_000)
    assert client.read().closes
    assert client.at_end()
    for _ in range(3):  # a server that has closed for good answers the first of these with RST, and the next one raises
        client.sock.sendall(b"x" * 100_000)


def test_http_1_0_gets_one_answer(app: Running) -> None:
    """HTTP/1.0 has no kept connections here, and needs no Host."""
    client = app.client()
    client.sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
    assert client.read().closes
    assert client.at_end()


def test_half_closed_client_still_gets_its_answers(app: Running) -> None:
    """A client that has sent its FIN with its requests gets all the answers, then the server's FIN."""
    client = app.client()
    client.send()
    client.send()
    client.sock.shutdown(socket.SHUT_WR)
    assert [client.read().status, client.read().status] == [200, 200]
    assert client.at_end()


def test_connections_are_recycled() -> None:
    """With HAZD_RECYCLE_AFTER=3 the third answer of every connection says Connection: close, and it ends."""
    with listening(HAZD_RECYCLE_AFTER=3) as app:
        for _ in range(2):
            client = app.client()
            assert [client.ask().closes for _ in range(3)] == [False, False, True]
            assert client.at_end()
        assert app.stats()["served"] == 6


def test_latency_and_cpu_are_spent_on_ordinary_requests_only() -> None:
    """A request takes at least its latency and CPU time; /healthz answers while one is under way."""
    with listening(HAZD_LATENCY_MS=300, HAZD_CPU_MS=20) as app:
        slow = app.client()
        slow.send()
        app.until_in_flight(1)
        probe = app.client()
        assert probe.ask("GET /healthz HTTP/1.1").json["served"] == 0
        assert slow.read().json["served"] == 1
        stats = app.stats()
        assert stats["last_request_ns"] - stats["listening_ns"] >= 320e6


def test_not_listening_before_it_has_started() -> None:
    """During HAZD_STARTUP_DELAY_S the port is closed: /healthz cannot be asked, let alone be 200."""
    with socket.create_server(("127.0.0.1", 0)) as placeholder:
        port = placeholder.getsockname()[1]
    with started(HAZD_STARTUP_DELAY_S=3600, HAZD_PORT=port), pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_startup_delay_passes_before_it_listens() -> None:
    """`listening` comes no sooner than the delay after `started`."""
    with listening(HAZD_STARTUP_DELAY_S=0.05) as app:
        first, second = app.lines
        assert (first["event"], second["event"]) == ("started", "listening")
        assert second["t_ns"] - first["t_ns"] >= 50_000_000


@pytest.mark.parametrize(("knob", "value"), [("HAZD_PORT", "http"), ("HAZD_ON_SIGTERM", "later")])
def test_bad_knobs_end_it_with_one_clear_line(knob: str, value: str) -> None:
    """Exit code 2, nothing on stdout, one line on stderr with the variable, its value and what would be right."""
    command = [sys.executable, "-m", "hazd.sample_app.app"]
    done = subprocess.run(command, env=environment(**{knob: value}), capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert f"{knob}='{value}': must be" in done.stderr


def test_a_taken_port_is_named() -> None:
    """A port in use is an error of the environment: one line with the variable, exit code 3."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as other:
        knobs = environment(HAZD_PORT=other.getsockname()[1])
        command = [sys.executable, "-m", "hazd.sample_app.app"]
        done = subprocess.run(command, env=knobs, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert f"HAZD_PORT={knobs['HAZD_PORT']}" in done.stderr


def test_it_needs_the_standard_library_and_its_own_folder_alone() -> None:
    """The container has nothing else, and every import costs start-up time."""
    code = (
        "import sys; sys.path.insert(0, '.'); import hazd.sample_app.app\n"
        "print(*sorted(n for n in sys.modules if n.split('.')[0] not in sys.stdlib_module_names and n != '__main__'))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True, timeout=20
    )
    assert done.stdout.split() == [
        "hazd",
        "hazd.sample_app",
        "hazd.sample_app.app",
        "hazd.sample_app.conversation",
        "hazd.sample_app.http1",
        "hazd.sample_app.knobs",
        "hazd.sample_app.service",
    ]
