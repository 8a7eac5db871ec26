"""Looks at hazd's kind cluster through Docker, and changes nothing: its nodes, their state, what is not ready.

kubectl is asked inside the control-plane node, so neither kubectl nor a kubeconfig is needed on this machine, and a
dead cluster is told from a busy one. Making and deleting is kind.py's.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hazd.cluster.process import docker, state_dir
from hazd.errors import EnvironmentProblem
from hazd.manifests.conditions import is_ready

NAME = os.environ.get("HAZD_KIND_NAME") or "hazd"  # another name lets two checkouts share one Docker
CLUSTER_LABEL, ROLE_LABEL = "io.x-k8s.kind.cluster", "io.x-k8s.kind.role"
PROBE_S = 20.0  # a busy machine's API server may be slow; who is slower than this is dead


@dataclass(frozen=True, slots=True)
class Node:
    """A node's container as Docker sees it; state is Docker's word (running, exited, paused, ...)."""

    name: str
    state: str
    image: str
    role: str


def kubeconfig_path(name: str = NAME) -> Path:
    return state_dir() / ("kubeconfig" if name == "hazd" else f"kubeconfig-{name}")


def context_name(name: str = NAME) -> str:
    return f"kind-{name}"


async def nodes(name: str = NAME) -> list[Node]:
    """The containers of the cluster's nodes, dead or alive. Raises EnvironmentProblem when Docker does not answer."""
    fields = f'{{{{.Names}}}}\t{{{{.State}}}}\t{{{{.Image}}}}\t{{{{.Label "{ROLE_LABEL}"}}}}'
    found = await docker("ps", "-a", "--filter", f"label={CLUSTER_LABEL}={name}", "--format", fields)
    listed = [Node(*line.split("\t")) for line in found.out.splitlines() if line.count("\t") == 3]
    return sorted((node for node in listed if node.role in ("control-plane", "worker")), key=lambda node: node.name)


async def survey(control_plane: str) -> dict[str, Any]:
    """Nodes, and kube-system's deployments and daemonsets. Raises EnvironmentProblem when the API does not answer."""
    argv = ["exec", control_plane, "kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf", "-o", "json"]
    argv += [f"--request-timeout={PROBE_S:g}s", "get", "nodes,deployments,daemonsets", "-n", "kube-system"]
    answer = await docker(*argv, timeout_s=PROBE_S + 5)
    try:
        listed: dict[str, Any] = json.loads(answer.out)
    except json.JSONDecodeError as error:
        raise EnvironmentProblem(f"the API server's answer is no JSON: {answer.tail}") from error
    return listed


def unready(expected: int, listed: dict[str, Any]) -> list[str]:
    """PURE: what a `kubectl get nodes,deployments,daemonsets` of kube-system still lacks."""
    lacking, seen = [], 0
    for item in listed.get("items", []):
        kind, name, now = item["kind"], item["metadata"]["name"], item.get("status", {})
        if kind == "Node":
            seen += 1
            if not is_ready(item):
                lacking.append(f"node {name} is not Ready")
        elif kind == "Deployment" and now.get("availableReplicas", 0) < item["spec"].get("replicas", 1):
            lacking.append(f"deployment {name} is not available")
        elif kind == "DaemonSet":
            wanted = now.get("desiredNumberScheduled", 0)
            if now.get("numberReady", 0) < wanted or now.get("observedGeneration") is None:
                lacking.append(f"daemonset {name}: {now.get('numberReady', 0)} of {wanted} ready")
    if seen < expected:
        lacking.insert(0, f"{seen} of {expected} nodes have joined")
    return lacking


async def status(name: str = NAME) -> dict[str, Any]:
    """JSON-able: name, state, nodes, version, image, kubeconfig, problem. Raises EnvironmentProblem without Docker.

    state: "absent"; "running"; "degraded" (the API answers, but a node is stopped or something is not ready);
    "dead" (containers stopped, or no answer from the API server).
    """
    found = await nodes(name)
    result: dict[str, Any] = {
        "name": name,
        "state": "absent",
        "nodes": [f"{node.name} ({node.state})" for node in found],
        "version": "",
        "image": found[0].image if found else "",
        "kubeconfig": str(kubeconfig_path(name)),
        "problem": "",
    }
    if not found:
        return result
    control = [node for node in found if node.role == "control-plane"]
    if not control or control[0].state != "running":
        what = f"{control[0].name} is {control[0].state}" if control else "there is no control-plane container"
        return {**result, "state": "dead", "problem": f"{what}; `hazd cluster create` makes it anew"}
    try:
        listed = await survey(control[0].name)
    except EnvironmentProblem as error:
        return {**result, "state": "dead", "problem": f"the API server does not answer: {error}"}
    versions = {i["status"]["nodeInfo"]["kubeletVersion"] for i in listed["items"] if i["kind"] == "Node"}
    lacking = [f"node {node.name} is {node.state}" for node in found if node.state != "running"]
    lacking = lacking or unready(len(found), listed)
    state = "degraded" if lacking else "running"
    return {**result, "state": state, "version": " ".join(sorted(versions)), "problem": "; ".join(lacking)}


async def running(name: str = NAME) -> bool:
    """Whether the cluster is there, ready and can be reached; False also when Docker or its client is not."""
    try:
        return kubeconfig_path(name).is_file() and bool((await status(name))["state"] == "running")
    except EnvironmentProblem:
        return False


__all__ = [
    "CLUSTER_LABEL", "NAME", "Node", "context_name", "kubeconfig_path", "nodes", "running", "status", "survey",
    "unready",
]  # fmt: skip
