"""Indexed Jobs: one pod an index, started together, counted when they end, and tried again only as often as allowed.

Source: pkg/controller/job/{job_controller,indexed_job_utils,backoff_utils}.go of Kubernetes 1.34; KEP-2214 (Indexed),
KEP-3850 (backoffLimitPerIndex), KEP-3939 (podReplacementPolicy). Not supported: other completion modes (the API's door
refuses them), suspend, pod failure and success policies, the growing delay before a retry, and the finalizer by which
the real controller counts a pod before it may be removed: here the controller remembers the pods it made.
"""

from __future__ import annotations

from dataclasses import dataclass

from hazd.cluster.lab.control.loop import Loop
from hazd.cluster.lab.objects import (
    is_active,
    is_terminal,
    owned_by,
    owner_keys,
    owner_reference,
    phase_of,
    with_condition,
)
from hazd.cluster.lab.store import Change, Store
from hazd.cluster.watch import ref_of
from hazd.manifests.conditions import is_deleting, is_ready
from hazd.model import Manifest, Ref

INDEX = "batch.kubernetes.io/job-completion-index"
JOB_NAME, CONTROLLER_UID = "batch.kubernetes.io/job-name", "batch.kubernetes.io/controller-uid"
VARIABLE = "JOB_COMPLETION_INDEX"
COMPONENT = "job-controller"


@dataclass(slots=True)
class Made:
    """One pod the controller made: its index, and how it ended: "", "succeeded" or "failed"."""

    index: int
    ended: str = ""


def as_ranges(indexes: list[int]) -> str:
    """[0, 2, 3, 4] as the API writes it: "0,2-4"."""
    spans: list[list[int]] = []
    for index in sorted(indexes):
        if spans and spans[-1][1] == index - 1:
            spans[-1][1] = index
        else:
            spans.append([index, index])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


class Jobs:
    """The controller."""

    def __init__(self, store: Store, delay_s: float) -> None:
        self.store = store
        self.loop = Loop(store, self._keys, self._sync, delay_s)
        self._made: dict[str, dict[str, Made]] = {}
        """By the Job's uid: what became of each pod, by the pod's uid."""

    def _keys(self, change: Change) -> list[tuple[str, ...]]:
        if change.obj["kind"] == "Job" and change.what == "DELETED":
            self._made.pop(change.obj["metadata"]["uid"], None)
        return owner_keys(change.obj, "Job")

    def _sync(self, key: tuple[str, ...]) -> float | None:
        job = self.store.find(Ref("Job", key[1], key[0]))
        if job is None or is_deleting(job):
            return None
        uid, spec = job["metadata"]["uid"], job["spec"]
        pods = {pod["metadata"]["uid"]: pod for pod in self.store.list("Pod", key[0]) if owned_by(pod, uid)}
        made = self._made.setdefault(uid, {})
        self._note_ends(made, pods, spec["podReplacementPolicy"])
        ended = _finished(job)
        if not ended and "backoffLimitPerIndex" not in spec and _count(made, "failed") > spec["backoffLimit"]:
            ended = "Failed"
            self._end(job, "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
        if ended == "Failed":
            for pod in pods.values():
                if is_active(pod):
                    self.store.delete(ref_of(pod))
        elif not ended:
            self._start_missing(job, made)
            self._perhaps_complete(job, made)
        self._status(job, made)
        return None

    @staticmethod
    def _note_ends(made: dict[str, Made], pods: dict[str, Manifest], policy: str) -> None:
        """A pod removed before it finished has failed; a terminating one has, too, unless the policy waits."""
        for uid, one in made.items():
            pod = pods.get(uid)
            if one.ended:
                continue
            if pod is not None and is_terminal(pod):
                one.ended = phase_of(pod).lower()
            elif pod is None or (is_deleting(pod) and policy != "Failed"):
                one.ended = "failed"

    def _start_missing(self, job: Manifest, made: dict[str, Made]) -> None:
        spec = job["spec"]
        running = {one.index for one in made.values() if not one.ended}
        over = set(_completed(made)) | set(_failed_indexes(spec, made))
        for index in range(spec["completions"]):
            if len(running) >= spec["parallelism"]:
                return
            if index not in running and index not in over:
                pod = self._create(job, index)
                made[pod["metadata"]["uid"]] = Made(index)
                running.add(index)

    def _create(self, job: Manifest, index: int) -> Manifest:
        template, meta = job["spec"]["template"], job["metadata"]
        given = template.get("metadata") or {}
        labels = {JOB_NAME: meta["name"], "job-name": meta["name"], CONTROLLER_UID: meta["uid"], INDEX: str(index)}
        pod = self.store.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "generateName": f"{meta['name']}-{index}-",
                    "namespace": meta["namespace"],
                    "labels": {**(given.get("labels") or {}), **labels},
                    "annotations": {**(given.get("annotations") or {}), INDEX: str(index)},
                    "ownerReferences": [owner_reference(job)],
                },
                "spec": _with_index(template["spec"]),
            }
        )
        self._say(job, "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}")
        return pod

    def _perhaps_complete(self, job: Manifest, made: dict[str, Made]) -> None:
        completed, failed = _completed(made), _failed_indexes(job["spec"], made)
        if len(completed) + len(failed) < job["spec"]["completions"]:
            return
        if failed:
            self._end(job, "Failed", "FailedIndexes", "Job has failed indexes")
        else:
            self._end(job, "Complete", "CompletionsReached", "Reached expected number of succeeded pods")

    def _end(self, job: Manifest, kind: str, reason: str, message: str) -> None:
        current = self.store.get(ref_of(job))
        status, now = dict(current.get("status") or {}), self.store.time()
        status["conditions"] = with_condition(status.get("conditions") or [], kind, "True", reason, message, now)
        if kind == "Complete":
            status["completionTime"] = now
        self.store.set_status(current, status)
        level, event_reason = ("Normal", "Completed") if kind == "Complete" else ("Warning", reason)
        self.store.event(job, level, event_reason, message, COMPONENT)

    def _say(self, job: Manifest, reason: str, message: str) -> None:
        self.store.event(job, "Normal", reason, message, COMPONENT)

    def _status(self, job: Manifest, made: dict[str, Made]) -> None:
        current = self.store.get(ref_of(job))
        before, uid = current.get("status") or {}, job["metadata"]["uid"]
        pods = [pod for pod in self.store.list("Pod", job["metadata"]["namespace"]) if owned_by(pod, uid)]
        active = [pod for pod in pods if is_active(pod)]
        status = {
            **{name: before[name] for name in ("conditions", "completionTime") if name in before},
            "startTime": before.get("startTime") or self.store.time(),
            "active": len(active),
            "ready": sum(is_ready(pod) for pod in active),
            "terminating": sum(is_deleting(pod) and not is_terminal(pod) for pod in pods),
            "succeeded": _count(made, "succeeded"),
            "failed": _count(made, "failed"),
            "completedIndexes": as_ranges(_completed(made)),
        }
        if "backoffLimitPerIndex" in job["spec"]:
            status["failedIndexes"] = as_ranges(_failed_indexes(job["spec"], made))
        self.store.set_status(current, status)


def _finished(job: Manifest) -> str:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return next((each["type"] for each in conditions if each["type"] in ("Complete", "Failed")), "")


def _count(made: dict[str, Made], ended: str) -> int:
    return sum(one.ended == ended for one in made.values())


def _completed(made: dict[str, Made]) -> list[int]:
    return sorted({one.index for one in made.values() if one.ended == "succeeded"})


def _failed_indexes(spec: Manifest, made: dict[str, Made]) -> list[int]:
    """Indexes that failed more often than backoffLimitPerIndex allows; none without that field."""
    limit = spec.get("backoffLimitPerIndex")
    if limit is None:
        return []
    failures = [one.index for one in made.values() if one.ended == "failed"]
    return sorted({index for index in failures if failures.count(index) > limit} - set(_completed(made)))


def _with_index(spec: Manifest) -> Manifest:
    """Every container learns its index (addCompletionIndexEnvVariables); one that says it itself is left alone."""
    entry = {"name": VARIABLE, "valueFrom": {"fieldRef": {"fieldPath": f"metadata.annotations['{INDEX}']"}}}

    def with_index(container: Manifest) -> Manifest:
        env = container.get("env") or []
        return container if any(each["name"] == VARIABLE for each in env) else {**container, "env": [*env, entry]}

    groups = [name for name in ("initContainers", "containers") if spec.get(name)]
    return {**spec, **{name: [with_index(each) for each in spec[name]] for name in groups}}
