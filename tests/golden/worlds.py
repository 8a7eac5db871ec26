"""The worlds that tests look at: each a disruption with known causes, made of simulated.py's pods and nodes."""

from __future__ import annotations

from tests.golden.simulated import Pod, World


def rollout(*, readiness: bool = False, prestop_s: float = 0.0, graceful: bool = False, replicas: int = 4) -> World:
    """A rolling update of a deployment that listens 2 s after its start, one pod after the other."""
    pods: list[Pod] = []
    for index in range(replicas):
        begin = 0.1 + index * (2.6 if readiness else 0.8)
        listening = begin + 2.3
        listed = listening + 0.3 if readiness else begin + 0.4
        deleted = listed + 0.05
        sigterm = deleted + prestop_s + 0.03
        exited = sigterm + 0.01
        old = Pod(
            f"app-old-{'abcdefgh'[index]}",
            node=f"node-{index % 2 + 1}",
            deleted=deleted,
            dropped=deleted + 0.1,
            sigterm=sigterm,
            exited=exited + (0.2 if graceful else 0.0),
            address_gone=exited + 0.05,
            gone=exited + 0.6,
            graceful=graceful,
        )
        new = Pod(
            f"app-new-{'abcdefgh'[index]}",
            node=f"node-{(index + 1) % 2 + 1}",
            created=begin,
            listening=listening,
            listed=listed,
            graceful=graceful,
        )
        pods += [old, new]
    last = max(pod.gone or 0.0 for pod in pods)
    return World(pods, end=last + 4.0, disrupt_end=max(pod.listed for pod in pods) + 0.2)


def drain_of_all() -> World:
    """Both pods sit on the node that is drained; their replacements take four seconds: nobody is ready meanwhile."""
    old = [
        Pod(f"app-old-{name}", deleted=0.3, dropped=0.4, sigterm=0.32, exited=0.33, address_gone=0.4, gone=0.9)
        for name in "ab"
    ]
    new = [Pod(f"app-new-{name}", "node-2", created=0.4, listening=4.0, listed=4.2) for name in "ab"]
    stages = [(0.0, "drain", "drain node-1")]
    return World([*old, *new], end=9.0, disrupt_end=4.3, stages=stages)


def node_loss() -> World:
    """Half of the pods are on a node that loses its power; the control plane drops them eight seconds later."""
    lost = [Pod(f"app-old-{name}", "node-1", dropped=8.0) for name in "ab"]
    kept = [Pod(f"app-old-{name}", "node-2") for name in "cd"]
    new = [Pod(f"app-new-{name}", "node-2", created=9.0, listening=10.0, listed=10.2) for name in "ab"]
    stages = [(0.0, "stop-node", "stop node node-1")]
    return World([*lost, *kept, *new], end=14.0, disrupt_end=11.0, stages=stages, lost={"node-1": 0.0})


def scale_out(*, recycle_after: int = 0) -> World:
    """Two pods become six, each ready before it is listed; clients keep their connections."""
    old = [Pod(f"app-old-{name}") for name in "ab"]
    new = [Pod(f"app-new-{name}", "node-2", created=0.2, listening=0.9, listed=1.2) for name in "abcd"]
    stages = [(0.0, "scale", "scale to 6")]
    return World([*old, *new], end=10.0, disrupt_end=1.5, stages=stages, pool=24, recycle_after=recycle_after)


def stale_entries() -> World:
    """A sound rollout whose client reuses source ports that conntrack still maps to pods long dead."""
    world = rollout(readiness=True, prestop_s=5, graceful=True)
    world.stale = [(-2.5, -1.5), (world.end - 2.0, world.end - 1.0)]
    return world


def network_cut(*, fixed: bool = True) -> World:
    """A rollout in which the network of the traffic worker is gone for a while; fixed: the rollout itself is sound."""
    world = rollout(readiness=True, prestop_s=5, graceful=True) if fixed else rollout()
    world.control_rate, world.cut = 5.0, [(0.5, 2.5)]
    return world


__all__ = ["drain_of_all", "network_cut", "node_loss", "rollout", "scale_out", "stale_entries"]
