"""Probes' and hooks' handlers: httpGet, tcpSocket, exec and sleep, carried out against one pod.

Source: pkg/probe/http, pkg/kubelet/lifecycle/handlers.go of Kubernetes 1.34: an HTTP probe succeeds on 200 to 399, an
HTTPS one whatever the certificate (InsecureSkipVerify), an HTTP hook on any response; exec succeeds on exit code 0.
"""

from __future__ import annotations

import contextlib
import itertools
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import anyio

from hazd.cluster.lab.http import Request
from hazd.cluster.lab.machine import Command, Machine, MachineEnded
from hazd.model import Manifest

_numbers = itertools.count(1)


class Failed(Exception):
    """The handler did not succeed; the text is what the Unhealthy event says."""


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a handler is for: asked from `node`, at `ip`; how a command would be run beside the container."""

    node: str
    ip: str
    command: Callable[[list[str]], Command]


def port_of(handler: Manifest, container: Manifest) -> int:
    """A port by number or by the container's name for it. Raises Failed."""
    port = handler["port"]
    if isinstance(port, int) or str(port).isdigit():
        return int(port)
    for each in container.get("ports") or ():
        if each.get("name") == port:
            return int(each["containerPort"])
    raise Failed(f"couldn't find port: {port}")


async def run(machine: Machine, handler: Manifest, container: Manifest, target: Target, timeout_s: float) -> int:
    """Carry a handler out; the HTTP status, or 0. Raises Failed, whatever went wrong. timeout_s bounds it."""
    if "sleep" in handler:
        await anyio.sleep(handler["sleep"]["seconds"])
        return 0
    if "exec" in handler:
        await _exec(machine, handler["exec"]["command"], target, timeout_s)
        return 0
    if "tcpSocket" in handler:
        port = port_of(handler["tcpSocket"], container)
        address = handler["tcpSocket"].get("host") or target.ip
        try:
            await machine.connect(target.node, address, port, timeout_s)
        except TimeoutError:
            raise Failed(f"dial tcp {address}:{port}: i/o timeout") from None
        except OSError as problem:
            raise Failed(f"dial tcp {address}:{port}: connect: {problem.strerror or problem}") from None
        return 0
    get = handler["httpGet"]
    port, address = port_of(get, container), get.get("host") or target.ip
    headers = tuple((each["name"], each["value"]) for each in get.get("httpHeaders") or ())
    if not any(name.lower() == "user-agent" for name, _ in headers):
        headers = (*headers, ("User-Agent", "kube-probe/1.34"))
    scheme = str(get.get("scheme", "HTTP")).lower()
    url = f"{scheme}://{address}:{port}{get.get('path', '/')}"
    try:
        request = Request(port, get.get("path") or "/", headers=headers, tls=scheme == "https")
        status, _ = await machine.request(target.node, address, request, timeout_s)
    except TimeoutError:
        raise Failed(
            f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
        ) from None
    except OSError as problem:
        raise Failed(f'Get "{url}": {problem.strerror or problem}') from None
    return status


async def _exec(machine: Machine, argv: list[str], target: Target, timeout_s: float) -> None:
    command = target.command(argv)
    try:
        ended = await machine.run(command)
    except OSError as problem:
        raise Failed(str(problem.strerror or problem)) from None
    try:
        with anyio.fail_after(timeout_s):
            await ended.done.wait()
    except TimeoutError:
        raise Failed(f'command "{" ".join(argv)}" timed out') from None
    finally:
        if not ended.done.is_set():
            with anyio.CancelScope(shield=True), contextlib.suppress(MachineEnded):
                await machine.kill(command.container, signal.SIGKILL)
        said = _take(command.log)
    if ended.code:
        raise Failed(said or f"command terminated with exit code {ended.code}")


def exec_command(template: Command, argv: list[str]) -> Command:
    """A command run beside a container: same place and environment, an output of its own."""
    number = next(_numbers)
    log = template.log.with_name(f"exec-{number}.out")
    return Command(f"{template.container}/exec-{number}", template.place, argv, template.env, log, template.hostname)


def _take(log: Path) -> str:
    try:
        said = log.read_text(errors="replace").strip()
        log.unlink()
    except OSError:
        return ""
    return said[-1000:]
