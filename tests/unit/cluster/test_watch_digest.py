"""What a watch keeps of an object, when it happened, and what two listings differ in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazd.cluster.watch import (
    ADDED,
    DELETED,
    MODIFIED,
    difference,
    digest,
    gap_event,
    parse_time_ns,
    ref_of,
    stated_ns,
    watch_event,
)
from hazd.model import Event, Ref

S = 1_000_000_000
T0 = 1_795_168_800 * S  # 2026-11-20T10:00:00Z


def pod(**meta: Any) -> dict[str, Any]:
    return {
        "kind": "Pod",
        "metadata": {
            "name": "web-1",
            "namespace": "shop",
            "uid": "u1",
            "resourceVersion": "7",
            "creationTimestamp": "2026-11-20T10:00:00Z",
            "labels": {"app": "web"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web-abc", "uid": "u0"}],
            "annotations": {"big": "x" * 1000},
            **meta,
        },
        "spec": {
            "nodeName": "n1",
            "terminationGracePeriodSeconds": 30,
            "containers": [{"name": "app", "image": "app:1", "env": [{"name": "SECRET", "value": "x"}]}],
        },
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.7",
            "hostIP": "172.18.0.2",
            "conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-20T10:00:05Z", "lastProbeTime": None}
            ],
            "containerStatuses": [
                {
                    "name": "app",
                    "ready": True,
                    "started": True,
                    "restartCount": 0,
                    "state": {"running": {}},
                    "image": "i",
                }
            ],
            "qosClass": "BestEffort",
        },
    }


def test_a_pod_keeps_what_analysis_reads_and_no_more() -> None:
    """Node, addresses, conditions, container states, images; no environment, no annotations."""
    kept = digest(pod())
    assert kept == {
        "kind": "Pod",
        "name": "web-1",
        "namespace": "shop",
        "uid": "u1",
        "resourceVersion": "7",
        "creationTimestamp": "2026-11-20T10:00:00Z",
        "labels": {"app": "web"},
        "ownerReferences": ["web-abc"],
        "spec": {"nodeName": "n1", "terminationGracePeriodSeconds": 30, "images": {"app": "app:1"}},
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.7",
            "hostIP": "172.18.0.2",
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-20T10:00:05Z"}],
            "containerStatuses": [
                {"name": "app", "ready": True, "started": True, "restartCount": 0, "state": {"running": {}}}
            ],
        },
    }


def test_false_and_zero_are_kept() -> None:
    """An unready container and a first restart count are facts, not emptiness."""
    obj = pod()
    obj["status"]["containerStatuses"][0] |= {"ready": False, "started": False}
    status = digest(obj)["status"]["containerStatuses"][0]
    assert (status["ready"], status["started"], status["restartCount"]) == (False, False, 0)


def test_an_endpoint_slice_keeps_its_endpoints() -> None:
    """Addresses, the three conditions, the pod's name and node, ports and the Service."""
    conditions = {"ready": False, "serving": True, "terminating": True}
    kept = digest(
        {
            "kind": "EndpointSlice",
            "metadata": {
                "name": "web-x",
                "labels": {"kubernetes.io/service-name": "web"},
                "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": "2026-11-20T10:00:00Z"},
            },
            "endpoints": [
                {
                    "addresses": ["10.0.0.7"],
                    "conditions": conditions,
                    "nodeName": "n1",
                    "targetRef": {"kind": "Pod", "name": "web-1", "uid": "u1"},
                    "zone": "a",
                }
            ],
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP", "appProtocol": None}],
        }
    )
    endpoint = {"addresses": ["10.0.0.7"], "conditions": conditions, "targetRef": {"name": "web-1"}, "nodeName": "n1"}
    assert kept["endpoints"] == [endpoint]
    assert kept["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
    assert kept["service"] == "web"
    assert kept["triggerTime"] == "2026-11-20T10:00:00Z"


def test_a_node_keeps_its_cordon_taints_and_readiness() -> None:
    """Pressure conditions and images are left out."""
    kept = digest(
        {
            "kind": "Node",
            "metadata": {"name": "n1"},
            "spec": {"unschedulable": True, "taints": [{"key": "k", "effect": "NoSchedule"}], "podCIDR": "10.0.0.0/24"},
            "status": {
                "conditions": [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": "Unknown"}],
                "images": [{}],
            },
        }
    )
    assert kept["spec"] == {"unschedulable": True, "taints": [{"key": "k", "effect": "NoSchedule"}]}
    assert kept["status"] == {"conditions": [{"type": "Ready", "status": "Unknown"}]}


def test_a_deployment_keeps_replicas_and_status_a_budget_both_whole() -> None:
    """The template is in the manifests already; a PodDisruptionBudget is small."""
    status = {"replicas": 3, "availableReplicas": 0}
    made = {
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"replicas": 0, "template": {}},
        "status": status,
    }
    assert digest(made)["spec"] == {"replicas": 0}
    assert digest(made)["status"] == status
    budget = {"kind": "PodDisruptionBudget", "metadata": {"name": "web"}, "spec": {"minAvailable": 1}, "status": status}
    assert digest(budget)["spec"] == {"minAvailable": 1}


def test_secrets_never_reach_a_journal() -> None:
    """Neither does a ConfigMap's content."""
    for kind in ("Secret", "ConfigMap"):
        assert digest({"kind": kind, "metadata": {"name": "s"}, "data": {"k": "djE="}}) == {"kind": kind, "name": "s"}


def test_an_event_keeps_its_words_and_whom_they_are_about() -> None:
    """Old and new style events name their component in different places."""
    old = {
        "kind": "Event",
        "metadata": {"name": "web-1.1"},
        "reason": "Unhealthy",
        "type": "Warning",
        "message": "Readiness probe failed",
        "count": 2,
        "source": {"component": "kubelet"},
        "reportingComponent": "",
        "involvedObject": {"kind": "Pod", "name": "web-1", "namespace": "shop", "uid": "u1"},
        "firstTimestamp": "2026-11-20T10:00:00Z",
        "lastTimestamp": "2026-11-20T10:00:09Z",
        "eventTime": None,
    }
    kept = digest(old)
    assert kept["involvedObject"] == {"kind": "Pod", "name": "web-1", "uid": "u1"}
    assert (kept["reason"], kept["type"], kept["count"]) == ("Unhealthy", "Warning", 2)
    assert kept["reportingComponent"] == "kubelet"
    assert stated_ns(old, ADDED) == T0 + 9 * S
    new = {**old, "eventTime": "2026-11-20T10:00:10.250000Z", "lastTimestamp": None, "firstTimestamp": None}
    assert stated_ns(new, ADDED) == T0 + 10 * S + 250_000_000


def test_the_stated_time_of_a_deletion_is_when_it_was_asked_for() -> None:
    """deletionTimestamp lies grace seconds in the future."""
    going = pod(deletionTimestamp="2026-11-20T10:01:30Z", deletionGracePeriodSeconds=30)
    assert stated_ns(going, MODIFIED) == T0 + 60 * S
    assert stated_ns(going, DELETED) == T0 + 60 * S
    forced = pod(deletionTimestamp="2026-11-20T10:01:30Z", deletionGracePeriodSeconds=0)
    assert stated_ns(forced, DELETED) == T0 + 90 * S


def test_the_stated_time_of_a_change_is_its_latest_write() -> None:
    """managedFields knows who wrote last; without it a change states no time, and a creation its own."""
    fields = [{"manager": "a", "time": "2026-11-20T10:00:03Z"}, {"manager": "kubelet", "time": "2026-11-20T10:00:05Z"}]
    assert stated_ns(pod(managedFields=fields), MODIFIED) == T0 + 5 * S
    assert stated_ns(pod(), MODIFIED) is None
    assert stated_ns(pod(managedFields=fields), ADDED) == T0
    assert stated_ns({"kind": "Pod", "metadata": {"name": "x"}}, DELETED) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-20T10:00:00Z", T0),
        ("2026-11-20T10:00:00.5Z", T0 + S // 2),
        ("2026-11-20T10:00:00.000000001Z", T0 + 1),
        ("2026-11-20T12:00:00.123456789+02:00", T0 + 123_456_789),
        ("1969-12-31T23:59:59Z", -S),
        ("2026-11-20T10:00:00", None),
        ("2026-11-20", None),
        ("2026-13-20T10:00:00Z", None),
        ("unable to retrieve container logs", None),
        ("", None),
        (None, None),
        (17, None),
    ],
)
def test_times_are_read_to_the_nanosecond(text: object, expected: int | None) -> None:
    """RFC 3339 as the API and container runtimes write it; anything else is no time."""
    assert parse_time_ns(text) == expected


NAMES = st.sampled_from(["a", "b", "c", "d"])
LISTING = st.dictionaries(NAMES, st.tuples(st.sampled_from(["u1", "u2"]), st.sampled_from(["1", "2", "3"])))


def listed(names: dict[str, tuple[str, str]]) -> list[dict[str, Any]]:
    return [
        {"kind": "Service", "metadata": {"name": name, "namespace": "n", "uid": uid, "resourceVersion": version}}
        for name, (uid, version) in names.items()
    ]


@given(LISTING, LISTING)
def test_a_difference_leads_from_the_old_to_the_new(
    old: dict[str, tuple[str, str]], new: dict[str, tuple[str, str]]
) -> None:
    """Applied to what was known it gives the new listing, and it says nothing about what did not change."""
    known: dict[Ref, Event] = {ref_of(obj): watch_event(obj, ADDED, 1) for obj in listed(old)}
    state = {ref: (event.detail["uid"], event.detail["resourceVersion"]) for ref, event in known.items()}
    events = difference(known, listed(new), 99)
    for event in events:
        assert event.observed_ns == 99
        if event.reason == DELETED:
            del state[event.ref]
        else:
            assert (event.reason == ADDED) == (event.ref not in state)
            state[event.ref] = (event.detail["uid"], event.detail["resourceVersion"])
    assert {ref.name: value for ref, value in state.items()} == new
    assert {event.ref.name for event in events} == {name for name in {*old, *new} if old.get(name) != new.get(name)}


def test_what_was_deleted_behind_our_back_keeps_its_last_known_state() -> None:
    """The digest is the last one seen, and a deletion that was under way states its time."""
    going = pod(deletionTimestamp="2026-11-20T10:01:30Z", deletionGracePeriodSeconds=30)
    [event] = difference({ref_of(going): watch_event(going, MODIFIED, 1)}, [], 50)
    assert (event.reason, event.observed_ns, event.stated_ns) == (DELETED, 50, T0 + 60 * S)
    assert event.detail["status"]["podIP"] == "10.0.0.7"


def test_a_gap_says_from_when_to_when() -> None:
    """Both ends are on our clock, and the reference names the kind only."""
    gap = gap_event("Pod", "shop", 5, 9, "refused")
    assert (gap.reason, gap.ref, gap.observed_ns) == ("GAP", Ref("Pod", "", "shop"), 9)
    assert gap.detail == {"from_ns": 5, "to_ns": 9, "text": "refused"}
