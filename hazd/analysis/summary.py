"""summary.json: the output contract that scripts and CI rest on.

Fields may be added; none is renamed or dropped without raising SCHEMA.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hazd.analysis.pool import pools
from hazd.analysis.result import StreamResult, TrialResult
from hazd.model import Outcome

SCHEMA = 1
_AT_MOST = 20
"""Outages listed one by one; their number is always whole."""


def summarise(run_meta: Mapping[str, Any], results: Sequence[TrialResult]) -> dict[str, Any]:
    """The run as JSON types only. The run's verdict is that of the trials that decide (see `deciding`)."""
    first = results[0].meta if results else {}
    planned: Sequence[Mapping[str, Any]] = run_meta.get("trials") or ()
    there = {result.name for result in results}
    missing = [str(item.get("name")) for item in planned if str(item.get("name")) not in there]
    deciders = deciding(results, planned)
    outcome = worst([result.verdict.outcome for result in deciders])
    problems = [str(text) for text in run_meta.get("problems") or ()]
    if (missing or problems) and outcome is Outcome.PASS:
        outcome = Outcome.INCONCLUSIVE
    until = (run_meta.get("until") or {}).get("bound")
    pooled = [pool for pool in pools(results) if len(pool.trials) > 1 or until is not None]
    names = {result.name for result in deciders}
    asked = [until if until is not None and pool.trials[0].name in names else None for pool in pooled]
    short = [pool for pool, bound in zip(pooled, asked, strict=True) if bound and pool.anytime_upper_bound_95 > bound]
    if short and outcome is Outcome.PASS:
        outcome = Outcome.INCONCLUSIVE
    scenarios = list(dict.fromkeys(result.scenario for result in results))
    return {
        "schema": SCHEMA,
        "run": str(run_meta.get("run") or first.get("run") or ""),
        "scenario": str(run_meta.get("scenario") or (scenarios[0] if len(scenarios) == 1 else "matrix")),
        "cluster": dict(run_meta.get("cluster") or first.get("cluster") or {}),
        "trials": [_trial(result) for result in results],
        "pooled": [pool.contract(bound) for pool, bound in zip(pooled, asked, strict=True)],
        "until": run_meta.get("until"),
        "stopped": run_meta.get("stopped"),
        "not_run": missing,
        "problems": problems,
        "decided_by": [result.name for result in deciders],
        "verdict": outcome.value,
    }


def deciding(results: Sequence[TrialResult], planned: Sequence[Mapping[str, Any]] = ()) -> list[TrialResult]:
    """The trials whose outcome is the run's: per scenario those with the most fixes.

    planned: run.json's trials. A run that compares "none" with some fixes is not failed by its own baseline, also when
    it was interrupted before the trial with the fixes; then no trial decides.
    """
    numbers = [(result.scenario, len(result.fixes)) for result in results]
    numbers += [(str(item.get("scenario")), len(item.get("fixes") or ())) for item in planned]
    most: dict[str, int] = {}
    for scenario, number in numbers:
        most[scenario] = max(most.get(scenario, 0), number)
    return [result for result in results if len(result.fixes) == most[result.scenario]]


def worst(outcomes: Sequence[Outcome]) -> Outcome:
    """FAIL before INCONCLUSIVE before PASS; without any trial nothing is known."""
    for outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE):
        if outcome in outcomes:
            return outcome
    return Outcome.PASS if outcomes else Outcome.INCONCLUSIVE


def _trial(result: TrialResult) -> dict[str, Any]:
    meta = result.meta
    lengths = [outage.length_ms for outage in result.outages]
    return {
        "name": result.name,
        "scenario": result.scenario,
        "fixes": list(result.fixes),
        "verdict": result.verdict.outcome.value,
        "reasons": list(result.verdict.reasons),
        "sentence": result.sentence,
        "requests": dict(result.requests),
        "failures": dict(result.failures),
        "attributed": result.failed - result.attribution.unattributed,
        "observed": result.observed.contract(),
        "failures_known": result.attribution.known(),
        "latency_ms": dict(result.latency_ms),
        "late_ms": dict(result.late_ms),
        "upper_bound_failure_rate_95": float(f"{result.upper_bound_95:.4g}"),
        "terminations": result.transitions["terminations"],
        "terminations_lost": result.terminations.contract(),
        "additions_lost": result.additions.contract(),
        "transitions": dict(result.transitions),
        "propagation_ms": result.propagation.contract(),
        "causes": [
            {
                "rule": finding.rule,
                "title": finding.title,
                "requests": finding.requests,
                "least": finding.least,
                "most": finding.most,
                "how": finding.how,
                "confidence": finding.confidence,
                "sentence": finding.sentence,
                "cured_by": list(finding.cured_by),
                "pods": [
                    {
                        "pod": cause.pod,
                        "kinds": dict(cause.kinds),
                        "confidence": cause.confidence,
                        "summary": cause.summary,
                        "evidence": list(cause.evidence),
                    }
                    for cause in finding.causes
                ],
            }
            for finding in result.attribution.findings
        ],
        "outages": {
            "n": len(lengths),
            "longest_ms": round(max(lengths, default=0.0), 1),
            "window_s": [round(at, 3) for at in result.window_s] if result.window_s else None,
            "recovery_s": None if result.recovery_s is None else round(result.recovery_s, 3),
            "list": [
                {
                    "vantage": outage.vantage,
                    "stream": outage.stream,
                    "start_s": round((outage.first_failed_ns - result.origin_ns) / 1e9, 3),
                    "length_ms": round(outage.length_ms, 1),
                    "requests": outage.requests,
                    "failures": dict(outage.failures),
                }
                for outage in sorted(result.outages, key=lambda outage: -outage.length_ms)[:_AT_MOST]
            ],
        },
        "streams": [_stream(stream) for stream in result.streams],
        "skew": result.skew.contract() if result.skew else None,
        "accounting": result.accounting.contract(),
        "control": result.control.contract() if result.control else None,
        "state": str(meta.get("state", "")),
        "settings": {**(meta.get("app") or {}), **(meta.get("fix_settings") or {}), **(meta.get("criteria") or {})},
        "applied": dict(meta.get("applied") or {}),
        "patch": str(meta.get("patch") or ""),
        "options": dict(meta.get("options") or {}),
        "replicas": meta.get("replicas"),
        "rate": meta.get("rate"),
        "checks": [dict(check) for check in result.checks],
        "coverage": {"late_p99_ms": result.coverage.late_p99_ms},
        "notes": [*(meta.get("notes") or ()), *result.coverage.notes],
    }


def _stream(stream: StreamResult) -> dict[str, Any]:
    return {
        "name": stream.name,
        "connection": stream.connection,
        "recorded": stream.recorded,
        "ok": stream.ok,
        "failures": dict(stream.failures),
        "latency_ms": dict(stream.latency_ms),
        "outages": stream.outages,
        "longest_outage_ms": round(stream.longest_outage_ms, 1),
        "skew": stream.skew.contract() if stream.skew else None,
    }


__all__ = ["SCHEMA", "deciding", "summarise", "worst"]
