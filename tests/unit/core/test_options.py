"""The command line's shared options: what the texts become, and that every command that shares them has them all."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import hazd.cli
import hazd.cli.compare
import hazd.cli.conduct
import hazd.cli.matrix
import hazd.cli.run
from hazd.cli.help import help_of
from hazd.cli.options import AppOptions, ClusterOptions, OutputOptions, TrafficOptions, plan_options
from hazd.cli.words import kept_words
from hazd.fixes import load
from hazd.manifests import dump
from hazd.plan import Options
from hazd.plan.check import check
from hazd.sample_app.manifests import sample_workload
from hazd.scenario import load_scenarios

GROUPS = (AppOptions, ClusterOptions, OutputOptions, TrafficOptions)
REQUEST = ["--path", "/orders?a=1", "--method", "post", "--header", "Accept: text/html", "--header", "X-Time:a:b"]
REQUEST += ["--body", "hello", "--expect", "200,204", "--expect", "409", "--rate", "50", "--vantage", "spread"]
CLIENT = ["--recycle-connections-after", "20", "--recycle-connections-seconds", "1.5", "--max-in-flight", "9"]
CLIENT += [
    "--seed",
    "3",
    "--profile",
    "poisson",
    "--max-late-ms",
    "40",
    "--http2",
    "--tls",
    "--insecure",
    "--cluster",
    "lab",
]


def asked(monkeypatch: pytest.MonkeyPatch, *args: str) -> list[Options]:
    """What a command line hands on to be run; each is checked."""
    found: list[Options] = []

    def conduct(wanted: list[Options], *_: Any, **__: Any) -> int:
        found.extend(wanted)
        return 0

    monkeypatch.setattr(hazd.cli.conduct, "conduct", conduct)
    get_command(hazd.cli.app)(list(args), standalone_mode=False)
    for item in found:
        check(item, load_scenarios(), load())
    return found


@pytest.mark.parametrize("command", ["run", "matrix", "compare"])
def test_help_groups_the_options_under_headings(command: str) -> None:
    """Each option once, below the heading of its group; none but --help has no group."""
    params = get_command(hazd.cli.app).commands[command].params  # type: ignore[attr-defined]
    text = (help_of(hazd.cli.app, [command, "--help"]) or "").split("  Examples:")[0]
    sections = dict(re.findall(r"^(\w[\w ]*):\n((?: .*\n|\n(?= ))+)", text + "\n", re.MULTILINE))
    for item in params:
        if item.param_type_name == "option":
            assert item.rich_help_panel
            holding = [title for title, body in sections.items() if re.search(rf"^  {item.opts[0]}\b", body, re.M)]
            assert holding == [item.rich_help_panel]
    assert sections["Other options"].split()[:2] == ["-h,", "--help"]


@pytest.mark.parametrize("words", [["run", "--help"], ["cluster", "create", "-h"], ["-h"]])
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    """A line that only asks for help never gets as far as what a run needs."""
    heavy = ("anyio", "httpx", "kubernetes", "matplotlib", "numpy", "pyarrow", "pydantic", "rich", "yaml")
    code = f"import sys; sys.argv = ['hazd', *{words}]; import hazd.cli; hazd.cli.main()"
    code += f"; sys.exit(' '.join(name for name in {heavy} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == ""
    assert "Usage: " in done.stdout


@pytest.mark.parametrize("command", ["run", "matrix"])
def test_a_command_has_all_options_of_its_groups(command: str) -> None:
    """Declared once, there for both, with help."""
    options = {item.name: item for item in get_command(hazd.cli.app).commands[command].params}  # type: ignore[attr-defined]
    names = {item.name for group in GROUPS for item in fields(group)}
    assert names <= options.keys()
    assert [name for name in names if not options[name].help] == []


@pytest.mark.parametrize("command", ["run", "matrix"])
def test_request_and_client_options_reach_the_plan(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every one of them, from `hazd run` and `hazd matrix` alike."""
    (wanted,) = asked(monkeypatch, command, "rollout", *REQUEST, *CLIENT)
    assert (wanted.path, wanted.method, wanted.body) == ("/orders?a=1", "POST", "hello")
    assert wanted.headers == (("Accept", "text/html"), ("X-Time", "a:b"))
    assert wanted.expect == (200, 204, 409)
    assert (wanted.rate, wanted.vantage, wanted.max_in_flight, wanted.seed) == (50, ("spread",), 9, 3)
    assert (wanted.recycle_connections_after, wanted.recycle_connections_s) == (20, 1.5)
    assert (wanted.max_late_ms, wanted.http2, wanted.verify_tls) == (40, True, False)
    assert wanted.certificate is not None


def test_defaults_of_the_command_line_are_those_of_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing asked for is nothing changed; only the choice of the sender is left to the workers."""
    (wanted,) = asked(monkeypatch, "run", "rollout")
    plain = Options(scenario="rollout")
    names = [item.name for item in fields(Options) if item.name != "sender"]
    assert [name for name in names if getattr(wanted, name) != getattr(plain, name)] == []


def test_a_matrix_starts_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its app takes 2 s to start unless told otherwise, in every scenario named."""
    wanted = asked(monkeypatch, "matrix", "rollout", "scale")
    assert [(item.scenario, item.app.startup_delay_s) for item in wanted] == [("rollout", 2.0), ("scale", 2.0)]
    (one,) = asked(monkeypatch, "matrix", "rollout", "--startup-delay", "1")
    assert one.app.startup_delay_s == 1.0


def test_a_matrix_of_ones_own_workload_is_of_what_takes_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without names: every scenario that does not need the sample app."""
    (tmp_path / "app.yaml").write_text(dump(sample_workload(image="app:1")))
    wanted = asked(monkeypatch, "matrix", "--workload", str(tmp_path / "app.yaml"))
    assert {item.scenario for item in wanted} == {"rollout", "scale", "pod-delete", "drain", "node-failure"}
    assert all(item.own is not None for item in wanted)


def test_a_body_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Byte for byte, line ends too."""
    (tmp_path / "body").write_bytes("é\r\n".encode())
    (wanted,) = asked(monkeypatch, "run", "rollout", "--body", f"@{tmp_path}/body")
    assert wanted.body == "é\r\n"


def test_what_cannot_be_read_is_told_with_the_rest(tmp_path: Path) -> None:
    """Header, status and file: a line each, with the option, the value and an example."""
    (tmp_path / "latin").write_bytes(b"\xe9")
    body = f"@{tmp_path}/latin"
    problems = plan_options(TrafficOptions(header=["Accept", "A: b"], expect=["200, ok", "-1"], body=body))["problems"]
    assert [problem.partition(":")[0] for problem in problems] == ["--header", "--body", "--expect", "--expect"]
    for word, problem in zip(("'Accept'", repr(body), "'ok'", "'-1'"), problems, strict=True):
        assert word in problem
    gone = plan_options(TrafficOptions(body="@/nowhere/at/all"))["problems"]
    assert "'@/nowhere/at/all'" in gone[0]
    assert plan_options(TrafficOptions(body="caf\udce9"))["problems"][0].startswith("--body: 'caf\\udce9' is neither")


def test_a_report_keeps_no_password() -> None:
    """The values of headers that let someone in are left out of the command line; all else stays as it was."""
    plain = ["run", "rollout", "--header", "Accept: text/html", "--body", "Authorization: x", "--header=A:1"]
    assert kept_words(plain) == plain
    assert kept_words(["--header", "authorization: Bearer 1", "--header=X-Api-Key:2", "--json"]) == [
        "--header",
        "authorization:...",
        "--header=X-Api-Key:...",
        "--json",
    ]
