"""How a command conducts a run: what is refused before anything is opened, and what a closed terminal costs."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from hazd.cli.conduct import ClusterChoice, Interruption, conduct, unbreakable
from hazd.errors import UsageError
from hazd.model import Progress
from hazd.plan import Options


@pytest.mark.parametrize("spec", ["kind", "auto", "context:staging"])
def test_trials_side_by_side_need_labs(spec: str, tmp_path: Path) -> None:
    """On one cluster they would disturb one another: refused, naming option and value, with nothing written."""
    with pytest.raises(UsageError, match=f"--parallel: 2 does not fit --cluster {spec}"):
        conduct([Options(scenario="rollout")], ClusterChoice(spec), out=tmp_path, parallel=2)
    assert list(tmp_path.iterdir()) == []


def test_a_closed_terminal_ends_the_view_and_not_the_run() -> None:
    """The first write that fails is the last one tried; a fault of the view is still a fault."""
    calls: list[str] = []

    def closed(progress: Progress) -> None:
        calls.append(progress.what)
        raise OSError(5, "Input/output error")

    observer = unbreakable(closed)
    observer(Progress("step"))
    observer(Progress("note"))
    assert calls == ["step"]

    def faulty(progress: Progress) -> None:
        raise KeyError(progress.what)

    with pytest.raises(KeyError):
        unbreakable(faulty)(Progress("step"))


def test_an_interruption_ends_every_lane_and_what_comes_later() -> None:
    """Each scope of its own, so that the labs around them stay."""

    async def main() -> list[str]:
        interruption = Interruption()
        ended: list[str] = []

        async def lane(name: str) -> None:
            with interruption.stops():
                await anyio.sleep(60)
            ended.append(name)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lane, "a")
            tasks.start_soon(lane, "b")
            await anyio.wait_all_tasks_blocked()
            interruption.ask()
        await lane("late")
        return ended

    assert sorted(anyio.run(main)) == ["a", "b", "late"]
