"""TrafficPlan to JSON and back: what the controller posts to /prepare and the worker reads.

Pure. Everything wrong with a plan is reported at once, with the field's name and value, before anything is sent.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, fields
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from hazd.errors import UsageError
from hazd.model import Stream, TrafficPlan
from hazd.traffic.pacer import Profile

SENDERS = ("httpx", "fast", "auto")
MAX_STREAMS = 255
MAX_POOL = 10_000
MAX_BODY = 512 * 1024
"""Bytes; the plan that carries it to a worker may be 4 MiB as JSON, which writes some bytes as six."""
CONNECTIONS = ("new", "reused")
Problem: TypeAlias = tuple[str, str, str]
"""The stream it is about ("" for the plan), the field's name, and its value with what would be right."""

__all__ = ["MAX_STREAMS", "SENDERS", "find_problems", "plan_from_json", "plan_problems", "plan_to_json"]


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
    """Everything in a plan that cannot mean anything, a line each; empty when it can be sent."""
    lines = []
    for where, field, text in find_problems(plan):
        lines.append(f"{where}: {field} {text}" if where else f"{field}: {text}")
    return lines


def find_problems(plan: TrafficPlan) -> Iterator[Problem]:
    """The same as (where, field, text): the rules, for callers that call the fields by other names."""
    if problem := _url_problem(plan.url):
        yield "", "url", f"{plan.url!r} {problem}"
    try:
        Profile.of(plan)
    except UsageError as error:
        yield "", "profile", error.message.removeprefix("profile: ")
    for name in ("timeout_s", "max_duration_s", "preflight_s"):
        value = getattr(plan, name)
        if not (math.isfinite(value) and value > 0):
            yield "", name, f"{value} is not above 0"
    if plan.max_in_flight < 1:
        yield "", "max_in_flight", f"{plan.max_in_flight} is below 1"
    if not 0 <= plan.shard < plan.shards:
        yield "", "shard", f"{plan.shard} is not one of {plan.shards} shards"
    if plan.sender not in SENDERS:
        yield "", "sender", f"{plan.sender!r} is not one of {', '.join(SENDERS)}"
    if plan.http2 and plan.sender == "fast":
        yield "", "http2", "only the httpx sender speaks HTTP/2"
    if not plan.expect or not all(200 <= status <= 599 for status in plan.expect):
        yield "", "expect", f"{plan.expect} is not a list of statuses from 200 to 599"
    if not _token(plan.method) or plan.method == "CONNECT":
        yield "", "method", f"{plan.method!r} is not an HTTP method for a path"
    for name, value in plan.headers:
        if not _token(name) or not value.isascii() or set("\r\n\0") & set(value):
            yield "", "headers", f"{name!r}: {value!r} is not an HTTP header"
    if len(plan.body.encode()) > MAX_BODY:
        yield "", "body", f"{len(plan.body.encode())} bytes are above {MAX_BODY}"
    if not 0 < len(plan.streams) <= MAX_STREAMS:
        yield "", "streams", f"{len(plan.streams)} of them, 1 to {MAX_STREAMS} are possible"
    for stream in plan.streams:
        for field, text in _stream_problems(stream):
            yield f"stream {stream.name!r}", field, text


def _stream_problems(stream: Stream) -> Iterator[tuple[str, str]]:
    if stream.connection not in CONNECTIONS:
        yield "connection", f"{stream.connection!r} is not new or reused"
    if not (math.isfinite(stream.share) and stream.share > 0):
        yield "share", f"{stream.share} is not above 0"
    if not 1 <= stream.pool <= MAX_POOL:
        yield "pool", f"{stream.pool} is not between 1 and {MAX_POOL}"
    if stream.url and (problem := _url_problem(stream.url)):
        yield "url", f"{stream.url!r} {problem}"
    if stream.recycle_after < 0:
        yield "recycle_after", f"{stream.recycle_after} is below 0"
    if not (math.isfinite(stream.recycle_s) and stream.recycle_s >= 0):
        yield "recycle_s", f"{stream.recycle_s} is not a number from 0"


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
