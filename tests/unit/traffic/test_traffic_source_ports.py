"""A source port comes again only after all others, never from the NodePort range, and not while it is poisoned."""

from __future__ import annotations

import socket

import pytest

from hazd.traffic.senders.source_ports import COOL_NS, FIRST, LAST, NODE_PORTS, SourcePorts


class Pretend:
    """Takes any port but those in `taken`; opens no real socket."""

    def __init__(self, taken: set[int]) -> None:
        self._taken = taken

    def setsockopt(self, *args: object) -> None:
        pass

    def bind(self, address: tuple[str, int]) -> None:
        if address[1] in self._taken:
            raise OSError(98, "Address already in use")


def take(ports: SourcePorts, count: int, now_ns: int = 0, taken: set[int] | None = None) -> list[int]:
    sock: socket.socket = Pretend(taken or set())  # type: ignore[assignment]
    return [ports.bind(sock, socket.AF_INET, now_ns) for _ in range(count)]


def test_each_port_once_before_any_twice() -> None:
    total = LAST - FIRST + 1 - len(NODE_PORTS)
    got = take(SourcePorts(), total + 5)
    assert len(set(got[:total])) == total
    assert got[:5] == got[total:]
    assert not set(got) & set(NODE_PORTS)
    assert (min(got), max(got)) == (FIRST, LAST)


def test_poisoned_ports_are_passed_over_until_conntrack_forgets() -> None:
    ports = SourcePorts()
    total = LAST - FIRST + 1 - len(NODE_PORTS)
    bad = take(ports, 10)
    for port in bad:
        ports.poisoned(port, now_ns=1000)
    assert not set(take(ports, total, now_ns=1000 + COOL_NS - 1)) & set(bad)
    assert set(bad) <= set(take(ports, total, now_ns=1000 + COOL_NS))


def test_taken_ports_are_passed_over() -> None:
    ports = SourcePorts()
    first = take(ports, 1)[0]
    everything = set(range(FIRST, LAST + 1))
    some = take(ports, 3, taken=everything - set(range(first + 1, first + 60)) - {FIRST + n for n in range(60)})
    assert 0 not in some
    assert take(ports, 1, taken=everything) == [0]


def test_other_errors_are_errors() -> None:
    class Broken(Pretend):
        def bind(self, address: tuple[str, int]) -> None:
            raise OSError(22, "Invalid argument")

    sock: socket.socket = Broken(set())  # type: ignore[assignment]
    with pytest.raises(OSError, match="Invalid"):
        SourcePorts().bind(sock, socket.AF_INET, 0)
