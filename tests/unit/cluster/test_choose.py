"""Which cluster `auto` means on a machine without Docker, and that it says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from hazd.cluster import lab
from hazd.cluster.choose import open_cluster
from hazd.cluster.kind import lifecycle as kind
from hazd.cluster.kind import registry
from hazd.errors import EnvironmentProblem, UsageError

pytestmark = pytest.mark.anyio


@pytest.fixture
def _without_docker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.mark.usefixtures("_without_docker")
async def test_auto_without_docker_is_the_lab_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line names the lab, what it is, and what kind lacks."""
    monkeypatch.setattr(lab, "lab_problem", lambda: None, raising=False)
    cluster, why = await open_cluster("auto", lab={"nodes": 4})
    assert type(cluster).__name__ == "LabCluster"
    assert why.startswith("the lab (an emulation")
    assert "Docker is not installed" in why


@pytest.mark.usefixtures("_without_docker")
async def test_auto_with_nothing_at_all_names_both_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    """One error, with what is missing for either."""
    problem = EnvironmentProblem("the lab cannot make namespaces", "allow user namespaces")
    monkeypatch.setattr(lab, "lab_problem", lambda: problem, raising=False)
    with pytest.raises(EnvironmentProblem, match=r"Docker is not installed.*cannot make namespaces") as caught:
        await open_cluster("auto")
    assert "allow user namespaces" in caught.value.hint


@pytest.fixture
def _with_docker_but_no_image(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no() -> bool:
        return False

    async def nothing() -> str:
        return ""

    async def none() -> list[str]:
        return []

    monkeypatch.setattr(kind, "running", no)
    monkeypatch.setattr(kind, "why_not_usable", nothing)
    monkeypatch.setattr(kind, "local_images", none)
    monkeypatch.setattr(registry, "answers", no)


@pytest.mark.usefixtures("_with_docker_but_no_image")
async def test_auto_does_not_compile_for_a_quarter_of_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lab, and the line says what would make kind the choice."""
    monkeypatch.setattr(lab, "lab_problem", lambda: None, raising=False)
    cluster, why = await open_cluster("auto")
    assert type(cluster).__name__ == "LabCluster"
    assert "`hazd cluster create`" in why


@pytest.mark.usefixtures("_with_docker_but_no_image")
async def test_auto_builds_where_the_lab_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow beats not at all."""
    made: list[str] = []

    async def create(**_: object) -> str:
        made.append("kind")
        return ""

    problem = EnvironmentProblem("the lab cannot make namespaces", "allow user namespaces")
    monkeypatch.setattr(lab, "lab_problem", lambda: problem, raising=False)
    monkeypatch.setattr(kind, "create", create)
    # The real one reads the kubeconfig that only a cluster that was made has.
    monkeypatch.setattr("hazd.cluster.kind.cluster.KindCluster", lambda **_: None)
    _, why = await open_cluster("auto")
    assert made == ["kind"]
    assert "cannot make namespaces" in why


def test_lab_options_come_with_the_spec() -> None:
    """Numbers by LabOptions' own names; whole numbers stay whole."""
    from hazd.cluster.lab.options import parse_options

    assert parse_options("hpa_sync_s=5,nodes=4") == {"hpa_sync_s": 5.0, "nodes": 4}
    assert parse_options("") == {}


@pytest.mark.parametrize(
    ("text", "word"), [("hpa=5", "no option hpa"), ("nodes=many", "not OPTION=NUMBER"), ("nodes", "not")]
)
def test_a_lab_option_that_is_none_is_named(text: str, word: str) -> None:
    """One clear error with what would be right."""
    from hazd.cluster.lab.options import parse_options

    with pytest.raises(UsageError, match=word):
        parse_options(text)
