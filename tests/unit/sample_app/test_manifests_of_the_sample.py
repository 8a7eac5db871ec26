"""What hazd itself applies: complete, without any fix, and owned by labels."""

from __future__ import annotations

import base64

import pytest

from hazd.fixes import FixSettings, load
from hazd.manifests import find_workload, pod_spec
from hazd.manifests.check import check_document
from hazd.model import Setup
from hazd.sample_app.certificate import Certificate
from hazd.sample_app.knobs import Knobs
from hazd.sample_app.manifests import (
    APP_PORT,
    APP_TLS_PORT,
    is_sample_app,
    lacks_sample_app,
    namespace_manifest,
    sample_workload,
    set_env,
)
from hazd.traffic.job import worker_job

LABELS = {"app.kubernetes.io/managed-by": "hazd", "hazd.dev/run": "r1"}


def test_the_sample_is_a_baseline() -> None:
    """No probe, no hook, exit at once: every cure is a fix's business; and the app understands its environment."""
    documents = sample_workload(image="app:1", startup_delay_s=2, latency_ms=5, cpu_ms=0.5, tag="t", labels=LABELS)
    assert not [problem for doc in documents for problem in check_document(doc)]
    deployment, service = find_workload(documents)
    container = pod_spec(deployment)["containers"][0]
    assert not {"readinessProbe", "startupProbe", "livenessProbe", "lifecycle"} & container.keys()
    knobs = Knobs.read({item["name"]: item.get("value", "p") for item in container["env"]})
    assert (knobs.startup_delay_s, knobs.latency_s, knobs.cpu_s) == (2.0, 0.005, 0.0005)
    assert (knobs.on_sigterm, knobs.tag, knobs.pod) == ("exit", "t", "p")
    assert knobs.port == container["ports"][0]["containerPort"] == service["spec"]["ports"][0]["targetPort"]
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": "25%", "maxUnavailable": "25%"}
    assert is_sample_app(container)
    assert lacks_sample_app(documents) == ""
    for doc in documents:
        assert LABELS.items() <= doc["metadata"]["labels"].items()


def test_tls_gets_a_port_of_its_own() -> None:
    """The Service leads to it, the plain port stays for /stats, and the key is in the Secret alone."""
    certificate = Certificate("chain", "the key", "authority")
    documents = sample_workload(image="app:1", certificate=certificate, http2=True)
    assert not [problem for doc in documents for problem in check_document(doc)]
    deployment, service = find_workload(documents)
    container = pod_spec(deployment)["containers"][0]
    ports = {item["name"]: item["containerPort"] for item in container["ports"]}
    assert ports == {"http": APP_PORT, "https": APP_TLS_PORT}
    assert [(item["port"], item["targetPort"]) for item in service["spec"]["ports"]] == [(443, APP_TLS_PORT)]
    (secret,) = [doc for doc in documents if doc["kind"] == "Secret"]
    told = {
        item["name"]: base64.b64decode(secret["data"][item["valueFrom"]["secretKeyRef"]["key"]]).decode()
        for item in container["env"]
        if "secretKeyRef" in item.get("valueFrom", {})
    }
    plain = {item["name"]: item["value"] for item in container["env"] if "value" in item}
    knobs = Knobs.read(plain | told | {"POD_NAME": "p"})
    assert (knobs.tls_cert, knobs.tls_key, knobs.tls_port, knobs.http2) == ("chain", "the key", APP_TLS_PORT, True)
    probe = pod_spec(find_workload(load()["readiness"].apply(Setup(documents), FixSettings())[0].documents)[0])[
        "containers"
    ][0]
    assert probe["readinessProbe"]["httpGet"] == {"path": "/healthz", "port": APP_TLS_PORT, "scheme": "HTTPS"}


def test_numbers_and_percentages_keep_their_type() -> None:
    """The API takes 1 and "25%", but refuses "1"."""
    deployment, _ = sample_workload(image="a", max_surge="2", max_unavailable=0)
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 2, "maxUnavailable": 0}


def test_packed_replicas_are_drawn_together_not_nailed_down() -> None:
    """A preference alone: a drained node's pods must be able to start elsewhere."""
    spec = pod_spec(sample_workload(image="a", placement="packed")[0])
    assert list(spec["affinity"]["podAffinity"]) == ["preferredDuringSchedulingIgnoredDuringExecution"]
    assert spec["topologySpreadConstraints"][0]["whenUnsatisfiable"] == "ScheduleAnyway"
    assert "affinity" not in pod_spec(sample_workload(image="a")[0])


def test_workers_are_one_indexed_job_that_replaces_nobody() -> None:
    """A part of the schedule each; a lost worker stays lost and takes no other with it; records on a volume."""
    job = worker_job(namespace="n", nodes=["a", "b"], count=3, image="worker:1", labels=LABELS)
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 3, 3)
    assert (spec["backoffLimitPerIndex"], pod["restartPolicy"]) == (0, "Never")
    assert "backoffLimit" not in spec
    command = pod["containers"][0]["command"]
    assert command[command.index("--dir") + 1] == pod["containers"][0]["volumeMounts"][0]["mountPath"]
    for meta in (job["metadata"], spec["template"]["metadata"]):
        assert LABELS.items() <= meta["labels"].items()


def test_workers_go_to_the_chosen_nodes_evenly() -> None:
    """By the nodes' names, each term one node, past every taint; no node gets two more than another."""
    pod = worker_job(namespace="n", nodes=["a", "b"], count=3, image="w", labels={})["spec"]["template"]["spec"]
    terms = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert [[field["values"] for field in term["matchFields"]] for term in terms] == [[["a"]], [["b"]]]
    assert pod["tolerations"] == [{"operator": "Exists"}]
    (spread,) = pod["topologySpreadConstraints"]
    assert (spread["maxSkew"], spread["whenUnsatisfiable"]) == (1, "DoNotSchedule")


def test_namespace() -> None:
    """Nothing but a name and whose it is."""
    assert namespace_manifest("n", LABELS)["metadata"] == {"name": "n", "labels": LABELS}


@pytest.mark.parametrize("names", [["HAZD_B", "HAZD_D", "HAZD_A"], ["HAZD_D", "HAZD_A", "HAZD_B"]])
def test_set_env_does_not_show_in_which_order_it_was_called(names: list[str]) -> None:
    """New variables find the same place, others stay where they are, a reference becomes a value."""
    env: list[dict[str, object]] = [{"name": "POD_NAME"}, {"name": "HAZD_Z", "valueFrom": {}}, {"name": "HAZD_C"}]
    for name in [*names, "HAZD_Z"]:
        set_env({"env": env}, name, "1")
    assert [item["name"] for item in env] == ["POD_NAME", "HAZD_A", "HAZD_B", "HAZD_D", "HAZD_Z", "HAZD_C"]
    assert env[4] == {"name": "HAZD_Z", "value": "1"}
