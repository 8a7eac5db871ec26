"""When each request is due, as a pure function of the plan: no clock, no state outside the iterators.

All workers compute the same schedule and each takes its own part, so N workers together send it without gaps or
doubles. A due time never depends on how an earlier request went: that is what makes the loop open.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, repeat
from typing import TypeAlias

from hazd.errors import UsageError
from hazd.model import TrafficPlan

NS = 1_000_000_000
FORMS = "constant, poisson, ramp:FROM:TO:SECONDS or steps:RATE@SECONDS,..."
Offset: TypeAlias = Callable[[int], int]

__all__ = ["FORMS", "Profile", "choose_streams", "due_times"]


@dataclass(frozen=True, slots=True)
class Profile:
    """A load profile. pieces: (seconds, rate at start, rate at end), one after the other; the last rate then holds.

    Rates are per second, all workers together. poisson: gaps are drawn at random around the constant rate instead.
    """

    pieces: tuple[tuple[float, float, float], ...]
    poisson: bool = False

    @classmethod
    def parse(cls, text: str, rate: float) -> Profile:
        """Reads one of FORMS. Raises UsageError.

        ramp and steps carry their own rates, each per second or as a percentage of `rate` ("steps:20%@5,100%@60").
        """
        name, _, rest = text.partition(":")
        try:
            if name in ("constant", "poisson") and not rest:
                pieces: tuple[tuple[float, float, float], ...] = ((0.0, float(rate), float(rate)),)
            elif name == "ramp":
                first, last, seconds = rest.split(":")
                pieces = ((float(seconds), _rate(first, rate), _rate(last, rate)),)
            elif name == "steps":
                pairs = [part.split("@") for part in rest.split(",")]
                pieces = tuple((float(seconds), _rate(step, rate), _rate(step, rate)) for step, seconds in pairs)
            else:
                raise ValueError(name)
        except ValueError as error:
            raise UsageError(f"profile: {text!r} is not {FORMS}") from error
        if not all(math.isfinite(number) and number >= 0 for piece in pieces for number in piece):
            raise UsageError(f"profile: {text!r} with rate {rate} has a negative or unbounded number")
        if pieces[-1][2] <= 0:
            raise UsageError(f"profile: {text!r} with rate {rate} ends at rate 0, so it never sends again")
        if name in ("ramp", "steps") and any(seconds <= 0 for seconds, _, _ in pieces):
            raise UsageError(f"profile: {text!r} has a piece of 0 seconds")
        return cls(pieces, name == "poisson")

    @classmethod
    def of(cls, plan: TrafficPlan) -> Profile:
        """The plan's. Raises UsageError."""
        return cls.parse(plan.profile, plan.rate)

    def __str__(self) -> str:
        """As `parse` reads it; constant and poisson leave their rate to the plan."""
        if self.pieces[0][0] == 0:
            return "poisson" if self.poisson else "constant"
        if len(self.pieces) == 1 and self.pieces[0][1] != self.pieces[0][2]:
            seconds, first, last = self.pieces[0]
            return f"ramp:{first:.15g}:{last:.15g}:{seconds:.15g}"
        return "steps:" + ",".join(f"{rate:.15g}@{seconds:.15g}" for seconds, rate, _ in self.pieces)

    @property
    def peak(self) -> float:
        """The highest rate per second, all workers together."""
        return max(max(first, last) for _, first, last in self.pieces)

    def scaled(self, factor: float) -> Profile:
        """Every rate multiplied, no time changed."""
        return replace(
            self, pieces=tuple((time_s, first * factor, last * factor) for time_s, first, last in self.pieces)
        )

    def due_times(self, start_ns: int, shard: int = 0, shards: int = 1, seed: int = 1) -> Iterator[tuple[int, int]]:
        """(seq, due_ns) of this shard without end, in order; the first request of the schedule is due at start_ns.

        seq numbers the whole schedule; this shard gets seq % shards == shard. In d seconds at a constant rate r there
        are ceil(r * d) due times, and each depends on seq alone, so rounding errors do not add up.
        """
        seconds, rate, _ = self.pieces[0]
        if self.poisson:
            yield from _poisson(rate, start_ns, shard, shards, seed)
        elif seconds == 0:
            for seq in count(shard, shards):
                yield seq, start_ns + int(seq * NS / rate)
        else:
            offset = _inverse(self.pieces)
            for seq in count(shard, shards):
                yield seq, start_ns + offset(seq)


def due_times(plan: TrafficPlan, start_ns: int) -> Iterator[tuple[int, int]]:
    """(seq, due_ns) of the plan's shard, without end. Raises UsageError for a profile that cannot be read."""
    return Profile.of(plan).due_times(start_ns, plan.shard, plan.shards, plan.seed)


def _rate(text: str, whole: float) -> float:
    """A rate per second; "20%" is a share of the whole."""
    return float(text[:-1]) * whole / 100 if text.endswith("%") else float(text)


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
