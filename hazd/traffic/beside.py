"""A second target beside the real one: the plan with a stream of its own for the control target, at a low rate.

Pure. Streams share one schedule by their parts of its rate, so the schedule becomes faster by what the control takes
and the streams that were there keep the rate they had.
"""

from __future__ import annotations

from dataclasses import replace

from hazd.model import CONTROL_STREAM, Stream, TrafficPlan
from hazd.traffic.pacer import Profile

__all__ = ["with_control"]


def with_control(plan: TrafficPlan, rate: float) -> TrafficPlan:
    """The plan with a control stream of `rate` requests/s on new connections; its `url` is still to be filled in.

    In profiles with rates of their own (ramp, steps) it has `rate` at the highest of them and falls and rises with the
    others, so that they too keep exactly their rates. Unchanged for rate 0. Raises UsageError for a profile that cannot
    be read.
    """
    if rate <= 0:
        return plan
    profile = Profile.of(plan)
    factor, parts = 1 + rate / profile.peak, sum(stream.share for stream in plan.streams)
    streams = tuple(replace(stream, share=stream.share / parts / factor) for stream in plan.streams)
    control = Stream(CONTROL_STREAM, share=rate / profile.peak / factor)
    faster = str(profile.scaled(factor))
    return replace(plan, rate=plan.rate + rate * plan.rate / profile.peak, profile=faster, streams=(*streams, control))
