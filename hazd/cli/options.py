"""The options that several commands share: a dataclass a group, and how a command takes a whole group as one argument.

A group's fields are declared once, with their help and default, and every command that takes the group has them all.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

if TYPE_CHECKING:
    from hazd.cli.conduct import ClusterChoice

APP = "Sample app"
CLUSTER = "Cluster"
OUTPUT = "Output"
TRAFFIC = "Traffic"
SECRET_HEADER = re.compile("authorization|cookie|key|secret|token", re.IGNORECASE)


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """The command as typer shall see it: each parameter whose type is a dataclass becomes that dataclass' fields."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        group = groups.get(parameter.name)
        if group is None:
            own = parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[parameter.name])
            parameters.append(own)
        else:
            kinds = get_type_hints(group, include_extras=True)
            parameters += [
                inspect.Parameter(
                    item.name, inspect.Parameter.KEYWORD_ONLY, default=item.default, annotation=kinds[item.name]
                )
                for item in fields(group)
            ]

    @functools.wraps(command)
    def grouped(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{item.name: values.pop(item.name) for item in fields(group)})
        command(**values)

    del vars(grouped)["__wrapped__"]  # or inspect would look through to the ungrouped signature
    vars(grouped)["__signature__"] = inspect.Signature(parameters)
    grouped.__annotations__ = {item.name: item.annotation for item in parameters}
    return grouped


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """Which cluster, and what only some kinds of it understand."""

    cluster: Annotated[
        str, typer.Option(help="auto, kind, lab, or context:NAME of your kubeconfig.", rich_help_panel=CLUSTER)
    ] = "auto"
    propagation_delay: Annotated[
        float | None, typer.Option(help="lab: s until nodes hear of endpoints.", rich_help_panel=CLUSTER)
    ] = None
    min_sync_period: Annotated[
        float | None, typer.Option(help="lab: kube-proxy's minSyncPeriod, s.", rich_help_panel=CLUSTER)
    ] = None
    nodes: Annotated[int | None, typer.Option(help="lab: number of nodes.", rich_help_panel=CLUSTER)] = None
    node_command: Annotated[
        str | None,
        typer.Option(
            help="context: shell command that stops a node, with {node} and {action}.", rich_help_panel=CLUSTER
        ),
    ] = None
    image: Annotated[
        str | None,
        typer.Option(
            help="context: hazd's workload image in a registry its nodes reach, NAME:TAG.", rich_help_panel=CLUSTER
        ),
    ] = None

    def choice(self) -> ClusterChoice:
        from hazd.cli.conduct import ClusterChoice

        lab = {
            "propagation_delay_s": self.propagation_delay,
            "min_sync_period_s": self.min_sync_period,
            "nodes": self.nodes,
        }
        return ClusterChoice(spec=self.cluster, lab=lab, node_command=self.node_command, image=self.image)


@dataclass(frozen=True, kw_only=True)
class AppOptions:
    """The sample app and how it is deployed."""

    replicas: Annotated[int | None, typer.Option(help="Pods of the workload.", rich_help_panel=APP)] = None
    startup_delay: Annotated[float, typer.Option(help="Time before it listens, s.", rich_help_panel=APP)] = 0.0
    latency: Annotated[float, typer.Option(help="Time it takes to answer, ms.", rich_help_panel=APP)] = 0.0
    cpu: Annotated[float, typer.Option(help="CPU it burns per request, ms.", rich_help_panel=APP)] = 0.0
    max_surge: Annotated[str, typer.Option(help="Of the rolling update.", rich_help_panel=APP)] = "25%"
    max_unavailable: Annotated[str, typer.Option(help="Of the rolling update.", rich_help_panel=APP)] = "25%"
    tls: Annotated[
        bool,
        typer.Option("--tls", help="Serve TLS, by an authority made for the run.", rich_help_panel=APP),
    ] = False
    insecure: Annotated[
        bool, typer.Option("--insecure", help="With --tls: do not verify the certificate.", rich_help_panel=APP)
    ] = False

    def for_plan(self) -> dict[str, Any]:
        """The fields of hazd.plan.Options that these options set."""
        from hazd.workload.certificate import issue_certificate

        return {
            "replicas": self.replicas,
            "certificate": issue_certificate() if self.tls else None,
            "verify_tls": not self.insecure,
            "workload": {
                "startup_delay_s": self.startup_delay,
                "latency_ms": self.latency,
                "cpu_ms": self.cpu,
                "max_surge": self.max_surge,
                "max_unavailable": self.max_unavailable,
            },
        }


@dataclass(frozen=True, kw_only=True)
class TrafficOptions:
    """When requests are due, on which connections they go, what they are and what is expected of them."""

    rate: Annotated[float, typer.Option(help="Requests a second, all workers.", rich_help_panel=TRAFFIC)] = 200.0
    control_rate: Annotated[
        float,
        typer.Option(help="Requests a second to a pod that nothing disturbs; 0: off.", rich_help_panel=TRAFFIC),
    ] = 5.0
    profile: Annotated[
        str | None,
        typer.Option(help="constant, poisson, ramp:FROM:TO:S, steps:RATE@S,...", rich_help_panel=TRAFFIC),
    ] = None
    seed: Annotated[int, typer.Option(help="poisson: of its random gaps.", rich_help_panel=TRAFFIC)] = 1
    path: Annotated[str, typer.Option(help="Path, with its query.", rich_help_panel=TRAFFIC)] = "/"
    method: Annotated[str, typer.Option(help="GET, POST, ...", rich_help_panel=TRAFFIC)] = "GET"
    header: Annotated[
        list[str] | None, typer.Option(metavar="NAME:VALUE", help="Header; repeatable.", rich_help_panel=TRAFFIC)
    ] = None
    body: Annotated[str, typer.Option(metavar="TEXT|@FILE", help="Body, UTF-8.", rich_help_panel=TRAFFIC)] = ""
    expect: Annotated[
        list[str] | None,
        typer.Option(metavar="STATUSES", help="What counts as ok, as in 200,204; repeatable.", rich_help_panel=TRAFFIC),
    ] = None
    http2: Annotated[bool, typer.Option("--http2", help="HTTP/2, through httpx.", rich_help_panel=TRAFFIC)] = False
    connection: Annotated[str | None, typer.Option(help="both, new or reused.", rich_help_panel=TRAFFIC)] = None
    pool: Annotated[int, typer.Option(help="Kept connections per worker.", rich_help_panel=TRAFFIC)] = 8
    recycle_connections_after: Annotated[
        int, typer.Option(help="The client closes a kept connection after N requests.", rich_help_panel=TRAFFIC)
    ] = 0
    recycle_connections_seconds: Annotated[
        float, typer.Option(help="The client closes a kept connection of that age, s.", rich_help_panel=TRAFFIC)
    ] = 0.0
    workers: Annotated[int, typer.Option(help="Worker pods.", rich_help_panel=TRAFFIC)] = 1
    vantage: Annotated[
        list[str] | None,
        typer.Option(help="Nodes they run on: control-plane, workers, spread, node:NAME.", rich_help_panel=TRAFFIC),
    ] = None
    sender: Annotated[str, typer.Option(help="httpx, fast or auto.", rich_help_panel=TRAFFIC)] = "auto"
    max_in_flight: Annotated[
        int, typer.Option(help="Per worker; a request due beyond it counts as not sent.", rich_help_panel=TRAFFIC)
    ] = 2000
    warmup: Annotated[float, typer.Option(help="Traffic before the disruption, s.", rich_help_panel=TRAFFIC)] = 3.0
    settle: Annotated[float, typer.Option(help="Traffic after it, s.", rich_help_panel=TRAFFIC)] = 5.0
    request_timeout: Annotated[
        float,
        typer.Option(help="Of one request, s; below 3 s no EHOSTUNREACH is ever seen.", rich_help_panel=TRAFFIC),
    ] = 5.0
    max_late_ms: Annotated[
        float | None,
        typer.Option(help="p99 lateness above which a run is INCONCLUSIVE (default 20).", rich_help_panel=TRAFFIC),
    ] = None

    def for_plan(self) -> dict[str, Any]:
        """The fields of hazd.plan.Options that these options set; what cannot be read goes into `problems`."""
        problems: list[str] = []
        return {
            "rate": self.rate,
            "control_rate": self.control_rate,
            "profile": self.profile,
            "seed": self.seed,
            "path": self.path,
            "method": self.method.upper(),
            "headers": parse_headers(self.header or [], problems),
            "body": read_body(self.body, problems),
            "expect": parse_statuses(self.expect or ["200"], problems),
            "http2": self.http2,
            "connection": self.connection,
            "pool": self.pool,
            "recycle_connections_after": self.recycle_connections_after,
            "recycle_connections_s": self.recycle_connections_seconds,
            "workers": self.workers,
            "vantage": tuple(self.vantage or ("control-plane",)),
            "sender": self.sender,
            "max_in_flight": self.max_in_flight,
            "warmup_s": self.warmup,
            "settle_s": self.settle,
            "request_timeout_s": self.request_timeout,
            "max_late_ms": self.max_late_ms,
            "problems": tuple(problems),
        }


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """Where the run's folder goes, and what is printed."""

    out: Annotated[Path, typer.Option(help="Folder that gets the run's folder.", rich_help_panel=OUTPUT)] = Path(
        "reports"
    )
    name: Annotated[str | None, typer.Option(help="The run's name.", rich_help_panel=OUTPUT)] = None
    as_json: Annotated[
        bool, typer.Option("--json", help="Print summary.json on standard output.", rich_help_panel=OUTPUT)
    ] = False


def parse_headers(pairs: list[str], problems: list[str]) -> tuple[tuple[str, str], ...]:
    """NAME:VALUE pairs; blanks around the value do not count (RFC 9112 section 5.1)."""
    found = []
    for pair in pairs:
        name, colon, value = pair.partition(":")
        if colon:
            found.append((name, value.strip(" \t")))
        else:
            problems.append(f"--header: {pair!r} is not NAME:VALUE, as in 'Accept: text/html'")
    return tuple(found)


def kept_words(argv: list[str]) -> list[str]:
    """A command line as a report may keep it: what a header that lets someone in holds is left out."""
    kept = []
    for before, word in zip(["", *argv], argv, strict=False):
        flag = "--header=" if word.startswith("--header=") else ""
        name, colon, _ = word.removeprefix(flag).partition(":")
        secret = (flag or before == "--header") and SECRET_HEADER.search(name)
        kept.append(f"{flag}{name}{colon}..." if secret else word)
    return kept


def parse_statuses(texts: list[str], problems: list[str]) -> tuple[int, ...]:
    """Statuses apart by commas; which of them can be is the plan's to say."""
    words = [word.strip() for text in texts for word in text.split(",")]
    bad = [word for word in words if not (word.isascii() and word.isdigit())]
    problems += [f"--expect: {word!r} is not a status, as in 200,204" for word in bad]
    return tuple(dict.fromkeys(int(word) for word in words if word not in bad)) if not bad else (200,)


def read_body(text: str, problems: list[str]) -> str:
    """The text itself, or the content of the file after an @."""
    try:
        if text.startswith("@"):
            return Path(text[1:]).read_bytes().decode()
        return text.encode().decode()  # what a shell passes on may be no text at all
    except (OSError, ValueError) as problem:
        problems.append(f"--body: {text!r} is neither UTF-8 text nor @FILE of a readable UTF-8 file: {problem}")
        return ""


__all__ = [
    "AppOptions",
    "ClusterOptions",
    "OutputOptions",
    "TrafficOptions",
    "kept_words",
    "parse_headers",
    "parse_statuses",
    "read_body",
    "with_groups",
]
