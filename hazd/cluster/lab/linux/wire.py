"""Messages between hazd and the lab's processes: one JSON object a datagram, file descriptors beside it.

A datagram is whole or absent, so a killed peer never leaves half a message.
"""

from __future__ import annotations

import array
import json
import socket
from typing import Any

LIMIT = 150_000
"""Longest message in bytes; the kernel's default socket buffer (212,992) holds it with its overhead."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(sock: socket.socket, message: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
    """Raises ValueError for a message longer than LIMIT, BlockingIOError on a full non-blocking socket, OSError."""
    raw = json.dumps(message, separators=(",", ":")).encode()
    if len(raw) > LIMIT:
        raise ValueError(f"message of {len(raw)} bytes exceeds {LIMIT}")
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([raw], ancillary)


def receive(sock: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next message with the descriptors that came along (close-on-exec), or None when the peer has closed."""
    try:
        raw, fds, _, _ = socket.recv_fds(sock, LIMIT + 1, 8, socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        return None
    if not raw:
        return None
    return json.loads(raw), list(fds)
