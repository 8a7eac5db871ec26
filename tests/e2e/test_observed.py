"""What the kernel says of each request, on the lab and on kind: a failure has an endpoint, or nothing is claimed."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.e2e.hazd_command import run_json
from tests.e2e.test_scenarios import CLUSTERS

BARE = ("run", "rollout", "--startup-delay", "2", "--settle", "2")


@pytest.mark.parametrize("cluster", CLUSTERS)
@pytest.mark.usefixtures("cluster_ready")
def test_every_failed_request_is_seen(cluster: str, tmp_path: Path) -> None:
    """The endpoint of each is the kernel's word; what responses say of their pods agrees; no event was missed."""
    code, summary = run_json(tmp_path, *BARE, "--cluster", cluster, "--name", "seen")
    (trial,) = summary["trials"]
    failed = trial["requests"]["failed"]
    assert code == 1, trial["reasons"]
    assert failed > 20
    observed = trial["observed"]
    assert observed["on"], observed
    assert (observed["gaps"], observed["problems"]) == (0, [])
    assert observed["agreed"] == observed["checked"] > 500
    assert trial["failures_known"]["inferred"] == 0
    assert trial["failures_known"]["unknown"] <= 0.005 * failed + 1
    rows = pd.read_feather(tmp_path / "seen" / "trials" / trial["name"] / "failures.arrow")
    assert len(rows) == failed
    fresh = rows[rows.connection == "new"]
    assert (fresh.endpoint.str.match(r"^\d+\.\d+\.\d+\.\d+:\d+$")).all()
    assert set(rows.cause) <= {cause["rule"] for cause in trial["causes"]} | {""}


@pytest.mark.lab
def test_without_an_observer_nothing_is_claimed_as_seen(lab_possible: None, tmp_path: Path) -> None:
    """--observe off: no flows, causes are ranges that hold the number printed."""
    _, summary = run_json(tmp_path, *BARE, "--cluster", "lab", "--observe", "off")
    (trial,) = summary["trials"]
    assert not trial["observed"]["on"]
    assert trial["failures_known"]["seen"] <= trial["streams"][1]["recorded"], "kept connections are known by responses"
    for cause in trial["causes"]:
        assert cause["least"] <= cause["requests"] <= cause["most"]
    assert trial["requests"]["failed"] == sum(cause["requests"] for cause in trial["causes"])
