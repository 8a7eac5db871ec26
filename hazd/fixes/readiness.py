"""Keep a pod out of the Service until it answers: a readinessProbe, and a startupProbe where starting takes long.

Cures: traffic to a new pod that does not listen yet (refused), and a rollout that counts such pods as available and
takes the old ones away. Does not cure: traffic to pods that are going (prestop does); a failing probe of a deleted pod
takes it out of the endpoints no sooner than its deletion did. Without a path of its own a foreign image gets a TCP
probe, since a wrong path would keep it out for ever. (Kubernetes docs, "Configure Liveness, Readiness and Startup
Probes".)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hazd.errors import UsageError
from hazd.fixes import Fix, Settings, needs_a_workload, seconds, workload_of
from hazd.manifests import app_containers, choose_workload, edited, pod_spec, services_of
from hazd.model import Manifest, Setup
from hazd.sample_app.manifests import is_sample_app

LONG_START_S = 10
TIMEOUT_S = 2  # a probe of a busy node needs more than the default of 1 s
SPARE_S = 60  # beyond twice the known start-up time, before a startupProbe gives up


def apply(setup: Setup, settings: Settings) -> Setup:
    workload = workload_of(setup, settings)
    chosen = app_containers(workload, setup.documents, tuple(settings.get("containers") or ()))
    added = {item["name"]: _probes(item, workload, setup, settings) for item in chosen}

    def change(copy: Manifest) -> None:
        for item in pod_spec(copy)["containers"]:
            for name, probe in added.get(item["name"], {}).items():
                item.setdefault(name, probe)

    return replace(setup, documents=edited(setup.documents, workload, change))


def _probes(item: Mapping[str, Any], workload: Manifest, setup: Setup, settings: Settings) -> dict[str, Any]:
    """The probes a container lacks. One that has a readinessProbe of its own keeps it and gets nothing."""
    if item.get("readinessProbe"):
        return {}
    period_s = seconds(settings, "readiness_period_s", 1, least=1)
    port = _port(item, workload, setup, settings)
    if port is None:
        return {}
    path = settings.get("readiness_path") or ("/healthz" if is_sample_app(item) else "")
    if path and not str(path).startswith("/"):
        raise UsageError(f"readiness_path: {path!r} is not right", "a path that begins with /")
    get = {"path": path, "port": port, **({"scheme": "HTTPS"} if _speaks_tls(item, port, settings) else {})}
    action = {"httpGet": get} if path else {"tcpSocket": {"port": port}}
    timing = {"periodSeconds": period_s, "timeoutSeconds": TIMEOUT_S}
    probes: dict[str, Any] = {"readinessProbe": {**action, **timing, "failureThreshold": 3}}
    delay_s = max(seconds(settings, "startup_delay_s", 0), _sample_delay_s(item))
    if delay_s > LONG_START_S:
        tries = math.ceil((2 * delay_s + SPARE_S) / period_s)
        probes["startupProbe"] = {**action, **timing, "failureThreshold": tries}
    return probes


def _port(item: Mapping[str, Any], workload: Manifest, setup: Setup, settings: Settings) -> int | str | None:
    """The port of the settings, else the Service's target, else the container's first; None when none is known."""
    given = settings.get("readiness_port")
    if given is not None:
        return int(given) if str(given).isdigit() else str(given)
    mine = list(item.get("ports") or ())
    for service in services_of(workload, setup.documents):
        for port in service["spec"].get("ports") or ():
            target: int | str = port.get("targetPort", port["port"])
            if any(target in (known.get("name"), known["containerPort"]) for known in mine) or not mine:
                return target
    return int(mine[0]["containerPort"]) if mine else None


def _speaks_tls(item: Mapping[str, Any], port: int | str, settings: Settings) -> bool:
    """As readiness_scheme says, else by the port's name: "https", alone or with more after a dash, as Istio has it.

    A kubelet that probes by HTTPS does not verify the certificate.
    """
    scheme = settings.get("readiness_scheme")
    if scheme not in (None, "HTTP", "HTTPS"):
        raise UsageError(f"readiness_scheme: {scheme!r} is not right", "HTTP or HTTPS")
    ports = [known for known in item.get("ports") or () if port in (known.get("name"), known["containerPort"])]
    names = [str(port), *(str(known.get("name", "")) for known in ports)]
    return scheme == "HTTPS" if scheme else any(name.partition("-")[0] == "https" for name in names)


def _sample_delay_s(item: Mapping[str, Any]) -> int:
    values = [env.get("value", "") for env in item.get("env") or () if env.get("name") == "HAZD_STARTUP_DELAY_S"]
    return math.ceil(float(values[0])) if is_sample_app(item) and values and values[0] else 0


def applies(setup: Setup) -> str:
    reason = needs_a_workload(setup)
    if reason:
        return reason
    workload = choose_workload(setup.documents, setup.workload)
    for item in app_containers(workload, setup.documents):
        if not item.get("readinessProbe") and _port(item, workload, setup, {}) is None:
            return f"container {item['name']} names no port and no Service leads to it; give readiness_port"
    return ""


FIX = Fix(
    name="readiness",
    summary="a readinessProbe (and a startupProbe for slow starters), so that a new pod gets traffic when it answers",
    cures="traffic to a new pod that does not listen yet (refused), and old pods removed before new ones can serve",
    not_cures="traffic to pods that are going: their process or address is gone before every node knows",
    order=20,
    apply=apply,
    applies=applies,
)
