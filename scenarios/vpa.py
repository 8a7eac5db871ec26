"""A VerticalPodAutoscaler changes the pods' CPU requests: by eviction, or in place.

With --set mode=recreate the updater evicts pods, the budget's limits respected, and the admission controller gives
their successors the new requests: every eviction is a termination with both races, cured as in a drain. With
--set mode=in-place each pod is resized where it runs (the resize subresource, KEP-1287): nothing restarts, and no
request may be lost.
"""

from collections.abc import Mapping
from typing import Any

from hazd.scenario import scenario
from hazd.stage import Stage


def expected(options: Mapping[str, Any]) -> Mapping[str, int | str]:
    """Every pod is replaced, or resized where it runs."""
    if options["mode"] == "in-place":
        return {"resizes": "replicas"}
    return {"terminations": "replicas", "additions": "replicas"}


@scenario(
    "VerticalPodAutoscaler: --set mode=recreate (evictions) or mode=in-place",
    fixes=("pdb", "prestop", "readiness", "graceful-shutdown"),
    needs=("vpa",),
    options={"mode": "recreate", "cpu": "60m"},
    choices={"mode": ("recreate", "in-place")},
    expects=expected,
    sample_only="the CPU request that it raises is the sample app's",
)
async def disrupt(stage: Stage) -> None:
    cpu = str(stage.options["cpu"])
    if stage.options["mode"] == "in-place":
        for pod in await stage.pods():
            await stage.resize(pod["metadata"]["name"], cpu)
        return
    before = {pod["metadata"]["name"] for pod in await stage.pods()}
    await stage.create(
        {
            "apiVersion": "autoscaling.k8s.io/v1",
            "kind": "VerticalPodAutoscaler",
            "metadata": {"name": stage.workload.name, "namespace": stage.namespace},
            "spec": {
                "targetRef": {"apiVersion": "apps/v1", "kind": stage.workload.kind, "name": stage.workload.name},
                "updatePolicy": {"updateMode": "Recreate", "minReplicas": 1},
                "resourcePolicy": {
                    "containerPolicies": [
                        {"containerName": "*", "minAllowed": {"cpu": cpu}, "controlledResources": ["cpu"]}
                    ]
                },
            },
        }
    )
    await stage.wait_all_replaced(before)
    await stage.rollout_status()
