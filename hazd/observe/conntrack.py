"""Connection tracking events of the kernel: what is asked for, filtered in the kernel, and how a message is read.

Pure. Every connection to a Service makes one NEW event on the node that it leaves from, and the event's reply tuple
names the endpoint that kube-proxy's rules chose: the truth about who a request was sent to, also where nobody answered
it. A retransmitted SYN makes none, nor does a connection that the node's own rules rejected.

Sources: linux/netfilter/nfnetlink_conntrack.h (messages, attributes), nfnetlink_compat.h (groups), linux/filter.h and
Documentation/networking/filter.rst (classic BPF with its netlink attribute extensions).
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

NETLINK_NETFILTER = 12
GROUP_NEW, GROUP_DESTROY = 1, 3  # NFNLGRP_CONNTRACK_NEW, NFNLGRP_CONNTRACK_DESTROY
_SUBSYSTEM = 1  # NFNL_SUBSYS_CTNETLINK
_NEW, _DELETE = 0, 2  # IPCTNL_MSG_CT_NEW, IPCTNL_MSG_CT_DELETE
_TUPLE_ORIG, _TUPLE_REPLY = 1, 2  # CTA_TUPLE_ORIG, CTA_TUPLE_REPLY
_TUPLE_IP, _TUPLE_PROTO = 1, 2  # CTA_TUPLE_IP, CTA_TUPLE_PROTO
_V4_SRC, _V4_DST, _V6_SRC, _V6_DST = 1, 2, 3, 4  # CTA_IP_*
_PROTO_NUM, _SRC_PORT, _DST_PORT = 1, 2, 3  # CTA_PROTO_*
_NESTED = 0x3FFF  # NLA_TYPE_MASK
_HEADER = 20  # struct nlmsghdr (16) and struct nfgenmsg (4)

# Classic BPF (linux/bpf_common.h): load absolute, load indexed, load immediate, jump, return, move between A and X.
_LD_W_ABS, _LD_H_IND, _LD_W_IND, _LD_IMM, _LDX_IMM = 0x20, 0x48, 0x40, 0x00, 0x01
_JEQ, _RET, _TAX = 0x15, 0x06, 0x07
_AD_NLATTR, _AD_NLATTR_NEST = 0xFFFFF000 + 12, 0xFFFFF000 + 16  # SKF_AD_OFF + SKF_AD_NLATTR[_NEST]
_WHOLE = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Flow:
    """One connection as the node's kernel tracked it: who opened it, and to which endpoint it was sent.

    ended: the entry was removed (DESTROY), not made (NEW). Addresses are packed, 4 or 16 bytes.
    """

    client: bytes
    client_port: int
    endpoint: bytes
    endpoint_port: int
    ended: bool = False


def flow_filter(address: str, port: int) -> bytes:
    """A classic BPF program (array of struct sock_filter) that lets pass the TCP flows to one Service address and port.

    It finds the original tuple by the kernel's netlink attribute search, so that the order of attributes is its own
    matter: SKF_AD_NLATTR looks for the attribute X from offset A on, SKF_AD_NLATTR_NEST inside the one at A.
    Raises ValueError for an address that is none.
    """
    packed = ipaddress.ip_address(address).packed
    kind = _V4_DST if len(packed) == 4 else _V6_DST
    words = struct.unpack(f">{len(packed) // 4}I", packed)
    body: list[tuple[int, int, int]] = []  # (operation, operand, 1 = the rest is skipped and 0 returned when it fails)

    def find(attribute: int, nested: bool) -> None:
        body.append((_LDX_IMM, attribute, 0))
        body.append((_LD_W_ABS, _AD_NLATTR_NEST if nested else _AD_NLATTR, 0))
        body.append((_JEQ, 0, -1))  # absent

    def find_leaf(group: int, leaf: int) -> None:
        body.append((_LD_IMM, _HEADER, 0))
        find(_TUPLE_ORIG, nested=False)
        find(group, nested=True)
        find(leaf, nested=True)
        body.append((_TAX, 0, 0))

    find_leaf(_TUPLE_IP, kind)
    for index, word in enumerate(words):
        body += [(_LD_W_IND, 4 + 4 * index, 0), (_JEQ, word, 1)]
    find_leaf(_TUPLE_PROTO, _DST_PORT)
    body += [(_LD_H_IND, 4, 0), (_JEQ, port, 1)]
    end = len(body)
    program = []
    for place, (code, operand, test) in enumerate(body):
        to_drop = end - place  # one past the accepting return
        # test 1: go on when equal, else drop; test -1: drop when equal, else go on
        jumps = (0, to_drop) if test == 1 else (to_drop, 0) if test == -1 else (0, 0)
        program.append(struct.pack("=HBBI", code, *jumps, operand))
    program.append(struct.pack("=HBBI", _RET, 0, 0, _WHOLE))
    program.append(struct.pack("=HBBI", _RET, 0, 0, 0))
    return b"".join(program)


def parse_flows(data: bytes) -> Iterator[Flow]:
    """The TCP flows in one netlink datagram; messages of other subsystems and other protocols are passed over."""
    at = 0
    while at + 16 <= len(data):
        length, kind = struct.unpack_from("=IH", data, at)
        if length < 16:
            return
        if kind >> 8 == _SUBSYSTEM and (kind & 0xFF) in (_NEW, _DELETE) and length >= _HEADER:
            flow = _flow(data, at + _HEADER, min(at + length, len(data)), ended=(kind & 0xFF) == _DELETE)
            if flow is not None:
                yield flow
        at += (length + 3) & ~3


def _flow(data: bytes, start: int, end: int, *, ended: bool) -> Flow | None:
    tuples = {kind: (begin, until) for kind, begin, until in _attributes(data, start, end)}
    if _TUPLE_ORIG not in tuples or _TUPLE_REPLY not in tuples:
        return None
    client = _tuple(data, *tuples[_TUPLE_ORIG])
    reply = _tuple(data, *tuples[_TUPLE_REPLY])
    if client is None or reply is None:
        return None
    # the reply comes from the endpoint; its destination may be a masquerading node and is of no use
    return Flow(client[0], client[1], reply[0], reply[1], ended)


def _tuple(data: bytes, start: int, end: int) -> tuple[bytes, int] | None:
    """Source address and port of a TCP tuple, None for another protocol."""
    address, port, protocol = b"", 0, 0
    for group, begin, until in _attributes(data, start, end):
        for leaf, first, last in _attributes(data, begin, until):
            if group == _TUPLE_IP and leaf in (_V4_SRC, _V6_SRC):
                address = data[first:last]
            elif group == _TUPLE_PROTO and leaf == _PROTO_NUM:
                protocol = data[first]
            elif group == _TUPLE_PROTO and leaf == _SRC_PORT:
                port = int.from_bytes(data[first : first + 2], "big")
    return (address, port) if protocol == socket.IPPROTO_TCP and len(address) in (4, 16) else None


def _attributes(data: bytes, start: int, end: int) -> Iterable[tuple[int, int, int]]:
    """(type, first byte of the payload, one past its last) of each netlink attribute in a span."""
    while start + 4 <= end:
        length, kind = struct.unpack_from("=HH", data, start)
        if length < 4 or start + length > end:
            return
        yield kind & _NESTED, start + 4, start + length
        start += (length + 3) & ~3


__all__ = ["GROUP_DESTROY", "GROUP_NEW", "NETLINK_NETFILTER", "Flow", "flow_filter", "parse_flows"]
