"""Scenarios are found by listing folders, and a bad file is one clear error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hazd.errors import UsageError
from hazd.manifests.conditions import is_ready_endpoint
from hazd.scenario import load_scenarios
from hazd.stage.view import rollout_state

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
    """The four ways a rollout is not complete, in kubectl's order."""
    deployment = {"metadata": {"generation": 2}, "spec": {"replicas": 4}, "status": status}
    assert word in rollout_state(deployment)
    assert bool(word) == bool(rollout_state(deployment))


def test_a_pod_on_its_way_out_is_not_ready() -> None:
    """deletionTimestamp beats the Ready condition, as in the EndpointSlice controller."""
    pod = {"metadata": {}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    assert is_ready_endpoint(pod)
    assert not is_ready_endpoint({**pod, "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})


def test_the_list_names_all_eight_with_their_needs() -> None:
    """What scripts read from `hazd list --json`: names, needs, nodes, fixes and options of every shipped scenario."""
    from typer.testing import CliRunner

    import hazd.cli.run  # noqa: F401  (registers the command)
    from hazd.cli import app

    done = CliRunner().invoke(app, ["list", "--json"])
    assert done.exit_code == 0
    found = {item["name"]: item for item in json.loads(done.stdout)}
    needs = {name: (item["needs"], item["workers"], item["takes_nodes"]) for name, item in found.items()}
    assert needs == {
        "rollout": ([], 1, 0),
        "scale": ([], 1, 0),
        "pod-delete": ([], 1, 0),
        "drain": ([], 2, "nodes"),
        "node-failure": (["stop-node"], 2, 1),
        "hpa": (["metrics"], 1, 0),
        "vpa": (["vpa"], 1, 0),
        "keepalive-scale-out": ([], 1, 0),
    }
    assert all(item["fixes"] and item["summary"] for item in found.values())


@pytest.mark.parametrize(
    ("name", "option", "value", "want"),
    [
        ("drain", "nodes", 2, None),
        ("drain", "nodes", 0, "an integer from 1"),
        ("drain", "nodes", "two", "an integer from 1"),
        ("drain", "nodes", True, "an integer from 1"),
        ("scale", "hold_s", -1, "a number from 0"),
        ("scale", "hold_s", float("inf"), "a number from 0"),
        ("scale", "hold_s", 2.5, None),
        ("scale", "to", 2.5, "an integer from 0"),
        ("pod-delete", "force", "yes", "true or false"),
        ("vpa", "mode", "in-place", None),
        ("vpa", "mode", "inplace", "one of recreate, in-place"),
        ("vpa", "cpu", "80m", None),
    ],
)
def test_a_scenarios_option_says_what_it_wants(name: str, option: str, value: object, want: str | None) -> None:
    """A wrong value is found before anything is touched, not in the middle of the disruption."""
    assert load_scenarios()[name].why_not(option, value) == want


@pytest.mark.parametrize(
    ("name", "given", "taken"),
    [("drain", {}, 1), ("drain", {"nodes": 3}, 3), ("node-failure", {}, 1), ("rollout", {}, 0)],
)
def test_how_many_nodes_a_scenario_takes_is_known_beforehand(name: str, given: dict[str, int], taken: int) -> None:
    """From its header and its options."""
    item = load_scenarios()[name]
    assert item.nodes_taken(dict(item.options) | given) == taken


def test_what_a_scenario_expects_is_counted() -> None:
    """All replicas of a rollout, as many pods as are deleted by hand, evictions or resizes of a VPA."""
    found = load_scenarios()
    rollout, deletion, vpa = found["rollout"], found["pod-delete"], found["vpa"]
    assert rollout.expected(rollout.options, 4) == {"terminations": 4, "additions": 4}
    assert deletion.expected({**deletion.options, "count": 2}, 4) == {"terminations": 2, "additions": 2}
    assert deletion.expected({**deletion.options, "count": 9}, 4) == deletion.expected(deletion.options, 4)
    assert vpa.expected({**vpa.options, "mode": "recreate"}, 3) == {"terminations": 3, "additions": 3}
    assert vpa.expected({**vpa.options, "mode": "in-place"}, 3) == {"resizes": 3}
    assert all(item.expected(item.options, 4) for item in found.values())
