"""Connection tracking messages as the kernel writes them, for tests: built by hand from linux/netfilter's headers."""

from __future__ import annotations

import ipaddress
import socket
import struct


def attribute(kind: int, payload: bytes, *, nested: bool = False) -> bytes:
    body = struct.pack("=HH", 4 + len(payload), kind | (0x8000 if nested else 0)) + payload
    return body + bytes(-len(body) % 4)


def ct_tuple(kind: int, source: str, source_port: int, to: str, to_port: int, protocol: int, *, swap: bool) -> bytes:
    first, second = (ipaddress.ip_address(item).packed for item in (source, to))
    base = 1 if len(first) == 4 else 3
    ip = attribute(1, attribute(base, first) + attribute(base + 1, second), nested=True)
    ports = attribute(2, struct.pack(">H", source_port)) + attribute(3, struct.pack(">H", to_port))
    proto = attribute(2, attribute(1, bytes([protocol])) + ports, nested=True)
    return attribute(kind, proto + ip if swap else ip + proto, nested=True)


def message(
    client: tuple[str, int],
    service: tuple[str, int],
    endpoint: tuple[str, int],
    *,
    protocol: int = socket.IPPROTO_TCP,
    ended: bool = False,
    swap: bool = False,
    noise: bytes = b"",
) -> bytes:
    """One IPCTNL_MSG_CT_NEW or _DELETE. swap: attributes in another order. noise: attributes before the tuples."""
    family = socket.AF_INET6 if ":" in client[0] else socket.AF_INET
    original = ct_tuple(1, *client, *service, protocol, swap=swap)
    reply = ct_tuple(2, *endpoint, *client, protocol, swap=swap)
    body = struct.pack("=BBH", family, 0, 0) + noise + (reply + original if swap else original + reply)
    kind = (1 << 8) | (2 if ended else 0)
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body
