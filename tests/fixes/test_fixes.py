"""Each fix against its before.yaml -> after.yaml pairs, and what every fix must keep to."""

from __future__ import annotations

import copy
import inspect
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import hazd.fixes
from hazd.errors import UsageError
from hazd.fixes import Fix, FixSettings, load
from hazd.manifests import parse_documents, pod_spec
from hazd.model import Applied, Setup
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
        assert FIXES[name].apply(applied, case.settings)[0] == applied


@pytest.mark.parametrize("name", FIXES)
def test_every_fix_has_a_case_and_says_what_it_does(name: str) -> None:
    """A pair of its own, and a docstring with the race that it cures and the one that it does not."""
    assert any(case.fixes == (name,) for case in CASES)
    doc = inspect.getmodule(FIXES[name].apply).__doc__ or ""
    assert "Cures: " in doc
    assert "Does not cure: " in " ".join(doc.split()) + " "
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
        "FIX = Fix('brand-new', 's', 'c', 'n', 0, apply=lambda setup, _: (setup, None), why_not=lambda *_: None)\n"
    )
    monkeypatch.setattr(hazd.fixes, "__path__", [*hazd.fixes.__path__, str(tmp_path)])
    try:
        assert list(load()) == ["brand-new", *FIXES]
    finally:
        del sys.modules["hazd.fixes.brand_new"]


SAMPLE = Setup(sample_workload(image="hazd/workload:v1"))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"prestop_s": 0}, "prestop_s: 0 is not an integer number of seconds from 1 to 86400"),
        ({"prestop_s": "5"}, "prestop_s: '5'"),
        ({"prestop_s": None}, "prestop_s: None"),
        ({"readiness_path": "healthz"}, "readiness_path: 'healthz' is not a path that begins with /"),
        ({"readiness_path": "/a b"}, "readiness_path: '/a b'"),
        ({"readiness_port": "0"}, "readiness_port: '0' is not a port's number from 1 to 65535"),
        ({"readiness_port": "Web"}, "readiness_port: 'Web'"),
        ({"readiness_scheme": "https"}, "readiness_scheme: 'https' is not HTTP or HTTPS"),
        ({"readiness_period_s": True}, "readiness_period_s: True"),
        ({"shutdown_s": -1}, "shutdown_s: -1"),
        ({"pdb_min_available": 1, "pdb_max_unavailable": 1}, "pdb_min_available: 1 is not possible beside"),
        ({"pdb_max_unavailable": "half"}, "pdb_max_unavailable: 'half'"),
        ({"pdb_max_unavailable": "101%"}, "pdb_max_unavailable: '101%'"),
        ({"anti_affinity": "hard"}, "anti_affinity: 'hard' is not preferred or required"),
        ({"topology_key": "a b"}, "topology_key: 'a b' is not a node's label"),
        ({"recycle_after": 0}, "recycle_after: 0"),
        ({"grace_s": 1e9}, "grace_s: 1000000000.0"),
        ({"min_ready_s": 0}, "min_ready_s: 0"),
    ],
)
def test_settings_that_make_no_sense(given: dict[str, Any], words: str) -> None:
    """A usage error names the setting and its value, and says what would be right."""
    with pytest.raises(UsageError) as caught:
        FixSettings(**given)
    assert words in caught.value.message
    assert " is not " in caught.value.message


def test_every_setting_that_makes_no_sense_is_named_at_once() -> None:
    """A line each."""
    with pytest.raises(UsageError) as caught:
        FixSettings(prestop_s=0, anti_affinity="hard", recycle_after=0)
    assert [line.partition(":")[0] for line in caught.value.message.splitlines()] == [
        "prestop_s",
        "anti_affinity",
        "recycle_after",
    ]


def test_fixes_say_which_settings_they_read() -> None:
    """Every input is a field of FixSettings, every field is the input of a fix, and a field has one option."""
    names = {item.name for item in fields(FixSettings)}
    assert {name for fix in FIXES.values() for name in fix.inputs} == names
    for name in names:
        assert len({fix.inputs[name] for fix in FIXES.values() if name in fix.inputs}) == 1


@pytest.mark.parametrize("name", FIXES)
def test_a_fix_reads_no_other_setting(name: str) -> None:
    """A field that is not among its inputs changes nothing."""
    other: dict[str, Any] = {
        "prestop_s": 9,
        "grace_s": 77,
        "shutdown_s": 40,
        "readiness_path": "/x",
        "readiness_period_s": 7,
    }
    other |= {"readiness_port": 1, "readiness_scheme": "HTTPS", "pdb_max_unavailable": 3, "anti_affinity": "required"}
    other |= {"topology_key": "zone", "recycle_after": 9, "min_ready_s": 9}
    settings = FixSettings(**{key: value for key, value in other.items() if key not in FIXES[name].inputs})
    assert FIXES[name].apply(SAMPLE, settings) == FIXES[name].apply(SAMPLE, FixSettings())


LONGER = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  minReadySeconds: 9
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      terminationGracePeriodSeconds: 60
      containers:
      - name: web
        image: example.org/shop:2.0
        ports: [{containerPort: 3000}]
        lifecycle: {preStop: {exec: {command: [sleep, "20"]}}}
        readinessProbe: {tcpSocket: {port: 3000}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: shop}
spec: {minAvailable: 50%, selector: {matchLabels: {app: shop}}}
"""


@pytest.mark.parametrize(
    ("name", "words", "values"),
    [
        ("prestop", "preStop 20 s", {"prestop_s": 20, "hook": "exec"}),
        ("readiness", "readiness", {"readiness_port": 3000, "readiness_period_s": 10}),
        ("pdb", "PDB minAvailable 50%", {"min_available": "50%"}),
        ("anti-affinity", "anti-affinity", {"anti_affinity": "preferred", "topology_key": "kubernetes.io/hostname"}),
        ("grace", "grace period 60 s", {"grace_s": 60}),
        ("min-ready-seconds", "minReadySeconds 9 s", {"min_ready_s": 9}),
    ],
)
def test_what_stands_in_the_manifests_is_reported_and_not_what_was_asked_for(
    name: str, words: str, values: dict[str, Any]
) -> None:
    """A longer sleep, a probe, a budget of the user's own stay, and reports print those."""
    assert FIXES[name].apply(Setup(parse_documents(LONGER, "x")), FixSettings())[1] == Applied(words, values)


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("prestop", {"prestop_s": 7}, "preStop 7 s"),
        ("pdb", {"pdb_max_unavailable": "2"}, "PDB maxUnavailable 2"),
        ("anti-affinity", {"anti_affinity": "required"}, "required anti-affinity"),
        ("recycle", {"recycle_after": 20}, "recycling after 20 requests"),
        ("grace", {"grace_s": 5}, "grace period 5 s"),
        ("min-ready-seconds", {"min_ready_s": 6}, "minReadySeconds 6 s"),
        ("graceful-shutdown", {"shutdown_s": 12}, "graceful shutdown"),
    ],
)
def test_what_a_fix_set_is_reported(name: str, given: dict[str, Any], words: str) -> None:
    """Of the sample app everything is as asked, and applying it again says the same."""
    settings = FixSettings(**given)
    setup, applied = FIXES[name].apply(SAMPLE, settings)
    assert applied.words == words
    assert FIXES[name].apply(setup, settings)[1] == applied
    for key, value in given.items():
        found = applied.values[key.removeprefix("pdb_")]
        assert str(found) == str(value)


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
    settings = FixSettings(grace_s=60 if name == "grace" else None)
    assert FIXES[name].why_not(SAMPLE, settings) is None
    assert FIXES[name].apply(SAMPLE, settings)[0].documents != SAMPLE.documents


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("graceful-shutdown", FOREIGN, "only hazd's own sample"),
        ("recycle", FOREIGN, "--recycle-connections-after"),
        ("readiness", FOREIGN, "names no port"),
        ("prestop", OWN_HOOK, "a preStop hook of its own"),
    ],
)
def test_a_fix_that_cannot_act_says_why_and_changes_nothing(name: str, text: str, reason: str) -> None:
    """`why_not` gives the reason, and `apply` the same setup."""
    setup = Setup(parse_documents(text, "x"))
    assert reason in (FIXES[name].why_not(setup, FixSettings()) or "")
    assert FIXES[name].apply(setup, FixSettings())[0] == setup


def test_a_port_that_is_given_is_no_reason_any_more() -> None:
    """The remedy that the reason names is one."""
    setup, settings = Setup(parse_documents(FOREIGN, "x")), FixSettings(readiness_port="8000")
    assert FIXES["readiness"].why_not(setup, settings) is None
    (container,) = pod_spec(FIXES["readiness"].apply(setup, settings)[0].documents[0])["containers"]
    assert container["readinessProbe"]["tcpSocket"] == {"port": 8000}


@pytest.mark.parametrize("name", FIXES)
def test_without_a_clear_workload(name: str) -> None:
    """Two workloads without a Service: the reason names both, instead of one of them being changed by chance."""
    two = parse_documents(FOREIGN + "---" + FOREIGN.replace("name: shop}", "name: shop2}"), "x")
    fix: Fix = FIXES[name]
    assert fix.why_not(Setup(two), FixSettings())
    named, _ = fix.apply(Setup(two, workload="shop2"), FixSettings())
    assert named.documents[0] == two[0]


def test_the_input_is_left_alone() -> None:
    """No fix writes into the manifests it was given, not even into parts that they share."""
    shared = {"app": "app"}
    documents = copy.deepcopy(SAMPLE.documents)
    documents[0]["spec"]["selector"]["matchLabels"] = documents[0]["spec"]["template"]["metadata"]["labels"] = shared
    pod_spec(documents[0])["containers"][0]["lifecycle"] = {}
    before = copy.deepcopy(documents)
    for fix in FIXES.values():
        fix.apply(Setup(documents), FixSettings())
    assert documents == before
