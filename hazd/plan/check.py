"""Whether a caller's options make sense: pure, and every problem is told at once, with its option, value and remedy."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace

from hazd.errors import UsageError
from hazd.fixes import Fix
from hazd.model import Stream
from hazd.plan.trials import Options, left_out, traffic_plan
from hazd.sample_app.service import PATHS_OF_ITS_OWN
from hazd.scenario import Scenario
from hazd.traffic.job import MAX_WORKERS
from hazd.traffic.pacer import Profile
from hazd.traffic.plan_json import find_problems

CONNECTIONS = ("both", "new", "reused")
MAX_RATE = 20_000
MAX_CONTROL_RATE = 100
OWN_HEADERS = ("content-length", "transfer-encoding", "connection", "x-hazd-preflight")
"""Headers by which the senders frame, keep and count their requests: given by hand they would break just that."""
FLAGS = {
    "profile": "--profile",
    "timeout_s": "--request-timeout",
    "max_in_flight": "--max-in-flight",
    "sender": "--sender",
    "http2": "--http2",
    "expect": "--expect",
    "method": "--method",
    "headers": "--header",
    "body": "--body",
    "pool": "--pool",
    "recycle_after": "--recycle-connections-after",
    "recycle_s": "--recycle-connections-seconds",
}
"""The options behind the fields of a traffic plan, for its own rules (hazd/traffic/plan_json.py)."""


def check(options: Options, scenarios: Mapping[str, Scenario], fixes: Mapping[str, Fix]) -> Scenario:
    """The scenario named, once every option makes sense. Raises UsageError with all the problems, a line each."""
    problems = list(options.problems)

    def wrong(name: str, value: object, want: str) -> None:
        problems.append(f"{name}: {value!r} is not {want}")

    def least(name: str, value: float | None, low: float, strict: bool = False) -> None:
        if value is not None and not (math.isfinite(value) and (value > low if strict else value >= low)):
            wrong(name, value, f"a number {'above' if strict else 'of at least'} {low:g}")

    item = scenarios.get(options.scenario)
    if item is None:
        wrong("SCENARIO", options.scenario, f"one of {', '.join(sorted(scenarios))}")
    least("--rate", options.rate, 0, strict=True)
    if options.rate > MAX_RATE:
        wrong("--rate", options.rate, f"at most {MAX_RATE} a second")
    if not 0 <= options.control_rate <= MAX_CONTROL_RATE:
        wrong("--control-rate", options.control_rate, f"a number from 0 (off) to {MAX_CONTROL_RATE}")
    least("--replicas", options.replicas, 1)
    least("--warmup", options.warmup_s, 0)
    least("--settle", options.settle_s, 0)
    least("--timeout", options.timeout_s, 1)
    least("--workers", options.workers, 1)
    if options.workers > MAX_WORKERS:
        wrong("--workers", options.workers, f"at most {MAX_WORKERS}")
    least("--max-failed", options.max_failed, 0)
    least("--max-late-ms", options.max_late_ms, 0, strict=True)
    for name in ("startup_delay_s", "latency_ms", "cpu_ms"):
        least("--" + name.rsplit("_", 1)[0].replace("_", "-"), options.workload.get(name), 0)
    for name in ("prestop_s", "grace_s", "recycle_after", "min_ready_s"):
        flag = {"prestop_s": "--prestop-seconds", "grace_s": "--grace-seconds", "min_ready_s": "--min-ready-seconds"}
        least(flag.get(name, "--" + name.replace("_", "-")), options.settings.get(name), 0 if name == "grace_s" else 1)
    if options.connection is not None and options.connection not in CONNECTIONS:
        wrong("--connection", options.connection, "one of " + ", ".join(CONNECTIONS))
    if options.own is not None and item is not None:
        problems += _own_problems(options, item, fixes)
    problems += _request_problems(options)
    problems += _traffic_problems(options, item)
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
        elif item is not None and (want := item.wants(name, value)):
            wrong(f"--set {name}", value, want)
    if problems or item is None:
        raise UsageError("\n".join(problems), "`hazd run --help` and `hazd list` show what is possible")
    return item


def _own_problems(options: Options, scenario: Scenario, fixes: Mapping[str, Fix]) -> list[str]:
    """What cannot be done with the user's own workload."""
    assert options.own is not None
    found = list(options.own.problems())
    if scenario.sample_only:
        found.append(f"--workload: {scenario.name} needs hazd's own sample app: {scenario.sample_only}")
    if not found:
        cannot = left_out(options, scenario, fixes)
        found += [f"--with-{name}: {cannot[name]}" for name in options.fixes if name in cannot]
    return found


def _request_problems(options: Options) -> list[str]:
    """What a traffic plan may hold but a run cannot mean."""
    found = []
    if not re.fullmatch(r"/[^\s#]*", options.path) or not options.path.isprintable():
        found.append(f"--path: {options.path!r} is not a path that begins with / and holds no blank and no #")
    elif options.own is None and options.path.partition("?")[0] in PATHS_OF_ITS_OWN:
        found.append(f"--path: {options.path!r} is not counted by the sample app; any other path is")
    in_range = all(200 <= status <= 599 for status in options.expect)
    if options.own is None and options.expect and in_range and 200 not in options.expect:
        found.append(f"--expect: {options.expect} lacks 200, and that is what the sample app answers")
    own = [name for name, _ in options.headers if name.lower() in OWN_HEADERS]
    found += [f"--header: {name!r} is set by the sender itself, as each request needs it; leave it out" for name in own]
    if not options.verify_tls and options.certificate is None:
        found.append("--insecure: there is no certificate to verify without --tls")
    if options.connection == "new":
        for name in ("recycle_connections_after", "recycle_connections_s"):
            if getattr(options, name):
                flag = FLAGS[name.replace("connections_", "")]
                found.append(f"{flag}: {getattr(options, name)} needs kept connections: --connection reused or both")
    return found


def _traffic_problems(options: Options, scenario: Scenario | None) -> list[str]:
    """What the traffic plan's own rules say, by the names of the options."""
    rate = options.rate if 0 < options.rate < math.inf else 1.0
    given = options.profile or (scenario.profile if scenario else "constant")
    stream = Stream(
        "reused",
        "reused",
        pool=options.pool,
        recycle_after=options.recycle_connections_after,
        recycle_s=options.recycle_connections_s,
    )
    plan = traffic_plan(replace(options, rate=rate, path="/"), given, (stream,))
    found = [(FLAGS[field], text) for _, field, text in find_problems(plan) if field in FLAGS]
    if not any(flag == "--profile" for flag, _ in found) and Profile.of(plan).peak > MAX_RATE:
        found.append(("--profile", f"{given!r} goes above {MAX_RATE} requests a second"))
    return [f"{flag}: {text}" for flag, text in found]


__all__ = ["check"]
