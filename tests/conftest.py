"""Options and fixtures of every test lane: which lanes run, and on which event loop."""

from __future__ import annotations

import pytest
from hypothesis import settings

settings.register_profile("hazd", deadline=None)  # how long an example takes says how busy the machine is
settings.load_profile("hazd")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("hazd")
    group.addoption("--kind", action="store_true", help="run the tests marked `kind` on hazd's running kind cluster")
    group.addoption("--require-kind", action="store_true", help="like --kind, and a missing kind cluster is an error")
    group.addoption("--require-lab", action="store_true", help="a lab that cannot be opened is an error, not a skip")
    group.addoption("--context", default="", help="run the contract suite on this kubeconfig context, too")
    group.addoption("--context-image", default="", help="hazd's workload image as that context's nodes know it")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "nodes: takes a node away for a while; nothing else may use the cluster then")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--kind") or config.getoption("--require-kind"):
        return
    skip = pytest.mark.skip(reason="needs a kind cluster: run with --kind")
    for item in items:
        if item.get_closest_marker("kind"):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """hazd runs on asyncio (or uvloop); tests of pure timing choose trio themselves."""
    return "asyncio"
