"""What a rule is given and what it gives back: the failed requests beside the story, and scores for one suspect.

A rule never decides. It says how well each failed request fits what one pod went through (0 = impossible,
1 = exactly what that transition does); attribution.py weighs the suspects of all rules against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from hazd.analysis.control import Control
from hazd.analysis.observed import Observed
from hazd.analysis.ports import Earlier, reused_ports
from hazd.analysis.requests import Requests
from hazd.analysis.routing import Routing, infer_routing
from hazd.analysis.story import PodLife, Span, Story

S = 1_000_000_000
_AGAINST_RULES = 0.05
"""What is left of a suspicion when the node's rules, as far as they can be known, did not hold the pod."""


@dataclass(frozen=True)
class Case:
    """failed: the failed requests only. requests: all of the service's. origin_ns: the time reports count from."""

    failed: Requests
    requests: Requests
    story: Story
    vantages: Mapping[int, str]
    origin_ns: int
    meta: Mapping[str, Any] = field(default_factory=dict)
    control: Control | None = None
    observed: Observed | None = None

    def at(self, when_ns: int | None) -> str:
        """A time for people: seconds since the disruption began."""
        return "an unknown time" if when_ns is None else f"{(when_ns - self.origin_ns) / S:+.2f} s"

    def applied(self, fix: str) -> Mapping[str, Any]:
        """What the fix left in the manifests, by name with its unit; empty where the journal does not say."""
        return ((self.meta.get("applied") or {}).get(fix) or {}).get("values") or {}

    def peer_fits(self, pod: PodLife) -> Any:
        """1 where the connection's pod is unknown or this one, 0 where it is known to be another."""
        return (self.failed.peer == "") | (self.failed.peer == pod.name)

    def listening_ns(self, pod: PodLife) -> int | None:
        """When the pod began to answer: its own log, else its first good response.

        Where no response names its pod, a readinessProbe has asked for us: it answered before it was listed.
        """
        if pod.listening_ns is not None or pod.existed:
            return pod.listening_ns
        if self.requests.unidentified and (self.meta.get("workload") or {}).get("probed"):
            return pod.added_ns
        import numpy as np

        good = np.flatnonzero((self.requests.pod == pod.name) & self.requests.ok)
        return int(self.requests.sent_ns[good].min()) if len(good) else None

    @cached_property
    def shared(self) -> Any:
        """Mask of the failed requests that were sent while requests to the control target failed too."""
        import numpy as np

        return np.zeros(len(self.failed), bool) if self.control is None else self.control.failing(self.failed)

    @cached_property
    def reused_ports(self) -> dict[int, Earlier]:
        """Place among the failed requests -> the earlier use of its source port that led to a pod now dead."""
        import numpy as np

        found = reused_ports(self.requests, self.story)
        place = dict(zip(self.requests.failed.tolist(), np.arange(len(self.failed)).tolist(), strict=True))
        return {place[position]: earlier for position, earlier in found.items()}

    @cached_property
    def routing(self) -> Routing:
        """Which endpoints each node's rules held when."""
        import numpy as np

        ignore = np.zeros(len(self.requests), bool)
        ignore[self.requests.failed[list(self.reused_ports)]] = True
        ignore[self.requests.failed[self.shared]] = True
        listening = {name: self.listening_ns(pod) for name, pod in self.story.pods.items()}
        return infer_routing(self.requests, self.story, listening, ignore)

    def sent_to(self, pod: PodLife) -> Any:
        """1 where a failed request can have been sent to the pod, a little where its node's rules speak against it.

        On a kept connection that is its peer; on a new one it is whoever the rules held at the time.
        """
        import numpy as np

        failed = self.failed
        held = self.routing.held(pod.name, failed.worker, failed.sent_ns)
        open_ = failed.new & (failed.peer == "")
        return np.where(open_, np.where(held, 1.0, _AGAINST_RULES) * ~self.rejected, self.peer_fits(pod))

    @cached_property
    def seen(self) -> Any:
        """Mask of the failed requests of which it is known, not inferred, who they were sent to."""
        return self.of_failed("seen")

    def known(self, pod: PodLife) -> Any:
        """Mask of the failed requests on new connections that were seen to be sent to the pod."""
        return self.seen & self.failed.new & (self.failed.peer == pod.name)

    @cached_property
    def rejected(self) -> Any:
        """Mask of the failed requests that the node itself was seen to reject."""
        return self.of_failed("rejected")

    def of_failed(self, name: str) -> Any:
        """A column of what was observed, of the failed requests only; all False where nothing was."""
        import numpy as np

        if self.observed is None:
            return np.zeros(len(self.failed), bool)
        return getattr(self.observed, name)[self.requests.failed]

    def fell_back(self, positions: Any) -> bool:
        """Whether most of some failed requests met rules that held terminating pods only, since no pod was ready."""
        failed = self.failed
        return bool(self.routing.last_resort(failed.worker[positions], failed.sent_ns[positions]).mean() > 0.5)

    def lost_span(self, pod: PodLife) -> Span | None:
        """The span in which the pod's node was lost, None when it never was."""
        node = self.story.nodes.get(pod.node)
        if node is None or not (node.lost or node.unready):
            return None
        return (node.lost or node.unready)[0]

    def where(self, positions: Any) -> str:
        """The vantages of some failed requests, for a sentence."""
        names = sorted(
            {self.vantages.get(worker, f"worker {worker}") for worker in self.failed.worker[positions].tolist()}
        )
        return names[0] if len(names) == 1 else "the nodes" if len(names) > 3 else " and ".join(names)


@dataclass(frozen=True)
class Suspect:
    """One pod under one rule. scores: one per failed request.

    explain: positions of the failed requests that are most surely its own -> (why in a few words, evidence).
    """

    pod: str
    scores: Any
    explain: Callable[[Any], tuple[str, tuple[str, ...]]]


def within(times_ns: Any, start_ns: int, end_ns: Any, before_s: float = 0.05, after_s: float = 0.05) -> Any:
    """1 inside a window, falling off outside with e-folding times of before_s and after_s; end None = never ends.

    end_ns may also be one time per request.
    """
    import numpy as np

    early = np.clip((start_ns - times_ns) / (before_s * S), 0.0, 60.0)
    late = 0.0 if end_ns is None else np.clip((times_ns - end_ns) / (after_s * S), 0.0, 60.0)
    return np.exp(-early - late)


__all__ = ["Case", "S", "Suspect", "within"]
