"""Links, addresses, routes and neighbours of one network namespace, by rtnetlink.

Source: rtnetlink(7); include/uapi/linux/rtnetlink.h, if_link.h, if_addr.h, neighbour.h and veth.h of Linux 6.
"""

from __future__ import annotations

import itertools
import socket
import struct

from hazd.cluster.lab.linux.netlink import (
    ACK,
    CREATE,
    EXCL,
    NLMSG_ERROR,
    Connection,
    attribute,
    message,
    nested,
    refusal,
    string,
)

NETLINK_ROUTE = 0
NEWLINK, DELLINK, GETLINK, NEWADDR, NEWROUTE, NEWNEIGH = 16, 17, 18, 20, 24, 28
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MASTER, IFLA_LINKINFO, IFLA_NET_NS_FD = 1, 3, 10, 18, 28
IFF_UP = 1
TABLE_MAIN, PROTOCOL_STATIC, UNICAST = 254, 4, 1
ONLINK = 4
"""RTNH_F_ONLINK: the gateway is reachable although no route says so."""
PERMANENT = 0x80
ADD = CREATE | EXCL


def _link(flags: int = 0, change: int = 0) -> bytes:
    return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, 0, flags, change)


def _mac(address: str) -> bytes:
    return attribute(IFLA_ADDRESS, bytes.fromhex(address.replace(":", "")))


def _index(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


class Links:
    """Of the namespace in which this is made. Every method raises OSError with the kernel's errno."""

    def __init__(self) -> None:
        self._kernel = Connection(NETLINK_ROUTE)
        self._numbers = itertools.count(1)

    def close(self) -> None:
        self._kernel.close()

    def _ask(self, what: str, kind: int, flags: int, body: bytes) -> bytes:
        """The payload of the reply, where there is one beside the acknowledgement."""
        number, payload, done = next(self._numbers), b"", False
        for reply in self._kernel.exchange(message(kind, flags | ACK, number, body)):
            if reply.sequence != number:
                continue
            if reply.errno:
                raise refusal(what, reply)
            done |= reply.kind == NLMSG_ERROR
            payload = reply.payload or payload
        if not done:
            raise OSError(0, f"{what}: the kernel did not acknowledge it")
        return payload

    def index(self, name: str) -> int:
        found = self._ask(f"look up link {name}", GETLINK, 0, _link() + string(IFLA_IFNAME, name))
        return int(struct.unpack_from("=i", found, 4)[0])

    def add_bridge(self, name: str, mac: str) -> None:
        kind = nested(IFLA_LINKINFO, string(1, "bridge"))
        self._ask(f"add bridge {name}", NEWLINK, ADD, _link() + string(IFLA_IFNAME, name) + _mac(mac) + kind)

    def add_veth(self, name: str, peer: str, namespace: int, mac: str) -> None:
        """A pair: `name` here, `peer` with this MAC address in the namespace of the descriptor."""
        # ifla_info_attributes: KIND, DATA, which holds VETH_INFO_PEER
        other = _link() + string(IFLA_IFNAME, peer) + _mac(mac) + _index(IFLA_NET_NS_FD, namespace)
        kind = nested(IFLA_LINKINFO, string(1, "veth"), nested(2, nested(1, other)))
        self._ask(f"add veth {name} to {peer}", NEWLINK, ADD, _link() + string(IFLA_IFNAME, name) + kind)

    def up(self, name: str, bridge: int = 0) -> None:
        """bridge: the index of the bridge it becomes a port of."""
        port = _index(IFLA_MASTER, bridge) if bridge else b""
        self._ask(f"set link {name} up", NEWLINK, 0, _link(IFF_UP, IFF_UP) + string(IFLA_IFNAME, name) + port)

    def down(self, name: str) -> None:
        self._ask(f"set link {name} down", NEWLINK, 0, _link(0, IFF_UP) + string(IFLA_IFNAME, name))

    def delete(self, name: str) -> None:
        self._ask(f"delete link {name}", DELLINK, 0, _link() + string(IFLA_IFNAME, name))

    def add_address(self, link: int, address: str, prefix: int) -> None:
        raw = socket.inet_aton(address)  # ifa attributes: ADDRESS, LOCAL
        body = struct.pack("=BBBBI", socket.AF_INET, prefix, 0, 0, link) + attribute(1, raw) + attribute(2, raw)
        self._ask(f"add address {address}/{prefix}", NEWADDR, ADD, body)

    def add_route(self, destination: str, gateway: str, link: int = 0, onlink: bool = False) -> None:
        """destination: a subnet, or "0.0.0.0/0"."""
        network, _, prefix = destination.partition("/")
        kind = (TABLE_MAIN, PROTOCOL_STATIC, 0, UNICAST, ONLINK if onlink else 0)
        body = struct.pack("=BBBBBBBBI", socket.AF_INET, int(prefix), 0, 0, *kind)
        # rtattr_type_t: 1 DST, 4 OIF, 5 GATEWAY
        body += attribute(1, socket.inet_aton(network)) + attribute(5, socket.inet_aton(gateway))
        self._ask(f"add route {destination} via {gateway}", NEWROUTE, ADD, body + (_index(4, link) if link else b""))

    def add_neighbour(self, link: int, address: str, mac: str) -> None:
        """A permanent entry."""
        body = struct.pack("=BxxxiHBB", socket.AF_INET, link, PERMANENT, 0, 0)  # nda attributes: DST, LLADDR
        body += attribute(1, socket.inet_aton(address)) + attribute(2, bytes.fromhex(mac.replace(":", "")))
        self._ask(f"add neighbour {address}", NEWNEIGH, ADD, body)
