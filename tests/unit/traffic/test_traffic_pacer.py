"""The schedule is a pure function of the plan, whole over all shards, and streams get their shares in each."""

from __future__ import annotations

from collections import Counter
from itertools import islice, pairwise, takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazd.errors import UsageError
from hazd.traffic.pacer import Profile, choose_streams

NS = 1_000_000_000
START = 1_795_000_000 * NS
PROFILES = st.sampled_from(["constant", "poisson", "ramp:0:500:2", "ramp:300:10:1", "steps:100@0.5,0@0.3,250@1"])


def within(profile: str, rate: float, seconds: float, shard: int = 0, shards: int = 1) -> list[tuple[int, int]]:
    end_ns = START + round(seconds * NS)
    return list(takewhile(lambda item: item[1] < end_ns, Profile.parse(profile, rate).due_times(START, shard, shards)))


@given(rate=st.integers(1, 3000), seconds=st.integers(1, 5))
def test_rate_times_duration(rate: int, seconds: int) -> None:
    """As many due times as rate x duration, the first at the start, all gaps alike to the nanosecond."""
    times = [due_ns for _, due_ns in within("constant", rate, seconds)]
    assert len(times) == rate * seconds
    assert times[0] == START
    gaps = {later - earlier for earlier, later in pairwise(times)}
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_no_drift_in_a_day() -> None:
    """Each due time follows from its seq alone: after a day at 1,000/s it is right to the nanosecond."""
    seq, due_ns = next(Profile.parse("constant", 1000).due_times(START, shard=86_399_999, shards=86_400_000))
    assert (seq, due_ns) == (86_399_999, START + 86_399_999 * 1_000_000)


@given(profile=PROFILES, rate=st.floats(1, 400), shards=st.integers(1, 7))
def test_shards_make_up_the_whole(profile: str, rate: float, shards: int) -> None:
    """The shards' union is the schedule of one worker: no gap, no double, the same times."""
    whole = within(profile, rate, 1.5)
    parts = [within(profile, rate, 1.5, shard, shards) for shard in range(shards)]
    assert sorted(item for part in parts for item in part) == whole
    assert all(seq % shards == shard for shard, part in enumerate(parts) for seq, _ in part)
    assert [seq for seq, _ in whole] == list(range(len(whole)))


@given(profile=PROFILES, rate=st.floats(1, 400))
def test_times_never_go_back(profile: str, rate: float) -> None:
    times = [due_ns for _, due_ns in islice(Profile.parse(profile, rate).due_times(START), 500)]
    assert times == sorted(times)
    assert times[0] >= START


@pytest.mark.parametrize(
    ("profile", "seconds", "count"),
    [
        ("ramp:0:100:2", 2, 100),  # the area under the line
        ("ramp:100:300:4", 4, 800),
        ("ramp:100:300:4", 6, 1400),  # the last rate holds
        ("ramp:300:100:4", 4, 800),
        ("steps:100@1,200@2", 3, 500),
        ("steps:100@1,0@1,50@1", 2, 100),
        ("steps:100@1,0@1,50@1", 4, 200),
    ],
)
def test_profiles_reach_their_sums(profile: str, seconds: float, count: int) -> None:
    """The number of due times is the integral of the rate, to one request at the edge."""
    assert abs(len(within(profile, 1, seconds)) - count) <= 1


def test_a_pause_is_silent() -> None:
    times = [due_ns - START for _, due_ns in within("steps:100@1,0@1,50@1", 1, 3)]
    assert [t for t in times if NS <= t < 2 * NS - 1000] == []


def test_poisson_is_poisson() -> None:
    """Mean and variance of the counts per 100 ms agree (the mark of a Poisson process), and the seed decides."""
    counts = Counter((due_ns - START) // (NS // 10) for _, due_ns in within("poisson", 200, 100))
    values = [counts[n] for n in range(1000)]
    mean = sum(values) / 1000
    variance = sum((value - mean) ** 2 for value in values) / 999
    assert 19 < mean < 21
    assert 0.85 < variance / mean < 1.15
    again = list(islice(Profile.parse("poisson", 200).due_times(START, seed=1), 50))
    assert again == list(islice(Profile.parse("poisson", 200).due_times(START, seed=1), 50))
    assert again != list(islice(Profile.parse("poisson", 200).due_times(START, seed=2), 50))


@given(shares=st.lists(st.floats(0.05, 1), min_size=1, max_size=5), shard=st.integers(0, 8))
def test_streams_get_their_shares_smoothly(shares: list[float], shard: int) -> None:
    """In any first n requests each stream is within one or two requests of its share, in every shard."""
    total = sum(shares)
    counts = [0] * len(shares)
    start = [0.0] * len(shares)
    for stream in islice(choose_streams(shares), shard):
        start[stream] += 1
    for n, stream in enumerate(islice(choose_streams(shares, shard), 200), start=1):
        counts[stream] += 1
        for index, share in enumerate(shares):
            assert abs(counts[index] + start[index] - share / total * (n + shard)) < len(shares)


def test_equal_streams_alternate_in_every_shard() -> None:
    """2 workers and 2 streams: counting by seq would give each worker one stream only."""
    for shard in (0, 1):
        first = list(islice(choose_streams([0.5, 0.5], shard), 6))
        assert sorted(first[:2]) == sorted(first[2:4]) == [0, 1]


@pytest.mark.parametrize(
    "profile",
    [
        *("", "linear", "constant:5", "ramp:1:2", "ramp:1:2:0", "ramp:1:0:5", "ramp:a:2:3", "ramp:-1:2:3"),
        *("steps:", "steps:5", "steps:5@0", "steps:5@1,0@1", "steps:inf@1", "steps:nan@1"),
    ],
)
def test_bad_profiles(profile: str) -> None:
    """The message names the field and the value."""
    with pytest.raises(UsageError, match="profile: "):
        Profile.parse(profile, 10)


@pytest.mark.parametrize("rate", [0, -1, float("inf"), float("nan")])
def test_bad_rates(rate: float) -> None:
    with pytest.raises(UsageError, match="rate"):
        Profile.parse("constant", rate)


def test_peak() -> None:
    assert Profile.parse("constant", 7).peak == 7
    assert Profile.parse("ramp:5:50:3", 7).peak == 50
    assert Profile.parse("steps:5@1,80@2,9@1", 7).peak == 80


@given(profile=PROFILES, rate=st.floats(1, 400), factor=st.floats(0.1, 10))
def test_scaling_multiplies_rates_alone(profile: str, rate: float, factor: float) -> None:
    """Every rate is multiplied and no time changed, and the text of the scaled profile means the same schedule."""
    plain = Profile.parse(profile, rate)
    scaled = plain.scaled(factor)
    assert scaled.peak == pytest.approx(plain.peak * factor)
    assert [piece[0] for piece in scaled.pieces] == [piece[0] for piece in plain.pieces]
    again = Profile.parse(str(scaled), rate * factor)
    assert again.poisson == scaled.poisson
    assert [number for piece in again.pieces for number in piece] == pytest.approx(
        [number for piece in scaled.pieces for number in piece]
    )


def test_percentages_are_shares_of_the_rate() -> None:
    """So that --rate scales the whole of a scenario's profile; plain numbers stay, and so does their text."""
    assert str(Profile.parse("steps:20%@5,100%@60,7@1", 300)) == "steps:60@5,300@60,7@1"
    assert str(Profile.parse("ramp:10%:50:20", 300)) == "ramp:30:50:20"
