"""The control target's manifests: a bare pod that nothing may disturb, and a Service of its own in front of it.

Pure. The pod runs the sample app under a label of its own, so no selector, budget or autoscaler of the workload matches
it; the Service is a ClusterIP like the workload's, so that requests to it pass the same kube-proxy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hazd.manifests import pod_spec
from hazd.model import Manifest
from hazd.sample_app.manifests import sample_workload

CONTROL_NAME = "hazd-control"
"""Name of the pod and of its Service, and value of their `app` label."""


def control_target(
    *, image: str, namespace: str, node: str, labels: Mapping[str, str], http2: bool = False
) -> tuple[Manifest, Manifest]:
    """Pod and Service. node: by name, past the scheduler and every taint. http2: with prior knowledge, never TLS."""
    deployment, service = sample_workload(image=image, http2=http2)
    spec: dict[str, Any] = {
        **pod_spec(deployment),
        "nodeName": node,
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 1,
        "tolerations": [{"operator": "Exists"}],
    }
    meta = {"name": CONTROL_NAME, "namespace": namespace, "labels": {**labels, "app": CONTROL_NAME}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}
    return pod, {**service, "metadata": meta, "spec": {**service["spec"], "selector": {"app": CONTROL_NAME}}}


__all__ = ["CONTROL_NAME", "control_target"]
