"""Objects: what create, get, list, patch and delete answer, in success and in error."""

from __future__ import annotations

import pytest

from hazd.cluster.port import Cluster, Images
from hazd.errors import AlreadyExists, ClusterError, Conflict, NotFound
from hazd.model import Ref

from .objects import LABELS, all_ready, deployment, pod, pod_spec, service, until

pytestmark = pytest.mark.anyio


async def test_info_names_the_cluster(cluster: Cluster) -> None:
    """A report can say where it was measured."""
    assert cluster.info.kind in ("kind", "lab", "context")
    assert cluster.info.version
    assert cluster.info.nodes == len(await cluster.list("Node"))
    assert cluster.info.proxy_mode


async def test_an_ability_nobody_knows_is_not_there(cluster: Cluster) -> None:
    """provide() answers in words what is missing; "" would let a scenario start that cannot work."""
    assert "no-such-need" in await cluster.provide("no-such-need")


async def test_what_is_created_can_be_read(cluster: Cluster, namespace: str, images: Images) -> None:
    """The server's own fields are there, get answers the same object, and list knows its kind."""
    made = await cluster.create(deployment("web", namespace, 0, pod_spec(images.app)))
    read = await cluster.get(Ref("Deployment", "web", namespace))
    for obj in (made, read):
        assert obj["kind"] == "Deployment"
        assert obj["metadata"]["uid"] == made["metadata"]["uid"]
        assert obj["metadata"]["resourceVersion"]
        assert obj["metadata"]["creationTimestamp"].endswith("Z")
        assert obj["spec"]["replicas"] == 0
    [listed] = await cluster.list("Deployment", namespace)
    assert (listed["kind"], listed["metadata"]["uid"]) == ("Deployment", made["metadata"]["uid"])


async def test_create_twice_is_already_exists(cluster: Cluster, namespace: str, images: Images) -> None:
    """The second POST of a name changes nothing and says so."""
    await cluster.create(deployment("web", namespace, 0, pod_spec(images.app)))
    with pytest.raises(AlreadyExists, match="web"):
        await cluster.create(deployment("web", namespace, 3, pod_spec(images.app)))
    assert (await cluster.get(Ref("Deployment", "web", namespace)))["spec"]["replicas"] == 0


async def test_what_does_not_exist_is_not_found(cluster: Cluster, namespace: str) -> None:
    """get and patch raise NotFound with the name; delete answers False."""
    ref = Ref("Deployment", "nobody", namespace)
    with pytest.raises(NotFound, match="nobody"):
        await cluster.get(ref)
    with pytest.raises(NotFound, match="nobody"):
        await cluster.patch(ref, {"metadata": {"labels": {"a": "b"}}})
    assert await cluster.delete(ref) is False
    with pytest.raises(NotFound):
        await cluster.get(Ref("Namespace", "hazd-no-such-namespace"))


async def test_a_bad_object_is_refused_with_field_and_value(cluster: Cluster, namespace: str, images: Images) -> None:
    """The error names what is wrong in one line, and nothing was made."""
    with pytest.raises(ClusterError, match=r"replicas.*-1|-1.*replicas") as caught:
        await cluster.create(deployment("web", namespace, -1, pod_spec(images.app)))
    assert "\n" not in caught.value.message
    with pytest.raises(NotFound):
        await cluster.get(Ref("Deployment", "web", namespace))


async def test_nothing_is_made_in_a_namespace_that_does_not_exist(cluster: Cluster, images: Images) -> None:
    """A namespace is never made by the way."""
    with pytest.raises(ClusterError, match="hazd-no-such-namespace"):
        await cluster.create(deployment("web", "hazd-no-such-namespace", 0, pod_spec(images.app)))


async def test_list_selects_by_namespace_and_labels(cluster: Cluster, namespace: str) -> None:
    """Selectors are equality, joined by commas with "and"; namespace "" means all."""
    for name in ("a", "b"):
        await cluster.create(service(name, namespace))

    async def names(where: str, selector: str = "") -> set[str]:
        return {
            item["metadata"]["name"]
            for item in await cluster.list("Service", where, selector)
            if item["metadata"]["namespace"] == namespace
        }

    assert await names(namespace) == {"a", "b"}
    assert await names(namespace, "app=a") == {"a"}
    assert await names(namespace, "app=a,hazd.dev/run=contract") == {"a"}
    assert await names(namespace, "app=a,hazd.dev/run=other") == set()
    assert await names("") == {"a", "b"}
    assert await names("", "app=b") == {"b"}


async def test_patch_is_a_json_merge_patch(cluster: Cluster, namespace: str) -> None:
    """RFC 7396: maps merge, None deletes a key, lists are replaced whole; what is not named stays."""
    await cluster.create(service("web", namespace))
    ref = Ref("Service", "web", namespace)
    ports = [{"name": "one", "port": 81, "targetPort": 8080}, {"name": "two", "port": 82, "targetPort": 8080}]
    await cluster.patch(ref, {"metadata": {"labels": {"extra": "1"}}, "spec": {"ports": ports}})
    patched = await cluster.patch(ref, {"metadata": {"labels": {"app": None}}, "spec": {"ports": ports[1:]}})
    for obj in (patched, await cluster.get(ref)):
        assert obj["metadata"]["labels"] == {**LABELS, "extra": "1"}
        assert [port["port"] for port in obj["spec"]["ports"]] == [82]
        assert obj["spec"]["selector"] == {"app": "web"}


async def test_a_stale_resource_version_is_a_conflict(cluster: Cluster, namespace: str) -> None:
    """Optimistic locking: who patches what has changed since hears of it, and nothing is changed."""
    made = await cluster.create(service("web", namespace))
    ref = Ref("Service", "web", namespace)
    old = made["metadata"]["resourceVersion"]
    fresh = await cluster.patch(ref, {"metadata": {"labels": {"n": "1"}, "resourceVersion": old}})
    assert fresh["metadata"]["resourceVersion"] != old
    with pytest.raises(Conflict, match="web"):
        await cluster.patch(ref, {"metadata": {"labels": {"n": "2"}, "resourceVersion": old}})
    assert (await cluster.get(ref))["metadata"]["labels"]["n"] == "1"


async def test_delete_is_idempotent(cluster: Cluster, namespace: str) -> None:
    """True when there was something to delete, False from then on."""
    await cluster.create(service("web", namespace))
    ref = Ref("Service", "web", namespace)
    assert await cluster.delete(ref) is True
    assert await cluster.delete(ref) is False
    assert await cluster.list("Service", namespace) == []


async def test_deleting_a_deployment_takes_its_pods(cluster: Cluster, namespace: str, images: Images) -> None:
    """Garbage collection by owner: no pod and no ReplicaSet survives its Deployment."""
    await cluster.create(deployment("web", namespace, 2, pod_spec(images.app)))
    await all_ready(cluster, namespace, "web", 2)
    await cluster.delete(Ref("Deployment", "web", namespace))

    async def gone() -> bool:
        left = await cluster.list("Pod", namespace) + await cluster.list("ReplicaSet", namespace)
        return not left

    await until("pods and ReplicaSets to be gone", gone)


async def test_deleting_a_namespace_takes_everything(cluster: Cluster, namespace: str, images: Images) -> None:
    """Teardown may rely on it: a namespace goes with all that is in it."""
    await cluster.create(deployment("web", namespace, 1, pod_spec(images.app)))
    await cluster.create(service("web", namespace))
    await cluster.create(pod("single", namespace, pod_spec(images.app)))
    await all_ready(cluster, namespace, "web", 1)
    assert await cluster.delete(Ref("Namespace", namespace)) is True

    async def gone() -> bool:
        try:
            await cluster.get(Ref("Namespace", namespace))
        except NotFound:
            return True
        return False

    await until("the namespace to be gone", gone, 90)
    for kind in ("Deployment", "Service", "Pod", "EndpointSlice"):
        assert await cluster.list(kind, namespace) == []
