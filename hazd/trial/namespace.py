"""Removes a trial's namespace quickly and wholly: first what makes pods, then the pods, then the namespace.

In that order because the namespace controller, when it still finds pods, waits for about half of their grace period
before it looks again (kubernetes pkg/controller/namespace/deletion), and because pods deleted before their ReplicaSet
come back.
"""

from __future__ import annotations

import anyio

from hazd.cluster.outage import Silence
from hazd.cluster.port import Cluster
from hazd.errors import ClusterError, NotFound
from hazd.model import Ref

OWNERS = {"Deployment", "Job", "StatefulSet"}
POLL_S = 0.2


async def _owners(cluster: Cluster, namespace: str) -> list[Ref]:
    found = []
    for kind in sorted(OWNERS):
        try:
            found += [Ref(kind, item["metadata"]["name"], namespace) for item in await cluster.list(kind, namespace)]
        except ClusterError as error:
            if error.transient:
                raise
            # The lab serves fewer kinds; whatever is there goes with the namespace all the same.
    return found


async def remove_namespace(cluster: Cluster, namespace: str) -> None:
    """Delete a namespace with everything in it, pods without grace, and wait until it is gone. Idempotent.

    Begun again for as long as the API server is away; the caller sets the limit.
    """
    silence = Silence(just_now=True)
    while True:
        try:
            return await _remove(cluster, namespace)
        except ClusterError as error:
            if not silence.explains(error):
                raise
        await anyio.sleep(POLL_S)


async def _remove(cluster: Cluster, namespace: str) -> None:
    while True:
        for owner in await _owners(cluster, namespace):
            await cluster.delete(owner)
        if not await cluster.list("ReplicaSet", namespace):
            break
        await anyio.sleep(POLL_S)
    while pods := await cluster.list("Pod", namespace):
        for pod in pods:
            await cluster.delete(Ref("Pod", pod["metadata"]["name"], namespace), 0)
        await anyio.sleep(POLL_S)
    await cluster.delete(Ref("Namespace", namespace))
    while True:
        try:
            await cluster.get(Ref("Namespace", namespace))
        except NotFound:
            return
        await anyio.sleep(POLL_S)


__all__ = ["remove_namespace"]
