"""The sample app: a small asyncio HTTP/1.1 server whose start, end and speed are set by environment variables.

It is the thing that is rolled, drained and scaled, so it must be cheap (it shares two cores with a whole cluster),
quick to start (standard library only, nothing of hazd outside this folder) and honest: it counts what it served and
logs its own life as JSON lines. This file owns listeners, signals and exit; service.py has the responses and
their counts. With a certificate there are two ports: one for TLS, and the plain one for whoever asks for /stats.
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

from hazd.sample_app.conversation import LINGER_S, Conversation
from hazd.sample_app.http1 import only_request
from hazd.sample_app.knobs import Knobs
from hazd.sample_app.service import Service, is_ordinary, now_ns

BACKLOG = 1024
FIRST_READ = 65_536
HANDSHAKE_S = 10.0


class App:
    """Listeners, life log and end of one process."""

    def __init__(self, knobs: Knobs) -> None:
        """Raises ValueError for knobs that ask for what cannot be had."""
        self.knobs = knobs
        self._tls = server_context(knobs.tls_cert, knobs.tls_key, knobs.http2) if knobs.tls_cert else None
        if knobs.http2:
            load_http2()
        self.service = Service(knobs, self._on_drained)
        self._listeners: dict[socket.socket, ssl.SSLContext | None] = {}
        self._joining: set[asyncio.Task[object]] = set()

    def log(self, event: str, t_ns: int = 0, **more: object) -> None:
        """One JSON line, written at once: whoever kills this process next must not take the line with it."""
        line = {"t_ns": t_ns or now_ns(), "event": event, "pod": self.knobs.pod, **self.service.counts(), **more}
        with contextlib.suppress(OSError):  # a reader that went away must not stop the app
            os.write(1, json.dumps(line).encode() + b"\n")

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.on_sigterm)
        self.log("started", self.service.started_ns, tag=self.knobs.tag, on_sigterm=self.knobs.on_sigterm)
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
        self.service.listening_ns = now_ns()
        self.log("listening", self.service.listening_ns, **ports)
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
            self.service.accepted += 1
            early = b"" if tls else self._respond_at_once(client)
            if early is not None:
                self.service.open += 1
                task = loop.create_task(self._join(client, tls, early))
                self._joining.add(task)
                task.add_done_callback(self._joining.discard)

    def _respond_at_once(self, client: socket.socket) -> bytes | None:
        """Respond to and close a connection whose one request is here already and asks for no other; gives None then.

        Else what was read so far. A transport, a task and a lingering close cost five times as much, and most
        connections are of this kind. Nothing of the client's is left unread, so a full close resets nothing.
        """
        service = self.service
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
        if is_ordinary(request):
            service.work()
        service.open += 1
        with contextlib.suppress(OSError):  # a client that left; a response is far smaller than a new socket's buffer
            client.send(service.http1_response(request, True))
        service.open -= 1
        client.close()
        return None

    async def _join(self, client: socket.socket, tls: ssl.SSLContext | None, early: bytes) -> None:
        talk = Conversation(self.service, become_http2, early)
        limits = {"ssl_handshake_timeout": HANDSHAKE_S, "ssl_shutdown_timeout": LINGER_S}
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: talk, client, ssl=tls, **(limits if tls else {})
            )
        except OSError:  # ssl.SSLError is one: no handshake, so the conversation never began and will never end
            self.service.closed()

    def on_sigterm(self) -> None:
        service = self.service
        if service.sigterm_ns and self.knobs.on_sigterm != "ignore":
            return
        service.sigterm_ns = service.sigterm_ns or now_ns()
        self.log("sigterm", on_sigterm=self.knobs.on_sigterm)
        if self.knobs.on_sigterm == "exit":
            self.leave()
        elif self.knobs.on_sigterm == "ignore":
            self._report_until_killed(-1)
        else:
            self._drain()

    def _drain(self) -> None:
        """Stop accepting, finish what is open, respond to the rest with `Connection: close` (RFC 9112 section 9.6).

        What the kernel holds in the accept queue is taken first: closing a listener resets those connections,
        although they are established for their clients. Idle connections stay open, because closing one
        races with the client's next request. /healthz stays 200: a pod that is being deleted is taken out of the
        endpoints for its deletion, and a failing probe would only make the kubelet restart what is leaving.
        """
        self.service.draining = True
        for listener in self._listeners:
            asyncio.get_running_loop().remove_reader(listener.fileno())
            self.accept_all(listener, most=sys.maxsize)
            listener.close()
        self._listeners = {}
        self.service.drained()
        asyncio.get_running_loop().call_later(self.knobs.shutdown_timeout_s, self.leave, True)

    def _on_drained(self) -> None:
        self.log("drained")
        self.leave()

    def leave(self, timed_out: bool = False) -> None:
        """Write the last lines and end the process at once, with status 0; open connections die with it."""
        if self.service.last_ns:
            self.log("last_request", self.service.last_ns)
        self.log("exit", timed_out=timed_out)
        os._exit(0)

    def _report_until_killed(self, seen: int) -> None:
        """Nobody can log being killed by SIGKILL, so one that ignores SIGTERM reports every 0.1 s."""
        service = self.service
        if service.last_ns and service.served != seen:
            self.log("last_request", service.last_ns)
        asyncio.get_running_loop().call_later(0.1, self._report_until_killed, service.served)


def _listen(port: int) -> socket.socket:
    """IPv6 and IPv4 on one socket where the kernel can, else IPv4 alone."""
    try:
        listener = socket.create_server(("", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True)
    except (OSError, ValueError):
        listener = socket.create_server(("", port), backlog=BACKLOG)
    listener.setblocking(False)
    return listener


def become_http2(service: Service, transport: asyncio.Transport) -> asyncio.Protocol:
    """The protocol of a connection whose client speaks HTTP/2; its library is loaded only now."""
    from hazd.sample_app.http2 import Http2Conversation

    return Http2Conversation(service, transport)


def load_http2() -> None:
    """Now, and not when the first client speaks it and waits. Raises ValueError."""
    try:
        importlib.import_module("hazd.sample_app.http2")
    except ImportError as problem:
        raise ValueError(f"HAZD_HTTP2='1': must be 0 here, {problem}") from problem


def server_context(chain_pem: str, key_pem: str, http2: bool) -> ssl.SSLContext:
    """A server's context from PEM strings. Raises ValueError. ssl reads only files, so it gets one without a name."""
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
