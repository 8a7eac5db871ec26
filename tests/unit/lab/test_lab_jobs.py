"""Indexed Jobs: every index once, its number known to it, failures counted and never made good in silence."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from hazd.cluster.lab.control.job import INDEX, VARIABLE, as_ranges
from hazd.cluster.lab.objects import is_active
from hazd.errors import ClusterError
from hazd.model import Manifest, Ref

from .bench import Bench, container, pod_template, run

JOB = Ref("Job", "work", "t")
IGNORES_TERM = {"NO_TERM_S": 0}
"""Hears no SIGTERM, so that it ends by SIGKILL, as failed; one that exits with 0 would have succeeded."""


def job(
    completions: int = 3, env: dict[str, Any] | None = None, pod: dict[str, Any] | None = None, **spec: Any
) -> Manifest:
    template = pod_template(container(env=env or {"TERM_S": 0}), **{"restartPolicy": "Never", **(pod or {})})
    return {
        "kind": "Job",
        "metadata": {"name": "work", "namespace": "t"},
        "spec": {
            "completionMode": "Indexed",
            "completions": completions,
            "parallelism": completions,
            "template": template,
            **spec,
        },
    }


def status(bench: Bench) -> Manifest:
    found: Manifest = bench.store.get(JOB)["status"]
    return found


def indexes(bench: Bench) -> list[str]:
    return sorted(pod["metadata"]["annotations"][INDEX] for pod in bench.pods() if is_active(pod))


def pod_of(bench: Bench, index: int) -> Ref:
    (name,) = [pod["metadata"]["name"] for pod in bench.pods() if pod["metadata"]["labels"][INDEX] == str(index)]
    return Ref("Pod", name, "t")


def conditions(bench: Bench) -> dict[str, str]:
    return {each["type"]: each["reason"] for each in status(bench).get("conditions") or ()}


def test_every_index_gets_one_pod_that_knows_its_number() -> None:
    """As annotation, as label and as the environment variable of its processes; the Job owns the pods."""

    async def main(bench: Bench) -> None:
        bench.store.create(job(3))
        await anyio.sleep(3)
        assert indexes(bench) == ["0", "1", "2"]
        assert all(
            pod["metadata"]["name"].startswith(f"work-{pod['metadata']['labels'][INDEX]}-") for pod in bench.pods()
        )
        known = {each.command.env[VARIABLE] for each in bench.machine.processes.values()}
        assert known == {"0", "1", "2"}
        assert (status(bench)["active"], status(bench)["ready"], status(bench)["failed"]) == (3, 3, 0)
        bench.store.delete(JOB)
        await anyio.sleep(5)
        assert bench.pods() == []

    run(main)


def test_a_job_whose_pods_all_succeed_is_complete() -> None:
    """Two at a time; no index is run twice, and the condition says why it ended."""

    async def main(bench: Bench) -> None:
        bench.store.create(job(3, {"EXIT_S": 2, "CODE": 0}, parallelism=2))
        await anyio.sleep(2)
        assert len(indexes(bench)) == 2
        await anyio.sleep(10)
        assert (status(bench)["succeeded"], status(bench)["completedIndexes"]) == (3, "0-2")
        assert conditions(bench) == {"Complete": "CompletionsReached"}
        assert bench.reasons("work").count("SuccessfulCreate") == 3
        assert len(bench.pods()) == 3

    run(main)


@pytest.mark.parametrize("policy", ["Failed", "TerminatingOrFailed"])
@pytest.mark.parametrize("grace_s", [0, 1])
def test_a_deleted_pod_is_never_replaced_with_no_failure_allowed_per_index(policy: str, grace_s: int) -> None:
    """backoffLimitPerIndex 0 (KEP-3850): that index has failed, and all others go on."""

    async def main(bench: Bench) -> None:
        bench.store.create(job(3, IGNORES_TERM, backoffLimitPerIndex=0, podReplacementPolicy=policy))
        await anyio.sleep(3)
        before = {pod["metadata"]["uid"] for pod in bench.pods()}
        bench.store.delete(pod_of(bench, 1), grace_s)
        await anyio.sleep(20)
        assert indexes(bench) == ["0", "2"]
        assert {pod["metadata"]["uid"] for pod in bench.pods()} < before
        assert (status(bench)["failed"], status(bench)["failedIndexes"], status(bench)["active"]) == (1, "1", 2)
        assert conditions(bench) == {}

    run(main)


def test_a_process_that_fails_is_tried_again_as_often_as_allowed() -> None:
    """backoffLimitPerIndex 1: each index gets a second pod and no third; then the Job has failed."""

    async def main(bench: Bench) -> None:
        bench.store.create(job(2, {"EXIT_S": 1, "CODE": 3}, backoffLimitPerIndex=1))
        await anyio.sleep(30)
        assert (status(bench)["failed"], status(bench)["failedIndexes"]) == (4, "0-1")
        assert len(bench.pods()) == 4
        assert conditions(bench) == {"Failed": "FailedIndexes"}

    run(main)


def test_backoff_limit_0_ends_the_whole_job_with_the_first_failure() -> None:
    """Why hazd's workers do not use it: losing one pod deletes all the others."""

    async def main(bench: Bench) -> None:
        bench.store.create(job(3, backoffLimit=0))
        await anyio.sleep(3)
        bench.store.delete(pod_of(bench, 2), 0)
        await anyio.sleep(10)
        assert conditions(bench) == {"Failed": "BackoffLimitExceeded"}
        assert indexes(bench) == []

    run(main)


def test_a_replacement_waits_for_the_end_of_its_forerunner_when_told_so() -> None:
    """podReplacementPolicy Failed (KEP-3939): no two pods of an index at a time."""

    async def main(bench: Bench) -> None:
        spec: dict[str, Any] = {"backoffLimitPerIndex": 1, "podReplacementPolicy": "Failed"}
        bench.store.create(job(1, IGNORES_TERM, **spec))
        await anyio.sleep(3)
        bench.store.delete(pod_of(bench, 0), 6)
        await anyio.sleep(3)
        assert (len(bench.pods()), status(bench)["terminating"]) == (1, 1)
        await anyio.sleep(10)
        assert indexes(bench) == ["0"]
        assert status(bench)["failed"] == 1

    run(main)


def test_workers_spread_over_the_nodes_that_are_named() -> None:
    """matchFields on metadata.name chooses the nodes, maxSkew 1 spreads; the control plane's taint is no obstacle."""

    async def main(bench: Bench) -> None:
        nodes = [node["metadata"]["name"] for node in bench.store.list("Node")][:2]
        field = {"key": "metadata.name", "operator": "In"}
        terms = [{"matchFields": [{**field, "values": [name]}]} for name in nodes]
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
        spread = {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "app"}},
        }
        pod = {
            "affinity": {"nodeAffinity": required},
            "topologySpreadConstraints": [spread],
            "tolerations": [{"operator": "Exists"}],
        }
        bench.store.create(job(5, pod=pod))
        await anyio.sleep(3)
        homes = [each["spec"]["nodeName"] for each in bench.pods()]
        assert sorted(homes.count(name) for name in nodes) == [2, 3]

    run(main)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"completionMode": "NonIndexed"}, "spec.completionMode"),
        ({"completions": None}, "spec.completions"),
        ({"backoffLimitPerIndex": -1}, "spec.backoffLimitPerIndex"),
        ({"podReplacementPolicy": "Never"}, "spec.podReplacementPolicy"),
        ({"template": pod_template()}, "restartPolicy"),
    ],
)
def test_a_job_that_cannot_be_is_refused(change: dict[str, Any], words: str) -> None:
    """The error names the field, as the API server's does."""

    async def main(bench: Bench) -> None:
        with pytest.raises(ClusterError, match=words):
            bench.store.create(job(**change))

    run(main)


def test_indexes_are_written_as_ranges() -> None:
    """completedIndexes as the API has it."""
    assert as_ranges([5, 0, 2, 3, 4]) == "0,2-5"
    assert as_ranges([]) == ""
