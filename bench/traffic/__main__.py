"""python -m bench.traffic [--seconds 4] [--runs 3] [--only NAME ...] [--out FILE]: see the package's docstring.

Rounds go through all tools in turn, so that a drift of a shared machine meets all of them; figures are medians, and
ratios are of requests per CPU second, which other processes on the machine disturb least. Exit 1 when a promised figure
is missed, 3 when one could not be measured.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, TypeAlias

from bench.document import ROOT, put_table
from bench.machine import machine
from bench.traffic.judge import judge, markdown, markdown_paced, summarise, summarise_paced
from bench.traffic.open_loop import open_loop
from bench.traffic.peers import OPEN_RATE, PACED, PEERS, Peer, measure
from bench.traffic.place import client_core_awake, enter_namespace
from bench.traffic.server import Nginx

HERE = Path(__file__).parent
Found: TypeAlias = dict[tuple[str, str], list[dict[str, Any]]]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.traffic", description=__doc__)
    parser.add_argument("--seconds", type=int, default=4, help="length of one measurement (default 4)")
    parser.add_argument("--runs", type=int, default=3, help="rounds; figures are medians (default 3)")
    parser.add_argument("--only", nargs="*", choices=[peer.name for peer in PEERS], metavar="NAME")
    parser.add_argument("--no-open-loop", action="store_true", help="leave out the worker at a fixed rate")
    parser.add_argument("--out", type=Path, default=HERE / "result.json")
    options = parser.parse_args()
    problems: list[str] = []
    place, before = enter_namespace(), machine()
    peers = [peer for peer in PEERS if options.only is None or peer.name in options.only]
    found = rounds(peers, options.runs, options.seconds, problems)
    open_runs: list[dict[str, Any]] = []
    paced: Found = defaultdict(list)
    for _ in range(0 if options.no_open_loop else options.runs):
        with client_core_awake():
            with Nginx() as nginx:
                open_runs.append(open_loop("fast", nginx.url(True), True, float(OPEN_RATE), options.seconds + 2))
            for name, results in rounds(list(PACED), 1, options.seconds + 2, problems, (True,)).items():
                paced[name] += results
    table, at_rate = summarise(found), summarise_paced(open_runs, paced)
    promises = judge(table, open_runs)
    result = {
        "schema": 1,
        "when": time.strftime("%Y-%m-%d"),
        "machine": before,
        "place": place,
        "in_flight": 64,
        "runs": options.runs,
        "seconds": options.seconds,
        "table": table,
        "open_loop": open_runs,
        "open_loop_peers": at_rate,
        "promises": promises,
        "problems": problems,
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    words = "\n\n".join([markdown(table), *([markdown_paced(OPEN_RATE, at_rate)] if at_rate else [])])
    print(words)
    if options.only is None and not options.no_open_loop:
        put_table(ROOT / "README.md", "python -m bench.traffic", words)
    for promise in promises:
        word = "good" if promise["good"] else "absent" if promise["reached"] is None else "MISSED"
        print(f"{word:6} {promise['figure']}: {promise['reached']} ({promise['asked']})")
    print("\n".join(f"note: {problem}" for problem in problems))
    if any(not promise["good"] and promise["reached"] is not None for promise in promises):
        return 1
    return 0 if all(promise["good"] for promise in promises) else 3


def rounds(
    peers: list[Peer], runs: int, seconds: float, problems: list[str], connections: tuple[bool, ...] = (True, False)
) -> Found:
    """Every tool with new (True) and with kept connections, `runs` times; what goes wrong is said in `problems`."""
    found: Found = defaultdict(list)
    for number in range(runs):
        for peer in peers:
            for new in connections:
                connection = "new" if new else "reused"
                try:
                    result = one(peer, new, seconds)
                except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
                    problems.append(f"{peer.name}, {connection}: {error}")
                    continue
                if result is None:
                    if (absent := f"{peer.name}: not installed") not in problems:
                        problems.append(absent)
                    continue
                if "due" in result and not result["due"] == result["requests"] == result["server_read"]:
                    problems.append(f"{peer.name}, {connection}: not the same: {result}")
                found[peer.name, connection].append(result)
                print(f"{number + 1}/{runs} {peer.name:12} {connection:7} {result['per_s']:9.0f}/s", file=sys.stderr)
    return found


def one(peer: Peer, new: bool, seconds: float) -> dict[str, Any] | None:
    """One measurement with a fresh nginx; server_read is nginx's own count of requests."""
    with Nginx() as nginx:
        before = nginx.requests()
        result = measure(peer, nginx.url(new), new, seconds)
        if result is not None:
            result["server_read"] = nginx.requests() - before - 1
        return result


if __name__ == "__main__":
    sys.exit(main())
