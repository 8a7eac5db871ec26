"""Does the PodDisruptionBudget select any pod? One whose selector matches nothing allows everything."""

from __future__ import annotations

from collections.abc import Iterator

from hazd.analysis.case import Case

FIX = "pdb"


def problems(case: Case) -> Iterator[str]:
    for name, pods in case.story.budgets.items():
        if pods == 0:
            yield f"PodDisruptionBudget {name} never selected a pod"
