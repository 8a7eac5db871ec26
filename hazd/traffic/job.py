"""The traffic workers as one Indexed Job: a pod for each part of the schedule, on the nodes that were chosen.

Pure. An Indexed Job gives every pod its number by the control plane's own word (JOB_COMPLETION_INDEX), takes them all
away with one object, and with no retries allowed per index it never puts a fresh worker in the place of one that was
lost: that would have forgotten its connections and its records, and would hide what happened to them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hazd.model import Manifest

WORKER_NAME = "hazd-worker"
"""Name of the Job, prefix of its pods' names, and value of their `app` label."""
WORKER_PORT = 8091
MAX_WORKERS = 256
"""A record's worker is one byte in the journal."""
WORKER_DIR = "/var/lib/hazd"
INDEX_KEY = "batch.kubernetes.io/job-completion-index"
"""Annotation and label of an Indexed Job's pods; the controller puts its value into JOB_COMPLETION_INDEX, too."""
INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
CONTAINER_NAME = "worker"
"""Of the traffic process; a service mesh may put others beside it."""
JOB_NAME_LABEL = "batch.kubernetes.io/job-name"
_HOSTNAME = "kubernetes.io/hostname"


def worker_job(*, namespace: str, nodes: Sequence[str], count: int, image: str, labels: Mapping[str, str]) -> Manifest:
    """`count` workers spread evenly over `nodes` (names), past every taint, so that a control plane may carry one.

    backoffLimitPerIndex 0 and not backoffLimit 0: with the latter one lost worker would fail the Job, and its
    controller would delete all the others (KEP-3850). Records live in an emptyDir, which outlives the process.
    """
    container = {
        "name": CONTAINER_NAME,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-m", "hazd.traffic.worker", "--port", str(WORKER_PORT), "--dir", WORKER_DIR],
        "ports": [{"name": "control", "containerPort": WORKER_PORT}],
        "volumeMounts": [{"name": "records", "mountPath": WORKER_DIR}],
        "resources": {"requests": {"cpu": "300m", "memory": "64Mi"}},
    }
    own = {**labels, "app": WORKER_NAME}
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": _one_of(nodes)}},
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": _HOSTNAME,
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": {"app": WORKER_NAME}},
            }
        ],
        "containers": [container],
        "volumes": [{"name": "records", "emptyDir": {}}],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": WORKER_NAME, "namespace": namespace, "labels": own},
        "spec": {
            "completionMode": "Indexed",
            "completions": count,
            "parallelism": count,
            "backoffLimitPerIndex": 0,
            "podReplacementPolicy": "Failed",
            "template": {"metadata": {"labels": own}, "spec": pod},
        },
    }


def _one_of(nodes: Sequence[str]) -> dict[str, Any]:
    """By the nodes' names, as the DaemonSet controller does it: the hostname label may differ from the name.

    A matchFields requirement takes one value only; terms are alternatives.
    """
    terms = [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]} for node in nodes]
    return {"nodeSelectorTerms": terms}


__all__ = [
    "INDEX_KEY",
    "INDEX_VARIABLE",
    "JOB_NAME_LABEL",
    "MAX_WORKERS",
    "WORKER_DIR",
    "WORKER_NAME",
    "WORKER_PORT",
    "worker_job",
]
