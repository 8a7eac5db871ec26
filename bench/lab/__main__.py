"""python -m bench.lab [--pods 10 50 100 200] [--out FILE]: the lab's cost per pod, beside a bare process of its app.

For each number of pods: the time from the Deployment's creation until all are ready, and the memory of everything the
lab runs (proportional set size, so shared pages count once). The peer in the same run is the same number of the sample
app's processes started by hand, without namespaces, addresses, rules and control loops. Then one rolling update of the
largest number under traffic, with all fixes: its verdict, and that nothing recorded was lost.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import anyio

from bench.command import summary_of
from bench.document import ROOT, put_table
from hazd.cluster.choose import open_cluster
from hazd.model import Ref
from hazd.sample_app.manifests import sample_workload

HERE = Path(__file__).parent
FIRST_PORT = 20_000


def children(pid: int) -> set[int]:
    """A process and all its descendants."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            parents.setdefault(parent, []).append(int(folder.name))
    found, to_see = set(), [pid]
    while to_see:
        one = to_see.pop()
        found.add(one)
        to_see += parents.get(one, [])
    return found


def pss_mib(pids: set[int]) -> float:
    """Proportional set size of the processes together, MiB."""
    total_kib = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total_kib += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total_kib / 1024


async def in_the_lab(pods: int) -> dict[str, float]:
    """Seconds until all are ready, and MiB a pod beyond what the empty lab takes."""
    cluster, _ = await open_cluster("lab")
    async with cluster:
        images = await cluster.images()
        empty = pss_mib(children(os.getpid()))
        await cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "scale"}})
        began = time.monotonic()
        for doc in sample_workload(image=images.app, replicas=pods, namespace="scale"):
            await cluster.create(doc)
        with anyio.fail_after(300):
            while True:
                status = (await cluster.get(Ref("Deployment", "app", "scale"))).get("status") or {}
                if status.get("readyReplicas") == pods:
                    break
                await anyio.sleep(0.05)
        ready_s = time.monotonic() - began
        return {"ready_s": ready_s, "mib_a_pod": (pss_mib(children(os.getpid())) - empty) / pods}


def by_hand(pods: int) -> dict[str, float]:
    """The same app as plain processes on loopback ports, started one after the other, until the last one answers."""
    began = time.monotonic()
    started = []
    try:
        for number in range(pods):
            environment = {**os.environ, "HAZD_PORT": str(FIRST_PORT + number), "POD_NAME": f"app-{number}"}
            command = [sys.executable, "-m", "hazd.sample_app.app"]
            started.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL))
        for number in range(pods):
            while not answers(FIRST_PORT + number):
                time.sleep(0.02)
        ready_s = time.monotonic() - began
        return {"ready_s": ready_s, "mib_a_pod": pss_mib({process.pid for process in started}) / pods}
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.wait()


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def rolled(pods: int) -> dict[str, Any]:
    """One rolling update of so many pods under 200 requests a second, all fixes on."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        what = ("run", "rollout", "--cluster", "lab", "--replicas", str(pods), "--with-all", "--out", folder)
        trial = summary_of(*what)["trials"][0]
    kept = ("verdict", "reasons", "requests", "failures", "late_ms", "terminations")
    return {"pods": pods, "took_s": time.monotonic() - began} | {name: trial[name] for name in kept}


def table(cells: list[dict[str, Any]]) -> str:
    head = "| pods | ready after, s | ms a pod | MiB a pod | bare process: ms | MiB | time, ratio | memory, ratio |"
    lines = [head, "|" + " ---: |" * 8]
    for cell in cells:
        lab, bare, pods = cell["lab"], cell["bare"], cell["pods"]
        time_ratio, memory_ratio = lab["ready_s"] / bare["ready_s"], lab["mib_a_pod"] / bare["mib_a_pod"]
        lines.append(
            f"| {pods} | {lab['ready_s']:.1f} | {lab['ready_s'] / pods * 1e3:.0f} | {lab['mib_a_pod']:.1f} "
            f"| {bare['ready_s'] / pods * 1e3:.0f} | {bare['mib_a_pod']:.1f} | {time_ratio:.2f} | {memory_ratio:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.lab", description=__doc__)
    parser.add_argument("--pods", type=int, nargs="+", default=[10, 50, 100, 200])
    parser.add_argument("--out", type=Path, default=HERE / "result.json")
    options = parser.parse_args()
    cells = []
    for pods in options.pods:
        cells.append({"pods": pods, "lab": anyio.run(in_the_lab, pods), "bare": by_hand(pods)})
        print(table(cells[-1:]).splitlines()[-1], file=sys.stderr)
    rollout = rolled(max(options.pods))
    options.out.write_text(json.dumps({"schema": 1, "cells": cells, "rollout": rollout}, indent=2) + "\n")
    put_table(ROOT / "docs" / "fidelity.md", "python -m bench.lab", table(cells))
    print(json.dumps(rollout))


if __name__ == "__main__":
    main()
