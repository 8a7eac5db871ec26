"""The fleet in virtual time: every record comes home once, whatever is lost on the way; what is missing is named."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from hazd.cluster.kube.errors import Unreachable
from hazd.errors import ClusterError, TimedOut
from hazd.journal import TrialWriter, read_trial
from hazd.traffic.job import worker_job
from hazd.trial.fleet import LOST_AFTER_S, Fleet
from tests.unit.trial.bench import Desk, PretendWorker, now_ns, on_desk, trial

PLAN = trial().traffic


async def launch(desk: Desk, folder: Path, count: int = 2) -> Fleet:
    writer = TrialWriter(folder / "t", {"name": "t"})
    fleet = Fleet(desk, writer, now_ns)
    job = worker_job(namespace="t", nodes=["lab-control-plane"], count=count, image="app:a", labels={"a": "b"})
    try:
        await fleet.launch(job)
    except BaseException:
        writer.close("failed")
        raise
    return fleet


async def send(fleet: Fleet, seconds: float, meanwhile: Callable[[], Awaitable[None]] | None = None) -> None:
    """Traffic for so long, polled beside, then the stop and the rest of the records."""
    await fleet.prepare(PLAN)
    await fleet.start()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fleet.poll, lambda workers: None)
        await anyio.sleep(seconds / 2)
        if meanwhile is not None:
            await meanwhile()
        await anyio.sleep(seconds / 2)
        tasks.cancel_scope.cancel()
    await fleet.stop()
    await fleet.poll(lambda workers: None)


def close(fleet: Fleet, folder: Path) -> tuple[list[dict[str, Any]], list[int]]:
    """The workers' accounts, and the sequence numbers in the journal."""
    accounts = list(fleet.accounts())
    fleet._writer.close("complete")
    return accounts, sorted(read_trial(folder / "t").samples["seq"].tolist())


def test_all_records_come_home_once(tmp_path: Path) -> None:
    """Both parts of the schedule without a gap, up to a common end; checksums agree."""

    async def test(desk: Desk) -> None:
        fleet = await launch(desk, tmp_path)
        await send(fleet, 10)
        accounts, seqs = close(fleet, tmp_path)
        assert seqs == list(range(len(seqs)))
        assert len(seqs) >= 200
        assert [(each["lost"], each["sha256_ok"], each["stopped_by"]) for each in accounts] == [
            (0, True, "controller")
        ] * 2

    on_desk(test)


def test_a_response_that_is_lost_is_fetched_again_by_its_offset(tmp_path: Path) -> None:
    """Every third fetch of records fails after the worker has answered: nothing is lost, nothing doubled."""
    fetches: list[str] = []

    def fault(worker: PretendWorker, method: str, path: str) -> tuple[int, bytes] | None:
        if path.startswith("/records"):
            fetches.append(path)
            if len(fetches) % 3 == 1:
                raise Unreachable("connection reset")
        return None

    async def test(desk: Desk) -> None:
        desk.faults.append(fault)
        fleet = await launch(desk, tmp_path)
        await send(fleet, 10)
        accounts, seqs = close(fleet, tmp_path)
        assert seqs == list(range(len(seqs)))
        assert [each["sha256_ok"] for each in accounts] == [True, True]
        assert len(fetches) > len(set(fetches))

    on_desk(test)


@pytest.mark.parametrize("how", ["deleted", "ended"])
def test_a_lost_worker_is_named_with_what_it_missed(tmp_path: Path, how: str) -> None:
    """Its pod is deleted, or its process ends: due = recorded + lost, the span is known, the other is complete."""

    async def test(desk: Desk) -> None:
        fleet = await launch(desk, tmp_path)

        async def lose() -> None:
            pod = fleet.workers[1].pod
            desk.deaf.add(pod.name)
            if how == "deleted":
                await desk.delete(pod, 0)
            else:
                uid = desk.store.get(pod)["metadata"]["uid"]
                (process,) = [name for name in desk.bench.machine.processes if name.startswith(uid)]
                await desk.bench.machine.kill(process, 9)

        await send(fleet, 20, lose)
        whole, lost = close(fleet, tmp_path)[0]
        assert (whole["lost"], whole["sha256_ok"], whole["error"]) == (0, True, "")
        assert ("its pod is gone" if how == "deleted" else "exit code 137") in lost["error"]
        assert lost["due"] == lost["recorded"] + lost["lost"]
        assert lost["lost"] >= 90
        assert lost["sha256_ok"] is False
        begun, ended = lost["missed_ns"]
        assert 9e9 < ended - begun < 13e9

    on_desk(test)


def test_a_worker_that_falls_silent_is_waited_for_and_then_lost(tmp_path: Path) -> None:
    """Its pod runs but does not answer: a silence shorter than an API server's absence costs nothing."""

    async def test(desk: Desk) -> None:
        fleet = await launch(desk, tmp_path)
        name = fleet.workers[0].pod.name

        async def fall_silent() -> None:
            desk.deaf.add(name)
            await anyio.sleep(LOST_AFTER_S / 2)
            desk.deaf.clear()

        await send(fleet, 10, fall_silent)
        accounts, seqs = close(fleet, tmp_path)
        assert seqs == list(range(len(seqs)))
        assert [each["lost"] for each in accounts] == [0, 0]

    on_desk(test)

    async def silent(desk: Desk) -> None:
        fleet = await launch(desk, tmp_path / "2")

        async def fall_silent() -> None:
            desk.deaf.add(fleet.workers[0].pod.name)
            await anyio.sleep(LOST_AFTER_S + 5)

        await send(fleet, 10, fall_silent)
        lost, whole = close(fleet, tmp_path / "2")[0]
        assert lost["error"].startswith("silent for 6")
        assert lost["due"] == lost["recorded"] + lost["lost"]
        assert (whole["lost"], whole["sha256_ok"]) == (0, True)

    on_desk(silent)


def test_a_worker_that_has_ended_by_itself_needs_no_stop(tmp_path: Path) -> None:
    """It answers the stop with 409: that is an end, not an error, and its account says who stopped it."""

    async def test(desk: Desk) -> None:
        fleet = await launch(desk, tmp_path)

        async def end() -> None:
            worker = desk.workers[fleet.workers[1].pod.name]
            worker.end_ns, worker.stopped_by, worker.state = now_ns(), "SIGTERM", "done"

        await send(fleet, 10, end)
        assert desk.workers[fleet.workers[1].pod.name].stops == []
        whole, ended = close(fleet, tmp_path)[0]
        assert whole["lost"] == 0
        assert ended["error"] == "stopped by SIGTERM"
        assert ended["lost"] > 40

    on_desk(test)


def test_a_stop_that_does_not_arrive_is_sent_again(tmp_path: Path) -> None:
    """The first two are lost on the way; all workers still end at one instant."""
    tries: list[str] = []

    def fault(worker: PretendWorker, method: str, path: str) -> tuple[int, bytes] | None:
        if path == "/stop":
            tries.append(worker.pod)
            if len(tries) <= 2:
                raise Unreachable("connection refused")
        return None

    async def test(desk: Desk) -> None:
        desk.faults.append(fault)
        fleet = await launch(desk, tmp_path)
        await send(fleet, 4)
        ends = [worker.end_ns for worker in desk.workers.values()]
        assert len(set(ends)) == 1
        assert len(tries) == 4
        assert [each["lost"] for each in close(fleet, tmp_path)[0]] == [0, 0]

    on_desk(test)


@pytest.mark.parametrize("sha256", [None, "", "0" * 64])
def test_records_without_their_checksum_are_not_whole(tmp_path: Path, sha256: str | None) -> None:
    """A missing or another checksum: sha256_ok is false, for that worker alone."""

    async def test(desk: Desk) -> None:
        fleet = await launch(desk, tmp_path)
        worker = desk.workers[fleet.workers[0].pod.name]
        status = worker.status

        def without() -> dict[str, Any]:
            found = status()
            del found["sha256"]
            return found if sha256 is None else found | {"sha256": sha256}

        worker.status = without  # type: ignore[method-assign]
        await send(fleet, 4)
        assert [each["sha256_ok"] for each in close(fleet, tmp_path)[0]] == [False, True]

    on_desk(test)


def test_a_workers_clock_is_corrected(tmp_path: Path) -> None:
    """Its clock is 700 ms ahead: it starts and stops at the common instant all the same, and times are ours."""

    async def test(desk: Desk) -> None:
        desk.skew_ns = 700_000_000
        fleet = await launch(desk, tmp_path, count=1)
        begun_ns = now_ns()
        await send(fleet, 4)
        (account,) = fleet.accounts()
        assert abs(account["offset_ns"] + desk.skew_ns) <= account["offset_uncertainty_ns"] + 1
        fleet._writer.close("complete")
        samples = read_trial(tmp_path / "t").samples
        assert begun_ns <= samples["due_ns"].min() < samples["due_ns"].max() <= now_ns()

    on_desk(test)


def test_a_worker_that_never_answers_is_named(tmp_path: Path) -> None:
    """A timeout that says how its pod stands; a process that ended says so at once."""

    async def test(desk: Desk) -> None:
        def deaf(change: Any) -> None:
            if change.obj["kind"] == "Pod":
                desk.deaf.add(change.obj["metadata"]["name"])

        desk.store.on_change(deaf)
        with pytest.raises(BaseExceptionGroup) as raised:
            await launch(desk, tmp_path)
        (first, *_) = raised.value.exceptions
        assert isinstance(first, TimedOut)
        assert "did not answer in 90 s: phase Running" in first.message

    on_desk(test)


def test_a_failed_preflight_ends_the_preparation_with_its_words(tmp_path: Path) -> None:
    """At once, and not after the preflight's whole time."""

    def fault(worker: PretendWorker, method: str, path: str) -> tuple[int, bytes] | None:
        if path == "/prepare":
            worker.answer(method, path, {})
            worker.state, worker.error = "failed", "preflight: 0 of 30; last: refused (ECONNREFUSED) in connect"
            return 200, b"{}"
        return None

    async def test(desk: Desk) -> None:
        desk.faults.append(fault)
        fleet = await launch(desk, tmp_path)
        with pytest.raises(ClusterError, match="ECONNREFUSED"):
            await fleet.prepare(PLAN)
        close(fleet, tmp_path)

    on_desk(test)
