"""The API kinds that the lab serves, and how each is named."""

from __future__ import annotations

from dataclasses import dataclass

from hazd.errors import ClusterError


@dataclass(frozen=True, slots=True)
class Kind:
    """generation: whether metadata.generation counts changes of the spec. namespaced: lives in a namespace."""

    name: str
    api_version: str
    plural: str
    namespaced: bool = True
    generation: bool = False

    @property
    def resource(self) -> str:
        """As errors of the API name it: "deployments.apps"."""
        group = self.api_version.rpartition("/")[0]
        return f"{self.plural}.{group}" if group else self.plural


_ALL = (
    Kind("Namespace", "v1", "namespaces", namespaced=False),
    Kind("Node", "v1", "nodes", namespaced=False),
    Kind("Pod", "v1", "pods", generation=True),
    Kind("Service", "v1", "services"),
    Kind("ConfigMap", "v1", "configmaps"),
    Kind("Secret", "v1", "secrets"),
    Kind("ServiceAccount", "v1", "serviceaccounts"),
    Kind("Event", "v1", "events"),
    Kind("Deployment", "apps/v1", "deployments", generation=True),
    Kind("ReplicaSet", "apps/v1", "replicasets", generation=True),
    Kind("Job", "batch/v1", "jobs", generation=True),
    Kind("EndpointSlice", "discovery.k8s.io/v1", "endpointslices", generation=True),
    Kind("PodDisruptionBudget", "policy/v1", "poddisruptionbudgets", generation=True),
    Kind("HorizontalPodAutoscaler", "autoscaling/v2", "horizontalpodautoscalers", generation=True),
    Kind("VerticalPodAutoscaler", "autoscaling.k8s.io/v1", "verticalpodautoscalers", generation=True),
)
KINDS = {kind.name: kind for kind in _ALL}


def kind_of(name: str) -> Kind:
    """Raises ClusterError for a kind the lab does not serve."""
    try:
        return KINDS[name]
    except KeyError:
        raise ClusterError(f"the lab serves no kind {name!r}", f"it serves {', '.join(KINDS)}") from None
