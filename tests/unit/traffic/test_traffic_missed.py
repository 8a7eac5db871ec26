"""What a lost worker missed: counted exactly, from the first request nobody holds, and never forgotten in the sum."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hazd.model import TrafficPlan
from hazd.traffic.missed import Missed, find_missed
from hazd.traffic.pacer import due_times

NS = 1_000_000_000
T0 = 1_790_000_000 * NS


def plan(rate: float = 100.0, shard: int = 1, shards: int = 2, profile: str = "constant") -> TrafficPlan:
    return TrafficPlan("http://x", rate, (), profile=profile, shard=shard, shards=shards)


def test_the_span_begins_with_the_first_request_that_is_not_recorded() -> None:
    """100/s over two workers, the second lost after seq 39: seqs 41 to 99 are missing, from 0.41 s to the end."""
    assert find_missed(plan(), T0, T0 + NS, range(1, 40, 2)) == Missed(50, 30, T0 + 410_000_000, T0 + NS)


def test_a_hole_before_the_last_record_begins_the_span() -> None:
    """A slow request that was still under way when the worker vanished is as lost as those after it."""
    have = [seq for seq in range(1, 40, 2) if seq != 7]
    assert find_missed(plan(), T0, T0 + NS, have) == Missed(50, 31, T0 + 70_000_000, T0 + NS)


def test_nothing_is_missing_from_a_worker_that_handed_all_over() -> None:
    """No request, an empty span; records sent just after the end belong to what was due."""
    assert find_missed(plan(), T0, T0 + NS, range(1, 104, 2)) == Missed(52, 0, T0 + NS, T0 + NS)


def test_what_is_known_as_not_sent_is_not_lost() -> None:
    """It is counted already: due = recorded + not sent + lost."""
    assert find_missed(plan(), T0, T0 + NS, range(1, 40, 2), not_sent=4).requests == 26


def test_the_schedule_ends_with_its_longest_duration() -> None:
    """After max_duration_s nothing was owed, however late the stop came."""
    assert find_missed(plan(), T0, T0 + 5000 * NS, ()).due == 900 * 50


@settings(deadline=None)
@given(
    st.sampled_from(["constant", "poisson", "ramp:10:90:2", "steps:50@1,20@1"]),
    st.integers(1, 4),
    st.sets(st.integers(0, 120)),
    st.floats(0.1, 3.0),
)
@pytest.mark.parametrize("lost", [0, 1])
def test_due_is_recorded_and_lost_whatever_was_recorded(
    lost: int, profile: str, shards: int, held: set[int], seconds: float
) -> None:
    """For every profile and shard, and any set of records of it, the sum holds and the span covers every hole."""
    shard = lost % shards
    mine = plan(60.0, shard, shards, profile)
    end_ns = T0 + int(seconds * NS)
    due: dict[int, int] = {}
    for seq, at_ns in due_times(mine, T0):
        if at_ns >= end_ns:
            break
        due[seq] = at_ns
    have = held & due.keys()
    found = find_missed(mine, T0, end_ns, have)
    assert found.due == len(due) == len(have) + found.requests
    holes = [at_ns for seq, at_ns in due.items() if seq not in have]
    assert found.from_ns == min(holes, default=end_ns)
    assert found.until_ns == end_ns
