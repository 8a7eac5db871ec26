"""An API server that says what a test tells it to, on loopback: for what a real one does too seldom to wait for."""

from __future__ import annotations

import json
import threading
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Reply:
    """status and body; `chunks` are sent one by one, then `end`: "done" ends properly, "cut" breaks, "hold" waits."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    chunks: tuple[bytes, ...] = ()
    end: str = ""


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    body: bytes
    headers: dict[str, str]


def ok(found: Any) -> Reply:
    return Reply(200, json.dumps(found).encode())


def failure(code: int, reason: str, message: str, **more: Any) -> Reply:
    status = {"kind": "Status", "apiVersion": "v1", "code": code, "reason": reason, "message": message, **more}
    return Reply(code, json.dumps(status).encode())


def watching(*changes: tuple[str, dict[str, Any]], end: str = "hold") -> Reply:
    lines = tuple(json.dumps({"type": kind, "object": obj}).encode() + b"\n" for kind, obj in changes)
    return Reply(200, chunks=lines, end=end)


class FakeApi:
    """Routes are "METHOD path" (watches: "WATCH path"); each has a queue of replies, the last of which stays."""

    def __init__(self) -> None:
        self._replies: dict[str, deque[Reply]] = defaultdict(deque)
        self.requests: list[Request] = []
        self.over = threading.Event()
        self.say("GET /version", ok({"gitVersion": "v1.34.4"}))
        self.say(
            "GET /api/v1/nodes", ok({"metadata": {"resourceVersion": "1"}, "items": [{"metadata": {"name": "n"}}]})
        )

    def say(self, route: str, *replies: Reply) -> None:
        self._replies[route] = deque(replies)

    def asked(self, route: str) -> list[Request]:
        return [request for request in self.requests if self._route(request) == route]

    @staticmethod
    def _route(request: Request) -> str:
        return f"{'WATCH' if 'watch' in request.query else request.method} {request.path}"

    def answer(self, request: Request) -> Reply:
        self.requests.append(request)
        replies = self._replies[self._route(request)]
        if not replies:
            return failure(404, "NotFound", f"the server could not find {request.path}")
        return replies.popleft() if len(replies) > 1 else replies[0]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: FakeApi

    def log_message(self, format: str, *args: object) -> None:
        return

    def _serve(self) -> None:
        split = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {key.lower(): value for key, value in self.headers.items()}
        query = dict(parse_qsl(split.query))
        reply = self.api.answer(Request(self.command, split.path, query, body, headers))
        self.send_response(reply.status)
        for key, value in reply.headers.items():
            self.send_header(key, value)
        if not reply.end:
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in reply.chunks:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            self.wfile.flush()
        if reply.end == "hold":
            self.api.over.wait(30)
        if reply.end == "done":
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.close_connection = True

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _serve


@contextmanager
def serve(folder: Path) -> Iterator[tuple[FakeApi, str]]:
    """A running FakeApi and the path of a kubeconfig whose context "fake" leads to it."""
    api = FakeApi()
    handler = type("Handler", (_Handler,), {"api": api})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), name="fake-api")
        thread.start()
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(json.dumps(_kubeconfig(f"http://127.0.0.1:{server.server_port}")))
        try:
            yield api, str(kubeconfig)
        finally:
            api.over.set()
            server.shutdown()
            thread.join()


def _kubeconfig(server: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "fake",
        "clusters": [{"name": "fake", "cluster": {"server": server}}],
        "users": [{"name": "fake", "user": {"token": "of-a-test"}}],
        "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
    }
