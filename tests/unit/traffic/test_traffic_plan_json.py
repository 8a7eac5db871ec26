"""A plan survives the way over the wire, and everything wrong with one is said at once."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from hazd.errors import UsageError
from hazd.model import Stream, TrafficPlan
from hazd.traffic.plan_json import plan_from_json, plan_problems, plan_to_json

PLAN = TrafficPlan(
    url="https://app.test:8443/p?q=1",
    rate=200,
    streams=(Stream("new"), Stream("reused", "reused", 0.25, 4, 100, 1.5)),
    method="POST",
    headers=(("A", "1"), ("a", "2")),
    body="é",
    expect=(200, 204),
)


def test_round_trip() -> None:
    assert plan_from_json(plan_to_json(PLAN)) == PLAN
    assert plan_from_json(plan_to_json(PLAN).encode()) == PLAN


def test_defaults() -> None:
    text = json.dumps({"url": "http://a/", "rate": 1, "streams": [{"name": "n"}]})
    assert plan_from_json(text) == TrafficPlan(url="http://a/", rate=1.0, streams=(Stream("n"),))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"url": "ftp://x/"}, "url: 'ftp://x/'"),
        ({"url": "http://x:99999/"}, "url: "),
        ({"url": "http://[::1/"}, "url: "),
        ({"url": 5}, "plan.url: expected str, not 5"),
        ({"rate": -1}, "rate -1"),
        ({"rate": "5"}, "plan.rate: expected float"),
        ({"rate": True}, "plan.rate: expected float"),
        ({"profile": "bumpy"}, "profile: 'bumpy'"),
        ({"timeout_s": 0}, "timeout_s: 0"),
        ({"max_in_flight": 0}, "max_in_flight: 0"),
        ({"shard": 2, "shards": 2}, "shard: 2"),
        ({"sender": "curl"}, "sender: 'curl'"),
        ({"sender": "fast", "http2": True}, "http2: "),
        ({"expect": []}, "expect: "),
        ({"expect": ["200"]}, "plan.expect: "),
        ({"method": "GET /"}, "method: 'GET /'"),
        ({"headers": [["a b", "1"]]}, "headers: 'a b'"),
        ({"headers": [["a", "1\r\nb: 2"]]}, "headers: 'a'"),
        ({"headers": ["a"]}, "plan.headers: "),
        ({"streams": []}, "streams: 0"),
        ({"streams": [5]}, "streams[0]: expected an object"),
        ({"streams": [{"name": "n", "connection": "old"}]}, "connection 'old'"),
        ({"streams": [{"name": "n", "share": 0}]}, "share 0"),
        ({"streams": [{"name": "n", "pool": 0}]}, "pool 0"),
        ({"streams": [{"name": "n", "size": 0}]}, "streams[0].size: unknown field"),
        ({"url": "http://x/a b"}, "url: 'http://x/a b'"),
        ({"streams": [{"name": "n", "url": "x"}]}, "stream 'n': url 'x'"),
        ({"streams": [{}]}, "streams[0].name: missing"),
        ({"surprise": 1}, "plan.surprise: unknown field"),
    ],
)
def test_bad_plans(change: dict[str, Any], said: str) -> None:
    """The field and the value are named."""
    with pytest.raises(UsageError) as caught:
        plan_from_json(json.dumps({**asdict(PLAN), **change}))
    assert said in caught.value.message


def test_all_problems_at_once() -> None:
    problems = plan_problems(replace(PLAN, rate=0, timeout_s=-1, sender="x", streams=()))
    assert [problem.partition(":")[0] for problem in problems] == ["profile", "timeout_s", "sender", "streams"]


@pytest.mark.parametrize("text", ["", "[]", "5", "{", b"\xff"])
def test_not_a_plan(text: str | bytes) -> None:
    with pytest.raises(UsageError):
        plan_from_json(text)
