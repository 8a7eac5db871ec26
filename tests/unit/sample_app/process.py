"""A sample app as a real process on a port of the kernel's choice, and a client that sees every byte of it.

Nothing here sleeps: whoever waits, waits for a line of the life log or for a socket, both bounded.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

PATIENCE_S = 20.0


@dataclass
class Answer:
    """One whole HTTP answer. Header names are lower-case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def closes(self) -> bool:
        return self.headers.get("connection") == "close"


class Client:
    """A blocking connection that reads answers one by one and keeps what came too early."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        self._early = b""

    def send(self, head: str = "GET / HTTP/1.1", *headers: str, body: bytes = b"") -> None:
        self.sock.sendall("\r\n".join([head, "Host: app", *headers, "", ""]).encode() + body)

    def read(self, *, head_only: bool = False) -> Answer:
        while b"\r\n\r\n" not in self._early:
            self._more()
        head, _, self._early = self._early.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = 0 if head_only or first.split()[1] == "100" else int(headers["content-length"])
        while len(self._early) < length:
            self._more()
        body, self._early = self._early[:length], self._early[length:]
        return Answer(int(first.split()[1]), headers, body)

    def ask(self, head: str = "GET / HTTP/1.1", *headers: str, body: bytes = b"") -> Answer:
        self.send(head, *headers, body=body)
        return self.read(head_only=head.startswith("HEAD"))

    def at_end(self) -> bool:
        """Wait for the server's FIN; False when more data came instead. A reset raises."""
        return not self._early and self.sock.recv(1) == b""

    def close(self) -> None:
        self.sock.close()

    def _more(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise EOFError(f"the server closed after {self._early!r}")
        self._early += data


@dataclass
class Running:
    """The process, its life log so far, and what it wrote to standard error."""

    process: subprocess.Popen[bytes]
    lines: list[dict[str, Any]] = field(default_factory=list)
    port: int = 0
    clients: list[Client] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._incoming: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._incoming.put(json.loads(line))
        self._incoming.put(None)

    def wait_for(self, event: str) -> dict[str, Any]:
        """The next line with this event; the lines before it are kept in `lines`."""
        while True:
            line = self._incoming.get(timeout=PATIENCE_S)
            assert line is not None, f"the app ended without {event!r}: {[item['event'] for item in self.lines]}"
            self.lines.append(line)
            if line["event"] == event:
                return line

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def ended(self) -> int:
        """Wait for the end; the rest of the life log is then in `lines`. Gives the exit code."""
        code = self.process.wait(PATIENCE_S)
        while (line := self._incoming.get(timeout=PATIENCE_S)) is not None:
            self.lines.append(line)
        return code

    def client(self) -> Client:
        """A new connection, closed with the process at the latest."""
        self.clients.append(Client(self.port))
        return self.clients[-1]

    def stats(self) -> dict[str, Any]:
        client = self.client()
        found = client.ask("GET /stats HTTP/1.1", "Connection: close").json
        client.close()
        return found

    def until_in_flight(self, count: int) -> None:
        """Ask until the app works on so many requests; each question waits for its own answer, nothing is timed."""
        while self.stats()["in_flight"] != count:
            assert self.process.poll() is None

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        for client in self.clients:
            client.close()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


def environment(**knobs: object) -> dict[str, str]:
    """The test's environment with the app's variables, and none of the app's variables that were set outside."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("HAZD_") and name != "POD_NAME"}
    return outside | {"HAZD_PORT": "0", "POD_NAME": "pod-1"} | {name: str(value) for name, value in knobs.items()}


@contextlib.contextmanager
def started(**knobs: object) -> Iterator[Running]:
    """A process that has written `started`; killed on the way out when it still lives."""
    command = [sys.executable, "-m", "hazd.sample_app.app"]
    pipe = subprocess.PIPE
    running = Running(subprocess.Popen(command, env=environment(**knobs), stdout=pipe, stderr=pipe))
    try:
        running.wait_for("started")
        yield running
    finally:
        running.close()


@contextlib.contextmanager
def listening(**knobs: object) -> Iterator[Running]:
    """A process that serves."""
    with started(**knobs) as running:
        running.port = running.wait_for("listening")["port"]
        yield running
