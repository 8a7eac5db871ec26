"""The kernel itself runs the observer's packet filter over messages of every kind: only what was asked for passes."""

from __future__ import annotations

import ctypes
import socket
import sys

import pytest

from hazd.observe.__main__ import SO_ATTACH_FILTER
from hazd.observe.conntrack import flow_filter
from tests.unit.observe.messages import attribute, message

CLIENT, ENDPOINT = ("10.244.0.5", 40000), ("10.244.1.7", 8080)
CLIENT6, ENDPOINT6 = ("fd00::5", 40000), ("fd00:1::7", 8080)


def passes(program: bytes, data: bytes) -> bool:
    """Whether the filter, attached to a datagram socket, lets the bytes through (socket filters see the payload)."""
    sending, receiving = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with sending, receiving:
        code = ctypes.create_string_buffer(program, len(program))
        header = (len(program) // 8).to_bytes(8, sys.byteorder) + ctypes.addressof(code).to_bytes(8, sys.byteorder)
        receiving.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, header)
        receiving.setblocking(False)
        try:
            sending.send(data)
            return receiving.recv(65536) == data
        except (BlockingIOError, PermissionError):  # a filtered datagram is dropped, or its sender told EPERM
            return False


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("ended", [False, True])
@pytest.mark.parametrize(
    ("service", "wanted"),
    [
        (("10.96.0.10", 80), True),
        (("10.96.0.11", 80), False),
        (("10.96.0.10", 81), False),
        (("10.244.1.7", 8080), False),
    ],
)
def test_only_flows_to_the_service_pass(service: tuple[str, int], wanted: bool, ended: bool, swap: bool) -> None:
    """By the original destination's address and port, not the reply's, whatever the order of attributes."""
    noise = attribute(8, b"\x0a\x60\x00\x0a") + attribute(3, b"\x00\x50\x00\x50")
    program = flow_filter("10.96.0.10", 80)
    assert passes(program, message(CLIENT, service, ENDPOINT, ended=ended, swap=swap, noise=noise)) is wanted


@pytest.mark.parametrize(
    ("service", "wanted"),
    [("fd00:96::a", True), ("fd00:96::b", False), ("fd01:96::a", False), ("fd00:96:0:1::a", False)],
)
def test_an_ipv6_service_is_compared_in_all_its_words(service: str, wanted: bool) -> None:
    """A difference in any of the four words of an address keeps the flow out."""
    program = flow_filter("fd00:96::a", 443)
    assert passes(program, message(CLIENT6, (service, 443), ENDPOINT6)) is wanted


def test_the_other_family_and_foreign_bytes_do_not_pass() -> None:
    """A filter for IPv4 is not fooled by an IPv6 flow, by short messages or by noise."""
    program = flow_filter("10.96.0.10", 80)
    assert not passes(program, message(CLIENT6, ("fd00::a", 80), ENDPOINT6))
    for data in (b"x", bytes(16), bytes(64), message(CLIENT, ("10.96.0.10", 80), ENDPOINT)[:40]):
        assert not passes(program, data)


def test_an_address_that_is_none_is_refused() -> None:
    """Before any socket is opened."""
    with pytest.raises(ValueError, match=r"10\.96"):
        flow_filter("10.96.0", 80)
