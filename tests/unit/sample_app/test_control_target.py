"""The control target's manifests: near the workload in every way that matters, and out of its selectors' reach."""

from __future__ import annotations

from hazd.analysis.story import CONTROL_LABEL
from hazd.manifests import find_workload
from hazd.manifests.check import check_document
from hazd.sample_app.control_target import CONTROL_NAME, control_target
from hazd.sample_app.manifests import is_sample_app, sample_workload

LABELS = {"app.kubernetes.io/managed-by": "hazd", "hazd.dev/run": "r1"}


def test_no_selector_of_the_workload_takes_it() -> None:
    """Its labels match neither the Deployment's nor the Service's selector; its own Service takes it alone."""
    pod, service = control_target(image="app:1", namespace="n", node="cp", labels=LABELS)
    deployment, real = find_workload(sample_workload(image="app:1", labels=LABELS))
    labels = pod["metadata"]["labels"]
    for selector in (deployment["spec"]["selector"]["matchLabels"], real["spec"]["selector"]):
        assert not selector.items() <= labels.items()
    own = service["spec"]["selector"]
    assert own.items() <= labels.items()
    assert not own.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    assert service["spec"]["ports"] == real["spec"]["ports"]
    assert {doc["metadata"]["name"] for doc in (pod, service)} == {CONTROL_NAME}
    assert CONTROL_NAME == CONTROL_LABEL


def test_it_runs_the_same_app_where_it_is_put() -> None:
    """The sample app of the workload's image, on its node for good; owned by labels; documents that a server takes."""
    pod, service = control_target(image="app:1", namespace="n", node="cp", labels=LABELS)
    assert not [problem for doc in (pod, service) for problem in check_document(doc)]
    spec = pod["spec"]
    (container,) = spec["containers"]
    assert is_sample_app(container)
    assert (container["image"], spec["nodeName"], spec["tolerations"]) == ("app:1", "cp", [{"operator": "Exists"}])
    for doc in (pod, service):
        assert LABELS.items() <= doc["metadata"]["labels"].items()
        assert doc["metadata"]["namespace"] == "n"


def test_it_speaks_http2_when_the_plan_does() -> None:
    """The workers send the same protocol to every target."""
    pod, _ = control_target(image="a", namespace="n", node="cp", labels={}, http2=True)
    assert {"name": "HAZD_HTTP2", "value": "1"} in pod["spec"]["containers"][0]["env"]
