"""A real API server takes every before.yaml and after.yaml: a strict server-side dry run, which stores nothing."""

from __future__ import annotations

import subprocess

import anyio
import pytest

from hazd.errors import EnvironmentProblem, HazdError
from hazd.manifests import dump, load_documents
from tests.fixes.cases import Case, all_cases


@pytest.fixture(scope="module")
def kubectl(request: pytest.FixtureRequest) -> list[str]:
    """kubectl with the kubeconfig of hazd's running kind cluster; skipped with the reason where there is none."""
    try:
        from hazd.cluster.kind.state import kubeconfig_path, running
        from hazd.cluster.process import find

        program = find("kubectl")
        if program is None or not anyio.run(running):
            raise EnvironmentProblem("no kubectl, or no kind cluster of hazd's is running", "`hazd cluster create`")
    except HazdError as error:
        if request.config.getoption("--require-kind"):
            raise
        pytest.skip(str(error))
    return [program, "--kubeconfig", str(kubeconfig_path())]


@pytest.mark.kind
@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.folder.name)
def test_the_api_server_takes_it(case: Case, side: str, kubectl: list[str]) -> None:
    """Strict field validation: an unknown or misplaced field is an error, not a warning."""
    documents = load_documents(case.folder / f"{side}.yaml")
    for doc in documents:
        doc["metadata"].pop("namespace", None)  # a dry run needs a namespace that exists
    command = [
        *kubectl,
        "create",
        "--dry-run=server",
        "--validate=strict",
        "--namespace=default",
        "--output=name",
        "-f-",
    ]
    done = subprocess.run(command, input=dump(documents), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == len(documents)
