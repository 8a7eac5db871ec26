"""Let a new pod be ready for a while before it counts as available: minReadySeconds slows a rollout down.

Cures: a rollout that runs ahead of the network: without it an old pod may be terminated as soon as a new one is ready,
although nodes learn of the new one only later, and a pod that dies right after it became ready counts as progress. Does
not cure: traffic to pods before they are ready (it counts from Ready, so without a readinessProbe it only waits), nor
traffic to terminating pods. (Kubernetes docs, Deployments, "Min Ready Seconds".)
"""

from __future__ import annotations

from dataclasses import replace

from hazd.fixes import Fix, FixSettings, why_no_workload, workload_of
from hazd.manifests import edited
from hazd.model import Applied, Manifest, Setup

DEFAULT_DEADLINE_S = 600


def apply(setup: Setup, settings: FixSettings) -> tuple[Setup, Applied]:
    def change(workload: Manifest) -> None:
        spec = workload["spec"]
        spec["minReadySeconds"] = max(settings.min_ready_s, int(spec.get("minReadySeconds", 0)))
        # The API wants progressDeadlineSeconds above minReadySeconds (a StatefulSet has no such deadline).
        if (
            workload["kind"] == "Deployment"
            and spec.get("progressDeadlineSeconds", DEFAULT_DEADLINE_S) <= spec["minReadySeconds"]
        ):
            spec["progressDeadlineSeconds"] = spec["minReadySeconds"] + DEFAULT_DEADLINE_S

    changed = replace(setup, documents=edited(setup.documents, workload_of(setup), change))
    found_s = int(workload_of(changed)["spec"]["minReadySeconds"])
    return changed, Applied(f"minReadySeconds {found_s} s", {"min_ready_s": found_s})


FIX = Fix(
    name="min-ready-seconds",
    summary="minReadySeconds, so that a rollout waits until every node can know the new pod",
    cures="a rollout that takes old pods away before the network knows the new ones, or while these still crash",
    not_cures="traffic to pods that do not listen yet (it counts from Ready), and traffic to terminating pods",
    order=80,
    apply=apply,
    why_not=why_no_workload,
    inputs={"min_ready_s": "--min-ready-seconds"},
)
