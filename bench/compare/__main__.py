"""Compares lab runs of identical code with each other, and runs without a readinessProbe with runs that have one.

`python -m bench.compare` collects runs of a rolling update in the lab until there are enough of each case (what is in
bench/compare/result.json counts; --minutes bounds one call), draws pairs of them with a fixed seed, and lets `hazd
compare`'s own function judge each pair. A pair is drawn from all pairs of distinct runs, so that a run is in several
pairs: they are random, not independent. `--case NAME --runs 1 --result FILE` makes one run
only, for CI. `--judge` only judges.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.command import summary_of
from bench.document import ROOT, put_table
from bench.machine import machine
from hazd.report.compare import compare

RESULT = Path(__file__).parent / "result.json"
COMMON = ("rollout", "--cluster", "lab", "--rate", "200", "--warmup", "1", "--settle", "1", "--startup-delay", "2")
"""Short, and a request may leave late: how late says how busy the machine is."""
PATIENT = ("--max-late-ms", "2000")
FIXES = ("--with-prestop", "--prestop-seconds", "2", "--with-graceful-shutdown")
CASES: dict[str, tuple[str, ...]] = {
    "no fix": (),
    "all fixes": (*FIXES, "--with-readiness"),
    "readinessProbe removed": FIXES,
}
PAIRS, REMOVALS = 40, 20
CALIBRATION = {"no fix": 8, "readinessProbe removed": 7}
"""The first runs of a case: stats.DISPERSION is from them, so pairs of them have rows of their own."""
KEPT = ("verdict", "reasons", "failures", "latency_ms")

Trial = dict[str, Any]


def one_run(case: str, folder: Path) -> Trial:
    """What `compare` needs of one run, and nothing else. Raises CalledProcessError when hazd could not run it."""
    summary = summary_of("run", *COMMON, *PATIENT, *CASES[case], "--out", str(folder))
    (trial,) = summary["trials"]
    requests = {name: trial["requests"][name] for name in ("failed", "recorded")}
    outages = {name: trial["outages"][name] for name in ("longest_ms", "recovery_s")}
    return {name: trial[name] for name in KEPT} | {"requests": requests, "outages": outages}


def as_summary(trial: Trial, run: str) -> dict[str, Any]:
    """A run of one trial, named alike in every case: its manifests changed, and nobody told the pipeline."""
    named = trial | {"name": "rollout", "scenario": "rollout", "fixes": []}
    return {"run": run, "trials": [named], "decided_by": ["rollout"], "verdict": trial["verdict"], "not_run": []}


def is_worse(now: Trial, before: Trial) -> bool:
    """Whether the comparison names a regression, whatever the verdict."""
    return bool(compare([as_summary(now, "now")], [as_summary(before, "then")])["trials"][0]["regressions"])


def is_worse_over_requests(now: Trial, before: Trial) -> bool:
    """What Fisher's exact test over single requests says, which takes each request of a burst for a witness."""
    from scipy.stats import fisher_exact

    counts = ((trial["requests"]["failed"], trial["requests"]["recorded"]) for trial in (now, before))
    table = [[failed, recorded - failed] for failed, recorded in counts]
    return bool(fisher_exact(table, alternative="greater").pvalue < 0.01)


def drawn(pairs: Sequence[tuple[Trial, Trial]], count: int) -> list[tuple[Trial, Trial]]:
    """`count` of the pairs, at random with a fixed seed; all where there are fewer."""
    return random.Random(11).sample(list(pairs), min(count, len(pairs)))


def judged(runs: dict[str, list[Trial]]) -> list[dict[str, Any]]:
    """A row a question: how many pairs, in how many a regression was named, by runs and by single requests."""
    usable = {
        case: [
            trial
            for trial in runs.get(case, ())
            if trial["verdict"] != "INCONCLUSIVE" and trial["requests"]["recorded"]
        ]
        for case in CASES
    }
    questions = {
        f"{case}, with itself": drawn(list(itertools.permutations(trials[CALIBRATION.get(case, 0) :], 2)), PAIRS)
        for case, trials in usable.items()
    }
    questions |= {
        f"{case}, with itself (runs that the dispersion is from)": drawn(
            list(itertools.permutations(usable[case][:count], 2)), PAIRS
        )
        for case, count in CALIBRATION.items()
    }
    questions |= {
        "readinessProbe removed, with all fixes": [
            (now, random.Random(index).choice(usable["all fixes"]))
            for index, now in enumerate(usable["readinessProbe removed"][:REMOVALS])
            if usable["all fixes"]
        ],
    }
    return [
        {
            "question": name,
            "pairs": len(pairs),
            "regressions": sum(is_worse(*pair) for pair in pairs),
            "by_requests": sum(is_worse_over_requests(*pair) for pair in pairs),
        }
        for name, pairs in questions.items()
    ]


def table(runs: dict[str, list[Trial]], rows: list[dict[str, Any]]) -> str:
    """Markdown: what was compared, how many regressions, and the failures of each case's runs."""
    lines = ["| compared | pairs | regressions | Fisher over requests |", "| --- | ---: | ---: | ---: |"]
    lines += [f"| {row['question']} | {row['pairs']} | {row['regressions']} | {row['by_requests']} |" for row in rows]
    lines += ["", "| case | runs | INCONCLUSIVE | failed, each run |", "| --- | ---: | ---: | --- |"]
    for case, trials in runs.items():
        undecided = sum(trial["verdict"] == "INCONCLUSIVE" for trial in trials)
        failed = ", ".join(str(trial["requests"]["failed"]) for trial in trials)
        lines.append(f"| {case} | {len(trials)} | {undecided} | {failed} |")
    return "\n".join(lines)


def main() -> None:
    """Collect, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="of each case")
    parser.add_argument("--case", choices=CASES, help="this case only")
    parser.add_argument("--minutes", type=float, default=60.0, help="no run is begun after that")
    parser.add_argument("--result", type=Path, default=RESULT, help="another file, without a table in docs")
    parser.add_argument("--judge", action="store_true", help="no runs, judge what is there")
    options = parser.parse_args()
    kept: dict[str, Any] = (
        json.loads(options.result.read_text())
        if options.result.exists()
        else {"schema": 1, "machine": machine(), "runs": {}}
    )
    runs: dict[str, list[Trial]] = kept["runs"]
    begun = time.monotonic()
    while not options.judge and time.monotonic() - begun < options.minutes * 60:
        counts = {case: len(runs.get(case, ())) for case in CASES if options.case in (None, case)}
        case = min(counts, key=lambda name: counts[name])  # in turn, so that a drift of the machine meets all
        if counts[case] >= options.runs:
            break
        with tempfile.TemporaryDirectory() as folder:
            runs.setdefault(case, []).append(one_run(case, Path(folder)))
        write(options.result, kept, runs)
    write(options.result, kept, runs)


def write(place: Path, kept: dict[str, Any], runs: dict[str, list[Trial]]) -> None:
    """After every run, so that an hour of them is not lost to its last minute."""
    rows = judged(runs)
    result = {
        "schema": 1,
        "machine": kept["machine"],
        "command": ["run", *COMMON, *PATIENT],
        "rows": rows,
        "runs": runs,
    }
    place.write_text(json.dumps(result, indent=1) + "\n")
    if place == RESULT:
        put_table(ROOT / "docs" / "compare.md", "python -m bench.compare", table(runs, rows))


if __name__ == "__main__":
    main()
