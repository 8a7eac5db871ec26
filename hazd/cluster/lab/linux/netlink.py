"""Netlink messages and attributes, and a connection that waits for what the kernel replies.

Standard library only: importing pyroute2 costs half a second of CPU where a lab should start in one, and its nftables
transactions end without the kernel's reply being read (docs/adr/0012). Source: include/uapi/linux/netlink.h.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

NLMSG_ERROR = 2
REQUEST, ACK, EXCL, CREATE, APPEND = 0x1, 0x4, 0x200, 0x400, 0x800
CAPPED, ACK_TLVS = 0x100, 0x200
SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK, SO_SNDBUFFORCE = 270, 10, 11, 32
NESTED = 0x8000
SEND_BUFFER = 8 << 20
"""Bytes: a transaction is one datagram."""


def attribute(kind: int, *parts: bytes) -> bytes:
    """An attribute, padded to 4 bytes."""
    body = b"".join(parts)
    return struct.pack("=HH", 4 + len(body), kind) + body + bytes(-len(body) % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    return attribute(kind | NESTED, *attributes)


def string(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def message(kind: int, flags: int, sequence: int, payload: bytes) -> bytes:
    """With the header of a request."""
    return struct.pack("=IHHII", 16 + len(payload), kind, REQUEST | flags, sequence, 0) + payload


@dataclass(frozen=True, slots=True)
class Reply:
    """kind NLMSG_ERROR: an acknowledgement, with errno 0 when all went well; else a message with its payload."""

    kind: int
    sequence: int
    errno: int = 0
    explanation: str = ""
    payload: bytes = b""


def replies(data: bytes) -> Iterator[Reply]:
    """The messages of a datagram from the kernel."""
    at = 0
    while at + 16 <= len(data):
        length, kind, flags, sequence, _ = struct.unpack_from("=IHHII", data, at)
        if length < 16:
            return
        if kind == NLMSG_ERROR:
            code, original = struct.unpack_from("=iI", data, at + 16)
            skip = 20 + (16 if flags & CAPPED or code == 0 else (original + 3) & ~3)
            said = _explanation(data[at + skip : at + length]) if flags & ACK_TLVS else ""
            yield Reply(kind, sequence, -code, said)
        else:
            yield Reply(kind, sequence, payload=data[at + 16 : at + length])
        at += (length + 3) & ~3


def _explanation(attributes: bytes) -> str:
    """NLMSGERR_ATTR_MSG of an extended acknowledgement, or ""."""
    at = 0
    while at + 4 <= len(attributes):
        length, kind = struct.unpack_from("=HH", attributes, at)
        if length < 4:
            break
        if kind & ~NESTED == 1:
            return attributes[at + 4 : at + length].rstrip(b"\0").decode(errors="replace")
        at += (length + 3) & ~3
    return ""


def refusal(what: str, reply: Reply) -> OSError:
    """The kernel's errno, what it refused and its explanation where it gives one."""
    why = f" ({reply.explanation})" if reply.explanation else ""
    return OSError(reply.errno, f"{what}: {os.strerror(reply.errno)}{why}")


class Connection:
    """To the network namespace in which it is made, wherever the thread is afterwards."""

    def __init__(self, protocol: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._socket.bind((0, 0))
        self._socket.setblocking(False)
        for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK):
            with contextlib.suppress(OSError):  # an older kernel says less
                self._socket.setsockopt(SOL_NETLINK, option, 1)
        with contextlib.suppress(OSError):  # in a user namespace only what net.core.wmem_max allows
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            self._socket.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER)

    def close(self) -> None:
        self._socket.close()

    def exchange(self, data: bytes) -> list[Reply]:
        """Everything that the kernel replies; it has done so before send returns. Raises OSError."""
        self._socket.send(data)
        found: list[Reply] = []
        with contextlib.suppress(BlockingIOError):
            while True:
                found += replies(self._socket.recv(1 << 17))
        return found
