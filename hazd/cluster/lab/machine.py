"""The machine under the lab, as the control loops see it: nodes, pods' networks, processes, rules, sockets.

The real one is in `linux_machine`; unit tests pass another. Nothing here knows of API objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import anyio

from hazd.cluster.lab.http import Request
from hazd.cluster.lab.service_port import ServicePort
from hazd.errors import ClusterError


class MachineEnded(ClusterError):
    """The lab's server has ended, and everything that it ran with it."""


@dataclass(frozen=True, slots=True)
class NodeNet:
    """Addresses of a node: its own on the underlay, its bridge's, its pods' subnet."""

    name: str
    address: str
    gateway: str
    subnet: str


@dataclass(frozen=True, slots=True)
class Command:
    """One process to start: in which namespace (a pod's uid or a node's name), and where its output is written."""

    container: str
    place: str
    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path
    hostname: str = ""
    cwd: str = ""
    nice: int = 0


@dataclass(slots=True)
class Exit:
    """How a container's first process ended: exit code as a shell reports it (128 + signal)."""

    code: int = 0
    signal: int = 0
    done: anyio.Event = field(default_factory=anyio.Event)


class Machine(Protocol):
    """What the control loops need of the world. Failures are OSError (with errno) or TimeoutError."""

    async def add_node(self, node: NodeNet, peers: Sequence[NodeNet]) -> None: ...
    async def cut(self, node: str) -> None: ...
    async def remove_node(self, node: str) -> None: ...
    async def add_pod(self, uid: str, node: NodeNet, address: str) -> None: ...
    async def remove_pod(self, uid: str) -> None: ...
    async def run(self, command: Command) -> Exit: ...
    async def kill(self, container: str, number: int) -> None: ...
    async def rules(self, node: str, ports: Sequence[ServicePort]) -> None:
        """The node leads exactly these ports, from one packet to the next."""

    async def cpu_ns(self) -> dict[str, int]: ...
    async def connect(self, place: str, address: str, port: int, timeout_s: float) -> None: ...
    async def request(self, place: str, address: str, request: Request, timeout_s: float) -> tuple[int, bytes]: ...
