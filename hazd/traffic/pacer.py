"""When each request is due, as a pure function of the plan: no clock, no state outside the iterators.

All workers compute the same schedule and each takes its own part, so N workers together send it without gaps or
doubles. A due time never depends on how an earlier request went: that is what makes the loop open.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, repeat
from typing import TypeAlias

from hazd.errors import UsageError

NS = 1_000_000_000
Offset: TypeAlias = Callable[[int], int]

__all__ = ["Profile", "choose_streams", "due_times", "parse_profile"]


@dataclass(frozen=True, slots=True)
class Profile:
    """pieces: (seconds, rate at start, rate at end), one after the other; the last rate holds from then on.

    poisson: gaps are drawn at random around the constant rate instead.
    """

    pieces: tuple[tuple[float, float, float], ...]
    poisson: bool = False

    @property
    def peak(self) -> float:
        """The highest rate per second, all workers together."""
        return max(max(first, last) for _, first, last in self.pieces)


def parse_profile(profile: str, rate: float) -> Profile:
    """Reads constant, poisson, ramp:FROM:TO:SECONDS or steps:RATE@SECONDS,... Raises UsageError.

    ramp and steps carry their own rates and leave `rate` aside; after their end the last rate holds.
    """
    name, _, rest = profile.partition(":")
    try:
        if name in ("constant", "poisson") and not rest:
            pieces: tuple[tuple[float, float, float], ...] = ((0.0, float(rate), float(rate)),)
        elif name == "ramp":
            first, last, seconds = (float(part) for part in rest.split(":"))
            pieces = ((seconds, first, last),)
        elif name == "steps":
            pairs = [part.split("@") for part in rest.split(",")]
            pieces = tuple((float(seconds), float(step), float(step)) for step, seconds in pairs)
        else:
            raise ValueError(name)
    except ValueError as error:
        raise UsageError(
            f"profile: {profile!r} is not constant, poisson, ramp:FROM:TO:SECONDS or steps:RATE@SECONDS,..."
        ) from error
    numbers = [number for piece in pieces for number in piece]
    if not all(math.isfinite(number) and number >= 0 for number in numbers):
        raise UsageError(f"profile: {profile!r} with rate {rate} has a negative or unbounded number")
    if pieces[-1][2] <= 0:
        raise UsageError(f"profile: {profile!r} with rate {rate} ends at rate 0, so it never sends again")
    if name in ("ramp", "steps") and any(seconds <= 0 for seconds, _, _ in pieces):
        raise UsageError(f"profile: {profile!r} has a piece of 0 seconds")
    return Profile(pieces, name == "poisson")


def due_times(
    profile: str, rate: float, start_ns: int, shard: int = 0, shards: int = 1, seed: int = 1
) -> Iterator[tuple[int, int]]:
    """(seq, due_ns) of this shard without end, in order; the first request of the schedule is due at start_ns.

    seq numbers the whole schedule; this shard gets seq % shards == shard. In d seconds at a constant rate r there are
    ceil(r * d) due times, and each depends on seq alone, so rounding errors do not add up.
    """
    shape = parse_profile(profile, rate)
    if shape.poisson:
        yield from _poisson(rate, start_ns, shard, shards, seed)
        return
    if len(shape.pieces) == 1 and shape.pieces[0][0] == 0.0:
        for seq in count(shard, shards):
            yield seq, start_ns + int(seq * NS / rate)
        return
    offset = _inverse(shape.pieces)
    for seq in count(shard, shards):
        yield seq, start_ns + offset(seq)


def _poisson(rate: float, start_ns: int, shard: int, shards: int, seed: int) -> Iterator[tuple[int, int]]:
    """Exponential gaps; every shard draws the same numbers, so the shards' union is one Poisson process."""
    draw = random.Random(seed).expovariate
    at_s = 0.0
    for seq in count():
        if seq % shards == shard:
            yield seq, start_ns + int(at_s * NS)
        at_s += draw(rate)


def _inverse(pieces: Sequence[tuple[float, float, float]]) -> Offset:
    """The time (ns) at which the sum of the rate over time reaches n: n rises from call to call."""
    index, before_n, before_s = 0, 0.0, 0.0

    def offset(n: int) -> int:
        nonlocal index, before_n, before_s
        while index < len(pieces):
            seconds, first, last = pieces[index]
            inside = seconds * (first + last) / 2
            if n < before_n + inside:
                return int((before_s + _time_in(n - before_n, seconds, first, last)) * NS)
            before_n, before_s, index = before_n + inside, before_s + seconds, index + 1
        return int((before_s + (n - before_n) / pieces[-1][2]) * NS)

    return offset


def _time_in(n: float, seconds: float, first: float, last: float) -> float:
    """Solves first * t + (last - first) / (2 * seconds) * t^2 = n for t, in the form that loses no digits."""
    if n <= 0:
        return 0.0
    slope = (last - first) / seconds
    return 2 * n / (first + math.sqrt(max(first * first + 2 * slope * n, 0.0)))


def choose_streams(shares: Sequence[float], shard: int = 0) -> Iterator[int]:
    """Which stream each of this shard's requests belongs to: always the one that is furthest behind its share.

    Counted within the shard, not by seq, because seq % shards and an alternation would alias (2 workers and 2 equal
    streams: each worker would send one stream only). Shards begin at different places of the pattern.
    """
    if len(shares) == 1:
        yield from repeat(0)
    total = sum(shares)
    parts = [share / total for share in shares]
    credit = [0.0] * len(parts)
    for turn in count():
        for index, part in enumerate(parts):
            credit[index] += part
        best = max(range(len(parts)), key=credit.__getitem__)
        credit[best] -= 1.0
        if turn >= shard:
            yield best
