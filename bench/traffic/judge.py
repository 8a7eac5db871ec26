"""What the measurements say: medians, ratios, and whether each promise was kept. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

Table: TypeAlias = dict[str, dict[str, dict[str, float]]]

RATIOS = (
    ("fast", "new", "hey", 1.7),
    ("fast", "new", "wrk", 0.65),
    ("fast", "reused", "hey", 2.2),
    ("httpx", "new", "stock-httpx", 4.0),
)
"""(ours, connection, theirs, at least)"""
LATE_P99_MS = 2.0
CPU_SHARE = 0.40
TIMES_WRK = 3.4
"""CPU_SHARE on the machine it was set on, where wrk made 42,200 new connections a CPU second: 0.40 / 5,000 * 42,200.

wrk's cost of a connection is the kernel's and the machine's; hazd's as a multiple of it says the same on any machine.
"""
BYTES_PER_REQUEST = 64.0
_NONE = {"per_s": 0.0, "per_cpu_s": 0.0, "cpu_us": 0.0}


def summarise(found: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]) -> Table:
    """tool -> connection -> medians of requests per second, per CPU second, and CPU us a request."""
    table: Table = {}
    for (name, connection), results in found.items():
        per_cpu = statistics.median(result["per_cpu_s"] for result in results)
        table.setdefault(name, {})[connection] = {
            "per_s": round(statistics.median(result["per_s"] for result in results), 1),
            "per_cpu_s": round(per_cpu, 1),
            "cpu_us": round(1e6 / per_cpu, 2),
        }
    return table


def summarise_paced(
    open_runs: Sequence[Mapping[str, Any]], found: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]
) -> dict[str, dict[str, float]]:
    """tool -> medians of answers per second and of the share of a core at one fixed rate, new connections."""
    shares = {name: [(run["per_s"], run["cpu_s"] / run["wall_s"]) for run in runs] for (name, _), runs in found.items()}
    shares["fast"] = [(run["ok"] / run["seconds"], run["cpu_share"]) for run in open_runs]
    return {
        name: {
            "per_s": round(statistics.median(per_s for per_s, _ in runs), 1),
            "cpu_share": round(statistics.median(share for _, share in runs), 3),
        }
        for name, runs in shares.items()
        if runs
    }


def judge(table: Table, open_runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each promise: figure, asked, reached, good. reached is None where it could not be measured."""
    out: list[dict[str, Any]] = []

    def promise(figure: str, asked: str, reached: float | None, good: bool) -> None:
        out.append({"figure": figure, "asked": asked, "reached": reached, "good": good})

    for ours, connection, theirs, least in RATIOS:
        figure = f"{ours} against {theirs}, {connection} connections, per CPU second"
        try:
            ratio = table[ours][connection]["per_cpu_s"] / table[theirs][connection]["per_cpu_s"]
        except KeyError:
            promise(figure, f">= {least:g}", None, False)
        else:
            promise(figure, f">= {least:g}", round(ratio, 2), ratio >= least)
    if open_runs:
        late = statistics.median(run["late_ms"]["p99"] for run in open_runs)
        cpu = statistics.median(run["cpu_share"] for run in open_runs)
        grown = statistics.median(run["rss_growth_bytes_per_request"] for run in open_runs)
        whole = sum(run["recorded"] for run in open_runs) / sum(run["due"] for run in open_runs)
        every = all(run["due"] == run["recorded"] == run["ok"] and run["sha256_ok"] for run in open_runs)
        at = f"fast at {open_runs[0]['rate']:g}/s open loop, new connections"
        promise(f"{at}: lateness p99, ms", f"< {LATE_P99_MS:g}", late, late < LATE_P99_MS)
        promise(f"{at}: share of a core", f"< {CPU_SHARE:g}", round(cpu, 3), cpu < CPU_SHARE)
        figure = f"{at}: CPU a request, as a multiple of wrk's CPU a new connection"
        try:
            times = cpu / open_runs[0]["rate"] * table["wrk"]["new"]["per_cpu_s"]
        except KeyError:
            promise(figure, f"<= {TIMES_WRK:g}", None, False)
        else:
            promise(figure, f"<= {TIMES_WRK:g}", round(times, 2), times <= TIMES_WRK)
        small = grown <= BYTES_PER_REQUEST
        promise(f"{at}: memory grown, bytes a request", f"<= {BYTES_PER_REQUEST:g}", round(grown, 1), small)
        promise(f"{at}: recorded / due", "= 1, all ok, check-sum right", whole, every)
    return out


def markdown(table: Table) -> str:
    """A table, the one with the least CPU per new connection first."""
    lines = ["| tool | new/s | reused/s | CPU us, new | CPU us, reused |", "| --- | ---: | ---: | ---: | ---: |"]
    for name, values in sorted(table.items(), key=lambda item: -item[1].get("new", _NONE)["per_cpu_s"]):
        new, kept = values.get("new", _NONE), values.get("reused", _NONE)
        lines.append(f"| {name} | {new['per_s']:,.0f} | {kept['per_s']:,.0f} | {new['cpu_us']} | {kept['cpu_us']} |")
    return "\n".join(lines)


def markdown_paced(rate: int, at_rate: Mapping[str, Mapping[str, float]]) -> str:
    """The table of the open loop, the one with the least CPU first."""
    lines = [f"| tool, new connections at {rate:,}/s | answered/s | share of a core |", "| --- | ---: | ---: |"]
    for name, values in sorted(at_rate.items(), key=lambda item: item[1]["cpu_share"]):
        lines.append(f"| {name} | {values['per_s']:,.0f} | {values['cpu_share']:.2f} |")
    return "\n".join(lines)
