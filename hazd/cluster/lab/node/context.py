"""What a node's kubelet and the pods on it share, and what a pod asks its kubelet for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hazd.cluster.lab.machine import Machine, NodeNet
from hazd.cluster.lab.node.logs import Logs
from hazd.cluster.lab.options import LabOptions
from hazd.cluster.lab.store import Store


@dataclass(frozen=True, slots=True)
class NodeContext:
    """One node's. phase_s: when within a relist period it relists. python_path: where containers find this hazd."""

    store: Store
    machine: Machine
    options: LabOptions
    net: NodeNet
    folder: Path
    logs: Logs
    phase_s: float
    python_path: Mapping[str, str]

    def pod_folder(self, uid: str) -> Path:
        return self.folder / "pods" / uid


class PodNetwork(Protocol):
    """The node's addresses for pods."""

    async def attach(self, uid: str) -> str:
        """Give the pod its network; its address. Raises OSError."""

    async def release(self, uid: str, address: str) -> None:
        """Remove the pod's network. The address may be given to another pod once all others have been."""
