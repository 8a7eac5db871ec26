"""What is followed while it happens: watches, logs, and requests to a pod's own address."""

from __future__ import annotations

import json
import threading

import anyio
import pytest

from hazd.clock import unix_ns
from hazd.cluster.port import Cluster, Images
from hazd.cluster.watch import digest
from hazd.errors import ClusterError, NotFound
from hazd.model import Event, Ref

from .objects import PORT, all_ready, deployment, pod, pod_spec, ready_pods, service, until

pytestmark = pytest.mark.anyio


async def test_a_watch_shows_what_exists_then_what_happens(cluster: Cluster, namespace: str) -> None:
    """ADDED of the old, then ADDED, MODIFIED, DELETED of the new, in this order and on our clock."""
    await cluster.create(service("old", namespace))
    begun = unix_ns()
    seen: list[Event] = []
    async with cluster.watch("Service", namespace) as events:
        await cluster.create(service("new", namespace))
        await cluster.patch(Ref("Service", "new", namespace), {"metadata": {"labels": {"n": "1"}}})
        await cluster.delete(Ref("Service", "new", namespace))
        with anyio.fail_after(30):
            async for event in events:
                seen.append(event)
                if event.reason == "DELETED":
                    break
    assert [(event.ref.name, event.reason) for event in seen] == [
        ("old", "ADDED"),
        ("new", "ADDED"),
        ("new", "MODIFIED"),
        ("new", "DELETED"),
    ]
    times = [begun, *(event.observed_ns for event in seen), unix_ns()]
    assert times == sorted(times)
    assert {(event.source, event.ref.kind, event.ref.namespace) for event in seen} == {("watch", "Service", namespace)}
    assert seen[2].detail["labels"]["n"] == "1"


async def test_an_event_carries_the_digest_and_the_stated_time(cluster: Cluster, namespace: str) -> None:
    """detail is digest(object), stated_ns the object's own time of whole seconds."""
    made = await cluster.create(service("web", namespace))
    async with cluster.watch("Service", namespace) as events:
        event = await anext(events)
    assert event.detail == digest(await cluster.get(Ref("Service", "web", namespace)))
    assert event.detail["uid"] == made["metadata"]["uid"]
    assert event.stated_ns is not None
    assert abs(event.stated_ns - event.observed_ns) < 60e9


async def test_a_watch_without_namespace_sees_the_whole_cluster(cluster: Cluster, namespace: str) -> None:
    """Nodes, and objects of every namespace."""
    names = {node["metadata"]["name"] for node in await cluster.list("Node")}
    seen: set[str] = set()
    with anyio.fail_after(30):
        async with cluster.watch("Node", "") as events:
            async for event in events:
                seen.add(event.ref.name)
                if seen == names:
                    break
        await cluster.create(service("web", namespace))
        async with cluster.watch("Service", "") as events:
            async for event in events:
                if event.ref == Ref("Service", "web", namespace):
                    break


async def test_two_watchers_see_the_same(cluster: Cluster, namespace: str) -> None:
    """Every iterator gets every event, in one order."""
    seen: list[list[tuple[str, str]]] = [[], []]
    async with cluster.watch("Service", namespace) as one, cluster.watch("Service", namespace) as two:
        for name in ("a", "b", "c"):
            await cluster.create(service(name, namespace))
        await cluster.delete(Ref("Service", "b", namespace))
        with anyio.fail_after(30):
            for events, mine in ((one, seen[0]), (two, seen[1])):
                async for event in events:
                    mine.append((event.ref.name, event.reason))
                    if event.reason == "DELETED":
                        break
    assert seen[0] == seen[1] == [("a", "ADDED"), ("b", "ADDED"), ("c", "ADDED"), ("b", "DELETED")]


async def test_leaving_ends_a_silent_stream_and_its_thread(cluster: Cluster, namespace: str, images: Images) -> None:
    """Neither a watch nor a log that says nothing keeps anybody waiting, and nothing is left running."""
    await cluster.create(pod("web", namespace, pod_spec(images.app)))
    await until("the pod to be ready", lambda: ready_pods(cluster, namespace, "web"))
    before = {thread.name for thread in threading.enumerate() if thread.name.startswith("hazd-")}
    with anyio.fail_after(10):
        async with (
            cluster.watch("PodDisruptionBudget", namespace) as events,
            cluster.logs(Ref("Pod", "web", namespace)),
        ):
            with anyio.move_on_after(0.5) as waiting:
                await anext(events)
    assert waiting.cancelled_caught
    after = {thread.name for thread in threading.enumerate() if thread.name.startswith("hazd-")}
    assert after <= before


async def test_pods_are_seen_coming_and_going(cluster: Cluster, namespace: str, images: Images) -> None:
    """A pod's life in the digest: created, on a node with an address, ready, going, gone."""
    life: list[str] = []
    async with cluster.watch("Pod", namespace) as events:
        await cluster.create(pod("web", namespace, pod_spec(images.app, prestop_s=1)))
        with anyio.fail_after(90):
            async for event in events:
                status = event.detail.get("status", {})
                ready = any(
                    item["type"] == "Ready" and item["status"] == "True" for item in status.get("conditions", ())
                )
                if event.reason == "DELETED":
                    word = "gone"
                elif event.detail.get("deletionTimestamp"):
                    word = "going"
                elif ready:
                    word = "ready"
                    assert event.detail["spec"]["nodeName"]
                    assert status["podIP"]
                else:
                    word = "coming"
                if word == "ready" and "ready" not in life:
                    await cluster.delete(event.ref)
                life += [word] if life[-1:] != [word] else []
                if word == "gone":
                    break
    assert life == ["coming", "ready", "going", "gone"]


async def _lines(cluster: Cluster, ref: Ref, into: list[str]) -> None:
    async with cluster.logs(ref) as lines:
        async for line in lines:
            into.append(line)


async def test_a_log_is_whole_from_the_first_to_the_last_line(cluster: Cluster, namespace: str, images: Images) -> None:
    """Followed from before the container starts until its pod is deleted: each line once, the last one too."""
    count = 6
    await cluster.create(deployment("web", namespace, count, pod_spec(images.app, prestop_s=1)))

    async def exist() -> list[str]:
        pods = await cluster.list("Pod", namespace, "app=web")
        return [item["metadata"]["name"] for item in pods] if len(pods) == count else []

    names = await until("the pods to exist", exist)
    logs: dict[str, list[str]] = {name: [] for name in names}
    with anyio.fail_after(120):
        async with anyio.create_task_group() as tasks:
            for name in names:
                tasks.start_soon(_lines, cluster, Ref("Pod", name, namespace), logs[name])
            await all_ready(cluster, namespace, "web", count)
            await cluster.delete(Ref("Deployment", "web", namespace))
    for name, lines in logs.items():
        life = [json.loads(line) for line in lines if line.startswith("{")]
        assert [item["event"] for item in life] == ["started", "listening", "sigterm", "exit"]
        assert {item["pod"] for item in life} == {name}


async def test_the_log_of_nobody_is_not_found(cluster: Cluster, namespace: str) -> None:
    """A mistyped name does not wait forever."""
    with pytest.raises(NotFound, match="nobody"):
        async with cluster.logs(Ref("Pod", "nobody", namespace)) as lines:
            await anext(lines)


async def test_a_pod_answers_on_its_own_address(cluster: Cluster, namespace: str, images: Images) -> None:
    """Status and body are the pod's own, for GET with a query and for POST with a body."""
    await cluster.create(pod("web", namespace, pod_spec(images.app)))
    await until("the pod to be ready", lambda: ready_pods(cluster, namespace, "web"))
    ref = Ref("Pod", "web", namespace)
    status, body = await cluster.pod_request(ref, PORT, "GET", "/stats?offset=0&limit=10")
    before = json.loads(body)
    assert (status, before["pod"]) == (200, "web")
    status, body = await cluster.pod_request(ref, PORT, "POST", "/", bytes(range(256)) * 64)
    assert (status, json.loads(body)["pod"]) == (200, "web")
    status, body = await cluster.pod_request(ref, PORT, "GET", "/stats")
    assert json.loads(body)["served"] == before["served"] + 1


async def test_a_pod_that_does_not_listen_is_a_cluster_error(cluster: Cluster, namespace: str, images: Images) -> None:
    """What the way to the pod says is never taken for the pod's answer."""
    await cluster.create(pod("web", namespace, pod_spec(images.app)))
    await until("the pod to be ready", lambda: ready_pods(cluster, namespace, "web"))
    with pytest.raises(ClusterError):
        await cluster.pod_request(Ref("Pod", "web", namespace), PORT + 1, "GET", "/")
    with pytest.raises(ClusterError):
        await cluster.pod_request(Ref("Pod", "nobody", namespace), PORT, "GET", "/")
