"""Joins what the kernel's connection tracking said to the requests: who each one was really sent to.

Pure. A request on a new connection has exactly one NEW event on its node, with its source address and port; the event
names the endpoint, answered or not. A kept connection inherits the endpoint of its first request. A connection that
was refused or found no route without any event was rejected by the node's own rules, before its connection could be
tracked (nf_conntrack confirms an entry only when its first packet leaves).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hazd.analysis.requests import Requests, of_connection
from hazd.analysis.story import PodLife, Story
from hazd.model import FailureKind, Phase

BEFORE_NS = 20_000_000
"""How much earlier than `sent_ns` an event may be stamped: two processes of one machine read the clock apart."""
AFTER_NS = 1_000_000_000
"""How much later: the observer stamps an event when it reads it, and a busy machine lets it wait."""
ADDRESS_LEFT_NS = 60_000_000_000
"""How long after a pod was deleted its address may still be sent to; kubelets reuse addresses late."""


@dataclass(frozen=True)
class Observed:
    """Per request: endpoint ("ADDRESS:PORT", "" = not known), seen (a mask: the kernel's word, or a rejection seen).

    rejected: a mask of those that the node itself refused. nodes: those with an observer. flows: NEW events in all.
    gaps: spans in which events were lost. checked, agreed: good responses that name their pod, and those of them whose
    pod is the endpoint's: the observation's own test.
    """

    on: bool
    nodes: tuple[str, ...]
    flows: int
    gaps: int
    checked: int
    agreed: int
    problems: tuple[str, ...]
    endpoint: Any
    seen: Any
    rejected: Any

    def contract(self) -> dict[str, Any]:
        return {
            "on": self.on,
            "nodes": list(self.nodes),
            "flows": self.flows,
            "gaps": self.gaps,
            "checked": self.checked,
            "agreed": self.agreed,
            "problems": list(self.problems),
        }


def observe(requests: Requests, flows: Any, story: Story, meta: Mapping[str, Any]) -> tuple[Requests, Observed]:
    """The requests with `peer` (and `pod`, where no response names it) as the kernel knows them, and what was observed.

    flows: DataFrame of the journal's flows (node, at_ns, client, client_port, endpoint, endpoint_port, ended), or None.
    """
    import numpy as np

    number = len(requests)
    nothing = np.zeros(number, bool)
    observers: Sequence[Mapping[str, Any]] = meta.get("observers") or ()
    problems = tuple(f"the observer of {item.get('node')}: {item['error']}" for item in observers if item.get("error"))
    endpoint = np.full(number, "", dtype=object)
    if flows is None or not observers:
        return requests, Observed(False, (), 0, 0, 0, 0, problems, endpoint, nothing, nothing)
    new_flows = flows[~flows["ended"].to_numpy(dtype=bool)]
    found = _join(requests, new_flows, meta)
    hit = np.flatnonzero(found >= 0)
    if len(hit):
        names = (new_flows["endpoint"].astype(str) + ":" + new_flows["endpoint_port"].astype(str)).to_numpy(
            dtype=object
        )
        addresses = new_flows["endpoint"].astype(str).to_numpy(dtype=object)
        at_ns = new_flows["at_ns"].to_numpy(dtype=np.int64)
        endpoint[hit] = names[found[hit]]
        pods = _pods(addresses[found[hit]], at_ns[found[hit]], story)
    else:
        pods = np.zeros(0, dtype=object)
    direct = np.full(number, "", dtype=object)
    direct[hit] = pods
    endpoint, direct = (of_connection(requests.worker, requests.conn, words) for words in (endpoint, direct))
    named = (requests.pod != "") & requests.ok & (direct != "")
    agreed = int((named & (requests.pod == direct)).sum())
    watched = _watched(requests, observers, meta)
    refused = (requests.kind == FailureKind.REFUSED) | (requests.kind == FailureKind.NO_ROUTE)
    rejected = requests.new & refused & (requests.phase == Phase.CONNECT) & (endpoint == "") & watched
    peer = np.where(requests.peer != "", requests.peer, direct)
    pod = np.where((requests.pod == "") & requests.ok, direct, requests.pod)
    seen = (endpoint != "") | rejected | (~requests.new & (peer != ""))
    gaps = sum(len(item.get("gaps") or ()) + bool(item.get("missing")) for item in observers)
    observed = Observed(
        on=any(item.get("since_ns") for item in observers),
        nodes=tuple(str(item.get("node")) for item in observers if item.get("since_ns")),
        flows=len(new_flows),
        gaps=gaps,
        checked=int(named.sum()),
        agreed=agreed,
        problems=problems,
        endpoint=endpoint,
        seen=seen,
        rejected=rejected,
    )
    return requests.replace(peer=peer, pod=pod), observed


def _join(requests: Requests, flows: Any, meta: Mapping[str, Any]) -> Any:
    """Per request the place of its flow, -1 where there is none: same client address and port, at the right time."""
    import numpy as np
    import pandas as pd

    found = np.full(len(requests), -1, dtype=np.int64)
    wanted = np.flatnonzero(requests.new & (requests.local_port > 0))
    addresses = {
        str(item["address"]): int(item.get("id", 0)) for item in meta.get("workers") or () if "address" in item
    }
    events = pd.DataFrame(
        {
            "worker": flows["client"].astype(str).map(addresses),
            "port": flows["client_port"].to_numpy(dtype=np.int64),
            "t": flows["at_ns"].to_numpy(dtype=np.int64),
            "flow": np.arange(len(flows)),
        }
    ).dropna(subset="worker")
    if not len(events) or not len(wanted):
        return found
    events = events.astype({"worker": np.int64}).sort_values("t", kind="stable")
    mine = pd.DataFrame(
        {
            "worker": requests.worker[wanted],
            "port": requests.local_port[wanted],
            "t": requests.sent_ns[wanted] - BEFORE_NS,
            "place": wanted,
        }
    ).sort_values("t", kind="stable")
    both = pd.merge_asof(
        mine, events, on="t", by=["worker", "port"], direction="forward", tolerance=BEFORE_NS + AFTER_NS
    ).dropna(subset="flow")
    found[both["place"].to_numpy(dtype=np.int64)] = both["flow"].to_numpy(dtype=np.int64)
    return found


def _pods(addresses: Any, at_ns: Any, story: Story) -> Any:
    """The pod that had an address at a time: of several the one created last before it."""
    import numpy as np

    lives: dict[str, list[PodLife]] = {}
    for pod in story.pods.values():
        if pod.ip:
            lives.setdefault(pod.ip, []).append(pod)
    out = np.full(len(addresses), "", dtype=object)
    for place, (address, when) in enumerate(zip(addresses.tolist(), at_ns.tolist(), strict=True)):
        best: PodLife | None = None
        for pod in lives.get(address, ()):
            born = pod.created_ns or 0
            if born <= when and (best is None or born >= (best.created_ns or 0)):
                best = pod
        if best is not None and (best.gone_ns is None or when <= best.gone_ns + ADDRESS_LEFT_NS):
            out[place] = best.name
    return out


def _watched(requests: Requests, observers: Sequence[Mapping[str, Any]], meta: Mapping[str, Any]) -> Any:
    """Mask of the requests at whose time their node was observed without a gap."""
    import numpy as np

    out = np.zeros(len(requests), bool)
    nodes = {int(item.get("id", 0)): str(item.get("node") or "") for item in meta.get("workers") or ()}
    for item in observers:
        if not item.get("since_ns") or item.get("missing"):
            continue
        here = [worker for worker, node in nodes.items() if node == item.get("node")]
        sent = requests.sent_ns
        sound = np.isin(requests.worker, here) & (sent >= int(item["since_ns"]))
        sound &= sent + BEFORE_NS <= int(item.get("until_ns") or 0)
        for since, until in item.get("gaps") or ():
            sound &= (sent < int(since) - AFTER_NS) | (sent > int(until) + BEFORE_NS)
        out |= sound
    return out


__all__ = ["Observed", "observe"]
