"""Each fix against its before.yaml -> after.yaml pairs, and what every fix must keep to."""

from __future__ import annotations

import copy
import inspect
import sys
from pathlib import Path
from typing import Any

import pytest

import hazd.fixes
from hazd.errors import UsageError
from hazd.fixes import Fix, load
from hazd.manifests import parse_documents, pod_spec
from hazd.model import Setup
from hazd.sample_app.manifests import sample_workload
from tests.fixes.cases import Case, all_cases

FIXES = load()
CASES = all_cases()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.folder.name)
def test_before_becomes_after(case: Case) -> None:
    """The pair as a person reads it, also when the fixes are applied a second time."""
    applied = case.applied()
    assert applied.documents == case.after
    for name in case.fixes:
        assert FIXES[name].apply(applied, case.settings) == applied


@pytest.mark.parametrize("name", FIXES)
def test_every_fix_has_a_case_and_says_what_it_does(name: str) -> None:
    """A pair of its own, and a docstring with the race that it cures and the one that it does not."""
    assert any(case.fixes == (name,) for case in CASES)
    doc = inspect.getmodule(FIXES[name].apply).__doc__ or ""
    assert "Cures: " in doc
    assert "Does not\ncure: " in doc or "Does not cure: " in doc
    assert all((FIXES[name].summary, FIXES[name].cures, FIXES[name].not_cures))


def test_names_as_on_the_command_line() -> None:
    """Names and order are part of trial names and reports; a change here is a change for users."""
    assert list(FIXES) == [
        "prestop",
        "readiness",
        "graceful-shutdown",
        "pdb",
        "anti-affinity",
        "recycle",
        "grace",
        "min-ready-seconds",
    ]


def test_a_new_file_is_a_new_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No list is kept anywhere: a file with FIX in the folder is enough."""
    (tmp_path / "brand_new.py").write_text(
        "from hazd.fixes import Fix\n"
        "FIX = Fix('brand-new', 's', 'c', 'n', 0, apply=lambda setup, settings: setup, applies=lambda setup: '')\n"
    )
    monkeypatch.setattr(hazd.fixes, "__path__", [*hazd.fixes.__path__, str(tmp_path)])
    try:
        assert list(load()) == ["brand-new", *FIXES]
    finally:
        del sys.modules["hazd.fixes.brand_new"]


SAMPLE = Setup(sample_workload(image="hazd/workload:v1"))


@pytest.mark.parametrize(
    ("name", "settings", "field"),
    [
        ("prestop", {"prestop_s": 0}, "prestop_s: 0"),
        ("prestop", {"prestop_s": "5"}, "prestop_s: '5'"),
        ("prestop", {"containers": ["db"]}, "'db' is not in deployment/app"),
        ("readiness", {"readiness_path": "healthz"}, "readiness_path: 'healthz'"),
        ("readiness", {"readiness_period_s": True}, "readiness_period_s: True"),
        ("graceful-shutdown", {"shutdown_s": -1}, "shutdown_s: -1"),
        ("pdb", {"pdb_min_available": 1, "pdb_max_unavailable": 1}, "both minAvailable and maxUnavailable"),
        ("pdb", {"pdb_max_unavailable": "half"}, "maxUnavailable: 'half'"),
        ("anti-affinity", {"anti_affinity": "hard"}, "anti_affinity: 'hard'"),
        ("recycle", {"recycle_after": 0}, "recycle_after: 0"),
        ("grace", {"grace_s": 1e9}, "grace_s: 1000000000.0"),
        ("min-ready-seconds", {"min_ready_s": 0}, "min_ready_s: 0"),
        ("prestop", {"workload": "other"}, "workload: 'other'"),
    ],
)
def test_settings_that_make_no_sense(name: str, settings: dict[str, Any], field: str) -> None:
    """A usage error names the setting and its value, and says what would be right."""
    with pytest.raises(UsageError) as caught:
        FIXES[name].apply(SAMPLE, settings)
    assert field in caught.value.message
    assert caught.value.hint


FOREIGN = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      containers:
      - name: web
        image: example.org/shop:2.0
"""
OWN_HOOK = FOREIGN + "        lifecycle: {preStop: {exec: {command: [nginx, -s, quit]}}}\n"


@pytest.mark.parametrize("name", FIXES)
def test_every_fix_applies_to_the_sample(name: str) -> None:
    """On hazd's own app no fix has an excuse, and each changes something."""
    assert FIXES[name].applies(SAMPLE) == ""
    assert FIXES[name].apply(SAMPLE, {"grace_s": 60} if name == "grace" else {}).documents != SAMPLE.documents


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("graceful-shutdown", FOREIGN, "only hazd's own sample"),
        ("recycle", FOREIGN, "recycle_client"),
        ("readiness", FOREIGN, "names no port"),
        ("prestop", OWN_HOOK, "a preStop hook of its own"),
    ],
)
def test_a_fix_that_cannot_act_says_why_and_changes_nothing(name: str, text: str, reason: str) -> None:
    """`applies` gives the reason, and `apply` the same setup."""
    setup = Setup(parse_documents(text, "x"))
    assert reason in FIXES[name].applies(setup)
    assert FIXES[name].apply(setup, {}) == setup


@pytest.mark.parametrize("name", FIXES)
def test_without_a_clear_workload(name: str) -> None:
    """Two workloads without a Service: the reason names both, instead of one of them being changed by chance."""
    two = parse_documents(FOREIGN + "---" + FOREIGN.replace("name: shop}", "name: shop2}"), "x")
    fix: Fix = FIXES[name]
    assert fix.applies(Setup(two))
    named = fix.apply(Setup(two), {"workload": "shop2"})
    assert named.documents[0] == two[0]


def test_recycling_from_the_clients_side() -> None:
    """recycle_client works for any image: the documents stay, the client closes after so many requests."""
    setup = Setup(parse_documents(FOREIGN, "x"))
    after = FIXES["recycle"].apply(setup, {"recycle_client": True, "recycle_after": 50})
    assert after == Setup(setup.documents, recycle_after=50)
    assert FIXES["recycle"].apply(SAMPLE, {}).recycle_after == 0


def test_the_input_is_left_alone() -> None:
    """No fix writes into the manifests it was given, not even into parts that they share."""
    shared = {"app": "app"}
    documents = copy.deepcopy(SAMPLE.documents)
    documents[0]["spec"]["selector"]["matchLabels"] = documents[0]["spec"]["template"]["metadata"]["labels"] = shared
    pod_spec(documents[0])["containers"][0]["lifecycle"] = {}
    before = copy.deepcopy(documents)
    for fix in FIXES.values():
        fix.apply(Setup(documents), {})
    assert documents == before
