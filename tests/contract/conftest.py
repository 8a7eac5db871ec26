"""The clusters the suite runs on, and a namespace for each test that is gone when the session ends."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import anyio
import pytest

from hazd.cluster.choose import open_cluster
from hazd.cluster.port import Cluster, Images
from hazd.errors import ClusterError, EnvironmentProblem, NotFound
from hazd.model import Ref

from .objects import LABELS, until


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "cluster" not in metafunc.fixturenames:
        return
    kinds = [pytest.param("lab", marks=pytest.mark.lab), pytest.param("kind", marks=pytest.mark.kind)]
    if metafunc.config.getoption("--context"):
        kinds.append(pytest.param("context"))
    metafunc.parametrize("cluster", kinds, indirect=True, scope="package")


async def _choose(kind: str, config: pytest.Config) -> Cluster:
    if kind == "context":
        image = str(config.getoption("--context-image")) or None
        cluster, _ = await open_cluster(f"context:{config.getoption('--context')}", image=image)
        return cluster
    if kind == "kind":
        from hazd.cluster.kind.state import running

        if not await running():
            raise EnvironmentProblem("no kind cluster of hazd's is running", "`hazd cluster create`")
    cluster, _ = await open_cluster(kind)
    return cluster


@pytest.fixture(scope="package")
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    """An entered cluster; one that this machine cannot have is skipped with its reason."""
    kind = str(request.param)
    required = kind == "context" or request.config.getoption(f"--require-{kind}")
    try:
        chosen = await _choose(kind, request.config)
        await chosen.__aenter__()
    except (EnvironmentProblem, ClusterError, ImportError) as error:
        if required:
            raise
        pytest.skip(f"{kind}: {error}")
    try:
        yield chosen
    finally:
        await chosen.__aexit__(None, None, None)


@pytest.fixture(scope="package")
async def images(cluster: Cluster) -> Images:
    return await cluster.images()


@pytest.fixture(scope="package")
async def _namespaces(cluster: Cluster) -> AsyncIterator[list[str]]:
    """Every namespace made; the session ends when the last one is gone."""
    made: list[str] = []
    yield made
    for name in made:

        async def gone(name: str = name) -> bool:
            try:
                await cluster.get(Ref("Namespace", name))
            except NotFound:
                return True
            return False

        await until(f"namespace {name} to be gone", gone, 90)


@pytest.fixture
async def namespace(cluster: Cluster, _namespaces: list[str]) -> AsyncIterator[str]:
    """A namespace for one test; pods go at once, the rest while the next test runs."""
    name = f"hazd-contract-{uuid.uuid4().hex[:8]}"
    await cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(LABELS)}})
    _namespaces.append(name)
    yield name
    with anyio.CancelScope(shield=True):
        await cluster.delete(Ref("Namespace", name))
        for pod in await cluster.list("Pod", name):
            await cluster.delete(Ref("Pod", pod["metadata"]["name"], name), 0)
