"""Indexed Jobs: what hazd's traffic workers rely on, wherever they run."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from hazd.cluster.port import Cluster, Images
from hazd.errors import NotFound
from hazd.model import Manifest, Ref
from hazd.traffic.job import INDEX_VARIABLE, JOB_NAME_LABEL
from hazd.trial.worker import index_of

from .objects import LABELS, all_ready, is_ready, pod_spec, until

pytestmark = pytest.mark.anyio
JOB = "work"


def job(namespace: str, image: str, count: int, on_sigterm: str = "exit", **spec: Any) -> Manifest:
    """The sample app, which never ends by itself, `count` times."""
    labels = {"app": JOB, **LABELS}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": JOB, "namespace": namespace, "labels": labels},
        "spec": {
            "completionMode": "Indexed",
            "completions": count,
            "parallelism": count,
            "backoffLimitPerIndex": 0,
            "podReplacementPolicy": "Failed",
            "template": {
                "metadata": {"labels": labels},
                "spec": {**pod_spec(image, restart="Never", on_sigterm=on_sigterm), **spec},
            },
        },
    }


async def test_the_pods_of_an_indexed_job_come_up_with_their_indexes(
    cluster: Cluster, namespace: str, images: Images
) -> None:
    """Each index once, in annotation and environment; the Job is listed, counts its pods and is deleted with them."""
    await cluster.create(job(namespace, images.app, 3))
    pods = await all_ready(cluster, namespace, JOB, 3)
    assert sorted(map(index_of, pods)) == [0, 1, 2]
    assert {item["metadata"]["labels"][JOB_NAME_LABEL] for item in pods} == {JOB}
    for item in pods:
        env = {entry["name"] for entry in item["spec"]["containers"][0]["env"]}
        assert INDEX_VARIABLE in env
    assert [item["metadata"]["name"] for item in await cluster.list("Job", namespace)] == [JOB]

    async def counted() -> bool:
        status = (await cluster.get(Ref("Job", JOB, namespace))).get("status", {})
        return bool(status.get("active") == 3 == status.get("ready"))

    await until("the Job to count 3 ready pods", counted)
    assert await cluster.delete(Ref("Job", JOB, namespace)) is True

    async def gone() -> bool:
        return not await cluster.list("Pod", namespace, f"app={JOB}")

    await until("the Job's pods to be gone", gone)
    with pytest.raises(NotFound):
        await cluster.get(Ref("Job", JOB, namespace))


async def test_a_lost_pod_is_not_replaced_and_takes_no_other_along(
    cluster: Cluster, namespace: str, images: Images
) -> None:
    """backoffLimitPerIndex 0: the index has failed for good, the rest run on as they were.

    The app ignores SIGTERM: one that exits with 0 would have completed its index, deleted or not.
    """
    await cluster.create(job(namespace, images.app, 2, on_sigterm="ignore"))
    pods = await all_ready(cluster, namespace, JOB, 2)
    first, second = sorted(pods, key=index_of)
    await cluster.delete(Ref("Pod", first["metadata"]["name"], namespace), grace_s=0)

    async def noted() -> bool:
        status = (await cluster.get(Ref("Job", JOB, namespace))).get("status", {})
        return bool(status.get("failed") == 1 and status.get("failedIndexes") == "0")

    await until("the Job to count the failure", noted)
    await anyio.sleep(2)  # nothing reports that something will not be created: it would have taken at most this long
    left = await cluster.list("Pod", namespace, f"app={JOB}")
    assert [item["metadata"]["uid"] for item in left if is_ready(item)] == [second["metadata"]["uid"]]
    assert {item["metadata"]["uid"] for item in left} <= {first["metadata"]["uid"], second["metadata"]["uid"]}


async def test_pods_go_to_the_nodes_that_are_named_and_spread_there(
    cluster: Cluster, namespace: str, images: Images
) -> None:
    """matchFields on metadata.name and maxSkew 1, past the taints of a control plane."""
    nodes = [item["metadata"]["name"] for item in await cluster.list("Node")][:2]
    terms = [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]} for name in nodes]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": JOB}},
    }
    placed: dict[str, Any] = {
        "affinity": {"nodeAffinity": required},
        "topologySpreadConstraints": [spread],
        "tolerations": [{"operator": "Exists"}],
    }
    await cluster.create(job(namespace, images.app, 2 * len(nodes), **placed))
    pods = await all_ready(cluster, namespace, JOB, 2 * len(nodes))
    assert sorted(item["spec"]["nodeName"] for item in pods) == sorted(2 * nodes)
