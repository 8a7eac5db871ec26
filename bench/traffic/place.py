"""Where the benchmark runs: a network namespace of its own, and one core for each side.

In the namespace TIME_WAIT and conntrack of other traffic on the machine play no part, and nothing leaves the machine.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLONE_NEWNET = 0x40000000
CLIENT_CORE, SERVER_CORE = 0, 1
ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "build" / "bench"
PORTS = "1024 65535"


def enter_namespace() -> str:
    """Move this process into a network namespace of its own; says in words what it got."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return "loopback of the machine (a namespace needs root and iproute2)"
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        return f"loopback of the machine (no namespace: {os.strerror(ctypes.get_errno())})"
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    # For the peers: most let the kernel choose ports and would run out of them within two seconds.
    for name, value in (("ip_local_port_range", PORTS), ("tcp_tw_reuse", "1")):
        (Path("/proc/sys/net/ipv4") / name).write_text(value)
    return "loopback of a network namespace of its own"


def pin(core: int) -> None:
    """For preexec_fn: this process and its children run on one core only."""
    os.sched_setaffinity(0, {core % (os.cpu_count() or 1)})


def pin_client() -> None:
    pin(CLIENT_CORE)


def pin_server() -> None:
    pin(SERVER_CORE)


@contextmanager
def client_core_awake() -> Iterator[None]:
    """Keeps the client's core from halting, as `cpupower idle-set` or `idle=poll` would, for every tool alike.

    At a fixed rate a client sleeps between its batches. On a virtual machine each of those halts is an exit to the
    hypervisor, whose cost depends on the host's other guests and would be charged to the tool. The loop runs at
    SCHED_IDLE (sched(7)): whatever else wants the core has it at once.
    """

    def lowest() -> None:
        pin_client()
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))

    loop = subprocess.Popen([sys.executable, "-c", "while True: pass"], preexec_fn=lowest)
    try:
        yield
    finally:
        loop.kill()
        loop.wait()


def find(tool: str) -> str | None:
    """A tool's path: the benchmark's own build first."""
    own = TOOLS / "bin" / tool
    return str(own) if own.exists() else shutil.which(tool)


def peer_python() -> str | None:
    """The Python that has aiohttp and locust, if bench/traffic/setup made it."""
    python = TOOLS / "venv" / "bin" / "python"
    return str(python) if python.exists() else None
