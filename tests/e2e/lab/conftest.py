"""Fixtures: a lab, where this machine can have one; else a skip with the reason (an error with --require-lab)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from hazd.cluster.lab import LabCluster, lab_problem

from .bench import FAST


@pytest.fixture(scope="module", autouse=True)
def _possible(request: pytest.FixtureRequest) -> None:
    problem = lab_problem()
    if problem is not None:
        if request.config.getoption("--require-lab"):
            raise problem
        pytest.skip(str(problem))


@pytest.fixture
async def lab() -> AsyncIterator[LabCluster]:
    async with LabCluster(FAST) as cluster:
        await cluster.create({"kind": "Namespace", "metadata": {"name": "t"}})
        yield cluster
