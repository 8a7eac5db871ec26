"""python -m hazd.observe --service ADDRESS:PORT: tells on standard output which endpoint each connection was sent to.

Needs NET_ADMIN in the network namespace it runs in, which must be that of a node. It opens one netlink socket, changes
nothing, and ends at SIGTERM or after --max-seconds, whoever forgets it.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import ipaddress
import os
import resource
import select
import signal
import socket
import sys
from types import FrameType

from hazd.clock import unix_ns
from hazd.observe.conntrack import GROUP_DESTROY, GROUP_NEW, NETLINK_NETFILTER, Flow, flow_filter, parse_flows
from hazd.observe.lines import Line, encode

SO_ATTACH_FILTER, SO_RCVBUFFORCE = 26, 33  # asm-generic/socket.h
SOL_NETLINK, NETLINK_ADD_MEMBERSHIP = 270, 1  # linux/netlink.h
BUFFER_BYTES = 32 << 20
FLUSH_S, ALIVE_S = 0.1, 1.0
MOST_PER_LINE = 500
"""A batch beyond this is cut, so that a line stays below the 16 KiB at which container runtimes split lines."""


def open_socket(address: str, port: int, *, ends: bool) -> socket.socket:
    """A subscribed netlink socket that lets one Service's TCP flows pass. Raises OSError (EPERM without NET_ADMIN)."""
    listening = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
    try:
        program = flow_filter(address, port)
        code = ctypes.create_string_buffer(program, len(program))
        # struct sock_fprog: the number of instructions, and where they are
        header = (len(program) // 8).to_bytes(8, sys.byteorder) + ctypes.addressof(code).to_bytes(8, sys.byteorder)
        listening.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, header)
        try:
            listening.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        except OSError:  # needs NET_ADMIN in the first user namespace; the plain option is bounded by rmem_max
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        listening.bind((0, 0))
        for group in (GROUP_NEW, GROUP_DESTROY) if ends else (GROUP_NEW,):
            listening.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening


class Observer:
    """Reads until it has to stop; what it saw leaves as lines, at once and in order."""

    def __init__(self, listening: socket.socket, stop_at_ns: int) -> None:
        self._socket = listening
        self._stop_at_ns = stop_at_ns
        self._batch: list[tuple[int, Flow]] = []
        self._seq = 0
        self._sound_ns = 0
        self._read_end, write_end = os.pipe()
        os.set_blocking(write_end, False)
        signal.set_wakeup_fd(write_end)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        self._stopped = False

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopped = True

    def run(self) -> None:
        """Until SIGTERM, SIGINT or the deadline."""
        self._sound_ns = unix_ns()
        self._say(Line("listening", self._sound_ns, detail={"pid": os.getpid()}))
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(self._read_end, select.POLLIN)
        flushed = alive = unix_ns()
        while not self._stopped and unix_ns() < self._stop_at_ns:
            poll.poll(FLUSH_S * 1000)
            self._drain()
            now = unix_ns()
            if now - flushed >= FLUSH_S * 1e9 or len(self._batch) >= MOST_PER_LINE:
                self._flush()
                flushed = now
            if now - alive >= ALIVE_S * 1e9:
                self._alive("alive", now)
                alive = now
        self._drain()
        self._alive("end", unix_ns())

    def _drain(self) -> None:
        while True:
            try:
                data = self._socket.recv(1 << 16)
            except BlockingIOError:
                self._sound_ns = unix_ns()
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                # netlink(7): the kernel dropped events because the socket's buffer was full; it says so once
                now = unix_ns()
                self._flush()
                self._say(Line("gap", now, self._seq, since_ns=self._sound_ns))
                continue
            now = unix_ns()
            self._batch += [(now, flow) for flow in parse_flows(data)]

    def _flush(self) -> None:
        while self._batch:
            some, self._batch = self._batch[:MOST_PER_LINE], self._batch[MOST_PER_LINE:]
            self._say(Line("flows", some[-1][0], self._seq, flows=tuple(some)))
            self._seq += len(some)

    def _alive(self, what: str, now: int) -> None:
        self._flush()
        used = resource.getrusage(resource.RUSAGE_SELF)
        self._say(Line(what, now, self._seq, detail={"cpu_ms": round((used.ru_utime + used.ru_stime) * 1000)}))

    def _say(self, line: Line) -> None:
        print(encode(line), flush=True)


def main(argv: list[str] | None = None) -> int:
    """0 at its end, 2 for bad arguments, 3 when the kernel refuses."""
    parser = argparse.ArgumentParser(prog="python -m hazd.observe", description="One observer of hazd")
    parser.add_argument("--service", required=True, metavar="ADDRESS:PORT", help="[ADDRESS]:PORT for IPv6")
    parser.add_argument("--ends", action="store_true", help="also when a connection's entry is removed")
    parser.add_argument("--max-seconds", type=float, default=3600.0, metavar="S")
    given = parser.parse_args(argv)
    address, _, port = given.service.rpartition(":")
    try:
        address = str(ipaddress.ip_address(address.strip("[]")))
        if not 0 < int(port) < 65536:
            raise ValueError
    except ValueError:
        parser.error(f"--service: {given.service!r} is not an address and port such as 10.96.0.10:80")
    try:
        listening = open_socket(address, int(port), ends=given.ends)
    except OSError as error:
        text = f"{error.strerror}: connection tracking events need NET_ADMIN and a kernel with nf_conntrack_netlink"
        print(encode(Line("error", unix_ns(), detail={"errno": error.errno, "text": text})), flush=True)
        return 3
    with listening:
        Observer(listening, unix_ns() + round(given.max_seconds * 1e9)).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
