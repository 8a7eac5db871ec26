"""One port of a Service and where a node's rules lead it: what a proxy wants of its machine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServicePort:
    """name: NAMESPACE/SERVICE:PORT, for people. endpoints: (IPv4 address, port), in order; none: it is rejected."""

    name: str
    address: str
    protocol: str
    port: int
    endpoints: tuple[tuple[str, int], ...]

    @property
    def key(self) -> str:
        """What packets are matched by: no two ports of a node have the same."""
        return f"{self.address} . {self.protocol} . {self.port}"
