"""What hazd makes of Docker's and kind's answers: readiness, registries, checks and the workload image's tag."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from hazd.cluster.doctor import Check, usable
from hazd.cluster.kind import images as container
from hazd.cluster.kind import lifecycle as kind
from hazd.cluster.kind import state as kind_state
from hazd.cluster.kind.registry import asked_hosts


def node(name: str, ready: str) -> dict[str, Any]:
    return {
        "kind": "Node",
        "metadata": {"name": name},
        "status": {"conditions": [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": ready}]},
    }


def workload(kind: str, name: str, **status: int) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": name}, "spec": {"replicas": 2}, "status": status}


ALL_READY = [
    node("a", "True"),
    node("b", "True"),
    workload("Deployment", "coredns", availableReplicas=2),
    workload("DaemonSet", "kube-proxy", desiredNumberScheduled=2, numberReady=2, observedGeneration=1),
]


def test_a_cluster_is_ready_when_nothing_is_lacking() -> None:
    """All nodes joined and Ready, kube-system available: an empty list."""
    assert kind_state.unready(2, {"items": ALL_READY}) == []


@pytest.mark.parametrize(
    ("place", "item", "said"),
    [
        (1, node("b", "Unknown"), "node b is not Ready"),
        (1, workload("Deployment", "x", availableReplicas=2), "1 of 2 nodes"),
        (2, workload("Deployment", "coredns", availableReplicas=1), "deployment coredns"),
        (2, workload("Deployment", "coredns"), "deployment coredns"),
        (3, workload("DaemonSet", "kube-proxy", desiredNumberScheduled=2, numberReady=1), "1 of 2 ready"),
        (3, workload("DaemonSet", "kube-proxy"), "daemonset kube-proxy"),
    ],
)
def test_what_is_lacking_is_named(place: int, item: dict[str, Any], said: str) -> None:
    """A node that has not joined or is not Ready, a deployment or daemon set that is not all there."""
    items = [*ALL_READY[:place], item, *ALL_READY[place + 1 :]]
    lacking = kind_state.unready(2, {"items": items})
    assert len(lacking) == 1
    assert said in lacking[0]


@pytest.mark.parametrize(
    ("info", "hosts"),
    [
        ({"IndexServerAddress": "https://index.example/v1/"}, [("index.example", 443)]),
        (
            {"IndexServerAddress": "https://i.example/v1/", "RegistryConfig": {"Mirrors": ["http://m.example:5000/"]}},
            [("m.example", 5000), ("i.example", 443)],
        ),
        ({"IndexServerAddress": "https://i.example/v1/", "HttpsProxy": "http://p.example:3128"}, [("p.example", 3128)]),
        ({"RegistryConfig": {"Mirrors": None}}, []),
        ({}, []),
    ],
)
def test_a_registry_is_asked_where_the_engine_would_ask(info: dict[str, object], hosts: list[tuple[str, int]]) -> None:
    """The proxy if there is one, else mirrors and index; the engine's own settings, nothing built in."""
    assert asked_hosts(info) == hosts


def test_one_whole_cluster_is_enough() -> None:
    """hazd is usable with all that kind needs or all that the lab needs, not with half of each; advice never counts."""
    good, advice = Check("python", True, "", "", ("kind", "lab")), Check("swap", False, "on")
    no_docker, no_nft = Check("docker", False, "", "", ("kind",)), Check("nft", False, "", "", ("lab",))
    assert usable([good, advice])
    assert usable([good, no_docker])
    assert usable([good, no_nft])
    assert not usable([good, no_docker, no_nft])
    assert not usable([Check("python", False, "", "", ("kind", "lab"))])


def test_the_tag_changes_with_every_byte_and_name() -> None:
    """The image's tag stands for its content: equal content equal tag, any other content another."""
    content = {"hazd/a.py": b"x", "Dockerfile": b"FROM y"}
    first = container.tag(content)
    assert container.tag(dict(reversed(content.items()))) == first
    assert len({first, container.tag(content | {"hazd/a.py": b"z"}), container.tag(content | {"hazd/b.py": b""})}) == 3


def test_the_build_context_is_complete_and_reproducible(tmp_path: Path) -> None:
    """The container's modules, Dockerfile and packages are in it, tests of packages are not; two of them are equal."""
    (tmp_path / "pkg" / "tests").mkdir(parents=True)
    (tmp_path / "pkg" / "core.py").write_text("pass")
    (tmp_path / "pkg" / "tests" / "test_core.py").write_text("pass")
    content = container.sources()
    first, second = io.BytesIO(), io.BytesIO()
    container.write_context(first, content, tmp_path)
    (tmp_path / "pkg" / "core.py").touch()
    container.write_context(second, content, tmp_path)
    assert first.getvalue() == second.getvalue()
    first.seek(0)
    with tarfile.open(fileobj=first) as opened:
        names = set(opened.getnames())
    wanted = {"Dockerfile", "hazd/record.py", "hazd/traffic/worker.py", "hazd/sample_app/app.py", "site/pkg/core.py"}
    assert wanted <= names
    assert "site/pkg/tests/test_core.py" not in names
    assert not any(name.startswith(("hazd/cluster", "hazd/report", "hazd/cli")) for name in names)


def test_the_kubeconfig_is_hazds_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It lies in the state folder, one for each cluster, never at ~/.kube/config."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert kind_state.kubeconfig_path() == tmp_path / "hazd" / "kubeconfig"
    assert kind_state.kubeconfig_path("other") != kind_state.kubeconfig_path()
    assert kind.default_config().name == "kind-config.yaml"
