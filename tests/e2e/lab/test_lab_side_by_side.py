"""Several labs on one machine at once, in one process and in several: the same names, and nothing shared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest

from hazd.cluster.choose import open_cluster
from hazd.cluster.lab import LabCluster, state
from hazd.errors import NotFound
from hazd.model import Ref

from .bench import FAST, SOURCE, ask, listening, own_folders, pod, until

pytestmark = [pytest.mark.lab, pytest.mark.anyio]
SERVICE = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
ADDRESS = "10.96.1.1"


async def _serve(lab: LabCluster, name: str) -> None:
    """A pod of that name behind the Service whose address every lab here uses."""
    await lab.create({"kind": "Namespace", "metadata": {"name": "t"}})
    meta = {"name": "web", "namespace": "t"}
    await lab.create({"kind": "Service", "metadata": meta, "spec": {**SERVICE, "clusterIP": ADDRESS}})
    await lab.create(pod(name))
    await listening(lab, name)


async def _responses(lab: LabCluster, count: int) -> set[str]:
    """What the Service's address says from two nodes; it is asked until its rules are there."""

    async def led() -> bool:
        return "ECONNREFUSED" not in {await ask(lab, name, ADDRESS) for name in lab.options.node_names[1:]}

    await until("the rules lead the service", led)
    return {await ask(lab, lab.options.node_names[n % 2 + 1], ADDRESS) for n in range(count)}


async def test_labs_in_one_process_do_not_see_each_other() -> None:
    """Same nodes, same addresses, same namespace: each lab's clients reach its own pod; one ends, the other goes on."""
    responses: dict[str, set[str]] = {}

    async def traffic(lab: LabCluster, name: str) -> None:
        await _serve(lab, name)
        responses[name] = await _responses(lab, 100)

    async with LabCluster(FAST) as second:
        async with LabCluster(FAST) as first:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(traffic, first, "one")
                tasks.start_soon(traffic, second, "two")
            assert responses == {"one": {"one"}, "two": {"two"}}
            addresses = {
                name: (await lab.get(Ref("Pod", name, "t")))["status"]["podIP"]
                for lab, name in ((first, "one"), (second, "two"))
            }
            assert addresses["one"] == addresses["two"]
            with pytest.raises(NotFound):
                await second.get(Ref("Pod", "one", "t"))
            assert len(own_folders()) == 2
            await first.stop_node("x-worker")
            assert await _responses(second, 50) == {"two"}
        assert await _responses(second, 50) == {"two"}
    assert own_folders() == []


OTHER = """
import anyio, json, sys
from hazd.cluster.lab import LabCluster
from tests.e2e.lab.bench import FAST
from tests.e2e.lab.test_lab_side_by_side import _responses, _serve

async def main():
    async with LabCluster(FAST) as lab:
        await _serve(lab, sys.argv[1])
        print(lab.plant.folder, flush=True)
        await anyio.to_thread.run_sync(sys.stdin.readline)
        print(json.dumps(sorted(await _responses(lab, 100))), flush=True)

anyio.run(main)
"""


async def test_labs_of_several_processes_do_not_see_each_other() -> None:
    """Three processes with a lab each, all serving at once; the folders of all are gone in the end."""
    environ = {**os.environ, "PYTHONPATH": SOURCE}
    names = ("one", "two", "three")
    others = [
        subprocess.Popen(  # noqa: ASYNC220
            [sys.executable, "-c", OTHER, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ
        )
        for name in names
    ]
    try:
        folders = []
        for each in others:
            assert each.stdout is not None
            folders.append(Path((await anyio.to_thread.run_sync(each.stdout.readline)).strip()))
        assert all(state.living(folder)["hazd"] == each.pid for folder, each in zip(folders, others, strict=True))
        for each in others:
            assert each.stdin is not None
            each.stdin.write("ask\n")
            each.stdin.flush()
        said = [(await anyio.to_thread.run_sync(each.communicate))[0] for each in others]
    finally:
        for each in others:
            each.kill()
            each.wait()
    assert [json.loads(words) for words in said] == [[name] for name in names]
    assert [each.returncode for each in others] == [0, 0, 0]
    assert not [folder for folder in folders if folder.exists()]


async def test_two_clusters_that_open_cluster_gives() -> None:
    """`--cluster lab` twice at once, as trials side by side open them."""
    async with AsyncExitStack() as stack:
        labs = []
        for _ in range(2):
            cluster, _ = await open_cluster("lab", lab={"min_sync_period_s": 0.2, "container_start_s": 0.0})
            labs.append(await stack.enter_async_context(cluster))
        for n, lab in enumerate(labs):
            await lab.create({"kind": "Namespace", "metadata": {"name": f"only-{n}"}})
        assert [len(await lab.list("Namespace")) for lab in labs] == [3, 3]
