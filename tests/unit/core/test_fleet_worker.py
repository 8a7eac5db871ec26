"""A worker's account adds up however it ended, and a pod's object says why it answers no more."""

from __future__ import annotations

from typing import Any

import pytest

from hazd.model import Ref
from hazd.traffic.missed import Missed
from hazd.trial.worker import Worker, end_of_pod, index_of, state_of_pod

POD = Ref("Pod", "hazd-worker-1-abcde", "t")
KEY = "batch.kubernetes.io/job-completion-index"


def test_a_worker_that_served_to_the_end_missed_nothing() -> None:
    """Its own counts are the account, and the check-sum of what was fetched is compared."""
    worker = Worker(1, POD, "n", fetched=64 * 9, done=True)
    worker.status = {"due": 10, "recorded": 9, "not_sent": 1, "stopped_by": "controller"}
    worker.status["sha256"] = worker.digest.hexdigest()
    found = worker.account()
    assert worker.served_to_the_end
    assert (found["due"], found["recorded"], found["not_sent"], found["lost"]) == (10, 9, 1, 0)
    assert (found["missed_ns"], found["sha256_ok"], found["error"]) == (None, True, "")


def test_of_a_lost_worker_only_what_was_fetched_counts() -> None:
    """What it had recorded and not handed over is lost with it: due = recorded + not sent + lost."""
    worker = Worker(1, POD, "n", fetched=64 * 5, lost="its pod is gone", missed=Missed(20, 14, 100, 200))
    worker.status = {"due": 10, "recorded": 9, "not_sent": 1}
    found = worker.account()
    assert not worker.served_to_the_end
    assert (found["due"], found["recorded"], found["not_sent"], found["lost"]) == (20, 5, 1, 14)
    assert (found["missed_ns"], found["sha256_ok"], found["error"]) == ([100, 200], False, "its pod is gone")


def test_a_worker_that_was_told_to_end_by_somebody_else_says_so() -> None:
    """A SIGTERM in the middle (an eviction) loses nothing that was sent, and everything that was due after it."""
    worker = Worker(1, POD, "n", fetched=64 * 9, done=True, missed=Missed(20, 11, 100, 200))
    worker.status = {"due": 9, "recorded": 9, "not_sent": 0, "stopped_by": "SIGTERM"}
    found = worker.account()
    assert (found["due"], found["lost"], found["error"]) == (20, 11, "stopped by SIGTERM")


def container(**state: Any) -> dict[str, Any]:
    return {"status": {"phase": "Running", "containerStatuses": [{"name": "worker", "state": state}]}}


@pytest.mark.parametrize(
    ("pod", "words"),
    [
        (container(running={}), ""),
        (container(waiting={"reason": "ContainerCreating"}), ""),
        ({"status": {"phase": "Pending"}}, ""),
        (container(terminated={"exitCode": 137, "reason": "OOMKilled"}), "exit code 137, OOMKilled"),
        ({"status": {"phase": "Failed", "reason": "Evicted", "message": "low on disk"}}, "Failed: Evicted low on disk"),
        ({"status": {"phase": "Succeeded"}}, "its pod is Succeeded"),
    ],
)
def test_only_a_pod_that_has_ended_has_an_end(pod: dict[str, Any], words: str) -> None:
    """As long as it may still run the words are empty; else they say how it ended."""
    found = end_of_pod(pod)
    assert bool(found) is bool(words)
    assert words in found


def test_what_keeps_a_pod_from_running_is_said() -> None:
    """The scheduler's words, and the kubelet's."""
    pod = container(waiting={"reason": "ErrImagePull", "message": "not there"})
    pod["status"]["conditions"] = [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}]
    assert state_of_pod(pod) == "phase Running, 0/3 nodes are available, ErrImagePull, not there"


@pytest.mark.parametrize("where", ["annotations", "labels"])
def test_the_index_is_an_annotation_or_a_label(where: str) -> None:
    """Older control planes set the annotation alone."""
    assert index_of({"metadata": {where: {KEY: "7"}}}) == 7
