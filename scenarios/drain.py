"""A node is drained: cordoned, then its pods are evicted through the Eviction API, budgets respected, uncordoned after.

All replicas are put on that one node at first, as happens without anti-affinity, so that without a PodDisruptionBudget
the drain takes every replica at once: a real outage. Anti-affinity leaves replicas elsewhere, the budget lets the
drain take one at a time (its 429s are on the timeline), and readiness and preStop cure the two races of each pod.
"""

from hazd.scenario import scenario
from hazd.stage import Stage


@scenario(
    "drain the node with most pods, --set nodes=2 for several at once",
    workers=2,
    takes_nodes="nodes",
    fixes=("pdb", "anti-affinity", "prestop", "readiness", "graceful-shutdown"),
    options={"nodes": 1},
    least={"nodes": 1},
    expects=("terminations", "additions"),
    placement="packed",
)
async def disrupt(stage: Stage) -> None:
    nodes = (await stage.nodes_of_pods())[: int(stage.options["nodes"])]
    await stage.together(*(stage.drain(node) for node in nodes))
    await stage.rollout_status()
    for node in nodes:
        await stage.uncordon(node)
