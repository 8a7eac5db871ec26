"""Keep a pod out of the Service until it responds: a readinessProbe, and a startupProbe where starting takes long.

Cures: traffic to a new pod that does not listen yet (refused), and a rollout that counts such pods as available and
takes the old ones away. Does not cure: traffic to terminating pods (prestop does); a failing probe of a deleted pod
takes it out of the endpoints no sooner than its deletion did. Without a path of its own a foreign image gets a TCP
probe, since a wrong path would keep it out forever. (Kubernetes docs, "Configure Liveness, Readiness and Startup
Probes".)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hazd.fixes import Fix, FixSettings, why_no_workload, workload_of
from hazd.manifests import app_containers, edited, pod_spec, services_of
from hazd.model import Applied, Manifest, Setup
from hazd.sample_app.manifests import is_sample_app

LONG_START_S = 10
TIMEOUT_S = 2  # a probe of a busy node needs more than the default of 1 s
SPARE_S = 60  # beyond twice the known start-up time, before a startupProbe gives up


def apply(setup: Setup, settings: FixSettings) -> tuple[Setup, Applied]:
    workload = workload_of(setup)
    chosen = app_containers(workload, setup.documents)
    added = {item["name"]: _probes(item, workload, setup, settings) for item in chosen}

    def change(copy: Manifest) -> None:
        for item in pod_spec(copy)["containers"]:
            for name, probe in added.get(item["name"], {}).items():
                item.setdefault(name, probe)

    changed = replace(setup, documents=edited(setup.documents, workload, change))
    containers = pod_spec(workload_of(changed))["containers"]
    probes = [item["readinessProbe"] for item in containers if item["name"] in added and item.get("readinessProbe")]
    return changed, Applied("readiness", _values(probes[0]) if probes else {})


def _values(probe: Mapping[str, Any]) -> dict[str, Any]:
    """What a readinessProbe asks and how often, with Kubernetes' defaults where it does not say."""
    get, tcp = probe.get("httpGet") or {}, probe.get("tcpSocket") or {}
    found = {
        "readiness_path": get.get("path"),
        "readiness_port": get.get("port", tcp.get("port")),
        "readiness_period_s": probe.get("periodSeconds", 10),
    }
    return {name: value for name, value in found.items() if value is not None}


def _probes(item: Mapping[str, Any], workload: Manifest, setup: Setup, settings: FixSettings) -> dict[str, Any]:
    """The probes a container lacks. One that has a readinessProbe of its own keeps it and gets nothing."""
    if item.get("readinessProbe"):
        return {}
    period_s = settings.readiness_period_s
    port = _port(item, workload, setup, settings)
    if port is None:
        return {}
    path = settings.readiness_path or ("/healthz" if is_sample_app(item) else "")
    get = {"path": path, "port": port, **({"scheme": "HTTPS"} if _speaks_tls(item, port, settings) else {})}
    action = {"httpGet": get} if path else {"tcpSocket": {"port": port}}
    timing = {"periodSeconds": period_s, "timeoutSeconds": TIMEOUT_S}
    probes: dict[str, Any] = {"readinessProbe": {**action, **timing, "failureThreshold": 3}}
    delay_s = _sample_delay_s(item)
    if delay_s > LONG_START_S:
        tries = math.ceil((2 * delay_s + SPARE_S) / period_s)
        probes["startupProbe"] = {**action, **timing, "failureThreshold": tries}
    return probes


def _port(item: Mapping[str, Any], workload: Manifest, setup: Setup, settings: FixSettings) -> int | str | None:
    """The port of the settings, else the Service's target, else the container's first; None when none is known."""
    given = settings.readiness_port
    if given is not None:
        return int(given) if str(given).isdigit() else str(given)
    mine = list(item.get("ports") or ())
    for service in services_of(workload, setup.documents):
        for port in service["spec"].get("ports") or ():
            target: int | str = port.get("targetPort", port["port"])
            if any(target in (known.get("name"), known["containerPort"]) for known in mine) or not mine:
                return target
    return int(mine[0]["containerPort"]) if mine else None


def _speaks_tls(item: Mapping[str, Any], port: int | str, settings: FixSettings) -> bool:
    """As readiness_scheme says, else by the port's name: "https", alone or with more after a dash, as Istio has it.

    A kubelet that probes by HTTPS does not verify the certificate.
    """
    scheme = settings.readiness_scheme
    ports = [known for known in item.get("ports") or () if port in (known.get("name"), known["containerPort"])]
    names = [str(port), *(str(known.get("name", "")) for known in ports)]
    return scheme == "HTTPS" if scheme else any(name.partition("-")[0] == "https" for name in names)


def _sample_delay_s(item: Mapping[str, Any]) -> int:
    values = [env.get("value", "") for env in item.get("env") or () if env.get("name") == "HAZD_STARTUP_DELAY_S"]
    return math.ceil(float(values[0])) if is_sample_app(item) and values and values[0] else 0


def why_not(setup: Setup, settings: FixSettings) -> str | None:
    reason = why_no_workload(setup, settings)
    if reason:
        return reason
    workload = workload_of(setup)
    for item in app_containers(workload, setup.documents):
        if not item.get("readinessProbe") and _port(item, workload, setup, settings) is None:
            return f"container {item['name']} names no port and no Service leads to it; give --readiness-port"
    return None


FIX = Fix(
    name="readiness",
    summary="a readinessProbe (and a startupProbe for slow starters), so that a new pod gets traffic when it responds",
    cures="traffic to a new pod that does not listen yet (refused), and old pods removed before new ones can serve",
    not_cures="traffic to terminating pods: their process or address is gone before every node knows",
    order=20,
    apply=apply,
    why_not=why_not,
    inputs={
        "readiness_path": "--readiness-path",
        "readiness_port": "--readiness-port",
        "readiness_scheme": "--readiness-scheme",
        "readiness_period_s": "",
    },
)
