"""Ties every failed request to the pod transition that caused it, or says that it cannot.

Each rule scores each failed request for each suspect; the scores are weighed against each other and against a fixed
"none of these". What fits one suspect clearly is given to it; what fits several alike is split between them in
proportion, and the confidence says so. Nothing here knows any single rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hazd.analysis.case import Case, Suspect
from hazd.analysis.requests import FAILURES, KINDS
from hazd.analysis.rules import Rule, all_rules
from hazd.model import Cause

UNATTRIBUTED = "unattributed"
_UNKNOWN = 0.1
"""The weight of "none of these": what fits with less is not named, what fits fully has confidence 0.91."""
_CLEAR = 3.0
"""A suspect this many times likelier than the next gets the request whole."""
_GOLDEN = 0.6180339887498949

_BY = {
    "refused": "refused by",
    "no_route": "no route to",
    "timeout": "timed out at",
    "reset": "reset by",
    "eof": "closed early by",
    "bad_status": "answered badly by",
    "other": "failed at",
}
_ALONE = {
    "refused": "refused",
    "no_route": "no route",
    "timeout": "timed out",
    "reset": "reset",
    "eof": "closed early",
    "bad_status": "answered badly",
    "other": "failed otherwise",
}


@dataclass(frozen=True)
class Finding:
    """All failures of one rule. title: the cause in general; sentence: what a report says of them; causes: one a pod.

    confidence: how sure the rule is; a cause's own confidence also says how sure its pod is.
    """

    rule: str
    title: str
    requests: int
    confidence: float
    sentence: str
    cured_by: tuple[str, ...]
    causes: tuple[Cause, ...]


@dataclass(frozen=True)
class Attribution:
    """findings: largest first. Per failed request: rule and pod ("" = none found), sure = its probability.

    likelihood: pod -> for each failed request, the probability that it was sent to that pod.
    """

    findings: tuple[Finding, ...]
    unattributed: int
    rule: Any
    pod: Any
    sure: Any
    likelihood: Mapping[str, Any]

    @property
    def causes(self) -> tuple[Cause, ...]:
        return tuple(cause for finding in self.findings for cause in finding.causes)


def attribute(case: Case, rules: Sequence[Rule] = ()) -> Attribution:
    """Every failed request of the case gets one cause or none. `rules` defaults to the whole folder."""
    import numpy as np

    number = len(case.failed)
    suspects = [(rule, suspect) for rule in (rules or all_rules()) for suspect in rule.suspects(case)] if number else []
    chosen, shares = _choose(np.array([suspect.scores for _, suspect in suspects]).reshape(len(suspects), number))
    findings: list[Finding] = []
    for rule in dict.fromkeys(owner.NAME for owner, _ in suspects):
        mine = [index for index, (owner, _) in enumerate(suspects) if rule == owner.NAME]
        findings.extend(_finding(case, suspects, mine, chosen, shares))
    lost = np.flatnonzero(chosen < 0)
    findings.sort(key=lambda finding: -finding.requests)
    if len(lost):
        findings.append(_unexplained(case, lost))
    names = np.array([owner.NAME for owner, _ in suspects] + [""], dtype=object)
    pods = np.array([suspect.pod for _, suspect in suspects] + [""], dtype=object)
    every = np.arange(number)
    sure = np.where(chosen >= 0, shares[chosen, every], 0.0) if len(suspects) else np.zeros(number)
    likelihood: dict[str, Any] = {}
    for index, (_, suspect) in enumerate(suspects):
        if suspect.pod:
            likelihood[suspect.pod] = likelihood.get(suspect.pod, 0.0) + shares[index]
    return Attribution(tuple(findings), len(lost), names[chosen], pods[chosen], sure, likelihood)


def _choose(scores: Any) -> tuple[Any, Any]:
    """Per request: the suspect that gets it (-1 = none), and every suspect's share of the likelihood.

    The split is an even, repeatable one (a golden-ratio sequence over the requests), so the same journal gives the
    same answer and each suspect's part of the total is its likelihood.
    """
    import numpy as np

    suspects, requests = scores.shape
    if not suspects:
        return np.full(requests, -1), scores
    shares = scores / (scores.sum(axis=0) + _UNKNOWN)
    best = scores.max(axis=0)
    open_ = np.where(scores * _CLEAR > best, scores, 0.0)
    ladder = open_.cumsum(axis=0)
    draw = (np.arange(requests) * _GOLDEN % 1.0) * ladder[-1]
    chosen = (ladder <= draw).sum(axis=0)
    return np.where(best < _UNKNOWN, -1, np.minimum(chosen, suspects - 1)), shares


def _finding(
    case: Case, suspects: Sequence[tuple[Rule, Suspect]], mine: Sequence[int], chosen: Any, shares: Any
) -> list[Finding]:
    import numpy as np

    rule = suspects[mine[0]][0]
    causes: list[tuple[Cause, str]] = []
    for index in mine:
        positions = np.flatnonzero(chosen == index)
        if not len(positions):
            continue
        certainty = shares[index, positions]
        why, evidence = suspects[index][1].explain(positions[certainty >= 0.9 * certainty.max()])
        pod = suspects[index][1].pod
        kinds = _kinds(case, positions)
        cause = Cause(
            rule=rule.NAME,
            pod=pod,
            kinds=kinds,
            confidence=round(float(certainty.mean()), 3),
            summary=_words(kinds, f"pod {pod}" if pod else "", why),
            evidence=(*evidence, _span(case, positions)),
            cured_by=rule.CURED_BY,
        )
        causes.append((cause, why))
    if not causes:
        return []
    causes.sort(key=lambda item: -item[0].requests)
    positions = np.flatnonzero(np.isin(chosen, mine))
    share = shares[list(mine)][:, positions].sum(axis=0).mean()
    return [
        Finding(
            rule=rule.NAME,
            title=rule.TITLE,
            requests=len(positions),
            confidence=round(float(share), 3),
            sentence=_together([cause for cause, _ in causes], [why for _, why in causes]),
            cured_by=rule.CURED_BY,
            causes=tuple(cause for cause, _ in causes),
        )
    ]


def _unexplained(case: Case, positions: Any) -> Finding:
    kinds = _kinds(case, positions)
    cause = Cause(UNATTRIBUTED, "", kinds, 0.0, _words(kinds, "", "no cause found"), (_span(case, positions),), ())
    return Finding(UNATTRIBUTED, "no cause found", len(positions), 0.0, cause.summary, (), (cause,))


def _span(case: Case, positions: Any) -> str:
    times = case.failed.sent_ns[positions]
    first, last = case.at(int(times.min())), case.at(int(times.max()))
    return (
        f"the request was sent at {first}" if len(positions) == 1 else f"the requests were sent from {first} to {last}"
    )


def _kinds(case: Case, positions: Any) -> dict[str, int]:
    import numpy as np

    counts = np.bincount(case.failed.kind[positions], minlength=len(KINDS))
    return {name: int(counts[KINDS.index(name)]) for name in FAILURES if counts[KINDS.index(name)]}


def _words(kinds: dict[str, int], whose: str, why: str) -> str:
    """As "35 refused by pod app-x (not ready yet)", or "9 failed at pod app-y (7 timed out, 2 no route: gone ...)"."""
    ranked = sorted(kinds.items(), key=lambda item: -item[1])
    if len(ranked) == 1:
        kind, number = ranked[0]
        return f"{number:,} {_BY[kind]} {whose} ({why})" if whose else f"{number:,} {_ALONE[kind]} ({why})"
    parts = ", ".join(f"{number:,} {_ALONE[kind]}" for kind, number in ranked)
    return f"{sum(kinds.values()):,} failed{f' at {whose}' if whose else ''} ({parts}: {why})"


def _together(causes: Sequence[Cause], whys: Sequence[str]) -> str:
    """One sentence for a rule: its one pod's, else the number of pods with the largest one's reason."""
    if len(causes) == 1:
        return causes[0].summary
    kinds: dict[str, int] = {}
    for cause in causes:
        for kind, number in cause.kinds.items():
            kinds[kind] = kinds.get(kind, 0) + number
    pods = {cause.pod for cause in causes}
    reasons = list(dict.fromkeys(whys))
    why = reasons[0] if len(reasons) == 1 else f"such as: {reasons[0]}"
    return _words(kinds, f"{len(pods)} pods" if len(pods) > 1 else f"pod {causes[0].pod}" if causes[0].pod else "", why)


__all__ = ["UNATTRIBUTED", "Attribution", "Finding", "attribute"]
