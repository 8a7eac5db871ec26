"""What a context does when its API server forgets, breaks off, is busy or lies: the cases a healthy one never shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from hazd.cluster.kube.cluster import KubeCluster
from hazd.errors import ClusterError, Conflict, NotFound, UsageError
from hazd.model import Event, Ref

from .fake_api import FakeApi, Reply, failure, ok, serve, watching

pytestmark = pytest.mark.anyio
SERVICES = "/api/v1/namespaces/n/services"
POD, LOG = "/api/v1/namespaces/n/pods/a", "/api/v1/namespaces/n/pods/a/log"


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[tuple[FakeApi, str]]:
    with serve(tmp_path) as served:
        yield served


def service(name: str, version: int, uid: str = "u") -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "n", "uid": f"{uid}-{name}", "resourceVersion": str(version)}}


def listing(version: int, *items: dict[str, Any]) -> Reply:
    return ok({"metadata": {"resourceVersion": str(version)}, "items": list(items)})


def bookmark(version: int) -> tuple[str, dict[str, Any]]:
    return "BOOKMARK", {"kind": "Service", "metadata": {"resourceVersion": str(version)}}


async def collect(kubeconfig: str, count: int) -> list[tuple[str, str]]:
    return [(event.reason, event.ref.name) for event in await collect_events(kubeconfig, count)]


async def collect_events(kubeconfig: str, count: int) -> list[Event]:
    seen: list[Event] = []
    async with KubeCluster("fake", kubeconfig) as cluster:
        with anyio.fail_after(20):
            async with cluster.watch("Service", "n") as events:
                async for event in events:
                    seen.append(event)
                    if len(seen) == count:
                        break
    return seen


async def test_a_broken_watch_goes_on_from_its_last_version(fake: tuple[FakeApi, str]) -> None:
    """By the last event or bookmark, whichever came later; nothing is doubled, and a short break is no gap."""
    api, kubeconfig = fake
    api.say(f"GET {SERVICES}", listing(5, service("a", 4)))
    api.say(
        f"WATCH {SERVICES}",
        watching(("ADDED", service("b", 6)), bookmark(9), end="cut"),
        watching(("ADDED", service("c", 11)), end="done"),
        watching(("DELETED", service("a", 12))),
    )
    assert await collect(kubeconfig, 4) == [("ADDED", "a"), ("ADDED", "b"), ("ADDED", "c"), ("DELETED", "a")]
    watches = api.asked(f"WATCH {SERVICES}")
    assert [request.query["resourceVersion"] for request in watches] == ["5", "9", "11"]
    assert {request.query["allowWatchBookmarks"] for request in watches} == {"true"}
    assert len(api.asked(f"GET {SERVICES}")) == 1


@pytest.mark.parametrize("as_event", [False, True])
async def test_a_version_too_old_is_a_gap_and_the_difference(fake: tuple[FakeApi, str], as_event: bool) -> None:
    """410 as an answer or as an ERROR in the stream: listed anew, GAP first, then what must have happened."""
    api, kubeconfig = fake
    status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
    refusal = watching(("ERROR", status), end="done") if as_event else failure(410, "Expired", "too old")
    new = listing(30, service("b", 20), service("c", 4, "other"), service("d", 7))
    api.say(f"GET {SERVICES}", listing(9, service("a", 4), service("b", 4), service("c", 4), service("d", 7)), new)
    api.say(f"WATCH {SERVICES}", refusal, watching(("MODIFIED", service("d", 31))))
    seen = await collect_events(kubeconfig, 10)
    assert [(event.reason, event.ref.name) for event in seen[4:]] == [
        ("GAP", ""),
        ("DELETED", "a"),
        ("DELETED", "c"),
        ("MODIFIED", "b"),
        ("ADDED", "c"),
        ("MODIFIED", "d"),
    ]
    gap = seen[4].detail
    assert gap["from_ns"] <= gap["to_ns"] <= seen[5].observed_ns
    assert api.asked(f"WATCH {SERVICES}")[-1].query["resourceVersion"] == "30"


async def test_a_watch_that_is_forbidden_fails_at_once(fake: tuple[FakeApi, str]) -> None:
    """Before the first event where listing is forbidden, in the stream where only watching is."""
    api, kubeconfig = fake
    forbidden = failure(403, "Forbidden", 'services is forbidden: User "u" cannot watch resource "services"')
    api.say(f"GET {SERVICES}", forbidden)
    with pytest.raises(ClusterError, match="forbidden"):
        await collect(kubeconfig, 1)
    api.say(f"GET {SERVICES}", listing(5))
    api.say(f"WATCH {SERVICES}", forbidden)
    with pytest.raises(ClusterError, match="forbidden"):
        await collect(kubeconfig, 1)


async def test_a_busy_server_is_asked_again(fake: tuple[FakeApi, str]) -> None:
    """5xx and lost answers of reads, merges and deletions; a 429 that was not even looked at, for everything."""
    api, kubeconfig = fake
    busy, overload = failure(503, "ServiceUnavailable", "etcd is away"), Reply(429, b"Too many requests")
    lost = Reply(200, chunks=(b'{"meta',), end="cut")
    async with KubeCluster("fake", kubeconfig) as cluster:
        ref = Ref("Service", "a", "n")
        api.say(f"GET {SERVICES}/a", busy, lost, overload, ok(service("a", 1)))
        assert (await cluster.get(ref))["metadata"]["name"] == "a"
        api.say(f"PATCH {SERVICES}/a", busy, failure(409, "Conflict", "modified"), ok(service("a", 2)))
        assert (await cluster.patch(ref, {"metadata": {"labels": {}}}))["metadata"]["resourceVersion"] == "2"
        api.say(f"DELETE {SERVICES}/a", busy, ok({}))
        assert await cluster.delete(ref) is True
        api.say(f"POST {SERVICES}", overload, ok(service("a", 3)))
        made = await cluster.create({"apiVersion": "v1", "kind": "Service", **service("a", 0)})
        assert made["metadata"]["resourceVersion"] == "3"
    assert [request.headers["content-type"] for request in api.asked(f"PATCH {SERVICES}/a")] == [
        "application/merge-patch+json"
    ] * 3


async def test_what_may_have_happened_is_not_done_twice(fake: tuple[FakeApi, str]) -> None:
    """A POST whose answer is lost or 5xx, and a patch that names its version, are sent once."""
    api, kubeconfig = fake
    async with KubeCluster("fake", kubeconfig) as cluster:
        for reply in (failure(500, "InternalError", "oops"), Reply(200, chunks=(b"{",), end="cut")):
            api.requests.clear()
            api.say(f"POST {SERVICES}", reply)
            with pytest.raises(ClusterError):
                await cluster.create({"apiVersion": "v1", "kind": "Service", **service("a", 0)})
            assert len(api.asked(f"POST {SERVICES}")) == 1
        api.say(f"PATCH {SERVICES}/a", failure(409, "Conflict", "the object has been modified"))
        with pytest.raises(Conflict, match="modified"):
            await cluster.patch(Ref("Service", "a", "n"), {"metadata": {"resourceVersion": "1"}})
        assert len(api.asked(f"PATCH {SERVICES}/a")) == 1


async def test_a_deletion_that_arrived_before_its_answer_was_lost_is_true(fake: tuple[FakeApi, str]) -> None:
    """The second try finds nothing, because the first one did it."""
    api, kubeconfig = fake
    api.say(f"DELETE {SERVICES}/a", Reply(200, chunks=(b"{",), end="cut"), failure(404, "NotFound", "a not found"))
    async with KubeCluster("fake", kubeconfig) as cluster:
        assert await cluster.delete(Ref("Service", "a", "n")) is True
        assert await cluster.delete(Ref("Service", "a", "n")) is False


async def test_a_pod_waits_for_its_namespaces_service_account(fake: tuple[FakeApi, str]) -> None:
    """The account is made a moment after the namespace; until then pods are refused with 403."""
    api, kubeconfig = fake
    message = 'pods "a" is forbidden: error looking up service account n/default: serviceaccount "default" not found'
    api.say("POST /api/v1/namespaces/n/pods", failure(403, "Forbidden", message), ok(service("a", 1)))
    async with KubeCluster("fake", kubeconfig) as cluster:
        doc = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "n"}, "spec": {}}
        assert (await cluster.create(doc))["metadata"]["name"] == "a"


async def test_an_unknown_kind_is_discovered(fake: tuple[FakeApi, str]) -> None:
    """Also when one aggregated API is out of order; what no API has is NotFound, and is looked for again later."""
    api, kubeconfig = fake
    versions = ("metrics.k8s.io/v1beta1", "autoscaling.k8s.io/v1")
    groups = [{"name": version.split("/")[0], "preferredVersion": {"groupVersion": version}} for version in versions]
    api.say("GET /apis", ok({"groups": groups}))
    api.say("GET /apis/metrics.k8s.io/v1beta1", failure(404, "NotFound", "no endpoints"))
    resources = [{"name": "verticalpodautoscalers", "kind": "VerticalPodAutoscaler", "namespaced": True}]
    api.say("GET /apis/autoscaling.k8s.io/v1", ok({"groupVersion": versions[1], "resources": []}))
    path = "/apis/autoscaling.k8s.io/v1/namespaces/n/verticalpodautoscalers"
    api.say(f"GET {path}", listing(3, service("a", 1)))
    async with KubeCluster("fake", kubeconfig) as cluster:
        with pytest.raises(NotFound, match="VerticalPodAutoscaler"):
            await cluster.list("VerticalPodAutoscaler", "n")
        assert await cluster.provide("vpa")
        api.say("GET /apis/autoscaling.k8s.io/v1", ok({"groupVersion": versions[1], "resources": resources}))
        [found] = await cluster.list("VerticalPodAutoscaler", "n")
        assert await cluster.provide("vpa") == ""
    assert (found["kind"], found["apiVersion"]) == ("VerticalPodAutoscaler", "autoscaling.k8s.io/v1")


async def test_bytes_go_both_ways_through_the_proxy(fake: tuple[FakeApi, str]) -> None:
    """Path and query as they are, a body of any bytes, the pod's own status."""
    api, kubeconfig = fake
    body = bytes(range(256)) * 100
    api.say("POST /api/v1/namespaces/n/pods/a:8091/proxy/records", Reply(418, body[::-1]))
    async with KubeCluster("fake", kubeconfig) as cluster:
        answer = await cluster.pod_request(Ref("Pod", "a", "n"), 8091, "POST", "/records?offset=0&limit=10", body)
    assert answer == (418, body[::-1])
    [sent] = [request for request in api.requests if request.method == "POST"]
    assert (sent.body, sent.query) == (body, {"offset": "0", "limit": "10"})
    assert sent.headers["authorization"] == "Bearer of-a-test"


# -- logs --------------------------------------------------------------------------------------------------------------
def pod(state: str, **meta: Any) -> Reply:
    status = {"containerStatuses": [{"name": "app", "state": {state: {"exitCode": 0}}}]}
    spec = {"containers": [{"name": "app"}, {"name": "side"}], "restartPolicy": "Always"}
    return ok({"metadata": {"name": "a", "uid": "u", **meta}, "spec": spec, "status": status})


def log(*lines: str, end: str = "done") -> Reply:
    return Reply(200, chunks=tuple(f"{line}\n".encode() for line in lines), end=end)


def at(second: float, text: str) -> str:
    return f"2026-11-20T10:00:{second:012.9f}Z {text}"


async def read_log(kubeconfig: str, container: str = "", into: list[str] | None = None) -> list[str]:
    got: list[str] = [] if into is None else into
    async with KubeCluster("fake", kubeconfig) as cluster:
        with anyio.fail_after(20):
            async with cluster.logs(Ref("Pod", "a", "n"), container) as lines:
                async for line in lines:
                    got.append(line)
    return got


GOING = {"deletionTimestamp": "2026-11-20T10:01:00Z"}


async def test_a_broken_log_is_read_on_without_doubling(fake: tuple[FakeApi, str]) -> None:
    """The server repeats whole seconds; equal lines that were written twice are two lines all the same."""
    api, kubeconfig = fake
    twice = [at(3.25, "tick"), at(3.25, "tick")]
    api.say(f"GET {POD}", pod("running"), pod("running"), pod("terminated", **GOING))
    api.say(
        f"GET {LOG}",
        log(at(1, "first"), *twice, end="cut"),
        log(at(2.5, "late from stderr"), *twice, at(4, "more"), end="done"),
        log(*twice, at(4, "more"), at(4.5, "last"), end="done"),
    )
    assert await read_log(kubeconfig) == ["first", "tick", "tick", "late from stderr", "more", "last"]
    asked = api.asked(f"GET {LOG}")
    assert [request.query.get("sinceTime") for request in asked[:2]] == [None, "2026-11-20T10:00:02Z"]
    assert {request.query["container"] for request in asked} == {"app"}


async def test_a_log_waits_for_its_container(fake: tuple[FakeApi, str]) -> None:
    """Waiting to start (400), not known to the kubelet yet (404), and the kubelet's own words are not its log."""
    api, kubeconfig = fake
    api.say(f"GET {POD}", pod("waiting"), pod("waiting"), pod("terminated", **GOING))
    api.say(
        f"GET {LOG}",
        failure(400, "BadRequest", 'container "side" in pod "a" is waiting to start: ContainerCreating'),
        failure(404, "NotFound", 'pods "a" not found'),
        log("unable to retrieve container logs for containerd://0", at(1, "hello"), at(1, ""), at(1.5, "two  blanks ")),
    )
    assert await read_log(kubeconfig) == ["hello", "", "two  blanks "]


async def test_a_log_cut_off_for_good_says_so(fake: tuple[FakeApi, str]) -> None:
    """The stream broke and the pod is gone: what was read is given, then the error."""
    api, kubeconfig = fake
    api.say(f"GET {POD}", pod("running"), failure(404, "NotFound", 'pods "a" not found'))
    api.say(f"GET {LOG}", log(at(1, "first"), end="cut"))
    got: list[str] = []
    with pytest.raises(ClusterError, match="cut off"):
        await read_log(kubeconfig, into=got)
    assert got == ["first"]


FORBIDDEN = failure(403, "Forbidden", 'pods "a" is forbidden: User "u" cannot get resource "pods/log"')


async def test_a_log_outlasts_an_api_server_that_restarts(fake: tuple[FakeApi, str]) -> None:
    """Its first answers are 403 for want of its caches: whoever could read before reads on."""
    api, kubeconfig = fake
    api.say(f"GET {POD}", pod("running"), FORBIDDEN, pod("running"), pod("terminated", **GOING))
    api.say(f"GET {LOG}", log(at(1, "first"), end="cut"), FORBIDDEN, log(at(1, "first"), at(2, "second")))
    assert await read_log(kubeconfig) == ["first", "second"]


async def test_a_log_that_may_not_be_read_is_an_error_at_once(fake: tuple[FakeApi, str]) -> None:
    """Without the right to pods/log nothing is waited for."""
    api, kubeconfig = fake
    api.say(f"GET {POD}", pod("running"))
    api.say(f"GET {LOG}", FORBIDDEN)
    with pytest.raises(ClusterError, match="forbidden"):
        await read_log(kubeconfig)


async def test_a_container_that_does_not_exist_is_not_found(fake: tuple[FakeApi, str]) -> None:
    """With the names of those that do."""
    api, kubeconfig = fake
    api.say(f"GET {POD}", pod("running"))
    with pytest.raises(NotFound, match="'other'") as caught:
        await read_log(kubeconfig, "other")
    assert "app, side" in caught.value.hint


# -- opening -----------------------------------------------------------------------------------------------------------
async def test_what_may_not_be_seen_is_unknown(fake: tuple[FakeApi, str]) -> None:
    """Without the right to kube-system and to nodes the cluster opens all the same, and says what it does not know."""
    api, kubeconfig = fake
    api.say("GET /api/v1/nodes", failure(403, "Forbidden", 'nodes is forbidden: User "u" cannot list resource "nodes"'))
    async with KubeCluster("fake", kubeconfig) as cluster:
        assert (cluster.info.kind, cluster.info.name, cluster.info.version) == ("context", "fake", "v1.34.4")
        assert (cluster.info.nodes, cluster.info.proxy_mode) == (0, "unknown")
        assert "cannot list" in cluster.info.note


@pytest.mark.parametrize(("mode", "expected"), [('""', "iptables"), ("nftables", "nftables"), ("ipvs", "ipvs")])
async def test_the_proxy_mode_is_kube_proxys_own(fake: tuple[FakeApi, str], mode: str, expected: str) -> None:
    """An empty mode is iptables (kube-proxy's default on Linux)."""
    api, kubeconfig = fake
    data = {"config.conf": f"kind: KubeProxyConfiguration\nmode: {mode}\n"}
    api.say("GET /api/v1/namespaces/kube-system/configmaps/kube-proxy", ok({"data": data}))
    async with KubeCluster("fake", kubeconfig) as cluster:
        assert cluster.info.proxy_mode == expected


async def test_the_environments_proxy_is_not_asked_for_this_machine(
    fake: tuple[FakeApi, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kind cluster lies on loopback; kubectl goes there directly, whatever HTTP_PROXY says."""
    _, kubeconfig = fake
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    async with KubeCluster("fake", kubeconfig) as cluster:
        assert cluster.info.version == "v1.34.4"


async def test_a_context_that_does_not_exist_is_named_with_those_that_do(fake: tuple[FakeApi, str]) -> None:
    """Before anything is sent."""
    api, kubeconfig = fake
    with pytest.raises(UsageError, match="'nope'") as caught:
        KubeCluster("nope", kubeconfig)
    assert "fake" in caught.value.hint
    with pytest.raises(UsageError, match="nowhere"):
        KubeCluster("fake", f"{kubeconfig}-nowhere")
    assert api.requests == []


async def test_a_server_that_is_away_is_a_cluster_error(tmp_path: Path) -> None:
    """The context and the address are named."""
    with serve(tmp_path) as (_, kubeconfig):
        pass
    with pytest.raises(
        ClusterError, match=r"context fake at http://127.0.0.1:\d+ does not respond: Connection refused"
    ):
        async with KubeCluster("fake", kubeconfig):
            raise AssertionError("it opened")


async def test_node_commands_get_the_node_and_what_to_do(fake: tuple[FakeApi, str], tmp_path: Path) -> None:
    """{node} and {action}; a command that only stops cannot start, one that fails is an error with its words."""
    api, kubeconfig = fake
    api.say("GET /api/v1/nodes/n", ok({"metadata": {"name": "n"}}))
    wrote = tmp_path / "said"
    async with KubeCluster("fake", kubeconfig, node_command=f"echo {{action}} {{node}} >> {wrote}") as cluster:
        assert await cluster.provide("stop-node") == ""
        await cluster.stop_node("n")
        await cluster.start_node("n")
        with pytest.raises(NotFound):
            await cluster.stop_node("m")
    assert wrote.read_text() == "stop n\nstart n\n"
    async with KubeCluster("fake", kubeconfig, node_command="echo no {node} >&2; exit 1") as cluster:
        with pytest.raises(ClusterError, match="node n") as caught:
            await cluster.stop_node("n")
        assert "no n" in caught.value.hint
        with pytest.raises(ClusterError, match="by hand"):
            await cluster.start_node("n")
    async with KubeCluster("fake", kubeconfig) as cluster:
        assert "--node-command" in await cluster.provide("stop-node")
        with pytest.raises(UsageError, match="image") as no_image:
            await cluster.images()
        assert "--image" in no_image.value.hint
    with pytest.raises(UsageError, match="node"):
        KubeCluster("fake", kubeconfig, node_command="poweroff")
