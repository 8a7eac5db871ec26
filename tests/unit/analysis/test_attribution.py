"""Every failed request gets the cause that the simulated world gave it, or is said to have none."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hazd.analysis.result import TrialResult, analyse
from hazd.analysis.rules import all_rules
from hazd.fixes import load
from hazd.journal import read_trial
from hazd.model import Connection, Event, FailureKind, Phase, Ref
from tests.golden.simulated import EPOCH_NS, Pod, World
from tests.golden.worlds import drain_of_all, node_loss, rollout, scale_out, stale_entries


def told(world: World, folder: Path, **more: Any) -> TrialResult:
    return analyse(read_trial(world.write(folder / "trial", **more)))


def share_right(world: World, result: TrialResult) -> float:
    """The share of failed requests whose rule is the true one."""
    found = result.attribution.rule.tolist()
    assert len(found) == len(world.truth)
    right = [str(rule) == true for rule, (true, _) in zip(found, world.truth, strict=True)]
    return sum(right) / len(right)


@pytest.mark.parametrize(
    ("world", "at_least"),
    [
        pytest.param(rollout(), 0.9, id="rollout"),
        pytest.param(rollout(readiness=True), 0.9, id="readiness"),
        pytest.param(rollout(prestop_s=5), 0.97, id="prestop"),
        pytest.param(drain_of_all(), 0.97, id="drain"),
        pytest.param(node_loss(), 1.0, id="node-loss"),
        pytest.param(stale_entries(), 1.0, id="stale-conntrack"),
    ],
)
def test_rules_name_the_true_cause(world: World, at_least: float, tmp_path: Path) -> None:
    """In each world nearly every failure is given the rule that in truth made it fail."""
    result = told(world, tmp_path)
    assert result.failed > 50
    assert share_right(world, result) >= at_least


@pytest.mark.parametrize("world", [rollout(), rollout(readiness=True), node_loss()], ids=["none", "readiness", "node"])
def test_confidence_is_no_more_than_the_truth_allows(world: World, tmp_path: Path) -> None:
    """The mean probability given to the chosen pod is near to how often it is right, and hardly ever above."""
    result = told(world, tmp_path)
    right = sum(pod == true for pod, (_, true) in zip(result.attribution.pod.tolist(), world.truth, strict=True))
    share = right / len(world.truth)
    assert share - 0.3 < float(result.attribution.sure.mean()) < share + 0.1


@pytest.mark.parametrize("world", [rollout(), drain_of_all(), node_loss()], ids=["rollout", "drain", "node"])
def test_every_failure_is_counted_once(world: World, tmp_path: Path) -> None:
    """Findings, their causes and their kinds add up to the failed requests."""
    result = told(world, tmp_path)
    attribution = result.attribution
    assert sum(finding.requests for finding in attribution.findings) == result.failed
    assert sum(cause.requests for cause in attribution.causes) == result.failed
    kinds: Counter[str] = Counter()
    for cause in attribution.causes:
        kinds.update(cause.kinds)
    assert dict(kinds) == {kind: count for kind, count in result.failures.items() if count}


def test_two_nodes_that_forget_at_different_times(tmp_path: Path) -> None:
    """Each vantage's own lag explains its failures: the slow node's do not make the quick node's look late."""
    world = rollout(readiness=True)
    world.vantages = {"node-0": (0.9, 0.3), "node-1": (0.2, 0.1)}
    result = told(world, tmp_path)
    assert share_right(world, result) >= 0.9
    worst = dict.fromkeys(world.vantages, 0.0)
    for lag in result.propagation.lags:
        if lag.what == "removal":
            worst[lag.vantage] = max(worst[lag.vantage], lag.lag_ms)
    assert worst["node-0"] > 600 > 250 > worst["node-1"] > 0


def test_the_sentence_names_pod_and_reason(tmp_path: Path) -> None:
    """One pod that was listed too early: the sentence says which, and why, as a person would."""
    world = World([Pod("app-old"), Pod("app-x", created=0.2, listening=2.2, listed=0.6)])
    result = told(world, tmp_path)
    count = result.failed
    total = f"{result.requests['recorded']:,}"
    assert result.sentence == (
        f"{count} of {total} requests failed: {count} refused by pod app-x (not ready yet); "
        "1 of 1 addition lost a request"
    )
    cause = result.attribution.causes[0]
    assert cause.cured_by == ("readiness",)
    assert cause.confidence > 0.9
    assert any("listed app-x ready at +0.60 s" in line for line in cause.evidence)


def test_a_vanished_pod_says_how_long_the_node_lagged(tmp_path: Path) -> None:
    """A pod that left without preStop: gone so long before the node forgot it, within two requests' distance."""
    gone = Pod("app-y", deleted=0.5, dropped=0.6, sigterm=0.52, exited=0.53, address_gone=0.56, gone=1.0)
    world = World([Pod("app-a"), Pod("app-b"), gone])
    result = told(world, tmp_path)
    finding = next(item for item in result.attribution.findings if item.rule == "pod_ip_gone")
    assert "pod app-y" in finding.sentence
    assert "gone 0.8 s before node-0 forgot it" in finding.sentence


def test_what_fits_nothing_stays_unattributed(tmp_path: Path) -> None:
    """Failures without any transition near them are not laid to a pod."""
    world = World([Pod("app-a"), Pod("app-b", listening=3.0)])
    world.pods[1].listed = -18.0
    for pod in world.pods:
        pod.created = -20.0
    record = read_trial(world.write(tmp_path / "trial"))
    silent = [event for event in record.events if event.source != "app"]
    result = analyse(type(record)(record.name, record.meta, record.samples, tuple(silent), ()))
    assert result.failed > 0
    assert result.attribution.unattributed == result.failed
    assert "no cause found" in result.sentence


def test_kept_connections_of_a_living_pod_are_told_apart(tmp_path: Path) -> None:
    """A reset on a kept connection of a pod that lives on is the server's idle close, not the rollout's doing."""
    world = World([Pod("app-a")])
    record = read_trial(world.write(tmp_path / "trial"))
    frame = record.samples.copy()
    reused = frame.index[(frame["connection"] == "reused")][100:103]
    frame.loc[reused, ["kind", "phase", "pod"]] = ["reset", "wait", ""]
    result = analyse(type(record)(record.name, record.meta, frame, record.events, ()))
    assert [finding.rule for finding in result.attribution.findings] == ["idle_close"]


def test_the_clients_own_trouble_is_no_pods_fault(tmp_path: Path) -> None:
    """EADDRNOTAVAIL in the middle of a rollout is the client's, whatever pods did at the time."""
    world = rollout()
    record = read_trial(world.write(tmp_path / "trial"))
    frame = record.samples.copy()
    refused = frame["kind"] == "refused"
    frame.loc[refused, "errno"] = 99
    result = analyse(type(record)(record.name, record.meta, frame, record.events, ()))
    found = {finding.rule: finding.requests for finding in result.attribution.findings}
    assert found["client_trouble"] == int(refused.sum())


def test_a_crash_is_not_called_a_deletion(tmp_path: Path) -> None:
    """A process that ends in a pod nobody deleted is refused from, and the reason says so."""
    crashed = Pod("app-b", dropped=1.5, exited=1.0, address_gone=None)
    world = World([Pod("app-a"), crashed])
    result = told(world, tmp_path)
    finding = next(item for item in result.attribution.findings if item.rule == "stopped_listening")
    assert "nobody had deleted the pod" in finding.sentence


def test_bad_answers_name_their_pod(tmp_path: Path) -> None:
    """A 503 is laid to the pod that gave it."""
    world = World([Pod("app-a"), Pod("app-b")])
    record = read_trial(world.write(tmp_path / "trial"))
    frame = record.samples.copy()
    some = frame.index[frame["pod"] == "app-b"][:5]
    frame.loc[some, ["kind", "phase"]] = ["bad_status", "receive"]
    frame.loc[some, "status"] = 503
    result = analyse(type(record)(record.name, record.meta, frame, record.events, ()))
    assert [(cause.rule, cause.pod) for cause in result.attribution.causes] == [("bad_answer", "app-b")]
    assert "503" in result.sentence


def test_the_same_journal_gives_the_same_answer(tmp_path: Path) -> None:
    """Analysis is a function of the journal: ties are split the same way every time."""
    folder = rollout().write(tmp_path / "trial")
    first, second = analyse(read_trial(folder)), analyse(read_trial(folder))
    assert first.attribution.findings == second.attribution.findings
    assert first.sentence == second.sentence


def test_fixes_and_rules_name_each_other() -> None:
    """Every rule of the folder is complete, and what it says cures it is a fix that exists."""
    rules = all_rules()
    assert len(rules) >= 9
    for rule in rules:
        assert rule.NAME
        assert rule.TITLE
        assert rule.__doc__
        assert set(rule.CURED_BY) <= set(load())
    assert len({rule.NAME for rule in rules}) == len(rules)


def test_kept_connections_skew_after_a_scale_out(tmp_path: Path) -> None:
    """Without recycling new pods get nothing over kept connections; with it they get their share."""
    kept = told(scale_out(), tmp_path / "kept").streams[1].skew
    recycled = told(scale_out(recycle_after=5), tmp_path / "recycled").streams[1].skew
    assert kept is not None
    assert recycled is not None
    assert kept.newcomers_share == 0
    assert recycled.newcomers_share == pytest.approx(4 / 6, abs=0.12)
    assert kept.gini is not None
    assert recycled.gini is not None
    assert kept.gini > 0.6 > 0.25 > recycled.gini


def test_labels_of_the_model_are_the_codes() -> None:
    """The simulated records use the model's codes; a changed code would make every golden case lie."""
    assert (FailureKind.OK, Phase.NONE, Connection.NEW) == (0, 0, 0)
    assert Event(EPOCH_NS, "hazd", Ref("Pod", "x"), "note").stated_ns is None
