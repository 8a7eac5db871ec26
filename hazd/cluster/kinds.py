"""The API kinds that hazd knows, and where their objects live on an API server: one table for every cluster. Pure.

The paths are those of the API reference of Kubernetes 1.34. A kind that is not in the table is looked up by discovery
(kube/discovery.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from hazd.errors import ClusterError
from hazd.model import Ref


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind as REST sees it: api_version as manifests say it ("apps/v1"), plural as paths say it."""

    kind: str
    api_version: str
    plural: str
    namespaced: bool = True

    @property
    def prefix(self) -> str:
        return group_path(self.api_version)

    @property
    def name(self) -> str:
        """As the API's errors name it: "deployments.apps"."""
        group = self.api_version.rpartition("/")[0]
        return f"{self.plural}.{group}" if group else self.plural

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The path of one object, or of all in a namespace ("" = in all). Raises ClusterError when it needs one."""
        parts = [self.prefix]
        if self.namespaced and namespace:
            parts += ["namespaces", quote(namespace, safe="")]
        elif self.namespaced and name:
            raise ClusterError(f"{self.kind} {name} needs a namespace", "metadata.namespace")
        parts.append(self.plural)
        parts += [quote(part, safe=":") for part in (name, subresource) if part]
        return "/".join(parts)

    def object_path(self, ref: Ref, subresource: str = "") -> str:
        return self.path(ref.namespace, ref.name, subresource)


def group_path(api_version: str) -> str:
    """ "v1" -> /api/v1, "apps/v1" -> /apis/apps/v1."""
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


_TABLE = (
    ("v1", "ConfigMap Event Pod PersistentVolumeClaim Secret Service ServiceAccount", True),
    ("v1", "Namespace Node PersistentVolume", False),
    ("apps/v1", "DaemonSet Deployment ReplicaSet StatefulSet", True),
    ("autoscaling/v2", "HorizontalPodAutoscaler", True),
    ("batch/v1", "Job", True),
    ("coordination.k8s.io/v1", "Lease", True),
    ("discovery.k8s.io/v1", "EndpointSlice", True),
    ("networking.k8s.io/v1", "Ingress NetworkPolicy", True),
    ("policy/v1", "PodDisruptionBudget", True),
    ("rbac.authorization.k8s.io/v1", "Role RoleBinding", True),
    ("rbac.authorization.k8s.io/v1", "ClusterRole ClusterRoleBinding", False),
    ("scheduling.k8s.io/v1", "PriorityClass", False),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition", False),
    ("apiregistration.k8s.io/v1", "APIService", False),
    ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration ValidatingWebhookConfiguration", False),
)


def _plural(kind: str) -> str:
    """Right for the kinds of the table: Ingress, NetworkPolicy and PriorityClass are those that differ."""
    word = kind.lower()
    if word.endswith("s"):
        return f"{word}es"
    return f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"


BUILT_IN = {
    kind: Resource(kind, api_version, _plural(kind), namespaced)
    for api_version, kinds, namespaced in _TABLE
    for kind in kinds.split()
}


__all__ = ["BUILT_IN", "Resource", "group_path"]
