"""`hazd run --until 5%`: another round of trials, until what was seen is enough or the time is spent."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hazd.model import Trial

if TYPE_CHECKING:
    from hazd.analysis import TrialResult
    from hazd.plan import Options


@dataclass
class Until:
    """Called between trials with the number of the next round: its trials, or why there is none.

    bound: of the share (0..1) of terminations that lose a request, valid at every look. trials: of one round.
    """

    bound: float
    budget_s: float
    trials: tuple[Trial, ...]
    folder: Path
    now_s: Callable[[], float] = time.monotonic
    begun_s: float = field(init=False)
    results: dict[str, TrialResult] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.begun_s = self.now_s()

    @classmethod
    def of(cls, wanted: Sequence[Options], trials: Sequence[Trial], folder: Path) -> Until | None:
        """None where no bound was asked for. What is repeated are the trials with the most fixes: they decide."""
        asked = next((options for options in wanted if options.until is not None), None)
        if asked is None or asked.until is None:
            return None
        most = max(len(trial.fixes) for trial in trials)
        repeated = tuple(trial for trial in trials if len(trial.fixes) == most)
        return cls(asked.until, asked.budget_s, repeated, folder)

    @property
    def about(self) -> dict[str, Any]:
        """For run.json: what the report judges the run by."""
        return {"until": {"bound": self.bound, "budget_s": self.budget_s}}

    def __call__(self, number: int) -> tuple[Trial, ...] | str:
        from hazd.analysis.pool import pools
        from hazd.analysis.stats import enough
        from hazd.plan import in_round

        self._read()
        for pool in pools(list(self.results.values())):
            if reason := enough(pool.lost, pool.seen, self.bound):
                return reason
        spent_s = self.now_s() - self.begun_s
        if spent_s * number / (number - 1) > self.budget_s:
            return f"another round would exceed the budget of {self.budget_s:,.0f} s: {spent_s:,.0f} s are spent"
        return in_round(self.trials, number)

    def _read(self) -> None:
        """Analyse what ended since the last look."""
        from hazd.analysis import analyse
        from hazd.journal import read_trial, trial_folders

        names = {trial.name for trial in self.trials}
        for folder in trial_folders(self.folder):
            if folder.name.partition("#")[0] in names and folder.name not in self.results:
                self.results[folder.name] = analyse(read_trial(folder))


__all__ = ["Until"]
