"""The control stream beside the others: it takes nothing from them, whatever the profile."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazd.model import CONTROL_STREAM, Stream, TrafficPlan
from hazd.traffic.beside import with_control
from hazd.traffic.pacer import Profile, choose_streams, due_times
from hazd.traffic.plan_json import plan_from_json, plan_problems, plan_to_json

S = 1_000_000_000
RATES = st.floats(0.5, 20_000, allow_nan=False)
PROFILES = ("constant", "poisson", "ramp:50:300:20", "steps:40@5,200@10,40@60")


def plan(rate: float = 200.0, profile: str = "constant", *shares: float) -> TrafficPlan:
    streams = tuple(Stream(f"s{number}", share=share) for number, share in enumerate(shares or (0.5, 0.5)))
    return TrafficPlan("http://10.0.0.1/", rate, streams, profile=profile)


@given(RATES, st.floats(0.1, 100), st.lists(st.floats(0.1, 5), min_size=1, max_size=4), st.sampled_from(PROFILES))
def test_every_stream_keeps_its_rate(rate: float, control: float, shares: list[float], profile: str) -> None:
    """At every moment the others' part of the faster schedule is what all of the old one was."""
    before = plan(rate, profile, *shares)
    after = with_control(before, control)
    old, new = Profile.of(before), Profile.of(after)
    whole, parts = sum(stream.share for stream in after.streams), sum(shares)
    assert whole == pytest.approx(1)
    for (_, *rates), (_, *faster_rates) in zip(old.pieces, new.pieces, strict=True):
        for old_rate, new_rate in zip(rates, faster_rates, strict=True):
            for stream, share in zip(after.streams, shares, strict=False):
                assert new_rate * stream.share == pytest.approx(old_rate * share / parts)
    assert new.peak * after.streams[-1].share == pytest.approx(control)
    assert (after.streams[-1].name, after.streams[-1].connection) == (CONTROL_STREAM, "new")


@pytest.mark.parametrize("shards", [1, 3])
def test_ten_seconds_hold_what_was_asked_for(shards: int) -> None:
    """200/s and 5/s of control: 1,000 new, 1,000 reused, 50 control in ten seconds, however many workers share them."""
    after, counts = with_control(plan(), 5), Counter[int]()
    for shard in range(shards):
        due = due_times(replace(after, shard=shard, shards=shards), 0)
        streams = choose_streams([stream.share for stream in after.streams], shard)
        counts.update(
            stream for (_, due_ns), stream in zip(islice(due, 3000), streams, strict=False) if due_ns < 10 * S
        )
    assert [counts[0], counts[1], counts[2]] == pytest.approx([1000, 1000, 50], abs=shards)


def test_no_control_changes_nothing() -> None:
    """Rate 0 is off."""
    assert with_control(plan(), 0) == plan()


@pytest.mark.parametrize("profile", PROFILES)
def test_the_plan_goes_over_the_wire(profile: str) -> None:
    """A worker takes it as it takes any other."""
    after = with_control(plan(profile=profile), 5)
    assert not plan_problems(after)
    assert plan_from_json(plan_to_json(after)) == after
