"""The manifests the suite makes, and waiting for a state; nothing here knows which cluster it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from hazd.cluster.port import MANAGED_BY, RUN_LABEL, Cluster
from hazd.model import Manifest

LABELS = {**MANAGED_BY, RUN_LABEL: "contract"}
PORT = 8080


async def until(what: str, condition: Callable[[], Awaitable[Any]], timeout_s: float = 90.0) -> Any:
    """Poll until condition() is true and return its value; fail the test with the last value otherwise."""
    seen: Any = None
    with anyio.move_on_after(timeout_s):
        while True:
            seen = await condition()
            if seen:
                return seen
            await anyio.sleep(0.1)
    raise AssertionError(f"{what} did not come about in {timeout_s:g} s; last seen: {seen!r}")


def pod_spec(
    image: str,
    *,
    startup_delay_s: float = 0,
    prestop_s: int = 0,
    grace_s: int = 10,
    on_sigterm: str = "exit",
    restart: str = "Always",
) -> dict[str, Any]:
    """The sample app with a readiness probe that asks every second."""
    container: dict[str, Any] = {
        "name": "app",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-m", "hazd.sample_app.app"],
        "env": [
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "HAZD_STARTUP_DELAY_S", "value": str(startup_delay_s)},
            {"name": "HAZD_ON_SIGTERM", "value": on_sigterm},
        ],
        "ports": [{"containerPort": PORT, "name": "http"}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": PORT}, "periodSeconds": 1},
    }
    if prestop_s:
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": prestop_s}}}
    return {"terminationGracePeriodSeconds": grace_s, "restartPolicy": restart, "containers": [container]}


def pod(name: str, namespace: str, spec: dict[str, Any]) -> Manifest:
    meta = {"name": name, "namespace": namespace, "labels": {"app": name, **LABELS}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def deployment(
    name: str,
    namespace: str,
    replicas: int,
    spec: dict[str, Any],
    *,
    max_surge: int | str = "25%",
    max_unavailable: int | str = "25%",
) -> Manifest:
    rolling = {"maxSurge": max_surge, "maxUnavailable": max_unavailable}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name, **LABELS}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
            "template": {"metadata": {"labels": {"app": name, **LABELS}}, "spec": spec},
        },
    }


def service(name: str, namespace: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name, **LABELS}},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": PORT}]},
    }


def budget(name: str, namespace: str, min_available: int) -> Manifest:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(LABELS)},
        "spec": {"minAvailable": min_available, "selector": {"matchLabels": {"app": name}}},
    }


def is_ready(obj: Manifest) -> bool:
    """A pod's Ready condition is True and nobody asked for its deletion; a node's Ready condition is True."""
    conditions = obj.get("status", {}).get("conditions") or []
    ready = any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)
    return ready and not obj["metadata"].get("deletionTimestamp")


async def ready_pods(cluster: Cluster, namespace: str, name: str) -> list[Manifest]:
    return [item for item in await cluster.list("Pod", namespace, f"app={name}") if is_ready(item)]


async def all_ready(cluster: Cluster, namespace: str, name: str, count: int, timeout_s: float = 90.0) -> list[Manifest]:
    """Wait until exactly `count` pods exist and all are ready; returns them."""

    async def exact() -> list[Manifest]:
        pods = await cluster.list("Pod", namespace, f"app={name}")
        return pods if len(pods) == count and all(map(is_ready, pods)) else []

    found: list[Manifest] = await until(f"{count} ready pods of {name}", exact, timeout_s)
    return found


async def endpoints(cluster: Cluster, namespace: str, name: str) -> dict[str, dict[str, Any]]:
    """Pod name -> endpoint, over all slices of a Service."""
    slices = await cluster.list("EndpointSlice", namespace, f"kubernetes.io/service-name={name}")
    return {item["targetRef"]["name"]: item for one in slices for item in one.get("endpoints") or ()}
