"""One connection of the fast sender as a state machine: kernel events in, one record out. No tasks, no futures.

Edge-triggered epoll: every event is taken to its end (EAGAIN or a decision): it is reported only once. The hub (the
sender) owns the epoll set, the clock and the pools.
"""

from __future__ import annotations

import select
import socket
import ssl
from dataclasses import dataclass
from errno import ECONNRESET, EINPROGRESS, EPIPE
from typing import Protocol

from hazd.model import FailureKind, Phase
from hazd.traffic.classify import PeerClosed, classify, classify_errno
from hazd.traffic.response import Response
from hazd.traffic.senders.dial import Address, dial
from hazd.traffic.senders.pool import Pool
from hazd.traffic.senders.source_ports import SourcePorts
from hazd.traffic.tls import TlsCodec

CHUNK = 65_536
FIRST_CHUNK = 4096
"""Most responses fit; a smaller buffer costs less to make."""
EVENTS_WRITTEN = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET
EVENTS = EVENTS_WRITTEN | select.EPOLLOUT
ENDED = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_BROKEN = select.EPOLLHUP | select.EPOLLERR
_WRITABLE = select.EPOLLOUT | _BROKEN
_READABLE = select.EPOLLIN | ENDED
CONNECTING, HANDSHAKE, WRITING, READING, IDLE, LINGERING, CLOSED = range(7)

__all__ = ["FastConnection", "Hub", "Lane"]


@dataclass(slots=True)
class Lane:
    """What all requests of one stream have in common. tls: None for http. nodelay: a request is more than a segment."""

    stream: int
    pool: Pool[FastConnection]
    keep: bool
    address: Address
    request: bytes
    last_request: bytes
    tls: ssl.SSLContext | None
    server_name: str
    nodelay: bool
    recycles: bool


class Hub(Protocol):
    """What a connection needs of its sender."""

    ports: SourcePorts

    def now_ns(self) -> int: ...

    def watch(self, connection: FastConnection, events: int) -> None: ...

    def watch_again(self, connection: FastConnection, events: int) -> None: ...

    def forget(self, connection: FastConnection) -> None: ...

    def answered(self, connection: FastConnection, done_ns: int, ended: bool) -> None:
        """A whole response; `ended`: the peer has closed already."""
        ...

    def failed(self, connection: FastConnection, kind: FailureKind, phase: Phase, errno: int) -> None: ...


class FastConnection:
    """seq, due_ns, sent_ns, ... belong to the request it carries, or carried last. Objects are used again (`begin`)."""

    __slots__ = (
        "connected_ns",
        "due_ns",
        "fd",
        "first_byte_ns",
        "hub",
        "lane",
        "last",
        "local_port",
        "number",
        "opened_ns",
        "out",
        "response",
        "reused",
        "sent_ns",
        "seq",
        "sock",
        "stale",
        "state",
        "tls",
        "uses",
    )  # fmt: skip

    sock: socket.SocketType

    def __init__(self, hub: Hub, response: Response) -> None:
        self.hub = hub
        self.response = response

    def begin(self, lane: Lane, number: int, seq: int, due_ns: int, now_ns: int) -> None:
        """Open the connection, then send its first request."""
        self.lane = lane
        self.number = number
        self.seq = seq
        self.due_ns = due_ns
        self.sent_ns = self.opened_ns = now_ns
        self.connected_ns = self.first_byte_ns = self.local_port = 0
        self.uses = 0
        self.fd = -1
        self.out = b""
        self.tls: TlsCodec | None = None
        self.reused = self.stale = False
        self.last = not lane.keep or (lane.recycles and lane.pool.is_last_use(self, now_ns))
        self.state = CONNECTING
        hub = self.hub
        try:
            self.sock, self.local_port, result = dial(lane.address, hub.ports, now_ns, lane.nodelay)
        except OSError as error:
            hub.failed(self, FailureKind.OTHER, Phase.CONNECT, error.errno or 0)
            return
        self.fd = self.sock.fileno()
        if result == EINPROGRESS:
            try:
                self._write_early()
            except OSError as error:
                self._broken(error.errno or 0)
                return
            hub.watch(self, EVENTS if self.state == CONNECTING or self.out else EVENTS_WRITTEN)
        elif result == 0:
            hub.watch(self, EVENTS)  # reported writable at once
        else:
            self._broken(result)

    def _write_early(self) -> None:
        """Where client and server are on one machine the connection stands by now, and an event is saved."""
        lane = self.lane
        if lane.tls is not None:
            return
        data = lane.last_request if self.last else lane.request
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            return
        self.connected_ns = self.hub.now_ns()
        self.uses = 1
        if sent == len(data):
            self.state = READING
        else:
            self.state, self.out = WRITING, data[sent:]

    def _broken(self, errno: int) -> None:
        """An error of the connect, or one found right after it.

        RST in response to a SYN gives ECONNREFUSED; with any other reset it was established, and broke before we wrote.
        """
        phase = Phase.CONNECT
        if errno in (ECONNRESET, EPIPE):
            phase = Phase.SEND
            self.connected_ns = self.connected_ns or self.hub.now_ns()
        self.hub.failed(self, classify_errno(errno, phase), phase, errno)

    def begin_again(self, seq: int, due_ns: int, now_ns: int) -> None:
        """Send a further request on a connection that stands."""
        self.seq = seq
        self.due_ns = due_ns
        self.sent_ns = self.connected_ns = now_ns
        self.first_byte_ns = 0
        self.reused = True
        try:
            self._request(0)
        except Exception as error:
            self._fail(error)

    @property
    def phase(self) -> Phase:
        if self.state == READING:
            return Phase.RECEIVE if self.response.head_done else Phase.WAIT
        return {CONNECTING: Phase.CONNECT, HANDSHAKE: Phase.TLS}.get(self.state, Phase.SEND)

    def step(self, events: int) -> None:
        """What the kernel reported. Anything unexpected becomes this request's failure, kind OTHER."""
        state = self.state
        try:
            if state == READING:
                if events & _READABLE:
                    self._read(events)
            elif state == CONNECTING:
                if events & _WRITABLE:
                    self._connected(events)
            elif state == IDLE:
                self.stale = not self._nothing_came()
            else:
                self._go_on(events)
        except Exception as error:
            self._fail(error)

    def _connected(self, events: int) -> None:
        error = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if events & _BROKEN else 0
        if error:
            self._broken(error)
            return
        self.connected_ns = self.hub.now_ns()
        if self.lane.tls is None:
            self._request(events)
        else:
            self.state = HANDSHAKE
            self.tls = TlsCodec(self.lane.tls, self.lane.server_name)
            self._shake(events)

    def _request(self, events: int) -> None:
        """Write it, and read at once when `events` say that something came before it."""
        lane = self.lane
        if lane.recycles:
            self.last = lane.pool.is_last_use(self, self.sent_ns)
        self.uses += 1
        data = lane.last_request if self.last else lane.request
        self.state = WRITING
        if self.tls is not None:
            self.tls.encrypt(data)
            data = self.tls.pending()
        self._write(data)
        if not self.out:
            self.state = READING
            if events & _READABLE:
                self._read(events)

    def _write(self, data: bytes) -> None:
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            if not self.out:
                self.hub.watch_again(self, EVENTS)
            self.out = data[sent:]
        elif self.out:
            self.out = b""

    def _go_on(self, events: int) -> None:
        if self.out and events & _WRITABLE:
            self._write(self.out)
        if self.state == HANDSHAKE:
            self._shake(events)
        elif not self.out:
            self.state = READING
            self._read(events)  # what came while we wrote was reported then, and is not reported again

    def _shake(self, events: int) -> None:
        tls = self.tls
        assert tls is not None
        while not self.out:
            try:
                done = tls.handshake()
            finally:
                pending = tls.pending()
                if pending:
                    self._write(pending)
            if done:
                if not self.out:
                    self._request(_READABLE)  # TLS 1.3 tickets, or an end, may have come with the handshake
                return
            try:
                tls.feed(self.sock.recv(CHUNK))
            except BlockingIOError:
                return

    def _read(self, events: int) -> None:
        recv, hub, size = self.sock.recv, self.hub, FIRST_CHUNK
        while True:
            try:
                data = recv(size)
            except BlockingIOError:
                return
            ended = not data
            if self.tls is not None:
                self.tls.feed(data)
                data, ended = self.tls.decrypt()
            if data:
                now_ns = hub.now_ns()
                if not self.first_byte_ns:
                    self.first_byte_ns = now_ns
                if self.response.feed(data):
                    hub.answered(self, now_ns, ended or events & ENDED != 0)
                    return
            if ended:
                if not self.response.feed_eof():
                    raise PeerClosed("the peer closed the connection")
                hub.answered(self, hub.now_ns(), True)
                return
            size = CHUNK

    def _fail(self, error: Exception) -> None:
        kind, phase, errno = classify(error, self.phase)
        self.hub.failed(self, kind, phase, errno)

    def usable(self) -> bool:
        """Whether nothing has come since the last response: what came has been reported as an event."""
        return not self.stale

    def _nothing_came(self) -> bool:
        """An event may be of bytes read already; and TLS 1.3 sends session tickets whenever it likes."""
        try:
            while True:
                data = self.sock.recv(CHUNK)
                if not data or self.tls is None:
                    return False
                self.tls.feed(data)
                clear, ended = self.tls.decrypt()
                if clear or ended:
                    return False
        except BlockingIOError:
            return True
        except OSError:  # a reset, or bytes that are no TLS
            return False

    def close(self) -> None:
        if self.state != CLOSED:
            self.state = CLOSED
            self.hub.forget(self)
