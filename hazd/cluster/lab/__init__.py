"""The lab: an embedded cluster behind the port, without Docker and without Kubernetes.

Its data plane is the kernel's (namespaces, veth, nftables, processes); its control loops follow Kubernetes' published
semantics. Names are resolved on first use, because the lab's own processes import below this package and must be light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hazd.cluster.lab.clean import clean_lab
    from hazd.cluster.lab.cluster import LabCluster
    from hazd.cluster.lab.linux_machine import lab_problem
    from hazd.cluster.lab.options import LabOptions

__all__ = ["LabCluster", "LabOptions", "clean_lab", "lab_problem"]

_HOMES = {"LabCluster": "cluster", "LabOptions": "options", "clean_lab": "clean", "lab_problem": "linux_machine"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
