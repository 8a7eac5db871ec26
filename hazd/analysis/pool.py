"""Trials of the same scenario with the same fixes, taken together: repeated, they bound what one of them cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hazd.analysis.result import TrialResult
from hazd.analysis.stats import anytime_upper_bound, percent, upper_bound
from hazd.analysis.terminations import say_lost
from hazd.model import Outcome


@dataclass(frozen=True)
class Pool:
    """The repeated trials, in order. An INCONCLUSIVE one answers nothing, so it counts for nothing here.

    noun: what is counted, "termination", or "addition" where nothing is terminated.
    """

    scenario: str
    fixes: tuple[str, ...]
    trials: tuple[TrialResult, ...]

    @property
    def counted(self) -> tuple[TrialResult, ...]:
        return tuple(trial for trial in self.trials if trial.verdict.outcome is not Outcome.INCONCLUSIVE)

    @property
    def noun(self) -> str:
        return "termination" if any(trial.terminations.total for trial in self.trials) else "addition"

    def _sum(self, name: str) -> int:
        units = ((trial.terminations if self.noun == "termination" else trial.additions) for trial in self.counted)
        return sum(getattr(unit, name) for unit in units)

    @property
    def total(self) -> int:
        return self._sum("total")

    @property
    def seen(self) -> int:
        return self._sum("seen")

    @property
    def lost(self) -> int:
        return self._sum("lost")

    @property
    def anytime_upper_bound_95(self) -> float:
        """Valid however often it was looked at, as by `hazd run --until`."""
        return anytime_upper_bound(self.lost, self.seen)

    def contract(self, until: float | None = None) -> dict[str, Any]:
        """As in summary.json (`pooled`). until: the bound that the run was repeated for, None: none."""
        requests = {name: sum(trial.requests[name] for trial in self.counted) for name in ("recorded", "failed")}
        words = say_lost(self.noun, self.total, self.seen, self.lost) or f"no {self.noun} was seen"
        if until is not None:
            bound = self.anytime_upper_bound_95
            words = (
                f"{self.lost} of {self.seen} {self.noun}s lost a request: at most {percent(bound)} do (95 % at every "
                f"look), {percent(until)} was asked for"
            )
        return {
            "scenario": self.scenario,
            "fixes": list(self.fixes),
            "trials": [trial.name for trial in self.trials],
            "counted": len(self.counted),
            "requests": requests,
            f"{self.noun}s_lost": {
                f"{self.noun}s": self.total,
                "seen_by_traffic": self.seen,
                "lost_requests": self.lost,
                "upper_bound_95": float(f"{upper_bound(self.lost, self.seen):.4g}"),
                "anytime_upper_bound_95": float(f"{self.anytime_upper_bound_95:.4g}"),
            },
            "sentence": f"{words}; {requests['failed']:,} of {requests['recorded']:,} requests failed",
        }


def pools(results: Sequence[TrialResult]) -> list[Pool]:
    """One for each scenario and set of fixes, in order of appearance."""
    found: dict[tuple[str, tuple[str, ...]], list[TrialResult]] = {}
    for result in results:
        found.setdefault((result.scenario, tuple(sorted(result.fixes))), []).append(result)
    return [Pool(scenario, tuple(trials[0].fixes), tuple(trials)) for (scenario, _), trials in found.items()]


__all__ = ["Pool", "pools"]
