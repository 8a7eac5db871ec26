"""A second target beside the real one: the plan with a stream of its own for the control target, at a low rate.

Pure. Streams share one schedule by their parts of its rate, so the schedule becomes faster by what the control takes
and the streams that were there keep the rate they had.
"""

from __future__ import annotations

from dataclasses import replace

from hazd.model import CONTROL_STREAM, Stream, TrafficPlan
from hazd.traffic.pacer import parse_profile

__all__ = ["faster", "with_control"]


def with_control(plan: TrafficPlan, rate: float) -> TrafficPlan:
    """The plan with a control stream of `rate` requests/s on new connections; its `url` is still to be filled in.

    In profiles with rates of their own (ramp, steps) it has `rate` at the highest of them and falls and rises with the
    others, so that they too keep exactly their rates. Unchanged for rate 0. Raises UsageError for a profile that cannot
    be read.
    """
    if rate <= 0:
        return plan
    peak = parse_profile(plan.profile, plan.rate).peak
    factor, parts = 1 + rate / peak, sum(stream.share for stream in plan.streams)
    streams = tuple(replace(stream, share=stream.share / parts / factor) for stream in plan.streams)
    control = Stream(CONTROL_STREAM, share=rate / peak / factor)
    profile = faster(plan.profile, factor)
    return replace(plan, rate=plan.rate + rate * plan.rate / peak, profile=profile, streams=(*streams, control))


def faster(profile: str, factor: float) -> str:
    """A profile with every rate in it multiplied; one that carries none (constant, poisson) is left as it is."""
    name, _, rest = profile.partition(":")
    if name == "ramp":
        first, last, seconds = rest.split(":")
        return f"ramp:{_times(first, factor)}:{_times(last, factor)}:{seconds}"
    if name == "steps":
        steps = (step.split("@") for step in rest.split(","))
        return "steps:" + ",".join(f"{_times(rate, factor)}@{seconds}" for rate, seconds in steps)
    return profile


def _times(number: str, factor: float) -> str:
    return f"{float(number) * factor:.15g}"
