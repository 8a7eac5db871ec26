"""What an API server does to an object before it stores it: shape, defaults, validation; and what the lab cannot run.

Defaults: the API reference of Kubernetes 1.34 (the SetDefaults functions of pkg/apis), and the admission plugins
DefaultTolerationSeconds and ServiceClusterIP allocation. Validation covers what a mistake in a manifest of hazd's
users would meet; it is no full schema.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any

from hazd.cluster.lab import pod_defaults
from hazd.cluster.lab.kinds import KINDS, kind_of
from hazd.cluster.lab.objects import has_labels
from hazd.errors import ClusterError, UsageError
from hazd.manifests.check import check_document
from hazd.manifests.quantities import int_or_percent, rolling_limits
from hazd.model import Manifest

SERVICE_NETWORK = ipaddress.ip_network("10.96.0.0/16")
_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?")


def shaped(doc: Mapping[str, Any]) -> Manifest:
    """A copy with kind, apiVersion and metadata. Raises ClusterError."""
    kind = doc.get("kind")
    if not isinstance(kind, str) or not kind:
        raise ClusterError("invalid object: kind: Required value")
    known = kind_of(kind)
    given = doc.get("apiVersion") or known.api_version
    if given.partition("/")[0] != known.api_version.partition("/")[0]:
        raise ClusterError(f'no matches for kind "{kind}" in version "{given}"', f"the lab serves {known.api_version}")
    meta = doc.get("metadata")
    if not isinstance(meta, Mapping) or not (meta.get("name") or meta.get("generateName")):
        raise ClusterError(f"{kind} is invalid: metadata.name: Required value: name or generateName is required")
    return {
        "apiVersion": known.api_version,
        "kind": kind,
        **{k: v for k, v in doc.items() if k not in ("apiVersion", "kind")},
    }


def fixed_metadata(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The part of metadata that no client changes."""
    names = (
        "name", "namespace", "uid", "creationTimestamp", "resourceVersion", "generation", "deletionTimestamp",
        "deletionGracePeriodSeconds",
    )  # fmt: skip
    return {name: meta[name] for name in names if name in meta}


def _invalid(obj: Mapping[str, Any], field: str, value: object, why: str) -> ClusterError:
    shown = "" if value is None else f"{value!r}: "
    return ClusterError(
        f'{obj["kind"]} "{obj["metadata"].get("name")}" is invalid: {field}: Invalid value: {shown}{why}'
    )


class Rules:
    """Defaulting and validation; toleration_s is what DefaultTolerationSeconds adds."""

    def __init__(self, toleration_s: float = 300.0) -> None:
        self.toleration_s = toleration_s
        self.mutators: list[Callable[[Manifest], Manifest]] = []
        """Called on each Pod that is being created, as mutating admission webhooks are."""

    def defaulted(self, obj: Manifest, allocate_address: Callable[[], str]) -> Manifest:
        """A copy with what the server fills in. allocate_address: gives a free address of the service network.

        Raises ClusterError where the shape does not allow it.
        """
        fill = getattr(self, f"_default_{obj['kind'].lower()}", None)
        if fill is None:
            return obj
        if not isinstance(obj.get("spec"), Mapping):
            raise _invalid(obj, "spec", None, "a mapping is required")
        try:
            return {**obj, **fill(obj, dict(obj["spec"]), allocate_address)}
        except (KeyError, TypeError, AttributeError, ValueError) as problem:
            raise ClusterError(
                f'{obj["kind"]} "{obj["metadata"].get("name")}" is invalid: spec: {type(problem).__name__}: {problem}'
            ) from problem

    def _default_deployment(self, obj: Manifest, spec: Manifest, allocate_address: Callable[[], str]) -> Manifest:
        spec.setdefault("replicas", 1)
        spec.setdefault("revisionHistoryLimit", 10)
        spec.setdefault("progressDeadlineSeconds", 600)
        strategy = dict(spec.get("strategy") or {})
        if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
            strategy["rollingUpdate"] = {
                "maxSurge": "25%",
                "maxUnavailable": "25%",
                **(strategy.get("rollingUpdate") or {}),
            }
        spec["strategy"] = strategy
        spec["template"] = {**spec["template"], "spec": pod_defaults.defaulted(spec["template"]["spec"])}
        spec["template"]["metadata"] = spec["template"].get("metadata") or {}
        return {"spec": spec}

    def _default_job(self, obj: Manifest, spec: Manifest, allocate_address: Callable[[], str]) -> Manifest:
        per_index = "backoffLimitPerIndex" in spec
        filled = {
            "completionMode": "NonIndexed",
            "parallelism": 1,
            "backoffLimit": 2**31 - 1 if per_index else 6,
            "podReplacementPolicy": "TerminatingOrFailed",
            "suspend": False,
            **spec,
        }
        template = {**spec["template"], "spec": pod_defaults.defaulted(spec["template"]["spec"])}
        return {"spec": {**filled, "template": template}}

    def _default_pod(self, obj: Manifest, spec: Manifest, allocate_address: Callable[[], str]) -> Manifest:
        if "uid" not in obj["metadata"]:
            for mutate in self.mutators:
                spec = dict(mutate({**obj, "spec": spec})["spec"])
        spec = pod_defaults.defaulted(spec)
        spec["tolerations"] = pod_defaults.tolerations(spec.get("tolerations") or [], self.toleration_s)
        status = obj.get("status") or {"phase": "Pending", "qosClass": pod_defaults.qos(spec)}
        return {"spec": spec, "status": status}

    def _default_service(self, obj: Manifest, spec: Manifest, allocate_address: Callable[[], str]) -> Manifest:
        spec.setdefault("type", "ClusterIP")
        spec.setdefault("sessionAffinity", "None")
        ports = []
        for port in spec.get("ports") or ():
            ports.append({"protocol": "TCP", "targetPort": port["port"], **port})
        spec["ports"] = ports
        if not spec.get("clusterIP"):
            spec["clusterIP"] = allocate_address()
        spec.setdefault("clusterIPs", [spec["clusterIP"]])
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("internalTrafficPolicy", "Cluster")
        return {"spec": spec, "status": obj.get("status") or {"loadBalancer": {}}}

    def _default_horizontalpodautoscaler(
        self, obj: Manifest, spec: Manifest, allocate_address: Callable[[], str]
    ) -> Manifest:
        spec.setdefault("minReplicas", 1)
        spec.setdefault("metrics", [_cpu_metric(80)])
        if "targetCPUUtilizationPercentage" in spec:  # autoscaling/v1
            spec["metrics"] = [_cpu_metric(spec.pop("targetCPUUtilizationPercentage"))]
        return {"spec": spec}

    def check(self, obj: Manifest, old: Manifest | None, subresource: str = "") -> None:
        """Raises ClusterError naming field and value."""
        kind, meta = obj["kind"], obj["metadata"]
        name = meta["name"]
        if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > 253:
            raise _invalid(obj, "metadata.name", name, "a lowercase RFC 1123 subdomain")
        if kind in ("Deployment", "Service"):
            for field, value, right in check_document(obj):
                raise _invalid(obj, field, value, right)
        check = getattr(self, f"_check_{kind.lower()}", None)
        if check is None:
            return
        try:
            check(obj, old, subresource)
        except (KeyError, TypeError, AttributeError, ValueError) as problem:
            raise _invalid(obj, "spec", None, f"{type(problem).__name__}: {problem}") from problem

    def _check_deployment(self, obj: Manifest, old: Manifest | None, subresource: str) -> None:
        spec = obj["spec"]
        strategy = spec["strategy"]
        if strategy["type"] not in ("RollingUpdate", "Recreate"):
            raise _invalid(obj, "spec.strategy.type", strategy["type"], "RollingUpdate or Recreate")
        if strategy["type"] == "RollingUpdate":
            rolling = strategy["rollingUpdate"]
            if all(str(rolling[name]).rstrip("%") == "0" for name in ("maxSurge", "maxUnavailable")):
                raise _invalid(
                    obj, "spec.strategy.rollingUpdate.maxUnavailable", 0, "may not be 0 when `maxSurge` is 0"
                )
            try:
                rolling_limits(obj)
            except UsageError as problem:
                raise _invalid(obj, "spec.strategy.rollingUpdate", None, problem.message) from None
        _check_selector(obj, spec["selector"])
        if not has_labels(spec["template"], spec["selector"].get("matchLabels") or {}):
            raise _invalid(obj, "spec.template.metadata.labels", None, "`selector` does not match template `labels`")
        if old is not None and old["spec"]["selector"] != spec["selector"]:
            raise _invalid(obj, "spec.selector", None, "field is immutable")
        for wrong in pod_defaults.problems(spec["template"]["spec"], "spec.template.spec"):
            raise _invalid(obj, *wrong)
        policy = spec["template"]["spec"].get("restartPolicy")
        if policy != "Always":
            raise _invalid(obj, "spec.template.spec.restartPolicy", policy, "supported values: Always")

    def _check_job(self, obj: Manifest, old: Manifest | None, subresource: str) -> None:
        spec = obj["spec"]
        if spec["completionMode"] != "Indexed":
            raise _invalid(obj, "spec.completionMode", spec["completionMode"], "the lab runs Indexed Jobs only")
        for name in ("completions", "parallelism", "backoffLimit", "backoffLimitPerIndex"):
            value = spec.get(name, 0 if name == "backoffLimitPerIndex" else None)
            if not isinstance(value, int) or value < 0:
                raise _invalid(obj, f"spec.{name}", value, "must be greater than or equal to 0")
        for wrong in pod_defaults.problems(spec["template"]["spec"], "spec.template.spec"):
            raise _invalid(obj, *wrong)
        policy = spec["template"]["spec"].get("restartPolicy")
        allowed = ("Never",) if "backoffLimitPerIndex" in spec else ("Never", "OnFailure")
        if policy not in allowed:
            raise _invalid(obj, "spec.template.spec.restartPolicy", policy, f"supported values: {', '.join(allowed)}")
        if spec["podReplacementPolicy"] not in ("Failed", "TerminatingOrFailed"):
            right = "supported values: Failed, TerminatingOrFailed"
            raise _invalid(obj, "spec.podReplacementPolicy", spec["podReplacementPolicy"], right)
        if old is not None and any(old["spec"][name] != spec[name] for name in ("completionMode", "template")):
            raise _invalid(obj, "spec.template", None, "field is immutable")

    def _check_pod(self, obj: Manifest, old: Manifest | None, subresource: str) -> None:
        for problem in pod_defaults.problems(obj["spec"], "spec"):
            raise _invalid(obj, *problem)
        if old is not None and not pod_defaults.may_become(old["spec"], obj["spec"], subresource):
            raise ClusterError(
                f'Pod "{obj["metadata"]["name"]}" is invalid: spec: Forbidden: pod updates may not change fields other '
                "than container images and tolerations; resources by the resize subresource only"
            )

    def _check_service(self, obj: Manifest, old: Manifest | None, subresource: str) -> None:
        spec = obj["spec"]
        if spec["type"] != "ClusterIP":
            raise _invalid(obj, "spec.type", spec["type"], "the lab has ClusterIP services only")
        address = spec["clusterIP"]
        if old is not None and old["spec"]["clusterIP"] != address:
            raise _invalid(obj, "spec.clusterIPs[0]", address, "may not change once set")
        if address != "None":
            try:
                inside = ipaddress.ip_address(address) in SERVICE_NETWORK
            except ValueError:
                inside = False
            if not inside:
                raise _invalid(
                    obj, "spec.clusterIPs", address, f"provided IP is not in the valid range {SERVICE_NETWORK}"
                )
        names = [port.get("name", "") for port in spec["ports"]]
        if len(names) > 1 and (len(set(names)) < len(names) or "" in names):
            raise _invalid(obj, "spec.ports.name", names, "several ports need different names")

    def _check_poddisruptionbudget(self, obj: Manifest, old: Manifest | None, subresource: str) -> None:
        spec = obj.get("spec") or {}
        given = [name for name in ("minAvailable", "maxUnavailable") if spec.get(name) is not None]
        if len(given) > 1:
            raise _invalid(obj, "spec", None, "minAvailable and maxUnavailable cannot be both set")
        _check_selector(obj, spec.get("selector"))
        for name in given:
            try:
                int_or_percent(spec[name], 1, round_up=True)
            except UsageError:
                raise _invalid(obj, f"spec.{name}", spec[name], "an integer from 0, or a percentage") from None

    def _check_horizontalpodautoscaler(self, obj: Manifest, old: Manifest | None, subresource: str) -> None:
        spec = obj["spec"]
        least, most = spec["minReplicas"], spec.get("maxReplicas")
        if not isinstance(most, int) or most < 1:
            raise _invalid(obj, "spec.maxReplicas", most, "must be greater than 0")
        if not isinstance(least, int) or least < 1 or least > most:
            raise _invalid(obj, "spec.minReplicas", least, "must be between 1 and `maxReplicas`")
        if spec.get("scaleTargetRef", {}).get("kind") not in KINDS:
            raise _invalid(obj, "spec.scaleTargetRef.kind", spec.get("scaleTargetRef"), "Deployment or ReplicaSet")
        for metric in spec["metrics"]:
            target = (metric.get("resource") or {}).get("target") or {}
            fields = {"Utilization": "averageUtilization", "AverageValue": "averageValue"}
            if metric.get("type") != "Resource" or metric["resource"].get("name") != "cpu":
                raise _invalid(obj, "spec.metrics", metric.get("type"), "the lab measures the resource cpu only")
            if target.get("type") not in fields or not target.get(fields[target["type"]]):
                raise _invalid(obj, "spec.metrics.resource.target", target, "averageUtilization or averageValue")

    def _check_verticalpodautoscaler(self, obj: Manifest, old: Manifest | None, subresource: str) -> None:
        ref = (obj.get("spec") or {}).get("targetRef") or {}
        if ref.get("kind") not in ("Deployment", "ReplicaSet") or not ref.get("name"):
            raise _invalid(obj, "spec.targetRef", ref, "the name of a Deployment or ReplicaSet")


def _check_selector(obj: Manifest, selector: Manifest | None) -> None:
    for term in (selector or {}).get("matchExpressions") or ():
        if term.get("operator") not in ("In", "NotIn", "Exists", "DoesNotExist") or not term.get("key"):
            raise _invalid(obj, "spec.selector.matchExpressions", term, "key, and In, NotIn, Exists or DoesNotExist")


def _cpu_metric(percent: int) -> Manifest:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}
