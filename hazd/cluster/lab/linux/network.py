"""Links, addresses, routes and rules of one lab: an underlay bridge, a namespace with a bridge per node, one per pod.

Runs only in the lab's own server, after it has left the host's network namespace. A pod has a /32 address and reaches
everything through its node, so that replies pass the node's connection tracking (as they do on a routed CNI), and a
deleted pod leaves its node asking by ARP in vain: the kernel's own "no route to host".
"""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from hazd.cluster.lab.linux.links import Links
from hazd.cluster.lab.linux.service_rules import ServiceRules
from hazd.cluster.lab.linux.syscalls import inside, new_network, setns
from hazd.cluster.lab.service_port import ServicePort

UNDERLAY_GATEWAY = "172.30.0.1"
UNDERLAY_PREFIX = 16
NODE_KNOBS = (
    ("ipv4/ip_forward", "1"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    ("ipv6/conf/all/disable_ipv6", "1"),
    ("ipv6/conf/default/disable_ipv6", "1"),
)


def mac_of(address: str) -> str:
    """A fixed MAC per IPv4 address: bridges and neighbours never see one change under them."""
    return "02:68:" + ":".join(f"{byte:02x}" for byte in ipaddress.IPv4Address(address).packed)


@dataclass(slots=True)
class Place:
    """A network namespace: its descriptor keeps it alive, `link` is the name of its veth on the far side."""

    fd: int
    link: str
    node: str = ""
    links: Links | None = None
    rules: ServiceRules | None = None
    pods: set[str] = field(default_factory=set)

    def close(self) -> None:
        for connection in (self.links, self.rules):
            if connection is not None:
                connection.close()
        os.close(self.fd)


def _sysctl(path: str, value: str) -> None:
    """Set a knob of the current network namespace; one that this kernel lacks needs no setting."""
    target = Path("/proc/sys/net") / path
    if target.exists():
        target.write_text(value)


def _quiet_bridge() -> None:
    """Bridged frames must not pass iptables hooks a second time (br_netfilter switches that on in new namespaces)."""
    for name in ("iptables", "ip6tables", "arptables"):
        _sysctl(f"bridge/bridge-nf-call-{name}", "0")


class Network:
    """All namespaces of a lab by name. Every method leaves the calling thread in its home namespace."""

    def __init__(self) -> None:
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.places: dict[str, Place] = {}
        self._numbers = itertools.count(1)
        self._here = Links()
        _sysctl("ipv6/conf/all/disable_ipv6", "1")
        _sysctl("ipv6/conf/default/disable_ipv6", "1")
        self._here.up("lo")
        self._here.add_bridge("underlay", mac_of(UNDERLAY_GATEWAY))
        self._underlay = self._here.index("underlay")
        _quiet_bridge()
        self._here.up("underlay")
        self._here.add_address(self._underlay, UNDERLAY_GATEWAY, UNDERLAY_PREFIX)

    def add_node(self, name: str, address: str, gateway: str, subnet: str, peers: dict[str, str]) -> None:
        """A node: `address` on the underlay, its bridge `gateway` in `subnet`; peers: their pod subnet -> address."""
        place = Place(new_network(), f"node{next(self._numbers)}")
        try:
            with inside(place.fd, self.home):
                for knob, value in NODE_KNOBS:
                    _sysctl(knob, value)
                _quiet_bridge()
                links = place.links = Links()
                place.rules = ServiceRules()
            self._here.add_veth(place.link, "eth0", place.fd, mac_of(address))
            self._here.up(place.link, self._underlay)
            links.up("lo")
            links.up("eth0")
            links.add_address(links.index("eth0"), address, UNDERLAY_PREFIX)
            links.add_route("0.0.0.0/0", UNDERLAY_GATEWAY)
            links.add_bridge("cni0", mac_of(gateway))
            links.up("cni0")
            links.add_address(links.index("cni0"), gateway, ipaddress.ip_network(subnet).prefixlen)
            for peer_subnet, peer_address in peers.items():
                links.add_route(peer_subnet, peer_address)
        except BaseException:
            place.close()
            raise
        self.places[name] = place

    def add_pod(self, uid: str, node: str, address: str, gateway: str) -> None:
        """A pod on `node`: eth0 with `address`/32 and a default route through the node."""
        there = self.places[node]
        assert there.links is not None
        place = Place(new_network(), f"veth{next(self._numbers)}", node=node)
        try:
            with inside(place.fd, self.home):
                _sysctl("ipv6/conf/all/disable_ipv6", "1")
                links = Links()
            there.links.add_veth(place.link, "eth0", place.fd, mac_of(address))
            there.links.up(place.link, there.links.index("cni0"))
            links.up("lo")
            links.up("eth0")
            eth0 = links.index("eth0")
            links.add_address(eth0, address, 32)
            links.add_route("0.0.0.0/0", gateway, eth0, onlink=True)
            # Permanent entries do not count against the kernel's limit of neighbours, which all namespaces share.
            links.add_neighbour(eth0, gateway, mac_of(gateway))
            links.close()
        except BaseException:
            place.close()
            raise
        self.places[uid] = place
        there.pods.add(uid)

    def remove_pod(self, uid: str) -> None:
        """Remove the pod's link at once: its address responds no more, whoever may still hold the namespace."""
        place = self.places.pop(uid, None)
        if place is None:
            return
        node = self.places.get(place.node)
        if node is not None and node.links is not None:
            node.pods.discard(uid)
            with contextlib.suppress(OSError):  # the link went with its namespace
                node.links.delete(place.link)
        place.close()

    def cut(self, name: str) -> None:
        """Take the node's link down: nothing that it or its pods still send arrives."""
        self._here.down(self.places[name].link)

    def remove_node(self, name: str) -> None:
        """Forget a node and the pods on it; the kernel frees the namespaces when their last process has ended."""
        place = self.places.pop(name, None)
        if place is None:
            return
        with contextlib.suppress(OSError):  # the link went with its namespace
            self._here.delete(place.link)
        for uid in list(place.pods):
            self.places.pop(uid).close()
        place.close()

    def set_rules(self, name: str, ports: Iterable[ServicePort]) -> None:
        """Lead exactly these ports on a node. Raises LookupError, and OSError with what the kernel refused."""
        place = self.places.get(name)
        if place is None or place.rules is None:
            raise LookupError(f"no node {name}")
        place.rules.set(ports)

    def enter(self, name: str) -> None:
        """Move the calling thread into a namespace; `leave` must follow."""
        setns(self.places[name].fd)

    def leave(self) -> None:
        setns(self.home)
