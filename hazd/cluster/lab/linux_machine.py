"""The real machine: client of the lab's server process (below `linux`), which it starts and which cannot outlive it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any, NoReturn, Self

import anyio

import hazd
from hazd.cluster.lab import http
from hazd.cluster.lab.linux import attempt, wire
from hazd.cluster.lab.machine import Command, Exit, MachineEnded, NodeNet
from hazd.cluster.lab.service_port import ServicePort
from hazd.errors import EnvironmentProblem

STARTUP_TIMEOUT_S = 20.0
REMEDY_USERNS = (
    "run as root, or allow user namespaces (sysctl -w kernel.unprivileged_userns_clone=1 on Debian, "
    "kernel.apparmor_restrict_unprivileged_userns=0 on Ubuntu, user.max_user_namespaces above 0 elsewhere), "
    "or use --cluster kind"
)
REMEDY_RULES = "a kernel with nf_tables, NAT and conntrack (CONFIG_NF_TABLES, CONFIG_NFT_NAT...), or use --cluster kind"


def lab_problem() -> EnvironmentProblem | None:
    """Why no lab can run here, or None: namespaces and rules are tried out in a process that ends at once (50 ms)."""
    if not sys.platform.startswith("linux"):
        return EnvironmentProblem(f"the lab needs Linux, this is {sys.platform}", "use --cluster kind")
    command = [sys.executable, "-m", "hazd.cluster.lab.linux.attempt"]
    tried = subprocess.run(command, env=_environ(), capture_output=True, text=True, check=False)
    if tried.returncode == 0:
        return None
    words = tried.stderr.strip()[-300:]
    if tried.returncode == attempt.NO_RULES:
        return EnvironmentProblem(f"the lab cannot set nftables rules: {words}", REMEDY_RULES)
    return EnvironmentProblem(f"the lab cannot make namespaces: {words}", REMEDY_USERNS)


def _environ() -> dict[str, str]:
    """This process's environment, with which a child finds the same hazd."""
    path = filter(None, [str(Path(hazd.__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}


class LinuxMachine:
    """Client of one lab server. Enter it once; leaving it ends every process of the lab."""

    def __init__(self, folder: Path, preload: Sequence[str]) -> None:
        self.folder = folder
        self.preload = tuple(preload)
        self.process: subprocess.Popen[bytes] | None = None
        self._exits: dict[str, Exit] = {}
        self._responses: dict[int, tuple[anyio.Event, list[Any]]] = {}
        self._number = 0
        self._lifeline = -1
        self._sending = anyio.Lock()
        self._starting = anyio.CapacityLimiter(8)
        self._lost = ""

    async def __aenter__(self) -> Self:
        self._sock, theirs = wire.pair()
        self._sock.setblocking(False)
        read_end, self._lifeline = os.pipe2(os.O_CLOEXEC)
        arguments = [str(theirs.fileno()), str(read_end), ",".join(self.preload)]
        with (self.folder / "server.log").open("wb") as log:
            self.process = subprocess.Popen(  # noqa: ASYNC220 - about 5 ms, once
                [sys.executable, "-m", "hazd.cluster.lab.linux.launch", *arguments],
                pass_fds=(theirs.fileno(), read_end),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=_environ(),
                start_new_session=True,
            )
        theirs.close()
        os.close(read_end)
        try:
            with anyio.fail_after(STARTUP_TIMEOUT_S):
                while True:
                    await anyio.wait_readable(self._sock)
                    got = wire.receive(self._sock)
                    if got is None:
                        raise EnvironmentProblem(f"the lab's server ended at once: {self._said()}", REMEDY_USERNS)
                    if got[0].get("event") == "failed":
                        raise EnvironmentProblem(
                            f"the lab cannot make its namespaces: {got[0]['problem']}", REMEDY_USERNS
                        )
                    if got[0].get("event") == "ready":
                        return self
                    self._heard(*got)
        except TimeoutError:
            self._end()
            raise EnvironmentProblem(
                f"the lab's server did not start in {STARTUP_TIMEOUT_S:.0f} s: {self._said()}"
            ) from None
        except BaseException:
            self._end()
            raise

    async def __aexit__(self, *exc: object) -> None:
        with anyio.CancelScope(shield=True):  # in a thread: another lab of this process must not wait for this one
            await anyio.to_thread.run_sync(self._end)

    def _said(self) -> str:
        with contextlib.suppress(OSError):
            return (self.folder / "server.log").read_text()[-2000:].strip()
        return ""

    def _end(self) -> None:
        """Closing the lifeline kills the lab's process 1, and with it all others; waits for that, some 10 ms."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
            self._sock.close()
        if self.process is not None:
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    async def listen(self) -> None:
        """Distribute responses and exits until cancelled. Raises MachineEnded when the server has ended."""
        try:
            while True:
                await anyio.wait_readable(self._sock)
                with contextlib.suppress(BlockingIOError):
                    while True:
                        got = wire.receive(self._sock)
                        if got is None:
                            raise MachineEnded(f"the lab's server ended: {self._said()}")
                        self._heard(*got)
        finally:  # no response arrives any more: whoever waits for one, shielded or not, must not wait forever
            self._lost = self._said() or "the lab has ended"
            for event, _ in self._responses.values():
                event.set()

    def _heard(self, message: dict[str, Any], fds: list[int]) -> None:
        if message.get("event") == "exit":
            ended = self._exits.pop(message["container"], None)
            if ended is not None:
                ended.code, ended.signal = message["code"], message["signal"]
                ended.done.set()
        elif message.get("id") in self._responses:
            event, slot = self._responses[message["id"]]
            slot.extend((message, fds))
            event.set()
        else:  # whoever asked was cancelled
            for fd in fds:
                os.close(fd)

    async def _give_up(self) -> NoReturn:
        await anyio.lowlevel.checkpoint()  # where the lab is ending in order, this is a cancellation, not an error
        raise MachineEnded(self._lost)

    async def _ask(self, op: str, **arguments: Any) -> tuple[dict[str, Any], list[int]]:
        if self._lost:
            await self._give_up()
        self._number += 1
        number = self._number
        event, slot = self._responses[number] = anyio.Event(), []
        try:
            async with self._sending:
                while True:
                    try:
                        wire.send(self._sock, {"id": number, "op": op, **arguments})
                        break
                    except BlockingIOError:
                        await anyio.wait_writable(self._sock)
            await event.wait()
        finally:
            del self._responses[number]
        if not slot:
            await self._give_up()
        message, fds = slot
        if "error" in message:
            raise OSError(message["errno"], message["error"])
        return message["ok"], fds

    async def add_node(self, node: NodeNet, peers: Sequence[NodeNet]) -> None:
        routes = {peer.subnet: peer.address for peer in peers}
        await self._ask(
            "add_node", name=node.name, address=node.address, gateway=node.gateway, subnet=node.subnet, peers=routes
        )

    async def cut(self, node: str) -> None:
        await self._ask("cut", node=node)

    async def remove_node(self, node: str) -> None:
        await self._ask("remove_node", node=node)

    async def add_pod(self, uid: str, node: NodeNet, address: str) -> None:
        await self._ask("add_pod", uid=uid, node=node.name, address=address, gateway=node.gateway)

    async def remove_pod(self, uid: str) -> None:
        await self._ask("remove_pod", uid=uid)

    async def run(self, command: Command) -> Exit:
        """Start a process; the result's `done` is set when it has ended."""
        ended = Exit()
        async with self._starting:
            self._exits[command.container] = ended
            try:
                await self._ask(
                    "run",
                    container=command.container,
                    place=command.place,
                    argv=list(command.argv),
                    env=dict(command.env),
                    log=str(command.log),
                    hostname=command.hostname,
                    cwd=command.cwd,
                    nice=command.nice,
                )
            except OSError:
                self._exits.pop(command.container, None)
                raise
        return ended

    async def kill(self, container: str, number: int) -> None:
        await self._ask("kill", container=container, signal=number)

    async def rules(self, node: str, ports: Sequence[ServicePort]) -> None:
        await self._ask("rules", node=node, ports=[astuple(port) for port in ports])

    async def cpu_ns(self) -> dict[str, int]:
        response, _ = await self._ask("cpu")
        return dict(response["cpu_ns"])

    async def _socket(self, place: str) -> socket.socket:
        _, fds = await self._ask("socket", place=place)
        return socket.socket(fileno=fds[0])

    async def connect(self, place: str, address: str, port: int, timeout_s: float) -> None:
        with anyio.fail_after(timeout_s), await self._socket(place) as sock:
            await http.connect(sock, address, port)

    async def request(self, place: str, address: str, request: http.Request, timeout_s: float) -> tuple[int, bytes]:
        with anyio.fail_after(timeout_s), await self._socket(place) as sock:
            await http.connect(sock, address, request.port)
            return await http.exchange(sock, address, request)
