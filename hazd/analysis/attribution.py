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
_ROUNDS = 50
_FLOOR = 0.5
"""No rule's weight falls below half a request: what nothing supports stays possible."""
_CLEAR = 3.0
"""A suspect this many times likelier than the next gets the request whole."""

_BY = {
    "refused": "refused by",
    "no_route": "no route to",
    "timeout": "timed out at",
    "reset": "reset by",
    "eof": "closed early by",
    "bad_status": "bad status from",
    "other": "failed at",
}
_ALONE = {
    "refused": "refused",
    "no_route": "no route",
    "timeout": "timed out",
    "reset": "reset",
    "eof": "closed early",
    "bad_status": "bad status",
    "other": "failed otherwise",
}


@dataclass(frozen=True)
class Finding:
    """All failures of one rule. title: the cause in general; sentence: what a report says of them; causes: one a pod.

    seen: how many of them are known, not inferred, to have been sent where the rule says. least and most: what other
    suspects leave open; both are `requests` where it is clear.
    confidence: how sure the rule is; a cause's own confidence also says how sure its pod is.
    """

    rule: str
    title: str
    requests: int
    confidence: float
    sentence: str
    cured_by: tuple[str, ...]
    causes: tuple[Cause, ...]
    seen: int = 0
    least: int = 0
    most: int = 0

    @property
    def how(self) -> str:
        """seen, inferred, or unknown for those without a cause."""
        if self.rule == UNATTRIBUTED:
            return "unknown"
        return "seen" if self.requests and self.seen == self.requests else "inferred"


@dataclass(frozen=True)
class Attribution:
    """findings: largest first. Per failed request: rule and pod ("" = none found), sure = its probability, and how it
    is known: "seen", "inferred" or "unknown".

    likelihood: pod -> for each failed request, the probability that it was sent to that pod.
    """

    findings: tuple[Finding, ...]
    unattributed: int
    rule: Any
    pod: Any
    sure: Any
    likelihood: Mapping[str, Any]
    how: Any = ()

    def known(self) -> dict[str, int]:
        """The number of failed requests by how their cause is known."""
        ways = list(self.how)
        return {way: ways.count(way) for way in ("seen", "inferred", "unknown")}

    @property
    def causes(self) -> tuple[Cause, ...]:
        return tuple(cause for finding in self.findings for cause in finding.causes)


def attribute(case: Case, rules: Sequence[Rule] = ()) -> Attribution:
    """Every failed request of the case gets one cause or none. `rules` defaults to the whole folder."""
    import numpy as np

    number = len(case.failed)
    suspects = [(rule, suspect) for rule in (rules or all_rules()) for suspect in rule.suspects(case)] if number else []
    scores = np.array([suspect.scores for _, suspect in suspects]).reshape(len(suspects), number)
    rules_found = list(dict.fromkeys(owner.NAME for owner, _ in suspects))
    owners = np.array([rules_found.index(owner.NAME) for owner, _ in suspects], dtype=np.int64)
    chosen, shares, possible = _choose(scores, owners)
    findings: list[Finding] = []
    for rule in rules_found:
        mine = [index for index, (owner, _) in enumerate(suspects) if rule == owner.NAME]
        findings.extend(_finding(case, suspects, mine, chosen, shares, possible))
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
    how = np.where(chosen < 0, "unknown", np.where(case.seen, "seen", "inferred")).astype(object)
    return Attribution(tuple(findings), len(lost), names[chosen], pods[chosen], sure, likelihood, how)


def _choose(scores: Any, owners: Any) -> tuple[Any, Any, Any]:
    """Per request: the suspect that gets it (-1 = none), every suspect's share of the likelihood, and who is possible.

    owners: the rule's number of each suspect. How often each rule is the cause is not known beforehand. It is estimated
    from all requests together: those that one rule alone explains say how the others are likely to be divided
    (expectation maximisation over the rules' weights; Dempster, Laird and Rubin 1977). What stays open between rules is
    said as a range. Between pods that one rule suspects alike the requests go in turn: no pod is named with confidence.
    """
    import numpy as np

    suspects, requests = scores.shape
    if not suspects:
        return np.full(requests, -1), scores, scores > 0
    best = scores.max(axis=0)
    possible = (scores * _CLEAR > best) & (best >= _UNKNOWN)
    member = owners[:, None] == np.arange(owners.max() + 1)[None, :]  # suspects x rules
    by_rule = np.where(possible, scores, 0.0).T @ member  # requests x rules
    weight = np.ones(member.shape[1])
    for _ in range(_ROUNDS):
        joint = by_rule * weight
        total = joint.sum(axis=1, keepdims=True)
        weight = np.maximum((joint / np.where(total > 0, total, 1.0)).sum(axis=0), _FLOOR)
    rule = (by_rule * weight).argmax(axis=1)
    open_ = possible & (owners[:, None] == rule[None, :])
    turn = np.arange(requests) % np.maximum(open_.sum(axis=0), 1)
    chosen = (open_.cumsum(axis=0) <= turn).sum(axis=0)
    chosen = np.where(best < _UNKNOWN, -1, np.minimum(chosen, suspects - 1))
    return chosen, scores / (scores.sum(axis=0) + _UNKNOWN), possible


def _finding(
    case: Case, suspects: Sequence[tuple[Rule, Suspect]], mine: Sequence[int], chosen: Any, shares: Any, possible: Any
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
        return _ruled_by_none(case, [suspects[index] for index in mine], possible[list(mine)])
    causes.sort(key=lambda item: -item[0].requests)
    positions = np.flatnonzero(np.isin(chosen, mine))
    share = shares[list(mine)][:, positions].sum(axis=0).mean()
    ours = possible[list(mine)].any(axis=0)
    others = np.delete(possible, list(mine), axis=0).any(axis=0)
    least, most = int((ours & ~others).sum()), int(ours.sum())
    return [
        Finding(
            rule=rule.NAME,
            title=rule.TITLE,
            requests=len(positions),
            confidence=round(float(share), 3),
            sentence=_together([cause for cause, _ in causes], [why for _, why in causes], _amount(least, most)),
            cured_by=rule.CURED_BY,
            causes=tuple(cause for cause, _ in causes),
            seen=int(case.seen[positions].sum()),
            least=least,
            most=most,
        )
    ]


def _ruled_by_none(case: Case, suspects: Sequence[tuple[Rule, Suspect]], possible: Any) -> list[Finding]:
    """A rule that no request is given to, though it may be the cause of some: said as a range from 0."""
    import numpy as np

    positions = np.flatnonzero(possible.any(axis=0))
    if not len(positions):
        return []
    rule, suspect = suspects[int(possible.sum(axis=1).argmax())]
    why, _ = suspect.explain(positions)
    pods = int(possible.any(axis=1).sum())
    sentence = _words(_kinds(case, positions), _pods(pods, suspect.pod), why, _amount(0, len(positions)))
    return [Finding(rule.NAME, rule.TITLE, 0, 0.0, sentence, rule.CURED_BY, (), most=len(positions))]


def _pods(number: int, first: str) -> str:
    return f"{number} pods" if number > 1 else f"pod {first}" if first else ""


def _unexplained(case: Case, positions: Any) -> Finding:
    kinds = _kinds(case, positions)
    cause = Cause(UNATTRIBUTED, "", kinds, 0.0, _words(kinds, "", "no cause found"), (_span(case, positions),), ())
    number = len(positions)
    return Finding(UNATTRIBUTED, "no cause found", number, 0.0, cause.summary, (), (cause,), least=number, most=number)


def _amount(least: int, most: int) -> str:
    """A range where other suspects leave it open, "" where it is one number."""
    return f"{least:,} to {most:,}" if least < most else ""


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


def _words(kinds: dict[str, int], whose: str, why: str, amount: str = "") -> str:
    """As "35 refused by pod app-x (not ready yet)", or "9 failed at pod app-y (7 timed out, 2 no route: gone ...)".

    amount: a range in the place of the number, when it is not known exactly.
    """
    ranked = sorted(kinds.items(), key=lambda item: -item[1])
    if len(ranked) == 1:
        kind, number = ranked[0]
        amount = amount or f"{number:,}"
        return f"{amount} {_BY[kind]} {whose} ({why})" if whose else f"{amount} {_ALONE[kind]} ({why})"
    if amount:
        parts = ", ".join(f"most {_ALONE[kind]}" for kind, _ in ranked[:1])
        return f"{amount} failed{f' at {whose}' if whose else ''} ({parts}: {why})"
    parts = ", ".join(f"{number:,} {_ALONE[kind]}" for kind, number in ranked)
    return f"{sum(kinds.values()):,} failed{f' at {whose}' if whose else ''} ({parts}: {why})"


def _together(causes: Sequence[Cause], whys: Sequence[str], amount: str = "") -> str:
    """One sentence for a rule: its one pod's, else the number of pods with the largest one's reason."""
    if len(causes) == 1 and not amount:
        return causes[0].summary
    kinds: dict[str, int] = {}
    for cause in causes:
        for kind, number in cause.kinds.items():
            kinds[kind] = kinds.get(kind, 0) + number
    pods = {cause.pod for cause in causes}
    reasons = list(dict.fromkeys(whys))
    why = reasons[0] if len(reasons) == 1 else f"such as: {reasons[0]}"
    return _words(kinds, _pods(len(pods), causes[0].pod), why, amount)


__all__ = ["UNATTRIBUTED", "Attribution", "Finding", "attribute"]
