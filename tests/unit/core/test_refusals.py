"""What the user can get wrong is refused before anything is opened: a row for every option of `run` and `matrix`.

A new option without a row fails here. A row has the option's bad use, and what the message has to say: the option, its
value, and what would be right.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import hazd.cli
import hazd.cluster.choose
import hazd.errors
from hazd.errors import EXIT_USAGE

HOOKED = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      containers:
      - {name: web, image: "shop:1", ports: [{containerPort: 80}],
         lifecycle: {preStop: {exec: {command: [nginx, -s, quit]}}}}
---
{apiVersion: v1, kind: Service, metadata: {name: shop}, spec: {selector: {app: shop}, ports: [{port: 80}]}}
"""
OWN = ["--workload", "own.yaml", "--cluster", "kind"]
"""own.yaml holds HOOKED."""
Row = tuple[list[str], list[str]]
"""Arguments after the scenario rollout, and words of the message."""

BOTH: dict[str, list[Row]] = {
    "--cluster": [
        (["--cluster", "minikube"], ["'minikube'", "kind, lab", "context:NAME"]),
        (["--cluster", "context:"], ["'context:'", "context:NAME"]),
        (["--cluster", "lab:x=y"], ["lab:x=y", "no option x", "hpa_sync_s"]),
        (["--cluster", "lab:nodes=2.5"], ["lab:nodes=2.5", "OPTION=NUMBER", "lab:nodes=4"]),
        (["--cluster", "lab:nodes=0"], ["nodes: 0", "between 1 and 200"]),
        (["--cluster", "lab:hpa_sync_s=nan"], ["hpa_sync_s: nan", "0 or more"]),
    ],
    "--propagation-delay": [
        (["--propagation-delay", "2", "--cluster", "kind"], ["2.0", "--cluster lab"]),
        (["--propagation-delay", "-1", "--cluster", "lab"], ["-1.0", "0 or more"]),
        (["--propagation-delay", "soon", "--cluster", "lab"], ["'soon'", "a valid number"]),
    ],
    "--min-sync-period": [
        (["--min-sync-period", "2"], ["2.0", "--cluster lab"]),
        (["--min-sync-period", "-1", "--cluster", "lab"], ["-1.0", "0 or more"]),
    ],
    "--nodes": [
        (["--nodes", "4", "--cluster", "context:a", "--image", "a:b"], ["4", "--cluster lab"]),
        (["--nodes", "900", "--cluster", "lab"], ["900", "between 1 and 200"]),
    ],
    "--node-command": [
        (["--node-command", "ssh {node} halt"], ["'ssh {node} halt'", "context:NAME"]),
        (["--node-command", "halt", "--cluster", "context:a", "--image", "a:b"], ["'halt'", "{node}"]),
    ],
    "--image": [
        (["--image", "a:b", "--cluster", "kind"], ["'a:b'", "context:NAME"]),
        (["--image", "hazd", "--cluster", "context:a"], ["'hazd'", "NAME:TAG"]),
        (["--image", "a:b,a:b", "--cluster", "context:a"], ["'a:b,a:b'", "NAME:TAG,NAME:TAG2"]),
        (["--cluster", "context:a"], ["context:a", "registry"]),
    ],
    "--readiness-path": [(["--readiness-path", "healthz"], ["'healthz'", "begins with /"])],
    "--readiness-port": [(["--readiness-port", "70000"], ["'70000'", "1 to 65535"])],
    "--readiness-scheme": [(["--readiness-scheme", "tls"], ["'tls'", "HTTP or HTTPS"])],
    "--prestop-seconds": [
        (["--prestop-seconds", "0"], ["0", "from 1 to 86400"]),
        (["--prestop-seconds", "2.5"], ["'2.5'", "integer"]),
    ],
    "--pdb-max-unavailable": [(["--pdb-max-unavailable", "half"], ["'half'", "50%"])],
    "--pdb-min-available": [
        (["--pdb-min-available", "101%"], ["'101%'", "50%"]),
        (["--pdb-min-available", "1", "--pdb-max-unavailable", "2"], ["'1'", "maxUnavailable 2", "one of the two"]),
    ],
    "--anti-affinity": [(["--anti-affinity", "hard"], ["'hard'", "preferred or required"])],
    "--topology-key": [(["--topology-key", "my zone"], ["'my zone'", "topology.kubernetes.io/zone"])],
    "--recycle-after": [(["--recycle-after", "0"], ["0", "from 1"])],
    "--min-ready-seconds": [(["--min-ready-seconds", "0"], ["0", "from 1"])],
    "--workload": [
        (["--workload", "nowhere.yaml"], ["nowhere.yaml", "cannot be read"]),
        (["--workload", "own.yaml", "--cluster", "lab"], ["the lab", "--cluster kind"]),
        (["--workload", "own.yaml", "--cluster", "lab:nodes=4"], ["the lab", "--cluster kind"]),
    ],
    "--workload-name": [
        (["--workload-name", "shop"], ["'shop'", "--workload FILE"]),
        ([*OWN, "--workload-name", "cart"], ["'cart'", "deployment/shop"]),
    ],
    "--next-image": [(["--next-image", "shop:2"], ["'shop:2'", "--workload FILE"])],
    "--replicas": [(["--replicas", "0"], ["0", "at least 1"])],
    "--startup-delay": [
        (["--startup-delay", "-1"], ["-1.0", "at least 0"]),
        ([*OWN, "--startup-delay", "1"], ["1.0", "your manifests"]),
    ],
    "--latency": [(["--latency", "nan"], ["nan", "at least 0"])],
    "--cpu": [(["--cpu", "-1"], ["-1.0", "at least 0"])],
    "--max-surge": [(["--max-surge", "some"], ["'some'", "25%"])],
    "--max-unavailable": [(["--max-unavailable", "200%"], ["'200%'", "at most 100%"])],
    "--tls": [([*OWN, "--tls"], ["True", "your manifests"])],
    "--insecure": [(["--insecure"], ["--tls"])],
    "--rate": [
        (["--rate", "0"], ["0.0", "above 0"]),
        (["--rate", "inf"], ["inf", "at most 20000"]),
        (["--rate", "fast"], ["'fast'", "a valid number"]),
    ],
    "--control-rate": [(["--control-rate", "101"], ["101", "from 0 (off) to 100"])],
    "--profile": [(["--profile", "bumpy"], ["'bumpy'", "steps:RATE@SECONDS"])],
    "--seed": [(["--seed", "7"], ["7", "--profile poisson"])],
    "--path": [(["--path", "orders"], ["'orders'", "begins with /"])],
    "--method": [(["--method", "GET /"], ["'GET /'", "an HTTP method"])],
    "--header": [(["--header", "Accept"], ["'Accept'", "NAME:VALUE"])],
    "--body": [(["--body", "@nowhere"], ["'@nowhere'", "readable UTF-8 file"])],
    "--expect": [
        (["--expect", "ok"], ["'ok'", "200,204"]),
        (["--expect", "20"], ["20", "200 to 599"]),
    ],
    "--http2": [(["--http2", "--sender", "fast"], ["only the httpx sender"])],
    "--connection": [(["--connection", "sticky"], ["'sticky'", "both, new, reused"])],
    "--pool": [(["--pool", "0"], ["0", "between 1 and"])],
    "--recycle-connections-after": [
        (["--recycle-connections-after", "-1"], ["-1", "below 0"]),
        (["--recycle-connections-after", "5", "--connection", "new"], ["5", "--connection reused"]),
    ],
    "--recycle-connections-seconds": [(["--recycle-connections-seconds", "nan"], ["nan", "from 0"])],
    "--workers": [(["--workers", "257"], ["257", "at most 256"])],
    "--vantage": [
        (["--vantage", "worker"], ["'worker'", "control-plane, workers, spread, or node:NAME"]),
        (["--vantage", "node:A_B"], ["'node:A_B'", "node:NAME"]),
    ],
    "--sender": [(["--sender", "curl"], ["'curl'", "httpx, fast, auto"])],
    "--max-in-flight": [(["--max-in-flight", "0"], ["0", "below 1"])],
    "--observe": [(["--observe", "maybe"], ["'maybe'", "one of "])],
    "--warmup": [(["--warmup", "-1"], ["-1.0", "at least 0"])],
    "--settle": [(["--settle", "inf"], ["inf", "at least 0"])],
    "--request-timeout": [(["--request-timeout", "0"], ["0.0", "above 0"])],
    "--max-late-ms": [(["--max-late-ms", "0"], ["0.0", "above 0"])],
    "--timeout": [(["--timeout", "0"], ["0.0", "at least 1"])],
    "--scenarios": [(["--scenarios", "nowhere"], ["nowhere", "not a folder"])],
    "--out": [(["--out", "own.yaml"], ["'own.yaml'", "is a file"])],
    "--name": [
        (["--name", "a/b"], ["'a/b'", "letters, digits"]),
        (["--name", ".."], ["'..'", "letters, digits"]),
        (["--name", "taken", "--out", "."], ["taken exists already", "another --name"]),
    ],
    "--parallel": [
        (["--parallel", "0"], ["0", "1 or more"]),
        (["--parallel", "2", "--cluster", "kind"], ["2", "--cluster lab"]),
    ],
    "--keep": [(["--keep", "--cluster", "lab"], ["a lab ends", "--cluster kind"])],
}
RUN: dict[str, list[Row]] = {
    "scenario": [([], ["'roll'", "rollout"])],
    "--with-prestop": [([*OWN, "--with-prestop"], ["preStop hook of its own"])],
    "--with-graceful-shutdown": [([*OWN, "--with-graceful-shutdown"], ["only hazd's own sample app"])],
    "--with-recycle": [([*OWN, "--with-recycle"], ["only hazd's own sample app", "--recycle-connections-after"])],
    "--grace-seconds": [(["--grace-seconds", "-1"], ["-1", "from 0 to 86400"])],
    "--compare": [(["--compare"], ["no fix is on", "--with-all"])],
    "--max-failed": [(["--max-failed", "-1"], ["-1", "at least 0"])],
    "--repeat": [(["--repeat", "0"], ["0", "at least 1"])],
    "--until": [
        (["--until", "often"], ["'often'", "5%"]),
        (["--until", "100%"], ["below 100 %", "5%"]),
        (["--until", "5%", "--repeat", "3"], ["--repeat 3", "choose one"]),
    ],
    "--budget": [
        (["--until", "5%", "--budget", "long"], ["'long'", "10m"]),
        (["--budget", "7m"], ["7m", "--until"]),
    ],
    "--restart": [],
    "--force": [(["--force"], ["rollout has no such option", "--set restart"])],
    "--set": [
        (["--set", "to"], ["'to'", "NAME=VALUE"]),
        (["--set", "to=3"], ["to=3", "rollout has no such option", "--set restart"]),
        (["--set", "restart=maybe"], ["'maybe'", "true or false"]),
    ],
}
OFF: dict[str, list[Row]] = {
    flag: [([flag, value], [f"{flag}: {fix} is off; add --with-{fix}"])]
    for flag, value, fix in (
        ("--prestop-seconds", "2", "prestop"),
        ("--readiness-path", "/up", "readiness"),
        ("--readiness-port", "8080", "readiness"),
        ("--readiness-scheme", "HTTP", "readiness"),
        ("--pdb-max-unavailable", "1", "pdb"),
        ("--pdb-min-available", "1", "pdb"),
        ("--anti-affinity", "required", "anti-affinity"),
        ("--topology-key", "zone", "anti-affinity"),
        ("--recycle-after", "5", "recycle"),
        ("--min-ready-seconds", "5", "min-ready-seconds"),
    )
}
"""Right values of fixes that are off: they would do nothing."""
MATRIX: dict[str, list[Row]] = {
    "scenarios": [([], ["'roll'", "rollout"])],
    "--resume": [(["--resume"], ["add --name"])],
    "--pdb-max-unavailable": [(["--pdb-max-unavailable", "1"], ["pdb is not among the fixes of rollout"])],
}
NEVER_WRONG = {
    "--with-readiness": "every workload behind a Service can have a probe",
    "--with-pdb": "every workload can have a budget",
    "--with-anti-affinity": "every workload can have it",
    "--with-min-ready-seconds": "every workload can have it",
    "--with-all": "fixes that cannot act are skipped, and a note says why",
    "--restart": "rollout has it; what has not is --force's row",
    "--each": "one of two ways",
    "--json": "one of two ways",
    "--help": "shows the help",
}
TABLE = {
    "run": {key: [*BOTH.get(key, []), *RUN.get(key, []), *OFF.get(key, [])] for key in BOTH | RUN},
    "matrix": {key: [*BOTH.get(key, []), *MATRIX.get(key, [])] for key in BOTH | MATRIX},
}
ROWS = [
    pytest.param(command, key, args, words, id=f"{command} {key} {index}")
    for command, rows in TABLE.items()
    for key, uses in rows.items()
    for index, (args, words) in enumerate(uses)
]


def options_of(command: str) -> set[str]:
    """An argument by its name, an option by its first spelling, --help too."""
    import hazd.cli.matrix
    import hazd.cli.run

    found: Any = get_command(hazd.cli.app)
    return {item.opts[0] for item in found.commands[command].params} | {"--help"}


def answer(command: str, args: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What hazd prints of a bad command line: it exits with 2, opens no cluster and leaves no file."""
    opened: list[object] = []

    async def open_cluster(*given: object, **_: object) -> None:
        opened.append(given)

    monkeypatch.setattr(hazd.cluster.choose, "open_cluster", open_cluster)
    monkeypatch.setattr(sys, "argv", ["hazd", command, *args])
    before = sorted(Path().rglob("*"))
    with pytest.raises(SystemExit) as ended:
        hazd.cli.main()
    assert sorted(Path().rglob("*")) == before
    assert opened == []
    assert ended.value.code == EXIT_USAGE
    return capsys.readouterr().err


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own.yaml").write_text(HOOKED)
    (tmp_path / "taken").mkdir()
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("command", TABLE)
def test_every_option_has_a_row(command: str) -> None:
    """Or a reason why it cannot be wrong; and no row is of an option that is not there any more."""
    known = options_of(command)
    assert {key for key in known if not TABLE[command].get(key) and key not in NEVER_WRONG} == set()
    assert TABLE[command].keys() - known == set()


@pytest.mark.parametrize(("command", "key", "args", "words"), ROWS)
def test_a_wrong_option_is_refused_before_anything_is_opened(
    command: str,
    key: str,
    args: list[str],
    words: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 2, and the message has the option, its value and what would be right."""
    scenario = "rollout" if key.startswith("--") else "roll"
    said = " ".join(answer(command, [scenario, *args], monkeypatch, capsys).split())
    for word in [key if key.startswith("--") else "SCENARIO", *words]:
        assert word in said


def test_all_that_is_wrong_is_said_at_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the cluster, the fixes, the workload, the traffic, the scenario and the folder: a line each, in one go."""
    args = ["--cluster", "minikube", "--prestop-seconds", "2", "--max-surge", "x", "--vantage", "y", "--force"]
    said = answer("run", ["rollout", *args, "--name", "..", "--parallel", "0"], monkeypatch, capsys)
    lines = said.removeprefix("error: ").splitlines()
    flags = ["--parallel", "--cluster", "--name", "--vantage", "--max-surge", "--force", "--prestop-seconds"]
    assert [line.split(":")[0] for line in lines if not line.startswith("hint")] == flags


def test_a_right_line_gets_as_far_as_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table's own check: with nothing wrong the cluster is opened."""
    opened: list[str] = []

    async def open_cluster(spec: str, **_: object) -> None:
        opened.append(spec)
        raise hazd.errors.EnvironmentProblem("none here", "")

    monkeypatch.setattr(hazd.cluster.choose, "open_cluster", open_cluster)
    monkeypatch.setattr(sys, "argv", ["hazd", "run", "rollout", "--with-prestop", "--prestop-seconds", "2"])
    with pytest.raises(SystemExit):
        hazd.cli.main()
    assert opened == ["auto"]
