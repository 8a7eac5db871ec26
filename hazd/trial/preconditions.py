"""What a scenario needs of a cluster, checked before anything is changed; all problems are reported at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hazd.cluster.port import Cluster
from hazd.errors import EnvironmentProblem
from hazd.manifests.conditions import is_ready
from hazd.model import Manifest
from hazd.scenario import Scenario


def is_schedulable(node: Manifest) -> bool:
    """Whether the scheduler would put an ordinary pod there: Ready, not cordoned, no NoSchedule or NoExecute taint."""
    spec = node.get("spec") or {}
    tainted = any(item.get("effect") in ("NoSchedule", "NoExecute") for item in spec.get("taints") or [])
    return is_ready(node) and not tainted and not spec.get("unschedulable")


async def check_needs(cluster: Cluster, wanted: Iterable[tuple[Scenario, Mapping[str, Any]]]) -> None:
    """wanted: scenarios with their options. Raises EnvironmentProblem with every unmet need of them, a line each."""
    problems: list[str] = []
    nodes = await cluster.list("Node")
    ready = [node["metadata"]["name"] for node in nodes if is_schedulable(node)]
    needs: dict[str, list[str]] = {}
    for item, options in wanted:
        taken = item.nodes_taken(options)
        want = max(item.workers, taken + 1 if taken else 0)
        if len(ready) < want:
            names = ", ".join(ready) or "none"
            why = f" ({taken} to take away and one more for the pods to go to)" if taken else ""
            problems.append(f"{item.name} needs {want} schedulable nodes{why}, this cluster has {len(ready)} ({names})")
        for need in item.needs:
            needs.setdefault(need, []).append(item.name)
    for need, names_of in needs.items():
        missing = await cluster.provide(need)
        if missing:
            problems.append(f"{', '.join(names_of)} needs {need}: {missing}")
    if problems:
        raise EnvironmentProblem("\n".join(problems), "nothing was changed; `hazd list` shows what each scenario needs")


__all__ = ["check_needs", "is_schedulable"]
