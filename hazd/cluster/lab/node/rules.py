"""PURE: from Services and EndpointSlices to the ports that a node's rules lead somewhere.

Source: pkg/proxy/topology.go of Kubernetes 1.34 and KEP-1669 (when no endpoint is ready, those that still serve while
they terminate). What rules the kernel gets for them is in `linux.service_rules`.
"""

from __future__ import annotations

from collections.abc import Iterable

from hazd.cluster.lab.service_port import ServicePort
from hazd.cluster.watch import SERVICE_NAME
from hazd.model import Manifest


def chosen(endpoints: Iterable[Manifest]) -> list[Manifest]:
    """The endpoints traffic goes to: the ready ones, else those serving and terminating (KEP-1669), else none."""
    everyone = list(endpoints)
    ready = [each for each in everyone if each["conditions"].get("ready")]
    if ready:
        return ready
    return [each for each in everyone if each["conditions"].get("serving") and each["conditions"].get("terminating")]


def ports(services: Iterable[Manifest], slices: Iterable[Manifest]) -> dict[str, ServicePort]:
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
            made = ServicePort(name, address, port["protocol"].lower(), port["port"], tuple(leads))
            result[made.key] = made
    return result
