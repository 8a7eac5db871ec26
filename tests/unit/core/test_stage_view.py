"""What a wait for a roll-out says of containers that do not start."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
import trio.testing

from hazd.errors import EnvironmentProblem, TimedOut
from hazd.model import Manifest, Ref, Setup, TrafficPlan, Trial
from hazd.stage.containers import troubles
from hazd.stage.view import STUCK_S, View


def pod(reason: str, message: str = "") -> Manifest:
    waiting = {"reason": reason, **({"message": message} if message else {})}
    return {
        "metadata": {"name": "web-1"},
        "status": {"containerStatuses": [{"name": "web", "state": {"waiting": waiting}}]},
    }


class Looking(View):
    """A Deployment that never becomes available, and its pods."""

    def __init__(self, *pods: Manifest) -> None:
        trial = Trial("t", "t", (), 1, 0, 0, 1, Setup(()), TrafficPlan("", 1, ()), timeout_s=300)
        cluster: Any = None
        super().__init__(cluster, trial, Ref("Deployment", "web", "t"), lambda event: None)
        self.seen = pods

    async def deployment(self) -> Manifest:
        return {"metadata": {"generation": 1}, "spec": {"replicas": 1}, "status": {"observedGeneration": 1}}

    async def pods(self) -> list[Manifest]:
        return list(self.seen)


def waited(view: View) -> tuple[float, Exception]:
    """How long it waited, in virtual seconds, and what it raised."""

    async def wait() -> tuple[float, Exception]:
        began = anyio.current_time()
        with pytest.raises((EnvironmentProblem, TimedOut)) as raised:
            await view.rollout_status()
        return anyio.current_time() - began, raised.value

    clock = trio.testing.MockClock(autojump_threshold=0)
    return anyio.run(wait, backend="trio", backend_options={"clock": clock})


@pytest.mark.parametrize("reason", ["ImagePullBackOff", "ErrImageNeverPull", "CreateContainerConfigError"])
def test_what_cannot_start_ends_the_wait_early(reason: str) -> None:
    """After a minute, and not after the whole time-out, with the kubelet's own words."""
    took, error = waited(Looking(pod(reason, "no such image: shop:1")))
    assert isinstance(error, EnvironmentProblem)
    assert f"container web of pod web-1 does not start: {reason}: no such image: shop:1" in error.message
    assert STUCK_S < took < 2 * STUCK_S


def test_what_only_takes_long_is_waited_for() -> None:
    """A restarting container may recover; the timeout then names it."""
    took, error = waited(Looking(pod("ContainerCreating"), pod("CrashLoopBackOff")))
    assert isinstance(error, TimedOut)
    assert took >= 300
    assert list(troubles([pod("ContainerCreating")])) == []
