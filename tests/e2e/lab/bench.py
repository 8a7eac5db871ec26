"""A lab with short delays, a tiny server for its pods, and helpers to send it requests."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio

import hazd
from hazd.cluster.lab import LabCluster, LabOptions, state
from hazd.cluster.lab.http import Request
from hazd.errors import ClusterError
from hazd.manifests.conditions import is_ready
from hazd.model import Manifest, Ref

SERVER = (
    "import socket,os\n"
    "s=socket.create_server(('',8080))\n"
    "print('listening',os.getpid(),flush=True)\n"
    "while True:\n"
    "    c,_=s.accept(); c.recv(9999)\n"
    "    b=os.environ['POD_NAME'].encode()\n"
    "    c.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n'%len(b)+b); c.close()\n"
)
FAST = LabOptions(
    container_start_s=0.0,
    relist_period_s=0.1,
    pod_status_s=0.0,
    pod_removal_s=0.0,
    min_sync_period_s=0.2,
    node_boot_s=0.2,
    name="x",
)
SOURCE = str(Path(hazd.__file__).parent.parent)


def pod(name: str, code: str = SERVER, node: str = "x-worker", **spec: Any) -> Manifest:
    env = [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
    container = {"name": "c", "image": "any", "command": ["python3", "-c", code], "env": env}
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "t", "labels": {"app": "web"}},
        "spec": {"containers": [container], "nodeName": node, "terminationGracePeriodSeconds": 2, **spec},
    }


async def until(what: str, holds: Callable[[], Awaitable[Any]]) -> Any:
    with anyio.move_on_after(30):
        while True:
            seen = await holds()
            if seen:
                return seen
            await anyio.sleep(0.05)
    raise AssertionError(f"never: {what}")


async def listening(lab: LabCluster, *names: str) -> list[Manifest]:
    async def respond() -> list[Manifest]:
        pods = [await lab.get(Ref("Pod", name, "t")) for name in names]
        if not all(map(is_ready, pods)):
            return []
        for name in names:
            try:
                await lab.pod_request(Ref("Pod", name, "t"), 8080, "GET", "/")
            except ClusterError:
                return []
        return pods

    found: list[Manifest] = await until(f"{names} listen", respond)
    return found


async def ask(lab: LabCluster, place: str, address: str, port: int = 80, timeout_s: float = 5.0) -> str:
    """The body, or the name of the errno, or "timeout", of one request from a node or a pod (by its uid)."""
    try:
        _, body = await lab.plant.machine.request(place, address, Request(port), timeout_s)
    except TimeoutError:
        return "timeout"
    except OSError as problem:
        return errno.errorcode.get(problem.errno or 0, str(problem))
    return body.decode()


def own_folders() -> list[Path]:
    return [folder for folder in state.base().iterdir() if state.living(folder).get("hazd") == os.getpid()]


def family(root: int, words: bytes) -> int:
    """Descendants of a process whose command line contains `words`."""
    found, waiting = 0, [root]
    while waiting:
        pid = waiting.pop()
        try:
            waiting += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
            found += words in Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
    return found
