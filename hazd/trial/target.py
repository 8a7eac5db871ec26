"""Where a trial's requests go: the Service under test, and beside it the control target, which nothing disturbs.

The control target is there when the plan has a control stream; both go with the trial's namespace.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from hazd.cluster.port import Cluster
from hazd.manifests import app_containers
from hazd.model import CONTROL_STREAM, Manifest, Ref, TrafficPlan, Trial
from hazd.sample_app.control_target import CONTROL_NAME


def about_target(trial: Trial, workload: Manifest, service: Manifest) -> dict[str, Any]:
    """What the journal keeps of the workload under test and the Service in front of it.

    labels: those it selects its pods by. sample: it is hazd's sample app, which logs, counts and names itself.
    container: the one behind the Service's target port. probed: it has a readinessProbe. session_affinity: the
    Service's.
    """
    serving = app_containers(workload, trial.setup.documents)
    return {
        "name": workload["metadata"]["name"],
        "service": service["metadata"]["name"],
        "labels": workload["spec"]["selector"]["matchLabels"],
        "sample": trial.sample,
        "container": serving[0]["name"],
        "probed": any(item.get("readinessProbe") for item in serving),
        "session_affinity": service["spec"].get("sessionAffinity") or "None",
    }


async def deploy_control(cluster: Cluster, plan: TrafficPlan, documents: Iterable[Manifest]) -> None:
    """Create the control target where the plan has a control stream. Does not wait: the preflight does."""
    if _has_control(plan):
        for doc in documents:
            await cluster.create(doc)


async def aim(cluster: Cluster, trial: Trial, namespace: str, service: Manifest) -> TrafficPlan:
    """The trial's plan with the addresses that its Services got."""
    plan = trial.traffic
    netloc = await _netloc(cluster, service["metadata"]["name"], namespace)
    pods = trial.replicas if trial.sample else 0
    plan = replace(plan, url=urlsplit(plan.url)._replace(netloc=netloc).geturl(), preflight_pods=pods)
    if not _has_control(plan):
        return plan
    url = f"http://{await _netloc(cluster, CONTROL_NAME, namespace)}/"
    streams = (replace(stream, url=url) if stream.name == CONTROL_STREAM else stream for stream in plan.streams)
    return replace(plan, streams=tuple(streams))


async def _netloc(cluster: Cluster, service: str, namespace: str) -> str:
    """ADDRESS:PORT of a Service; an IPv6 address in brackets (RFC 3986 section 3.2.2)."""
    spec = (await cluster.get(Ref("Service", service, namespace)))["spec"]
    address, port = str(spec["clusterIP"]), spec["ports"][0]["port"]
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _has_control(plan: TrafficPlan) -> bool:
    return any(stream.name == CONTROL_STREAM for stream in plan.streams)


__all__ = ["about_target", "aim", "deploy_control"]
