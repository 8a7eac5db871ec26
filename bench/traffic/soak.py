"""python -m bench.traffic.soak [--seconds 3600] [--rate 1000]: one long run of one worker, its memory once a minute.

Promised: at most 64 bytes a request, flat over time, and an hour at 1,000/s in under 200 MB. Writes soak.json beside
this file.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.traffic.judge import BYTES_PER_REQUEST
from bench.traffic.open_loop import Worker
from bench.traffic.place import enter_namespace
from bench.traffic.server import Nginx
from hazd.model import Stream, TrafficPlan
from hazd.record import RECORD

HERE = Path(__file__).parent
EVERY_S = 60
SETTLED_S = 120
"""Until then pools, parsers and the allocator's arenas find their size; growth is measured from there."""
LIMIT_BYTES = 200_000_000


def soak(sender: str, rate: float, seconds: float) -> dict[str, Any]:
    """New and reused connections at equal rates against nginx; (second, resident bytes, recorded) once a minute."""
    streams = (Stream("new", share=0.5), Stream("reused", "reused", share=0.5))
    points: list[tuple[int, int, int]] = []
    with Nginx() as nginx, tempfile.TemporaryDirectory() as folder:
        plan = TrafficPlan(nginx.url(False), rate, streams, sender=sender, max_duration_s=seconds)
        worker = Worker(folder)
        try:
            worker.begin(plan)
            began, next_s = time.monotonic(), 0
            while (second := int(time.monotonic() - began)) < seconds - 2:
                recorded = worker.call("/status")["recorded"]  # also the controller's word, without which it stops
                if second >= next_s:
                    points.append((second, worker.rss_bytes(), recorded))
                    next_s += EVERY_S
                time.sleep(2)
            status = worker.wait("done", 60)
        finally:
            worker.end()
        digest, records = hashlib.sha256(), 0
        with (Path(folder) / "records.bin").open("rb") as file:
            while block := file.read(RECORD.size * 65_536):
                digest.update(block)
                records += len(block) // RECORD.size
    settled = next((point for point in points if point[0] >= min(SETTLED_S, seconds / 2)), points[0])
    grown = max(points[-1][1] - settled[1], 0) / max(points[-1][2] - settled[2], 1)
    return {
        "schema": 1,
        "sender": sender,
        "rate": rate,
        "seconds": seconds,
        "due": status["due"],
        "recorded": records,
        "not_sent": status["not_sent"],
        "ok": status["ok"],
        "sha256_ok": digest.hexdigest() == status["sha256"],
        "late_ms": status["lag_ms"],
        "rss_most_bytes": max(point[1] for point in points),
        "growth_bytes_per_request": round(grown, 3),
        "points": points,
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.traffic.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--rate", type=float, default=1000)
    parser.add_argument("--sender", default="fast", choices=("fast", "httpx"))
    parser.add_argument("--out", type=Path, default=HERE / "soak.json")
    options = parser.parse_args()
    place = enter_namespace()
    result = {"place": place, **soak(options.sender, options.rate, options.seconds)}
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({key: value for key, value in result.items() if key != "points"}, indent=1))
    good = (
        result["rss_most_bytes"] < LIMIT_BYTES
        and result["growth_bytes_per_request"] <= BYTES_PER_REQUEST
        and result["due"] == result["recorded"] + result["not_sent"]
        and result["sha256_ok"]
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
