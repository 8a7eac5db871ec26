"""Installs metrics-server and the Vertical Pod Autoscaler into hazd's own kind cluster, and waits until they work.

Idempotent and quick when they are there. Never called for a cluster that is not hazd's own: in a user's cluster hazd
only says what is missing.
"""

from __future__ import annotations

import base64
import functools
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import anyio
import yaml

from hazd.cluster.addons import images
from hazd.cluster.port import Cluster
from hazd.cluster.process import Say, docker, silent
from hazd.errors import AlreadyExists, ClusterError, NotFound, TimedOut
from hazd.model import Manifest, Ref

SYSTEM = "kube-system"
CERTS = Ref("Secret", "vpa-tls-certs", SYSTEM)
WEBHOOK = Ref("MutatingWebhookConfiguration", "vpa-webhook-config")
METRICS_LIMIT_S, VPA_LIMIT_S = 120.0, 120.0
VPA_DEPLOYMENTS = ("vpa-recommender", "vpa-updater", "vpa-admission-controller")


async def ensure_metrics_server(cluster: Cluster, node: str, say: Say = silent) -> None:
    """Make metrics.k8s.io answer with the nodes' CPU. node: the control plane's container.

    Raises EnvironmentProblem (cannot be built), TimedOut (with what was seen last), ClusterError.
    """

    async def answers() -> str:
        try:
            return "" if await cluster.list("NodeMetrics") else "no node has been measured yet"
        except ClusterError as error:
            return error.message

    if not await answers():
        return
    await images.provide(images.METRICS_ADDONS, node, say)
    say("installing metrics-server")
    # The APIService comes last, when the Service's rules are on the node. Before that, the API server's
    # connection to the ClusterIP leaves the node by its default route; where something out there accepts it (a
    # transparent proxy), it is kept without end, and every answer is that stranger's 404. A Service that stands since
    # such an attempt is replaced: a new ClusterIP is a new connection.
    for stale in (Ref("APIService", "v1beta1.metrics.k8s.io"), Ref("Service", "metrics-server", SYSTEM)):
        await cluster.delete(stale)
    docs = _documents("metrics-server.yaml")
    await _apply(cluster, [doc for doc in docs if doc["kind"] != "APIService"])
    await _until("metrics-server", functools.partial(_unavailable, cluster, ("metrics-server",)), METRICS_LIMIT_S, say)
    await _until("kube-proxy", functools.partial(_unknown_to_proxy, cluster, node), METRICS_LIMIT_S, say)
    await _apply(cluster, [doc for doc in docs if doc["kind"] == "APIService"])
    await _until("metrics.k8s.io", answers, METRICS_LIMIT_S, say)


async def ensure_vpa(cluster: Cluster, node: str, say: Say = silent) -> None:
    """Make VerticalPodAutoscalers work: metrics, kinds, the three loops and their webhook. Raises as above."""

    async def works() -> str:
        try:
            if unavailable := await _unavailable(cluster, VPA_DEPLOYMENTS):
                return unavailable
            await cluster.get(WEBHOOK)
        except NotFound:
            return "the admission controller has not registered its webhook yet"
        return ""

    await ensure_metrics_server(cluster, node, say)
    if not await works():
        return
    await images.provide(images.VPA_ADDONS, node, say)
    say("installing the vertical-pod-autoscaler")
    try:
        await cluster.get(CERTS)
    except NotFound:
        await cluster.create(await _certificate(node))
    await _apply(cluster, _documents("vpa.yaml"))
    await _until("the vertical-pod-autoscaler", works, VPA_LIMIT_S, say)


async def _unavailable(cluster: Cluster, deployments: Sequence[str]) -> str:
    for name in deployments:
        try:
            status = (await cluster.get(Ref("Deployment", name, SYSTEM))).get("status", {})
        except NotFound:
            return f"there is no deployment {name}"
        if not status.get("availableReplicas"):
            return f"deployment {name} is not available"
    return ""


async def _unknown_to_proxy(cluster: Cluster, node: str) -> str:
    """Whether the node's kube-proxy has yet to write the Service's rules, whichever of its modes it writes them in."""
    service = await cluster.get(Ref("Service", "metrics-server", SYSTEM))
    address = service["spec"]["clusterIP"]
    look = "(iptables-save -t nat; nft list ruleset; ip address show dev kube-ipvs0) 2>/dev/null"
    found = await docker("exec", node, "sh", "-c", f"{look} | grep -qwF {address}", check=False)
    return "" if found.code == 0 else f"the Service's address {address} is in no rule of {node} yet"


def _documents(file: str) -> list[Manifest]:
    return list(yaml.safe_load_all(Path(__file__).with_name(file).read_text()))


async def _apply(cluster: Cluster, documents: Sequence[Manifest]) -> None:
    for doc in documents:
        meta = doc["metadata"]
        try:
            await cluster.create(doc)
        except AlreadyExists:
            await cluster.patch(Ref(doc["kind"], meta["name"], meta.get("namespace", "")), doc)


async def _certificate(node: str) -> Manifest:
    """The webhook's own certificate, which is its own authority; openssl runs in the node, where it always is."""
    host = f"vpa-webhook.{SYSTEM}.svc"
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", f"/CN={host}"]
    argv += ["-addext", f"subjectAltName=DNS:{host}", "-keyout", "/dev/stdout"]
    made = (await docker("exec", node, *argv)).out
    start = made.index("-----BEGIN CERTIFICATE")
    key, certificate = made[:start].encode(), made[start:].encode()
    parts = {"serverKey.pem": key, "serverCert.pem": certificate, "caCert.pem": certificate}
    data = {name: base64.b64encode(part).decode() for name, part in parts.items()}
    meta = {"name": CERTS.name, "namespace": CERTS.namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": "Opaque", "data": data}


async def _until(what: str, lacking: Callable[[], Awaitable[str]], limit_s: float, say: Say) -> None:
    start = time.monotonic()
    while seen := await lacking():
        if time.monotonic() - start > limit_s:
            hint = f"`kubectl -n {SYSTEM} get pods` and their logs say more"
            raise TimedOut(f"{what} does not work after {limit_s:.0f} s: {seen}", hint)
        await anyio.sleep(0.5)
    say(f"{what} works after {time.monotonic() - start:.0f} s")


__all__ = ["ensure_metrics_server", "ensure_vpa"]
