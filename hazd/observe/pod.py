"""The observers as pods: one on each vantage node, in the node's network, with NET_ADMIN and nothing else. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from hazd.model import Manifest

OBSERVER_NAME = "hazd-observer"
"""Prefix of the pods' names and value of their `app` label."""


def observer_pod(
    number: int, *, namespace: str, node: str, image: str, labels: Mapping[str, str], service: str, most_s: float
) -> Manifest:
    """The observer of one node, limited to `service` (ADDRESS:PORT). It ends by itself after most_s seconds.

    hostNetwork: connection tracking belongs to a network namespace, and the node's is where a Service's address is
    translated. NET_ADMIN: without it the kernel lets nobody join netlink's connection tracking groups (netlink(7)). No
    privileged mode, no host filesystem, no port. It needs root in its container, since an added capability does not
    reach an ordinary user (KEP-2763 would bring ambient ones).
    """
    own = {**labels, "app": OBSERVER_NAME}
    command = ["python3", "-m", "hazd.observe", "--service", service, "--max-seconds", f"{most_s:g}"]
    container = {
        "name": "observer",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "securityContext": {
            "runAsUser": 0,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]},
        },
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"{OBSERVER_NAME}-{number}", "namespace": namespace, "labels": own},
        "spec": {
            "nodeName": node,
            "hostNetwork": True,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "tolerations": [{"operator": "Exists"}],
            "containers": [container],
        },
    }


__all__ = ["OBSERVER_NAME", "observer_pod"]
