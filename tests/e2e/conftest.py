"""The clusters of the end-to-end tests: the lab where it can run, hazd's own kind cluster where Docker answers."""

from __future__ import annotations

import pytest

from tests.e2e.hazd_command import KIND_CONFIG, hazd


@pytest.fixture(scope="session")
def kind_cluster() -> None:
    """hazd's kind cluster, created when absent; who created it deletes it (tests/lanes.py does)."""
    done = hazd("cluster", "create", "--config", KIND_CONFIG, timeout_s=3600)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def cluster_ready(request: pytest.FixtureRequest, cluster: str) -> None:
    """Whatever `cluster` names is there; a lab that this machine cannot have is a skip that says why."""
    if cluster == "kind":
        request.getfixturevalue("kind_cluster")
    else:
        request.getfixturevalue("lab_possible")


@pytest.fixture(scope="session")
def lab_possible(request: pytest.FixtureRequest) -> None:
    """The lab can be opened here; with --require-lab a lab that cannot is an error."""
    import anyio

    from hazd.cluster.choose import open_cluster
    from hazd.errors import EnvironmentProblem

    async def look() -> str:
        try:
            cluster, _ = await open_cluster("lab")
            async with cluster:
                return ""
        except EnvironmentProblem as problem:
            return problem.message

    problem = anyio.run(look)
    if problem and request.config.getoption("--require-lab"):
        pytest.fail(problem)
    if problem:
        pytest.skip(f"the lab cannot run here: {problem}")
