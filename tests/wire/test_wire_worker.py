"""The worker as a real process over loopback: every request of the schedule is accounted for, on both sides."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from hazd.model import Connection, FailureKind, Stream, TrafficPlan
from hazd.record import RECORD
from hazd.traffic.plan_json import plan_to_json

from .dying_servers import Peer, Server, answer_always
from .harness import read_rows

ROOT = Path(__file__).parents[2]
NS = 1_000_000_000
STREAMS = (Stream("new"), Stream("reused", "reused", pool=4))


class Remote:
    """A worker process and its control API."""

    def __init__(self, process: subprocess.Popen[str], client: httpx.Client) -> None:
        self.process = process
        self.client = client

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.client.get("/status").json()
        return answer

    def wait(self, good: Callable[[dict[str, Any]], bool], seconds: float = 20) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while not good(status := self.status()):
            assert time.monotonic() < end, status
            time.sleep(0.02)
        return status

    def prepared(self, plan: TrafficPlan) -> dict[str, Any]:
        assert self.client.post("/prepare", content=plan_to_json(plan)).status_code == 200
        status = self.wait(lambda status: status["state"] != "preflight")
        assert status["state"] == "ready", status
        return status

    def started(self, plan: TrafficPlan) -> int:
        start_ns: int = self.prepared(plan)["unix_ns"] + NS // 5
        answer = self.client.post("/start", json={"at_unix_ns": start_ns})
        assert answer.status_code == 200, answer.text
        return start_ns

    def records(self, limit: int) -> bytes:
        data = b""
        while True:
            answer = self.client.get("/records", params={"offset": len(data), "limit": limit})
            data += answer.content
            if len(data) >= int(answer.headers["x-hazd-size"]):
                return data


@contextmanager
def worker(folder: Path) -> Iterator[Remote]:
    command = [sys.executable, "-W", "error", "-m", "hazd.traffic.worker", "--port", "0", "--host", "127.0.0.1"]
    with subprocess.Popen(
        [*command, "--dir", str(folder / "records")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            port = json.loads(line)["port"]
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
                yield Remote(process, client)
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=20)
            assert process.returncode == 0, err
            assert err == ""
            assert [json.loads(line)["event"] for line in out.splitlines()][-1] == "ended"
        finally:
            if process.poll() is None:
                process.kill()


def test_every_request_is_accounted_for(sender: str, tmp_path: Path) -> None:
    """due = recorded + not sent = what the schedule says = what the server read; the file is whole and check-summed."""
    with Server(answer_always) as server, worker(tmp_path) as remote:
        plan = TrafficPlan(url=server.url, rate=200.0, streams=STREAMS, sender=sender)
        start_ns = remote.started(plan)
        status = remote.client.post("/stop", json={"at_unix_ns": start_ns + NS}).json()
        assert status["at_unix_ns"] == start_ns + NS
        status = remote.wait(lambda status: status["state"] == "done")
        data = remote.records(limit=6401)
        requests = [text for _, text in server.requests]
    assert (status["due"], status["recorded"], status["not_sent"], status["in_flight"]) == (200, 200, 0, 0)
    assert (status["ok"], status["error"], status["stopped_by"], status["sender"]) == (200, "", "controller", sender)
    assert len(data) == status["bytes"] == 200 * RECORD.size
    assert hashlib.sha256(data).hexdigest() == status["sha256"]
    assert status["lag_ms"]["max"] >= status["lag_ms"]["p99"] >= 0

    preflight = [text for text in requests if b"x-hazd-preflight: 1" in text.lower()]
    assert len(preflight) == status["preflight_ok"] == 30
    assert len(requests) - len(preflight) == 200
    (tmp_path / "copy.bin").write_bytes(data)
    rows = sorted(read_rows(tmp_path / "copy.bin", status["pods"]), key=lambda row: row.seq)
    assert [row.seq for row in rows] == list(range(200))
    assert [row.due_ns for row in rows] == [start_ns + n * NS // 200 for n in range(200)]
    assert {row.kind for row in rows} == {FailureKind.OK}
    assert {row.pod for row in rows} == {"app-7"}
    assert [sum(row.stream == n for row in rows) for n in (0, 1)] == [100, 100]
    assert sum(row.connection == Connection.NEW for row in rows) >= 100 + 4


def test_a_stream_with_a_target_of_its_own(sender: str, tmp_path: Path) -> None:
    """It reaches that server alone, is asked for before the start, and may answer with any status."""

    def missing(peer: Peer) -> None:
        while peer.read():
            peer.write(b"HTTP/1.1 404 Not Found\r\nx-hazd-pod: beside\r\nContent-Length: 0\r\n\r\n")

    with Server(answer_always) as server, Server(missing) as other, worker(tmp_path) as remote:
        streams = (Stream("new", share=0.9), Stream("control", share=0.1, url=other.url))
        start_ns = remote.started(TrafficPlan(url=server.url, rate=200.0, streams=streams, sender=sender))
        remote.client.post("/stop", json={"at_unix_ns": start_ns + NS})
        status = remote.wait(lambda status: status["state"] == "done")
        asked = [sum(b"x-hazd-preflight" not in text.lower() for _, text in one.requests) for one in (server, other)]
        (tmp_path / "copy.bin").write_bytes(remote.records(limit=6400))
    assert asked == [180, 20]
    assert (status["due"], status["recorded"], status["not_sent_streams"]) == (200, 200, [0, 0])
    assert status["preflight_ok"] == 60
    assert {kind: n for kind, n in status["failed"].items() if n} == {"bad_status": 20}
    assert [{kind: n for kind, n in part.items() if n} for part in status["streams"]] == [
        {"ok": 180},
        {"bad_status": 20},
    ]
    rows = read_rows(tmp_path / "copy.bin", status["pods"])
    assert {(row.stream, row.pod) for row in rows} == {(0, "app-7"), (1, "beside")}


def test_a_second_target_that_is_not_there_ends_the_preflight(tmp_path: Path) -> None:
    """The run does not begin without its control: the error names the target and what was seen."""
    with Server(answer_always) as server, worker(tmp_path) as remote:
        streams = (Stream("new"), Stream("control", url="http://127.0.0.1:1/"))
        plan = TrafficPlan(url=server.url, rate=10.0, streams=streams, preflight_s=5.0)
        assert remote.client.post("/prepare", content=plan_to_json(plan)).status_code == 200
        status = remote.wait(lambda status: status["state"] != "preflight")
    assert status["state"] == "failed"
    assert "from http://127.0.0.1:1/" in status["error"]
    assert "refused" in status["error"]


def test_failures_in_the_middle(sender: str, tmp_path: Path) -> None:
    """Requests that fail are counted by kind, and still everything due is recorded."""

    def every_tenth_dies(peer: Peer) -> None:
        peer.read()
        if peer.number > 30 and peer.number % 10 == 0:
            return
        peer.write(b"HTTP/1.0 200 OK\r\n\r\nx")

    with Server(every_tenth_dies) as server, worker(tmp_path) as remote:
        plan = TrafficPlan(url=server.url, rate=100.0, streams=STREAMS, sender=sender)
        start_ns = remote.started(plan)
        remote.client.post("/stop", json={"at_unix_ns": start_ns + NS})
        status = remote.wait(lambda status: status["state"] == "done")
    assert status["due"] == status["recorded"] == 100
    assert status["ok"] == 90
    assert {kind: n for kind, n in status["failed"].items() if n} == {"eof": 10}


def test_bounded_in_flight(sender: str, tmp_path: Path) -> None:
    """A server that hangs: what exceeds max_in_flight is counted as not sent, and the rest ends as time-outs."""

    def hang_after_preflight(peer: Peer) -> None:
        if b"x-hazd-preflight: 1" in peer.read().lower():
            peer.write(b"HTTP/1.0 200 OK\r\n\r\nx")
        else:
            peer.wait_for_client_to_close()

    with Server(hang_after_preflight) as server, worker(tmp_path) as remote:
        plan = TrafficPlan(
            url=server.url,
            rate=100.0,
            streams=STREAMS,
            sender=sender,
            max_in_flight=20,
            timeout_s=1.0,
            max_duration_s=0.5,
        )
        remote.started(plan)
        status = remote.wait(lambda status: status["state"] == "done")
    assert (status["due"], status["recorded"], status["not_sent"]) == (50, 20, 30)
    assert status["failed"]["timeout"] == 20
    assert status["stopped_by"] == "max_duration"
    assert "max_duration" in status["error"]


def test_sigterm_in_the_middle_leaves_whole_records(sender: str, tmp_path: Path) -> None:
    """Told to end while running, the worker stops, finishes what it sent and exits with 0 and a whole file."""
    with Server(answer_always) as server, worker(tmp_path) as remote:
        remote.started(TrafficPlan(url=server.url, rate=200.0, streams=STREAMS, sender=sender))
        remote.wait(lambda status: status["recorded"] > 20)
    data = (tmp_path / "records" / "records.bin").read_bytes()
    assert len(data) % RECORD.size == 0
    assert len(data) // RECORD.size == len([t for _, t in server.requests if b"x-hazd-preflight" not in t.lower()])


def test_full_disk(sender: str, tmp_path: Path) -> None:
    """A disk that takes no records fails the run, in words; the worker still answers and still ends well."""
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "records.bin").symlink_to("/dev/full")
    with Server(answer_always) as server, worker(tmp_path) as remote:
        remote.started(TrafficPlan(url=server.url, rate=100.0, streams=STREAMS, sender=sender))
        status = remote.wait(lambda status: status["state"] == "failed")
    assert "No space left" in status["error"]
    assert status["sha256"] == ""


def test_preflight_says_what_it_saw(tmp_path: Path) -> None:
    """A target that refuses fails the preflight within its time, with the errno's name; preparing again is possible."""
    with Server(answer_always) as server:
        url = server.url
        streams = (Stream("new"),)
    with worker(tmp_path) as remote:
        plan = TrafficPlan(url=url, rate=1.0, streams=streams, preflight_s=1.5)
        remote.client.post("/prepare", content=plan_to_json(plan))
        status = remote.wait(lambda status: status["state"] == "failed")
        assert "0 of 30 good responses in a row in 1.5 s; last: refused (ECONNREFUSED) in connect" in status["error"]
        with Server(answer_always) as server:
            remote.prepared(replace(plan, url=server.url, preflight_s=20))


def test_preflight_waits_for_pods(tmp_path: Path) -> None:
    """As many different pods as the plan wants must have answered; fewer is a failure that says how many."""

    def one_of_three(peer: Peer) -> None:
        peer.read()
        peer.write(b"HTTP/1.0 200 OK\r\nX-Hazd-Pod: app-%d\r\n\r\nx" % (peer.number % 3))

    with Server(one_of_three) as server, worker(tmp_path) as remote:
        plan = TrafficPlan(url=server.url, rate=1.0, streams=STREAMS, preflight_pods=4, preflight_s=2)
        remote.client.post("/prepare", content=plan_to_json(plan))
        status = remote.wait(lambda status: status["state"] == "failed")
        assert "3 of 4 pods" in status["error"]
        remote.prepared(replace(plan, preflight_pods=3, preflight_s=20))


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nothing", b"", 404),
        ("POST", "/status", b"", 405),
        ("POST", "/prepare", b"not json", 400),
        ("POST", "/prepare", b'{"url": 1}', 400),
        ("POST", "/start", b'{"at_unix_ns": 1}', 409),
        ("POST", "/stop", b'{"at_unix_ns": 1}', 409),
        ("POST", "/stop", b'{"at": 1}', 400),
        ("GET", "/records?offset=63", b"", 400),
        ("GET", "/records?limit=-1", b"", 400),
    ],
)
def test_bad_calls(control: Remote, method: str, path: str, body: bytes, status: int) -> None:
    """Each has its status and one JSON error, and the worker lives on."""
    answer = control.client.request(method, path, content=body)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert control.status()["state"] == "idle"


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    with worker(tmp_path_factory.mktemp("worker")) as remote:
        yield remote


def test_port_taken(tmp_path: Path) -> None:
    """One line that says so, and exit code 3."""
    with Server(answer_always) as server:
        child = subprocess.run(
            [
                sys.executable,
                "-m",
                "hazd.traffic.worker",
                "--port",
                str(server.port),
                "--host",
                "127.0.0.1",
                "--dir",
                str(tmp_path),
            ],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert (child.returncode, child.stderr) == (3, "")
    assert json.loads(child.stdout)["event"] == "failed"
