"""PURE: the nftables rules of one node: Services to their endpoints, as kube-proxy writes them.

Source: pkg/proxy/nftables of Kubernetes 1.34 (maps from address and port to a chain a service, random choice, reject
where there is no endpoint, hairpin masquerade) and KEP-1669 (when no endpoint is ready, those that still serve while
they terminate). A connection that stands is conntrack's and is never touched by a change of rules.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hazd.cluster.watch import SERVICE_NAME
from hazd.model import Manifest

TABLE = "ip hazd"


@dataclass(frozen=True, slots=True)
class Port:
    """One Service port and where it leads: (address, port) pairs, in order. No endpoints: connections are rejected."""

    name: str
    address: str
    protocol: str
    port: int
    endpoints: tuple[tuple[str, int], ...]

    @property
    def key(self) -> str:
        return f"{self.address} . {self.protocol} . {self.port}"

    @property
    def chain(self) -> str:
        return "svc-" + hashlib.sha256(f"{self.name} {self.key}".encode()).hexdigest()[:12]


def chosen(endpoints: Iterable[Manifest]) -> list[Manifest]:
    """The endpoints traffic goes to: the ready ones, else those serving and terminating (KEP-1669), else none."""
    everyone = list(endpoints)
    ready = [each for each in everyone if each["conditions"].get("ready")]
    if ready:
        return ready
    return [each for each in everyone if each["conditions"].get("serving") and each["conditions"].get("terminating")]


def ports(services: Iterable[Manifest], slices: Iterable[Manifest]) -> dict[str, Port]:
    """All Service ports of the cluster by their key."""
    by_service: dict[tuple[str, str], list[Manifest]] = {}
    for each in slices:
        meta = each["metadata"]
        name = (meta.get("labels") or {}).get(SERVICE_NAME, "")
        by_service.setdefault((meta["namespace"], name), []).append(each)
    result = {}
    for service in services:
        meta, spec = service["metadata"], service["spec"]
        address = spec.get("clusterIP", "None")
        if address == "None":
            continue
        for port in spec.get("ports") or ():
            found = []
            for each in by_service.get((meta["namespace"], meta["name"]), ()):
                target = next((p["port"] for p in each["ports"] if p.get("name", "") == port.get("name", "")), None)
                found += [(entry, target) for entry in each["endpoints"] if target is not None]
            targets = {entry["addresses"][0]: target for entry, target in found}
            leads = sorted(
                (entry["addresses"][0], targets[entry["addresses"][0]]) for entry in chosen(e for e, _ in found)
            )
            name = f"{meta['namespace']}/{meta['name']}:{port.get('name', '')}"
            made = Port(name, address, port["protocol"].lower(), port["port"], tuple(leads))
            result[made.key] = made
    return result


def skeleton() -> str:
    """What a node's table holds before there is any Service."""
    return f"""
table {TABLE} {{
  map services {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
  map no-endpoints {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
  set hairpin {{ type ipv4_addr . ipv4_addr; }}
  chain rejected {{ reject; }}
  chain dispatch {{ ip daddr . meta l4proto . th dport vmap @services; }}
  chain check {{ ct state new ip daddr . meta l4proto . th dport vmap @no-endpoints; }}
  chain nat-prerouting {{ type nat hook prerouting priority -100; jump dispatch; }}
  chain nat-output {{ type nat hook output priority -100; jump dispatch; }}
  chain nat-postrouting {{ type nat hook postrouting priority 100; ip saddr . ip daddr @hairpin masquerade; }}
  chain filter-forward {{ type filter hook forward priority 0; ct state invalid drop; jump check; }}
  chain filter-output {{ type filter hook output priority 0; jump check; }}
}}
"""


def transaction(before: Mapping[str, Port], after: Mapping[str, Port]) -> str:
    """One atomic change from one set of ports to the other; "" when nothing differs."""
    if dict(before) == dict(after):
        return ""
    lines = [f"flush map {TABLE} services", f"flush map {TABLE} no-endpoints", f"flush set {TABLE} hairpin"]
    for port in after.values():
        if before.get(port.key) != port and port.endpoints:
            lines += [f"add chain {TABLE} {port.chain}", f"flush chain {TABLE} {port.chain}"]
            choices = ", ".join(f"{n} : {ip} . {number}" for n, (ip, number) in enumerate(port.endpoints))
            count = len(port.endpoints)
            lines.append(
                f"add rule {TABLE} {port.chain} meta l4proto {port.protocol} "
                f"dnat ip to numgen random mod {count} map {{ {choices} }}"
            )
    for name, wanted, verdict in (("services", True, "goto {}"), ("no-endpoints", False, "goto rejected")):
        elements = [f"{p.key} : {verdict.format(p.chain)}" for p in after.values() if bool(p.endpoints) is wanted]
        if elements:
            lines.append(f"add element {TABLE} {name} {{ {', '.join(elements)} }}")
    pods = sorted({ip for port in after.values() for ip, _ in port.endpoints})
    if pods:
        lines.append(f"add element {TABLE} hairpin {{ {', '.join(f'{ip} . {ip}' for ip in pods)} }}")
    kept = {port.chain for port in after.values() if port.endpoints}
    lines += [f"delete chain {TABLE} {p.chain}" for p in before.values() if p.endpoints and p.chain not in kept]
    return "\n".join(lines) + "\n"
