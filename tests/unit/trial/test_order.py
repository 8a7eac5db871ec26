"""The order of a trial in virtual time: what it leaves in the cluster and on disk, however it ends."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import anyio
import pytest

from hazd.cluster.port import UNDO_ANNOTATION
from hazd.errors import ClusterError, Crash, EnvironmentProblem, HazdError, TimedOut
from hazd.journal import read_trial
from hazd.stage import Stage
from hazd.trial.order import OneTrial
from tests.unit.trial.bench import IMAGES, Desk, Shown, now_ns, on_desk, scenario, trial, trial_json

STEPS = (
    "namespace",
    "workload",
    "workload becomes ready",
    "traffic workers",
    "first responses",
    "warm-up",
    "disruption: poke",
    "settling",
)


async def nothing(stage: Stage) -> None:
    await stage.sleep(1)


async def cordon_and_wait(stage: Stage) -> None:
    await stage.cordon("lab-worker")
    await stage.sleep(2)


def one(desk: Desk, folder: Path, disrupt: Any = nothing, shown: Shown | None = None, **more: Any) -> OneTrial:
    (folder / "run" / "trials").mkdir(parents=True, exist_ok=True)
    keep = more.pop("keep", False)
    return OneTrial(
        desk, scenario(disrupt), trial(**more), IMAGES, folder / "run", 0, shown or Shown(), keep=keep, now_ns=now_ns
    )


def untouched(desk: Desk) -> bool:
    """Whether no namespace of the trial and no mark on a node is left."""
    nodes = desk.store.list("Node")
    marked = [node for node in nodes if UNDO_ANNOTATION in (node["metadata"].get("annotations") or {})]
    cordoned = [node for node in nodes if node["spec"].get("unschedulable")]
    return not marked and not cordoned and not [name for name in desk.namespaces() if name.startswith("hazd-")]


def test_a_trial_that_goes_well_is_complete(tmp_path: Path) -> None:
    """All records of both workers are home, due = recorded, the phases are in order, and nothing is left."""

    async def test(desk: Desk) -> None:
        shown = Shown()
        await one(desk, tmp_path, cordon_and_wait, shown).run()
        assert shown.steps == [*STEPS, "taking down"]
        record = read_trial(tmp_path / "run/trials/t")
        assert record.meta["state"] == "complete"
        assert record.problems == ()
        assert [worker["sha256_ok"] for worker in record.meta["workers"]] == [True, True]
        due = sum(worker["due"] for worker in record.meta["workers"])
        assert due == len(record.samples) == record.samples["seq"].nunique()
        assert due > 20 * 5
        phases = list(record.meta["phases"].values())
        assert phases[:1] + phases[2:] == sorted(phases[:1] + phases[2:]) or phases == sorted(phases)
        assert untouched(desk)

    on_desk(test)


def test_the_teardown_restores_first_and_removes_the_namespace_last(tmp_path: Path) -> None:
    """The cordon goes first, as it hurts others; then what makes pods, then pods, then the namespace."""

    async def fail(stage: Stage) -> None:
        await stage.cordon("lab-worker")
        raise ClusterError("no such luck")

    async def test(desk: Desk) -> None:
        with pytest.raises(ClusterError, match="no such luck"):
            await one(desk, tmp_path, fail).run()
        end = desk.verbs[desk.verbs.index("patch Node") + 1 :]
        order = list(dict.fromkeys(verb for verb in end if verb != "patch Lease"))
        assert order == ["patch Node", "delete Deployment", "delete Job", "delete Pod", "delete Namespace"]
        assert untouched(desk)

    on_desk(test)


@pytest.mark.parametrize("step", STEPS)
def test_a_trial_cancelled_at_any_step_leaves_nothing_and_keeps_what_it_has(tmp_path: Path, step: str) -> None:
    """Ctrl-C: recorded as interrupted, its journal is readable, the node and the namespaces are as before."""

    async def test(desk: Desk) -> None:
        shown = Shown()
        with anyio.CancelScope() as scope:
            shown.on_step = lambda text: scope.cancel() if text == step else None
            await one(desk, tmp_path, cordon_and_wait, shown).run()
        assert scope.cancelled_caught
        record = read_trial(tmp_path / "run/trials/t")
        assert record.meta["state"] == "interrupted"
        assert record.meta["error"] == ""
        sent = sum(worker["due"] for worker in record.meta["workers"])
        assert len(record.samples) == sent
        assert (sent > 0) == (STEPS.index(step) >= STEPS.index("warm-up"))
        assert untouched(desk)

    on_desk(test)


def test_an_unexpected_error_is_the_trials_own_with_its_traceback(tmp_path: Path) -> None:
    """A fault of hazd's or of a scenario: state failed, one line, the traceback in the folder, records kept."""

    async def fault(stage: Stage) -> None:
        raise OSError(17, "File exists")

    async def test(desk: Desk) -> None:
        with pytest.raises(Crash, match=r"FileExistsError: .*File exists") as raised:
            await one(desk, tmp_path, fault).run()
        folder = tmp_path / "run/trials/t"
        assert "traceback.txt" in raised.value.hint
        assert "in fault" in (folder / "traceback.txt").read_text()
        record = read_trial(folder)
        assert (record.meta["state"], record.meta["error"]) == ("failed", raised.value.message)
        assert len(record.samples) > 0
        assert untouched(desk)

    on_desk(test)


def test_a_full_disk_is_one_error_and_keeps_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every write fails from the disruption on: a remedy instead of a traceback, all is torn down, samples stay."""

    async def test(desk: Desk) -> None:
        def full(*args: Any, **fields: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        async def fill(stage: Stage) -> None:
            for name in ("add_samples", "add_event", "update", "close"):
                monkeypatch.setattr(single.writer, name, full)
            await stage.cordon("lab-worker")

        single = one(desk, tmp_path, fill)
        with pytest.raises(EnvironmentProblem, match="No space left on device") as raised:
            await single.run()
        assert "`hazd report`" in raised.value.hint
        folder = tmp_path / "run/trials/t"
        assert not (folder / "traceback.txt").exists()
        assert len(read_trial(folder).samples) > 0
        assert untouched(desk)
        monkeypatch.undo()
        single.writer.close("failed")

    on_desk(test)


def test_a_disruption_that_does_not_end_is_a_timeout(tmp_path: Path) -> None:
    """--timeout bounds it; the traffic before it is complete."""

    async def hang(stage: Stage) -> None:
        await stage.sleep(1e6)

    async def test(desk: Desk) -> None:
        with pytest.raises(TimedOut, match="poke did not end in 60 s"):
            await one(desk, tmp_path, hang).run()
        assert trial_json(tmp_path / "run/trials/t")["state"] == "failed"

    on_desk(test)


def test_a_namespace_of_that_name_is_nobodys_to_remove(tmp_path: Path) -> None:
    """It was there before: an error, and it stays."""

    async def test(desk: Desk) -> None:
        desk.store.create({"kind": "Namespace", "metadata": {"name": "hazd-run-0"}})
        with pytest.raises(HazdError, match="exists already"):
            await one(desk, tmp_path).run()
        assert "hazd-run-0" in desk.namespaces()

    on_desk(test)


def test_keep_leaves_the_namespace_and_says_how_to_remove_it(tmp_path: Path) -> None:
    """The workload still runs in it, the node is restored all the same, and no living run holds it."""

    async def test(desk: Desk) -> None:
        shown = Shown()
        await one(desk, tmp_path, cordon_and_wait, shown, keep=True).run()
        assert "hazd-run-0" in desk.namespaces()
        assert len(desk.app_pods()) == 4
        assert any("`hazd clean`" in note and "kubectl delete namespace hazd-run-0" in note for note in shown.notes)
        assert desk.store.list("Lease", "hazd-run-0") == []
        assert not desk.store.list("Node")[1]["spec"].get("unschedulable")

    on_desk(test)
