"""Scenarios are found by listing folders, and a bad file is one clear error."""

from __future__ import annotations

from pathlib import Path

import pytest

from hazd.errors import UsageError
from hazd.scenario import load_scenarios
from hazd.stage_view import is_ready, rollout_state

GOOD = '''
"""Doc of the file."""
from hazd.scenario import scenario

@scenario("does nothing", fixes=("prestop",), options={"to": 3})
async def disrupt(stage):
    pass
'''


def test_a_file_in_a_folder_is_a_scenario(tmp_path: Path) -> None:
    """The name is the file's, with dashes; hazd's own stay."""
    (tmp_path / "my_own.py").write_text(GOOD)
    found = load_scenarios(tmp_path)
    assert found["my-own"].summary == "does nothing"
    assert found["my-own"].doc == "Doc of the file."
    assert "rollout" in found


@pytest.mark.parametrize("text", ["import nothing_of_that_name", "x = 1", GOOD + GOOD.replace("disrupt", "other")])
def test_a_bad_file_is_named(tmp_path: Path, text: str) -> None:
    """A file that does not import, or has no or two scenarios, is a usage error with its path."""
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises(UsageError, match=r"bad\.py"):
        load_scenarios(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """--scenarios with a wrong folder."""
    with pytest.raises(UsageError, match="not a folder"):
        load_scenarios(tmp_path / "no")


@pytest.mark.parametrize("name", sorted(load_scenarios()))
def test_every_scenario_says_what_it_does(name: str) -> None:
    """Shipped scenarios have a docstring, a summary and only fixes that exist."""
    from hazd.fixes import load

    item = load_scenarios()[name]
    assert item.summary
    assert len(item.doc) > 80
    assert set(item.fixes) <= set(load())


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ({"observedGeneration": 1}, "not observed"),
        ({"observedGeneration": 2, "updatedReplicas": 1}, "1 of 4 replicas are updated"),
        ({"observedGeneration": 2, "updatedReplicas": 4, "replicas": 5}, "1 old replicas"),
        ({"observedGeneration": 2, "updatedReplicas": 4, "replicas": 4, "availableReplicas": 3}, "3 of 4"),
        ({"observedGeneration": 2, "updatedReplicas": 4, "replicas": 4, "availableReplicas": 4}, ""),
    ],
)
def test_rollout_state_is_kubectls(status: dict[str, int], word: str) -> None:
    """The four ways a roll-out is not complete, in kubectl's order."""
    deployment = {"metadata": {"generation": 2}, "spec": {"replicas": 4}, "status": status}
    assert word in rollout_state(deployment)
    assert bool(word) == bool(rollout_state(deployment))


def test_a_pod_on_its_way_out_is_not_ready() -> None:
    """deletionTimestamp beats the Ready condition, as in the EndpointSlice controller."""
    pod = {"metadata": {}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    assert is_ready(pod)
    assert not is_ready({**pod, "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})
