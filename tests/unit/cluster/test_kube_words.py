"""What an API server's answers, paths and kinds mean: everything about it that needs no server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hazd.cluster.choose import images_from, open_cluster
from hazd.cluster.kinds import BUILT_IN, Resource
from hazd.cluster.kube.discovery import find_resource, preferred_versions
from hazd.cluster.kube.errors import Refused, Unreachable, error_of, eviction_of, proxy_error
from hazd.cluster.kube.logs import is_over
from hazd.errors import AlreadyExists, ClusterError, Conflict, NotFound, UsageError
from hazd.model import Ref


def status(code: int, reason: str, message: str, **more: Any) -> bytes:
    found = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason}
    return json.dumps({**found, "message": message, **more}).encode()


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (404, "NotFound", NotFound),
        (409, "AlreadyExists", AlreadyExists),
        (409, "Conflict", Conflict),
        (422, "Invalid", Refused),
        (500, "InternalError", Refused),
    ],
)
def test_a_status_becomes_one_error_with_the_servers_words(
    code: int, reason: str, expected: type[ClusterError]
) -> None:
    """Field and value are in the server's message; it becomes one line."""
    message = 'Deployment.apps "web" is invalid:\n  spec.replicas: Invalid value: -1: must be >= 0'
    error = error_of(code, status(code, reason, message), "create deployment/web")
    assert type(error) is expected
    assert 'Deployment.apps "web" is invalid: spec.replicas: Invalid value: -1: must be >= 0' in error.message
    assert "\n" not in error.message


def test_what_is_no_status_is_still_one_line() -> None:
    """A load balancer's page, an empty body; the request is named."""
    assert (
        error_of(502, b"<html>\nBad Gateway\n</html>", "get pod/a").message == "get pod/a: <html> Bad Gateway </html>"
    )
    assert error_of(500, b"", "get pod/a").message == "get pod/a: HTTP 500"
    assert len(error_of(500, b"x" * 10_000, "get pod/a").message) < 700
    assert isinstance(error_of(404, b"404 page not found", "get /apis/x"), NotFound)


def test_a_wish_to_wait_is_kept() -> None:
    """Retry-After in seconds; a date in its place is passed over."""
    error = error_of(429, b"Too many requests", "list Pod", "3")
    assert isinstance(error, Refused)
    assert (error.status, error.retry_after_s) == (429, 3.0)
    dated = error_of(429, b"", "list Pod", "Fri, 20 Nov 2026 10:00:00 GMT")
    assert isinstance(dated, Refused)
    assert dated.retry_after_s is None


def test_a_missing_right_has_a_remedy() -> None:
    """Forbidden by RBAC is another thing than forbidden by admission."""
    rbac = error_of(
        403, status(403, "Forbidden", 'pods is forbidden: User "u" cannot list resource "pods"'), "list Pod"
    )
    assert "can-i" in rbac.hint
    quota = error_of(403, status(403, "Forbidden", 'pods "a" is forbidden: exceeded quota: q'), "create pod/a")
    assert quota.hint == ""


def test_a_budgets_no_is_an_answer_an_overload_is_not() -> None:
    """Both are 429; only the first has the cause DisruptionBudget."""
    blocked = status(
        429,
        "TooManyRequests",
        "Cannot evict pod as it would violate the pod's disruption budget.",
        details={
            "causes": [{"reason": "DisruptionBudget", "message": "The disruption budget web needs 2 healthy pods"}]
        },
    )
    answer = eviction_of(429, blocked)
    assert answer is not None
    assert answer.allowed is False
    assert answer.message.endswith("disruption budget. The disruption budget web needs 2 healthy pods")
    assert eviction_of(429, b"Too many requests, please try again later.") is None
    assert eviction_of(404, status(404, "NotFound", 'pods "a" not found')) is None
    accepted = eviction_of(201, b"{}")
    assert accepted is not None
    assert accepted.allowed is True


def test_the_proxys_own_errors_are_told_from_the_pods_answers() -> None:
    """A pod may answer with any status and body; the API server's words have their own form."""
    unreached = status(
        503, "ServiceUnavailable", "error trying to reach service: dial tcp 10.0.0.7:80: connect: refused"
    )
    assert isinstance(proxy_error(503, unreached, "a"), Unreachable)
    assert isinstance(proxy_error(503, b"error trying to reach service: EOF", "a"), Unreachable)
    missing = status(404, "NotFound", 'pods "a" not found', details={"name": "a", "kind": "pods"})
    assert isinstance(proxy_error(404, missing, "a"), NotFound)
    forbidden = status(403, "Forbidden", 'pods "a" is forbidden: User "u" cannot create resource "pods/proxy"')
    assert isinstance(proxy_error(403, forbidden, "a"), ClusterError)
    for code, body in ((200, unreached), (404, b"not found"), (503, b'{"error": "busy"}'), (500, b"")):
        assert proxy_error(code, body, "a") is None


def test_paths_are_those_of_the_api_reference() -> None:
    """Core and named groups, cluster-wide kinds, subresources, the pod proxy's name:port."""
    assert BUILT_IN["Pod"].object_path(Ref("Pod", "a", "n")) == "/api/v1/namespaces/n/pods/a"
    assert BUILT_IN["Pod"].object_path(Ref("Pod", "a:80", "n"), "proxy") == "/api/v1/namespaces/n/pods/a:80/proxy"
    assert BUILT_IN["Pod"].path() == "/api/v1/pods"
    assert BUILT_IN["Node"].object_path(Ref("Node", "a")) == "/api/v1/nodes/a"
    assert BUILT_IN["Namespace"].object_path(Ref("Namespace", "n", "n")) == "/api/v1/namespaces/n"
    scale = BUILT_IN["Deployment"].object_path(Ref("Deployment", "w", "n"), "scale")
    assert scale == "/apis/apps/v1/namespaces/n/deployments/w/scale"
    slices = BUILT_IN["EndpointSlice"].path("n")
    assert slices == "/apis/discovery.k8s.io/v1/namespaces/n/endpointslices"
    assert BUILT_IN["NetworkPolicy"].plural == "networkpolicies"
    assert BUILT_IN["Ingress"].plural == "ingresses"
    assert BUILT_IN["PriorityClass"].plural == "priorityclasses"
    with pytest.raises(ClusterError, match="namespace"):
        BUILT_IN["Pod"].object_path(Ref("Pod", "a"))


def test_a_name_cannot_leave_its_path() -> None:
    """What a user types is one path segment, whatever is in it."""
    assert (
        BUILT_IN["Pod"].object_path(Ref("Pod", "../x?a=b", "n/../m"))
        == "/api/v1/namespaces/n%2F..%2Fm/pods/..%2Fx%3Fa%3Db"
    )


def test_discovery_finds_a_kind_and_not_its_subresource() -> None:
    """Subresources list their parent's kind, too, or another one."""
    group = {
        "groupVersion": "autoscaling.k8s.io/v1",
        "resources": [
            {"name": "verticalpodautoscalers/status", "kind": "VerticalPodAutoscaler", "namespaced": True},
            {"name": "verticalpodautoscalers", "kind": "VerticalPodAutoscaler", "namespaced": True},
        ],
    }
    expected = Resource("VerticalPodAutoscaler", "autoscaling.k8s.io/v1", "verticalpodautoscalers")
    assert find_resource(group, "VerticalPodAutoscaler") == expected
    assert find_resource(group, "Other") is None
    groups = {"groups": [{"name": "a", "preferredVersion": {"groupVersion": "a/v2", "version": "v2"}}]}
    assert preferred_versions(groups) == ["a/v2"]


def container(state: dict[str, Any], policy: str = "Always", phase: str = "Running", **meta: Any) -> dict[str, Any]:
    statuses = [{"name": "app", "state": state}]
    return {
        "metadata": meta,
        "spec": {"restartPolicy": policy},
        "status": {"phase": phase, "containerStatuses": statuses},
    }


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        (container({"running": {}}), False),
        (container({"waiting": {}}, phase="Pending"), False),
        (container({"terminated": {"exitCode": 0}}), False),
        (container({"terminated": {"exitCode": 1}}, deletionTimestamp="2026-11-20T10:00:00Z"), True),
        (container({"terminated": {"exitCode": 1}}, "Never"), True),
        (container({"terminated": {"exitCode": 1}}, "OnFailure"), False),
        (container({"terminated": {"exitCode": 0}}, "OnFailure"), True),
        (container({"terminated": {"exitCode": 1}}, phase="Failed"), True),
        (container({"running": {}}, deletionTimestamp="2026-11-20T10:00:00Z"), False),
    ],
)
def test_a_log_is_over_when_its_container_will_not_start_again(pod: dict[str, Any], expected: bool) -> None:
    """restartPolicy, exit code and deletion decide (Pod lifecycle, "Container restart policy")."""
    assert is_over(pod, "app") is expected


@pytest.mark.anyio
@pytest.mark.parametrize("spec", ["", "kin", "context:", "context", "KIND", "context :x"])
async def test_an_unknown_cluster_is_a_usage_error(spec: str) -> None:
    """The message names what was given and what is known."""
    with pytest.raises(UsageError, match=f"'{spec}'") as caught:
        await open_cluster(spec)
    assert "context:NAME" in caught.value.message


@pytest.mark.anyio
@pytest.mark.parametrize("option", [{"image": "a:1"}, {"node_command": "x {node}"}])
async def test_an_option_that_does_not_fit_is_a_usage_error(option: dict[str, str]) -> None:
    """Nothing is silently ignored."""
    with pytest.raises(UsageError, match="does not fit"):
        await open_cluster("kind", **option)  # type: ignore[arg-type]


def test_one_image_reference_gives_both_tags() -> None:
    """A registry's port is no tag; a digest cannot be rolled to."""
    made = images_from("registry.example:5000/team/hazd:1")
    assert (made.app, made.app_next, made.worker) == (
        "registry.example:5000/team/hazd:1",
        "registry.example:5000/team/hazd:1-next",
        "registry.example:5000/team/hazd:1",
    )
    assert images_from("hazd:1,hazd:2").app_next == "hazd:2"
    assert images_from("hazd/workload:0c1d-a").app_next == "hazd/workload:0c1d-b"
    for bad in ("hazd", "registry.example:5000/hazd", "hazd:", ":1", "hazd@sha256:00", "hazd:1,", "hazd:1,hazd:1", ""):
        with pytest.raises(UsageError, match="--image"):
            images_from(bad)
