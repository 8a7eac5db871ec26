"""Properties of the fixes over generated workloads: idempotent, commuting, pure, and never what the API refuses."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from hazd.fixes import FixSettings, load
from hazd.fixes.disruption_budget import KIND
from hazd.manifests import pod_labels, pod_spec
from hazd.manifests.check import check_document
from hazd.model import Manifest, Setup
from hazd.sample_app.manifests import APP_MODULE

FIXES = load()
LABELS = {"app": "web"}
HOOKS: list[Any] = [
    {},
    {"lifecycle": {}},
    {"lifecycle": {"postStart": {"exec": {"command": ["true"]}}}},
    {"lifecycle": {"preStop": {"sleep": {"seconds": 8}}}},
    {"lifecycle": {"preStop": {"exec": {"command": ["/bin/sleep", "3"]}}}},
    {"lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", "sleep 40"]}}}},
    {"lifecycle": {"preStop": {"exec": {"command": ["nginx", "-s", "quit"]}}}},
    {"lifecycle": {"preStop": {"httpGet": {"path": "/stop", "port": 80}}}},
]
PROBES: list[Any] = [{}, {"readinessProbe": {"tcpSocket": {"port": 1}}}, {"startupProbe": {"tcpSocket": {"port": 1}}}]
NEAR = {"labelSelector": {"matchLabels": LABELS}, "topologyKey": "kubernetes.io/hostname"}
AFFINITIES: list[Any] = [
    {},
    {"affinity": {}},
    {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [NEAR]}}},
    {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [NEAR]}}},
]
ENVS = st.lists(
    st.sampled_from(["A", "HAZD_ON_SIGTERM", "HAZD_STARTUP_DELAY_S", "HAZD_SHUTDOWN_TIMEOUT_S", "HAZD_Z"]), unique=True
).map(lambda names: [{"name": name, "value": "12"} for name in names])
PORTS: list[Any] = [{}, {"ports": [{"containerPort": 8080}]}, {"ports": [{"name": "http", "containerPort": 3000}]}]


@st.composite
def containers(draw: st.DrawFn, name: str) -> dict[str, Any]:
    sample = draw(st.booleans())
    return {
        "name": name,
        "image": "some/image",
        **({"command": ["python3", "-m", APP_MODULE], "env": draw(ENVS)} if sample else {}),
        **draw(st.sampled_from(HOOKS)),
        **draw(st.sampled_from(PROBES)),
        **draw(st.sampled_from(PORTS)),
    }


@st.composite
def setups(draw: st.DrawFn) -> Setup:
    names = draw(st.sampled_from([("web",), ("side", "web")]))
    pod: dict[str, Any] = {"containers": [draw(containers(name)) for name in names]}
    pod |= draw(st.sampled_from(AFFINITIES))
    pod |= draw(st.sampled_from([{}, {"terminationGracePeriodSeconds": 45}, {"terminationGracePeriodSeconds": 0}]))
    spec: dict[str, Any] = {
        "selector": {"matchLabels": LABELS},
        "template": {"metadata": {"labels": LABELS}, "spec": pod},
    }
    spec |= draw(st.sampled_from([{}, {"minReadySeconds": 9}, {"progressDeadlineSeconds": 4}]))
    kind = draw(st.sampled_from(["Deployment", "StatefulSet"]))
    documents: list[Manifest] = [{"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "web"}, "spec": spec}]
    if draw(st.booleans()):
        port = draw(
            st.sampled_from([{"port": 80}, {"port": 80, "targetPort": "http"}, {"port": 80, "targetPort": 8080}])
        )
        service = {"selector": LABELS, "ports": [port]}
        documents.insert(0, {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": service})
    if draw(st.booleans()):
        budget = {"maxUnavailable": 2, "selector": {"matchLabels": draw(st.sampled_from([LABELS, {"app": "other"}]))}}
        documents.append({"apiVersion": "policy/v1", "kind": KIND, "metadata": {"name": "web"}, "spec": budget})
    return Setup(tuple(documents), native_sleep=draw(st.booleans()))


SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "prestop_s": st.integers(1, 60),
        "grace_s": st.integers(0, 100),
        "shutdown_s": st.integers(0, 60),
        "readiness_path": st.just("/ready"),
        "readiness_port": st.sampled_from([8080, "http"]),
        "readiness_period_s": st.integers(1, 30),
        "pdb_max_unavailable": st.sampled_from([1, "2", "25%"]),
        "anti_affinity": st.sampled_from(["preferred", "required"]),
        "topology_key": st.sampled_from(["kubernetes.io/hostname", "topology.kubernetes.io/zone"]),
        "recycle_after": st.integers(1, 5000),
        "min_ready_s": st.integers(1, 900),
    },
)
ORDERS = st.permutations(list(FIXES)).flatmap(lambda names: st.integers(0, len(names)).map(lambda cut: names[:cut]))


def containers_of(doc: Manifest) -> list[dict[str, Any]]:
    return list(pod_spec(doc)["containers"]) if "template" in doc["spec"] else []


def applied(setup: Setup, names: list[str], values: dict[str, Any]) -> Setup:
    for name in names:
        setup, _ = FIXES[name].apply(setup, FixSettings(**values))
    return setup


def lowered() -> Setup:
    """A sample app that waits longer for its last requests than the settings ask for."""
    env = [{"name": "HAZD_SHUTDOWN_TIMEOUT_S", "value": "12"}]
    item = {"name": "web", "image": "some/image", "command": ["python3", "-m", APP_MODULE], "env": env}
    template = {"metadata": {"labels": LABELS}, "spec": {"containers": [item]}}
    spec = {"selector": {"matchLabels": LABELS}, "template": template}
    return Setup(({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec},))


@given(setup=setups(), values=SETTINGS, names=ORDERS)
@example(setup=lowered(), values={"prestop_s": 18, "shutdown_s": 0}, names=["graceful-shutdown", "prestop"])
@settings(deadline=None)
def test_the_order_of_fixes_does_not_matter(setup: Setup, values: dict[str, Any], names: list[str]) -> None:
    """Any set of fixes gives one result, in whatever order they come."""
    in_order = [name for name in FIXES if name in names]
    assert applied(setup, names, values) == applied(setup, in_order, values)


@given(setup=setups(), values=SETTINGS, names=ORDERS)
@settings(deadline=None)
def test_a_second_time_changes_nothing(setup: Setup, values: dict[str, Any], names: list[str]) -> None:
    """Applying the same fixes again gives the same setup, and the first time did not touch what it was given."""
    before = copy.deepcopy(setup)
    once = applied(setup, names, values)
    assert setup == before
    assert applied(once, names, values) == once


@given(setup=setups(), values=SETTINGS, names=ORDERS)
@settings(deadline=None)
def test_what_comes_out_the_api_takes(setup: Setup, values: dict[str, Any], names: list[str]) -> None:
    """No native sleep beyond the grace period, no minReadySeconds beyond the deadline, one budget a pod at most."""
    documents = applied(setup, names, values).documents
    assert not [problem for doc in documents for problem in check_document(doc)]
    workload = next(doc for doc in documents if doc["kind"] in ("Deployment", "StatefulSet"))
    given_hooks = {item["name"]: item.get("lifecycle") for doc in setup.documents for item in containers_of(doc)}
    for item in containers_of(workload):
        hook = (item.get("lifecycle") or {}).get("preStop", {})
        if "prestop" in names and "sleep" in hook and item["lifecycle"] != given_hooks[item["name"]]:
            assert 0 < hook["sleep"]["seconds"] <= pod_spec(workload).get("terminationGracePeriodSeconds", 30)
    if "min-ready-seconds" in names and workload["kind"] == "Deployment":
        assert workload["spec"].get("progressDeadlineSeconds", 600) > workload["spec"]["minReadySeconds"]
    budgets = [doc for doc in documents if doc["kind"] == KIND]
    assert sum(doc["spec"]["selector"]["matchLabels"].items() <= pod_labels(workload).items() for doc in budgets) <= 1
    assert len({doc["metadata"]["name"] for doc in budgets}) == len(budgets)


@given(setup=setups(), values=SETTINGS)
@settings(deadline=None)
def test_nothing_is_lowered_unless_asked(setup: Setup, values: dict[str, Any]) -> None:
    """Grace period and minReadySeconds only grow, except that grace_s is taken word for word."""
    before = next(doc for doc in setup.documents if doc["kind"] in ("Deployment", "StatefulSet"))
    after = next(doc for doc in applied(setup, list(FIXES), values).documents if doc["kind"] == before["kind"])
    old, new = (pod_spec(doc).get("terminationGracePeriodSeconds", 30) for doc in (before, after))
    assert new == values["grace_s"] if "grace_s" in values else new >= old
    assert after["spec"]["minReadySeconds"] >= before["spec"].get("minReadySeconds", 0)


@given(setup=setups())
@settings(deadline=None)
def test_a_reason_means_no_change(setup: Setup) -> None:
    """Where `why_not` gives a reason, `apply` with the defaults leaves the documents as they are."""
    for name in FIXES:
        if FIXES[name].why_not(setup, FixSettings()):
            assert FIXES[name].apply(setup, FixSettings())[0].documents == setup.documents
