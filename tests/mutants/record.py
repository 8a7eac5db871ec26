"""Keep passing trials as the recordings that mutants are made of.

    for s in SCENARIOS: hazd run $s --with-all --cluster lab --rate 60 --warmup 1 --settle 1 --max-late-ms 2000
    python -m tests.mutants.record reports/<run> [reports/<run>...]

A recording is a run of one trial, named after its scenario. One that does not pass is refused.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from hazd.journal import read_run, write_sealed
from hazd.report import read
from tests.golden.record import keep

RECORDINGS = Path(__file__).parent / "recordings"


def recordings() -> list[Path]:
    """The folders of the recorded runs."""
    return sorted(path.parent for path in RECORDINGS.glob("*/run.json"))


def keep_run(source: Path) -> Path:
    """Copy a run of one trial, slimmed, over the recording of its scenario."""
    (trial,) = read_run(source)["trials"]
    target = RECORDINGS / str(trial["scenario"])
    shutil.rmtree(target, ignore_errors=True)
    (target / "trials").mkdir(parents=True)
    keep(source / "trials" / trial["name"], target / "trials" / trial["name"])
    meta = json.loads((source / "run.json").read_text())
    write_sealed(target / "run.json", {name: value for name, value in meta.items() if name != "argv"})
    summary, _ = read(target)
    if summary["verdict"] != "PASS":
        raise SystemExit(f"{source}: {summary['verdict']}: {summary['trials'][0]['reasons']}")
    return target


if __name__ == "__main__":
    for word in sys.argv[1:]:
        print(keep_run(Path(word)))
