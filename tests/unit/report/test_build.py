"""A run's folder becomes a report: complete, self-contained, the same every time, also when the run was cut short."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from hazd.errors import JournalError
from hazd.journal import write_sealed
from hazd.report import build, console, junit, markdown
from tests.golden.simulated import World
from tests.golden.worlds import network_cut, node_loss, rollout, scale_out

FIXED = ["prestop", "readiness", "graceful-shutdown"]


def write_run(folder: Path, trials: dict[str, tuple[World, dict[str, Any]]]) -> Path:
    """A run's folder as run.py leaves it."""
    (folder / "trials").mkdir(parents=True)
    planned = []
    for name, (world, fields) in trials.items():
        world.rate = 80.0
        world.write(folder / "trials" / name, **({"name": name, "run": folder.name} | fields))
        planned.append({"name": name})
    cluster = {"kind": "lab", "name": "simulated", "version": "v1.34.4", "nodes": 3, "proxy_mode": "nftables"}
    meta = {"schema": 1, "run": folder.name, "scenario": "rollout", "cluster": cluster, "trials": planned}
    write_sealed(folder / "run.json", meta)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two trials of a rollout, without and with the fixes, already reported."""
    bare = (rollout(), {"app": {"startup_delay_s": 2}})
    patch = "--- a/app\n+++ b/app\n@@ -1 +1,2 @@\n spec:\n+  <preStop> & sleep\n"
    applied = {"prestop": {"words": "preStop 5 s", "values": {"prestop_s": 5}}}
    asked: dict[str, Any] = {"app": {"startup_delay_s": 2}, "applied": applied, "patch": patch}
    fixed = (rollout(readiness=True, prestop_s=5, graceful=True), {"fixes": FIXED, **asked})
    folder = write_run(tmp_path_factory.mktemp("reports") / "run-1", {"rollout--baseline": bare, "rollout--all": fixed})
    build(folder)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_everything_is_written_and_a_second_time_the_same(run: Path) -> None:
    """Reports are a function of the journal, to the byte; the journal itself is not touched."""
    first = contents(run)
    build(run)
    assert contents(run) == first
    trial = "trials/rollout--all/"
    expected = {
        "summary.json",
        "report.html",
        "summary.md",
        "junit.xml",
        trial + "timeline.svg",
        trial + "timeline.png",
    }
    assert expected <= first.keys()
    assert first[trial + "timeline.png"].startswith(b"\x89PNG")


def test_the_control_is_told_in_every_form(tmp_path: Path) -> None:
    """One line in the accounting, a few words elsewhere; its failures are a reason that every form shows."""
    folder = write_run(tmp_path / "run", {"rollout--baseline": (network_cut(), {})})
    summary = build(folder)
    words = "10 of 115 requests to a pod that nothing disturbed failed too: client or network"
    page, text = (folder / "report.html").read_text(), (folder / "summary.md").read_text()
    for form in (page, text, (folder / "junit.xml").read_text()):
        assert words in form
    assert "115 requests were due at a pod that nothing disturbed (control):\n105 ok, 10 failed (10 timeout)" in page
    assert "control: 10 of 115 failed" in text
    assert console.measures(summary["trials"][0] | {"control": None}).count("control") == 0


def test_the_page_needs_no_network_and_says_what_matters(run: Path) -> None:
    """One file: no address is fetched, ids are its own, text is escaped, verdict, causes and the patch are in it."""
    page = (run / "report.html").read_text()
    fetched = re.findall(r"""(?:src|href)=["'](?!#)[^"']*|url\((?!#)[^)]*|@import""", page)
    assert not fetched
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert "<script" not in page
    assert page.count("<svg") >= 2
    assert "&lt;preStop&gt; &amp; sleep" in page
    assert "not ready yet" in page
    assert "0 of 4 terminations lost a request: at most 53 % do (95 %)" in page


def test_junit_and_markdown_can_be_read_by_others(run: Path) -> None:
    """A baseline that fails as it should is no failed test; the table has a row a trial."""
    root = ElementTree.fromstring((run / "junit.xml").read_text())
    cases = root.findall(".//testcase")
    assert [case.get("name") for case in cases] == ["rollout--baseline", "rollout--all"]
    assert not root.findall(".//failure")
    table = [line for line in (run / "summary.md").read_text().splitlines() if line.startswith("| rollout")]
    assert len(table) == 2
    assert all(line.count("|") == table[0].count("|") for line in table)


def test_junit_fails_what_decides_and_errs_where_nothing_is_known(run: Path) -> None:
    """FAIL is a failure, INCONCLUSIVE an error, not run is skipped, a regression a failure."""
    summary = json.loads((run / "summary.json").read_text())
    summary["decided_by"] = ["rollout--baseline"]
    summary["trials"][1]["verdict"] = "INCONCLUSIVE"
    summary["not_run"] = ["rollout--later"]
    differences = {"trials": [{"name": "rollout--all", "regressions": ["worse"]}]}
    root = ElementTree.fromstring(junit.render(summary, differences))
    found = {case.get("name"): [child.tag for child in case] for case in root.findall(".//testcase")}
    assert "failure" in found["rollout--baseline"]
    assert {"error", "failure"} <= set(found["rollout--all"])
    assert found["rollout--later"] == ["skipped"]


def test_markdown_escapes_what_would_end_a_cell(run: Path) -> None:
    """A name with a pipe stays in its cell."""
    summary = json.loads((run / "summary.json").read_text())
    summary["trials"][0]["scenario"] = "a|b"
    assert "a\\|b" in markdown.render(summary)


def test_the_console_says_the_sentence_of_every_trial(run: Path) -> None:
    """A person reads what failed, why, and what would cure it; nothing of it depends on the width but line breaks."""
    from rich.console import Console

    summary = json.loads((run / "summary.json").read_text())
    screen = Console(record=True, width=100, file=open("/dev/null", "w"))  # noqa: SIM115
    with screen.file:
        console.show(summary, run, screen)
    text = " ".join(screen.export_text().split())
    assert "Without any fix:" in text
    assert "With preStop 5 s + readiness + graceful shutdown: 0 of" in text
    assert "would cure: " in text
    assert "verdict: PASS" in text


def test_a_run_that_was_killed_is_reported_as_far_as_it_got(run: Path, tmp_path: Path) -> None:
    """A torn stream, torn events and a trial that never began: a report all the same, INCONCLUSIVE with the reasons."""
    folder = tmp_path / "killed"
    shutil.copytree(run, folder)
    trial = folder / "trials" / "rollout--all"
    meta = json.loads((trial / "trial.json").read_text())
    (trial / "trial.json").write_text(json.dumps({**meta, "state": "running", "phases": {}, "workers": []}))
    events = (trial / "events.jsonl").read_text()
    (trial / "events.jsonl").write_text(events[: len(events) // 2])
    whole = (trial / "samples.arrow").read_bytes()
    (trial / "samples.arrow").unlink()
    (trial / "samples.arrows").write_bytes(whole[: len(whole) // 2])
    planned = json.loads((folder / "run.json").read_text())
    planned["trials"].append({"name": "rollout--never"})
    (folder / "run.json").write_text(json.dumps(planned))
    summary = build(folder)
    assert summary["verdict"] == "INCONCLUSIVE"
    assert summary["not_run"] == ["rollout--never"]
    assert any("under way" in reason for reason in summary["trials"][1]["reasons"])
    assert (folder / "report.html").exists()


def test_a_trial_without_one_request_has_no_share_of_failed_ones(run: Path, tmp_path: Path) -> None:
    """Killed before the traffic began: no form of the report says "0 of 0", nor bounds what was not measured."""
    from rich.console import Console

    folder = tmp_path / "early"
    shutil.copytree(run, folder)
    for trial in (folder / "trials").iterdir():
        for samples in trial.glob("samples.*"):
            samples.unlink()
        meta = json.loads((trial / "trial.json").read_text())
        (trial / "trial.json").write_text(json.dumps({**meta, "state": "failed", "phases": {}, "workers": []}))
    summary = build(folder)
    screen = Console(record=True, width=100, file=open("/dev/null", "w"))  # noqa: SIM115
    with screen.file:
        console.show(summary, run, screen)
    forms = [
        screen.export_text(),
        *((folder / name).read_text() for name in ("report.html", "summary.md", "junit.xml")),
    ]
    for text in forms:
        assert "no request" in text
        assert not re.search(r"\b0 of 0\b|100 %|0 % failed", text)


def test_a_run_without_any_trial_still_has_a_report(tmp_path: Path) -> None:
    """Killed before the first trial: nothing is known, and that is said."""
    assert build(write_run(tmp_path / "empty", {}))["verdict"] == "INCONCLUSIVE"


def test_no_run_is_one_clear_error(tmp_path: Path) -> None:
    """A folder that is no run is named."""
    with pytest.raises(JournalError, match="not a run"):
        build(tmp_path)


def test_every_chart_draws_where_it_has_something_to_show(tmp_path: Path) -> None:
    """Two scenarios by two sets of fixes and a scale-out over kept connections: all charts, as SVG and PNG."""
    fixed = {"readiness": True, "prestop_s": 5, "graceful": True}
    folder = write_run(
        tmp_path / "matrix",
        {
            "rollout--baseline": (rollout(), {}),
            "rollout--all": (rollout(**fixed), {"fixes": FIXED}),  # type: ignore[arg-type]
            "node--baseline": (node_loss(), {"scenario": "node-failure"}),
            "scale--recycle": (scale_out(recycle_after=5), {"scenario": "keepalive", "fixes": ["recycle"]}),
        },
    )
    build(folder)
    drawn = {path.name for path in (folder / "charts").iterdir()}
    names = ("failures_by_kind", "scenario_fix_map", "share_per_pod")
    assert drawn == {f"{name}.{kind}" for name in names for kind in ("svg", "png")}
    for path in (folder / "charts").glob("*.svg"):
        ElementTree.fromstring(path.read_bytes())
