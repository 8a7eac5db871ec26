"""TrafficPlan to JSON and back: what the controller posts to /prepare and the worker reads.

Pure. Everything wrong with a plan is reported at once, with the field's name and value, before anything is sent.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from typing import Any
from urllib.parse import urlsplit

from hazd.errors import UsageError
from hazd.model import Stream, TrafficPlan
from hazd.traffic.pacer import parse_profile

SENDERS = ("httpx", "fast", "auto")
MAX_STREAMS = 255
MAX_POOL = 10_000

__all__ = ["MAX_STREAMS", "SENDERS", "plan_from_json", "plan_problems", "plan_to_json"]


def plan_to_json(plan: TrafficPlan) -> str:
    return json.dumps(asdict(plan), separators=(",", ":"))


def plan_from_json(text: str | bytes) -> TrafficPlan:
    """Raises UsageError with every problem found, one a line."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise UsageError(f"traffic plan: not JSON: {error}") from error
    if not isinstance(data, dict):
        raise UsageError(f"traffic plan: expected an object, not {type(data).__name__}")
    problems: list[str] = []
    values = _typed("plan", TrafficPlan, data, problems)
    raw_streams = data.get("streams")
    streams: list[Stream] = []
    if isinstance(raw_streams, list):
        for index, item in enumerate(raw_streams):
            name = f"streams[{index}]"
            if not isinstance(item, dict):
                problems.append(f"{name}: expected an object, not {item!r}")
                continue
            stream_values = _typed(name, Stream, item, problems)
            if "name" in stream_values:
                streams.append(Stream(**stream_values))
    if problems:
        raise UsageError("traffic plan: " + "\n".join(problems))
    values["streams"] = tuple(streams)
    values["headers"] = tuple((str(k), str(v)) for k, v in values.get("headers", ()))
    values["expect"] = tuple(values.get("expect", (200,)))
    plan = TrafficPlan(**values)
    problems = plan_problems(plan)
    if problems:
        raise UsageError("traffic plan: " + "\n".join(problems))
    return plan


def _typed(where: str, cls: type[Any], data: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """The known fields of `data` with the JSON type their annotation asks for; the rest becomes problems."""
    known = {field.name: field for field in fields(cls)}
    problems.extend(f"{where}.{key}: unknown field" for key in data if key not in known)
    values: dict[str, Any] = {}
    for name, field in known.items():
        if name not in data:
            if field.default is MISSING and field.default_factory is MISSING:
                problems.append(f"{where}.{name}: missing")
            continue
        value, kind = data[name], str(field.type)
        if _fits(value, kind):
            values[name] = float(value) if kind == "float" else value
        else:
            problems.append(f"{where}.{name}: expected {kind}, not {value!r}")
    return values


def _fits(value: object, kind: str) -> bool:
    if kind == "str":
        return isinstance(value, str)
    if kind == "bool":
        return isinstance(value, bool)
    if kind == "int":
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == "float":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if not isinstance(value, list):
        return False
    if "int" in kind:
        return all(isinstance(item, int) and not isinstance(item, bool) for item in value)
    if "str" in kind:
        return all(isinstance(item, list) and len(item) == 2 for item in value)
    return True


def plan_problems(plan: TrafficPlan) -> list[str]:
    """Everything in a plan that cannot mean anything; empty when it can be sent."""
    out: list[str] = []

    def need(good: bool, text: str) -> None:
        if not good:
            out.append(text)

    problem = _url_problem(plan.url)
    need(not problem, f"url: {plan.url!r} {problem}")
    try:
        parse_profile(plan.profile, plan.rate)
    except UsageError as error:
        out.append(error.message)
    for name in ("timeout_s", "max_duration_s", "preflight_s"):
        value = getattr(plan, name)
        need(math.isfinite(value) and value > 0, f"{name}: {value} is not above 0")
    need(plan.max_in_flight >= 1, f"max_in_flight: {plan.max_in_flight} is below 1")
    need(0 <= plan.shard < plan.shards, f"shard: {plan.shard} is not one of {plan.shards} shards")
    need(plan.sender in SENDERS, f"sender: {plan.sender!r} is not one of {', '.join(SENDERS)}")
    need(not (plan.http2 and plan.sender == "fast"), "http2: only the httpx sender speaks HTTP/2")
    need(
        bool(plan.expect) and all(200 <= s <= 599 for s in plan.expect),
        f"expect: {plan.expect} is not a list of statuses",
    )
    need(_token(plan.method), f"method: {plan.method!r} is not an HTTP method")
    for name, value in plan.headers:
        need(_token(name) and not set("\r\n\0") & set(value), f"headers: {name!r}: {value!r} is not an HTTP header")
    need(0 < len(plan.streams) <= MAX_STREAMS, f"streams: {len(plan.streams)} of them, 1 to {MAX_STREAMS} are possible")
    for stream in plan.streams:
        where = f"stream {stream.name!r}"
        need(stream.connection in ("new", "reused"), f"{where}: connection {stream.connection!r} is not new or reused")
        need(math.isfinite(stream.share) and stream.share > 0, f"{where}: share {stream.share} is not above 0")
        need(1 <= stream.pool <= MAX_POOL, f"{where}: pool {stream.pool} is not between 1 and {MAX_POOL}")
        problem = _url_problem(stream.url) if stream.url else ""
        need(not problem, f"{where}: url {stream.url!r} {problem}")
        need(stream.recycle_after >= 0, f"{where}: recycle_after {stream.recycle_after} is below 0")
        need(stream.recycle_s >= 0, f"{where}: recycle_s {stream.recycle_s} is below 0")
    return out


def _url_problem(text: str) -> str:
    try:
        url = urlsplit(text)
        if url.port == 0:
            return "has port 0"
    except ValueError as error:
        return f"is no URL: {error}"
    good = url.scheme in ("http", "https") and bool(url.hostname) and not set(text) & set(" \r\n\t")
    return "" if good else "is not http(s)://HOST[:PORT]/PATH"


def _token(text: str) -> bool:
    """RFC 9110 5.6.2."""
    return bool(text) and text.isascii() and all(c.isalnum() or c in "!#$%&'*+-.^_`|~" for c in text)
