"""CPU of every pod over the last window, as metrics-server would report it.

Source: metrics-server (usage is the rate between two scrapes; a container appears after two). Values are the kernel's
own CPU accounting of real processes.
"""

from __future__ import annotations

from dataclasses import dataclass

import anyio

from hazd.cluster.lab.machine import Machine
from hazd.cluster.lab.store import Store


@dataclass(frozen=True, slots=True)
class Usage:
    """Cores used on average over `window_s`, which ended at `at_s` (Unix seconds)."""

    cores: float
    at_s: float
    window_s: float


class Metrics:
    """pods: latest usage by pod uid and container name."""

    def __init__(self, store: Store, machine: Machine, resolution_s: float) -> None:
        self.store = store
        self.machine = machine
        self.resolution_s = resolution_s
        self.pods: dict[str, dict[str, Usage]] = {}
        self._before: dict[str, int] = {}
        self._at = 0.0

    async def run(self) -> None:
        while True:
            await anyio.sleep(self.resolution_s)
            if self._wanted():
                await self.scrape()
            else:
                self._before = {}

    def _wanted(self) -> bool:
        """Reading /proc when nothing uses it would cost the machine that is being measured."""
        return bool(self.store.list("HorizontalPodAutoscaler") or self.store.list("VerticalPodAutoscaler"))

    async def scrape(self) -> None:
        """One round; what was there last time gets a rate."""
        used = await self.machine.cpu_ns()
        now, at_s = anyio.current_time(), self.store.now_s()
        pods: dict[str, dict[str, Usage]] = {}
        for ident, total in used.items():
            if ident not in self._before or now <= self._at:
                continue
            uid, container, _ = ident.split("/", 2)
            rate = max(0, total - self._before[ident]) / 1e9 / (now - self._at)
            pods.setdefault(uid, {})[container] = Usage(rate, at_s, now - self._at)
        self.pods, self._before, self._at = pods, used, now
