"""hazd's own kind cluster: created, found, found dead, recreated, deleted, and never in the user's kubeconfig."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import anyio
import pytest

from hazd.cluster.kind import lifecycle as kind
from hazd.cluster.kind.cluster import KindCluster
from hazd.cluster.kind.state import NAME, kubeconfig_path
from tests.e2e.hazd_command import hazd

THROWAWAY = "hazd-e2e"


def containers(name: str) -> list[str]:
    listed = subprocess.run(
        ["docker", "ps", "-aq", "--filter", f"label=io.x-k8s.kind.cluster={name}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return listed.stdout.split()


@pytest.mark.parametrize(
    "command", [("cluster", "status"), ("cluster", "create"), ("run", "rollout", "--cluster", "kind")]
)
def test_a_stopped_docker_is_one_clear_error(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Exit code 3, what does not answer and how to start it; no traceback."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-docker.sock")
    done = hazd(*command)
    assert done.returncode == 3
    assert "Docker" in done.stderr
    assert "Traceback" not in done.stderr
    assert "make setup" in done.stderr or "not installed" in done.stderr


@pytest.mark.kind
@pytest.mark.usefixtures("kind_cluster")
def test_creating_what_runs_changes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A second create leaves the nodes alone; the user's own kubeconfig is neither written nor read."""
    mine = tmp_path / "config"
    mine.write_text("not even YAML: [")
    monkeypatch.setenv("KUBECONFIG", str(mine))
    before = containers(NAME)
    assert hazd("cluster", "create").returncode == 0
    assert containers(NAME) == before
    assert mine.read_text() == "not even YAML: ["
    status = json.loads(hazd("cluster", "status", "--json").stdout)
    assert status["state"] == "running"
    assert len(status["nodes"]) == 3


@pytest.mark.kind
@pytest.mark.usefixtures("kind_cluster")
def test_images_are_built_and_loaded_once() -> None:
    """The second time nothing is built and nothing loaded."""
    said: list[str] = []

    async def twice() -> None:
        for _ in range(2):
            said.clear()
            async with KindCluster(progress=said.append) as cluster:
                images = await cluster.images()
                assert images.app != images.app_next

    anyio.run(twice)
    assert said == []


@pytest.mark.kind
@pytest.mark.nodes
def test_a_dead_cluster_is_seen_and_made_anew() -> None:
    """Killed nodes mean "dead"; create makes the cluster work again; delete leaves no container and no kubeconfig."""
    said: list[str] = []

    async def life() -> None:
        await kind.create(THROWAWAY, progress=said.append)
        await anyio.run_process(["docker", "kill", *containers(THROWAWAY)])
        assert (await kind.status(THROWAWAY))["state"] == "dead"
        assert not await kind.running(THROWAWAY)
        await kind.create(THROWAWAY, progress=said.append)
        assert await kind.running(THROWAWAY)

    try:
        anyio.run(life)
        assert any("recreating it" in line for line in said)
    finally:
        anyio.run(kind.delete, THROWAWAY)
    assert containers(THROWAWAY) == []
    assert not kubeconfig_path(THROWAWAY).exists()
