"""The sample app: a small asyncio HTTP/1.1 server whose start, end and speed are set by environment variables.

It is the thing that is rolled, drained and scaled, so it must be cheap (it shares two cores with a whole cluster),
quick to start (standard library only, nothing of hazd outside this folder) and honest: it counts what it served and
logs its own life as JSON lines. It must not retry, cache or smooth anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import signal
import socket
import sys
import time
from collections import deque

from hazd.workload.http1 import Request, RequestParser
from hazd.workload.knobs import Knobs

PIPELINE_LIMIT = 64  # requests waiting on one connection before reading stops
LINGER_S = 2.0  # how long a half-closed connection may take to send its own FIN
BACKLOG = 1024
PATHS_OF_ITS_OWN = ("/healthz", "/stats")
_REASONS = {200: "OK", 400: "Bad Request", 431: "Request Header Fields Too Large", 501: "Not Implemented"}
_ANCHOR_NS = time.time_ns() - time.monotonic_ns()


def now_ns() -> int:
    """Unix time in ns from the monotonic clock: a step of the wall clock moves no line of the life log."""
    return _ANCHOR_NS + time.monotonic_ns()


class App:
    """Counts, life log, listener and end of one process."""

    def __init__(self, knobs: Knobs) -> None:
        self.knobs = knobs
        self.served = self.preflight = self.bad = self.accepted = self.open = self.in_flight = 0
        self.started_ns = now_ns()
        self.listening_ns = self.sigterm_ns = self.last_ns = 0
        self.draining = False
        self._listener: socket.socket | None = None
        self._joining: set[asyncio.Task[object]] = set()
        self._stamp, self._date = 0, b""
        head = f"Content-Type: application/json\r\nx-hazd-pod: {knobs.pod}\r\nx-hazd-served: "
        self._head = head.encode("ascii")
        self._body_start = f'{{"pod": {json.dumps(knobs.pod)}, "served": '.encode()
        self._body_end = f', "tag": {json.dumps(knobs.tag)}}}'.encode()

    def log(self, event: str, t_ns: int = 0, **more: object) -> None:
        """One JSON line, written at once: whoever kills this process next must not take the line with it."""
        line = {"t_ns": t_ns or now_ns(), "event": event, "pod": self.knobs.pod, "served": self.served}
        counts = {"preflight": self.preflight, "open": self.open, "in_flight": self.in_flight}
        with contextlib.suppress(OSError):  # a reader that went away must not stop the app
            os.write(1, json.dumps(line | counts | more).encode() + b"\n")

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.on_sigterm)
        self.log("started", self.started_ns, tag=self.knobs.tag, on_sigterm=self.knobs.on_sigterm)
        await asyncio.sleep(self.knobs.startup_delay_s)
        try:
            self.listen()
        except OSError as problem:
            print(f"hazd app: HAZD_PORT={self.knobs.port}: cannot listen: {problem}", file=sys.stderr, flush=True)
            os._exit(3)
        await asyncio.Event().wait()

    def listen(self) -> int:
        """Open the port and serve from the next turn of the loop on; gives the port. Raises OSError."""
        self._listener = _listen(self.knobs.port)
        port: int = self._listener.getsockname()[1]
        self.listening_ns = now_ns()
        self.log("listening", self.listening_ns, port=port)
        asyncio.get_running_loop().add_reader(self._listener.fileno(), self.accept_all)
        return port

    def accept_all(self) -> None:
        """Take every connection that the kernel has finished for us."""
        loop = asyncio.get_running_loop()
        while self._listener is not None:
            try:
                client, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as problem:
                if problem.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    loop.remove_reader(self._listener.fileno())  # no spinning until something was closed
                    loop.call_later(0.1, self._accept_again)
                    return
                continue  # ECONNABORTED: the client left while it waited
            client.setblocking(False)
            self.open += 1
            self.accepted += 1
            task = loop.create_task(loop.connect_accepted_socket(lambda: Conversation(self), client))
            self._joining.add(task)
            task.add_done_callback(self._joining.discard)

    def _accept_again(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().add_reader(self._listener.fileno(), self.accept_all)

    def on_sigterm(self) -> None:
        if self.sigterm_ns and self.knobs.on_sigterm != "ignore":
            return
        self.sigterm_ns = self.sigterm_ns or now_ns()
        self.log("sigterm", on_sigterm=self.knobs.on_sigterm)
        if self.knobs.on_sigterm == "exit":
            self.leave()
        elif self.knobs.on_sigterm == "ignore":
            self._report_until_killed(-1)
        else:
            self._drain()

    def _drain(self) -> None:
        """Stop accepting, finish what is open, answer the rest with `Connection: close` (RFC 9112 section 9.6).

        What the kernel holds in the accept queue is taken first: closing a listener resets those connections,
        although their clients were told that they are connected. Idle connections stay open, because closing one
        races with the client's next request. /healthz stays 200: a pod that is being deleted is taken out of the
        endpoints for its deletion, and a failing probe would only make the kubelet restart what is leaving.
        """
        self.draining = True
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener.fileno())
            self.accept_all()
            self._listener.close()
            self._listener = None
        self.leave_when_drained()
        asyncio.get_running_loop().call_later(self.knobs.shutdown_timeout_s, self.leave, True)

    def leave_when_drained(self) -> None:
        if self.draining and not self.open:
            self.log("drained")
            self.leave()

    def leave(self, timed_out: bool = False) -> None:
        """Write the last lines and end the process at once, with status 0; open connections die with it."""
        if self.last_ns:
            self.log("last_request", self.last_ns)
        self.log("exit", timed_out=timed_out)
        os._exit(0)

    def _report_until_killed(self, seen: int) -> None:
        """Nobody can log being killed by SIGKILL, so one that ignores SIGTERM reports every 0.1 s."""
        if self.last_ns and self.served != seen:
            self.log("last_request", self.last_ns)
        asyncio.get_running_loop().call_later(0.1, self._report_until_killed, self.served)

    def work(self) -> None:
        """Burn the CPU time that one request costs; thread time, so that being throttled does not count as work."""
        end = time.thread_time() + self.knobs.cpu_s
        while time.thread_time() < end:
            pass

    def answer(self, request: Request, close: bool) -> bytes:
        """Count the request and build the whole answer."""
        if request.status != 200:
            self.bad += 1
            body = json.dumps({"pod": self.knobs.pod, "error": request.problem}).encode()
        elif request.path == "/stats":
            body = json.dumps(self.stats()).encode()
        else:
            if request.path != "/healthz":
                self.preflight += request.preflight
                self.served += not request.preflight
                self.last_ns = self.last_ns if request.preflight else now_ns()
            body = b"%b%d%b" % (self._body_start, self.served, self._body_end)
        lines = (
            b"HTTP/1.1 %d %b" % (request.status, _REASONS[request.status].encode()),
            b"%b%d" % (self._head, self.served),
            b"Date: " + self._today(),
            b"Content-Length: %d%b" % (len(body), b"\r\nConnection: close" if close else b""),
            b"",
            b"" if request.method == b"HEAD" else body,
        )
        return b"\r\n".join(lines)

    def stats(self) -> dict[str, object]:
        """What /stats answers; times in ns since the Unix epoch, 0 for what has not happened."""
        counts = {"served": self.served, "preflight": self.preflight, "bad": self.bad, "accepted": self.accepted}
        times = {"started_ns": self.started_ns, "listening_ns": self.listening_ns, "sigterm_ns": self.sigterm_ns}
        now = {"connections": self.open, "in_flight": self.in_flight, "last_request_ns": self.last_ns}
        return {"pod": self.knobs.pod, "tag": self.knobs.tag, **counts, **now, **times}

    def _today(self) -> bytes:
        second = int(time.time())
        if second != self._stamp:
            self._stamp = second
            self._date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(second)).encode("ascii")
        return self._date


class Conversation(asyncio.Protocol):
    """One connection: its requests are answered one after the other, in order, also when they come pipelined."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.transport: asyncio.Transport
        self.parser = RequestParser()
        self.waiting: deque[Request] = deque()
        self.answered = 0
        self.busy = False  # a request's latency is running
        self.choked = False  # the client does not read its answers
        self.ending = False  # the last answer is written; what still comes is dropped
        self.peer_done = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.ending = True
        self.waiting.clear()
        if self.busy:
            self.busy = False
            self.app.in_flight -= 1
        self.app.open -= 1
        self.app.leave_when_drained()

    def data_received(self, data: bytes) -> None:
        if self.ending:
            return
        self.waiting.extend(self.parser.feed(data))
        if self.parser.wants_continue and not (self.waiting or self.busy):
            self.parser.wants_continue = False
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.serve()
        if len(self.waiting) > PIPELINE_LIMIT:
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        """A client may shut down its sending side and still wait for answers: keep open while some are due."""
        self.peer_done = True
        return bool(self.waiting or self.busy) and not self.ending

    def pause_writing(self) -> None:
        self.choked = True

    def resume_writing(self) -> None:
        self.choked = False
        self.serve()

    def serve(self) -> None:
        app = self.app
        while self.waiting and not (self.busy or self.choked or self.ending):
            request = self.waiting.popleft()
            ordinary = request.status == 200 and request.path not in PATHS_OF_ITS_OWN
            if ordinary and app.knobs.cpu_s:
                app.work()
            if ordinary and app.knobs.latency_s:
                self.busy = True
                app.in_flight += 1
                asyncio.get_running_loop().call_later(app.knobs.latency_s, self.serve_late, request)
            else:
                self.finish(request)
        if len(self.waiting) <= PIPELINE_LIMIT and not self.ending:
            self.transport.resume_reading()

    def serve_late(self, request: Request) -> None:
        if self.busy:
            self.busy = False
            self.app.in_flight -= 1
            self.finish(request)
            self.serve()

    def finish(self, request: Request) -> None:
        recycle = self.app.knobs.recycle_after
        self.answered += 1
        last = request.close or self.app.draining or bool(recycle and self.answered >= recycle)
        last = last or (self.peer_done and not self.waiting)
        self.transport.write(self.app.answer(request, last))
        if last:
            self.end()

    def end(self) -> None:
        """Lingering close (RFC 9112 section 9.6): half-close, then read until the client's FIN.

        A full close with unread bytes makes the kernel send RST, which destroys the answer in the client's buffer.
        """
        self.ending = True
        self.waiting.clear()
        if self.peer_done:
            self.transport.close()
            return
        self.transport.write_eof()
        self.transport.resume_reading()
        asyncio.get_running_loop().call_later(LINGER_S, self.transport.abort)


def _listen(port: int) -> socket.socket:
    """IPv6 and IPv4 on one socket where the kernel can, else IPv4 alone."""
    try:
        listener = socket.create_server(("", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True)
    except (OSError, ValueError):
        listener = socket.create_server(("", port), backlog=BACKLOG)
    listener.setblocking(False)
    return listener


def main() -> int:
    """Run until a signal ends the process; 2 when a knob makes no sense, 3 when the port is taken."""
    try:
        knobs = Knobs.read(os.environ)
    except ValueError as problem:
        print(f"hazd app: {problem}", file=sys.stderr, flush=True)
        return 2
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    asyncio.run(App(knobs).run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
