"""`python -m hazd.cluster.lab.linux.launch CONTROL LIFELINE MODULES`: makes the lab's namespaces, then waits.

Imports nothing heavy. It leaves the host's network, mount and PID namespaces (and, without CAP_SYS_ADMIN, its user
namespace) before anything else, so that no later mistake can touch the host's own network. It stays behind as the one
process of the lab outside its PID namespace and kills it when the lifeline closes: even kill -9 of hazd closes that.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import sys
from pathlib import Path

from hazd.cluster.lab.linux import wire
from hazd.cluster.lab.linux.syscalls import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_REC,
    PR_SET_PDEATHSIG,
    mount,
    prctl,
    unshare,
)

CAP_SYS_ADMIN = 21


def privileged() -> bool:
    """Whether namespaces can be made without a user namespace."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> CAP_SYS_ADMIN & 1)
    return False


def isolate() -> bool:
    """Leave the host's namespaces. An ordinary user becomes root of a user namespace in which only they are mapped.

    Returns whether all that is mounted from now on stays in here. In a chroot only what lies below /proc does.
    """
    kinds = CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC
    if privileged():
        unshare(kinds)
    else:
        uid, gid = os.geteuid(), os.getegid()
        unshare(CLONE_NEWUSER | kinds)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    try:
        mount("none", "/", "none", MS_REC | MS_PRIVATE)
    except OSError as problem:
        if problem.errno != errno.EINVAL:
            raise
        # The root of a chroot is no mount point (mount(2), EINVAL), and the one above cannot be named from in here.
        mount("none", "/proc", "none", MS_PRIVATE)
        return False
    return True


def inhabit(control: socket.socket, modules: list[str], private: bool) -> None:
    """As process 1 of the lab: its own /proc, the zygote, the server."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    try:
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except OSError as problem:
        wire.send(control, {"event": "failed", "problem": str(problem), "step": "proc"})
        os._exit(1)
    if private:
        # No name server can be reached from in here: without this a lookup waits for seconds, now it fails at once.
        with contextlib.suppress(OSError):
            mount("/dev/null", "/etc/resolv.conf", "none", MS_BIND)
    server_end, zygote_end = wire.pair()
    pid = os.fork()
    if pid == 0:
        control.close()
        server_end.close()
        from hazd.cluster.lab.linux.zygote import Zygote

        become = Zygote(zygote_end, modules).run()
        become()
    zygote_end.close()
    from hazd.cluster.lab.linux.server import main

    main(control, server_end)


def main(argv: list[str]) -> int:
    """Returns when the lab has ended."""
    control = socket.socket(fileno=int(argv[1]))
    lifeline = int(argv[2])
    try:
        private = isolate()
        child = os.fork()
    except OSError as problem:
        wire.send(control, {"event": "failed", "problem": str(problem), "step": "unshare", "errno": problem.errno})
        return 1
    if child == 0:
        os.close(lifeline)
        inhabit(control, argv[3].split(",") if argv[3] else [], private)
        os._exit(0)
    control.close()
    watch = os.pidfd_open(child)
    poll = select.poll()
    poll.register(lifeline, select.POLLIN | select.POLLHUP)
    poll.register(watch, select.POLLIN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    poll.poll()
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
