"""A pod's spec at the API's door: defaults, what is wrong with it, what the lab cannot run, what may change later.

Source: SetDefaults_PodSpec, SetDefaults_Probe (pkg/apis/core/v1/defaults.go) and ValidatePodUpdate of Kubernetes 1.34.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hazd.model import Manifest

PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"
_PROBE_DEFAULTS = {"periodSeconds": 10, "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3}
_LEAST = {
    "periodSeconds": 1,
    "timeoutSeconds": 1,
    "successThreshold": 1,
    "failureThreshold": 1,
    "initialDelaySeconds": 0,
}
HANDLERS = ("httpGet", "tcpSocket", "exec", "sleep")
Problem = tuple[str, object, str]


def defaulted(spec: Mapping[str, Any]) -> Manifest:
    """A copy with the server's defaults. Raises KeyError or TypeError for a shape that has no containers."""
    result = {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
        **spec,
    }
    result["containers"] = [_container(each) for each in spec["containers"]]
    if spec.get("initContainers"):
        result["initContainers"] = [_container(each) for each in spec["initContainers"]]
    return result


def _container(given: Mapping[str, Any]) -> Manifest:
    container = {"imagePullPolicy": "IfNotPresent", **given}
    for name in PROBES:
        if container.get(name):
            container[name] = {**_PROBE_DEFAULTS, **container[name]}
            if "httpGet" in container[name]:
                container[name]["httpGet"] = {"path": "/", "scheme": "HTTP", **container[name]["httpGet"]}
    container["ports"] = [{"protocol": "TCP", **port} for port in given.get("ports") or ()]
    resources = given.get("resources") or {}
    if resources.get("limits"):  # a limit without a request is one
        resources = {**resources, "requests": {**resources["limits"], **(resources.get("requests") or {})}}
    container["resources"] = resources
    return container


def tolerations(given: list[Manifest], seconds: float) -> list[Manifest]:
    """With what the DefaultTolerationSeconds admission plugin adds, unless the pod says so itself."""
    result = list(given)
    for key in (NOT_READY, UNREACHABLE):
        covered = any(
            each.get("key") in (key, None, "") and each.get("effect") in ("NoExecute", None, "") for each in given
        )
        if not covered:
            result.append({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": int(seconds)})
    return result


def qos(spec: Mapping[str, Any]) -> str:
    """Guaranteed, Burstable or BestEffort (pkg/apis/core/v1/helper/qos)."""
    resources = [each.get("resources") or {} for each in spec["containers"]]
    if not any(each.get("requests") or each.get("limits") for each in resources):
        return "BestEffort"
    full = all(
        {"cpu", "memory"} <= set(each.get("limits") or {}) and each.get("requests") == each.get("limits")
        for each in resources
    )
    return "Guaranteed" if full else "Burstable"


def problems(spec: Mapping[str, Any], where: str) -> Iterator[Problem]:
    """Field, value and what is wrong, for a spec that has its defaults."""
    containers = spec.get("containers")
    if not isinstance(containers, list) or not containers:
        yield f"{where}.containers", containers, "at least one container is required"
        return
    grace = spec["terminationGracePeriodSeconds"]
    if not isinstance(grace, int) or grace < 0:
        yield f"{where}.terminationGracePeriodSeconds", grace, "must be greater than or equal to 0"
        return
    volumes = {}
    for index, volume in enumerate(spec.get("volumes") or ()):
        volumes[volume.get("name")] = volume
        if "emptyDir" not in volume:
            yield f"{where}.volumes[{index}]", volume.get("name"), "the lab has emptyDir volumes only"
    for group in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(group) or ()):
            yield from _container_problems(container, f"{where}.{group}[{index}]", grace, set(volumes))


def _container_problems(container: Mapping[str, Any], where: str, grace: int, volumes: set[str]) -> Iterator[Problem]:
    if not container.get("name"):
        yield f"{where}.name", container.get("name"), "a name is required"
    if not container.get("image"):
        yield f"{where}.image", container.get("image"), "an image is required"
    if not container.get("command"):
        yield f"{where}.command", container.get("command"), "the lab runs no images: it needs the command to start"
    for mount in container.get("volumeMounts") or ():
        if mount.get("name") not in volumes:
            yield f"{where}.volumeMounts", mount.get("name"), "no such volume"
    for name in PROBES:
        if not container.get(name):
            continue
        probe = container[name]
        for field, least in _LEAST.items():
            value = probe.get(field, least)
            if not isinstance(value, int) or value < least:
                yield f"{where}.{name}.{field}", value, f"must be greater than or equal to {least}"
        if sum(handler in probe for handler in HANDLERS[:3]) != 1:
            yield f"{where}.{name}", sorted(probe), "exactly one of httpGet, tcpSocket, exec"
        if (probe.get("httpGet") or {}).get("scheme", "HTTP") not in ("HTTP", "HTTPS"):
            yield f"{where}.{name}.httpGet.scheme", probe["httpGet"]["scheme"], "must be HTTP or HTTPS"
        if name != "readinessProbe" and probe["successThreshold"] != 1:
            yield f"{where}.{name}.successThreshold", probe["successThreshold"], "must be 1"
    hook = (container.get("lifecycle") or {}).get("preStop")
    if hook is not None:
        if sum(handler in hook for handler in HANDLERS) != 1:
            yield f"{where}.lifecycle.preStop", sorted(hook), "exactly one of httpGet, tcpSocket, exec, sleep"
        seconds = (hook.get("sleep") or {}).get("seconds", 1)
        if not isinstance(seconds, int) or not 0 <= seconds <= grace:
            yield (
                f"{where}.lifecycle.preStop.sleep.seconds",
                seconds,
                f"must be non-negative and less than terminationGracePeriodSeconds ({grace})",
            )


def may_become(old: Mapping[str, Any], new: Mapping[str, Any], subresource: str) -> bool:
    """Whether this update of a pod's spec is allowed: images, tolerations, activeDeadlineSeconds; resize: resources."""

    def rest(spec: Mapping[str, Any], free: tuple[str, ...]) -> Manifest:
        kept = {key: value for key, value in spec.items() if key not in ("tolerations", "activeDeadlineSeconds")}
        kept["containers"] = [
            {key: value for key, value in each.items() if key not in free} for each in spec["containers"]
        ]
        return kept

    free = ("resources",) if subresource == "resize" else ("image",)
    return rest(old, free) == rest(new, free)
