"""The verdicts in charts over several trials: a word for each, and a note where the numbers drawn do not decide it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hazd.analysis.result import TrialResult
from hazd.model import Outcome
from hazd.report.figures import VERDICT
from hazd.report.words import fix_words

MOST_NOTES = 6


@dataclass(frozen=True, slots=True)
class Label:
    """word: the verdict with the number of its note, "FAIL [1]". colour: the verdict's."""

    word: str
    colour: str


def label_verdicts(results: Sequence[TrialResult]) -> tuple[dict[str, Label], list[str]]:
    """A label for each trial by its name, and the notes they point to: what decided, where failed requests did not."""
    deciding = {result.name: decided_by(result) for result in results}
    noted = [result for result in results if deciding[result.name]]
    numbers = {result.name: number for number, result in enumerate(noted, start=1)}
    labels = {}
    for result in results:
        mark = f" [{numbers[result.name]}]" if numbers.get(result.name, MOST_NOTES + 1) <= MOST_NOTES else ""
        outcome = result.verdict.outcome
        labels[result.name] = Label(outcome.value + mark, VERDICT[outcome])
    notes = [
        f"[{numbers[result.name]}] {result.scenario}, {fix_words(result.fixes) or 'no fix'}: {deciding[result.name]}"
        for result in noted[:MOST_NOTES]
    ]
    more = len(noted) - MOST_NOTES
    return labels, [*notes, f"and {more} more, each with its reasons in the report"] if more > 0 else notes


def decided_by(result: TrialResult) -> str:
    """Why a verdict is not PASS, "" where it is the count of failed requests alone, which is drawn."""
    if result.verdict.outcome is Outcome.PASS:
        return ""
    reasons = [reason for reason in result.verdict.reasons if " requests failed" not in reason]
    counted = result.verdict.outcome is Outcome.FAIL and " requests failed" in result.verdict.reasons[0]
    return "" if counted or not reasons else reasons[0]


__all__ = ["Label", "decided_by", "label_verdicts"]
