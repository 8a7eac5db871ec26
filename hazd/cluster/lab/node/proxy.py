"""The service proxy of one node: sees changes late, and changes its rules at most once per min_sync_period.

Source: kube-proxy of Kubernetes 1.34 (pkg/proxy/runner/bounded_frequency_runner.go): a change runs a sync at once if
the last one is at least the period ago, otherwise when it is. Each node sees with its own delay and syncs in its own
time, so nodes differ for up to one period.
"""

from __future__ import annotations

import random
from collections import deque

import anyio

from hazd.cluster.lab.machine import Machine
from hazd.cluster.lab.node import rules
from hazd.cluster.lab.options import LabOptions
from hazd.cluster.lab.service_port import ServicePort
from hazd.cluster.lab.store import Change, Store
from hazd.model import Manifest

KINDS = ("Service", "EndpointSlice")


class Proxy:
    """One node's. `ports`: what its rules were last set to."""

    def __init__(self, store: Store, machine: Machine, options: LabOptions, node: str) -> None:
        self.store = store
        self.machine = machine
        self.options = options
        self.node = node
        self._view: dict[str, dict[tuple[str, str], Manifest]] = {kind: {} for kind in KINDS}
        self._coming: deque[tuple[float, Change]] = deque()
        self._more = anyio.Event()
        self.ports: dict[str, ServicePort] = {}
        phase = random.Random(f"{options.seed}/proxy/{node}").random()
        self._last = anyio.current_time() - phase * options.min_sync_period_s
        self._scope = anyio.CancelScope()

    def stop(self) -> None:
        self._scope.cancel()

    async def run(self) -> None:
        """Until cancelled or stopped."""
        stop = self.store.on_change(self._on_change)
        try:
            with self._scope:
                for kind in KINDS:
                    for obj in self.store.list(kind):
                        self._on_change(Change("ADDED", obj, None, self.store.now()))
                while True:
                    await self._wait()
                    await self._sync()
        finally:
            stop()

    def _on_change(self, change: Change) -> None:
        if change.obj["kind"] in KINDS:
            self._coming.append((anyio.current_time() + self.options.propagation_delay_s, change))
            self._more.set()

    async def _wait(self) -> None:
        """Until at least one change has arrived here and the period since the last sync is over."""
        while not self._coming:
            await self._more.wait()
            self._more = anyio.Event()
        arrival = self._coming[0][0]
        await anyio.sleep_until(max(arrival, self._last + self.options.min_sync_period_s))

    async def _sync(self) -> None:
        now = anyio.current_time()
        while self._coming and self._coming[0][0] <= now:
            change = self._coming.popleft()[1]
            meta = change.obj["metadata"]
            view = self._view[change.obj["kind"]]
            if change.what == "DELETED":
                view.pop((meta["namespace"], meta["name"]), None)
            else:
                view[meta["namespace"], meta["name"]] = change.obj
        wanted = rules.ports(self._view["Service"].values(), self._view["EndpointSlice"].values())
        self._last = now
        if wanted != self.ports:
            await self.machine.rules(self.node, list(wanted.values()))
            self.ports = wanted
