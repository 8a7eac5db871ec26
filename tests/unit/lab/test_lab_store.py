"""The store and the API server's door: versions, patches, deletion, defaults, refusals, events."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazd.cluster.lab import pod_defaults
from hazd.cluster.lab.objects import parse_selector, selects, template_hash, tolerates, with_condition
from hazd.cluster.lab.options import LabOptions
from hazd.cluster.lab.store import Change, Store, merge
from hazd.errors import AlreadyExists, ClusterError, Conflict, NotFound, UsageError
from hazd.model import Manifest, Ref

from .bench import container, deployment, pod, service

SECOND = 1_000_000_000


class Clock:
    def __init__(self) -> None:
        self.ns = 1_800_000_000 * SECOND

    def __call__(self) -> int:
        return self.ns


@pytest.fixture
def store() -> Store:
    made = Store(Clock())
    made.create({"kind": "Namespace", "metadata": {"name": "t"}})
    return made


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(json_values, json_values)
def test_a_merge_patch_is_idempotent_and_leaves_its_target_alone(target: Any, patch: Any) -> None:
    """RFC 7396: applied twice it changes nothing more, and what was shared is not changed in place."""
    before = repr(target)
    once = merge(target, patch)
    assert merge(once, patch) == once
    assert repr(target) == before


def test_rfc_7396_by_its_own_examples() -> None:
    """Appendix A of the RFC."""
    cases: list[tuple[Any, Any, Any]] = [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ]
    for target, patch, wanted in cases:
        assert merge(target, patch) == wanted


def test_versions_and_generations(store: Store) -> None:
    """Every change is a new version, a change of the spec a new generation, no change neither."""
    made = store.create(deployment(1))
    ref = Ref("Deployment", "app", "t")
    assert made["metadata"]["generation"] == 1
    labelled = store.patch(ref, {"metadata": {"labels": {"x": "y"}}})
    scaled = store.patch(ref, {"spec": {"replicas": 2}})
    same = store.patch(ref, {"spec": {"replicas": 2}})
    versions = [int(each["metadata"]["resourceVersion"]) for each in (made, labelled, scaled)]
    assert versions == sorted(set(versions))
    assert [each["metadata"]["generation"] for each in (labelled, scaled)] == [1, 2]
    assert same is scaled
    changed = store.patch(ref, {"spec": {"replicas": 9}, "status": {"replicas": 1}}, "status")
    assert changed["spec"]["replicas"] == 2
    assert (changed["status"]["replicas"], changed["metadata"]["generation"]) == (1, 2)


def test_metadata_that_no_client_changes(store: Store) -> None:
    """A patch of uid, name or creation time changes nothing."""
    made = store.create(service())
    meta = {"uid": "x", "name": "y", "creationTimestamp": "z", "generation": 77}
    patched = store.patch(Ref("Service", "app", "t"), {"metadata": meta})
    assert patched["metadata"]["uid"] == made["metadata"]["uid"]
    assert patched["metadata"]["name"] == "app"


def test_names_conflicts_and_what_is_missing(store: Store) -> None:
    """Errors are the port's, with the resource's own name."""
    made = store.create(deployment(0))
    ref = Ref("Deployment", "app", "t")
    with pytest.raises(AlreadyExists, match=r'deployments.apps "app" already exists'):
        store.create(deployment(0))
    store.patch(ref, {"metadata": {"labels": {"n": "1"}}})
    with pytest.raises(Conflict, match="the object has been modified"):
        store.patch(ref, {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "spec": {}})
    with pytest.raises(NotFound, match='pods "x" not found'):
        store.get(Ref("Pod", "x", "t"))
    with pytest.raises(NotFound, match='namespaces "nope" not found'):
        store.create({**service(), "metadata": {"name": "s", "namespace": "nope"}})
    with pytest.raises(ClusterError, match="serves no kind 'CronJob'"):
        store.create({"kind": "CronJob", "metadata": {"name": "x"}})
    assert store.delete(Ref("Service", "nobody", "t")) is False


def test_changes_are_told_in_order(store: Store) -> None:
    """ADDED, MODIFIED, DELETED with rising versions, until the listener is taken off."""
    seen: list[Change] = []
    stop = store.on_change(seen.append)
    store.create(service())
    store.patch(Ref("Service", "app", "t"), {"metadata": {"labels": {"a": "b"}}})
    store.delete(Ref("Service", "app", "t"))
    stop()
    store.create(service())
    assert [change.what for change in seen] == ["ADDED", "MODIFIED", "DELETED"]
    versions = [int(change.obj["metadata"]["resourceVersion"]) for change in seen]
    assert versions == sorted(set(versions))


def test_a_running_pod_is_deleted_gracefully(store: Store) -> None:
    """deletionTimestamp is now plus the grace; unscheduled, finished and grace 0 go at once; uid guards."""
    made = store.create(pod(nodeName="n", terminationGracePeriodSeconds=40))
    ref = Ref("Pod", "one", "t")
    assert store.delete(ref, uid="another") is False
    assert store.delete(ref) is True
    meta = store.get(ref)["metadata"]
    assert meta["deletionGracePeriodSeconds"] == 40
    assert meta["deletionTimestamp"] == "2027-01-15T08:00:40Z"
    assert store.delete(ref, 0) is True
    assert store.find(ref) is None
    store.create(pod())
    store.delete(ref)
    assert store.find(ref) is None
    finished = store.create(pod(nodeName="n"))
    store.set_status(finished, {"phase": "Failed"})
    store.delete(ref)
    assert store.find(ref) is None
    assert made["metadata"]["uid"] != finished["metadata"]["uid"]


def test_finalizers_hold_an_object(store: Store) -> None:
    """Deleted, it waits with a deletionTimestamp until the last finalizer is taken off."""
    doc = service()
    doc["metadata"]["finalizers"] = ["example.org/wait"]
    store.create(doc)
    ref = Ref("Service", "app", "t")
    store.delete(ref)
    assert "deletionTimestamp" in store.get(ref)["metadata"]
    store.patch(ref, {"metadata": {"finalizers": None}})
    assert store.find(ref) is None


def test_defaults_as_the_api_server_fills_them(store: Store) -> None:
    """Deployment, Pod, Service and probes."""
    spec = store.create(deployment(1))["spec"]
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}
    assert (spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (10, 600)
    probe = {"httpGet": {"port": 80}}
    spec = store.create(pod("one", container(readinessProbe=probe)))["spec"]
    assert (spec["restartPolicy"], spec["terminationGracePeriodSeconds"]) == ("Always", 30)
    filled = spec["containers"][0]["readinessProbe"]
    assert (filled["periodSeconds"], filled["timeoutSeconds"], filled["failureThreshold"]) == (10, 1, 3)
    assert {each["tolerationSeconds"] for each in spec["tolerations"]} == {300}
    made = store.create(service(ports=[{"port": 80}]))
    assert made["spec"]["clusterIP"].startswith("10.96.")
    assert made["spec"]["ports"] == [{"port": 80, "targetPort": 80, "protocol": "TCP"}]


def test_cluster_addresses_are_unique(store: Store) -> None:
    """However many services there are."""
    made = [store.create({**service(), "metadata": {"name": f"s{n}", "namespace": "t"}}) for n in range(300)]
    assert len({each["spec"]["clusterIP"] for each in made}) == 300


def _changed(doc: Manifest, path: str, value: Any) -> Manifest:
    *way, last = path.split(".")
    spot: Any = doc
    for name in way:
        spot = spot[int(name) if name.isdigit() else name]
    spot[last] = value
    return doc


HOOK = {"preStop": {"sleep": {"seconds": 31}}}


@pytest.mark.parametrize(
    ("doc", "words"),
    [
        (_changed(deployment(), "spec.replicas", -1), r"spec\.replicas.*-1"),
        (_changed(deployment(), "metadata.name", "Bad_Name"), r"metadata\.name.*Bad_Name"),
        (_changed(deployment(), "spec.selector", {"matchLabels": {"app": "other"}}), r"spec\.selector\.matchLabels"),
        (deployment(strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}), "may not be 0"),
        (deployment(strategy={"type": "Sideways"}), "Sideways"),
        (_changed(deployment(), "spec.template.spec.containers.0.command", None), "runs no images"),
        (pod("one", container(lifecycle=HOOK)), r"sleep\.seconds.*31"),
        (pod("one", container(readinessProbe={"httpGet": {"port": 1}, "exec": {}})), "exactly one of"),
        (pod("one", container(livenessProbe={"tcpSocket": {"port": 1}, "successThreshold": 2})), "must be 1"),
        (pod("one", container(readinessProbe={"httpGet": {"port": 1, "scheme": "FTP"}})), "HTTP or HTTPS"),
        (pod("one", volumes=[{"name": "v", "hostPath": {"path": "/"}}]), "emptyDir volumes only"),
        (pod("one", container(volumeMounts=[{"name": "v", "mountPath": "/v"}])), "no such volume"),
        (
            {
                "kind": "PodDisruptionBudget",
                "metadata": {"name": "b", "namespace": "t"},
                "spec": {"selector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}},
            },
            "matchExpressions.*Like",
        ),
        (
            {
                "kind": "HorizontalPodAutoscaler",
                "metadata": {"name": "h", "namespace": "t"},
                "spec": {
                    "scaleTargetRef": {"kind": "Deployment", "name": "app"},
                    "maxReplicas": 3,
                    "metrics": [{"type": "Pods"}],
                },
            },
            "cpu only",
        ),
        ({"kind": "VerticalPodAutoscaler", "metadata": {"name": "v", "namespace": "t"}, "spec": {}}, "targetRef"),
        (_changed(pod(), "spec.containers", ["nonsense"]), "is invalid"),
        (service(type="NodePort"), "ClusterIP services only"),
        (service(clusterIP="10.1.1.1"), "not in the valid range"),
        ({"kind": "Service", "metadata": {"name": "s", "namespace": "t"}}, "spec"),
        ({"kind": "Deployment", "apiVersion": "extensions/v1beta1", "metadata": {"name": "x"}}, "no matches for kind"),
        ({"kind": "Pod", "metadata": {"namespace": "t"}}, "name or generateName"),
    ],
)
def test_what_is_refused_says_field_and_value(store: Store, doc: Manifest, words: str) -> None:
    """One line, and nothing is stored."""
    before = len(list(store.everything()))
    with pytest.raises(ClusterError, match=words) as caught:
        store.create(doc)
    assert "\n" not in caught.value.message
    assert len(list(store.everything())) == before


def test_what_may_change_of_a_pod(store: Store) -> None:
    """Images by an update, resources by the resize subresource, nothing else."""
    store.create(pod("one", container(resources={"requests": {"cpu": "1"}})))
    ref = Ref("Pod", "one", "t")
    [now] = store.get(ref)["spec"]["containers"]
    store.patch(ref, {"spec": {"containers": [{**now, "image": "b"}]}})
    bigger = {**now, "image": "b", "resources": {"requests": {"cpu": "2"}}}
    with pytest.raises(ClusterError, match="Forbidden"):
        store.patch(ref, {"spec": {"containers": [bigger]}})
    store.patch(ref, {"spec": {"containers": [bigger]}}, "resize")
    with pytest.raises(ClusterError, match="Forbidden"):
        store.patch(ref, {"spec": {"nodeName": "elsewhere"}}, "resize")


def test_the_same_event_is_counted(store: Store) -> None:
    """One object with a count, not one object a time."""
    about = store.create(pod())
    for _ in range(3):
        store.event(about, "Warning", "Unhealthy", "Readiness probe failed", "kubelet")
    store.event(about, "Warning", "Unhealthy", "something else", "kubelet")
    counts = sorted(each["count"] for each in store.list("Event", "t"))
    assert counts == [1, 3]


def test_selectors() -> None:
    """Equality from text; matchLabels and matchExpressions from objects."""
    assert parse_selector(" a=b , c==d ") == {"a": "b", "c": "d"}
    assert parse_selector("") == {}
    for bad in ("a", "a!=b", "a in (b)"):
        with pytest.raises(ValueError, match="only a=b"):
            parse_selector(bad)
    obj = {"metadata": {"labels": {"a": "1", "b": "2"}}}

    def says(operator: str, key: str, *values: str) -> bool:
        return selects({"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}, obj)

    assert says("In", "a", "1", "9")
    assert not says("In", "z", "1")
    assert says("NotIn", "z", "1")
    assert says("Exists", "a")
    assert says("DoesNotExist", "z")
    assert not selects(None, obj)
    assert selects({}, obj)


def test_tolerations_match_as_kubernetes_says() -> None:
    """Equal and Exists, empty key and empty effect."""
    taint = {"key": "k", "value": "v", "effect": "NoExecute"}
    assert tolerates([{"operator": "Exists"}], taint)
    assert tolerates([{"key": "k", "operator": "Equal", "value": "v", "effect": "NoExecute"}], taint)
    assert tolerates([{"key": "k", "value": "other"}], taint) is None
    assert tolerates([{"key": "k", "operator": "Exists", "effect": "NoSchedule"}], taint) is None
    added = pod_defaults.tolerations([{"operator": "Exists"}], 300)
    assert added == [{"operator": "Exists"}]


def test_a_conditions_time_moves_with_its_status_only() -> None:
    """Another reason keeps lastTransitionTime."""
    first = with_condition([], "Ready", "False", "A", "", "t1")
    second = with_condition(first, "Ready", "False", "B", "", "t2")
    third = with_condition(second, "Ready", "True", "", "", "t3")
    assert [each[0]["lastTransitionTime"] for each in (first, second, third)] == ["t1", "t1", "t3"]


@given(st.permutations(["a", "b", "c", "d"]))
def test_a_template_hash_does_not_depend_on_the_order_of_keys(order: list[str]) -> None:
    """Else a re-applied manifest would be a rollout."""
    assert template_hash({key: key for key in order}) == template_hash({key: key for key in "abcd"})


@pytest.mark.parametrize("options", [{"nodes": 0}, {"propagation_delay_s": -1.0}, {"container_start_s": float("nan")}])
def test_bad_options_are_a_usage_error(options: dict[str, Any]) -> None:
    """Before anything is made."""
    with pytest.raises(UsageError):
        LabOptions(**options)


def test_nodes_are_named_as_kind_names_them() -> None:
    """NAME-control-plane, NAME-worker, NAME-worker2."""
    assert LabOptions(nodes=3).node_names == ("lab-control-plane", "lab-worker", "lab-worker2")
    assert LabOptions(nodes=1, name="x").node_names == ("x-control-plane",)
