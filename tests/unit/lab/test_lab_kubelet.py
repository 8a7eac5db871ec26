"""The kubelet's timing: start, probes, restarts, preStop, SIGTERM, grace, SIGKILL, removal."""

from __future__ import annotations

from itertools import pairwise

import anyio
import pytest

from hazd.manifests.conditions import condition
from hazd.model import Ref

from .bench import Bench, container, pod, readiness, run

ONE = Ref("Pod", "one", "t")
EXACT = {
    "relist_period_s": 0.0,
    "controller_delay_s": 0.0,
    "sandbox_stop_s": 0.25,
    "pod_status_s": 0.0,
    "pod_removal_s": 0.5,
}


async def _started(bench: Bench, *containers: dict[str, object], **spec: object) -> None:
    bench.store.create(pod("one", *containers, **spec))
    await anyio.sleep(2)


def test_the_status_of_a_running_pod() -> None:
    """Address, phase, conditions and container statuses as the API has them."""

    async def main(bench: Bench) -> None:
        await _started(bench)
        status = bench.store.get(ONE)["status"]
        assert status["phase"] == "Running"
        assert status["podIP"] == status["podIPs"][0]["ip"]
        assert status["podIP"].startswith("10.244.")
        assert {each["type"]: each["status"] for each in status["conditions"]} == {
            "PodScheduled": "True",
            "PodReadyToStartContainers": "True",
            "Initialized": "True",
            "ContainersReady": "True",
            "Ready": "True",
        }
        [app] = status["containerStatuses"]
        assert (app["ready"], app["started"], app["restartCount"]) == (True, True, 0)
        assert "startedAt" in app["state"]["running"]

    run(main)


def test_a_start_is_noticed_at_the_next_relist() -> None:
    """The process runs before the API says so; the difference is the kubelet's relist."""

    async def main(bench: Bench) -> None:
        bench.store.create(pod())
        await anyio.sleep(5)
        [began] = bench.machine.times("run")
        seen = next(at for at, c in bench.pod_changes("one") if c.obj["status"]["phase"] == "Running")
        assert 0 < seen - began <= 3.0

    run(main, relist_period_s=3.0)


def test_the_end_within_the_grace() -> None:
    """SIGTERM at once, exit after 3 s, then the address goes, then the object; nobody is killed."""

    async def main(bench: Bench) -> None:
        await _started(bench, container(env={"TERM_S": 3}))
        begun = anyio.current_time()
        bench.store.delete(ONE)
        assert bench.store.get(ONE)["metadata"]["deletionGracePeriodSeconds"] == 30
        await anyio.sleep(10)
        machine = bench.machine
        assert machine.times("sigterm") == pytest.approx([begun])
        assert machine.times("end") == pytest.approx([begun + 3])
        assert machine.times("remove-pod") == pytest.approx([begun + 3.25])
        assert not machine.times("sigkill")
        gone = next(at for at, c in bench.pod_changes("one") if c.what == "DELETED")
        assert gone == pytest.approx(begun + 3.75)
        last = next(c.old for _, c in bench.pod_changes("one") if c.what == "DELETED")
        assert last is not None
        assert last["status"]["phase"] == "Succeeded"
        assert last["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0

    run(main, **EXACT)


def test_who_ignores_sigterm_is_killed_when_the_grace_is_over() -> None:
    """SIGKILL terminationGracePeriodSeconds after the deletion; exit code 137, phase Failed."""

    async def main(bench: Bench) -> None:
        await _started(bench, container(env={}), terminationGracePeriodSeconds=7)
        begun = anyio.current_time()
        bench.store.delete(ONE)
        await anyio.sleep(20)
        assert bench.machine.times("sigkill") == pytest.approx([begun + 7])
        last = bench.pod_changes("one")[-1][1].old
        assert last is not None
        assert last["status"]["phase"] == "Failed"

    run(main, **EXACT)


@pytest.mark.parametrize(("sleep_s", "kill_after_s"), [(5, 10), (9, 11), (10, 12)])
def test_pre_stop_counts_against_the_grace(sleep_s: int, kill_after_s: int) -> None:
    """SIGTERM comes after preStop, SIGKILL when the grace of 10 s is over, but never within 2 s of SIGTERM."""

    async def main(bench: Bench) -> None:
        hook = {"preStop": {"sleep": {"seconds": sleep_s}}}
        await _started(bench, container(env={}, lifecycle=hook), terminationGracePeriodSeconds=10)
        begun = anyio.current_time()
        bench.store.delete(ONE)
        await anyio.sleep(20)
        assert bench.machine.times("sigterm") == pytest.approx([begun + sleep_s])
        assert bench.machine.times("sigkill") == pytest.approx([begun + kill_after_s])

    run(main, **EXACT)


def test_a_pre_stop_longer_than_the_grace_is_cut_off() -> None:
    """SIGTERM when the grace is over, SIGKILL two seconds later (minimumGracePeriodInSeconds)."""

    async def main(bench: Bench) -> None:
        hook = {"preStop": {"exec": {"command": ["hook", "60", "0"]}}}
        await _started(bench, container(env={}, lifecycle=hook), terminationGracePeriodSeconds=4)
        begun = anyio.current_time()
        bench.store.delete(ONE)
        await anyio.sleep(20)
        assert bench.machine.times("sigterm") == pytest.approx([begun + 4])
        kills = [at for at, what, whom in bench.machine.log if what == "sigkill" and "exec" not in whom]
        assert kills == pytest.approx([begun + 6])

    run(main, **EXACT)


@pytest.mark.parametrize("command", [["hook", "0", "1"], ["missing"]])
def test_a_pre_stop_that_fails_is_an_event_and_no_delay(command: list[str]) -> None:
    """FailedPreStopHook is reported; the container gets its SIGTERM all the same."""

    async def main(bench: Bench) -> None:
        hook = {"preStop": {"exec": {"command": command}}}
        await _started(bench, container(lifecycle=hook))
        begun = anyio.current_time()
        bench.store.delete(ONE)
        await anyio.sleep(1)
        assert bench.machine.times("sigterm") == pytest.approx([begun])
        assert "FailedPreStopHook" in bench.reasons("one")

    run(main, **EXACT)


def test_force_deletion_removes_the_object_at_once_and_the_process_soon() -> None:
    """Grace 0: no object any more; SIGTERM, and SIGKILL after the kubelet's own minimum of two seconds."""

    async def main(bench: Bench) -> None:
        hook = {"preStop": {"sleep": {"seconds": 20}}}
        await _started(bench, container(env={}, lifecycle=hook))
        begun = anyio.current_time()
        bench.store.delete(ONE, 0)
        assert bench.store.find(ONE) is None
        await anyio.sleep(10)
        assert bench.machine.times("sigterm") == pytest.approx([begun + 1])
        assert bench.machine.times("sigkill") == pytest.approx([begun + 3])
        assert len(bench.machine.times("remove-pod")) == 1

    run(main, **EXACT)


def test_a_deletion_can_be_hastened() -> None:
    """A second deletion with a shorter grace kills earlier; a longer one changes nothing."""

    async def main(bench: Bench) -> None:
        await _started(bench, container(env={}))
        begun = anyio.current_time()
        bench.store.delete(ONE)
        await anyio.sleep(1)
        bench.store.delete(ONE, 600)
        assert bench.store.get(ONE)["metadata"]["deletionGracePeriodSeconds"] == 30
        bench.store.delete(ONE, 3)
        await anyio.sleep(10)
        assert bench.machine.times("sigkill") == pytest.approx([begun + 4])

    run(main, **EXACT)


def test_a_pod_that_never_started_goes_without_a_signal() -> None:
    """Deleted while its sandbox is being made: no process, and the object goes."""

    async def main(bench: Bench) -> None:
        bench.store.create(pod())
        await anyio.sleep(0.2)
        bench.store.delete(ONE)
        await anyio.sleep(5)
        assert bench.store.find(ONE) is None
        assert not bench.machine.times("run")

    run(main, **EXACT)


def test_readiness_follows_the_probe_and_its_thresholds() -> None:
    """Not ready until it listens; not ready again after failureThreshold failures in a row, which are reported."""

    async def main(bench: Bench) -> None:
        await _started(bench, container(readinessProbe=readiness(failureThreshold=2), env={"LISTEN_S": 3}))
        assert (condition(bench.store.get(ONE), "Ready") or {})["status"] == "False"
        await anyio.sleep(3)
        assert (condition(bench.store.get(ONE), "Ready") or {})["status"] == "True"
        [process] = bench.machine.processes.values()
        process.command.env["LISTEN_S"] = "9999"  # type: ignore[index]
        await anyio.sleep(1.1)
        assert (condition(bench.store.get(ONE), "Ready") or {})["status"] == "True"
        await anyio.sleep(1.1)
        assert (condition(bench.store.get(ONE), "Ready") or {})["status"] == "False"
        assert "Unhealthy" in bench.reasons("one")

    run(main, **EXACT)


def test_initial_delay_and_success_threshold_hold_readiness_back() -> None:
    """No probe within initialDelaySeconds; successThreshold successes in a row before it counts."""

    async def main(bench: Bench) -> None:
        probe = readiness(initialDelaySeconds=5, successThreshold=3)
        begun = anyio.current_time()
        await _started(bench, container(readinessProbe=probe))
        await anyio.sleep(20)
        ready = next(
            at for at, c in bench.pod_changes("one") if (condition(c.obj, "Ready") or {}).get("status") == "True"
        )
        assert begun + 0.5 + 5 + 2 <= ready <= begun + 0.5 + 5 + 4

    run(main, **EXACT)


def test_a_failing_liveness_probe_restarts_the_container() -> None:
    """Killing, SIGTERM, a new run: restartCount 1, and the last state says how it ended."""

    async def main(bench: Bench) -> None:
        probe = {"httpGet": {"path": "/broken", "port": 8080}, "periodSeconds": 1, "failureThreshold": 3}
        await _started(bench, container(livenessProbe=probe))
        await anyio.sleep(3)
        [status] = bench.store.get(ONE)["status"]["containerStatuses"]
        assert status["restartCount"] == 1
        assert status["lastState"]["terminated"]["exitCode"] == 0
        assert "Killing" in bench.reasons("one")

    run(main, **EXACT)


def test_other_probes_wait_for_the_startup_probe() -> None:
    """Until it succeeds nobody else probes; a slow start is no failure of liveness."""

    async def main(bench: Bench) -> None:
        startup = {"tcpSocket": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 30}
        live = {"tcpSocket": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 1}
        slow = container(startupProbe=startup, livenessProbe=live, readinessProbe=readiness(), env={"LISTEN_S": 8})
        await _started(bench, slow)
        await anyio.sleep(4)
        [status] = bench.store.get(ONE)["status"]["containerStatuses"]
        assert (status["started"], status["ready"], status["restartCount"]) == (False, False, 0)
        await anyio.sleep(8)
        [status] = bench.store.get(ONE)["status"]["containerStatuses"]
        assert (status["started"], status["ready"], status["restartCount"]) == (True, True, 0)

    run(main, **EXACT)


def test_restarts_back_off() -> None:
    """At once, then 10, 20, 40 s: what crashes at once does so at these times."""

    async def main(bench: Bench) -> None:
        await _started(bench, container(env={"EXIT_S": 1, "CODE": 3}))
        await anyio.sleep(98)
        starts = bench.machine.times("run")
        gaps = [round(b - a) for a, b in pairwise(starts)]
        assert gaps == [1, 11, 21, 41]
        [status] = bench.store.get(ONE)["status"]["containerStatuses"]
        assert status["lastState"]["terminated"]["exitCode"] == 3
        assert "BackOff" in bench.reasons("one")

    run(main, **EXACT)


@pytest.mark.parametrize(
    ("policy", "code", "phase", "runs"),
    [("Never", 0, "Succeeded", 1), ("Never", 2, "Failed", 1), ("OnFailure", 0, "Succeeded", 1)],
)
def test_a_pod_may_end_by_itself(policy: str, code: int, phase: str, runs: int) -> None:
    """The restart policy decides; a finished pod stays in the API without its network."""

    async def main(bench: Bench) -> None:
        await _started(bench, container(env={"EXIT_S": 2, "CODE": code}), restartPolicy=policy)
        await anyio.sleep(10)
        assert bench.store.get(ONE)["status"]["phase"] == phase
        assert len(bench.machine.times("run")) == runs
        assert len(bench.machine.times("remove-pod")) == 1
        bench.store.delete(ONE)
        assert bench.store.find(ONE) is None

    run(main, **EXACT)


def test_init_containers_come_first_and_one_after_the_other() -> None:
    """The main container starts when the last init container has succeeded."""

    async def main(bench: Bench) -> None:
        doc = pod("one", container())
        doc["spec"]["initContainers"] = [
            container("first", env={"EXIT_S": 2, "CODE": 0}),
            container("second", env={"EXIT_S": 2, "CODE": 0}),
        ]
        bench.store.create(doc)
        await anyio.sleep(3)
        status = bench.store.get(ONE)["status"]
        assert status["phase"] == "Pending"
        assert [each["ready"] for each in status["initContainerStatuses"]] == [True, False]
        await anyio.sleep(3)
        assert bench.store.get(ONE)["status"]["phase"] == "Running"
        names = [whom.split("/")[1] for _, what, whom in bench.machine.log if what == "run"]
        assert names == ["first", "second", "app"]

    run(main, **EXACT)


def test_a_command_that_does_not_exist_is_told() -> None:
    """StartError with the reason, again and again with back-off, never Running."""

    async def main(bench: Bench) -> None:
        await _started(bench, {**container(), "command": ["missing"]})
        [status] = bench.store.get(ONE)["status"]["containerStatuses"]
        words = str(status)
        assert "executable file not found" in words
        assert "Failed" in bench.reasons("one")

    run(main, **EXACT)


def test_an_in_place_resize_restarts_nothing() -> None:
    """KEP-1287: the resize subresource changes requests; the status follows, the process stays."""

    async def main(bench: Bench) -> None:
        await _started(bench, container(resources={"requests": {"cpu": "20m"}}))
        containers = [
            {**each, "resources": {"requests": {"cpu": "60m"}}} for each in bench.store.get(ONE)["spec"]["containers"]
        ]
        bench.store.patch(ONE, {"spec": {"containers": containers}}, "resize")
        await anyio.sleep(2)
        [status] = bench.store.get(ONE)["status"]["containerStatuses"]
        assert status["resources"]["requests"]["cpu"] == "60m"
        assert status["restartCount"] == 0
        assert len(bench.machine.times("run")) == 1

    run(main, **EXACT)


def test_addresses_are_used_again_last() -> None:
    """As host-local hands them out: a fresh pod never gets the address of the one that has just gone."""

    async def main(bench: Bench) -> None:
        seen = []
        for _ in range(5):
            bench.store.create(pod("one", nodeName="lab-worker"))
            await anyio.sleep(2)
            seen.append(bench.store.get(ONE)["status"]["podIP"])
            bench.store.delete(ONE)
            await anyio.sleep(3)
        assert len(set(seen)) == 5

    run(main, **EXACT)
