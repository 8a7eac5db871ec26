"""The options that several commands share: a dataclass a group, and how a command takes a whole group as one argument.

A group's fields are declared once, with their help and default, and every command that takes the group has them all.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, get_type_hints

import typer

from hazd.cli.words import parse_duration, parse_headers, parse_share, parse_statuses, read_body
from hazd.errors import UsageError
from hazd.model import AppSettings, Manifest

if TYPE_CHECKING:
    from hazd.cli.conduct import ClusterChoice

FIXES = "Fixes"
APP = "Sample app"
OWN = "Your own workload"
CLUSTER = "Cluster"
OUTPUT = "Output"
TRAFFIC = "Traffic"
SCENARIO = "Scenario and verdict"


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

        return ClusterChoice(spec=self.cluster, lab=self._lab(), node_command=self.node_command, image=self.image)

    @property
    def is_lab(self) -> bool:
        """The lab by name; "auto" may turn out to be one, which nobody knows before it is opened."""
        return self.cluster.partition(":")[0] == "lab"

    def for_plan(self, problems: list[str]) -> dict[str, Any]:
        """No field of hazd.plan.Options; what is wrong with the choice goes into `problems`."""
        from hazd.cluster.choose import spec_problems
        from hazd.cluster.lab.options import LabOptions

        problems += spec_problems(self.cluster, image=self.image, node_command=self.node_command)
        if self.cluster.startswith("context:") and self.image is None:
            problems.append(
                f"--image: needed with --cluster {self.cluster}: hazd's image in a registry its nodes reach"
            )
        for name, value in self._lab().items():
            flag = f"--{name.removesuffix('_s').replace('_', '-')}"
            if not self.is_lab:
                problems.append(f"{flag}: {value} does not fit --cluster {self.cluster}; it is for --cluster lab")
            try:
                LabOptions(**{name: value})
            except UsageError as error:
                problems.append(f"{flag}: {value} is not {error.hint}")
        return {}

    def _lab(self) -> dict[str, Any]:
        lab = {
            "propagation_delay_s": self.propagation_delay,
            "min_sync_period_s": self.min_sync_period,
            "nodes": self.nodes,
        }
        return {name: value for name, value in lab.items() if value is not None}


_fix_option = functools.partial(typer.Option, show_default=False, rich_help_panel=FIXES)


@dataclass(frozen=True, kw_only=True)
class FixSwitches:
    """Which fixes are on: a field `with_NAME` a fix of hazd/fixes."""

    with_prestop: Annotated[bool, _fix_option("--with-prestop/--without-prestop", help="preStop sleep.")] = False
    with_readiness: Annotated[bool, _fix_option("--with-readiness/--without-readiness", help="readinessProbe.")] = False
    with_graceful_shutdown: Annotated[
        bool,
        _fix_option(
            "--with-graceful-shutdown/--without-graceful-shutdown", help="On SIGTERM finish what is in flight."
        ),
    ] = False
    with_pdb: Annotated[bool, _fix_option("--with-pdb/--without-pdb", help="PodDisruptionBudget.")] = False
    with_anti_affinity: Annotated[
        bool, _fix_option("--with-anti-affinity/--without-anti-affinity", help="Replicas on different nodes.")
    ] = False
    with_recycle: Annotated[
        bool, _fix_option("--with-recycle/--without-recycle", help="Close a connection after --recycle-after requests.")
    ] = False
    with_min_ready_seconds: Annotated[
        bool, _fix_option("--with-min-ready-seconds/--without-min-ready-seconds", help="minReadySeconds.")
    ] = False
    grace_seconds: Annotated[
        int | None,
        _fix_option(help="terminationGracePeriodSeconds, exactly; without it as is needed."),
    ] = None
    with_all: Annotated[bool, _fix_option("--with-all", help="Every fix that cures something here.")] = False

    def for_plan(self, problems: list[str]) -> dict[str, Any]:
        """The fields of hazd.plan.Options that these options set; `problems` stays as it is."""
        from hazd.fixes import load

        found = load().values()
        on = tuple(fix.name for fix in found if getattr(self, _parameter(fix.switch), None) not in (None, False))
        return {"fixes": on, "all_fixes": self.with_all, "fix_settings": _given_settings(self)}


@dataclass(frozen=True, kw_only=True)
class FixValues:
    """How far each fix goes; None: the scenario's own, else the fix's default."""

    prestop_seconds: Annotated[int | None, _fix_option(help="prestop: length of the sleep, s (default 5).")] = None
    readiness_path: Annotated[
        str | None,
        _fix_option(help="readiness: of the probe; own workloads get a TCP probe without."),
    ] = None
    readiness_port: Annotated[str | None, _fix_option(help="readiness: number or name (default: the Service's).")] = (
        None
    )
    readiness_scheme: Annotated[
        str | None, _fix_option(help="readiness: HTTP or HTTPS (default: by the port's name).")
    ] = None
    pdb_max_unavailable: Annotated[str | None, _fix_option(help="pdb: maxUnavailable (default 1).")] = None
    pdb_min_available: Annotated[str | None, _fix_option(help="pdb: minAvailable instead of maxUnavailable.")] = None
    anti_affinity: Annotated[
        str | None,
        _fix_option(help="anti-affinity: preferred or required (default preferred)."),
    ] = None
    topology_key: Annotated[
        str | None,
        _fix_option(help="anti-affinity: the label that differs (default the host's)."),
    ] = None
    recycle_after: Annotated[
        int | None,
        _fix_option(help="recycle: requests a connection may carry (default 1000)."),
    ] = None
    min_ready_seconds: Annotated[int | None, _fix_option(help="min-ready-seconds: its value, s (default 5).")] = None

    def for_plan(self, problems: list[str]) -> dict[str, Any]:
        """The fields of hazd.plan.Options that these options set; `problems` stays as it is."""
        return {"fix_settings": _given_settings(self)}


def _parameter(flag: str) -> str:
    return flag.removeprefix("--").replace("-", "_")


def _given_settings(group: FixSwitches | FixValues) -> dict[str, Any]:
    """The fields of FixSettings that a group's options set, as the fixes themselves say which do."""
    from hazd.fixes import flags, load

    found = {name: getattr(group, _parameter(flag), None) for name, flag in flags(load()).items()}
    return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class AppOptions:
    """What is deployed: the sample app, or a workload of the user's own."""

    manifests: Annotated[
        Path | None,
        typer.Option(
            "--workload", metavar="FILE", help="Your manifests instead of the sample app.", rich_help_panel=OWN
        ),
    ] = None
    workload_name: Annotated[
        str, typer.Option(metavar="NAME", help="Which Deployment, where there are several.", rich_help_panel=OWN)
    ] = ""
    next_image: Annotated[
        str, typer.Option(metavar="IMAGE", help="rollout: update to it; else a restart.", rich_help_panel=OWN)
    ] = ""
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

    def for_plan(self, problems: list[str]) -> dict[str, Any]:
        """The fields of hazd.plan.Options that these options set; what contradicts goes into `problems`."""
        if self.manifests is not None:
            return self._for_own(self.manifests, problems)
        from hazd.sample_app.certificate import issue_certificate

        for flag, value in (("--workload-name", self.workload_name), ("--next-image", self.next_image)):
            if value:
                problems.append(f"{flag}: {value!r} is for a workload of your own: add --workload FILE")
        return {
            "replicas": self.replicas,
            "certificate": issue_certificate() if self.tls else None,
            "verify_tls": not self.insecure,
            "app": AppSettings(
                startup_delay_s=self.startup_delay,
                latency_ms=self.latency,
                cpu_ms=self.cpu,
                max_surge=self.max_surge,
                max_unavailable=self.max_unavailable,
            ),
        }

    def _for_own(self, manifests: Path, problems: list[str]) -> dict[str, Any]:
        from hazd.manifests import load_documents
        from hazd.manifests.own import OwnWorkload

        for item in fields(self):
            value = getattr(self, item.name)
            if value != item.default and item.name not in ("manifests", "workload_name", "next_image", "replicas"):
                flag = f"--{item.name.replace('_', '-')}"
                problems.append(f"{flag}: {value!r} is for the sample app; with --workload your manifests say it")
        documents: tuple[Manifest, ...] = ()
        try:
            documents = load_documents(manifests)
        except UsageError as error:
            problems += [f"--workload: {line}" for line in error.message.splitlines()]
        return {"replicas": self.replicas, "own": OwnWorkload(documents, self.workload_name, self.next_image)}


@dataclass(frozen=True, kw_only=True)
class TrafficOptions:
    """When requests are due, on which connections they go, what they are and what is expected of them."""

    rate: Annotated[float, typer.Option(help="Requests a second, all workers.", rich_help_panel=TRAFFIC)] = 200.0
    control_rate: Annotated[
        float | None,
        typer.Option(
            help="Requests a second to a pod that nothing disturbs (default: a tenth of --rate, 5 to 100); 0: off.",
            rich_help_panel=TRAFFIC,
        ),
    ] = None
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
    observe: Annotated[
        str,
        typer.Option(
            help="Read the kernel's connection tracking on those nodes: auto (kind and lab), on, off.",
            rich_help_panel=TRAFFIC,
        ),
    ] = "auto"
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

    def for_plan(self, problems: list[str]) -> dict[str, Any]:
        """The fields of hazd.plan.Options that these options set; what cannot be read goes into `problems`."""
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
            "observe": self.observe,
            "sender": self.sender,
            "max_in_flight": self.max_in_flight,
            "warmup_s": self.warmup,
            "settle_s": self.settle,
            "request_timeout_s": self.request_timeout,
            "max_late_ms": self.max_late_ms,
        }


@dataclass(frozen=True, kw_only=True)
class RepeatOptions:
    """How often the trials run; what they count is taken together."""

    repeat: Annotated[int, typer.Option(help="Run all trials N times.", rich_help_panel=SCENARIO)] = 1
    until: Annotated[
        str | None,
        typer.Option(
            metavar="PERCENT",
            help="Repeat until at most this share of terminations loses a request (95 %), as in 5%.",
            rich_help_panel=SCENARIO,
        ),
    ] = None
    budget: Annotated[
        str,
        typer.Option(metavar="TIME", help="--until: no trial is begun that would exceed it.", rich_help_panel=SCENARIO),
    ] = "10m"

    def for_plan(self, problems: list[str]) -> dict[str, Any]:
        """The fields of hazd.plan.Options that these options set; what cannot be read goes into `problems`."""
        if self.until is None and self.budget != type(self).budget:
            problems.append(f"--budget: {self.budget!r} limits --until; add that, as in --until 5%")
        return {
            "repeat": self.repeat,
            "until": None if self.until is None else parse_share(self.until, "--until", problems),
            "budget_s": parse_duration(self.budget, "--budget", problems),
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
    parallel: Annotated[
        int | None,
        typer.Option(help="Trials under way at once, each in its own lab; default by cores.", rich_help_panel=OUTPUT),
    ] = None
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the trials' namespaces for a look.", rich_help_panel=OUTPUT)
    ] = False

    def for_plan(self, problems: list[str]) -> dict[str, Any]:
        """No field of hazd.plan.Options; a folder that cannot be goes into `problems`."""
        place = next(path for path in (self.out, *self.out.parents) if path.exists())
        if not place.is_dir():
            problems.append(f"--out: {str(self.out)!r} cannot be a folder, since {place} is a file; name another")
        elif not os.access(place, os.W_OK):
            problems.append(f"--out: {str(self.out)!r} cannot be written, {place} is read-only for you; name another")
        if self.name is not None and not re.fullmatch(r"[A-Za-z0-9][-\w.+]{0,99}", self.name, re.ASCII):
            problems.append(f"--name: {self.name!r} is not a folder's name of letters, digits, '-', '_', '.' and '+'")
        return {}


Group: TypeAlias = (
    AppOptions | ClusterOptions | FixSwitches | FixValues | OutputOptions | RepeatOptions | TrafficOptions
)


def plan_options(*groups: Group, problems: Sequence[str] = ()) -> dict[str, Any]:
    """The fields of hazd.plan.Options that these groups set; what is wrong with any comes before the `problems` given.

    Nothing is opened, created or written.
    """
    found_problems: list[str] = []
    found: dict[str, Any] = {}
    fix_settings: dict[str, Any] = {}
    for group in groups:
        more = group.for_plan(found_problems)
        fix_settings |= more.pop("fix_settings", {})
        found |= more
    if "own" in found and any(isinstance(group, ClusterOptions) and group.is_lab for group in groups):
        found_problems.append(
            "--workload: the lab runs commands, not images, so it cannot run a workload of your own; "
            "use --cluster kind (it needs Docker) or --cluster context:NAME"
        )
    return found | {"fix_settings": fix_settings, "problems": (*found_problems, *problems)}


__all__ = [
    "APP",
    "FIXES",
    "OUTPUT",
    "SCENARIO",
    "AppOptions",
    "ClusterOptions",
    "FixSwitches",
    "FixValues",
    "OutputOptions",
    "TrafficOptions",
    "plan_options",
    "with_groups",
]
