"""Let only so many pods go at a time: a PodDisruptionBudget, which every eviction has to ask.

Cures: a drain (or several at once, or the VPA's updater) that takes all replicas away together, before new ones serve.
Does not cure: what asks nobody: rolling updates, scale-in, direct deletion and a node that dies; nor the moment in
which one allowed pod goes (prestop does). A budget that allows nothing, such as minAvailable at the number of replicas,
blocks a drain for ever. (Kubernetes docs, "Specifying a Disruption Budget for your Application".)
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from hazd.errors import UsageError
from hazd.fixes import Fix, Settings, needs_a_workload, workload_of
from hazd.manifests import plain, pod_labels
from hazd.model import Manifest, Setup

KIND = "PodDisruptionBudget"


def apply(setup: Setup, settings: Settings) -> Setup:
    limit = _limit(settings)
    workload = workload_of(setup, settings)
    if any(_covers(doc, workload) for doc in setup.documents):
        return setup  # two budgets on one pod make every eviction fail (HTTP 500), so a user's own one stays alone
    taken = {doc["metadata"]["name"] for doc in setup.documents if doc["kind"] == KIND}
    meta = workload["metadata"]
    name = meta["name"] if meta["name"] not in taken else f"{meta['name']}-hazd"
    budget: Manifest = {
        "apiVersion": "policy/v1",
        "kind": KIND,
        "metadata": {"name": name, **({"namespace": meta["namespace"]} if "namespace" in meta else {})},
        "spec": {**limit, "selector": plain(workload["spec"]["selector"])},
    }
    return replace(setup, documents=(*setup.documents, budget))


def _limit(settings: Settings) -> dict[str, Any]:
    given = {
        field: settings[name]
        for name, field in (("pdb_min_available", "minAvailable"), ("pdb_max_unavailable", "maxUnavailable"))
        if settings.get(name) is not None
    }
    if len(given) == 2:
        raise UsageError(f"pdb: both minAvailable and maxUnavailable are given: {given}", "give one of them")
    for field, value in given.items():
        if isinstance(value, bool) or not re.fullmatch(r"\d+%?", str(value)):
            raise UsageError(
                f"pdb {field}: {value!r} is not right", "a whole number from 0, or a percentage such as 50%"
            )
        given[field] = int(value) if str(value).isdigit() else value
    return given or {"maxUnavailable": 1}


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
    applies=needs_a_workload,
)
