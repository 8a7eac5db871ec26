"""Let only so many pods go at a time: a PodDisruptionBudget, which every eviction has to ask.

Cures: a drain (or several at once, or the VPA's updater) that takes all replicas away together, before new ones serve.
Does not cure: what asks nobody: rolling updates, scale-in, direct deletion and a node that dies; nor the moment in
which one allowed pod goes (prestop does). A budget that allows nothing, such as minAvailable at the number of replicas,
blocks a drain until someone lifts it. (Kubernetes docs, "Specifying a Disruption Budget for your Application".)
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hazd.fixes import Fix, FixSettings, why_no_workload, workload_of
from hazd.manifests import plain, pod_labels
from hazd.model import Applied, Manifest, Setup

KIND = "PodDisruptionBudget"


def apply(setup: Setup, settings: FixSettings) -> tuple[Setup, Applied]:
    workload = workload_of(setup)
    for doc in setup.documents:
        if _covers(doc, workload):  # two budgets on one pod make every eviction fail (HTTP 500): the user's own stays
            return setup, _applied(doc)
    taken = {doc["metadata"]["name"] for doc in setup.documents if doc["kind"] == KIND}
    meta = workload["metadata"]
    name = meta["name"] if meta["name"] not in taken else f"{meta['name']}-hazd"
    budget: Manifest = {
        "apiVersion": "policy/v1",
        "kind": KIND,
        "metadata": {"name": name, **({"namespace": meta["namespace"]} if "namespace" in meta else {})},
        "spec": {**_limit(settings), "selector": plain(workload["spec"]["selector"])},
    }
    return replace(setup, documents=(*setup.documents, budget)), _applied(budget)


def _limit(settings: FixSettings) -> dict[str, Any]:
    field, value = "minAvailable", settings.pdb_min_available
    if value is None:
        field, value = "maxUnavailable", settings.pdb_max_unavailable
    return {field: 1 if value is None else int(value) if str(value).isdigit() else value}


def _applied(budget: Manifest) -> Applied:
    spec = budget.get("spec") or {}
    names = {"maxUnavailable": "max_unavailable", "minAvailable": "min_available"}
    limits = {field: spec[field] for field in names if spec.get(field) is not None}
    words = " ".join(["PDB", *(f"{field} {value}" for field, value in limits.items())])
    return Applied(words, {names[field]: value for field, value in limits.items()})


def _covers(doc: Manifest, workload: Manifest) -> bool:
    if doc["kind"] != KIND:
        return False
    wanted = ((doc.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    return bool(wanted.items() <= pod_labels(workload).items())


FIX = Fix(
    name="pdb",
    summary="a PodDisruptionBudget, so that evictions take pods one after the other",
    cures="a drain that evicts all replicas together, before new ones serve",
    not_cures="rolling updates, scale-in, direct deletion and dead nodes, which ask no budget",
    order=40,
    apply=apply,
    why_not=why_no_workload,
    inputs={"pdb_max_unavailable": "--pdb-max-unavailable", "pdb_min_available": "--pdb-min-available"},
)
