"""Which kinds of the table the lab serves, and the one that a CustomResourceDefinition adds elsewhere."""

from __future__ import annotations

from hazd.cluster.kinds import BUILT_IN, Resource
from hazd.errors import ClusterError

_BUILT_IN = (
    *("Namespace", "Node", "Pod", "Service", "ConfigMap", "Secret", "ServiceAccount", "Event", "Deployment"),
    *("ReplicaSet", "Job", "Lease", "EndpointSlice", "PodDisruptionBudget", "HorizontalPodAutoscaler"),
)
KINDS = {
    **{kind: BUILT_IN[kind] for kind in _BUILT_IN},
    "VerticalPodAutoscaler": Resource("VerticalPodAutoscaler", "autoscaling.k8s.io/v1", "verticalpodautoscalers"),
}
COUNTS_GENERATIONS = KINDS.keys() - {
    "Namespace",
    "Node",
    "Service",
    "ConfigMap",
    "Secret",
    "ServiceAccount",
    "Event",
    "Lease",
}
"""Kinds whose metadata.generation counts the changes of their spec."""


def kind_of(name: str) -> Resource:
    """Raises ClusterError for a kind the lab does not serve."""
    try:
        return KINDS[name]
    except KeyError:
        raise ClusterError(f"the lab serves no kind {name!r}", f"it serves {', '.join(KINDS)}") from None


__all__ = ["COUNTS_GENERATIONS", "KINDS", "kind_of"]
