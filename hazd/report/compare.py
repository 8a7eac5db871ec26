"""A run against a baseline, trial by trial, and against budgets: what became worse.

Pure: two summaries in, a judgement out. A difference in failures counts as a regression only when chance does not
explain it; a budget that is exceeded counts always.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hazd.model import Outcome
from hazd.report.words import kind_word, number, percent


@dataclass(frozen=True, slots=True)
class Budgets:
    """What a trial may cost at most, None = not limited. latency_ratio and recovery_ratio: run / baseline."""

    max_failed: int | None = None
    max_outage_ms: float | None = None
    latency_ratio: float | None = None
    recovery_ratio: float | None = None
    significance: float = 0.01


def compare(
    run: Mapping[str, Any], baseline: Mapping[str, Any] | None, budgets: Budgets | None = None
) -> dict[str, Any]:
    """Both are summaries (summary.json). Trials are matched by name, else by scenario and fixes.

    verdict: FAIL with any regression, else INCONCLUSIVE when a trial that decides is, or a trial of the baseline is
    missing, else PASS. JSON types only.
    """
    budgets = budgets or Budgets()
    before = _by_key(baseline) if baseline else {}
    trials = [_trial(trial, before.get(_key(trial)), budgets, run) for trial in run["trials"]]
    present = {_key(trial) for trial in run["trials"]}
    missing = [trial["name"] for key, trial in before.items() if key not in present]
    deciders = [trial for trial in run["trials"] if trial["name"] in run["decided_by"]]
    doubtful = [trial["name"] for trial in deciders if trial["verdict"] == Outcome.INCONCLUSIVE]
    regressions = [text for trial in trials for text in trial["regressions"]]
    outcome = Outcome.PASS
    if regressions:
        outcome = Outcome.FAIL
    elif doubtful or missing or not trials:
        outcome = Outcome.INCONCLUSIVE
    reasons = [*regressions]
    reasons += [f"{name} is INCONCLUSIVE" for name in doubtful]
    reasons += [f"{name} is in the baseline, but not in the run" for name in missing]
    return {
        "schema": 1,
        "run": run["run"],
        "baseline": baseline["run"] if baseline else None,
        "trials": trials,
        "missing": missing,
        "reasons": reasons,
        "verdict": outcome.value,
    }


def _key(trial: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    return str(trial["scenario"]), tuple(sorted(trial["fixes"]))


def _by_key(summary: Mapping[str, Any]) -> dict[tuple[str, tuple[str, ...]], Mapping[str, Any]]:
    return {_key(trial): trial for trial in summary["trials"]}


def _trial(
    now: Mapping[str, Any], then: Mapping[str, Any] | None, budgets: Budgets, run: Mapping[str, Any]
) -> dict[str, Any]:
    name = now["name"]
    failed, recorded = now["requests"]["failed"], now["requests"]["recorded"]
    # a trial without its fixes is there to fail: budgets are for those that decide
    texts = _over_budget(now, budgets) if name in run["decided_by"] else []
    found: dict[str, Any] = {
        "name": name,
        "failed": failed,
        "recorded": recorded,
        "verdict": now["verdict"],
        "baseline": None,
        "p_value": None,
    }
    if then is not None:
        p_value = chance(failed, recorded, then["requests"]["failed"], then["requests"]["recorded"])
        found["p_value"] = float(f"{p_value:.3g}")
        found["baseline"] = {
            "failed": then["requests"]["failed"],
            "recorded": then["requests"]["recorded"],
            "verdict": then["verdict"],
        }
        found["failures"] = {kind: now["failures"][kind] - then["failures"].get(kind, 0) for kind in now["failures"]}
        found["latency_ms"] = {
            name: _difference(now["latency_ms"], then["latency_ms"], name) for name in ("p50", "p99")
        }
        found["recovery_s"] = _difference(now["outages"], then["outages"], "recovery_s")
        found["longest_outage_ms"] = _difference(now["outages"], then["outages"], "longest_ms")
        texts += _worse(now, then, p_value, budgets)
    return found | {"regressions": [f"{name}: {text}" for text in texts]}


def _over_budget(now: Mapping[str, Any], budgets: Budgets) -> list[str]:
    found = []
    failed, longest = now["requests"]["failed"], now["outages"]["longest_ms"]
    if budgets.max_failed is not None and failed > budgets.max_failed:
        found.append(f"{number(failed)} requests failed, {number(budgets.max_failed)} are allowed")
    if budgets.max_outage_ms is not None and longest > budgets.max_outage_ms:
        found.append(f"the longest outage was {longest:,.0f} ms, {budgets.max_outage_ms:,.0f} ms are allowed")
    return found


def _worse(now: Mapping[str, Any], then: Mapping[str, Any], p_value: float, budgets: Budgets) -> list[str]:
    found = []
    if p_value < budgets.significance:
        rates = [trial["requests"]["failed"] / max(1, trial["requests"]["recorded"]) for trial in (now, then)]
        more = {kind: now["failures"][kind] - then["failures"].get(kind, 0) for kind in now["failures"]}
        most = max(more, key=lambda kind: more[kind])
        found.append(
            f"{percent(rates[0])} failed, {percent(rates[1])} in the baseline (mostly {kind_word(most)}; "
            f"chance alone: p = {p_value:.2g})"
        )
    if then["verdict"] == Outcome.PASS and now["verdict"] == Outcome.FAIL and not found:
        found.append(f"{number(now['requests']['failed'])} requests failed where the baseline passed")
    ratios = (
        ("p99 latency", now["latency_ms"]["p99"], then["latency_ms"]["p99"], budgets.latency_ratio, "ms"),
        ("recovery", now["outages"]["recovery_s"], then["outages"]["recovery_s"], budgets.recovery_ratio, "s"),
    )
    for what, value, before, limit, unit in ratios:
        if limit is not None and value is not None and before and value > limit * before:
            found.append(
                f"{what} {value:,.1f} {unit} is {value / before:.1f} times the baseline's, {limit:g} is allowed"
            )
    return found


def _difference(now: Mapping[str, Any], then: Mapping[str, Any], name: str) -> float | None:
    if now.get(name) is None or then.get(name) is None:
        return None
    return round(float(now[name]) - float(then[name]), 3)


def chance(failed: int, total: int, failed_before: int, total_before: int) -> float:
    """One-sided p-value that so many failures or more come by chance at the baseline's rate (Fisher's exact test).

    Failures come in bursts, so the true p-value is larger; that is why the default significance is a strict 1 %.
    """
    if not total or not total_before or failed * total_before <= failed_before * total:
        return 1.0
    from scipy.stats import hypergeom

    return float(hypergeom.sf(failed - 1, total + total_before, failed + failed_before, total))


__all__ = ["Budgets", "chance", "compare"]
