"""The real worker process at a fixed rate: lateness, CPU and memory, and whether every due request is in its file."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from bench.traffic.place import ROOT, pin_client
from hazd.model import Stream, TrafficPlan
from hazd.record import RECORD
from hazd.traffic.plan_json import plan_to_json

START_S = 0.2
WARM_S = 1.0


class Worker:
    """A worker on the client's core, and its control API."""

    def __init__(self, folder: str) -> None:
        command = [sys.executable, "-m", "hazd.traffic.worker", "--port", "0", "--host", "127.0.0.1", "--dir", folder]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=environment, preexec_fn=pin_client
        )
        assert self.process.stdout is not None
        self._base = f"http://127.0.0.1:{json.loads(self.process.stdout.readline())['port']}"

    def call(self, path: str, body: str | None = None) -> dict[str, Any]:
        data = body.encode() if body is not None else None
        with urllib.request.urlopen(urllib.request.Request(self._base + path, data=data), timeout=30) as answer:
            result: dict[str, Any] = json.loads(answer.read())
            return result

    def wait(self, state: str, seconds: float) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while (status := self.call("/status"))["state"] != state:
            if time.monotonic() > end or status["state"] == "failed":
                raise RuntimeError(f"the worker is {status['state']}, not {state}: {status['error']}")
            time.sleep(0.1)
        return status

    def begin(self, plan: TrafficPlan) -> None:
        """Preflight, then the schedule, which starts START_S from now."""
        self.call("/prepare", plan_to_json(plan))
        now_ns = self.wait("ready", 30)["unix_ns"]
        self.call("/start", json.dumps({"at_unix_ns": now_ns + int(START_S * 1e9)}))

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_bytes(self) -> int:
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def end(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=30)


def open_loop(sender: str, url: str, new: bool, rate: float, seconds: float) -> dict[str, Any]:
    """CPU as a share of one core and RSS growth, both after the first second; lateness over all of it."""
    stream = Stream("s", "new" if new else "reused", pool=64)
    plan = TrafficPlan(url, rate, (stream,), sender=sender, max_duration_s=seconds)
    with tempfile.TemporaryDirectory() as folder:
        worker = Worker(folder)
        try:
            worker.begin(plan)
            time.sleep(START_S + WARM_S)
            cpu, rss, began, first = (
                worker.cpu_s(),
                worker.rss_bytes(),
                time.monotonic(),
                worker.call("/status")["recorded"],
            )
            time.sleep(max(seconds - WARM_S - 0.5, 0.5))
            cpu, rss, took = worker.cpu_s() - cpu, worker.rss_bytes() - rss, time.monotonic() - began
            counted = worker.call("/status")["recorded"] - first
            total = worker.rss_bytes()
            status = worker.wait("done", seconds + 30)
        finally:
            worker.end()
        data = (Path(folder) / "records.bin").read_bytes()
    return {
        "sender": sender,
        "rate": rate,
        "connection": "new" if new else "reused",
        "seconds": seconds,
        "due": status["due"],
        "recorded": len(data) // RECORD.size,
        "not_sent": status["not_sent"],
        "ok": status["ok"],
        "failed": {kind: n for kind, n in status["failed"].items() if n},
        "sha256_ok": hashlib.sha256(data).hexdigest() == status["sha256"],
        "late_ms": status["lag_ms"],
        "cpu_share": cpu / took,
        "rss_bytes": total,
        "rss_growth_bytes_per_request": max(rss, 0) / max(counted, 1),
        "preflight": status["preflight_ok"],
    }
