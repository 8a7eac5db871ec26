"""Runs against their baselines, trial by trial, and against budgets: what became worse, and what is known at all.

Pure: summaries in, a judgement out. A rise in failures counts as a regression only when chance does not explain it, run
by run; a budget that is exceeded counts always; and without a regression the runs' own verdict stands.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from hazd.analysis.stats import Comparison, compare_rates
from hazd.analysis.summary import worst
from hazd.model import Outcome
from hazd.report.words import kind_word, number, percent

Summary = Mapping[str, Any]
Key = tuple[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Budgets:
    """What a trial may cost at most, None = not limited. latency_ratio and recovery_ratio: run / baseline."""

    max_failed: int | None = None
    max_outage_ms: float | None = None
    latency_ratio: float | None = None
    recovery_ratio: float | None = None
    significance: float = 0.01


@dataclass(frozen=True)
class Group:
    """One trial as all runs and all usable baselines have it. decides: in any of the runs its verdict is the run's.

    gated: whether it can fail the comparison; a trial without its fixes is there to fail, and is reported only.
    """

    key: Key
    now: tuple[Summary, ...]
    before: tuple[Summary, ...]
    unusable: tuple[str, ...]
    decides: bool

    @property
    def name(self) -> str:
        return str(self.now[0]["name"])

    @property
    def gated(self) -> bool:
        return self.decides or bool(self.key[1])

    @property
    def verdict(self) -> Outcome:
        return worst([Outcome(trial["verdict"]) for trial in self.now])

    @property
    def was(self) -> Outcome | None:
        return worst([Outcome(trial["verdict"]) for trial in self.before]) if self.before else None


def compare(
    runs: Sequence[Summary],
    baselines: Sequence[Summary] = (),
    budgets: Budgets | None = None,
    *,
    allow_known_failures: bool = False,
) -> dict[str, Any]:
    """All are summaries (summary.json) of one kind of run each; trials are matched by scenario and fixes.

    verdict: FAIL with any regression. Else the worse of the runs' own verdict and INCONCLUSIVE where it cannot be said:
    a trial is missing or was not run, or no baseline is usable (INCONCLUSIVE, or without a request).
    allow_known_failures: a trial that failed in the baseline too, and is no worse, passes. JSON types only.
    """
    budgets = budgets or Budgets()
    groups = _groups(runs, baselines)
    trials = [_judged(group, budgets) for group in groups]
    regressions = [text for trial in trials for text in trial["regressions"]]
    known = [
        group
        for group, trial in zip(groups, trials, strict=True)
        if allow_known_failures and group.was is group.verdict is Outcome.FAIL and not trial["regressions"]
    ]
    missing = _missing(groups, baselines)
    failures = [
        f"{group.name} failed: {'; '.join(_first_reasons(group))}"
        for group, trial in zip(groups, trials, strict=True)
        if group.decides and group.verdict is Outcome.FAIL and group not in known and not trial["regressions"]
    ]
    doubts = [*_doubts(runs, groups), *_unusable(groups, baselines)]
    doubts += [f"{name} is in the baseline, but not in the run" for name in missing]
    own = worst([_own_verdict(run, {group.key for group in known}) for run in runs])
    said = Outcome.FAIL if regressions else Outcome.INCONCLUSIVE if doubts or not trials else Outcome.PASS
    outcome = worst([own, said])
    if own is Outcome.FAIL and not failures and not regressions:
        failures = [f"{run['run']} failed" for run in runs if run["verdict"] == Outcome.FAIL]
    return {
        "schema": 1,
        "run": runs[0]["run"],
        "runs": [run["run"] for run in runs],
        "baseline": baselines[0]["run"] if baselines else None,
        "baselines": [baseline["run"] for baseline in baselines],
        "trials": trials,
        "missing": missing,
        "known_failures": list(dict.fromkeys(trial["name"] for group in known for trial in group.now)),
        "reasons": [*regressions, *failures, *doubts],
        "notes": [text for trial in trials for text in trial["reported"]]
        + [f"{group.name} failed, as in the baseline" for group in known],
        "verdict": outcome.value,
    }


def lines(found: Mapping[str, Any]) -> list[str]:
    """What `compare` found in plain sentences: why, what else is worth knowing, and what each test could have found."""
    tested = [
        f"{trial['name']}: {_share(trial)} failed, {_share(trial['baseline'])} in the baseline; {trial['test']}"
        for trial in found["trials"]
        if trial["test"]
    ]
    return [*(found["reasons"] or ["no regression"]), *(f"note: {text}" for text in found["notes"]), *tested]


def _share(counts: Mapping[str, int]) -> str:
    return f"{number(counts['failed'])} of {number(counts['recorded'])}"


def _key(trial: Summary) -> Key:
    return str(trial["scenario"]), tuple(sorted(trial["fixes"]))


def _by_key(summaries: Sequence[Summary]) -> dict[Key, list[Summary]]:
    found: dict[Key, list[Summary]] = {}
    for trial in (trial for summary in summaries for trial in summary["trials"]):
        found.setdefault(_key(trial), []).append(trial)
    return found


def _groups(runs: Sequence[Summary], baselines: Sequence[Summary]) -> list[Group]:
    before = _by_key(baselines)
    deciders = {_key(trial) for run in runs for trial in run["trials"] if trial["name"] in run["decided_by"]}
    return [
        Group(
            key=key,
            now=tuple(now),
            before=tuple(trial for trial in before.get(key, ()) if not _why_unusable(trial)),
            unusable=tuple(reason for trial in before.get(key, ()) if (reason := _why_unusable(trial))),
            decides=key in deciders,
        )
        for key, now in _by_key(runs).items()
    ]


def _why_unusable(trial: Summary) -> str | None:
    if not trial["requests"]["recorded"]:
        return "without a request"
    return "INCONCLUSIVE" if trial["verdict"] == Outcome.INCONCLUSIVE else None


def _own_verdict(run: Summary, known: Set[Key]) -> Outcome:
    """What the run says of itself, where failures that are known already count as passed."""
    deciders = [trial for trial in run["trials"] if trial["name"] in run["decided_by"]]
    failed = [trial for trial in deciders if trial["verdict"] == Outcome.FAIL]
    if run["verdict"] != Outcome.FAIL or not failed or any(_key(trial) not in known for trial in failed):
        return Outcome(run["verdict"])
    left = [Outcome.PASS if trial in failed else Outcome(trial["verdict"]) for trial in deciders]
    return worst([*left, *([Outcome.INCONCLUSIVE] if run.get("not_run") else [])])


def _doubts(runs: Sequence[Summary], groups: Sequence[Group]) -> list[str]:
    found = [
        f"{group.name} is INCONCLUSIVE"
        for group in groups
        if group.decides and any(trial["verdict"] == Outcome.INCONCLUSIVE for trial in group.now)
    ]
    return found + [f"{name} was not run" for run in runs for name in run.get("not_run") or ()]


def _unusable(groups: Sequence[Group], baselines: Sequence[Summary]) -> list[str]:
    """Where there is a baseline, and it says nothing."""
    found = [
        f"{group.name}: the baseline is {group.unusable[0]}"
        for group in groups
        if group.gated and group.unusable and not group.before
    ]
    if baselines and all(baseline["verdict"] == Outcome.INCONCLUSIVE for baseline in baselines):
        names = " and ".join(str(baseline["run"]) for baseline in baselines)
        found.append(f"the baseline {names} is INCONCLUSIVE: compare with a run that passed")
    return found


def _missing(groups: Sequence[Group], baselines: Sequence[Summary]) -> list[str]:
    """Trials of the baselines that can be gated and are not among the runs'."""
    present = {group.key for group in groups}
    names = [
        trial["name"]
        for baseline in baselines
        for trial in baseline["trials"]
        if _key(trial) not in present and (trial["fixes"] or trial["name"] in baseline["decided_by"])
    ]
    return list(dict.fromkeys(names))


def _first_reasons(group: Group) -> list[str]:
    return [trial["reasons"][0] for trial in group.now if trial["verdict"] == Outcome.FAIL and trial.get("reasons")]


def _judged(group: Group, budgets: Budgets) -> dict[str, Any]:
    now, before = group.now, group.before
    # a trial without its fixes is there to fail: budgets are for those that decide
    texts = _over_budget(now, budgets) if group.decides else []
    found: dict[str, Any] = {
        "name": group.name,
        "trials": len(now),
        **_counts(now),
        "verdict": group.verdict.value,
        "gated": group.gated,
        "baseline": None,
        "p_value": None,
        "test": None,
        "detectable_rise": None,
    }
    if before:
        chance = compare_rates(_pairs(now), _pairs(before), budgets.significance)
        found["baseline"] = {"trials": len(before), **_counts(before), "verdict": group.was}
        if chance is not None:
            found["p_value"] = float(f"{chance.p_value:.3g}")
            found["test"] = chance.sentence
            found["detectable_rise"] = None if chance.rise is None else float(f"{chance.rise:.3g}")
        found["failures"] = _more_by_kind(now, before)
        found["latency_ms"] = {name: _difference(now, before, "latency_ms", name) for name in ("p50", "p99")}
        found["recovery_s"] = _difference(now, before, "outages", "recovery_s")
        found["longest_outage_ms"] = _difference(now, before, "outages", "longest_ms")
        texts += _worse(group, chance, budgets)
    named = [f"{group.name}: {text}" for text in texts]
    return found | {"regressions": named if group.gated else [], "reported": [] if group.gated else named}


def _pairs(trials: Sequence[Summary]) -> list[tuple[int, int]]:
    return [(trial["requests"]["failed"], trial["requests"]["recorded"]) for trial in trials]


def _counts(trials: Sequence[Summary]) -> dict[str, int]:
    return {name: sum(trial["requests"][name] for trial in trials) for name in ("failed", "recorded")}


def _more_by_kind(now: Sequence[Summary], before: Sequence[Summary]) -> dict[str, float]:
    """Failures of a trial more than in the baseline, by kind; means where there are several."""
    return {
        kind: round(_mean(now, "failures", kind) - _mean(before, "failures", kind), 1) for kind in now[0]["failures"]
    }


def _mean(trials: Sequence[Summary], part: str, name: str) -> float:
    return statistics.fmean(trial[part].get(name, 0) for trial in trials)


def _median(trials: Sequence[Summary], part: str, name: str) -> float | None:
    values = [float(trial[part][name]) for trial in trials if trial[part].get(name) is not None]
    return statistics.median(values) if values else None


def _difference(now: Sequence[Summary], before: Sequence[Summary], part: str, name: str) -> float | None:
    value, was = _median(now, part, name), _median(before, part, name)
    return None if value is None or was is None else round(value - was, 3)


def _over_budget(now: Sequence[Summary], budgets: Budgets) -> list[str]:
    found = []
    failed = max(trial["requests"]["failed"] for trial in now)
    longest = max(trial["outages"]["longest_ms"] for trial in now)
    if budgets.max_failed is not None and failed > budgets.max_failed:
        found.append(f"{number(failed)} requests failed, {number(budgets.max_failed)} are allowed")
    if budgets.max_outage_ms is not None and longest > budgets.max_outage_ms:
        found.append(f"the longest outage was {longest:,.0f} ms, {budgets.max_outage_ms:,.0f} ms are allowed")
    return found


def _worse(group: Group, chance: Comparison | None, budgets: Budgets) -> list[str]:
    found = []
    if chance is not None and chance.p_value < budgets.significance:
        more = _more_by_kind(group.now, group.before)
        most = max(more, key=lambda kind: more[kind])
        found.append(
            f"{percent(chance.rate)} failed, {percent(chance.rate_before)} in the baseline "
            f"(mostly {kind_word(most)}; {chance.sentence})"
        )
    if group.was is Outcome.PASS and group.verdict is Outcome.FAIL and not found:
        failed = _counts([trial for trial in group.now if trial["verdict"] == Outcome.FAIL])["failed"]
        found.append(f"{number(failed)} requests failed where the baseline passed")
    for what, part, name, limit, unit in (
        ("p99 latency", "latency_ms", "p99", budgets.latency_ratio, "ms"),
        ("recovery", "outages", "recovery_s", budgets.recovery_ratio, "s"),
    ):
        value, was = _median(group.now, part, name), _median(group.before, part, name)
        if limit is not None and value is not None and was and value > limit * was:
            found.append(f"{what} {value:,.1f} {unit} is {value / was:.1f} times the baseline's, {limit:g} is allowed")
    return found


__all__ = ["Budgets", "compare", "lines"]
