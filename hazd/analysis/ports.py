"""Source ports that a client took again while connection tracking still knew where they had led before.

conntrack keeps an unanswered connection for two minutes (nf_conntrack_tcp_timeout_syn_sent) and a finished one as long
(..._time_wait): a new connection from the same port goes where the old one went, whatever the rules now say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hazd.analysis.requests import Requests
from hazd.analysis.story import Story
from hazd.model import FailureKind, Phase

KEPT_S = 120
_S = 1_000_000_000


@dataclass(frozen=True)
class Earlier:
    """How the port was used before. pod: who answered then ("" when nobody did: that connect ended in silence)."""

    sent_ns: int
    pod: str


def silent_connects(requests: Requests) -> Any:
    """Mask of the connects that ended without any answer from the other side, or with "no route"."""
    silent = (requests.kind == FailureKind.NO_ROUTE) | (requests.kind == FailureKind.TIMEOUT)
    return silent & (requests.phase == Phase.CONNECT) & requests.new


def reused_ports(requests: Requests, story: Story) -> dict[int, Earlier]:
    """Position of a silent connect -> the earlier use of its port, where that led to a pod that is no more."""
    import numpy as np

    silent = np.flatnonzero(silent_connects(requests) & (requests.local_port != 0))
    if not len(silent):
        return {}
    key = requests.worker * 65536 + requests.local_port
    wanted = np.flatnonzero(np.isin(key, key[silent]) & requests.new)
    wanted = wanted[np.argsort(requests.sent_ns[wanted], kind="stable")]
    ends = {name: pod.end_ns for name, pod in story.pods.items() if pod.end_ns is not None}
    quiet = set(silent.tolist())
    last: dict[int, Earlier] = {}
    found: dict[int, Earlier] = {}
    for position in wanted.tolist():
        port, sent_ns, pod = int(key[position]), int(requests.sent_ns[position]), str(requests.pod[position])
        before = last.get(port)
        if position in quiet and before is not None and sent_ns - before.sent_ns < KEPT_S * _S:
            died_ns = ends.get(before.pod)
            if not before.pod or (died_ns is not None and died_ns < sent_ns):
                found[position] = before
        if pod or position in quiet:
            last[port] = Earlier(sent_ns, pod)
        else:
            last.pop(port, None)  # refused or reset: that entry was closed by the other side
    return found


__all__ = ["KEPT_S", "Earlier", "reused_ports", "silent_connects"]
