"""The five calls a controller makes, checked and turned into calls of the worker; errors become 400, 404 and 409.

Knows no sockets. The worker behind it is a protocol, so the routes are tested without one.
"""

from __future__ import annotations

import json
from typing import Any, Protocol

from hazd.errors import UsageError
from hazd.model import TrafficPlan
from hazd.record import RECORD
from hazd.traffic.api.server import Call, Handler, Reply, json_reply
from hazd.traffic.plan_json import plan_from_json

DEFAULT_LIMIT = 1 << 20
MAX_LIMIT = 8 << 20

__all__ = ["Controlled", "WrongState", "routes"]


class WrongState(Exception):
    """The call does not fit the worker's state (409)."""


class Controlled(Protocol):
    """What the routes need of a worker. Times are its own clock's; /status carries unix_ns to compare clocks."""

    def contacted(self) -> None: ...

    def status(self) -> dict[str, Any]: ...

    def prepare(self, plan: TrafficPlan) -> None: ...

    def start(self, at_ns: int) -> None: ...

    def stop(self, at_ns: int) -> int: ...

    def records(self, offset: int, limit: int) -> tuple[bytes, int]: ...


def routes(worker: Controlled) -> Handler:
    async def handle(call: Call) -> Reply:
        try:
            return _answer(worker, call)
        except UsageError as error:
            return json_reply(400, {"error": str(error)})
        except WrongState as error:
            return json_reply(409, {"error": str(error)})
        except Exception as error:  # a call that cannot be served must not end the run
            return json_reply(500, {"error": f"{type(error).__name__}: {error}"})

    return handle


def _answer(worker: Controlled, call: Call) -> Reply:
    known = {"/status": "GET", "/prepare": "POST", "/start": "POST", "/stop": "POST", "/records": "GET"}
    method = known.get(call.path)
    if method is None:
        return json_reply(404, {"error": f"{call.path}: not one of {', '.join(known)}"})
    if call.method != method:
        return json_reply(405, {"error": f"{call.method} {call.path}: only {method} is possible"})
    worker.contacted()
    if call.path == "/prepare":
        worker.prepare(plan_from_json(call.body))
    elif call.path == "/start":
        worker.start(_at(call.body))
    elif call.path == "/stop":
        return json_reply(200, {**worker.status(), "at_unix_ns": worker.stop(_at(call.body))})
    elif call.path == "/records":
        offset = _number(call.query, "offset", 0)
        if offset % RECORD.size:
            raise UsageError(f"offset: {offset} is not a multiple of {RECORD.size}")
        body, size = worker.records(offset, min(_number(call.query, "limit", DEFAULT_LIMIT), MAX_LIMIT))
        return Reply(200, body, "application/octet-stream", (("x-hazd-size", str(size)),))
    return json_reply(200, worker.status())


def _at(body: bytes) -> int:
    try:
        value = json.loads(body)["at_unix_ns"]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError('body: expected {"at_unix_ns": NANOSECONDS}') from error
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise UsageError(f"at_unix_ns: {value!r} is not a count of nanoseconds since 1970")
    return value


def _number(query: dict[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"{name}: {text!r} is not a number")
    return int(text)
