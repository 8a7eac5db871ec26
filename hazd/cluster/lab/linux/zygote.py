"""Starts the containers of a lab: a small process that has already imported what they run, and forks.

A fork costs about 5 ms of CPU where a fresh CPython with its imports costs 100 to 300 ms; with 200 pods on two cores
that decides whether the lab comes up at all. It imports while it has no request, so the first containers do not
wait for what only later ones need. Each container is process 1 of its own PID namespace, as in Kubernetes:
without a SIGTERM handler it does not see SIGTERM, and all it started dies with it.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import runpy
import selectors
import shutil
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from hazd.cluster.lab.linux import wire
from hazd.cluster.lab.linux.syscalls import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWPID,
    CLONE_NEWUTS,
    PR_SET_CHILD_SUBREAPER,
    PR_SET_PDEATHSIG,
    prctl,
    sethostname,
    setns,
    unshare,
)

PYTHONS = ("python", "python3", sys.executable)


def _module_of(argv: list[str]) -> str:
    """ "m" of `python3 [-u] -m m ...`, else ""."""
    if argv[0] not in PYTHONS:
        return ""
    rest = argv[1:]
    while rest[:1] == ["-u"]:
        rest = rest[1:]
    return rest[1] if len(rest) > 1 and rest[0] == "-m" else ""


def _prioritise(nice: int) -> None:
    """Where it is allowed: of the process, and of its session, which is what counts under the autogroup scheduler."""
    if nice:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, nice)
            Path("/proc/self/autogroup").write_text(str(nice))


class Zygote:
    """The serving loop. `run` returns only in a forked child, with what that child has to do."""

    def __init__(self, sock: socket.socket, modules: list[str]) -> None:
        self.sock = sock
        self.to_load = deque(modules)
        self.preloaded: set[str] = set()
        self.running: dict[int, str] = {}
        self.pids: dict[str, int] = {}
        self._selector = selectors.DefaultSelector()
        self._woken, self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def run(self) -> Callable[[], NoReturn]:
        """Serve until the peer has closed (then the process exits)."""
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake)
        self._selector.register(self.sock, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        while True:
            ready = self._selector.select(0 if self.to_load else None)
            if not ready:
                self._load(self.to_load[0])
            for key, _ in ready:
                if key.fileobj is self.sock:
                    got = wire.receive(self.sock)
                    if got is None:
                        os._exit(0)
                    child = self._serve(*got)
                    if child is not None:
                        return child
                else:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._woken, 4096)
                    self._reap()

    def _load(self, module: str) -> None:
        """Import what containers run; a module that cannot be imported is executed and says so in its own log."""
        self.to_load.remove(module)
        with contextlib.suppress(Exception):  # whatever a container's module raises is that container's affair
            __import__(module)
            self.preloaded.add(module)
        gc.collect()
        gc.freeze()

    def _serve(self, order: dict[str, Any], fds: list[int]) -> Callable[[], NoReturn] | None:
        if order["op"] == "kill":
            pid = self.pids.get(order["container"])
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, order["signal"])
            wire.send(self.sock, {"id": order["id"], "ok": {"known": pid is not None}})
            return None
        module, program = _module_of(order["argv"]), order["argv"][0]
        if module in self.to_load:
            self._load(module)
        path = order["env"].get("PATH", os.defpath)
        try:
            if program not in PYTHONS and shutil.which(program, path=path) is None:
                raise FileNotFoundError(f'exec: "{program}": executable file not found in $PATH')
            child = self._fork(order, fds[0])
        except OSError as problem:
            wire.send(self.sock, {"id": order["id"], "error": str(problem), "errno": problem.errno or 0})
            return None
        finally:
            for fd in fds:
                os.close(fd)
        return child

    def _fork(self, order: dict[str, Any], netns: int) -> Callable[[], NoReturn] | None:
        """Fork twice: a process can make only one PID namespace, so a short-lived one makes it and forks process 1."""
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        first = os.fork()
        if first == 0:
            try:
                os.close(read_end)
                setns(netns, CLONE_NEWNET)
                unshare(CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC)
                second = os.fork()
            except OSError as problem:
                os.write(write_end, json.dumps({"error": str(problem)}).encode())
                os._exit(1)
            if second:
                os.write(write_end, json.dumps({"pid": second}).encode())
                os._exit(0)
            os.close(write_end)
            return lambda: self._become(order)
        os.close(write_end)
        with open(read_end, "rb") as pipe:
            reply = json.loads(pipe.read() or b'{"error": "the forked process died"}')
        os.waitpid(first, 0)
        if "error" in reply:
            raise OSError(0, reply["error"])
        self.running[reply["pid"]] = order["container"]
        self.pids[order["container"]] = reply["pid"]
        wire.send(self.sock, {"id": order["id"], "ok": {"pid": reply["pid"], "container": order["container"]}})
        return None

    def _become(self, order: dict[str, Any]) -> NoReturn:
        """In the container's first process: its environment and its output, then its program. Never returns."""
        os.setsid()
        _prioritise(order["nice"])
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        with contextlib.suppress(OSError, ValueError):
            sethostname(order["hostname"][:63])
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        null = os.open("/dev/null", os.O_RDONLY)
        for source, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        # Through their objects: one that is collected later would close a descriptor of the program's own.
        self._selector.close()
        self.sock.close()
        for fd in (self._woken, self._wake, log, null):
            os.close(fd)
        argv, environ = order["argv"], order["env"]
        os.environ.clear()
        os.environ.update(environ)
        if order.get("cwd"):
            os.chdir(order["cwd"])
        module = _module_of(argv)
        if module not in self.preloaded:
            if argv[0] in PYTHONS:
                argv = [sys.executable, *argv[1:]]
            try:
                os.execvpe(argv[0], argv, environ)
            except OSError as problem:
                os.write(2, f"{argv[0]}: {problem}\n".encode())
                os._exit(127)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        sys.stdin, sys.stdout, sys.stderr = (
            open(number, mode, buffering=1, closefd=False)  # noqa: SIM115 - they live as long as the process
            for number, mode in ((0, "r"), (1, "w"), (2, "w"))
        )
        sys.argv = [module, *argv[argv.index(module) + 1 :]]
        sys.modules.pop(module, None)  # it runs as __main__ now; what it imported stays
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        sys.exit(0)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            container = self.running.pop(pid, None)
            if container is None:
                continue
            self.pids.pop(container, None)
            code = os.waitstatus_to_exitcode(status)
            event = {"event": "exit", "container": container, "code": code if code >= 0 else 128 - code}
            wire.send(self.sock, {**event, "signal": max(0, -code)})
