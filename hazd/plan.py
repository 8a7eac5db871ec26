"""From options and a scenario's header to the ordered trials of a run: pure, and every problem is reported at once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hazd.errors import UsageError
from hazd.fixes import Fix
from hazd.manifests import diff
from hazd.model import ClusterInfo, Manifest, Setup, Stream, TrafficPlan, Trial
from hazd.scenario import Scenario
from hazd.workload.manifests import sample_workload

CONNECTIONS = ("both", "new", "reused")
NATIVE_SLEEP_SINCE = (1, 30)
"""preStop.sleep is on by default since Kubernetes 1.30 (KEP-3960, beta)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a caller asked for. Rates per second; durations in seconds; None = the scenario's own."""

    scenario: str
    fixes: tuple[str, ...] = ()
    all_fixes: bool = False
    compare: bool = False
    each: bool = False
    rate: float = 200.0
    connection: str | None = None
    pool: int = 8
    profile: str | None = None
    sender: str = "httpx"
    workers: int = 1
    vantage: tuple[str, ...] = ("control-plane",)
    warmup_s: float = 3.0
    settle_s: float = 5.0
    timeout_s: float = 300.0
    request_timeout_s: float = 5.0
    replicas: int | None = None
    max_failed: int = 0
    workload: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict)


def check(options: Options, scenarios: Mapping[str, Scenario], fixes: Mapping[str, Fix]) -> Scenario:
    """The scenario named, once every option makes sense. Raises UsageError with all the problems, a line each."""
    problems: list[str] = []

    def wrong(name: str, value: object, want: str) -> None:
        problems.append(f"{name}: {value!r} is not {want}")

    def least(name: str, value: float | None, low: float, strict: bool = False) -> None:
        if value is not None and not (value > low if strict else value >= low):
            wrong(name, value, f"{'above' if strict else 'at least'} {low:g}")

    item = scenarios.get(options.scenario)
    if item is None:
        wrong("SCENARIO", options.scenario, f"one of {', '.join(sorted(scenarios))}")
    least("--rate", options.rate, 0, strict=True)
    if options.rate > 20_000:
        wrong("--rate", options.rate, "at most 20000 a second")
    least("--replicas", options.replicas, 1)
    least("--warmup", options.warmup_s, 0)
    least("--settle", options.settle_s, 0)
    least("--timeout", options.timeout_s, 1)
    least("--request-timeout", options.request_timeout_s, 0, strict=True)
    least("--pool", options.pool, 1)
    least("--workers", options.workers, 1)
    least("--max-failed", options.max_failed, 0)
    for name in ("startup_delay_s", "latency_ms", "cpu_ms"):
        least("--" + name.rsplit("_", 1)[0].replace("_", "-"), options.workload.get(name), 0)
    for name in ("prestop_s", "grace_s", "recycle_after", "min_ready_s"):
        flag = {"prestop_s": "--prestop-seconds", "grace_s": "--grace-seconds", "min_ready_s": "--min-ready-seconds"}
        least(flag.get(name, "--" + name.replace("_", "-")), options.settings.get(name), 0 if name == "grace_s" else 1)
    if options.connection is not None and options.connection not in CONNECTIONS:
        wrong("--connection", options.connection, "one of " + ", ".join(CONNECTIONS))
    for name in ("max_surge", "max_unavailable"):
        value = options.workload.get(name)
        if value is not None and not re.fullmatch(r"\d+%?", str(value)):
            wrong("--" + name.replace("_", "-"), value, "a number or a percentage such as 25%")
    if all(str(options.workload.get(name, "")).rstrip("%") == "0" for name in ("max_surge", "max_unavailable")):
        problems.append("--max-surge and --max-unavailable: both are 0, so nothing could ever roll; raise one of them")
    for name in options.fixes:
        if name not in fixes:
            wrong("fix", name, f"one of {', '.join(fixes)}")
    for name, value in options.given.items():
        if item is not None and name not in item.options:
            known = ", ".join("--set " + key for key in item.options) or "none"
            problems.append(f"--set {name}={value}: {item.name} has no such option; it has: {known}")
    if problems or item is None:
        raise UsageError("\n".join(problems), "`hazd run --help` and `hazd list` show what is possible")
    return item


def trial_name(scenario: str, fixes: Sequence[str]) -> str:
    """`rollout--prestop+readiness`; without fixes `rollout--baseline`."""
    return f"{scenario}--{'+'.join(fixes) or 'baseline'}"


def streams_of(options: Options, scenario: Scenario, recycle_after: int) -> tuple[Stream, ...]:
    """The streams of a trial: new and reused connections side by side, at equal rates, unless one was asked for."""
    both = {"both": ("new", "reused"), "new": ("new",), "reused": ("reused",)}
    names = both[options.connection] if options.connection else scenario.streams
    share = 1 / len(names)
    return tuple(
        Stream(name, connection=name, share=share, pool=options.pool, recycle_after=recycle_after) for name in names
    )


def fix_sets(options: Options, scenario: Scenario, fixes: Mapping[str, Fix]) -> list[tuple[str, ...]]:
    """Fix sets in the order they run, the baseline first where there is more than one.

    each: none, every named fix alone, all of them together (`hazd matrix`). compare: none, then all named.
    """
    wanted = {*options.fixes, *(scenario.fixes if options.all_fixes else ())}
    named = tuple(name for name in fixes if name in wanted)
    if options.each and named:
        alone = [(name,) for name in named] if len(named) > 1 else []
        return [(), *alone, named]
    return [(), named] if options.compare and named else [named]


def documents_of(options: Options, scenario: Scenario, image: str, *, spread: bool) -> tuple[Manifest, ...]:
    """The sample workload as the scenario wants it before any fix; spread: leave its place to the scheduler."""
    documents: tuple[Manifest, ...] = sample_workload(
        image=image,
        replicas=options.replicas or scenario.replicas,
        placement="spread" if spread else scenario.placement,
        **dict(options.workload),
    )
    if scenario.prepare is not None:
        documents = scenario.prepare(documents, dict(scenario.options) | dict(options.given) | {"rate": options.rate})
    return documents


def make_trials(
    options: Options, scenario: Scenario, fixes: Mapping[str, Fix], info: ClusterInfo, image: str
) -> tuple[Trial, ...]:
    """The trials of a run, in order. image: the sample app's first tag."""
    settings = dict(scenario.settings) | dict(options.workload) | dict(options.settings)
    settings["native_sleep"] = supports_native_sleep(info)
    settings["expects"] = list(scenario.expects)
    settings["max_failed"] = options.max_failed
    given = dict(scenario.options) | dict(options.given)
    trials = []
    for names in fix_sets(options, scenario, fixes):
        # Replicas on one node are the fault that anti-affinity cures, so it starts from the choice of the scheduler.
        documents = documents_of(options, scenario, image, spread="anti-affinity" in names)
        setup = Setup(documents)
        for name in names:
            setup = fixes[name].apply(setup, settings)
        traffic = TrafficPlan(
            url="",
            rate=options.rate,
            streams=streams_of(options, scenario, setup.recycle_after),
            timeout_s=options.request_timeout_s,
            max_duration_s=options.timeout_s + options.warmup_s + options.settle_s + 60,
            sender=options.sender,
            profile=absolute_profile(options.profile or scenario.profile, options.rate),
            shards=options.workers,
        )
        trials.append(
            Trial(
                name=trial_name(scenario.name, names),
                scenario=scenario.name,
                fixes=names,
                rate=options.rate,
                warmup_s=options.warmup_s,
                settle_s=options.settle_s,
                replicas=options.replicas or scenario.replicas,
                setup=setup,
                traffic=traffic,
                vantage=options.vantage,
                workers=options.workers,
                timeout_s=options.timeout_s,
                options=given,
                settings=settings | {"patch": diff(documents, setup.documents)},
            )
        )
    return tuple(trials)


def absolute_profile(profile: str, rate: float) -> str:
    """Percentages in a profile ("steps:20%@5,100%@60") as rates per second, so that --rate scales the whole of it."""
    return re.sub(r"([\d.]+)%", lambda found: f"{float(found[1]) * rate / 100:g}", profile)


def supports_native_sleep(info: ClusterInfo) -> bool:
    """Whether the server takes preStop.sleep; the lab does."""
    if info.kind == "lab":
        return True
    found = re.match(r"v?(\d+)\.(\d+)", info.version)
    return found is not None and (int(found[1]), int(found[2])) >= NATIVE_SLEEP_SINCE


__all__ = [
    "Options",
    "absolute_profile",
    "check",
    "fix_sets",
    "make_trials",
    "streams_of",
    "supports_native_sleep",
    "trial_name",
]
