"""Whether a caller's options make sense: pure, and every problem is reported at once, with option, value and remedy."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from hazd.errors import UsageError
from hazd.fixes import Fix, flags, setting_problems
from hazd.model import Stream
from hazd.plan.trials import MAX_CONTROL_RATE, Options, fixes_of, skipped_fixes, traffic_plan
from hazd.sample_app.service import PATHS_OF_ITS_OWN
from hazd.scenario import Scenario
from hazd.traffic.job import MAX_WORKERS
from hazd.traffic.pacer import Profile
from hazd.traffic.plan_json import find_problems

CONNECTIONS = ("both", "new", "reused")
OBSERVE = ("auto", "on", "off")
VANTAGES = ("control-plane", "workers", "spread")
MAX_RATE = 20_000
OWN_HEADERS = ("content-length", "transfer-encoding", "connection", "x-hazd-preflight")
"""Headers by which the senders frame, keep and count their requests: set by hand they would break just that."""
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


def check_all(
    wanted: Sequence[Options],
    scenarios: Mapping[str, Scenario],
    fixes: Mapping[str, Fix],
    problems: Sequence[str] = (),
) -> list[Scenario]:
    """The scenarios of a run, once every option makes sense.

    Raises UsageError with all the problems, a line each, after those that the caller has found already.
    """
    found = [*problems, *(problem for options in wanted for problem in _problems(options, scenarios, fixes))]
    if all(options.scenario in scenarios for options in wanted):
        found += _unused_settings(wanted, scenarios, fixes)
    if found:
        raise UsageError("\n".join(dict.fromkeys(found)), "`hazd run --help` and `hazd list` show what is possible")
    return [scenarios[options.scenario] for options in wanted]


def check(options: Options, scenarios: Mapping[str, Scenario], fixes: Mapping[str, Fix]) -> Scenario:
    """`check_all` of a run of one scenario."""
    return check_all([options], scenarios, fixes)[0]


def _problems(options: Options, scenarios: Mapping[str, Scenario], fixes: Mapping[str, Fix]) -> Iterator[str]:
    item = scenarios.get(options.scenario)
    yield from options.problems
    if item is None:
        yield _wrong("SCENARIO", options.scenario, f"one of {', '.join(sorted(scenarios))}")
    yield from _number_problems(options)
    for name in options.fixes:
        if name not in fixes:
            yield _wrong("fix", name, f"one of {', '.join(fixes)}")
    yield from _setting_problems(options, fixes)
    if options.compare and not (options.fixes or options.all_fixes):
        yield "--compare: no fix is on to compare with; add --with-all, or some of the others of --with-..."
    if options.own is not None and options.own.documents and item is not None:
        yield from _own_problems(options, item, fixes)
    yield from _app_problems(options)
    yield from _request_problems(options)
    yield from _traffic_problems(options, item)
    if item is not None:
        yield from _scenario_problems(options, item)


def _wrong(name: str, value: object, want: str) -> str:
    return f"{name}: {value!r} is not {want}"


def _number_problems(options: Options) -> Iterator[str]:
    """Numbers out of their range, and words that are none of those known."""
    ranges: tuple[tuple[str, float | None, float, bool], ...] = (
        ("--rate", options.rate, 0, True),
        ("--replicas", options.replicas, 1, False),
        ("--warmup", options.warmup_s, 0, False),
        ("--settle", options.settle_s, 0, False),
        ("--timeout", options.timeout_s, 1, False),
        ("--workers", options.workers, 1, False),
        ("--max-failed", options.max_failed, 0, False),
        ("--repeat", options.repeat, 1, False),
        ("--budget", options.budget_s, 0, True),
        ("--max-late-ms", options.max_late_ms, 0, True),
        ("--startup-delay", options.app.startup_delay_s, 0, False),
        ("--latency", options.app.latency_ms, 0, False),
        ("--cpu", options.app.cpu_ms, 0, False),
    )
    for flag, value, low, above in ranges:
        if value is not None and not (math.isfinite(value) and (value > low if above else value >= low)):
            yield _wrong(flag, value, f"a number {'above' if above else 'of at least'} {low:g}")
    if options.until is not None and not 0 < options.until < 1:
        yield _wrong("--until", f"{options.until:.4g}", "a share above 0 % and below 100 %, as in 5%")
    if options.until is not None and options.repeat > 1:
        yield f"--until and --repeat {options.repeat}: the one says when to stop, the other how often; choose one"
    if options.rate > MAX_RATE:
        yield _wrong("--rate", options.rate, f"at most {MAX_RATE} a second")
    if options.workers > MAX_WORKERS:
        yield _wrong("--workers", options.workers, f"at most {MAX_WORKERS}")
    if not 0 <= options.control <= MAX_CONTROL_RATE:
        yield _wrong("--control-rate", options.control_rate, f"a number from 0 (off) to {MAX_CONTROL_RATE:g}")
    if options.observe not in OBSERVE:
        yield _wrong("--observe", options.observe, "one of " + ", ".join(OBSERVE))
    if options.connection is not None and options.connection not in CONNECTIONS:
        yield _wrong("--connection", options.connection, "one of " + ", ".join(CONNECTIONS))
    for word in options.vantage:
        if word not in VANTAGES and not re.fullmatch(r"node:[a-z0-9]([-.a-z0-9]*[a-z0-9])?", word):
            yield _wrong("--vantage", word, f"one of {', '.join(VANTAGES)}, or node:NAME with the name of a node")


def _setting_problems(options: Options, fixes: Mapping[str, Fix]) -> Iterator[str]:
    """Values that no fix can have, by the names of the options."""
    names = flags(fixes)
    for field, value, want in setting_problems(options.fix_settings):
        yield _wrong(names.get(field, field), value, want)


def _unused_settings(
    wanted: Sequence[Options], scenarios: Mapping[str, Scenario], fixes: Mapping[str, Fix]
) -> Iterator[str]:
    """Options of fixes that are on in no trial: they would do nothing, and the user believes they did."""
    on = {name for options in wanted for name in fixes_of(options, scenarios[options.scenario], fixes)}
    skipped = {
        name: reason
        for options in wanted
        for name, reason in skipped_fixes(options, scenarios[options.scenario], fixes).items()
    }
    given = dict.fromkeys(name for options in wanted for name in options.fix_settings)
    for field in given:
        owners = [fix for fix in fixes.values() if field in fix.inputs]
        if not owners or any(fix.name in on for fix in owners):
            continue
        owner = owners[0]
        reason = f"{owner.name} is off; add {owner.switch}"
        if owner.name in skipped:
            reason = f"{owner.name} cannot act here: {skipped[owner.name]}"
        elif wanted[0].all_fixes:
            names = ", ".join(dict.fromkeys(options.scenario for options in wanted))
            reason = f"{owner.name} is not among the fixes of {names} (see `hazd list`), so it is off"
        yield f"{owner.inputs[field] or field}: {reason}"


def _own_problems(options: Options, scenario: Scenario, fixes: Mapping[str, Fix]) -> Iterator[str]:
    """What cannot be done with the user's own workload."""
    assert options.own is not None
    found = list(options.own.problems())
    if scenario.sample_only:
        found.append(f"--workload: {scenario.name} needs hazd's own sample app: {scenario.sample_only}")
    yield from found
    if not found and not setting_problems(options.fix_settings):
        cannot = skipped_fixes(options, scenario, fixes)
        yield from (f"{fixes[name].switch}: {cannot[name]}" for name in options.fixes if name in cannot)


def _app_problems(options: Options) -> Iterator[str]:
    """How the sample app is rolled, as the API validates a Deployment's strategy."""
    limits = {"--max-surge": options.app.max_surge, "--max-unavailable": options.app.max_unavailable}
    for flag, value in limits.items():
        if not re.fullmatch(r"\d+%?", value):
            yield _wrong(flag, value, "a number or a percentage such as 25%")
    most = limits["--max-unavailable"]
    if re.fullmatch(r"\d+%", most) and int(most[:-1]) > 100:
        yield _wrong("--max-unavailable", most, "at most 100%")
    if all(value.rstrip("%") == "0" for value in limits.values()):
        yield "--max-surge and --max-unavailable: both are 0, so nothing could ever roll; raise one of them"


def _scenario_problems(options: Options, scenario: Scenario) -> Iterator[str]:
    """The scenario's own options."""
    known = ", ".join("--set " + key for key in scenario.options) or "none"
    for name, value in options.given.items():
        flag = options.asked_by.get(name, "")
        if name not in scenario.options:
            what = flag or f"--set {name}={value}"
            yield f"{what}: {scenario.name} has no such option; it has: {known}"
        elif want := scenario.why_not(name, value):
            yield _wrong(flag or f"--set {name}", value, want)


def _request_problems(options: Options) -> list[str]:
    """What a traffic plan may hold but a run cannot mean."""
    found = []
    if not re.fullmatch(r"/[^\s#]*", options.path) or not options.path.isprintable():
        found.append(f"--path: {options.path!r} is not a path that begins with / and holds no blank and no #")
    elif options.own is None and options.path.partition("?")[0] in PATHS_OF_ITS_OWN:
        found.append(f"--path: {options.path!r} is not counted by the sample app; any other path is")
    in_range = all(200 <= status <= 599 for status in options.expect)
    if options.own is None and options.expect and in_range and 200 not in options.expect:
        found.append(f"--expect: {options.expect} lacks 200, which is what the sample app responds with")
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
    if options.seed != 1 and given != "poisson":
        found.append(("--seed", f"{options.seed} draws the gaps of --profile poisson; add that, or omit --seed"))
    return [f"{flag}: {text}" for flag, text in found]


__all__ = ["check", "check_all"]
