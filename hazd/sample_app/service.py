"""What the sample app serves, whatever the protocol: the response to a request, and the counts that /stats reports.

Connections use it and know nothing else of the process: listeners, signals and the end belong to app.py. Standard
library only. It must not retry, cache or smooth anything.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from hazd.sample_app.http1 import Request
from hazd.sample_app.knobs import Knobs

PATHS_OF_ITS_OWN = ("/healthz", "/stats")
_REASONS = {200: "OK", 400: "Bad Request", 431: "Request Header Fields Too Large", 501: "Not Implemented"}
_ANCHOR_NS = time.time_ns() - time.monotonic_ns()


def now_ns() -> int:
    """Unix time in ns from the monotonic clock: a step of the wall clock moves no line of the life log."""
    return _ANCHOR_NS + time.monotonic_ns()


class Service:
    """Counts and responses of one process.

    open and in_flight: connections and requests right now. draining: each connection ends with its next response.
    on_drained: called when the last open connection ends while draining. Times in ns since the Unix epoch, 0 for what
    has not happened.
    """

    def __init__(self, knobs: Knobs, on_drained: Callable[[], None]) -> None:
        self.knobs = knobs
        self.draining = False
        self.served = self.preflight = self.bad = self.accepted = self.open = self.in_flight = 0
        self.started_ns = now_ns()
        self.listening_ns = self.sigterm_ns = self.last_ns = 0
        self._on_drained = on_drained
        self._stamp, self._date = 0, b""
        head = f"Content-Type: application/json\r\nx-hazd-pod: {knobs.pod}\r\nx-hazd-served: "
        self._head = head.encode("ascii")
        self._body_start = f'{{"pod": {json.dumps(knobs.pod)}, "served": '.encode()
        self._body_end = f', "tag": {json.dumps(knobs.tag)}}}'.encode()

    def closed(self) -> None:
        """A connection has ended."""
        self.open -= 1
        self.drained()

    def drained(self) -> None:
        """Call `on_drained` when there is nothing left to finish."""
        if self.draining and not self.open:
            self._on_drained()

    def ends_after(self, responses: int) -> bool:
        """Whether a connection ends with its response number `responses`: it is draining, or recycled."""
        return self.draining or bool(self.knobs.recycle_after and responses >= self.knobs.recycle_after)

    def work(self) -> None:
        """Burn the CPU time that one request costs; thread time, so that being throttled does not count as work."""
        if not self.knobs.cpu_s:
            return
        end = time.thread_time() + self.knobs.cpu_s
        while time.thread_time() < end:
            pass

    def respond(self, request: Request) -> bytes:
        """Count the request; gives the body of its response."""
        if request.status != 200:
            self.bad += 1
            return json.dumps({"pod": self.knobs.pod, "error": request.problem}).encode()
        if request.path == "/stats":
            return json.dumps(self.stats()).encode()
        if request.path != "/healthz":
            self.preflight += request.preflight
            self.served += not request.preflight
            self.last_ns = self.last_ns if request.preflight else now_ns()
        return b"%b%d%b" % (self._body_start, self.served, self._body_end)

    def http1_response(self, request: Request, close: bool) -> bytes:
        """Count the request and build the whole HTTP/1.1 response."""
        body = self.respond(request)
        lines = (
            b"HTTP/1.1 %d %b" % (request.status, _REASONS[request.status].encode()),
            b"%b%d" % (self._head, self.served),
            b"Date: " + self.today(),
            b"Content-Length: %d%b" % (len(body), b"\r\nConnection: close" if close else b""),
            b"",
            b"" if request.method == b"HEAD" else body,
        )
        return b"\r\n".join(lines)

    def counts(self) -> dict[str, int]:
        """What every line of the life log carries."""
        return {"served": self.served, "preflight": self.preflight, "open": self.open, "in_flight": self.in_flight}

    def stats(self) -> dict[str, object]:
        """The body of /stats."""
        counts = {"served": self.served, "preflight": self.preflight, "bad": self.bad, "accepted": self.accepted}
        times = {"started_ns": self.started_ns, "listening_ns": self.listening_ns, "sigterm_ns": self.sigterm_ns}
        now = {"connections": self.open, "in_flight": self.in_flight, "last_request_ns": self.last_ns}
        return {"t_ns": now_ns(), "pod": self.knobs.pod, "tag": self.knobs.tag, **counts, **now, **times}

    def today(self) -> bytes:
        """The Date header's value (RFC 9110 section 5.6.7)."""
        second = int(time.time())
        if second != self._stamp:
            self._stamp = second
            self._date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(second)).encode("ascii")
        return self._date


def is_ordinary(request: Request) -> bool:
    """Whether the app works for it (--cpu, --latency); probes and hazd's own questions get a response at once."""
    return request.status == 200 and request.path not in PATHS_OF_ITS_OWN


__all__ = ["PATHS_OF_ITS_OWN", "Service", "is_ordinary", "now_ns"]
