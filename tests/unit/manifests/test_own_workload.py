"""The user's own manifests as what is tested: what is taken, what is left out, and what never leaves the namespace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hazd.cli.matrix import SlowStart
from hazd.cli.options import AppOptions, ClusterOptions, plan_options
from hazd.errors import EnvironmentProblem, UsageError
from hazd.fixes import load
from hazd.manifests import choose_workload, parse_documents, placed, pod_spec
from hazd.manifests.own import OwnWorkload
from hazd.model import ClusterInfo, Manifest
from hazd.plan import Options, make_trials, skipped_fixes
from hazd.plan.check import check
from hazd.scenario import load_scenarios

SHOP = """
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop, namespace: shop, uid: 1-2, resourceVersion: "7", annotations: {a: b}}
spec:
  replicas: 3
  selector: {matchLabels: {name: shop}}
  template:
    metadata: {labels: {name: shop, tier: web}}
    spec:
      containers:
      - {name: mesh, image: "mesh:1"}
      - {name: web, image: "shop:1", ports: [{containerPort: 8000}]}
status: {replicas: 3}
---
apiVersion: v1
kind: Service
metadata: {name: shop, namespace: shop}
spec:
  type: LoadBalancer
  clusterIP: 10.0.0.7
  loadBalancerIP: 1.2.3.4
  externalTrafficPolicy: Local
  selector: {name: shop}
  ports: [{name: http, port: 80, targetPort: 8000, nodePort: 30123}]
"""
CACHE = """
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cache}
spec:
  selector: {matchLabels: {name: cache}}
  template: {metadata: {labels: {name: cache}}, spec: {containers: [{name: c, image: "c:1"}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: cache}, spec: {selector: {name: cache}, ports: [{port: 6379}]}}
"""
INFO = {name: ClusterInfo(name, name, "v1.34.4", 3, "iptables") for name in ("kind", "lab", "context")}


def own(text: str = SHOP, **more: Any) -> OwnWorkload:
    return OwnWorkload(parse_documents(text, "shop.yaml"), **more)


def options(workload: OwnWorkload, scenario: str = "rollout", **more: Any) -> Options:
    return Options(scenario=scenario, own=workload, **more)


def checked(wanted: Options) -> list[str]:
    """The problems that the caller is told, a line each."""
    with pytest.raises(UsageError) as raised:
        check(wanted, load_scenarios(), load())
    return raised.value.message.splitlines()


def trial_documents(wanted: Options) -> tuple[Manifest, ...]:
    scenario = check(wanted, load_scenarios(), load())
    return make_trials(wanted, scenario, load(), INFO["kind"], "app:a")[-1].setup.documents


def test_what_is_created_is_fresh_and_stays_inside() -> None:
    """Nothing the server had set, no namespace, no node port and no load balancer; the original is as it was."""
    workload = own()
    before = repr(workload.documents)
    deployment, service = workload.deployed(None)
    assert deployment["metadata"] == {"name": "shop", "annotations": {"a": "b"}}
    assert "status" not in deployment
    assert service["spec"] == {
        "ports": [{"name": "http", "port": 80, "targetPort": 8000}],
        "selector": {"name": "shop"},
    }
    assert repr(workload.documents) == before


def test_a_service_by_another_name_stays_one() -> None:
    """ExternalName has neither selector nor ports."""
    other = (
        "---\n{apiVersion: v1, kind: Service, metadata: {name: db}, spec: {type: ExternalName, externalName: d.test}}"
    )
    assert own(SHOP + other).deployed(None)[-1]["spec"] == {"type": "ExternalName", "externalName": "d.test"}


def test_a_binding_is_for_the_accounts_of_the_new_namespace() -> None:
    """Users and groups have no namespace; labels come on top of an object's own."""
    accounts = [{"kind": "ServiceAccount", "name": "shop", "namespace": "shop"}, {"kind": "Group", "name": "g"}]
    binding = {"kind": "RoleBinding", "metadata": {"name": "b", "labels": {"a": "1"}}, "subjects": accounts}
    moved = placed(binding, "trial", {"run": "r"})
    assert moved["metadata"] == {"name": "b", "namespace": "trial", "labels": {"a": "1", "run": "r"}}
    assert [item.get("namespace") for item in moved["subjects"]] == ["trial", None]
    assert accounts[0]["namespace"] == "shop"


@pytest.mark.parametrize(("asked", "replicas"), [(None, 3), (5, 5)])
def test_replicas_are_its_own_unless_asked_for(asked: int | None, replicas: int) -> None:
    trials = make_trials(options(own(), replicas=asked), load_scenarios()["rollout"], load(), INFO["kind"], "app:a")
    (trial,) = trials
    assert trial.replicas == replicas
    assert choose_workload(trial.setup.documents)["spec"]["replicas"] == replicas
    assert not trial.sample


@pytest.mark.parametrize(
    ("workload", "scenario", "word"),
    [
        (own(SHOP + "---\n{apiVersion: v1, kind: Node, metadata: {name: n}}"), "rollout", "node/n is not one of"),
        (own(SHOP + CACHE), "rollout", "several workloads could be meant: deployment/shop, deployment/cache"),
        (own(SHOP, name="cart"), "rollout", "'cart' is not one Deployment or StatefulSet of the manifests"),
        (own(SHOP.replace("kind: Deployment", "kind: StatefulSet")), "rollout", "what is tested is a Deployment"),
        (own(SHOP.replace("10.0.0.7", "None")), "rollout", "service/shop is headless"),
        (own(CACHE.replace("kind: Service", "kind: ConfigMap")), "rollout", "needed is exactly one"),
        (own(), "hpa", "hpa needs hazd's own sample app"),
        (own(), "keepalive-scale-out", "keepalive-scale-out needs hazd's own sample app"),
        (own(), "vpa", "vpa needs hazd's own sample app"),
    ],
)
def test_what_cannot_be_tested_is_one_clear_problem(workload: OwnWorkload, scenario: str, word: str) -> None:
    (problem,) = checked(options(workload, scenario))
    assert problem.startswith("--workload")
    assert word in problem


@pytest.mark.parametrize("scenario", ["rollout", "scale", "pod-delete", "drain", "node-failure"])
@pytest.mark.parametrize("name", ["shop", "cache"])
def test_one_of_several_by_name(scenario: str, name: str) -> None:
    """Scenario and fixes change the one that is named, and only that."""
    workload = own(SHOP + CACHE, name=name)
    documents = trial_documents(options(workload, scenario, all_fixes=True, compare=True))
    plain = {doc["metadata"]["name"]: doc for doc in workload.deployed(None) if doc["kind"] == "Deployment"}
    changed = [key for key, doc in plain.items() if choose_workload(documents, key) != doc]
    assert changed == [name]


def test_fixes_are_for_the_container_behind_the_service() -> None:
    documents = trial_documents(options(own(), fixes=("prestop", "readiness"), fix_settings={"readiness_path": "/up"}))
    mesh, web = pod_spec(choose_workload(documents))["containers"]
    assert mesh == {"name": "mesh", "image": "mesh:1"}
    assert web["readinessProbe"]["httpGet"] == {"path": "/up", "port": 8000}
    assert web["lifecycle"]["preStop"] == {"sleep": {"seconds": 5}}


def test_of_all_fixes_those_that_cannot_act_are_skipped_and_named() -> None:
    wanted, scenario = options(own(), all_fixes=True), load_scenarios()["rollout"]
    assert list(skipped_fixes(wanted, scenario, load())) == ["graceful-shutdown"]
    (trial,) = make_trials(wanted, scenario, load(), INFO["context"], "app:a")
    assert trial.fixes == ("prestop", "readiness")


def test_one_that_was_asked_for_by_name_is_a_problem() -> None:
    (problem,) = checked(options(own(), fixes=("graceful-shutdown", "prestop")))
    assert problem.startswith("--with-graceful-shutdown: only hazd's own sample app")


def test_the_lab_cannot_run_it() -> None:
    with pytest.raises(EnvironmentProblem, match="the lab runs commands, not images") as raised:
        make_trials(options(own()), load_scenarios()["rollout"], load(), INFO["lab"], "app:a")
    assert "--cluster kind" in raised.value.hint


def test_what_is_the_sample_apps_own_is_no_limit() -> None:
    """Its paths and its status 200 are rules of the sample app."""
    check(options(own(), path="/stats", expect=(204,)), load_scenarios(), load())
    assert len(checked(Options(scenario="rollout", path="/stats", expect=(204,)))) == 2


def test_a_tag_to_change_to_is_handed_on() -> None:
    for image in ("", "shop:2"):
        wanted = options(own(next_image=image))
        (trial,) = make_trials(wanted, load_scenarios()["rollout"], load(), INFO["kind"], "app:a")
        assert trial.next_image == image


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """One problem among the others, and none that follows from it."""
    wanted = Options(scenario="rollout", **plan_options(AppOptions(manifests=tmp_path / "shop.yaml")))
    (problem,) = checked(wanted)
    assert problem.startswith("--workload: ")
    assert "cannot be read" in problem


def test_the_lab_by_name_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    """It runs commands, not images."""
    file = tmp_path / "shop.yaml"
    file.write_text(SHOP)
    for spec, refused in (("lab", True), ("lab:nodes=4", True), ("kind", False), ("auto", False)):
        problems = plan_options(AppOptions(manifests=file), ClusterOptions(cluster=spec))["problems"]
        assert [problem.startswith("--workload: the lab runs commands") for problem in problems] == [True] * refused


def test_options_of_the_sample_app_contradict(tmp_path: Path) -> None:
    """Each is named; the other way round as well."""
    file = tmp_path / "shop.yaml"
    file.write_text(SHOP)
    problems = plan_options(AppOptions(manifests=file, startup_delay=2.0, tls=True, replicas=2))["problems"]
    assert [problem.split(":")[0] for problem in problems] == ["--startup-delay", "--tls"]
    assert plan_options(SlowStart(manifests=file))["problems"] == ()
    alone = plan_options(AppOptions(workload_name="shop", next_image="shop:2"))["problems"]
    assert [problem.split(":")[0] for problem in alone] == ["--workload-name", "--next-image"]
