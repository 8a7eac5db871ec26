"""The open loop in virtual time: nothing delays the next send, and due = recorded + not sent, always."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

import anyio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from hazd.model import Stream, TrafficPlan
from hazd.traffic.engine import Engine

NS = 1_000_000_000


class VirtualClock:
    def now_ns(self) -> int:
        return round(anyio.current_time() * NS)


class FakeSender:
    """Answers each request after `takes(seq)` seconds of virtual time; what it recorded stands in `sent`."""

    name = "fake"

    def __init__(self, takes: Callable[[int], float], clock: VirtualClock) -> None:
        self._takes = takes
        self._clock = clock
        self.sent: dict[int, tuple[int, int, int]] = {}
        self.recorded: list[int] = []

    async def __aenter__(self) -> Self:
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._tasks.__aexit__(kind, error, trace)

    @property
    def in_flight(self) -> int:
        return len(self.sent) - len(self.recorded)

    def send(self, seq: int, stream: int, due_ns: int) -> None:
        assert seq not in self.sent
        self.sent[seq] = (stream, due_ns, self._clock.now_ns())
        self._tasks.start_soon(self._answer, seq)

    async def _answer(self, seq: int) -> None:
        await anyio.sleep(self._takes(seq))
        self.recorded.append(seq)

    async def drain(self) -> None:
        while self.in_flight:
            await anyio.sleep(0.001)


Beside = Callable[[Engine], object]


def run(
    takes: Callable[[int], float],
    stop_after_s: float | None = None,
    at: list[tuple[float, Beside]] | None = None,
    rate: float = 100.0,
    max_in_flight: int = 2000,
    max_duration_s: float = 5.0,
    shard: int = 0,
    shards: int = 1,
) -> tuple[Engine, FakeSender, int]:
    """A run in virtual time; `at` calls functions in the middle of it."""
    plan = TrafficPlan(
        url="http://127.0.0.1/",
        rate=rate,
        streams=(Stream("new"), Stream("reused", "reused")),
        max_in_flight=max_in_flight,
        max_duration_s=max_duration_s,
        shard=shard,
        shards=shards,
    )

    async def main() -> tuple[Engine, FakeSender, int]:
        clock = VirtualClock()
        start_ns = clock.now_ns() + NS // 10
        async with FakeSender(takes, clock) as sender, anyio.create_task_group() as tasks:
            engine = Engine(plan, sender, clock)
            if stop_after_s is not None:
                engine.stop(start_ns + round(stop_after_s * NS), "controller")
            for when_s, what in at or []:

                async def later(when_s: float = when_s, what: Beside = what) -> None:
                    await anyio.sleep(when_s)
                    what(engine)

                tasks.start_soon(later)
            await engine.run(start_ns)
        return engine, sender, start_ns

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_slow_answers_delay_nothing() -> None:
    """Every request leaves when it is due, although each answer takes 300 times the gap."""
    engine, sender, start_ns = run(lambda seq: 3.0, stop_after_s=2)
    assert (engine.due, engine.not_sent, len(sender.recorded)) == (200, 0, 200)
    for seq, (_, due_ns, sent_ns) in sender.sent.items():
        assert due_ns == start_ns + seq * NS // 100
        assert 0 <= sent_ns - due_ns < 1000  # virtual time is a float
    assert engine.stopped_by == "controller"


def test_in_flight_is_bounded_and_counted() -> None:
    """Beyond max_in_flight requests are counted as not sent, and sending resumes when there is room."""
    engine, sender, _ = run(lambda seq: 1.005, stop_after_s=2, max_in_flight=50)
    assert engine.due == 200
    assert len(sender.recorded) + engine.not_sent == 200
    assert engine.not_sent == engine.not_sent_busy == 100
    assert sorted(sender.sent) == [*range(50), *range(101, 151)]
    assert engine.not_sent_streams == [50, 50]


def test_stops_by_itself() -> None:
    engine, sender, _ = run(lambda seq: 0.01, max_duration_s=1.5)
    assert (engine.due, len(sender.recorded), engine.stopped_by) == (150, 150, "max_duration")


def test_stop_in_the_middle() -> None:
    """What is due before the stop is sent, nothing after it; a later stop does not lengthen the run."""

    def stop_twice(engine: Engine) -> None:
        now_ns = round(trio.current_time() * NS)
        first = engine.stop(now_ns + NS // 2, "controller")
        assert engine.stop(now_ns + NS, "later") == first

    engine, sender, start_ns = run(lambda seq: 0.2, at=[(0.6, stop_twice)])
    assert engine.due == 100
    assert max(due_ns for _, due_ns, _ in sender.sent.values()) < start_ns + NS
    assert len(sender.recorded) == 100
    assert engine.stopped_by == "controller"


def test_stop_in_the_past_is_now() -> None:
    """What was sent already stays due; nothing further is."""
    engine, sender, start_ns = run(lambda seq: 0.2, at=[(0.6, lambda engine: engine.stop(1, "controller"))])
    assert engine.due == len(sender.recorded) == 50
    assert start_ns > 1


def test_far_behind_is_not_sent() -> None:
    """After 3 s in which the process did not run, what is more than 1 s late is counted, the rest is sent at once."""

    class Stopped(VirtualClock):
        def __init__(self) -> None:
            self.skipped_ns = 0

        def now_ns(self) -> int:
            return super().now_ns() + self.skipped_ns

    async def main() -> tuple[Engine, FakeSender]:
        clock = Stopped()
        plan = TrafficPlan(url="http://127.0.0.1/", rate=100.0, streams=(Stream("new"),), max_duration_s=5.0)

        async def stall() -> None:
            await anyio.sleep(1.0049)
            clock.skipped_ns = 3 * NS

        async with FakeSender(lambda seq: 0.01, clock) as sender, anyio.create_task_group() as tasks:
            engine = Engine(plan, sender, clock)
            tasks.start_soon(stall)
            await engine.run(clock.now_ns())
        return engine, sender

    engine, sender = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert engine.due == 500
    assert len(sender.recorded) + engine.not_sent == 500
    assert engine.not_sent_busy == 0
    assert 195 <= engine.not_sent_late <= 205
    assert sum(engine.not_sent_streams) == engine.not_sent
    assert max(sent_ns - due_ns for _, due_ns, sent_ns in sender.sent.values()) <= NS


@settings(max_examples=12, deadline=None)
@given(
    rate=st.integers(1, 300),
    seconds=st.floats(0.1, 2),
    takes=st.lists(st.floats(0, 2), min_size=1, max_size=7),
    limit=st.integers(1, 100),
    shards=st.integers(1, 3),
)
def test_the_sum_is_always_right(rate: int, seconds: float, takes: list[float], limit: int, shards: int) -> None:
    """due = recorded + not sent for any answers, limits and lengths, and the shards' due times are the whole."""
    due = 0
    for shard in range(shards):
        engine, sender, _ = run(
            lambda seq: takes[seq % len(takes)],
            stop_after_s=seconds,
            rate=rate,
            max_in_flight=limit,
            shard=shard,
            shards=shards,
        )
        assert engine.due == len(sender.recorded) + engine.not_sent
        assert sender.in_flight == 0
        due += engine.due
    assert abs(due - rate * seconds) <= 1


def test_each_worker_sends_every_stream() -> None:
    for shard in (0, 1):
        _, sender, _ = run(lambda seq: 0.01, stop_after_s=1, shard=shard, shards=2)
        streams = [stream for stream, _, _ in sender.sent.values()]
        assert (streams.count(0), streams.count(1)) == (25, 25)
