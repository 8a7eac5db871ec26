"""One probe of one container, for as long as its pod is on the node.

Source: pkg/kubelet/prober/worker.go and prober_manager.go of Kubernetes 1.34: ticks every period from when the pod was
added, an extra one whenever a status is made while the container is not ready, thresholds in a row; liveness and
startup stop when the pod is being deleted, readiness continues.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from hazd.cluster.lab.machine import Machine
from hazd.cluster.lab.node import hooks
from hazd.cluster.lab.node.runtime import Container
from hazd.cluster.lab.objects import seconds_of
from hazd.model import Manifest

KINDS = {"startupProbe": "Startup", "livenessProbe": "Liveness", "readinessProbe": "Readiness"}


class Probe:
    """report(passed) is called when the result crossed its threshold; say(words) for each failure."""

    def __init__(
        self,
        machine: Machine,
        kind: str,
        container: Container,
        target: Callable[[], hooks.Target],
        now_s: Callable[[], float],
        report: Callable[[Container, str, bool], Awaitable[None]],
        say: Callable[[Container, str], None],
    ) -> None:
        self.machine = machine
        self.kind = kind
        self.container = container
        self.spec: Manifest = container.spec[kind]
        self.target = target
        self.now_s = now_s
        self.report = report
        self.say = say
        self.trigger = anyio.Event()
        self.halted = False
        self._ident = ""
        self._hold = False
        self._last: bool | None = None
        self._in_a_row = 0

    async def run(self) -> None:
        """Until cancelled."""
        period_s = self.spec["periodSeconds"]
        due = anyio.current_time() + period_s
        while True:
            await self._once()
            with anyio.move_on_after(max(0.0, due - anyio.current_time())):
                await self.trigger.wait()
            if self.trigger.is_set():
                self.trigger = anyio.Event()
                due = anyio.current_time() + period_s
            while due <= anyio.current_time():
                due += period_s

    def _is_due(self) -> bool:
        container = self.container
        if container.seen_ident != self._ident:
            self._ident, self._hold, self._last, self._in_a_row = container.seen_ident, False, None, 0
        if self.halted or self._hold or not container.running:
            return False
        up_s = int(self.now_s() - seconds_of(container.seen["running"]["startedAt"]))
        if up_s < self.spec.get("initialDelaySeconds", 0):
            return False
        return container.started != (self.kind == "startupProbe")

    async def _once(self) -> None:
        if not self._is_due():
            return
        try:
            timeout_s = self.spec["timeoutSeconds"]
            status = await hooks.run(self.machine, self.spec, self.container.spec, self.target(), timeout_s)
            if "httpGet" in self.spec and not 200 <= status < 400:
                raise hooks.Failed(f"HTTP probe failed with statuscode: {status}")
            passed = True
        except hooks.Failed as problem:
            self.say(self.container, f"{KINDS[self.kind]} probe failed: {problem}")
            passed = False
        if self.halted or self.container.seen_ident != self._ident:
            return  # a response after the container was stopped or replaced
        self._in_a_row = self._in_a_row + 1 if passed is self._last else 1
        self._last = passed
        if self._in_a_row < self.spec["successThreshold" if passed else "failureThreshold"]:
            return
        if self.kind == "startupProbe" or (self.kind == "livenessProbe" and not passed):
            self._hold = True
            self._in_a_row = 0
        await self.report(self.container, self.kind, passed)
