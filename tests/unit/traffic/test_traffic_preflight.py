"""What a preflight says when the target does not respond in time."""

from __future__ import annotations

from typing import Any, Self

import anyio
import pytest
import trio.testing

from hazd.errors import EnvironmentProblem
from hazd.model import FailureKind, Phase, Stream, TrafficPlan
from hazd.traffic import preflight
from hazd.traffic.clock import MonotonicClock
from hazd.traffic.preflight import Preflight


class Slow:
    """A sender whose every request is refused after `seconds`, and one that is cancelled counts as "other"."""

    def __init__(self, sink: Any, seconds: float) -> None:
        self.sink, self.seconds = sink, seconds

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    def send(self, seq: int, stream: int, due_ns: int) -> None:
        return None

    async def drain(self) -> None:
        kind = FailureKind.OTHER
        try:
            await anyio.sleep(self.seconds)
            kind = FailureKind.REFUSED
        finally:
            self.sink.add(0, 0, 0, kind, Phase.CONNECT, 0, 111, 0, 0, 0, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(("seconds", "last"), [(0.7, "refused (ECONNREFUSED) in connect"), (99.0, "nothing was heard")])
def test_a_request_that_the_deadline_cancelled_is_no_answer(
    monkeypatch: pytest.MonkeyPatch, seconds: float, last: str
) -> None:
    """The last thing said of the target is what it did itself, never the preflight's own end."""
    monkeypatch.setattr(preflight, "make_sender", lambda plan, sink, clock, headers: Slow(sink, seconds))
    plan = TrafficPlan("http://x/", 1.0, (Stream("new"),), preflight_s=10.0)
    clock = trio.testing.MockClock(autojump_threshold=0)
    with pytest.raises(EnvironmentProblem) as raised:
        anyio.run(Preflight(plan, MonotonicClock()).run, backend="trio", backend_options={"clock": clock})
    assert raised.value.message.endswith(f"last: {last}")
