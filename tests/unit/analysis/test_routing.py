"""What a node's rules held is read off the requests, and only off those that the rules had sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from hazd.analysis.ports import reused_ports
from hazd.analysis.requests import read_requests
from hazd.analysis.result import TrialResult, analyse
from hazd.analysis.routing import read_versions
from hazd.analysis.story import PodLife, Story, read_story
from hazd.journal import read_trial
from hazd.model import TrialRecord
from tests.golden.simulated import Pod, World
from tests.golden.worlds import rollout, stale_entries


def told(world: World, folder: Path) -> TrialResult:
    return analyse(read_trial(world.write(folder / "trial")))


@pytest.mark.parametrize("lag", [0.0, 0.3, 1.0, 4.0])
def test_the_removal_lag_is_found(lag: float, tmp_path: Path) -> None:
    """Pods that answer to the end of their preStop show when a node forgot them, whatever the lag is."""
    world = rollout(readiness=True, prestop_s=8, graceful=True)
    world.vantages = {"node-0": (lag, lag)}
    removal = told(world, tmp_path).propagation.of("removal")
    assert len(removal) == 4
    assert removal == pytest.approx([lag * 1000] * 4, abs=90)


@pytest.mark.parametrize("lag", [0.1, 0.7, 2.5])
def test_the_addition_lag_is_found(lag: float, tmp_path: Path) -> None:
    """A ready pod shows by its first answers when a node learned of it."""
    world = rollout(readiness=True, prestop_s=8, graceful=True)
    world.vantages = {"node-0": (lag, lag)}
    addition = told(world, tmp_path).propagation.of("addition")
    assert len(addition) >= 3
    assert addition == pytest.approx([lag * 1000] * len(addition), abs=250)


def test_a_prestop_has_to_outlast_deletion_to_last_request(tmp_path: Path) -> None:
    """The time that counts for a preStop runs from the deletion, so it is longer than the lag of the rules alone."""
    result = told(rollout(readiness=True, prestop_s=5, graceful=True), tmp_path)
    since, lags = result.propagation.since_deletion(), result.propagation.of("removal")
    assert len(since) == len(lags) == 4
    assert all(0 < whole - part < 200 for whole, part in zip(since, lags, strict=True))


def test_kept_connections_alone_time_nothing(tmp_path: Path) -> None:
    """Without new connections nobody asks the rules, so no lag is claimed."""
    record = read_trial(rollout(readiness=True, prestop_s=5, graceful=True).write(tmp_path / "trial"))
    kept = record.samples[(record.samples["stream"] == "reused")].reset_index(drop=True)
    result = analyse(TrialRecord(record.name, record.meta, kept, record.events))
    assert result.propagation.lags == ()


def test_versions_fall_back_to_pods_that_serve_as_they_terminate() -> None:
    """KEP-1669: with no ready pod the terminating ones that serve are used, and it is known that it was so."""
    one, two = PodLife("a", ready=[(0, 10)], serving=[(10, 30)]), PodLife("b", ready=[(0, 20)], serving=[(20, 40)])
    versions = read_versions(Story(pods={"a": one, "b": two}))
    assert [(item.at_ns, sorted(item.pods), item.last_resort) for item in versions] == [
        (0, ["a", "b"], False),
        (10, ["b"], False),
        (20, ["a", "b"], True),
        (30, ["b"], True),
        (40, [], False),
    ]


def test_no_watch_of_endpoints_is_no_rules(tmp_path: Path) -> None:
    """Without any EndpointSlice nothing is claimed of any node's rules, and failures stay unattributed or weakly so."""
    record = read_trial(rollout().write(tmp_path / "trial"))
    events = tuple(event for event in record.events if event.ref.kind != "EndpointSlice")
    result = analyse(TrialRecord(record.name, record.meta, record.samples, events))
    assert result.propagation.lags == ()
    assert result.failed == sum(finding.requests for finding in result.attribution.findings)


def test_a_port_that_led_to_a_dead_pod_is_remembered(tmp_path: Path) -> None:
    """A silent connect from a source port whose earlier connect went silent too is a stale entry, not a slow node."""
    world = World(
        [Pod("app-a"), Pod("app-b", deleted=0.5, dropped=0.6, sigterm=0.5, exited=0.5, address_gone=0.5, gone=1.0)]
    )
    record = read_trial(world.write(tmp_path / "trial"))
    frame = record.samples.copy()
    silent = frame.index[(frame["kind"] == "timeout") & (frame["connection"] == "new")]
    later = frame.index[(frame["kind"] == "ok") & (frame["connection"] == "new")][-5:]
    frame.loc[later, ["kind", "phase", "pod"]] = ["timeout", "connect", ""]
    frame.loc[later, "local_port"] = frame.loc[silent[:5], "local_port"].to_numpy()
    requests, story = read_requests(frame), read_story(record.events, record.meta)
    assert len(reused_ports(requests, story)) == 5
    result = analyse(TrialRecord(record.name, record.meta, frame, record.events))
    found = {finding.rule: finding.requests for finding in result.attribution.findings}
    assert found["stale_conntrack"] == 5
    assert max(result.propagation.of("removal")) < 1000


def test_stale_entries_do_not_stretch_the_lag(tmp_path: Path) -> None:
    """Silent connects before anything had ended show that there is another cause about; the lag stays what it is."""
    result = told(stale_entries(), tmp_path)
    assert max(result.propagation.of("removal")) < 1000


def test_failures_before_the_disruption_are_said(tmp_path: Path) -> None:
    """What the disruption cannot have caused is told apart."""
    record = read_trial(rollout(readiness=True, prestop_s=5, graceful=True).write(tmp_path / "trial"))
    frame = record.samples.copy()
    frame.loc[frame.index[10:13], ["kind", "phase", "pod"]] = ["refused", "connect", ""]
    result = analyse(TrialRecord(record.name, record.meta, frame, record.events))
    assert any("3 requests failed before the disruption began" in reason for reason in result.verdict.reasons)
