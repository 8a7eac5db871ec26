"""A node goes without notice (power off, kernel panic, lost link) and comes back after its pods were replaced.

Nobody tells its pods to stop, so no preStop hook runs and no graceful shutdown happens: until the control plane gives
the node up (node-monitor-grace-period) its endpoints stay in every other node's rules and their share of the requests
is lost. Anti-affinity decides how large that share is; tolerations for not-ready and unreachable decide how soon the
pods are replaced (--set toleration_s=N). The loss can be bounded, not cured.
"""

from collections.abc import Mapping
from typing import Any

from hazd.manifests import edited, find_workload, pod_spec
from hazd.model import Manifest
from hazd.scenario import scenario
from hazd.stage import Stage

TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


def shorten_tolerations(documents: tuple[Manifest, ...], options: Mapping[str, Any]) -> tuple[Manifest, ...]:
    """Replace the 300 s that admission adds by default (DefaultTolerationSeconds) with the option's value."""
    seconds = int(options["toleration_s"])
    tolerations = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds} for key in TAINTS
    ]
    workload, _ = find_workload(documents, str(options.get("workload") or ""))
    return edited(documents, workload, lambda doc: pod_spec(doc).update(tolerations=tolerations))


@scenario(
    "the node with most pods dies without notice and comes back",
    workers=2,
    takes_nodes=1,
    fixes=("anti-affinity", "readiness"),
    needs=("stop-node",),
    options={"toleration_s": 5},
    expects=("nodes_lost",),
    placement="packed",
    prepare=shorten_tolerations,
)
async def disrupt(stage: Stage) -> None:
    node = (await stage.nodes_of_pods())[0]
    await stage.stop_node(node)
    await stage.wait_endpoints_left(node)
    await stage.wait_ready(stage.trial.replicas, away_from=node)
    await stage.start_node(node)
