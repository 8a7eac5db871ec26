"""Reading, checking, finding, editing and comparing manifests."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hazd.errors import UsageError
from hazd.manifests import (
    app_containers,
    choose_workload,
    diff,
    dump,
    edited,
    find_workload,
    load_documents,
    parse_documents,
    pod_spec,
    without_secrets,
)
from hazd.manifests.check import check_document

GOOD = """
# a comment is no document
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 3
  selector: {matchLabels: &labels {app: web}}
  template:
    metadata: {labels: *labels}
    spec:
      containers:
      - {name: proxy, image: "proxy:1", ports: [{containerPort: 9000}]}
      - {name: web, image: "web:1", ports: [{name: http, containerPort: 8080}], env: [{name: A, value: "1"}]}
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Service
  metadata: {name: web}
  spec: {selector: {app: web}, ports: [{port: 80, targetPort: http}]}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {a: b}}
"""


def test_documents_lists_and_empty_ones() -> None:
    """Several documents and a List come out flat, in order; an empty document counts for nothing."""
    assert [doc["kind"] for doc in parse_documents(GOOD, "x.yaml")] == ["Deployment", "Service", "ConfigMap"]


def broken(**changes: Any) -> str:
    """GOOD's Deployment with parts replaced; a path such as spec__replicas names the part."""
    doc = parse_documents(GOOD, "x.yaml")[0]
    doc = copy.deepcopy({**doc})
    for path, value in changes.items():
        place: Any = doc
        *way, last = path.split("__")
        for step in way:
            place = place[int(step) if step.isdigit() else step]
        place[last] = value
    return yaml.safe_dump(doc)


CONTAINER = "spec.template.spec.containers[0]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no document"),
        ("a: [", "not YAML"),
        ("just text", "document: 'just text' is not a mapping"),
        ("kind: Pod\nmetadata: {name: a}", "apiVersion: None is not a string"),
        ("kind: Pod\napiVersion: v1", "metadata: None is not a mapping with a name"),
        (broken(metadata__name="Web_1"), "metadata.name: 'Web_1' is not a name of lower-case"),
        (
            broken(metadata={"name": "a", "labels": {"v": 1.1}}),
            "metadata.labels.v: 1.1 is not a string; put it in quotes",
        ),
        (broken(apiVersion="extensions/v1beta1"), "apiVersion: 'extensions/v1beta1' is not apps/v1"),
        (broken(spec__replicas=-1), "spec.replicas: -1 is not an integer from 0"),
        (broken(spec__replicas="4"), "spec.replicas: '4' is not an integer from 0"),
        (broken(spec__strategy={"rollingUpdate": {"maxSurge": "a lot"}}), "maxSurge: 'a lot' is invalid"),
        (broken(spec__strategy="fast"), "spec.strategy: 'fast' is not a strategy"),
        (broken(spec__selector={}), "spec.selector.matchLabels: None is not a mapping of at least one label"),
        (
            broken(spec__selector__matchLabels={"app": "other"}),
            "what spec.selector.matchLabels asks for: {'app': 'other'}",
        ),
        (broken(spec__template__spec=None), "spec.template.spec: None is not a pod's spec"),
        (broken(spec__template__metadata="x"), "spec.template.metadata: 'x' is not a mapping"),
        (broken(spec__template__spec__containers=[]), "spec.template.spec.containers: [] is not a list with at least"),
        (broken(spec__template__spec__containers__0__image=""), f"{CONTAINER}.image: '' is not a string"),
        (broken(spec__template__spec__containers__0__env=[{"name": "A", "value": 5}]), f"{CONTAINER}.env[0].value: 5"),
        (
            broken(spec__template__spec__containers__0__ports=[{"containerPort": 0}]),
            f"{CONTAINER}.ports[0].containerPort",
        ),
        (
            broken(spec__template__spec__terminationGracePeriodSeconds="30s"),
            "GracePeriodSeconds: '30s' is not an integer number",
        ),
        (
            "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: []}}",
            "spec.ports: [] is not a list with",
        ),
        (
            "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: http}]}}",
            "spec.ports[0].port: 'http'",
        ),
        (
            "{apiVersion: v1, kind: A, metadata: {name: a}, data: {day: 2026-01-01}}",
            "data.day: datetime.date(2026, 1, 1)",
        ),
        ("{apiVersion: v1, kind: A, metadata: {name: a}, data: {1: a}}", "data: 1 is not a string as a key"),
        (GOOD + "---\n" + broken(), "the same object comes twice"),
    ],
)
def test_every_problem_is_named(text: str, message: str) -> None:
    """The error names file, field, value and what would be right, and is a usage error."""
    with pytest.raises(UsageError) as caught:
        parse_documents(text, "my.yaml")
    assert message in caught.value.message
    assert caught.value.message.startswith("my.yaml: ")
    assert caught.value.exit_code == 2


def test_all_problems_come_at_once() -> None:
    """Two bad documents give a line each, with the number of the document and its kind and name."""
    with pytest.raises(UsageError) as caught:
        parse_documents(GOOD + "---\n" + broken(spec__replicas=-1) + "---\n- 1\n", "my.yaml")
    first, second = caught.value.message.splitlines()
    assert first.startswith("my.yaml: document 3 (deployment/web): spec.replicas")
    assert second.startswith("my.yaml: document 4: document: [1]")


def test_files(tmp_path: Path) -> None:
    """A file is read whole; one that cannot be read is named."""
    path = tmp_path / "app.yaml"
    path.write_text(GOOD)
    assert len(load_documents(path)) == 3
    with pytest.raises(UsageError, match="cannot be read"):
        load_documents(tmp_path / "none.yaml")


ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    "x",
    "",
    [],
    [1],
    ["x"],
    [None],
    [{}],
    {},
    {"a": 1},
    {"name": "b"},
    {"matchLabels": 1},
]
JSON = st.sampled_from(ODD)
PLACES = ["apiVersion", "kind", "metadata", "spec"]
DEEPER = ["replicas", "selector", "strategy", "template", "ports"]
POD = ["containers", "terminationGracePeriodSeconds"]


@given(
    kind=st.sampled_from(["Deployment", "StatefulSet", "Service"]),
    top=st.dictionaries(st.sampled_from(PLACES), JSON),
    spec=st.dictionaries(st.sampled_from(DEEPER), JSON),
    template=st.dictionaries(st.sampled_from(["metadata", "spec"]), JSON),
    pod=st.dictionaries(st.sampled_from(POD), JSON),
    container=st.dictionaries(st.sampled_from(["name", "image", "env", "ports", "lifecycle"]), JSON),
)
def test_no_shape_of_document_breaks_the_check(
    kind: str, top: Any, spec: Any, template: Any, pod: Any, container: Any
) -> None:
    """Whatever stands in any field, the check ends in problems and never in a traceback; what passes is usable."""
    doc = {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "a"}}
    labels = {"app": "a"}
    inner = {"containers": [{"name": "a", "image": "b"} | container]} | pod
    doc["spec"] = {
        "selector": {"matchLabels": labels} if kind != "Service" else labels,
        "ports": [{"port": 80}],
        "template": {"metadata": {"labels": labels}, "spec": inner} | template,
    } | spec
    doc |= top
    if not list(check_document(doc)) and doc["kind"] in ("Deployment", "StatefulSet"):
        assert app_containers(choose_workload([doc]), [doc])


def test_the_workload_behind_the_service() -> None:
    """The Deployment a Service selects is found among others, with its Service."""
    other = parse_documents(
        broken(
            metadata__name="other",
            spec__selector__matchLabels={"app": "x"},
            spec__template__metadata__labels={"app": "x"},
        ),
        "x",
    )
    documents = (*other, *parse_documents(GOOD, "x.yaml"))
    workload, service = find_workload(documents)
    assert (workload["metadata"]["name"], service["metadata"]["name"]) == ("web", "web")
    assert choose_workload(documents, "other") is other[0]


@pytest.mark.parametrize(
    ("documents", "name", "message"),
    [
        ("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}", "", "only ConfigMap"),
        (broken(), "", "Services that select its pods {'app': 'web'}: none"),
        (GOOD, "api", "workload: 'api' is not one"),
        (broken() + "---\n" + broken(metadata__name="two"), "", "deployment/web, deployment/two"),
        (
            GOOD + "---\n" + "{apiVersion: v1, kind: Service, metadata: {name: b}, "
            "spec: {selector: {app: web}, ports: [{port: 1}]}}",
            "",
            "service/web, service/b",
        ),
    ],
)
def test_no_clear_workload(documents: str, name: str, message: str) -> None:
    """No workload, none with that name, several, no Service, several: the candidates are named."""
    with pytest.raises(UsageError) as caught:
        find_workload(parse_documents(documents, "x"), name)
    assert message in str(caught.value)


def test_a_headless_service_beside_another_is_passed_over() -> None:
    """A StatefulSet's governing Service has no ClusterIP; the one that has is the front."""
    headless = """
---
apiVersion: v1
kind: Service
metadata: {name: a-headless}
spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80}]}
"""
    _, service = find_workload(parse_documents(GOOD + headless, "x"))
    assert service["metadata"]["name"] == "web"


def test_the_container_behind_the_service() -> None:
    """The container whose port the Service targets, by name or number; without a Service the first."""
    documents = parse_documents(GOOD, "x")
    workload = documents[0]
    assert [item["name"] for item in app_containers(workload, documents)] == ["web"]
    assert [item["name"] for item in app_containers(workload, [workload])] == ["proxy"]


def test_edits_are_done_on_copies() -> None:
    """An edit changes neither the documents given nor a part that the original shares with another place."""
    documents = parse_documents(GOOD, "x")
    before = copy.deepcopy(documents)

    def change(doc: dict[str, Any]) -> None:
        doc["spec"]["template"]["metadata"]["labels"]["new"] = "yes"
        pod_spec(doc)["containers"].clear()

    after = edited(documents, documents[0], change)
    assert documents == before
    assert after[0]["spec"]["selector"]["matchLabels"] == {"app": "web"}
    assert after[0]["spec"]["template"]["metadata"]["labels"] == {"app": "web", "new": "yes"}
    assert after[1:] == documents[1:]


def test_diff_shows_changed_added_and_removed_objects() -> None:
    """Unchanged objects do not appear; equal sets give nothing."""
    documents = parse_documents(GOOD, "x")
    changed = edited(documents, documents[0], lambda doc: doc["spec"].update(replicas=4))
    added = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}
    assert diff(documents, documents) == ""
    text = diff(documents, (*changed[:2], added))
    assert "-  replicas: 3\n+  replicas: 4\n" in text
    assert "--- /dev/null\n+++ after/secret/s\n" in text
    assert "--- before/configmap/settings\n+++ /dev/null\n" in text
    assert "service/web" not in text


def test_dump_reads_back() -> None:
    """What is written reads back as the same documents, without anchors."""
    documents = parse_documents(GOOD, "x")
    assert parse_documents(dump(documents), "y") == documents
    assert "&" not in dump(documents)


def test_what_a_secret_holds_is_not_kept() -> None:
    """Names and lengths stay, values go; other documents and the given one are as before."""
    documents = parse_documents(GOOD, "x")
    secret = {"kind": "Secret", "metadata": {"name": "s"}, "data": {"key": "aGVsbG8="}, "stringData": {"b": "hidden"}}
    kept = without_secrets([*documents, secret])
    assert kept[:-1] == list(documents)
    assert kept[-1] == secret | {"data": {"key": "<8 characters>"}, "stringData": {"b": "<6 characters>"}}
    assert secret["data"] == {"key": "aGVsbG8="}
