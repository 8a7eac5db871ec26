"""Put the replicas on different nodes, so that one node's end is not the service's end.

Cures: a drain or a dead node that takes every replica at once. Does not cure: the requests of the one pod that does go
(prestop, and for a dead node nothing on the server's side), or scheduling that must fail: "required" with more replicas
(and surge) than nodes leaves pods pending, and a rolling update that needs their room stands still. Terms that draw the
same pods together are taken out. (Kubernetes docs, "Assigning Pods to Nodes".)
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hazd.fixes import Fix, FixSettings, why_no_workload, workload_of
from hazd.manifests import edited, plain, pod_labels, pod_spec
from hazd.model import Applied, Manifest, Setup

PREFERRED, REQUIRED = (
    "preferredDuringSchedulingIgnoredDuringExecution",
    "requiredDuringSchedulingIgnoredDuringExecution",
)
WEIGHT = 100


def apply(setup: Setup, settings: FixSettings) -> tuple[Setup, Applied]:
    mode, key = settings.anti_affinity, settings.topology_key
    workload = workload_of(setup)
    term: dict[str, Any] = {"labelSelector": plain(workload["spec"]["selector"]), "topologyKey": key}
    if workload["kind"] == "Deployment" and mode == "preferred":
        # Only pods of one revision repel each other: else the leaving ones decide where the new ones stand
        # (KEP-3633, on by default from 1.31; an older API server drops the field).
        term["matchLabelKeys"] = ["pod-template-hash"]

    def change(copy: Manifest) -> None:
        spec = pod_spec(copy)
        affinity = spec.setdefault("affinity", {})
        _drop_attraction(affinity, copy, key)
        away = affinity.setdefault("podAntiAffinity", {})
        field, entry = (
            (PREFERRED, {"weight": WEIGHT, "podAffinityTerm": term}) if mode == "preferred" else (REQUIRED, term)
        )
        if entry not in away.get(field, []):
            away[field] = [*away.get(field, []), entry]

    changed = replace(setup, documents=edited(setup.documents, workload, change))
    words = "anti-affinity" if mode == "preferred" else "required anti-affinity"
    return changed, Applied(words, {"anti_affinity": mode, "topology_key": key})


def _drop_attraction(affinity: dict[str, Any], workload: Manifest, key: str) -> None:
    """Take out podAffinity terms that draw the workload's pods to their own kind within the same topology."""
    near = affinity.get("podAffinity")
    if not near:
        return

    def to_itself(entry: dict[str, Any]) -> bool:
        term = entry.get("podAffinityTerm", entry)
        wanted = (term.get("labelSelector") or {}).get("matchLabels") or {}
        return bool(wanted) and wanted.items() <= pod_labels(workload).items() and term.get("topologyKey") == key

    kept = {
        field: [entry for entry in near[field] if not to_itself(entry)]
        for field in (PREFERRED, REQUIRED)
        if field in near
    }
    affinity["podAffinity"] = {field: entries for field, entries in kept.items() if entries}
    if not affinity["podAffinity"]:
        del affinity["podAffinity"]


FIX = Fix(
    name="anti-affinity",
    summary="replicas on different nodes, so that one node's end is not the service's end",
    cures="a drain or a dead node that takes every replica at once",
    not_cures="the requests of the one pod that does go, and pods left pending when there are too few nodes",
    order=50,
    apply=apply,
    why_not=why_no_workload,
    inputs={"anti_affinity": "--anti-affinity", "topology_key": "--topology-key"},
)
