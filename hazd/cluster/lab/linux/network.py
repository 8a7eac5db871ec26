"""Links, addresses, routes and rules of one lab: an underlay bridge, a namespace with a bridge per node, one per pod.

Runs only in the lab's own server, after it has left the host's network namespace. A pod has a /32 address and reaches
everything through its node, so that replies pass the node's connection tracking (as they do on a routed CNI), and a
vanished pod leaves its node asking by ARP in vain: the kernel's own "no route to host".
"""

from __future__ import annotations

import ipaddress
import itertools
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pyroute2 import IPRoute

from hazd.cluster.lab.linux.service_rules import ServiceRules
from hazd.cluster.lab.linux.syscalls import inside, new_network, setns
from hazd.cluster.lab.service_port import ServicePort

UNDERLAY_GATEWAY = "172.30.0.1"
UNDERLAY_PREFIX = 16
NUD_PERMANENT = 0x80
ONLINK = 4  # RTNH_F_ONLINK: the gateway is reachable although no route says so


def mac_of(address: str) -> str:
    """A fixed MAC per IPv4 address: bridges and neighbours never see one change under them."""
    return "02:68:" + ":".join(f"{byte:02x}" for byte in ipaddress.IPv4Address(address).packed)


@dataclass(slots=True)
class Place:
    """A network namespace: its descriptor keeps it alive, `link` is the name of its veth on the far side."""

    fd: int
    link: str
    node: str = ""
    routes: IPRoute | None = None
    rules: ServiceRules | None = None
    pods: set[str] = field(default_factory=set)


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
        self._here = IPRoute()
        _sysctl("ipv6/conf/all/disable_ipv6", "1")
        _sysctl("ipv6/conf/default/disable_ipv6", "1")
        self._here.link("set", index=1, state="up")
        self._here.link("add", ifname="underlay", kind="bridge", address=mac_of(UNDERLAY_GATEWAY))
        self._underlay = self._index(self._here, "underlay")
        _quiet_bridge()
        self._here.link("set", index=self._underlay, state="up")
        self._here.addr("add", index=self._underlay, address=UNDERLAY_GATEWAY, prefixlen=UNDERLAY_PREFIX)

    @staticmethod
    def _index(routes: IPRoute, name: str) -> int:
        return int(routes.link_lookup(ifname=name)[0])

    def add_node(self, name: str, address: str, gateway: str, subnet: str, peers: dict[str, str]) -> None:
        """A node: `address` on the underlay, its bridge `gateway` in `subnet`; peers: their pod subnet -> address."""
        fd = new_network()
        place = Place(fd, f"node{next(self._numbers)}")
        with inside(fd, self.home):
            for knob, value in (
                ("ipv4/ip_forward", "1"),
                ("ipv4/conf/all/rp_filter", "0"),
                ("ipv4/conf/default/rp_filter", "0"),
                ("ipv4/conf/all/send_redirects", "0"),
                ("ipv4/conf/default/send_redirects", "0"),
                ("ipv6/conf/all/disable_ipv6", "1"),
                ("ipv6/conf/default/disable_ipv6", "1"),
            ):
                _sysctl(knob, value)
            node = IPRoute()
            node.get_links()  # makes its socket while this thread is inside
            node.link("set", index=1, state="up")
            place.rules = ServiceRules()
        place.routes = node
        self._here.link(
            "add", ifname=place.link, kind="veth", peer={"ifname": "eth0", "net_ns_fd": fd, "address": mac_of(address)}
        )
        self._here.link("set", index=self._index(self._here, place.link), state="up", master=self._underlay)
        eth0 = self._index(node, "eth0")
        node.addr("add", index=eth0, address=address, prefixlen=UNDERLAY_PREFIX)
        node.link("set", index=eth0, state="up")
        node.route("add", dst="default", gateway=UNDERLAY_GATEWAY)
        node.link("add", ifname="cni0", kind="bridge", address=mac_of(gateway))
        with inside(fd, self.home):
            _quiet_bridge()
        cni0 = self._index(node, "cni0")
        node.addr("add", index=cni0, address=gateway, prefixlen=ipaddress.ip_network(subnet).prefixlen)
        node.link("set", index=cni0, state="up")
        for peer_subnet, peer_address in peers.items():
            node.route("add", dst=peer_subnet, gateway=peer_address)
        self.places[name] = place

    def add_pod(self, uid: str, node: str, address: str, gateway: str) -> None:
        """A pod on `node`: eth0 with `address`/32 and a default route through the node."""
        there = self.places[node]
        assert there.routes is not None
        fd = new_network()
        link = f"veth{next(self._numbers)}"
        try:
            with inside(fd, self.home):
                _sysctl("ipv6/conf/all/disable_ipv6", "1")
                pod = IPRoute()
                pod.get_links()
            there.routes.link(
                "add", ifname=link, kind="veth", peer={"ifname": "eth0", "net_ns_fd": fd, "address": mac_of(address)}
            )
            there.routes.link(
                "set", index=self._index(there.routes, link), state="up", master=self._index(there.routes, "cni0")
            )
            eth0 = self._index(pod, "eth0")
            pod.link("set", index=1, state="up")
            pod.addr("add", index=eth0, address=address, prefixlen=32)
            pod.link("set", index=eth0, state="up")
            pod.route("add", dst="default", gateway=gateway, oif=eth0, flags=ONLINK)
            # Permanent entries do not count against the kernel's limit of neighbours, which all namespaces share.
            pod.neigh("add", dst=gateway, lladdr=mac_of(gateway), ifindex=eth0, state=NUD_PERMANENT)
            pod.close()
        except BaseException:
            os.close(fd)
            raise
        self.places[uid] = Place(fd, link, node=node)
        there.pods.add(uid)

    def remove_pod(self, uid: str) -> None:
        """Take the pod's link away at once: its address answers no more, whoever may still hold the namespace."""
        place = self.places.pop(uid, None)
        if place is None:
            return
        node = self.places.get(place.node)
        if node is not None and node.routes is not None:
            node.pods.discard(uid)
            for index in node.routes.link_lookup(ifname=place.link):
                node.routes.link("del", index=index)
        os.close(place.fd)

    def cut(self, name: str) -> None:
        """Pull the node's cable: nothing it or its pods still say is heard by others."""
        self._here.link("set", index=self._index(self._here, self.places[name].link), state="down")

    def remove_node(self, name: str) -> None:
        """Forget a node and the pods on it; the kernel frees the namespaces when their last process is gone."""
        place = self.places.pop(name, None)
        if place is None:
            return
        for index in self._here.link_lookup(ifname=place.link):
            self._here.link("del", index=index)
        for uid in list(place.pods):
            os.close(self.places.pop(uid).fd)
        for connection in (place.routes, place.rules):
            if connection is not None:
                connection.close()
        os.close(place.fd)

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
