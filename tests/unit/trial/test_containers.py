"""Why a workload does not run is said within seconds, in Kubernetes' own words, and kept with the trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from hazd.errors import EnvironmentProblem
from hazd.model import Manifest
from hazd.stage import Stage
from hazd.stage.containers import Patience, troubles
from hazd.trial.order import OneTrial
from tests.unit.lab.bench import container, pod_template, readiness
from tests.unit.trial.bench import IMAGES, Desk, Shown, now_ns, on_desk, scenario, trial, trial_json


def pod(name: str = "web-1", owner: str = "web", *, ready: bool = False, **status: Any) -> Manifest:
    conditions = [{"type": "Ready", "status": "True"}] if ready else []
    return {
        "metadata": {"name": name, "namespace": "t", "ownerReferences": [{"uid": owner}]},
        "status": {"conditions": conditions} | status,
    }


def waiting(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "c", "state": {"waiting": {"reason": reason, "message": message}}, **more}]}


def crashing(restarts: int) -> dict[str, Any]:
    last = {"terminated": {"exitCode": 3, "reason": "Error"}}
    return waiting("CrashLoopBackOff", "back-off 10s", restartCount=restarts, lastState=last)


UNSCHEDULABLE = {
    "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"}
    ]
}


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (crashing(2), "container c of pod web-1 crashes: CrashLoopBackOff, 2 restarts, last exit code 3 (Error)"),
        (crashing(1), "container c of pod web-1 crashes: CrashLoopBackOff, 1 restart, last exit code 3 (Error)"),
        (waiting("ErrImagePull", "not found"), "container c of pod web-1 does not start: ErrImagePull: not found"),
        (
            waiting("CreateContainerConfigError", 'configmap "x" not found'),
            'container c of pod web-1 does not start: CreateContainerConfigError: configmap "x" not found',
        ),
        (UNSCHEDULABLE, "pod web-1 cannot be scheduled (Unschedulable): 0/3 nodes are available"),
    ],
)
def test_each_trouble_is_named_in_kubernetes_words(status: dict[str, Any], words: str) -> None:
    """The reason, who it concerns, and the kubelet's or the scheduler's message."""
    assert [item.words for item in troubles([pod(**status)])] == [words]


def test_what_may_pass_is_no_trouble() -> None:
    """Containers being created, running pods, and pods that are being deleted."""
    deleted = pod(**crashing(9))
    deleted["metadata"]["deletionTimestamp"] = "2026-11-24T10:00:00Z"
    assert list(troubles([pod(**waiting("ContainerCreating")), pod(ready=True), pod(), deleted])) == []


@pytest.mark.parametrize(
    ("status", "after_s"),
    [
        (waiting("InvalidImageName"), 0),
        (waiting("CreateContainerConfigError"), 5),
        (waiting("ErrImagePull"), 20),
        (UNSCHEDULABLE, 30),
        (crashing(2), 0),
    ],
)
def test_each_trouble_is_given_its_time(status: dict[str, Any], after_s: float) -> None:
    """Up to then it is waited for, and anew when it has passed in between."""
    patience = Patience()
    assert after_s == 0 or patience.exhausted([pod(**status)], 100.0) is None
    assert patience.exhausted([pod(**status)], 100.0 + after_s) is not None
    if after_s:
        assert patience.exhausted([pod(ready=True)], 200.0) is None
        assert patience.exhausted([pod(**status)], 201.0) is None


def test_one_restart_is_not_a_crash_loop() -> None:
    """An app that ends once because its database was not there yet has done nothing wrong."""
    assert Patience().exhausted([pod(**crashing(1))], 100.0) is None


def test_an_app_is_waited_for_while_its_database_starts() -> None:
    """As long as another owner's pod is not ready; after that the app must crash as often as any."""
    patience = Patience()
    database = pod("db-1", "db")
    assert patience.exhausted([pod(**crashing(4)), database], 100.0) is None
    ready = pod("db-1", "db", ready=True)
    assert patience.exhausted([pod(**crashing(4)), ready], 101.0) is None
    assert patience.exhausted([pod(**crashing(6)), ready], 101.0) is None
    assert patience.exhausted([pod(**crashing(7)), ready], 101.0) is not None


def test_a_crashing_workload_ends_the_trial_within_seconds_with_its_log(tmp_path: Path) -> None:
    """CrashLoopBackOff, restarts, and the end of the log in the error; logs and Events are in the trial's folder."""

    async def nothing(stage: Stage) -> None:
        raise AssertionError("the disruption must not begin")

    async def write_logs(desk: Desk) -> None:
        while True:
            for name in desk.app_pods():
                try:
                    desk.write_log(name, "Traceback (most recent call last):", "KeyError: 'DATABASE_URL'")
                except StopIteration:
                    continue  # not started yet
            await anyio.sleep(1)

    async def test(desk: Desk) -> None:
        (tmp_path / "run").mkdir()
        template = pod_template(container(env={"EXIT_S": 0.5, "CODE": 3, "LISTEN_S": 9}, readinessProbe=readiness()))
        one = OneTrial(
            desk, scenario(nothing), trial(template=template), IMAGES, tmp_path / "run", 0, Shown(), now_ns=now_ns
        )
        begun = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write_logs, desk)
            with pytest.raises(EnvironmentProblem) as raised:
                await one.run()
            tasks.cancel_scope.cancel()
        took_s = anyio.current_time() - begun
        message = raised.value.message
        assert "crashes: CrashLoopBackOff, 2 restarts, last exit code 3" in message
        assert "KeyError: 'DATABASE_URL'" in message
        assert took_s < 60
        folder = tmp_path / "run/trials/t"
        assert trial_json(folder)["error"] == message
        assert "BackOff" in (folder / "cluster-events.txt").read_text()
        logs = list((folder / "logs").iterdir())
        assert {path.name.rsplit(".", 2)[1] for path in logs} == {"app"}
        assert any("KeyError" in path.read_text() for path in logs)

    on_desk(test)
