"""From options and a scenario's header to the ordered trials of a run: pure. hazd/plan/check.py checks the options."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from hazd.errors import EnvironmentProblem
from hazd.fixes import Fix, FixSettings
from hazd.manifests import choose_workload, diff
from hazd.manifests.own import OwnWorkload
from hazd.model import Applied, AppSettings, ClusterInfo, Criteria, Manifest, Setup, Stream, TrafficPlan, Trial
from hazd.sample_app.certificate import SERVER_NAME, Certificate
from hazd.sample_app.manifests import sample_workload
from hazd.scenario import Scenario
from hazd.traffic.beside import with_control

OBSERVED = ("kind", "lab")
"""Clusters of hazd's own, on whose nodes `--observe auto` reads connection tracking; elsewhere it is asked for."""
NATIVE_SLEEP_SINCE = (1, 30)
"""preStop.sleep is on by default since Kubernetes 1.30 (KEP-3960, beta)."""


LEAST_CONTROL_RATE, MAX_CONTROL_RATE = 5.0, 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a caller asked for. Rates per second; durations in seconds; None = the scenario's own.

    app: the sample app; certificate: it serves TLS with it. own: the user's own workload in the sample app's place.
    recycle_connections_after (requests) and recycle_connections_s: the client closes a kept connection then, 0: never.
    control_rate: None = a tenth of `rate`, so that it sees the bursts in which the service's requests fail.
    max_late_ms: None = that of Criteria. fix_settings: fields of FixSettings, only those that were given. given: the
    scenario's own options; asked_by: the command-line options behind some of them. problems: what was wrong already
    where the options came from, such as a file that cannot be read; it is reported with the rest. repeat: rounds of the
    trials; until: rounds of those that decide until at most this share (0..1) of the terminations loses a request, or
    budget_s is spent.
    """

    scenario: str
    fixes: tuple[str, ...] = ()
    all_fixes: bool = False
    compare: bool = False
    each: bool = False
    rate: float = 200.0
    control_rate: float | None = None
    connection: str | None = None
    pool: int = 8
    recycle_connections_after: int = 0
    recycle_connections_s: float = 0.0
    profile: str | None = None
    seed: int = 1
    path: str = "/"
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""
    expect: tuple[int, ...] = (200,)
    http2: bool = False
    certificate: Certificate | None = None
    verify_tls: bool = True
    max_in_flight: int = 2000
    max_late_ms: float | None = None
    sender: str = "httpx"
    workers: int = 1
    vantage: tuple[str, ...] = ("control-plane",)
    observe: str = "auto"
    warmup_s: float = 3.0
    settle_s: float = 5.0
    timeout_s: float = 300.0
    request_timeout_s: float = 5.0
    replicas: int | None = None
    max_failed: int = 0
    repeat: int = 1
    until: float | None = None
    budget_s: float = 600.0
    app: AppSettings = field(default_factory=AppSettings)
    own: OwnWorkload | None = None
    fix_settings: Mapping[str, Any] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict)
    asked_by: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def control(self) -> float:
        """Requests/s to the control target; 0: there is none."""
        if self.control_rate is not None:
            return self.control_rate
        return min(max(self.rate / 10, LEAST_CONTROL_RATE), MAX_CONTROL_RATE)

    @property
    def workload_name(self) -> str:
        """Of the workload under test among the documents; "" for the only one that a Service selects."""
        return self.own.name if self.own else ""


def trial_name(scenario: str, fixes: Sequence[str]) -> str:
    """`rollout--prestop+readiness`; without fixes `rollout--baseline`."""
    return f"{scenario}--{'+'.join(fixes) or 'baseline'}"


def streams_of(options: Options, scenario: Scenario) -> tuple[Stream, ...]:
    """The streams of a trial: new and reused connections side by side, at equal rates, unless one was asked for."""
    both = {"both": ("new", "reused"), "new": ("new",), "reused": ("reused",)}
    names = both[options.connection] if options.connection else scenario.streams
    share = 1 / len(names)
    return tuple(
        Stream(
            name,
            connection=name,
            share=share,
            pool=options.pool,
            recycle_after=options.recycle_connections_after,
            recycle_s=options.recycle_connections_s,
        )
        for name in names
    )


def traffic_plan(options: Options, profile: str, streams: tuple[Stream, ...]) -> TrafficPlan:
    """What the workers get, but for the address in its URL: nobody knows that before the Service is there."""
    certificate = options.certificate
    return TrafficPlan(
        url=f"{'https' if certificate else 'http'}://{SERVER_NAME}{options.path}",
        rate=options.rate,
        streams=streams,
        method=options.method,
        headers=options.headers,
        body=options.body,
        expect=options.expect,
        timeout_s=options.request_timeout_s,
        max_in_flight=options.max_in_flight,
        max_duration_s=options.timeout_s + options.warmup_s + options.settle_s + 60,
        sender=options.sender,
        profile=profile,
        shards=options.workers,
        seed=options.seed,
        verify_tls=options.verify_tls,
        ca_pem=certificate.ca_pem if certificate else "",
        sni=certificate.server_name if certificate else "",
        http2=options.http2,
    )


def fix_sets(options: Options, scenario: Scenario, fixes: Mapping[str, Fix]) -> list[tuple[str, ...]]:
    """Fix sets in the order they run, the baseline first where there is more than one.

    each: none, every named fix alone, all of them together (`hazd matrix`). compare: none, then all named. Of all fixes
    those that cannot act on the user's own workload are skipped.
    """
    named = fixes_of(options, scenario, fixes)
    if options.each and named:
        alone = [(name,) for name in named] if len(named) > 1 else []
        return [(), *alone, named]
    return [(), named] if options.compare and named else [named]


def fixes_of(options: Options, scenario: Scenario, fixes: Mapping[str, Fix]) -> tuple[str, ...]:
    """The fixes that are on in the last trial, by name or by --with-all, in the order they are applied."""
    cannot = skipped_fixes(options, scenario, fixes)
    wanted = {*options.fixes, *(name for name in scenario.fixes if options.all_fixes and name not in cannot)}
    return tuple(name for name in fixes if name in wanted)


def skipped_fixes(options: Options, scenario: Scenario, fixes: Mapping[str, Fix]) -> dict[str, str]:
    """The fixes asked for, by name or by --with-all, that cannot act on the user's own workload, and why not."""
    if options.own is None:
        return {}
    setup, settings = Setup(options.own.documents, workload=options.workload_name), settings_of(options, scenario)
    asked = {*options.fixes, *(scenario.fixes if options.all_fixes else ())}
    reasons = {name: fix.why_not(setup, settings) for name, fix in fixes.items() if name in asked}
    return {name: reason for name, reason in reasons.items() if reason}


def settings_of(options: Options, scenario: Scenario) -> FixSettings:
    """What the fixes read: the caller's word, else the scenario's, else the default. Raises UsageError."""
    return replace(scenario.fix_settings, **options.fix_settings)


def documents_of(options: Options, scenario: Scenario, image: str, *, spread: bool) -> tuple[Manifest, ...]:
    """The workload as the scenario wants it before any fix; spread: leave the sample's place to the scheduler."""
    documents: tuple[Manifest, ...]
    if options.own is not None:
        documents = options.own.deployed(options.replicas)
    else:
        documents = sample_workload(
            image=image,
            replicas=options.replicas or scenario.replicas,
            placement="spread" if spread else scenario.placement,
            certificate=options.certificate,
            http2=options.http2,
            **asdict(options.app),
        )
    if scenario.prepare is not None:
        more = {"rate": options.rate, "workload": options.workload_name}
        documents = scenario.prepare(documents, dict(scenario.options) | dict(options.given) | more)
    return documents


def make_trials(
    options: Options, scenario: Scenario, fixes: Mapping[str, Fix], info: ClusterInfo, image: str
) -> tuple[Trial, ...]:
    """The trials of a run, in order. image: the sample app's first tag.

    Raises EnvironmentProblem when the user's own workload cannot run on this cluster.
    """
    if options.own is not None and info.kind == "lab":
        raise EnvironmentProblem(
            "--workload: the lab runs commands, not images, so it cannot run a workload of your own",
            "--cluster kind (it needs Docker) or --cluster context:NAME",
        )
    settings = settings_of(options, scenario)
    criteria = Criteria(max_failed=options.max_failed, even_shares=scenario.even_shares)
    if options.max_late_ms is not None:
        criteria = replace(criteria, max_late_ms=options.max_late_ms)
    given = dict(scenario.options) | dict(options.given)
    trials = []
    for names in fix_sets(options, scenario, fixes):
        # Replicas on one node are the fault that anti-affinity cures, so it starts from the choice of the scheduler.
        documents = documents_of(options, scenario, image, spread="anti-affinity" in names)
        setup = Setup(documents, workload=options.workload_name, native_sleep=supports_native_sleep(info))
        replicas = choose_workload(documents, setup.workload)["spec"]["replicas"]
        applied: dict[str, Applied] = {}
        for name in names:
            setup, applied[name] = fixes[name].apply(setup, settings)
        streams = streams_of(options, scenario)
        trials.append(
            Trial(
                name=trial_name(scenario.name, names),
                scenario=scenario.name,
                fixes=names,
                rate=options.rate,
                warmup_s=options.warmup_s,
                settle_s=options.settle_s,
                replicas=replicas,
                setup=setup,
                traffic=with_control(
                    traffic_plan(options, options.profile or scenario.profile, streams), options.control
                ),
                vantage=options.vantage,
                observe=options.observe == "on" or (options.observe == "auto" and info.kind in OBSERVED),
                workers=options.workers,
                timeout_s=options.timeout_s,
                options=given,
                app=None if options.own else options.app,
                next_image=options.own.next_image if options.own else None,
                criteria=replace(criteria, expects=scenario.expected(given, replicas)),
                fix_settings=settings.asked({field for name in names for field in fixes[name].inputs}),
                applied=applied,
                patch=diff(documents, setup.documents),
            )
        )
    return tuple(trial for number in range(1, options.repeat + 1) for trial in in_round(trials, number))


def in_round(trials: Sequence[Trial], number: int) -> tuple[Trial, ...]:
    """The trials of a first round as those of another: `rollout--prestop#2`."""
    return tuple(trial if number == 1 else replace(trial, name=f"{trial.name}#{number}") for trial in trials)


def supports_native_sleep(info: ClusterInfo) -> bool:
    """Whether the server takes preStop.sleep; the lab does."""
    if info.kind == "lab":
        return True
    found = re.match(r"v?(\d+)\.(\d+)", info.version)
    return found is not None and (int(found[1]), int(found[2])) >= NATIVE_SLEEP_SINCE


__all__ = [
    "Options",
    "fix_sets",
    "fixes_of",
    "in_round",
    "make_trials",
    "settings_of",
    "skipped_fixes",
    "streams_of",
    "supports_native_sleep",
    "traffic_plan",
    "trial_name",
]
