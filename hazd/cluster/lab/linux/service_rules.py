"""PURE but for the last class: the rules of one node, Services to their endpoints, as kube-proxy writes them.

Source: pkg/proxy/nftables of Kubernetes 1.34: maps from address and port to a chain a service, random choice, reject
where there is no endpoint, hairpin masquerade. An established connection is conntrack's; no change of rules touches it.
"""

from __future__ import annotations

import hashlib
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping

from hazd.cluster.lab.linux import nftables as nft
from hazd.cluster.lab.service_port import ServicePort

TABLE = nft.Table("hazd")
FIELDS = (nft.ADDRESS, nft.PROTOCOL, nft.PORT)
KEY = (nft.load_destination(nft.R0), nft.load_protocol(nft.R1), nft.load_destination_port(nft.R2))
PROTOCOLS = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP, "sctp": 132}


def chain_of(port: ServicePort) -> str:
    """The chain of a service port, the same for as long as the service has its name and address."""
    return "svc-" + hashlib.sha256(f"{port.name} {port.key}".encode()).hexdigest()[:12]


def _key(port: ServicePort) -> bytes:
    """Address, protocol and port, each in a register of its own."""
    return struct.pack(">4sB3xH2x", socket.inet_aton(port.address), PROTOCOLS[port.protocol], port.port)


def skeleton() -> list[nft.Message]:
    """What a node's table holds before there is any Service."""
    return [
        TABLE.add(),
        TABLE.add_set("services", 1, FIELDS, flags=nft.SET_MAP),
        TABLE.add_set("no-endpoints", 2, FIELDS, flags=nft.SET_MAP),
        TABLE.add_set("hairpin", 3, (nft.ADDRESS, nft.ADDRESS)),
        TABLE.add_chain("rejected"),
        TABLE.add_rule("rejected", "reject", nft.reject()),
        TABLE.add_chain("dispatch"),
        TABLE.add_rule(
            "dispatch", "ip daddr . meta l4proto . th dport vmap @services", *KEY, nft.lookup("services", nft.VERDICT)
        ),
        TABLE.add_chain("check"),
        TABLE.add_rule(
            "check",
            "ct state new ip daddr . meta l4proto . th dport vmap @no-endpoints",
            *nft.connection_is(nft.CT_NEW),
            *KEY,
            nft.lookup("no-endpoints", nft.VERDICT),
        ),
        TABLE.add_chain("nat-prerouting", kind="nat", hook=nft.PREROUTING, priority=-100),
        TABLE.add_rule("nat-prerouting", "jump dispatch", nft.verdict(nft.JUMP, "dispatch")),
        TABLE.add_chain("nat-output", kind="nat", hook=nft.OUTPUT, priority=-100),
        TABLE.add_rule("nat-output", "jump dispatch", nft.verdict(nft.JUMP, "dispatch")),
        TABLE.add_chain("nat-postrouting", kind="nat", hook=nft.POSTROUTING, priority=100),
        TABLE.add_rule(
            "nat-postrouting",
            "ip saddr . ip daddr @hairpin masquerade",
            nft.load_source(nft.R0),
            nft.load_destination(nft.R1),
            nft.lookup("hairpin"),
            nft.masquerade(),
        ),
        TABLE.add_chain("filter-forward", kind="filter", hook=nft.FORWARD, priority=0),
        TABLE.add_rule(
            "filter-forward", "ct state invalid drop", *nft.connection_is(nft.CT_INVALID), nft.verdict(nft.DROP)
        ),
        TABLE.add_rule("filter-forward", "jump check", nft.verdict(nft.JUMP, "check")),
        TABLE.add_chain("filter-output", kind="filter", hook=nft.OUTPUT, priority=0),
        TABLE.add_rule("filter-output", "jump check", nft.verdict(nft.JUMP, "check")),
    ]


def _choice(port: ServicePort, number_of_map: int) -> Iterator[nft.Message]:
    """The service's chain: a random one of its endpoints, each as likely as the others."""
    chain, count = chain_of(port), len(port.endpoints)
    yield TABLE.add_chain(chain)
    yield TABLE.flush_chain(chain)
    flags = nft.SET_ANONYMOUS | nft.SET_CONSTANT | nft.SET_MAP
    yield TABLE.add_set("__map%d", number_of_map, (nft.MARK,), flags=flags, data=(nft.ADDRESS, nft.PORT))
    leads = [
        nft.element_to_data(struct.pack("=I", place), struct.pack(">4sH2x", socket.inet_aton(address), target))
        for place, (address, target) in enumerate(port.endpoints)
    ]
    yield from TABLE.add_elements("__map%d", leads, number_of_map)
    words = (
        f"dnat to numgen random mod {count} map {{ {', '.join(f'{ip}:{target}' for ip, target in port.endpoints)} }}"
    )
    choose = nft.lookup("__map%d", nft.R0, number_of_map)
    yield TABLE.add_rule(chain, words, nft.random_below(count), choose, nft.dnat())


def transaction(before: Mapping[str, ServicePort], after: Mapping[str, ServicePort]) -> list[nft.Message]:
    """One atomic change from one set of ports (by key) to the other; nothing when they do not differ."""
    if dict(before) == dict(after):
        return []
    messages = [TABLE.flush_set(name) for name in ("services", "no-endpoints", "hairpin")]
    for place, port in enumerate(after.values(), 1):
        if port.endpoints and before.get(port.key) != port:
            messages += _choice(port, place)
    leads = [nft.element_to_chain(_key(port), chain_of(port)) for port in after.values() if port.endpoints]
    rejects = [nft.element_to_chain(_key(port), "rejected") for port in after.values() if not port.endpoints]
    pods = sorted({socket.inet_aton(ip) for port in after.values() for ip, _ in port.endpoints})
    messages += TABLE.add_elements("services", leads)
    messages += TABLE.add_elements("no-endpoints", rejects)
    messages += TABLE.add_elements("hairpin", [nft.element(pod + pod) for pod in pods])
    kept = {chain_of(port) for port in after.values() if port.endpoints}
    old = (chain_of(port) for port in before.values() if port.endpoints)
    return [*messages, *(TABLE.delete_chain(chain) for chain in old if chain not in kept)]


class ServiceRules:
    """The rules of the namespace in which this is made. Raises OSError where the kernel refuses them."""

    def __init__(self) -> None:
        self._kernel = nft.Rules()
        self._ports: dict[str, ServicePort] = {}
        try:
            self._kernel.apply(skeleton())
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        self._kernel.close()

    def set(self, ports: Iterable[ServicePort]) -> None:
        """From now on exactly these, in one step; after an error as before."""
        wanted = {port.key: port for port in ports}
        changes = transaction(self._ports, wanted)
        if changes:
            self._kernel.apply(changes)
            self._ports = wanted
