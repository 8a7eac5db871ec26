"""Which nodes the traffic workers run on: the vantages of --vantage, resolved against the cluster's real nodes."""

from __future__ import annotations

from collections.abc import Collection

from hazd.cluster.port import Cluster
from hazd.errors import UsageError
from hazd.traffic.job import MAX_WORKERS

CONTROL_PLANE = "node-role.kubernetes.io/control-plane"


async def vantage_nodes(cluster: Cluster, wanted: tuple[str, ...], avoid: Collection[str] = ()) -> list[str]:
    """Node names for --vantage: "control-plane" (default; a drain never takes it), "workers", "spread", "node:NAME".

    avoid: nodes that the scenario will take away; only "node:NAME" chooses one of them.
    A cluster that shows no control-plane node gives its first Ready node instead. Raises UsageError for unknown nodes.
    """
    nodes = {node["metadata"]["name"]: node for node in await cluster.list("Node")}
    control = [name for name, node in nodes.items() if CONTROL_PLANE in (node["metadata"].get("labels") or {})]
    rest = [name for name in nodes if name not in control]
    control, rest = ([name for name in group if name not in avoid] for group in (control, rest))
    groups = {"control-plane": control[:1] or rest[:1], "workers": rest, "spread": [*control, *rest]}
    chosen: list[str] = []
    for word in wanted or ("control-plane",):
        name = word.removeprefix("node:")
        if word not in groups and name not in nodes:
            raise UsageError(
                f"--vantage: {word!r} is not a node of this cluster",
                f"one of control-plane, workers, spread, or node:NAME with NAME one of {', '.join(nodes)}",
            )
        chosen += [item for item in groups.get(word, [name]) if item not in chosen]
    if not chosen:
        words = f"--vantage {' '.join(wanted)}: every such node is one that the scenario takes away"
        raise UsageError(words, "another vantage, or node:NAME to have the traffic on such a node all the same")
    if len(chosen) > MAX_WORKERS:
        words = f"--vantage {' '.join(wanted)}: {len(chosen)} nodes want a worker each, at most {MAX_WORKERS} can be"
        raise UsageError(words, "name the nodes that matter: --vantage node:NAME, repeated")
    return chosen


__all__ = ["vantage_nodes"]
