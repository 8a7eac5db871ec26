"""Planning is pure: bad options are all named at once, good ones become trials in a fixed order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazd.errors import UsageError
from hazd.fixes import load
from hazd.model import AppSettings, ClusterInfo, Criteria
from hazd.plan import Options, make_trials, streams_of, supports_native_sleep, trial_name
from hazd.plan.check import check, check_all
from hazd.sample_app.certificate import SERVER_NAME, Certificate
from hazd.scenario import load_scenarios
from hazd.traffic.plan_json import plan_problems

SCENARIOS, FIXES = load_scenarios(), load()
KIND = ClusterInfo("kind", "hazd", "v1.34.4", 3, "iptables")


def trials(**options: Any) -> Any:
    wanted = Options(scenario=options.pop("scenario", "rollout"), **options)
    return make_trials(wanted, check(wanted, SCENARIOS, FIXES), FIXES, KIND, "image:a")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rate": -1}, ["--rate", "-1", "above 0"]),
        ({"control_rate": -5}, ["--control-rate", "-5", "from 0 (off) to 100"]),
        ({"control_rate": float("nan")}, ["--control-rate", "nan"]),
        ({"replicas": 0}, ["--replicas", "0", "at least 1"]),
        ({"connection": "sticky"}, ["--connection", "'sticky'", "both, new, reused"]),
        ({"app": AppSettings(max_surge="a lot", max_unavailable="1")}, ["--max-surge", "'a lot'", "25%"]),
        ({"app": AppSettings(max_surge="0", max_unavailable="0%")}, ["--max-surge and --max-unavailable"]),
        ({"given": {"to": 3}}, ["--set to=3", "rollout has no such option"]),
        ({"app": AppSettings(max_unavailable="101%")}, ["--max-unavailable", "'101%'", "at most 100%"]),
        ({"app": AppSettings(startup_delay_s=-2)}, ["--startup-delay", "-2"]),
        ({"fix_settings": {"prestop_s": 0}}, ["--prestop-seconds", "0"]),
        ({"fix_settings": {"prestop_s": 2}}, ["--prestop-seconds: prestop is off; add --with-prestop"]),
        ({"fix_settings": {"shutdown_s": 2}}, ["shutdown_s: prestop is off"]),
        ({"fix_settings": {"prestop": 2}}, ["prestop: 2 is not a setting of any fix"]),
        ({"fix_settings": {"pdb_max_unavailable": 1}, "all_fixes": True}, ["--pdb-max-unavailable: pdb", "rollout"]),
        ({"vantage": ("worker",)}, ["--vantage", "'worker'", "control-plane, workers, spread, or node:NAME"]),
        ({"compare": True}, ["--compare", "no fix is on"]),
        ({"seed": 3}, ["--seed", "3", "poisson"]),
        ({"vantage": ("node:",)}, ["--vantage", "'node:'"]),
        ({"given": {"force": True}, "asked_by": {"force": "--force"}}, ["--force: rollout has no such option"]),
        ({"warmup_s": float("inf")}, ["--warmup", "inf", "at least 0"]),
        ({"repeat": 0}, ["--repeat", "0", "at least 1"]),
        ({"until": 1.0}, ["--until", "below 100 %"]),
        ({"until": 0.05, "repeat": 2}, ["--until and --repeat 2", "choose one"]),
        ({"budget_s": 0.0}, ["--budget", "above 0"]),
        ({"workers": 257}, ["--workers", "257", "at most 256"]),
        ({"path": "orders"}, ["--path", "'orders'", "begins with /"]),
        ({"path": "/a b"}, ["--path", "'/a b'", "no blank"]),
        ({"path": "/a#b"}, ["--path", "'/a#b'", "no #"]),
        ({"path": "/stats?a"}, ["--path", "'/stats?a'", "not counted"]),
        ({"method": "GET /"}, ["--method", "'GET /'", "an HTTP method"]),
        ({"method": "CONNECT"}, ["--method", "'CONNECT'"]),
        ({"headers": (("a b", "1"),)}, ["--header", "'a b'", "an HTTP header"]),
        ({"headers": (("Content-Length", "7"),)}, ["--header", "'Content-Length'", "leave it out"]),
        ({"headers": (("a", "1\r\nb: 2"),)}, ["--header", "'a'", "an HTTP header"]),
        ({"path": "/caf\udce9"}, ["--path", "/caf"]),
        ({"body": "a" * 600_000}, ["--body", "600000 bytes", "524288"]),
        ({"expect": (20,)}, ["--expect", "(20,)", "200 to 599"]),
        ({"expect": (204,)}, ["--expect", "(204,)", "lacks 200"]),
        ({"http2": True, "sender": "fast"}, ["--http2", "only the httpx sender"]),
        ({"sender": "curl"}, ["--sender", "'curl'", "httpx, fast, auto"]),
        ({"observe": "maybe"}, ["--observe", "'maybe'", "auto, on, off"]),
        ({"pool": 0}, ["--pool", "0", "between 1 and"]),
        ({"request_timeout_s": 0.0}, ["--request-timeout", "0.0", "above 0"]),
        ({"max_in_flight": 0}, ["--max-in-flight", "0", "below 1"]),
        ({"max_late_ms": 0.0}, ["--max-late-ms", "0.0", "above 0"]),
        ({"recycle_connections_after": -1}, ["--recycle-connections-after", "-1", "below 0"]),
        ({"recycle_connections_s": float("nan")}, ["--recycle-connections-seconds", "nan", "from 0"]),
        ({"recycle_connections_after": 5, "connection": "new"}, ["--recycle-connections-after", "5", "reused"]),
        ({"recycle_connections_s": 5.0, "connection": "new"}, ["--recycle-connections-seconds", "5.0", "reused"]),
        ({"verify_tls": False}, ["--insecure", "without --tls"]),
        ({"profile": "bumpy"}, ["--profile", "'bumpy'", "steps:RATE@SECONDS"]),
        ({"profile": "steps:50%@0"}, ["--profile", "'steps:50%@0'", "a piece of 0 seconds"]),
        ({"profile": "steps:1.2.3%@5"}, ["--profile", "'steps:1.2.3%@5'"]),
        ({"profile": "steps:90000@5,1@1"}, ["--profile", "'steps:90000@5,1@1'", "above 20000"]),
        ({"profile": "ramp:1:2"}, ["--profile", "'ramp:1:2'"]),
    ],
)
def test_bad_input_names_field_value_and_what_would_be_right(options: dict[str, Any], words: list[str]) -> None:
    """One line a problem, with all three."""
    with pytest.raises(UsageError) as caught:
        check(Options(scenario="rollout", **options), SCENARIOS, FIXES)
    for word in words:
        assert word in caught.value.message


def test_all_problems_are_reported_at_once() -> None:
    """Nobody should have to run three times to hear three problems; the unknown scenario is one of them."""
    with pytest.raises(UsageError) as caught:
        check(Options(scenario="roll", rate=0, pool=0), SCENARIOS, FIXES)
    assert len(caught.value.message.splitlines()) == 3
    assert "rollout" in caught.value.message


def test_no_problem_hides_another() -> None:
    """Those of the command line, of the run and of the traffic plan come together, each once."""
    wanted = Options(
        scenario="rollout",
        problems=("--body: '@gone' is not @FILE",),
        path="x",
        method="",
        profile="bumpy",
        headers=(("a b", ""), ("Connection", "close")),
        expect=(),
        max_in_flight=0,
        pool=0,
        rate=-1,
        timeout_s=0,
    )
    with pytest.raises(UsageError) as caught:
        check(wanted, SCENARIOS, FIXES)
    told = [line.partition(":")[0] for line in caught.value.message.splitlines()]
    flags = "body expect header header max-in-flight method path pool profile rate timeout"
    assert sorted(told) == [f"--{name}" for name in flags.split()]


def test_the_request_reaches_the_traffic_plan() -> None:
    """Every option of the request and of the client is in the plan that the workers get, which finds nothing wrong."""
    certificate = Certificate("chain", "key", "authority", "name.test")
    (trial,) = trials(
        path="/orders?a=1",
        method="POST",
        headers=(("Accept", "text/html"),),
        body="é",
        expect=(200, 204),
        profile="poisson",
        seed=7,
        max_in_flight=10,
        max_late_ms=50.0,
        connection="reused",
        recycle_connections_after=20,
        recycle_connections_s=1.5,
        certificate=certificate,
        verify_tls=False,
        http2=True,
    )
    plan = trial.traffic
    assert plan.url == f"https://{SERVER_NAME}/orders?a=1"
    assert (plan.method, plan.headers, plan.body, plan.expect) == ("POST", (("Accept", "text/html"),), "é", (200, 204))
    assert (plan.profile, plan.seed, plan.max_in_flight, plan.http2) == ("poisson", 7, 10, True)
    assert (plan.ca_pem, plan.sni, plan.verify_tls) == ("authority", "name.test", False)
    kept = [item for item in plan.streams if item.name == "reused"]
    assert [(item.recycle_after, item.recycle_s) for item in kept] == [(20, 1.5)]
    assert trial.criteria.max_late_ms == 50.0
    assert plan_problems(plan) == []
    assert "'key'" not in repr(trial.app)


def test_without_tls_nothing_of_it_is_planned() -> None:
    """No Secret, no name, no authority; verification stays on, and the verdict keeps its own limit."""
    (trial,) = trials()
    assert {doc["kind"] for doc in trial.setup.documents} == {"Deployment", "Service"}
    assert (trial.traffic.url, trial.traffic.sni, trial.traffic.ca_pem) == (f"http://{SERVER_NAME}/", "", "")
    assert trial.traffic.verify_tls
    assert trial.criteria.max_late_ms == Criteria().max_late_ms == 20


def test_the_client_recycles_where_it_is_asked_to() -> None:
    """The option's limit is that of every kept connection."""
    for option in (0, 20):
        streams = streams_of(Options(scenario="rollout", recycle_connections_after=option), SCENARIOS["rollout"])
        assert {stream.recycle_after for stream in streams if stream.connection == "reused"} == {option}


def test_the_callers_word_comes_before_the_scenarios_and_that_before_the_default() -> None:
    """Recycling after 20 requests is what keepalive-scale-out asks for; a trial keeps what its own fixes read."""
    for asked, after in (({}, 20), ({"recycle_after": 50}, 50)):
        (trial,) = trials(scenario="keepalive-scale-out", fixes=("recycle",), fix_settings=asked)
        assert trial.fix_settings == {"recycle_after": after}
        assert trial.applied["recycle"].values == {"recycle_after": after}
        assert trial.criteria.even_shares
    (trial,) = trials(fixes=("recycle", "prestop"))
    assert trial.fix_settings == {"prestop_s": 5, "recycle_after": 1000}


def test_a_setting_counts_as_used_where_one_scenario_of_several_uses_it() -> None:
    """A matrix is of many; only what none of them reads is an error, once."""
    wanted = [Options(scenario=name, all_fixes=True, fix_settings={"prestop_s": 2}) for name in ("scale", "vpa")]
    assert [item.name for item in check_all(wanted, SCENARIOS, FIXES)] == ["scale", "vpa"]
    kept = [Options(scenario="keepalive-scale-out", all_fixes=True, fix_settings={"prestop_s": 2})] * 2
    with pytest.raises(UsageError) as caught:
        check_all(kept, SCENARIOS, FIXES)
    assert caught.value.message.count("--prestop-seconds: prestop is not among the fixes of keepalive-scale-out") == 1


def test_compare_runs_the_baseline_first() -> None:
    """The same scenario without any fix, then with the named ones, in the fixes' own order."""
    names = [item.name for item in trials(fixes=("readiness", "prestop"), compare=True)]
    assert names == [
        "rollout--baseline",
        trial_name("rollout", [name for name in FIXES if name in ("prestop", "readiness")]),
    ]


def test_all_fixes_are_those_of_the_scenario() -> None:
    """--with-all takes what cures something here and nothing else."""
    assert set(trials(all_fixes=True)[0].fixes) == set(SCENARIOS["rollout"].fixes)


@given(st.sets(st.sampled_from(sorted(FIXES))))
def test_fixes_change_the_setup_and_the_patch_tells_it(names: set[str]) -> None:
    """A trial without fixes has an empty patch; fixes never change the baseline's documents."""
    base = trials()[0]
    fixed = trials(fixes=tuple(names))[0]
    assert (base.patch, base.applied, base.fix_settings) == ("", {}, {})
    assert base.setup.documents == trials()[0].setup.documents
    assert set(fixed.fixes) == set(fixed.applied) == names
    assert bool(fixed.patch) == bool(names - {"grace"})


@pytest.mark.parametrize(
    ("connection", "names"), [("both", ["new", "reused"]), ("new", ["new"]), ("reused", ["reused"])]
)
def test_streams_share_the_rate(connection: str, names: list[str]) -> None:
    """Shares add up to the whole; the control's is beside them."""
    streams = trials(connection=connection)[0].traffic.streams
    assert [item.name for item in streams] == [*names, "control"]
    assert sum(item.share for item in streams) == pytest.approx(1)


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_every_scenario_can_be_planned(name: str) -> None:
    """With and without its fixes, on the defaults."""
    both = trials(scenario=name, compare=True, all_fixes=True)
    assert [bool(item.fixes) for item in both] == ([False, True] if SCENARIOS[name].fixes else [False])
    assert all(item.rate == 200 and item.traffic.rate == 220 for item in both)
    assert all(item.traffic.rate == 200 for item in trials(scenario=name, control_rate=0))


@pytest.mark.parametrize(("rate", "control"), [(10, 5), (50, 5), (300, 30), (5000, 100)])
def test_the_control_follows_the_services_rate(rate: float, control: float) -> None:
    """A tenth, so that it sees the bursts in which the service's requests fail; bounded both ways."""
    (trial,) = trials(rate=rate)
    assert trial.traffic.rate == pytest.approx(rate + control)


@pytest.mark.parametrize(
    ("version", "native"), [("v1.34.4", True), ("v1.29.9-gke.1", False), ("1.30", True), ("?", False)]
)
def test_native_sleep_by_version(version: str, native: bool) -> None:
    """preStop.sleep is on by default since 1.30 (KEP-3960)."""
    assert supports_native_sleep(ClusterInfo("context", "x", version, 1, "iptables")) is native
