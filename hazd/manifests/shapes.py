"""What the manifests of a user must look like where hazd's transforms reach into them: a table for hazd/shape.py.

No schema, the API server has that: a field stands here when something in hazd reads it.
"""

from __future__ import annotations

from collections.abc import Mapping

from hazd.shape import ANY_NAME, NULL, Either, Number, Shape

STRINGS = {ANY_NAME: str}
_PORT = Either(Number(1, 65535), str)
_SECONDS = Number(0, 1e9)
_SELECTOR = Either(NULL, {"matchLabels": Either(NULL, STRINGS)})
_META = {"labels": Either(NULL, STRINGS), "annotations": Either(NULL, STRINGS), "namespace": Either(NULL, str)}
_TERM = {"labelSelector": _SELECTOR, "topologyKey": str}
_TERMS = {
    "requiredDuringSchedulingIgnoredDuringExecution": [_TERM],
    "preferredDuringSchedulingIgnoredDuringExecution": [{"podAffinityTerm": _TERM}],
}
_PROBE = {
    "httpGet": Either(NULL, {"path": Either(NULL, str), "port": _PORT}),
    "tcpSocket": Either(NULL, {"port": _PORT}),
    "periodSeconds": Number(1, 1e9),
}
_HOOK = {
    "sleep": {"seconds": _SECONDS},
    "exec": Either(NULL, {"command": Either(NULL, [str])}),
}
_CONTAINER = {
    "ports": [{"name": str}],
    "env": [{"value": str}],
    "command": Either(NULL, [str]),
    "args": Either(NULL, [str]),
    "lifecycle": {"preStop": Either(NULL, _HOOK)},
    "readinessProbe": _PROBE,
    "startupProbe": _PROBE,
}
_POD = {
    "terminationGracePeriodSeconds": _SECONDS,
    "affinity": {"podAffinity": Either(NULL, _TERMS), "podAntiAffinity": _TERMS},
    "containers": [_CONTAINER],
}
_WORKLOAD = {
    "metadata": _META,
    "spec": {"selector": _SELECTOR, "template": {"metadata": _META, "spec": _POD}},
}
ANYTHING: Mapping[str, Shape] = {"metadata": _META}
BY_KIND: Mapping[str, Mapping[str, Shape]] = {
    "Deployment": _WORKLOAD,
    "StatefulSet": _WORKLOAD,
    "Service": {
        "metadata": _META,
        "spec": {
            "selector": Either(NULL, STRINGS),
            "clusterIP": Either(NULL, str),
            "type": str,
            "sessionAffinity": Either(NULL, str),
            "ports": [{"name": str, "targetPort": _PORT}],
        },
    },
    "PodDisruptionBudget": {
        "metadata": _META,
        "spec": {
            "selector": _SELECTOR,
            "minAvailable": Either(Number(0, 1e9), str),
            "maxUnavailable": Either(Number(0, 1e9), str),
        },
    },
    "HorizontalPodAutoscaler": {
        "metadata": _META,
        "spec": {
            "scaleTargetRef": {"kind": str, "name": str},
            "minReplicas": Number(0, 1e9),
            "maxReplicas": Number(1, 1e9),
        },
    },
    "RoleBinding": {"metadata": _META, "subjects": Either(NULL, [{"kind": str, "name": str}])},
    "Secret": {"metadata": _META, "data": Either(NULL, {}), "stringData": Either(NULL, {})},
    "ConfigMap": {"metadata": _META, "data": Either(NULL, {})},
}

__all__ = ["ANYTHING", "BY_KIND"]
