"""The worker process: one run of one plan, controlled over its API, its records handed over as a file.

    python -m hazd.traffic.worker --port 8091 --dir DIR [--host 0.0.0.0]

Needs no terminal; logs JSON lines to stdout; ends cleanly on SIGTERM. Fresh for every trial (stale conntrack entries of
an earlier one would fail requests of their own), so it refuses a second run.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import SocketAttribute, SocketStream, TaskGroup

from hazd.clock import suspended_ns
from hazd.errors import HazdError, UsageError
from hazd.model import FailureKind, TrafficPlan
from hazd.traffic.alarm import Alarm
from hazd.traffic.api.routes import WrongState, routes
from hazd.traffic.api.server import serve_connection
from hazd.traffic.clock import MonotonicClock
from hazd.traffic.engine import NS, Engine
from hazd.traffic.ledger import Ledger
from hazd.traffic.preflight import Preflight
from hazd.traffic.senders.choice import choose, make_sender
from hazd.traffic.senders.port import Sender

FLUSH_S = 0.2
CONTROLLER_SILENT_S = 90.0
"""Longer than a trial waits for an API server, through which the controller speaks (hazd/stage/view.py, AWAY_S)."""
DRAIN_MARGIN_S = 2.0
MAX_START_LATE_NS = NS
MAX_START_AHEAD_NS = 600 * NS

__all__ = ["Worker", "main"]


class Worker:
    """States: idle, preflight, ready, running, draining, done; failed from any of them, with `error` saying why."""

    def __init__(self, directory: Path, tasks: TaskGroup, controller_silent_s: float = CONTROLLER_SILENT_S) -> None:
        self.state = "idle"
        self.error = ""
        self._directory = directory
        self._tasks = tasks
        self._clock = MonotonicClock()
        self._alarm = Alarm()
        self._silent_ns = int(controller_silent_s * NS)
        self._contact_ns = self._clock.now_ns()
        self._plan: TrafficPlan | None = None
        self._preflight: Preflight | None = None
        self._ledger: Ledger | None = None
        self._engine: Engine | None = None
        self._in_flight = 0
        self._sender_name = ""
        self._sender_why = ""
        self._answered_before = 0
        self.ended = anyio.Event()

    def contacted(self) -> None:
        self._contact_ns = self._clock.now_ns()

    def prepare(self, plan: TrafficPlan) -> None:
        if self.state not in ("idle", "failed") or self._engine is not None:
            raise WrongState(f"prepare: the worker is {self.state}, and one worker runs one plan")
        index = os.environ.get("JOB_COMPLETION_INDEX", "")
        if index and int(index) != plan.shard:
            raise UsageError(f"shard: {plan.shard} is not this worker's part, its completion index is {index}")
        self.state, self.error, self._plan = "preflight", "", plan
        if self._preflight is not None:
            self._answered_before += self._preflight.answered
        self._preflight = Preflight(plan, self._clock)
        self._tasks.start_soon(self._make_ready, self._preflight)

    def start(self, at_ns: int) -> None:
        if self.state != "ready" or self._plan is None:
            raise WrongState(f"start: the worker is {self.state}, not ready")
        ahead_ns = at_ns - self._clock.now_ns()
        if not -MAX_START_LATE_NS <= ahead_ns <= MAX_START_AHEAD_NS:
            raise UsageError(f"at_unix_ns: {at_ns} is {ahead_ns / NS:.3f} s from this worker's now")
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            ledger = Ledger(self._directory / "records.bin")
        except OSError as error:
            self._fail(_text(error))
            raise WrongState(f"start: {_text(error)}") from error
        sender = make_sender(self._plan, ledger, self._clock)
        self._ledger, self._engine = ledger, Engine(self._plan, sender, self._clock, self._alarm.sleep)
        self._sender_name, self._sender_why = choose(self._plan)
        self.state = "running"
        self._tasks.start_soon(self._run, self._plan, self._engine, ledger, sender, at_ns)

    def stop(self, at_ns: int) -> int:
        if self._engine is None or self.state not in ("running", "draining"):
            raise WrongState(f"stop: the worker is {self.state}, not running")
        return self._engine.stop(at_ns, "controller")

    def records(self, offset: int, limit: int) -> tuple[bytes, int]:
        if self._ledger is None:
            return b"", 0
        return self._ledger.read(offset, limit), self._ledger.bytes

    def status(self) -> dict[str, Any]:
        ledger, engine = self._ledger, self._engine
        if self.state == "running" and engine is not None and engine.draining:
            self.state = "draining"
        counts: dict[str, Any] = {"due": 0, "recorded": 0, "not_sent": 0, "in_flight": 0, "bytes": 0, "pods": [""]}
        counts["streams"] = []
        kinds = dict.fromkeys(FailureKind, 0)
        if ledger is not None and engine is not None:
            if self.state in ("running", "draining"):
                with suppress(OSError):  # reported to `_flush_and_watch`, which ends the run
                    ledger.flush()
            kinds = dict(zip(FailureKind, ledger.kinds.tolist(), strict=True))
            counts = {
                "due": engine.due,
                "recorded": ledger.recorded,
                "not_sent": engine.not_sent,
                "in_flight": engine.due - engine.not_sent - ledger.recorded,
                "bytes": ledger.bytes,
                "pods": ledger.pods,
                "streams": [
                    {kind.label: int(ledger.streams[number, kind]) for kind in FailureKind}
                    for number in range(len(engine.not_sent_streams))
                ],
            }
        answered = self._answered_before + (self._preflight.answered if self._preflight else 0)
        return {
            "state": self.state,
            "error": self.error,
            "unix_ns": self._clock.now_ns(),
            "suspended_ns": suspended_ns(),
            **counts,
            "ok": kinds.pop(FailureKind.OK),
            "failed": {kind.label: number for kind, number in kinds.items()},
            "preflight_ok": answered,
            "lag_ms": ledger.lag_ms() if ledger is not None else {"p99": 0.0, "max": 0.0},
            "not_sent_streams": engine.not_sent_streams if engine is not None else [],
            "not_sent_late": engine.not_sent_late if engine is not None else 0,
            "sender": self._sender_name,
            "sender_why": self._sender_why,
            "stopped_by": engine.stopped_by if engine is not None and self.state in ("draining", "done") else "",
            "sha256": ledger.sha256() if ledger is not None and self.state == "done" else "",
        }

    async def shut_down(self) -> None:
        """Stop now, let what is in flight end (bounded by the plan's timeout), write everything down."""
        if self._engine is not None and self._plan is not None and self.state in ("running", "draining"):
            self._engine.stop(self._clock.now_ns(), "SIGTERM")
            with anyio.move_on_after(self._plan.timeout_s + DRAIN_MARGIN_S):
                await self.ended.wait()

    async def _make_ready(self, preflight: Preflight) -> None:
        try:
            await preflight.run()
        except Exception as error:
            self._fail(f"preflight: {_text(error)}")
        else:
            self.state = "ready"
            log("ready", preflight_ok=preflight.answered)

    async def _run(self, plan: TrafficPlan, engine: Engine, ledger: Ledger, sender: Sender, at_ns: int) -> None:
        try:
            log("running", at_unix_ns=at_ns, sender=sender.name, why=self._sender_why, url=plan.url, rate=plan.rate)
            try:
                async with sender, anyio.create_task_group() as beside:
                    beside.start_soon(self._flush_and_watch, engine, ledger)
                    with self._alarm:
                        await engine.run(at_ns)
                    beside.cancel_scope.cancel("the run is over")
            finally:
                ledger.close()
            if engine.due != ledger.recorded + engine.not_sent:
                raise AssertionError(f"due {engine.due} != recorded {ledger.recorded} + not sent {engine.not_sent}")
        except Exception as error:
            self._fail(_text(error))
        else:
            if engine.stopped_by not in ("controller", "SIGTERM"):
                self.error = f"stopped by itself: {engine.stopped_by}"
            self.state = "done"
            log("done", **{k: v for k, v in self.status().items() if k not in ("pods", "unix_ns", "state")})
        finally:
            self.ended.set()

    async def _flush_and_watch(self, engine: Engine, ledger: Ledger) -> None:
        while True:
            await anyio.sleep(FLUSH_S)
            ledger.flush()
            now_ns = self._clock.now_ns()
            if now_ns - self._contact_ns > self._silent_ns:
                engine.stop(now_ns, f"no word from the controller for {self._silent_ns / NS:g} s")

    def _fail(self, text: str) -> None:
        self.state, self.error = "failed", text
        log("failed", error=text)


def _text(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return str(error) if isinstance(error, HazdError) else f"{type(error).__name__}: {error}"


def log(event: str, **data: Any) -> None:
    """One JSON line; a closed stdout is no reason to stop sending."""
    with suppress(OSError, ValueError):
        print(json.dumps({"unix_ns": MonotonicClock().now_ns(), "event": event, **data}), flush=True)


async def serve(host: str, port: int, directory: Path) -> None:
    """Until SIGTERM or SIGINT. Raises OSError when the port is taken."""
    async with await anyio.create_tcp_listener(local_host=host, local_port=port) as listener:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with anyio.create_task_group() as tasks:
                worker = Worker(directory, tasks)
                handle = routes(worker)

                async def serve(stream: SocketStream) -> None:
                    await serve_connection(stream, handle)

                tasks.start_soon(listener.serve, serve)
                log("listening", host=host, port=listener.extra(SocketAttribute.local_port))
                async for number in signals:
                    log("signal", name=signal.Signals(number).name)
                    break
                tasks.start_soon(_second_signal, signals, tasks)
                await worker.shut_down()
                tasks.cancel_scope.cancel("asked to end")
    log("ended", state=worker.state)


async def _second_signal(signals: Any, tasks: TaskGroup) -> None:
    async for _ in signals:
        tasks.cancel_scope.cancel("asked to end twice")
        return


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m hazd.traffic.worker", description="One traffic worker of hazd")
    parser.add_argument("--port", type=int, default=8091, help="control API; 0 lets the kernel choose (default 8091)")
    parser.add_argument("--host", default="0.0.0.0", help="address of the control API (default 0.0.0.0)")
    parser.add_argument("--dir", type=Path, required=True, help="where records.bin is written")
    options = parser.parse_args(arguments)
    # A connection is a descriptor, and the usual soft limit of 1,024 is less than max_in_flight.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # What exists now stays: collections during the run only look at what the run made.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)
    try:
        anyio.run(serve, options.host, options.port, options.dir, backend_options={"use_uvloop": _has_uvloop()})
    except OSError as error:
        log("failed", error=_text(error))
        return 3
    return 0


def _has_uvloop() -> bool:
    try:
        import uvloop  # noqa: F401
    except ImportError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
