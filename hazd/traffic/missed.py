"""What a worker that vanished left undone: its part of the schedule is known, so what nobody holds can be named.

Pure. A worker that ended early is asked nothing any more; the pacer's due times and the seqs in the journal say it all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hazd.model import TrafficPlan
from hazd.traffic.pacer import due_times

NS = 1_000_000_000

__all__ = ["Missed", "find_missed"]


@dataclass(frozen=True, slots=True)
class Missed:
    """due: what the worker owed. requests: how many of them are neither recorded nor known as not sent.

    from_ns, until_ns: the span they were due in, from the first that is not recorded to the end of the traffic (both
    on the clock of start_ns); equal when nothing is missing.
    """

    due: int
    requests: int
    from_ns: int
    until_ns: int


def find_missed(plan: TrafficPlan, start_ns: int, end_ns: int, recorded: Iterable[int], not_sent: int = 0) -> Missed:
    """plan: the worker's own (its shard). recorded: seqs in the journal. not_sent: what it had said of before it went.

    Requests due from end_ns on were not owed, except those that were sent and recorded before the stop was known. The
    seqs of requests that were not sent are nowhere recorded; so the span may begin at one of them, never later.
    """
    end_ns = min(end_ns, start_ns + int(plan.max_duration_s * NS))
    have = bytearray()  # one byte a request, by its place in the shard
    for seq in recorded:
        place = seq // plan.shards
        if place >= len(have):
            have.extend(bytes(max(place + 1 - len(have), 4096)))
        have[place] = 1
    owed = missing = 0
    from_ns = end_ns
    for place, (_, due_ns) in enumerate(due_times(plan, start_ns)):
        if due_ns >= end_ns:
            break
        owed += 1
        if place >= len(have) or not have[place]:
            missing += 1
            from_ns = min(from_ns, due_ns)
    late = have.count(1, owed)
    lost = max(missing - not_sent, 0)
    return Missed(owed + late, lost, from_ns if lost else end_ns, end_ns)
