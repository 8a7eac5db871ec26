"""How close the lab comes to kind: the same trials on both, N runs each, side by side.

`python -m bench.fidelity --runs 3` runs `hazd matrix rollout` on kind and on the lab in turn (so that a drift of the
machine meets both), writes bench/fidelity/result.json and the table in docs/fidelity.md. It measures and compares;
what differs and why is said in the document by hand. A run that has an INCONCLUSIVE trial says nothing of either
cluster (most often the machine kept the generator waiting), so it is repeated, and how often is in the result.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from bench.command import summary_of
from bench.document import ROOT, put_table

HERE = Path(__file__).parent
KINDS = ("refused", "no_route", "timeout", "reset", "eof")
ATTEMPTS = 3


def one_run(cluster: str, rate: int, out: Path, number: int, repeats: list[str]) -> list[dict[str, Any]]:
    """The trials of one matrix run; raises CalledProcessError when hazd could not run them at all."""
    for attempt in range(ATTEMPTS):
        name = f"{cluster}-{number}-{attempt}"
        where = ("--cluster", cluster, "--out", str(out), "--name", name)
        trials: list[dict[str, Any]] = summary_of("matrix", "rollout", "--rate", str(rate), *where)["trials"]
        undecided = [trial for trial in trials if trial["verdict"] == "INCONCLUSIVE"]
        if not undecided:
            break
        repeats += [f"{name}, {trial['name']}: {'; '.join(trial['reasons'])}" for trial in undecided]
    return trials


def cell(trials: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the runs of one trial on one cluster."""
    failures = {kind: statistics.median(trial["failures"][kind] for trial in trials) for kind in KINDS}
    return {
        "runs": len(trials),
        "verdicts": [trial["verdict"] for trial in trials],
        "due": statistics.median(trial["requests"]["due"] for trial in trials),
        "failed": [trial["requests"]["failed"] for trial in trials],
        "failures": failures,
        "removal_ms_max": [trial["propagation_ms"]["removal"]["max"] for trial in trials],
    }


def table(cells: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Markdown: a row a trial and cluster."""
    head = "| trial | cluster | verdicts | failed, each run | " + " | ".join(KINDS) + " |"
    lines = [head, "| --- | --- | --- | --- |" + " ---: |" * len(KINDS)]
    for name, by_cluster in cells.items():
        for cluster, values in by_cluster.items():
            counts = " | ".join(f"{values['failures'][kind]:g}" for kind in KINDS)
            failed = "; ".join(map(str, values["failed"]))
            lines.append(f"| {name} | {cluster} | {' '.join(values['verdicts'])} | {failed} | {counts} |")
    return "\n".join(lines)


def main() -> None:
    """Run, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--rate", type=int, default=200)
    options = parser.parse_args()
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    repeats: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.runs):
            for cluster in ("kind", "lab"):
                for trial in one_run(cluster, options.rate, Path(folder), number, repeats):
                    found.setdefault(trial["name"], {}).setdefault(cluster, []).append(trial)
            write(options.rate, repeats, found)


def write(rate: int, repeats: list[str], found: dict[str, dict[str, list[dict[str, Any]]]]) -> None:
    """Also what is there so far: a run of half an hour should not be lost to its last minute."""
    cells = {name: {cluster: cell(trials) for cluster, trials in both.items()} for name, both in found.items()}
    result = {"schema": 1, "rate": rate, "repeated": repeats, "cells": cells}
    (HERE / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    put_table(ROOT / "docs" / "fidelity.md", "python -m bench.fidelity", table(cells))


if __name__ == "__main__":
    main()
