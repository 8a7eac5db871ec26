"""PASS, FAIL, INCONCLUSIVE: what each needs, and the contract of summary.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hazd.analysis import analyse, deciding, summarise
from hazd.analysis.accounting import Accounting, PodCount
from hazd.analysis.coverage import Coverage
from hazd.analysis.story import Story, look, read_story
from hazd.analysis.verdict import judge
from hazd.cluster.watch import digest
from hazd.journal import read_trial
from hazd.model import Event, Outcome, Ref
from tests.golden.simulated import EPOCH_NS, NAMESPACE, S
from tests.golden.worlds import rollout

GOOD = Accounting(100, 100, 0, 0, (), ())
CHANGED = {"terminations": 4, "additions": 4}
DONE: Mapping[str, Any] = {
    "state": "complete",
    "phases": {"disrupt_start_ns": EPOCH_NS, "traffic_end_ns": EPOCH_NS + S},
}


def outcome(
    meta: Mapping[str, Any] = DONE,
    accounting: Accounting = GOOD,
    failed: int = 0,
    late: float | None = 1.0,
    story: Story | None = None,
    transitions: Mapping[str, int] = CHANGED,
) -> tuple[Outcome, str]:
    verdict = judge(meta, accounting, failed, story or Story(), transitions, Coverage(late_p99_ms=late))
    return verdict.outcome, "\n".join(verdict.reasons)


def test_a_clean_trial_passes() -> None:
    """Nothing failed, everything is accounted for, pods did change."""
    assert outcome()[0] is Outcome.PASS


def test_failures_fail_and_a_budget_allows_some() -> None:
    """The budget is the number of failures that is still a pass."""
    assert outcome(failed=1)[0] is Outcome.FAIL
    allowed = {**DONE, "criteria": {"max_failed": 5}}
    assert outcome(allowed, failed=5)[0] is Outcome.PASS
    assert outcome(allowed, failed=6)[0] is Outcome.FAIL


def test_how_late_the_generator_may_be_is_the_callers_to_say() -> None:
    """max_late_ms takes the place of the default, in both directions."""
    assert outcome(late=19.0)[0] is Outcome.PASS
    assert outcome({**DONE, "criteria": {"max_late_ms": 5}}, late=19.0)[0] is Outcome.INCONCLUSIVE
    assert outcome({**DONE, "criteria": {"max_late_ms": 100}}, late=99.0)[0] is Outcome.PASS


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"late": 21.0}, "lagged"),
        ({"accounting": replace(GOOD, not_sent=3)}, "3 requests were never sent"),
        ({"story": Story(gaps=[(EPOCH_NS, EPOCH_NS + 2 * S, "Pod")])}, "watch on Pod saw nothing for 2.0 s"),
        (
            {"story": Story(gaps=[(EPOCH_NS + i * S // 2, EPOCH_NS + (i + 1) * S // 2, "Pod") for i in range(3)])},
            "watch on Pod saw nothing for 1.5 s",
        ),
        ({"accounting": replace(GOOD, problems=("5 missing",))}, "5 missing"),
        (
            {"meta": {**DONE, "checks": [{"name": "prestop", "ok": False, "message": "FailedPreStopHook"}]}},
            "FailedPreStopHook",
        ),
        (
            {"accounting": replace(GOOD, pods=(PodCount("app-a", 3, 900, 0, True, False, "it counted 3"),))},
            "the sample app's own count does not agree for 1 of 1 pods: app-a (900 good responses at the clients)",
        ),
        (
            {"meta": {**DONE, "workload": {"service": "web", "session_affinity": "ClientIP"}}},
            "Service web has sessionAffinity: ClientIP",
        ),
        (
            {"meta": {**DONE, "workers": [{"id": 0, "offset_ns": 0, "offset_end_ns": S}]}},
            "the clock of worker 0 moved by 1,000 ms",
        ),
        ({"meta": {**DONE, "suspended_ns": 12 * S}}, "the controller's host was suspended for 12.0 s"),
        ({"meta": {**DONE, "plan": {}}}, "nobody checked at the end whether the watches were still alive"),
        ({"meta": {**DONE, "watched": {"Pod": {"events": 3}}}}, "the watch on Pod saw 3 events, the journal holds 0"),
        (
            {"meta": {**DONE, "watched": {"Pod": {"events": 0, "problem": "it missed a change of app-a"}}}},
            "the watch on Pod was not proven to be alive at the end: it missed a change of app-a",
        ),
    ],
)
def test_doubt_takes_a_pass_but_leaves_a_fail(change: dict[str, Any], words: str) -> None:
    """A late generator or a blind watch cannot pass; failed requests stay failed, and both reasons are said."""
    passed = outcome(**change)
    assert passed[0] is Outcome.INCONCLUSIVE
    assert words in passed[1]
    failed = outcome(**change, failed=7)
    assert failed[0] is Outcome.FAIL
    assert words in failed[1]
    assert "7 of 100" in failed[1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"meta": {**DONE, "state": "interrupted"}}, "interrupted"),
        ({"meta": {**DONE, "state": "failed", "error": "no route to server"}}, "no route to server"),
        ({"meta": {**DONE, "state": "running"}}, "under way"),
        ({"accounting": replace(GOOD, recorded=0)}, "no request was recorded"),
        ({"transitions": {"terminations": 0}}, "nothing was disrupted"),
        ({"meta": {**DONE, "criteria": {"expects": ["nodes_lost"]}}}, "no nodes_lost"),
        (
            {"meta": {**DONE, "criteria": {"expects": {"terminations": 5}}}},
            "only 4 of the 5 terminations of this scenario took place",
        ),
    ],
)
def test_a_trial_that_answers_nothing_is_inconclusive_even_with_failures(change: dict[str, Any], words: str) -> None:
    """When the numbers cannot be trusted they are not a FAIL either; the failures are still said."""
    for failed in (0, 9):
        found = outcome(**change, failed=failed)
        assert found[0] is Outcome.INCONCLUSIVE
        assert words in found[1]
    assert "9 of" in found[1]


def test_a_gap_after_the_trial_matters_to_nobody() -> None:
    """Only blindness during the disruption counts."""
    story = Story(gaps=[(EPOCH_NS + 5 * S, EPOCH_NS + 6 * S, "Pod")])
    assert outcome(story=story)[0] is Outcome.PASS


def test_the_summary_keeps_the_contract(tmp_path: Path) -> None:
    """Every field that DESIGN promises is there, of its type, and the whole is plain JSON."""
    record = read_trial(rollout().write(tmp_path / "rollout"))
    summary = json.loads(json.dumps(summarise({"run": "r", "scenario": "rollout"}, [analyse(record)])))
    assert {"schema", "run", "scenario", "cluster", "trials", "verdict"} <= summary.keys()
    trial = summary["trials"][0]
    assert summary["schema"] == 1
    assert trial["requests"]["due"] == trial["requests"]["sent"] == trial["requests"]["recorded"]
    assert trial["requests"]["ok"] + trial["requests"]["failed"] == trial["requests"]["recorded"]
    assert set(trial["failures"]) == {"refused", "no_route", "timeout", "reset", "eof", "bad_status", "other"}
    assert sum(trial["failures"].values()) == trial["requests"]["failed"] > 0
    assert trial["attributed"] == trial["requests"]["failed"]
    assert {"p50", "p99", "max"} <= trial["latency_ms"].keys()
    assert {"p99", "max"} <= trial["late_ms"].keys()
    assert 0 < trial["upper_bound_failure_rate_95"] < 1
    assert trial["terminations"] == 4
    for lag in ("removal", "addition"):
        assert {"n", "p50", "max"} == trial["propagation_ms"][lag].keys()


def test_the_baseline_does_not_fail_the_run(tmp_path: Path) -> None:
    """With none and with fixes side by side, the trial with the fixes decides; alone, the baseline does."""
    bare = analyse(read_trial(rollout().write(tmp_path / "bare")))
    world = rollout(readiness=True, prestop_s=5, graceful=True)
    fixed = analyse(read_trial(world.write(tmp_path / "fixed", fixes=["prestop", "readiness"])))
    assert (bare.verdict.outcome, fixed.verdict.outcome) == (Outcome.FAIL, Outcome.PASS)
    assert summarise({}, [bare, fixed])["verdict"] == "PASS"
    assert summarise({}, [bare])["verdict"] == "FAIL"
    assert [result.name for result in deciding([bare, fixed])] == ["fixed"]


def test_a_planned_trial_that_never_ran_keeps_a_run_from_passing(tmp_path: Path) -> None:
    """An interrupted run is not a pass of what it did not try."""
    world = rollout(readiness=True, prestop_s=5, graceful=True)
    result = analyse(read_trial(world.write(tmp_path / "one")))
    summary = summarise({"trials": [{"name": "one"}, {"name": "two"}]}, [result])
    assert (summary["verdict"], summary["not_run"]) == ("INCONCLUSIVE", ["two"])
    assert summarise({}, [])["verdict"] == "INCONCLUSIVE"


def test_a_baseline_never_decides_an_interrupted_comparison(tmp_path: Path) -> None:
    """--compare stopped after its baseline, which failed as it should: nothing is known of the fixes."""
    bare = analyse(read_trial(rollout().write(tmp_path / "rollout--baseline")))
    planned = [
        {"name": "rollout--baseline", "scenario": "rollout", "fixes": []},
        {"name": "rollout--prestop", "scenario": "rollout", "fixes": ["prestop"]},
    ]
    summary = summarise({"trials": planned}, [bare])
    assert (summary["verdict"], summary["not_run"]) == ("INCONCLUSIVE", ["rollout--prestop"])
    assert summary["decided_by"] == []


def test_a_trial_without_a_request_claims_nothing_of_any(tmp_path: Path) -> None:
    """No rate and no checksum is reported of requests that do not exist."""
    record = read_trial(rollout().write(tmp_path / "trial"))
    worker = {**record.meta["workers"][0], "due": 0, "recorded": 0, "sha256_ok": False}
    meta = {**record.meta, "workers": [worker], "state": "failed", "error": "no good responses"}
    result = analyse(replace(record, meta=meta, samples=record.samples.iloc[:0]))
    assert result.sentence == "no request was recorded"
    assert result.verdict.reasons[:1] == ("the trial failed: no good responses",)
    assert not any("checksum" in reason or "0 of 0" in reason for reason in result.verdict.reasons)


def pod_event(at: int, reason: str, **status: Any) -> Event:
    return Event(EPOCH_NS + at, "watch", Ref("Pod", "app-a", NAMESPACE), reason, detail=status)


def test_a_digest_is_read_as_the_watch_writes_it() -> None:
    """Node, address and readiness come from where `cluster.watch.digest` puts them."""
    status = {"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]}
    obj = {"kind": "Pod", "metadata": {"name": "app-a"}, "spec": {"nodeName": "n"}, "status": status}
    pod = read_story([pod_event(0, "ADDED", **digest(obj))], {"namespace": NAMESPACE}).pods["app-a"]
    assert (pod.node, pod.ip, len(pod.condition)) == ("n", "10.0.0.1", 1)


def test_an_app_with_another_clock_is_put_right() -> None:
    """A log line seen before it was written shows a clock that is ahead; the pod's times are moved by that much."""
    ref = Ref("Pod", "app-a", NAMESPACE)
    said = [
        Event(EPOCH_NS + at, "app", ref, word, EPOCH_NS + at + 9 * S) for at, word in ((0, "started"), (S, "listening"))
    ]
    assert read_story(said, {}).pods["app-a"].listening_ns == EPOCH_NS + S


def test_a_restarted_container_begins_anew() -> None:
    """After an exit a new start clears what the old process had said."""
    ref = Ref("Pod", "app-a", NAMESPACE)
    words = ("started", "listening", "exit", "started")
    said = [Event(EPOCH_NS + at, "app", ref, word, EPOCH_NS + at) for at, word in enumerate(words)]
    pod = read_story(said, {}).pods["app-a"]
    assert (pod.restarts, pod.listening_ns, pod.exited_ns) == (1, None, None)


def test_a_watch_that_ended_for_good_is_a_gap_to_the_end() -> None:
    """A GAP without an end lasts until the last event of the trial."""
    ref = Ref("Pod", "", NAMESPACE)
    events = [Event(EPOCH_NS, "watch", ref, "GAP"), Event(EPOCH_NS + 3 * S, "hazd", ref, "note")]
    assert read_story(events, {}).gaps == [(EPOCH_NS, EPOCH_NS + 3 * S, "Pod")]


def test_hazds_own_workers_are_no_part_of_the_workload() -> None:
    """Traffic pods live in the same namespace and are left out."""
    events = [
        Event(
            EPOCH_NS,
            "watch",
            Ref("Pod", "hazd-worker-0", NAMESPACE),
            "ADDED",
            detail={"labels": {"app": "hazd-worker"}},
        ),
        Event(EPOCH_NS, "watch", Ref("Pod", "w", NAMESPACE), "ADDED", detail={}),
    ]
    assert not read_story(events, {"namespace": NAMESPACE, "workers": [{"pod": "w"}]}).pods


def test_look_follows_a_path() -> None:
    """A missing step anywhere is None, never an error."""
    assert look({"a": {"b": 0}}, "a.b") == 0
    assert look({"a": 1}, "a.b.c") is None


def clock_event(pod: str, offset_ns: int, uncertainty_ns: int = 3_000_000) -> Event:
    detail = {"offset_ns": offset_ns, "uncertainty_ns": uncertainty_ns}
    return Event(EPOCH_NS, "hazd", Ref("Pod", pod, NAMESPACE), "clock", detail=detail)


def on_node(pod: str, node: str) -> Event:
    return Event(EPOCH_NS, "watch", Ref("Pod", pod, NAMESPACE), "ADDED", detail={"spec": {"nodeName": node}})


def said(pod: str, stated_ns: int) -> Event:
    return Event(EPOCH_NS + S, "app", Ref("Pod", pod, NAMESPACE), "listening", stated_ns)


def test_a_measured_clock_is_corrected_whatever_its_error() -> None:
    """Half a second behind, and within the plausible delay of a log line: only a measurement tells."""
    events = [on_node("a", "n"), said("a", EPOCH_NS + S // 2), clock_event("a", S // 2)]
    assert read_story(events, {}).pods["a"].listening_ns == EPOCH_NS + S
    assert read_story(events[:2], {}).pods["a"].listening_ns == EPOCH_NS + S // 2


@pytest.mark.parametrize("whose", ["pod", "worker"])
def test_pods_of_a_node_share_its_clock(whose: str) -> None:
    """What was measured of another pod, or of a worker, on the same node holds for a pod that was gone too soon."""
    events = [on_node("a", "n"), said("a", EPOCH_NS + S // 2)]
    meta: dict[str, Any] = {"workers": [{"id": 0, "node": "n", "offset_ns": S // 2}]} if whose == "worker" else {}
    if whose == "pod":
        events += [on_node("b", "n"), clock_event("b", S // 2)]
    assert read_story(events, meta).pods["a"].listening_ns == EPOCH_NS + S


def test_a_difference_that_the_round_trip_leaves_open_is_none() -> None:
    """One machine has one clock: a few milliseconds of proxy are no offset, nor a drift."""
    events = [
        on_node("a", "n"),
        said("a", EPOCH_NS),
        clock_event("a", 2_000_000),
        clock_event("a", -25_000_000, 60_000_000),
    ]
    story = read_story(events, {})
    assert story.pods["a"].listening_ns == EPOCH_NS
    assert outcome(story=story)[0] is Outcome.PASS


def test_a_pods_clock_that_moves_is_a_reason() -> None:
    """Its times cannot be corrected by one number."""
    story = read_story([on_node("a", "n"), clock_event("a", 0), clock_event("a", S)], {})
    found = outcome(story=story)
    assert found[0] is Outcome.INCONCLUSIVE
    assert "the clock of pod a moved by 1,000 ms" in found[1]


def test_a_sidecars_end_is_not_the_apps() -> None:
    """A container beside the one that serves is killed: nothing of the workload was."""
    statuses = [
        {"name": "proxy", "state": {"terminated": {"exitCode": 137}}, "restartCount": 2},
        {"name": "web", "state": {"running": {}}, "restartCount": 0},
    ]
    event = pod_event(0, "ADDED", status={"containerStatuses": statuses})
    pod = read_story([event], {"workload": {"container": "web"}}).pods["app-a"]
    assert (pod.exit_code, pod.terminated_ns, pod.restarts) == (None, None, 0)
    assert read_story([event], {"workload": {"container": "proxy"}}).pods["app-a"].exit_code == 137
