"""Terminations and additions: which of them traffic met, which lost a request, and what that bounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from hazd.analysis import TrialResult, analyse
from hazd.analysis.rules import all_rules
from hazd.analysis.terminations import ADDITION_RULES, CLIENT_RULES, say_lost
from hazd.journal import read_trial
from tests.golden.simulated import World
from tests.golden.worlds import drain_of_all, node_loss, rollout, scale_out


def analysed(world: World, folder: Path) -> TrialResult:
    return analyse(read_trial(world.write(folder / "trial")))


def true_losers(world: World, additions: bool) -> set[str]:
    """The pods that lost a request, from the simulation's own record of why each request failed."""
    return {pod for rule, pod in world.truth if pod and (rule in ADDITION_RULES) == additions}


def test_the_rules_that_are_named_exist() -> None:
    """A rule that is renamed would change sides in silence."""
    assert {rule.NAME for rule in all_rules()} >= ADDITION_RULES | CLIENT_RULES


def test_each_fix_clears_its_own_unit(tmp_path: Path) -> None:
    """Readiness clears the additions, preStop and graceful shutdown the terminations; counts are the simulation's."""
    bare = rollout()
    found = analysed(bare, tmp_path / "bare")
    assert {unit.pod for unit in found.terminations.units if unit.lost} == true_losers(bare, additions=False)
    assert {unit.pod for unit in found.additions.units if unit.lost} == true_losers(bare, additions=True)
    ready = analysed(rollout(readiness=True), tmp_path / "ready")
    assert (ready.additions.lost, ready.terminations.lost) == (0, 4)
    fixed = analysed(rollout(readiness=True, prestop_s=5, graceful=True), tmp_path / "fixed")
    assert (fixed.terminations.lost, fixed.terminations.seen, fixed.terminations.total) == (0, 4, 4)
    assert fixed.terminations.upper_bound_95 == pytest.approx(1 - 0.05 ** (1 / 4))
    assert "0 of 4 terminations lost a request: at most 53 % do (95 %)" in fixed.sentence


def test_every_failure_is_charged_at_most_once(tmp_path: Path) -> None:
    """Terminations and additions share no failed request, and together have those that a transition caused."""
    for name, world in (("rollout", rollout()), ("drain", drain_of_all()), ("node", node_loss())):
        found = analysed(world, tmp_path / name)
        charged = sum(unit.lost for unit in (*found.terminations.units, *found.additions.units))
        assert 0 < charged <= found.failed


def test_an_outage_without_a_pod_to_blame_is_no_clean_termination(tmp_path: Path) -> None:
    """Both replicas drained: requests were refused since no pod was ready, so a termination lost them."""
    found = analysed(drain_of_all(), tmp_path)
    assert found.terminations.lost >= 1
    assert found.terminations.upper_bound_95 > 0.77


def test_a_termination_without_traffic_before_it_is_not_seen(tmp_path: Path) -> None:
    """A pod that answered nothing before it was deleted says nothing: it is left out of the bound, and that is said."""
    world = rollout(readiness=True, prestop_s=5, graceful=True)
    world.pods[0].listed = 1e9  # in no EndpointSlice and no node's rules, ever
    found = analysed(world, tmp_path).terminations
    assert (found.total, found.seen, found.lost) == (4, 3, 0)
    assert found.upper_bound_95 == pytest.approx(1 - 0.05 ** (1 / 3))
    assert found.sentence == "0 of 3 terminations lost a request (3 of 4 were seen by traffic): at most 63 % do (95 %)"
    assert found.units[0].before == 0


def test_pods_on_a_lost_node_are_terminated_by_it(tmp_path: Path) -> None:
    """Nobody deletes them, and their clients lose requests all the same."""
    found = analysed(node_loss(), tmp_path)
    assert {unit.pod for unit in found.terminations.units} == {"app-old-a", "app-old-b"}
    assert found.terminations.lost == 2


def test_a_scale_out_has_additions_only(tmp_path: Path) -> None:
    """Four pods added, none terminated: no sentence about terminations."""
    found = analysed(scale_out(recycle_after=5), tmp_path)
    assert (found.terminations.total, found.terminations.sentence) == (0, None)
    assert (found.additions.total, found.additions.seen, found.additions.lost) == (4, 4, 0)
    assert all(unit.before == 0 and unit.after for unit in found.additions.units)


def test_each_vantage_that_met_a_pod_is_named(tmp_path: Path) -> None:
    """Two workers on two nodes: each termination names both."""
    world = rollout(readiness=True, prestop_s=5, graceful=True)
    world.vantages = {"node-0": (0.8, 0.3), "node-9": (0.4, 0.2)}
    found = analysed(world, tmp_path).terminations
    assert {unit.seen_from for unit in found.units} == {("node-0", "node-9")}


def test_without_names_in_the_responses_counts_are_not_known(tmp_path: Path) -> None:
    """A workload that does not name its pods: counts are None; traffic met a pod that was listed while enough ran."""
    record = read_trial(rollout(readiness=True, prestop_s=5, graceful=True).write(tmp_path / "trial"))
    record.samples["pod"] = None
    found = analyse(record).terminations
    assert {(unit.before, unit.after, unit.seen, unit.seen_from) for unit in found.units} == {(None, None, True, ())}


def test_the_words_for_one_and_for_none() -> None:
    """Singular, nothing seen, nothing there."""
    assert say_lost("termination", 1, 1, 1) == "1 of 1 termination lost a request"
    assert say_lost("addition", 2, 0, 0) == "0 of 2 additions were seen by traffic: nothing is known of them"
    assert say_lost("addition", 0, 0, 0) is None
