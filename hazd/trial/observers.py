"""The controller's side of the observers: a pod per vantage node, its log turned into the journal's flows.

An observer that cannot run takes nothing from the trial: its node's requests are then not seen but inferred, and the
trial says so. Whatever is not known to be whole is a gap.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio.abc import TaskGroup

from hazd.clock import unix_ns
from hazd.cluster.port import Cluster
from hazd.errors import HazdError
from hazd.journal.flows import FlowWriter
from hazd.model import Manifest, Ref
from hazd.observe.lines import Line, decode

READY_S = 20.0
"""How long an observer may take to start listening; a trial that has one waits that long for it at most."""
LAST_WORD_S = 3.0
"""How long after the end of traffic its last lines may take."""


@dataclass(slots=True)
class Observed:
    """One node's observer and what it said. gaps: [from, to] in ns of our clock, in which events were lost.

    offset_ns: what is added to its times, the controller's clock minus the node's.
    """

    node: str
    pod: Ref
    offset_ns: int = 0
    since_ns: int = 0
    until_ns: int = 0
    flows: int = 0
    missing: int = 0
    gaps: list[list[int]] = field(default_factory=list)
    cpu_ms: int = 0
    error: str = ""
    listening: anyio.Event = field(default_factory=anyio.Event)

    def account(self) -> dict[str, Any]:
        """What trial.json keeps of it."""
        return {
            "node": self.node,
            "since_ns": self.since_ns,
            "until_ns": self.until_ns,
            "flows": self.flows,
            "missing": self.missing,
            "gaps": self.gaps,
            "cpu_ms": self.cpu_ms,
            "error": self.error,
        }


class Observers:
    """All observers of one trial. The order of calls: launch, (they run beside the traffic), finish, accounts."""

    def __init__(self, cluster: Cluster, writer: FlowWriter) -> None:
        self._cluster = cluster
        self._writer = writer
        self._all: list[Observed] = []

    async def launch(self, pods: Sequence[Manifest], offsets_ns: dict[str, int], tasks: TaskGroup) -> None:
        """Create them and wait until each listens, or says why it cannot. Raises nothing of the cluster's."""
        for pod in pods:
            meta, node = pod["metadata"], pod["spec"]["nodeName"]
            one = Observed(node, Ref("Pod", meta["name"], meta["namespace"]), offsets_ns.get(node, 0))
            self._all.append(one)
            try:
                await self._cluster.create(pod)
            except HazdError as error:
                one.error = error.message
                continue
            tasks.start_soon(self._follow, one)
        with anyio.move_on_after(READY_S):
            for one in self._all:
                if not one.error:
                    await one.listening.wait()
        for one in self._all:
            if not one.since_ns and not one.error:
                one.error = f"it did not start to listen in {READY_S:g} s"

    async def _follow(self, one: Observed) -> None:
        try:
            async with self._cluster.logs(one.pod) as lines:
                async for text in lines:
                    self._take(one, text)
        except HazdError as error:
            one.error = one.error or f"its log broke off: {error.message}"
        finally:
            one.listening.set()

    def _take(self, one: Observed, text: str) -> None:
        try:
            line = decode(text)
        except ValueError as error:
            one.gaps.append([one.until_ns, unix_ns()])
            one.error = one.error or str(error)
            return
        if line is None:
            return
        at_ns = line.at_ns + one.offset_ns
        match line.what:
            case "listening":
                one.since_ns = one.until_ns = at_ns
                one.listening.set()
            case "error":
                one.error = str(line.detail.get("text", "unknown"))
                one.listening.set()
            case "gap":
                one.gaps.append([line.since_ns + one.offset_ns, at_ns])
            case "alive" | "end":
                one.cpu_ms = int(line.detail.get("cpu_ms", 0))
                one.until_ns = at_ns
            case "flows":
                one.flows += len(line.flows)
                one.until_ns = max(one.until_ns, at_ns)
                self._writer.add(one.node, _rows(line, one.offset_ns))
            case _:
                pass
        # a line's own number says how many flows came before it: what did not arrive by then is lost
        one.missing = max(one.missing, line.seq + len(line.flows) - one.flows)

    async def finish(self, until_ns: int) -> None:
        """Wait a moment until every observer has said all up to this time (ns, controller's clock)."""
        with anyio.move_on_after(LAST_WORD_S):
            while any(not one.error and one.until_ns < until_ns for one in self._all):
                await anyio.sleep(0.1)

    def accounts(self) -> list[dict[str, Any]]:
        return [one.account() for one in self._all]


def _rows(line: Line, offset_ns: int) -> list[tuple[int, str, int, str, int, bool]]:
    """(at_ns, client, its port, endpoint, its port, ended) of each flow, addresses as text."""
    return [
        (
            at_ns + offset_ns,
            str(ipaddress.ip_address(flow.client)),
            flow.client_port,
            str(ipaddress.ip_address(flow.endpoint)),
            flow.endpoint_port,
            flow.ended,
        )
        for at_ns, flow in line.flows
    ]


__all__ = ["Observers"]
