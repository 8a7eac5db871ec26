"""auto takes the fast sender above what httpx holds, by this worker's own share, and says why."""

from __future__ import annotations

import pytest

from hazd.model import Stream, TrafficPlan
from hazd.traffic.senders.choice import HTTPX_RATE, choose


@pytest.mark.parametrize(
    ("rate", "shards", "profile", "http2", "sender"),
    [
        (HTTPX_RATE, 1, "constant", False, "httpx"),
        (HTTPX_RATE + 1, 1, "constant", False, "fast"),
        (HTTPX_RATE * 2, 2, "constant", False, "httpx"),
        (1, 1, "ramp:1:9000:5", False, "fast"),
        (9000, 1, "constant", True, "httpx"),
    ],
)
def test_auto(rate: float, shards: int, profile: str, http2: bool, sender: str) -> None:
    plan = TrafficPlan("http://a/", rate, (Stream("n"),), sender="auto", shards=shards, profile=profile, http2=http2)
    name, why = choose(plan)
    assert name == sender
    assert why


@pytest.mark.parametrize("sender", ["httpx", "fast"])
def test_what_is_asked_for_is_taken(sender: str) -> None:
    assert choose(TrafficPlan("http://a/", 1e6, (Stream("n"),), sender=sender)) == (sender, "as asked for")
