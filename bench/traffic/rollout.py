"""python -m bench.traffic.rollout [--rate 3000] [--workers 2]: new connections through hazd's kind cluster.

A rolling update with all fixes; promised: 0 failed, 0 not sent, every due request recorded. On a machine with fewer
cores than nodes the generator shares them with the service: its lateness is published and does not decide. Writes
rollout.json beside this file.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.command import summary_of
from bench.machine import machine

HERE = Path(__file__).parent
WARMUP_S = 12
"""Long enough for the pods' first thousands of answers, which cost most."""
LATE_ALLOWED_MS = 1000
"""The engine's own limit: a request that would leave later counts as not sent."""
KEPT = ("verdict", "reasons", "requests", "failures", "late_ms", "latency_ms", "terminations", "accounting")


def rolled(rate: int, workers: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        what = ("run", "rollout", "--cluster", "kind", "--with-all", "--warmup", str(WARMUP_S), "--out", folder)
        traffic = ("--rate", str(rate), "--workers", str(workers), "--connection", "new", "--sender", "fast")
        trial = summary_of(*what, *traffic, "--max-late-ms", str(LATE_ALLOWED_MS))["trials"][0]
    return {name: trial[name] for name in KEPT}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.traffic.rollout", description=__doc__)
    parser.add_argument("--rate", type=int, default=3000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=HERE / "rollout.json")
    options = parser.parse_args()
    before = machine()
    trial = rolled(options.rate, options.workers)
    requests = trial["requests"]
    good = requests["due"] == requests["recorded"] == requests["ok"] and trial["accounting"]["complete"]
    result = {
        "schema": 1,
        "when": time.strftime("%Y-%m-%d"),
        "machine": before,
        "rate": options.rate,
        "workers": options.workers,
        "warmup_s": WARMUP_S,
        "late_allowed_ms": LATE_ALLOWED_MS,
        "trial": trial,
        "promise": {"figure": "0 failed, 0 not sent, recorded = due", "good": good},
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
