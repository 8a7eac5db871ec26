"""Begins a TCP connection without waiting for it, from a source port chosen by us. Used by every sender of HTTP/1.1."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass

import anyio

from hazd.traffic.senders.source_ports import SourcePorts

TRIES_LEFT = tuple(reversed(range(16)))
_STREAM = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC

__all__ = ["Address", "dial", "resolve"]


@dataclass(frozen=True, slots=True)
class Address:
    """Where to connect: resolved once, because a look-up per request would measure DNS."""

    family: int
    sockaddr: tuple[str, int] | tuple[str, int, int, int]


async def resolve(host: str, port: int) -> Address:
    """Raises OSError (socket.gaierror) when the name is not known."""
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family, _, _, _, sockaddr = found[0]
    return Address(int(family), sockaddr)


def dial(address: Address, ports: SourcePorts, now_ns: int, nodelay: bool = True) -> tuple[socket.SocketType, int, int]:
    """(socket, source port, errno): errno 0 when the connection stands, EINPROGRESS when it is on its way.

    Raises OSError when there is no socket to be had (EMFILE). A source port that is still in TIME_WAIT towards the same
    address (EADDRNOTAVAIL) is passed over: nothing was sent, so that is no retry.

    nodelay: needed when a request is more than one segment, whose last one would wait for an ACK. SocketType is the
    socket without Python's wrapper around it, which costs as much as a system call.
    """
    family = address.family
    for left in TRIES_LEFT:
        sock = socket.SocketType(family, _STREAM, 0)
        try:
            if nodelay:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            port = ports.bind(sock, family, now_ns) if left else 0
            result = sock.connect_ex(address.sockaddr)
            if result == errno.EADDRNOTAVAIL and left:
                sock.close()
                continue
            return sock, port or sock.getsockname()[1], result
        except BaseException:
            sock.close()
            raise
    raise AssertionError("unreachable")
