"""Planning is pure: bad options are all named at once, good ones become trials in a fixed order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazd.errors import UsageError
from hazd.fixes import load
from hazd.model import ClusterInfo
from hazd.plan import Options, absolute_profile, make_trials, supports_native_sleep, trial_name
from hazd.plan_check import check
from hazd.scenario import load_scenarios

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
        ({"workload": {"max_surge": "a lot", "max_unavailable": "1"}}, ["--max-surge", "'a lot'", "25%"]),
        ({"workload": {"max_surge": "0", "max_unavailable": "0%"}}, ["--max-surge and --max-unavailable"]),
        ({"given": {"to": 3}}, ["--set to=3", "rollout has no such option"]),
        ({"workload": {"startup_delay_s": -2}}, ["--startup-delay", "-2"]),
        ({"settings": {"prestop_s": 0}}, ["--prestop-seconds", "0"]),
    ],
)
def test_bad_input_names_field_value_and_what_would_be_right(options: dict[str, Any], words: list[str]) -> None:
    """One line a problem, with all three."""
    with pytest.raises(UsageError) as caught:
        check(Options(scenario="rollout", **options), SCENARIOS, FIXES)
    for word in words:
        assert word in caught.value.message


def test_all_problems_are_told_at_once() -> None:
    """Nobody should have to run three times to hear three problems; the unknown scenario is one of them."""
    with pytest.raises(UsageError) as caught:
        check(Options(scenario="roll", rate=0, pool=0), SCENARIOS, FIXES)
    assert len(caught.value.message.splitlines()) == 3
    assert "rollout" in caught.value.message


def test_compare_runs_the_baseline_first() -> None:
    """The same scenario without any fix, then with the named ones, in the fixes' own order."""
    names = [item.name for item in trials(fixes=("readiness", "prestop"), compare=True)]
    assert names == [
        "rollout--baseline",
        trial_name("rollout", [name for name in FIXES if name in ("prestop", "readiness")]),
    ]


def test_compare_without_fixes_is_one_trial() -> None:
    """There is nothing to compare with."""
    assert [item.name for item in trials(compare=True)] == ["rollout--baseline"]


def test_all_fixes_are_those_of_the_scenario() -> None:
    """--with-all takes what cures something here and nothing else."""
    assert set(trials(all_fixes=True)[0].fixes) == set(SCENARIOS["rollout"].fixes)


@given(st.sets(st.sampled_from(sorted(FIXES))))
def test_fixes_change_the_setup_and_the_patch_tells_it(names: set[str]) -> None:
    """A trial without fixes has an empty patch; fixes never change the baseline's documents."""
    base = trials()[0]
    fixed = trials(fixes=tuple(names))[0]
    assert base.settings["patch"] == ""
    assert base.setup.documents == trials()[0].setup.documents
    assert set(fixed.fixes) == names


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
    assert all(item.rate == 200 and item.traffic.rate == 205 for item in both)
    assert all(item.traffic.rate == 200 for item in trials(scenario=name, control_rate=0))


@pytest.mark.parametrize(
    ("version", "native"), [("v1.34.4", True), ("v1.29.9-gke.1", False), ("1.30", True), ("?", False)]
)
def test_native_sleep_by_version(version: str, native: bool) -> None:
    """preStop.sleep is on by default since 1.30 (KEP-3960)."""
    assert supports_native_sleep(ClusterInfo("context", "x", version, 1, "iptables")) is native


def test_a_profile_scales_with_the_rate() -> None:
    """Percentages are of --rate; plain rates stay."""
    assert absolute_profile("steps:20%@5,100%@60", 300) == "steps:60@5,300@60"
    assert absolute_profile("steps:10@5", 300) == "steps:10@5"
