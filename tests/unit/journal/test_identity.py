"""What a resumed run keeps: only a trial that is the one it would run itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hazd.journal import identity_of, why_not_same
from hazd.model import ClusterInfo, Criteria, Setup, Stream, TrafficPlan, Trial

SECRET = {"kind": "Secret", "metadata": {"name": "tls"}, "data": {"key": "aaaa"}}
APP = {"kind": "Deployment", "metadata": {"name": "app"}, "spec": {"replicas": 2}}
PLAN = TrafficPlan("http://app/", 60.0, (Stream("new"),), headers=(("Authorization", "Bearer hidden"),))
TRIAL = Trial("rollout--baseline", "rollout", (), 60.0, 1.0, 1.0, 2, Setup((APP, SECRET)), PLAN)
INFO = ClusterInfo("kind", "kind-hazd", "v1.34.4", 3, "iptables", uid="4f1c")
IMAGES = {"app": "hazd/workload:1-a", "app_next": "hazd/workload:1-b", "worker": "hazd/workload:1-a"}


def why(trial: Trial = TRIAL, info: ClusterInfo = INFO, images: dict[str, str] = IMAGES, version: str = "1") -> Any:
    return why_not_same(identity_of(TRIAL, INFO, IMAGES, "1"), identity_of(trial, info, images, version))


def test_the_same_trial_is_the_same() -> None:
    """Also with a certificate of the run's own, and under another name of the context."""
    assert why() is None
    assert why(replace(TRIAL, setup=Setup((APP, SECRET | {"data": {"key": "bbbb"}})))) is None
    assert why(replace(TRIAL, traffic=replace(PLAN, ca_pem="another"))) is None
    assert why(info=replace(INFO, name="other")) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trial": replace(TRIAL, rate=100.0)}, "rate was 60.0, now it is 100.0"),
        ({"trial": replace(TRIAL, settle_s=5.0)}, "settle_s was 1.0, now it is 5.0"),
        ({"trial": replace(TRIAL, criteria=Criteria(max_failed=9))}, "criteria.max_failed was 0, now it is 9"),
        ({"trial": replace(TRIAL, options={"force": True})}, "options.force was not set, now it is true"),
        ({"trial": replace(TRIAL, traffic=replace(PLAN, seed=2))}, "traffic.seed was 1, now it is 2"),
        ({"trial": replace(TRIAL, setup=Setup((APP | {"spec": {"replicas": 3}}, SECRET)))}, "documents differs"),
        ({"info": replace(INFO, uid="77aa")}, 'cluster.uid was "4f1c", now it is "77aa"'),
        ({"images": IMAGES | {"app": "hazd/workload:2-a"}}, 'image.app was "hazd/workload:1-a"'),
        ({"version": "2"}, 'hazd was "1", now it is "2"'),
    ],
)
def test_every_difference_is_named(changes: dict[str, Any], words: str) -> None:
    """Options, documents, images, cluster, version."""
    assert words in why(**changes)


def test_what_may_be_secret_is_kept_as_a_digest() -> None:
    """A header is part of the identity, its value stands nowhere."""
    assert "hidden" not in str(identity_of(TRIAL, INFO, IMAGES, "1"))
    other = replace(TRIAL, traffic=replace(PLAN, headers=(("Authorization", "Bearer other"),)))
    assert why(other) == "traffic.headers differs"


def test_a_trial_without_identity_is_not_kept() -> None:
    """Recorded before there was one."""
    assert "did not keep" in str(why_not_same(None, identity_of(TRIAL, INFO, IMAGES, "1")))
