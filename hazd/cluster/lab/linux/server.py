"""Process 1 of a lab: owns its namespaces, applies what hazd asks for, and ends everything when hazd has ended.

Started by `launch`. Single-threaded on purpose: it moves itself into a namespace for the length of one operation.
When its control socket closes it exits, and the kernel kills every process of its PID namespace.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from hazd.cluster.lab.linux import wire
from hazd.cluster.lab.linux.network import Network
from hazd.cluster.lab.service_port import ServicePort

Response = tuple[dict[str, Any], tuple[int, ...]]


class Server:
    """One lab's operations. `op_NAME` takes the message's fields and returns the response and its descriptors."""

    def __init__(self, control: socket.socket, zygote: socket.socket) -> None:
        self.control = control
        self.zygote = zygote
        self.network = Network()
        self.sessions: dict[int, str] = {}
        self._ticks_per_s = os.sysconf("SC_CLK_TCK")

    def op_add_node(self, **args: Any) -> Response:
        self.network.add_node(**args)
        return {}, ()

    def op_cut(self, node: str) -> Response:
        self.network.cut(node)
        return {}, ()

    def op_remove_node(self, node: str) -> Response:
        self.network.remove_node(node)
        return {}, ()

    def op_add_pod(self, **args: Any) -> Response:
        self.network.add_pod(**args)
        return {}, ()

    def op_remove_pod(self, uid: str) -> Response:
        self.network.remove_pod(uid)
        return {}, ()

    def op_socket(self, place: str) -> Response:
        """A TCP socket that lives in the namespace `place`, whoever connects it."""
        if place not in self.network.places:
            raise LookupError(f"no namespace {place}")
        self.network.enter(place)
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as made:
                return {}, (made.detach(),)
        finally:
            self.network.leave()

    def op_rules(self, node: str, ports: list[Any]) -> Response:
        """Each port as the fields of a ServicePort, in order."""
        self.network.set_rules(
            node,
            (
                ServicePort(name, address, protocol, port, tuple((ip, target) for ip, target in endpoints))
                for name, address, protocol, port, endpoints in ports
            ),
        )
        return {}, ()

    def op_cpu(self) -> Response:
        """CPU nanoseconds of every container: its first process and whatever it started (they share a session)."""
        used: dict[str, int] = {}
        for entry in os.scandir("/proc"):
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError, IndexError):
                stat = Path(entry.path, "stat").read_text()
                fields = stat[stat.rindex(")") + 2 :].split()
                container = self.sessions.get(int(fields[3]))
                if container is not None:
                    ticks = sum(int(value) for value in fields[11:15])
                    used[container] = used.get(container, 0) + ticks * 1_000_000_000 // self._ticks_per_s
        return {"cpu_ns": used}, ()

    def serve(self) -> None:
        """Until the control socket or the zygote has closed."""
        selector = selectors.DefaultSelector()
        for sock in (self.control, self.zygote):
            selector.register(sock, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                got = wire.receive(key.fileobj)  # type: ignore[arg-type]
                if got is None:
                    return
                if key.fileobj is self.control:
                    self._handle(*got)
                else:
                    self._relay(*got)

    def _handle(self, message: dict[str, Any], fds: list[int]) -> None:
        for fd in fds:
            os.close(fd)
        number = message["id"]
        try:
            if message["op"] == "kill":
                wire.send(self.zygote, message)
                return
            if message["op"] == "run":
                place = self.network.places.get(message["place"])
                if place is None:
                    raise LookupError(f"no namespace {message['place']}")
                wire.send(self.zygote, message, (place.fd,))
                return
            arguments = {key: value for key, value in message.items() if key not in ("id", "op")}
            response, passed = getattr(self, f"op_{message['op']}")(**arguments)
            wire.send(self.control, {"id": number, "ok": response}, passed)
            for fd in passed:
                os.close(fd)
        except Exception as problem:  # every failure of an operation is its caller's to handle
            detail = {"error": f"{type(problem).__name__}: {problem}", "errno": getattr(problem, "errno", 0) or 0}
            wire.send(self.control, {"id": number, **detail})

    def _relay(self, message: dict[str, Any], fds: list[int]) -> None:
        """Forward the zygote's responses, remembering which process belongs to which container."""
        for fd in fds:
            os.close(fd)
        if "pid" in message.get("ok", {}):
            self.sessions[message["ok"]["pid"]] = message["ok"]["container"]
        if message.get("event") == "exit":
            self.sessions = {pid: name for pid, name in self.sessions.items() if name != message["container"]}
        wire.send(self.control, message)


def main(control: socket.socket, zygote: socket.socket) -> None:
    """Report "ready", or the problem, then serve; exits the process at the end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        server = Server(control, zygote)
        wire.send(control, {"event": "ready"})
    except Exception as problem:
        wire.send(control, {"event": "failed", "problem": f"{type(problem).__name__}: {problem}"})
        sys.exit(1)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        server.serve()
    os._exit(0)
