"""From a run's folder to what people and scripts read of it: summary.json, report.html, a timeline per trial.

Everything here can be run again on any old or interrupted run and gives the same files. Reports measure and judge
nothing themselves: the numbers are analysis', the words and pictures are these modules'.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hazd.analysis import TrialResult
    from hazd.model import TrialRecord

SUMMARY_FILE, HTML_FILE, MARKDOWN_FILE, JUNIT_FILE = "summary.json", "report.html", "summary.md", "junit.xml"
FAILURES_FILE = "failures.arrow"


def _unheard(summary: dict[str, Any]) -> None:
    return


def build(run_folder: Path, *, patch: str = "", judged: Callable[[dict[str, Any]], None] = _unheard) -> dict[str, Any]:
    """Analyse a run and write its report into its folder; returns the summary. patch: a unified diff to show, by
    default that of the passing trial with the fewest fixes. judged: is called with the summary before the charts are
    drawn, which takes seconds in which a user would wait for the verdict.

    Idempotent. Raises JournalError when the folder is no run. A trial that never began is named under `not_run`.
    """
    from hazd.journal import write_json

    summary, results = read(run_folder)
    write_json(run_folder / SUMMARY_FILE, summary)
    for result in results:
        _write_failures(run_folder / "trials" / result.name / FAILURES_FILE, result)
    _write_words(run_folder, summary)
    judged(summary)
    pictures, charts = _draw(run_folder, results)
    from hazd.report import html

    (run_folder / HTML_FILE).write_text(html.render(summary, pictures, charts, patch or _patch_that_works(summary)))
    return summary


def read(run_folder: Path) -> tuple[dict[str, Any], list[TrialResult]]:
    """The summary and the trials of a run, from its journal; nothing is written. Raises JournalError as `build`."""
    from hazd.analysis import summarise
    from hazd.journal import read_run, read_trials

    results = [_analyse(record) for record in read_trials(run_folder)]
    return summarise(read_run(run_folder), results), results


def _analyse(record: TrialRecord) -> TrialResult:
    """The analysis of a trial. What was not verified may hold anything: where that breaks the analysis, it is a reason.

    An error over a verified trial is a fault of hazd's own and is raised.
    """
    from hazd.analysis import analyse

    try:
        return analyse(record)
    except Exception as error:
        if record.verified:
            raise
        text = f"what the journal holds of {record.name} cannot be analysed: {type(error).__name__}: {error}"
        known = {name: record.meta[name] for name in ("name", "scenario", "fixes") if name in record.meta}
        return analyse(
            replace(record, meta=known, samples=record.samples[:0], events=(), problems=(*record.problems, text))
        )


def _patch_that_works(summary: dict[str, Any]) -> str:
    """The smallest change that passed: what a reader of the report came for."""
    passed = [trial for trial in summary["trials"] if trial["verdict"] == "PASS" and trial["patch"]]
    return min(passed, key=lambda trial: len(trial["fixes"]))["patch"] if passed else ""


def _write_failures(path: Path, result: TrialResult) -> None:
    """One row a failed request (analysis.failure_rows), for whoever wants to look at each: an Arrow file."""
    import pyarrow as pa
    from pyarrow import feather

    feather.write_feather(pa.table(dict(result.failure_rows)), str(path), compression="zstd")


def _write_words(run_folder: Path, summary: dict[str, Any]) -> None:
    from hazd.report import junit, markdown

    (run_folder / MARKDOWN_FILE).write_text(markdown.render(summary))
    (run_folder / JUNIT_FILE).write_text(junit.render(summary))


def _draw(run_folder: Path, results: list[TrialResult]) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Timelines beside each trial's samples, charts of the whole run in charts/; the SVGs also for the page."""
    from hazd.report.charts import all_charts
    from hazd.report.figures import save
    from hazd.report.timeline import draw_timeline

    pictures: dict[str, str] = {}
    for result in results:
        target = run_folder / "trials" / result.name / "timeline"
        pictures[result.name] = save(draw_timeline(result), target)
    charts: list[tuple[str, str]] = []
    for chart in all_charts():
        figure = chart.draw(results) if results else None
        if figure is not None:
            (run_folder / "charts").mkdir(exist_ok=True)
            charts.append((chart.TITLE, save(figure, run_folder / "charts" / chart.NAME)))
    return pictures, charts


__all__ = ["HTML_FILE", "JUNIT_FILE", "MARKDOWN_FILE", "SUMMARY_FILE", "build", "read"]
