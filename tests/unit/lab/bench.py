"""A lab in virtual time: the real store, controllers, kubelets and proxies over a machine that only pretends.

What a container does is set by its environment: LISTEN_S (seconds until it listens), TERM_S (seconds from SIGTERM to
its exit; absent: it ignores SIGTERM), EXIT_S and CODE (it ends by itself), CPU (cores it burns).
"""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import trio
import trio.testing
from anyio.abc import TaskGroup

from hazd.cluster.lab.admission import Rules
from hazd.cluster.lab.http import Request
from hazd.cluster.lab.machine import Command, Exit, NodeNet
from hazd.cluster.lab.node.logs import Logs
from hazd.cluster.lab.options import LabOptions
from hazd.cluster.lab.plant import Plant
from hazd.cluster.lab.service_port import ServicePort
from hazd.cluster.lab.store import Change, Store
from hazd.manifests.conditions import is_ready
from hazd.model import Manifest, Ref

EPOCH_NS = 1_800_000_000_000_000_000


@dataclass(slots=True)
class Process:
    command: Command
    began_s: float
    ended: Exit


class PretendMachine:
    """Implements hazd.cluster.lab.machine.Machine; `log` lists what happened as (seconds, what, whom)."""

    def __init__(self, tasks: TaskGroup) -> None:
        self.tasks = tasks
        self.processes: dict[str, Process] = {}
        self.addresses: dict[str, str] = {}
        self.rules_of: dict[str, list[tuple[float, Sequence[ServicePort]]]] = {}
        self.log: list[tuple[float, str, str]] = []

    def note(self, what: str, whom: str) -> None:
        self.log.append((anyio.current_time(), what, whom))

    def times(self, what: str) -> list[float]:
        return [at for at, each, _ in self.log if each == what]

    async def add_node(self, node: NodeNet, peers: Sequence[NodeNet]) -> None:
        self.note("add-node", node.name)

    async def cut(self, node: str) -> None:
        self.note("cut", node)

    async def remove_node(self, node: str) -> None:
        self.note("remove-node", node)

    async def add_pod(self, uid: str, node: NodeNet, address: str) -> None:
        self.addresses[address] = uid

    async def remove_pod(self, uid: str) -> None:
        self.note("remove-pod", uid)
        self.addresses = {address: owner for address, owner in self.addresses.items() if owner != uid}

    async def run(self, command: Command) -> Exit:
        if command.argv[0] == "missing":
            raise OSError(0, 'exec: "missing": executable file not found in $PATH')
        process = self.processes[command.container] = Process(command, anyio.current_time(), Exit())
        self.note("run", command.container)
        if "EXIT_S" in command.env:
            self.tasks.start_soon(self._end_later, process, float(command.env["EXIT_S"]), int(command.env["CODE"]))
        if command.argv[0] == "hook":
            self.tasks.start_soon(self._end_later, process, float(command.argv[1]), int(command.argv[2]))
        return process.ended

    async def _end_later(self, process: Process, after_s: float, code: int) -> None:
        await anyio.sleep(after_s)
        self._end(process, code)

    def _end(self, process: Process, code: int, number: int = 0) -> None:
        if not process.ended.done.is_set():
            process.ended.code, process.ended.signal = code, number
            process.ended.done.set()
            self.note("end", process.command.container)

    async def kill(self, container: str, number: int) -> None:
        process = self.processes.get(container)
        if process is None or process.ended.done.is_set():
            return
        self.note("sigkill" if number == 9 else "sigterm", container)
        if number == 9:
            self._end(process, 137, 9)
        elif "TERM_S" in process.command.env:
            self.tasks.start_soon(self._end_later, process, float(process.command.env["TERM_S"]), 0)

    async def rules(self, node: str, ports: Sequence[ServicePort]) -> None:
        self.rules_of.setdefault(node, []).append((anyio.current_time(), ports))

    async def cpu_ns(self) -> dict[str, int]:
        return {
            name: int(1e9 * float(each.command.env.get("CPU", 0)) * (anyio.current_time() - each.began_s))
            for name, each in self.processes.items()
            if not each.ended.done.is_set()
        }

    def _listening(self, address: str) -> bool:
        uid = self.addresses.get(address, "nobody")
        return any(
            not each.ended.done.is_set()
            and name.startswith(uid)
            and anyio.current_time() - each.began_s >= float(each.command.env.get("LISTEN_S", 0))
            for name, each in self.processes.items()
        )

    async def connect(self, place: str, address: str, port: int, timeout_s: float) -> None:
        if not self._listening(address):
            raise ConnectionRefusedError(111, "Connection refused")

    async def request(self, place: str, address: str, request: Request, timeout_s: float) -> tuple[int, bytes]:
        await self.connect(place, address, request.port, timeout_s)
        return (500 if request.path == "/broken" else 200), b""


class Bench:
    """What a test holds: the store, the machine, the running plant, and short words for both."""

    def __init__(self, plant: Plant, machine: PretendMachine) -> None:
        self.plant = plant
        self.store = plant.store
        self.machine = machine
        self.changes: list[tuple[float, Change]] = []
        self.store.on_change(lambda change: self.changes.append((anyio.current_time(), change)))
        self.store.create({"kind": "Namespace", "metadata": {"name": "t"}})

    def pods(self, **labels: str) -> list[Manifest]:
        return self.store.list("Pod", "t", labels)

    def ready(self) -> list[Manifest]:
        return [pod for pod in self.pods() if is_ready(pod) and "deletionTimestamp" not in pod["metadata"]]

    def deployment(self, name: str = "app") -> Manifest:
        return self.store.get(Ref("Deployment", name, "t"))

    def reasons(self, name: str = "") -> list[str]:
        """Reasons of all Events, in order, about `name` or anything."""
        events = self.store.list("Event", "t")
        return [each["reason"] for each in events if not name or each["involvedObject"]["name"] == name]

    def pod_changes(self, name: str) -> list[tuple[float, Change]]:
        return [(at, c) for at, c in self.changes if c.obj["kind"] == "Pod" and c.obj["metadata"]["name"] == name]


def run(test: Callable[[Bench], Awaitable[None]], **options: Any) -> None:
    """Run a test against a lab of these options; virtual time jumps when everybody sleeps."""

    async def main() -> None:
        begun = trio.current_time()
        chosen = LabOptions(**{"container_start_s": 0.5, **options})
        with tempfile.TemporaryDirectory() as folder:
            async with anyio.create_task_group() as tasks:
                store = Store(
                    lambda: EPOCH_NS + int((trio.current_time() - begun) * 1e9),
                    rules=Rules(chosen.toleration_s),
                )
                machine = PretendMachine(tasks)
                plant = Plant(store, machine, chosen, Path(folder), Logs(), tasks)
                await plant.start()
                await test(Bench(plant, machine))
                tasks.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def container(name: str = "app", **more: Any) -> Manifest:
    env = [{"name": key, "value": str(value)} for key, value in more.pop("env", {"TERM_S": 0}).items()]
    return {"name": name, "image": f"{name}:a", "command": ["serve"], "env": env, **more}


def readiness(**more: Any) -> Manifest:
    return {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1, **more}


def pod_template(*containers: Manifest, **spec: Any) -> Manifest:
    return {"metadata": {"labels": {"app": "app"}}, "spec": {"containers": list(containers) or [container()], **spec}}


def deployment(replicas: int = 4, template: Manifest | None = None, **spec: Any) -> Manifest:
    return {
        "kind": "Deployment",
        "metadata": {"name": "app", "namespace": "t", "labels": {"app": "app"}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "app"}},
            "template": template or pod_template(),
            **spec,
        },
    }


def pod(name: str = "one", *containers: Manifest, **spec: Any) -> Manifest:
    template = pod_template(*containers, **spec)
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "t", "labels": {"app": "app"}},
        "spec": template["spec"],
    }


def service(**spec: Any) -> Manifest:
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    return {
        "kind": "Service",
        "metadata": {"name": "app", "namespace": "t"},
        "spec": {"selector": {"app": "app"}, "ports": ports, **spec},
    }
