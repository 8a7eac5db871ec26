"""Manifests with anything in the place of anything: problems by name, no traceback in whatever reads them later."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hazd.errors import UsageError
from hazd.fixes import FixSettings, load
from hazd.manifests import diff, dump, load_documents, parse_documents, placed, without_secrets
from hazd.manifests.check import check_document
from hazd.manifests.own import OwnWorkload
from hazd.model import Setup

SOUND = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}, annotations: {a: b}}
spec:
  replicas: 3
  minReadySeconds: 1
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 25%, maxUnavailable: 1}}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}, annotations: {a: b}}
    spec:
      terminationGracePeriodSeconds: 30
      affinity:
        podAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
          - {labelSelector: {matchLabels: {app: web}}, topologyKey: kubernetes.io/hostname}
          preferredDuringSchedulingIgnoredDuringExecution:
          - weight: 1
            podAffinityTerm: {labelSelector: {matchLabels: {app: web}}, topologyKey: kubernetes.io/hostname}
        podAntiAffinity:
          preferredDuringSchedulingIgnoredDuringExecution:
          - weight: 1
            podAffinityTerm: {labelSelector: {matchLabels: {app: web}}, topologyKey: kubernetes.io/hostname}
      containers:
      - name: web
        image: "web:1"
        ports: [{name: http, containerPort: 8080}]
        env: [{name: A, value: "1"}]
        resources: {requests: {cpu: 100m}}
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
        startupProbe: {tcpSocket: {port: http}}
        lifecycle: {preStop: {exec: {command: [sleep, "5"]}}}
      - name: side
        image: "side:1"
        lifecycle: {preStop: {sleep: {seconds: 3}}}
      volumes: [{name: a, configMap: {name: a}}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: x}
spec:
  selector: {app: web}
  type: NodePort
  ports: [{port: 80, targetPort: http, nodePort: 30000, name: http}]
  sessionAffinity: None
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: b}
subjects: [{kind: ServiceAccount, name: a, namespace: x}]
roleRef: {kind: Role, name: r, apiGroup: rbac.authorization.k8s.io}
---
apiVersion: v1
kind: Secret
metadata: {name: s}
data: {a: aGVsbG8=}
stringData: {b: hidden}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: h}
spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, minReplicas: 2, maxReplicas: 4}
"""
DOCUMENTS: list[Any] = list(yaml.safe_load_all(SOUND))
ODD: list[Any] = [None, True, 0, -1, 3, 1.5, float("nan"), "x", "", "5", "1e400", 10**30]
ODD += [[], [1], ["x"], [None], [{}], {}, {"a": 1}, {1: 2}, {"name": "b"}]
GONE = object()


def paths(node: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of a tree but its root."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for step, item in items:
        yield (*at, step)
        yield from paths(item, (*at, step))


PLACES = sorted(paths(DOCUMENTS), key=str)


def with_change(documents: list[Any], place: tuple[Any, ...], value: Any) -> list[Any]:
    """A copy with another value at a place; as it was where an earlier change took the place away."""
    changed = copy.deepcopy(documents)
    at: Any = changed
    for step in place[:-1]:
        try:
            at = at[step]
        except (KeyError, IndexError, TypeError):
            return changed
    if value is GONE and isinstance(at, dict):
        at.pop(place[-1], None)
    elif isinstance(at, dict) or (isinstance(at, list) and place[-1] < len(at)):
        at[place[-1]] = None if value is GONE else copy.deepcopy(value)
    return changed


def use(documents: tuple[Any, ...]) -> None:
    """All that hazd does with manifests that passed the check."""
    own = OwnWorkload(documents)
    dump(without_secrets(placed(doc, "n", {"a": "b"}) for doc in documents))
    if list(own.problems()):
        return
    deployed = own.deployed(None)
    for fix in load().values():
        try:
            if fix.why_not(Setup(deployed), FixSettings()) is None:
                diff(deployed, fix.apply(Setup(deployed), FixSettings())[0].documents)
        except UsageError:
            pass


def test_the_sound_documents_pass() -> None:
    """Else nothing below would be looked at."""
    assert [problem for doc in DOCUMENTS for problem in check_document(doc)] == []
    assert list(OwnWorkload(tuple(DOCUMENTS)).problems()) == []


@settings(deadline=None, max_examples=400)
@given(st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from([*ODD, GONE])), min_size=1, max_size=2))
def test_anything_in_the_place_of_anything(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    """The check names it, or everything that reads the documents takes it."""
    documents = DOCUMENTS
    for place, value in changes:
        documents = with_change(documents, place, value)
    if not any(list(check_document(doc)) for doc in documents):
        use(tuple(documents))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("affinity: []", "spec.template.spec.affinity: [] is not a mapping"),
        ("affinity: {podAffinity: [1]}", "spec.template.spec.affinity.podAffinity: [1] is not"),
        ("terminationGracePeriodSeconds: null", "spec.template.spec.terminationGracePeriodSeconds: None is not"),
    ],
)
def test_the_field_is_named(text: str, message: str) -> None:
    """By its path, with its value."""
    documents = copy.deepcopy(DOCUMENTS)
    documents[0]["spec"]["template"]["spec"] |= yaml.safe_load(text)
    with pytest.raises(UsageError) as caught:
        parse_documents(yaml.safe_dump_all(documents), "own.yaml")
    assert message in caught.value.message


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_of_a_file(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """What is no YAML, no UTF-8 or no manifest is a usage error, whatever it is."""
    path: Path = tmp_path_factory.mktemp("own") / "own.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageError):
        load_documents(path)
