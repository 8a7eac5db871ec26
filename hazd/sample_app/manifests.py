"""What hazd itself puts into a cluster: the sample workload and a trial's namespace (its workers: `worker.py`).

Pure: plain dictionaries as the API takes them. The sample is a baseline on purpose: no probe, no preStop, exit at once
on SIGTERM. Whatever cures it belongs into hazd/fixes, never here.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any

from hazd.model import Manifest
from hazd.sample_app.certificate import Certificate

APP_NAME = "app"
APP_MODULE = "hazd.sample_app.app"
APP_PORT = 8080
APP_TLS_PORT = 8443
TLS_SECRET = "app-tls"
PLACEMENTS = ("spread", "packed")


def sample_workload(
    *,
    image: str,
    replicas: int = 4,
    namespace: str = "",
    labels: Mapping[str, str] | None = None,
    startup_delay_s: float = 0.0,
    latency_ms: float = 0.0,
    cpu_ms: float = 0.0,
    tag: str = "",
    max_surge: str | int = "25%",
    max_unavailable: str | int = "25%",
    grace_s: int = 30,
    placement: str = "spread",
    cpu_request: str = "20m",
    certificate: Certificate | None = None,
    http2: bool = False,
) -> tuple[Manifest, ...]:
    """Deployment and Service `app`, without any fix. labels: on the objects and the pods, beside `app: app`.

    startup_delay_s in seconds, latency_ms and cpu_ms in milliseconds a request; max_surge and max_unavailable as the
    Deployment takes them. placement "packed" asks the scheduler for one node for all. certificate: a Secret holds it
    and the Service leads to the app's TLS port; its other port stays as it is, for hazd's own questions.
    """
    env = {
        "HAZD_PORT": str(APP_PORT),
        "HAZD_ON_SIGTERM": "exit",
        "HAZD_STARTUP_DELAY_S": f"{startup_delay_s:g}",
        "HAZD_LATENCY_MS": f"{latency_ms:g}",
        "HAZD_CPU_MS": f"{cpu_ms:g}",
        "HAZD_RUN_TAG": tag,
        **({"HAZD_HTTP2": "1"} if http2 else {}),
        **({"HAZD_TLS_PORT": str(APP_TLS_PORT)} if certificate else {}),
    }
    ports = [{"name": "http", "containerPort": APP_PORT}]
    front = {"name": "http", "port": 80, "targetPort": APP_PORT, "protocol": "TCP"}
    if certificate:
        ports.append({"name": "https", "containerPort": APP_TLS_PORT})
        front = {"name": "https", "port": 443, "targetPort": APP_TLS_PORT, "protocol": "TCP"}
    container = {
        "name": APP_NAME,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-m", APP_MODULE],
        "env": [
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            *({"name": name, "value": value} for name, value in env.items()),
            *(_from_secret() if certificate else ()),
        ],
        "ports": ports,
        "resources": {"requests": {"cpu": cpu_request, "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
    }
    selector = {"app": APP_NAME}
    pod = {
        "terminationGracePeriodSeconds": grace_s,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        **(_packed(selector) if placement == "packed" else {}),
        "containers": [container],
    }
    meta = _meta(APP_NAME, namespace, {**(labels or {}), **selector})
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta,
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": dict(selector)},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": _int_or_text(max_surge), "maxUnavailable": _int_or_text(max_unavailable)},
            },
            "template": {"metadata": {"labels": {**(labels or {}), **selector}}, "spec": pod},
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _meta(APP_NAME, namespace, {**(labels or {}), **selector}),
        "spec": {
            "selector": dict(selector),
            "ports": [front],
        },
    }
    if certificate is None:
        return deployment, service
    return _secret(certificate, namespace, {**(labels or {}), **selector}), deployment, service


def _secret(certificate: Certificate, namespace: str, labels: Mapping[str, str]) -> Manifest:
    """A Secret of type kubernetes.io/tls, by its published keys."""
    texts = {"tls.crt": certificate.chain_pem, "tls.key": certificate.key_pem}
    data = {name: base64.b64encode(text.encode()).decode() for name, text in texts.items()}
    meta = _meta(TLS_SECRET, namespace, labels)
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": "kubernetes.io/tls", "data": data}


def _from_secret() -> Iterable[dict[str, Any]]:
    """By environment and not as files: that works where containers have no file system of their own (the lab)."""
    for name, key in (("HAZD_TLS_CERT", "tls.crt"), ("HAZD_TLS_KEY", "tls.key")):
        yield {"name": name, "valueFrom": {"secretKeyRef": {"name": TLS_SECRET, "key": key}}}


def _packed(selector: Mapping[str, str]) -> dict[str, Any]:
    """Draw the replicas to one node without forbidding any other, so that a drained node's pods find a new home.

    The spread constraint over a label that all nodes share stands there because a pod with a constraint of its own is
    free of the scheduler's default ones, which would pull the replicas apart (kubernetes.io, Pod Topology Spread
    Constraints, "Cluster-level default constraints").
    """
    near = {"labelSelector": {"matchLabels": dict(selector)}, "topologyKey": "kubernetes.io/hostname"}
    flat = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/os",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": dict(selector)},
    }
    prefer = [{"weight": 100, "podAffinityTerm": near}]
    return {
        "affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": prefer}},
        "topologySpreadConstraints": [flat],
    }


def namespace_manifest(name: str, labels: Mapping[str, str]) -> Manifest:
    """A trial's own namespace; removing it removes the trial."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": _meta(name, "", labels)}


def is_sample_app(container: Mapping[str, Any]) -> bool:
    """Whether a container runs hazd's sample app, whose environment variables a fix may then set."""
    return APP_MODULE in [*(container.get("command") or ()), *(container.get("args") or ())]


def lacks_sample_app(documents: Iterable[Manifest]) -> str:
    """ "" when one of the workloads runs the sample app, else the reason why its switches cannot be set."""
    for doc in documents:
        template = (doc.get("spec") or {}).get("template") or {}
        if any(is_sample_app(item) for item in (template.get("spec") or {}).get("containers") or ()):
            return ""
    return "only hazd's own sample app has a switch for it; in other images it is a matter of the app's code"


def set_env(container: dict[str, Any], name: str, value: str) -> None:
    """Set one HAZD_ variable in place; a new one goes where the alphabet wants it, so no order of calls shows."""
    env: list[dict[str, Any]] = container.setdefault("env", [])
    for item in env:
        if item.get("name") == name:
            item.pop("valueFrom", None)
            item["value"] = value
            return
    later = (index for index, item in enumerate(env) if item["name"].startswith("HAZD_") and item["name"] > name)
    env.insert(next(later, len(env)), {"name": name, "value": value})


def _meta(name: str, namespace: str, labels: Mapping[str, str]) -> dict[str, Any]:
    return {"name": name, **({"namespace": namespace} if namespace else {}), "labels": dict(labels)}


def _int_or_text(value: str | int) -> str | int:
    return int(value) if str(value).isdigit() else value


__all__ = [
    "APP_MODULE",
    "APP_NAME",
    "APP_PORT",
    "APP_TLS_PORT",
    "PLACEMENTS",
    "TLS_SECRET",
    "is_sample_app",
    "lacks_sample_app",
    "namespace_manifest",
    "sample_workload",
    "set_env",
]
