"""The load rises and falls, and a HorizontalPodAutoscaler on CPU scales out and in under it.

Scaling out adds pods that may not listen yet (cured by readiness), scaling in ends pods that nodes still send to (cured
by preStop with a graceful shutdown): the failures of `scale`, at moments that nobody chose. The app burns CPU for each
request (--cpu, 2 ms unless given) and the load goes from a fifth of --rate to all of it and back.
"""

from collections.abc import Mapping
from typing import Any

from hazd.manifests import edited, find_workload, pod_spec
from hazd.model import Manifest
from hazd.scenario import scenario
from hazd.stage import Stage

QUIET_UTILIZATION = 0.4
"""What a fifth of the rate makes of the CPU request, below the autoscaler's target; all of it makes five times that."""


def add_autoscaler(documents: tuple[Manifest, ...], options: Mapping[str, Any]) -> tuple[Manifest, ...]:
    """CPU requests and burn for the app, and the autoscaler. Its scale-in window is short, so that a trial ends."""
    workload, _ = find_workload(documents)
    quiet_m = 0.2 * float(options["rate"]) * float(options["cpu_ms"]) / int(workload["spec"]["replicas"])

    def burn(doc: Manifest) -> None:
        container = pod_spec(doc)["containers"][0]
        container.setdefault("resources", {}).setdefault("requests", {})["cpu"] = (
            f"{max(10, round(quiet_m / QUIET_UTILIZATION))}m"
        )
        for item in container.get("env", []):
            if item["name"] == "HAZD_CPU_MS" and float(item["value"]) == 0:
                item["value"] = str(options["cpu_ms"])

    autoscaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": workload["metadata"]["name"], "labels": dict(workload["metadata"].get("labels") or {})},
        "spec": {
            "scaleTargetRef": {
                "apiVersion": workload["apiVersion"],
                "kind": workload["kind"],
                "name": workload["metadata"]["name"],
            },
            "minReplicas": workload["spec"]["replicas"],
            "maxReplicas": int(options["max_replicas"]),
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": int(options["utilization"])},
                    },
                }
            ],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 10}},
        },
    }
    return (*edited(documents, workload, burn), autoscaler)


@scenario(
    "a HorizontalPodAutoscaler scales out and in as the load rises and falls",
    fixes=("prestop", "readiness", "graceful-shutdown"),
    replicas=2,
    needs=("metrics",),
    options={"max_replicas": 6, "utilization": 60, "cpu_ms": 2.0},
    least={"max_replicas": 2, "utilization": 1},
    expects=("terminations", "additions"),
    profile="steps:20%@15,100%@60,20%@3600",
    prepare=add_autoscaler,
    sample_only="the load makes the sample app burn CPU, as no other app would",
)
async def disrupt(stage: Stage) -> None:
    before = stage.trial.replicas
    await stage.wait_scaled("out", before)
    await stage.wait_scaled("in", before)
