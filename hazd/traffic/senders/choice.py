"""Which sender a plan gets, and why; the one place that knows them all."""

from __future__ import annotations

from hazd.model import TrafficPlan
from hazd.traffic.clock import Clock
from hazd.traffic.pacer import Profile
from hazd.traffic.senders.port import Sender, Sink

HTTPX_RATE = 1000.0
"""Requests a second one worker can send through httpx on half a core, new connections included (bench/traffic)."""

__all__ = ["HTTPX_RATE", "choose", "make_sender"]


def choose(plan: TrafficPlan) -> tuple[str, str]:
    """(sender, why) for this worker's share of the plan's highest rate."""
    if plan.sender != "auto":
        return plan.sender, "as asked for"
    rate = Profile.of(plan).peak / plan.shards
    if plan.http2:
        return "httpx", "only httpx speaks HTTP/2"
    if rate > HTTPX_RATE:
        return "fast", f"up to {rate:g} requests/s in one worker is above what httpx holds ({HTTPX_RATE:g})"
    return "httpx", f"up to {rate:g} requests/s in one worker is within what httpx holds ({HTTPX_RATE:g})"


def make_sender(plan: TrafficPlan, sink: Sink, clock: Clock, extra_headers: tuple[tuple[str, str], ...] = ()) -> Sender:
    """Not entered yet."""
    if choose(plan)[0] == "fast":
        from hazd.traffic.senders.fast import FastSender

        return FastSender(plan, sink, clock, extra_headers)
    from hazd.traffic.senders.httpx import HttpxSender

    return HttpxSender(plan, sink, clock, extra_headers)
