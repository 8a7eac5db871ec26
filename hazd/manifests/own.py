"""The user's own manifests as what is tested, in place of the sample app: what hazd takes of them, and what it changes.

Pure. Everything is created in the trial's own namespace and goes with it, so nothing is taken that would act outside
of it: no cluster-scoped object, no Ingress, and a Service keeps neither its node ports nor its load balancer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hazd.errors import UsageError
from hazd.manifests.documents import choose_workload, find_workload, plain
from hazd.model import Manifest

TAKEN = (
    "ConfigMap",
    "Deployment",
    "HorizontalPodAutoscaler",
    "NetworkPolicy",
    "PersistentVolumeClaim",
    "PodDisruptionBudget",
    "Role",
    "RoleBinding",
    "Secret",
    "Service",
    "ServiceAccount",
    "StatefulSet",
)
LEFT_OUT = ("Namespace",)
"""Left out without a word: the trial brings a namespace of its own."""
SERVER_SET = ("creationTimestamp", "generation", "managedFields", "ownerReferences", "resourceVersion", "uid")
"""Of the metadata: what `kubectl get -o yaml` shows and no API server takes at creation, or that belongs elsewhere."""
SERVICE_KEEPS = ("ports", "publishNotReadyAddresses", "selector", "sessionAffinity", "sessionAffinityConfig")
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True, slots=True)
class OwnWorkload:
    """documents: as they were read. name: of the Deployment under test, "" for the only one that a Service selects.

    next_image: what a rolling update changes the image to; "" = a restart.
    """

    documents: tuple[Manifest, ...]
    name: str = ""
    next_image: str = ""

    def problems(self) -> Iterator[str]:
        """What hazd cannot take, each with its remedy."""
        for doc in self.documents:
            if doc["kind"] not in TAKEN + LEFT_OUT:
                title = f"{doc['kind'].lower()}/{doc['metadata']['name']}"
                yield f"--workload: {title} is not one of {', '.join(TAKEN)}; leave it out"
        try:
            workload, service = find_workload(self.documents, self.name)
        except UsageError as error:
            hint = f" ({error.hint})" if error.hint else ""
            flag = f"--workload-name {self.name}" if self.name else "--workload"
            yield f"{flag}: {error.message}{hint}"
            return
        if workload["kind"] != "Deployment":
            yield f"--workload: {workload['metadata']['name']} is a {workload['kind']}; what is tested is a Deployment"
        if service["spec"].get("clusterIP") == "None":
            yield f"--workload: service/{service['metadata']['name']} is headless; no node has rules for it to test"

    def deployed(self, replicas: int | None) -> tuple[Manifest, ...]:
        """Copies as they are created; replicas: of the workload under test, None leaves its own, 1 where it has none.

        Raises UsageError where `problems` names one with the choice of the workload.
        """
        chosen = choose_workload(self.documents, self.name)
        copies = []
        for doc in self.documents:
            if doc["kind"] in LEFT_OUT:
                continue
            copy = _fresh(doc)
            if doc is chosen:
                copy["spec"]["replicas"] = replicas or doc["spec"].get("replicas") or 1
            copies.append(copy)
        return tuple(copies)


def _fresh(doc: Manifest) -> Manifest:
    """A copy without what an API server has set, without its namespace, and a Service as one inside the cluster."""
    copy = plain(doc)
    copy.pop("status", None)
    meta: dict[str, Any] = copy["metadata"]
    for field in (*SERVER_SET, "namespace"):
        meta.pop(field, None)
    (meta.get("annotations") or {}).pop(LAST_APPLIED, None)
    if copy["kind"] == "Service" and copy["spec"].get("type") != "ExternalName":
        spec = copy["spec"]
        headless = {"clusterIP": "None"} if spec.get("clusterIP") == "None" else {}
        copy["spec"] = {**headless, **{name: spec[name] for name in SERVICE_KEEPS if name in spec}}
        for port in copy["spec"]["ports"]:
            port.pop("nodePort", None)
    return copy


__all__ = ["OwnWorkload"]
