"""The sample app: a small asyncio HTTP/1.1 server whose start, end and speed are set by environment variables.

It is the thing that is rolled, drained and scaled, so it must be cheap (it shares two cores with a whole cluster),
quick to start (standard library only, nothing of hazd outside this folder) and honest: it counts what it served and
logs its own life as JSON lines. It must not retry, cache or smooth anything. With a certificate it has two ports: one
for TLS, and the plain one for whoever asks for /stats.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import importlib
import json
import os
import signal
import socket
import ssl
import sys
import time

from hazd.sample_app.conversation import LINGER_S, Conversation, is_ordinary
from hazd.sample_app.http1 import Request, only_request
from hazd.sample_app.knobs import Knobs

BACKLOG = 1024
FIRST_READ = 65_536
HANDSHAKE_S = 10.0
_REASONS = {200: "OK", 400: "Bad Request", 431: "Request Header Fields Too Large", 501: "Not Implemented"}
_ANCHOR_NS = time.time_ns() - time.monotonic_ns()


def now_ns() -> int:
    """Unix time in ns from the monotonic clock: a step of the wall clock moves no line of the life log."""
    return _ANCHOR_NS + time.monotonic_ns()


class App:
    """Counts, life log, listener and end of one process."""

    def __init__(self, knobs: Knobs) -> None:
        """Raises ValueError when the knobs ask for what cannot be had."""
        self.knobs = knobs
        self._tls = server_context(knobs.tls_cert, knobs.tls_key, knobs.http2) if knobs.tls_cert else None
        if knobs.http2:
            load_http2()
        self.served = self.preflight = self.bad = self.accepted = self.open = self.in_flight = 0
        self.started_ns = now_ns()
        self.listening_ns = self.sigterm_ns = self.last_ns = 0
        self.draining = False
        self._listeners: dict[socket.socket, ssl.SSLContext | None] = {}
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
            ports = f"HAZD_PORT={self.knobs.port}" + (f", HAZD_TLS_PORT={self.knobs.tls_port}" if self._tls else "")
            print(f"hazd app: {ports}: cannot listen: {problem}", file=sys.stderr, flush=True)
            os._exit(3)
        await asyncio.Event().wait()

    def listen(self) -> int:
        """Open the ports and serve from the next turn of the loop on; gives the plain one. Raises OSError."""
        plain = _listen(self.knobs.port)
        self._listeners[plain] = None
        ports = {"port": int(plain.getsockname()[1])}
        if self._tls is not None:
            secure = _listen(self.knobs.tls_port)
            self._listeners[secure] = self._tls
            ports["tls_port"] = int(secure.getsockname()[1])
        self.listening_ns = now_ns()
        self.log("listening", self.listening_ns, **ports)
        for listener in self._listeners:
            self._accept_from(listener)
        return ports["port"]

    def _accept_from(self, listener: socket.socket) -> None:
        if listener in self._listeners:
            asyncio.get_running_loop().add_reader(listener.fileno(), self.accept_all, listener)

    def accept_all(self, listener: socket.socket, most: int = BACKLOG) -> None:
        """Take the connections that the kernel has finished for us."""
        loop, tls = asyncio.get_running_loop(), self._listeners[listener]
        for _ in range(most):
            try:
                client, _ = listener.accept()
            except BlockingIOError:
                return
            except OSError as problem:
                if problem.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    loop.remove_reader(listener.fileno())  # no spinning until something was closed
                    loop.call_later(0.1, self._accept_from, listener)
                    return
                continue  # ECONNABORTED: the client left while it waited
            client.setblocking(False)
            self.accepted += 1
            early = b"" if tls else self._answer_at_once(client)
            if early is not None:
                self.open += 1
                task = loop.create_task(self._join(client, tls, early))
                self._joining.add(task)
                task.add_done_callback(self._joining.discard)

    def _answer_at_once(self, client: socket.socket) -> bytes | None:
        """Answer and close a connection whose one request is here already and asks for no other; gives None then.

        Else what was read so far. A transport, a task and a lingering close cost five times as much, and most
        connections are of this kind. Nothing of the client's is left unread, so a full close resets nothing.
        """
        try:
            data = client.recv(FIRST_READ)
        except BlockingIOError:
            return b""
        except OSError:
            client.close()
            return None
        request = only_request(data)
        if request is None or not request.close or self.knobs.latency_s:
            return data
        if self.knobs.cpu_s and is_ordinary(request):
            self.work()
        self.open += 1
        with contextlib.suppress(OSError):  # a client that left; an answer is far smaller than a new socket's buffer
            client.send(self.answer(request, True))
        self.open -= 1
        client.close()
        return None

    async def _join(self, client: socket.socket, tls: ssl.SSLContext | None, early: bytes) -> None:
        talk = Conversation(self, early)
        limits = {"ssl_handshake_timeout": HANDSHAKE_S, "ssl_shutdown_timeout": LINGER_S}
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: talk, client, ssl=tls, **(limits if tls else {})
            )
        except OSError:  # ssl.SSLError is one: no handshake, so the conversation never began and will never end
            self.open -= 1
            self.leave_when_drained()

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
        for listener in self._listeners:
            asyncio.get_running_loop().remove_reader(listener.fileno())
            self.accept_all(listener, most=sys.maxsize)
            listener.close()
        self._listeners = {}
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

    def respond(self, request: Request) -> bytes:
        """Count the request; gives the body of its answer."""
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

    def answer(self, request: Request, close: bool) -> bytes:
        """Count the request and build the whole answer."""
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

    def stats(self) -> dict[str, object]:
        """What /stats answers; times in ns since the Unix epoch, 0 for what has not happened."""
        counts = {"served": self.served, "preflight": self.preflight, "bad": self.bad, "accepted": self.accepted}
        times = {"started_ns": self.started_ns, "listening_ns": self.listening_ns, "sigterm_ns": self.sigterm_ns}
        now = {"connections": self.open, "in_flight": self.in_flight, "last_request_ns": self.last_ns}
        return {"pod": self.knobs.pod, "tag": self.knobs.tag, **counts, **now, **times}

    def today(self) -> bytes:
        second = int(time.time())
        if second != self._stamp:
            self._stamp = second
            self._date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(second)).encode("ascii")
        return self._date


def _listen(port: int) -> socket.socket:
    """IPv6 and IPv4 on one socket where the kernel can, else IPv4 alone."""
    try:
        listener = socket.create_server(("", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True)
    except (OSError, ValueError):
        listener = socket.create_server(("", port), backlog=BACKLOG)
    listener.setblocking(False)
    return listener


def load_http2() -> None:
    """Now, and not when the first client speaks it and waits. Raises ValueError."""
    try:
        importlib.import_module("hazd.sample_app.http2")
    except ImportError as problem:
        raise ValueError(f"HAZD_HTTP2='1': must be 0 here, {problem}") from problem


def server_context(chain_pem: str, key_pem: str, http2: bool) -> ssl.SSLContext:
    """A server's context from PEM texts. Raises ValueError. ssl reads files alone, so it gets one without a name."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    if http2:
        context.set_alpn_protocols(["h2", "http/1.1"])
    file = os.memfd_create("hazd-tls")
    try:
        os.write(file, f"{chain_pem}\n{key_pem}\n".encode())
        context.load_cert_chain(f"/proc/self/fd/{file}")
    except ssl.SSLError as problem:
        raise ValueError(f"HAZD_TLS_CERT, HAZD_TLS_KEY: must be a PEM certificate and its key: {problem}") from problem
    finally:
        os.close(file)
    return context


def main() -> int:
    """Run until a signal ends the process; 2 when a knob makes no sense, 3 when the port is taken."""
    try:
        app = App(Knobs.read(os.environ))
    except ValueError as problem:
        print(f"hazd app: {problem}", file=sys.stderr, flush=True)
        return 2
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    asyncio.run(app.run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
