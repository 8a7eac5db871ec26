"""A watch is proven to have shown everything by one more listing, or it is said what it missed."""

from __future__ import annotations

from typing import Any, cast

import trio
import trio.testing

from hazd.cluster.port import Cluster
from hazd.cluster.watch import watch_event
from hazd.errors import ClusterError
from hazd.trial.watches import Watches


def pod(version: int, name: str = "app-a") -> dict[str, Any]:
    return {"kind": "Pod", "metadata": {"name": name, "namespace": "n", "uid": name, "resourceVersion": str(version)}}


class Listing:
    """What a cluster lists: the last entry for good, an error where it is one."""

    def __init__(self, *answers: list[dict[str, Any]] | ClusterError) -> None:
        self._answers = list(answers)

    async def list(self, kind: str, namespace: str) -> list[dict[str, Any]]:
        assert (kind, namespace) == ("Pod", "n")
        found = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(found, ClusterError):
            raise found
        return found


def proven(shown: list[tuple[str, dict[str, Any]]], listing: Listing) -> dict[str, Any]:
    watches = Watches()
    watches.opened("Pod", "n")
    for number, (reason, obj) in enumerate(shown):
        watches.add("Pod", watch_event(obj, reason, number))
    clock = trio.testing.MockClock(autojump_threshold=0)
    trio.run(watches.prove, cast(Cluster, listing), clock=clock)
    return watches.account()["Pod"]


def test_a_watch_that_showed_the_last_version_of_all_is_proven() -> None:
    """Deleted objects are not listed, others have the resourceVersion that was shown last."""
    shown = [("ADDED", pod(1)), ("MODIFIED", pod(2)), ("ADDED", pod(3, "app-b")), ("DELETED", pod(4, "app-b"))]
    assert proven(shown, Listing([pod(2)])) == {"events": 4, "problem": None}


def test_a_silent_watch_is_found() -> None:
    """A change, a new object or a deletion that it never showed; listings that fail prove nothing."""
    for listed in ([pod(9)], [pod(1), pod(2, "app-b")], []):
        assert "it missed a change of pod/app-" in proven([("ADDED", pod(1))], Listing(listed))["problem"]
    assert proven([("ADDED", pod(1))], Listing(ClusterError("no route")))["problem"] == "no route"


def test_a_watch_that_is_a_little_behind_may_catch_up() -> None:
    """One listing that fails, or is ahead of the watch, is followed by another."""
    listing = Listing(ClusterError("no route"), [pod(9)], [pod(1)])
    assert proven([("ADDED", pod(1))], listing) == {"events": 1, "problem": None}


def test_a_trial_that_ends_before_the_proof_has_none() -> None:
    """Nothing is proven by default."""
    watches = Watches()
    watches.opened("Pod", "n")
    assert watches.account()["Pod"]["problem"] == "the trial ended before it was checked"
