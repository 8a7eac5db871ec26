"""The summary on the terminal: a table of the trials, and for each the sentence that says what happened and why.

Written for a person, to standard output; scripts read summary.json (`--json`) instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hazd.report.words import fix_words, kinds_words, number, percent, pooled_lines

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

STYLE = {"PASS": "bold green", "FAIL": "bold red", "INCONCLUSIVE": "bold yellow"}


def show(summary: Mapping[str, Any], folder: Path | None = None, console: Console | None = None) -> None:
    """Print the summary; folder: where the report lies."""
    from rich.console import Console
    from rich.text import Text

    console = console or Console(soft_wrap=False, highlight=False)
    cluster = summary.get("cluster") or {}
    where = f"{cluster.get('kind', '?')} {cluster.get('version', '')}, {cluster.get('nodes', '?')} nodes"
    console.print()
    console.print(table(summary["trials"], f"{summary['scenario']} on {where}"))
    for trial in summary["trials"]:
        console.print()
        console.print(Text.assemble((trial["verdict"], STYLE.get(trial["verdict"], "")), "  ", (_title(trial), "bold")))
        console.print(Text("  " + sentence(trial)))
        console.print(Text("  " + measures(trial), style="dim"))
        for reason in _more_reasons(trial):
            console.print(Text("  " + reason, style="yellow"))
        if cure := _cure(trial):
            console.print(Text("  " + cure, style="cyan"))
        for note in trial.get("notes") or ():
            console.print(Text(f"  note: {note}", style="yellow"))
    for line in pooled_lines(summary):
        console.print(Text(line, style="bold"))
    for name in summary.get("not_run") or ():
        console.print(Text(f"not run: {name}", style="yellow"))
    console.print()
    if folder is not None:
        console.print(Text(f"{folder / 'report.html'}", style="dim"))
    console.print(Text.assemble("verdict: ", (summary["verdict"], STYLE.get(summary["verdict"], ""))))


def table(trials: Sequence[Mapping[str, Any]], title: str) -> Table:
    """One row a trial."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    several = len({trial["scenario"] for trial in trials}) > 1
    result = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    if several:
        result.add_column("scenario", no_wrap=True)
    result.add_column("fixes", min_width=14)
    result.add_column("requests", justify="right", no_wrap=True)
    result.add_column("failed", justify="right", no_wrap=True)
    result.add_column("how")
    result.add_column("verdict", no_wrap=True)
    for trial in trials:
        failed = trial["requests"]["failed"]
        result.add_row(
            *([trial["scenario"]] if several else []),
            fix_words(trial["fixes"], trial["applied"]) or "none",
            number(trial["requests"]["due"]),
            Text(number(failed), style="bold red" if failed else "green") if trial["requests"]["recorded"] else "–",
            kinds_words(trial["failures"]) or "·",
            Text(trial["verdict"], style=STYLE.get(trial["verdict"], "")),
        )
    return result


def sentence(trial: Mapping[str, Any]) -> str:
    """ "With preStop 5 s: 0 of 7,500 requests failed; 0 of 4 terminations lost a request: at most 53 % do (95 %)"."""
    fixes = fix_words(trial["fixes"], trial["applied"])
    return f"With {fixes}: {trial['sentence']}" if fixes else f"Without any fix: {trial['sentence']}"


def measures(trial: Mapping[str, Any]) -> str:
    """Latency, outages, recovery, lag of the rules and the control, in one line; what was not measured is skipped."""
    latency, outages, lags = trial["latency_ms"], trial["outages"], trial["propagation_ms"]
    words = []
    if latency["p99"] is not None:
        words.append(f"latency p50 {latency['p50']:.1f}, p99 {latency['p99']:.1f} ms")
    if outages["n"]:
        words.append(f"longest outage {outages['longest_ms']:,.0f} ms")
    if outages["recovery_s"] is not None:
        words.append(f"no failures after {outages['recovery_s']:.1f} s")
    for what, verb in (("removal", "removed"), ("addition", "added")):
        if lags[what]["n"]:
            words.append(f"nodes {verb} a pod's endpoint within {lags[what]['max']:,.0f} ms")
    since = lags["since_deletion"]
    if since["n"]:
        words.append(f"a preStop has to outlast {since['max'] / 1000:.1f} s here")
    if control := trial.get("control"):
        words.append(f"control: {number(control['failed'])} of {number(control['recorded'])} failed")
    if seen := observed_words(trial):
        words.append(seen)
    return "; ".join(words)


def observed_words(trial: Mapping[str, Any]) -> str:
    """How the endpoints of failed requests are known, where any failed; "" where there is nothing to say."""
    observed = trial.get("observed") or {}
    if observed.get("problems"):
        return "not observed, so causes are inferred: " + "; ".join(observed["problems"])
    if not observed.get("on"):
        return "causes are inferred, not seen (--observe on)" if trial["requests"]["failed"] else ""
    gaps = observed["gaps"]
    return f"the observers lost events {number(gaps)} times" if gaps else ""


def _title(trial: Mapping[str, Any]) -> str:
    requests = trial["requests"]
    if not requests["recorded"]:
        return f"{trial['name']}  (no request recorded)"
    rate = percent(requests["failed"] / requests["recorded"])
    return f"{trial['name']}  ({number(requests['due'])} requests, {rate} failed)"


def _more_reasons(trial: Mapping[str, Any]) -> list[str]:
    """Reasons that the sentence does not already say."""
    return [reason for reason in trial["reasons"] if " requests failed" not in reason]


def _cure(trial: Mapping[str, Any]) -> str:
    """Which fixes, not yet on, would have cured how many failures."""
    cures: dict[str, int] = {}
    for cause in trial["causes"]:
        fix = next((name for name in cause["cured_by"] if name not in trial["fixes"]), None)
        if fix:
            cures[fix] = cures.get(fix, 0) + cause["requests"]
    ranked = sorted(cures.items(), key=lambda item: -item[1])
    words = ", ".join(f"{fix_words([fix])} ({number(count)})" for fix, count in ranked)
    return f"would cure: {words}" if words else ""


__all__ = ["measures", "sentence", "show", "table"]
