"""What an observer reads out of the kernel's messages, and what leaves it as lines."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazd.observe.conntrack import Flow, parse_flows
from hazd.observe.lines import Line, decode, encode
from tests.unit.observe.messages import attribute, message

V4 = (("10.244.0.5", 40000), ("10.96.0.10", 80), ("10.244.1.7", 8080))
V6 = (("fd00::5", 40000), ("fd00:96::a", 80), ("fd00:1::7", 8080))


@pytest.mark.parametrize("parties", [V4, V6])
@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("ended", [False, True])
def test_a_message_becomes_the_client_and_the_endpoint(parties: tuple, swap: bool, ended: bool) -> None:  # type: ignore[type-arg]
    """The endpoint is the reply's source, whatever the order of attributes, in both address families."""
    client, service, endpoint = parties
    noise = attribute(8, b"\0\0\0\x01") + attribute(3, b"\0\0\0\x08")
    found = list(parse_flows(message(client, service, endpoint, ended=ended, swap=swap, noise=noise)))
    packed = [ipaddress.ip_address(item[0]).packed for item in (client, endpoint)]
    assert found == [Flow(packed[0], client[1], packed[1], endpoint[1], ended)]


def test_several_messages_of_one_datagram_are_all_read_and_other_protocols_passed_over() -> None:
    """Netlink may put messages together; UDP is none of an HTTP tester's."""
    data = message(*V4) + message(*V4, protocol=socket.IPPROTO_UDP) + message(*V4, ended=True)
    assert [flow.ended for flow in parse_flows(data)] == [False, True]


@given(st.binary(max_size=200), st.integers(0, 160))
def test_no_bytes_make_the_parser_raise(noise: bytes, cut: int) -> None:
    """A truncated or foreign message gives no flow or a flow, never an exception: an observer may not die of it."""
    list(parse_flows(noise))
    list(parse_flows(message(*V4)[:cut] + noise))


addresses = st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)).filter(
    lambda raw: not raw.startswith(bytes(10) + b"\xff\xff")
)
flows = st.builds(Flow, addresses, st.integers(0, 65535), addresses, st.integers(0, 65535), st.booleans())
times = st.integers(0, 2**62)


@given(times, st.integers(0, 2**40), st.lists(st.tuples(times, flows), max_size=30))
def test_what_is_encoded_is_decoded(at_ns: int, seq: int, seen: list[tuple[int, Flow]]) -> None:
    """A line carries every flow exactly."""
    line = Line("flows", at_ns, seq, flows=tuple(seen))
    assert decode(encode(line)) == line


@given(st.lists(st.tuples(times, flows), min_size=1, max_size=20), st.data())
def test_a_damaged_line_is_an_error_and_never_other_flows(seen: list[tuple[int, Flow]], data: st.DataObject) -> None:
    """A line cut anywhere raises ValueError: what arrived damaged is a gap, not a guess."""
    text = encode(Line("flows", 1, 0, flows=tuple(seen)))
    cut = data.draw(st.integers(len('{"observed":'), len(text) - 1))
    with pytest.raises(ValueError, match="damaged"):
        decode(text[:cut])


def test_a_full_batch_stays_below_the_length_at_which_runtimes_split_lines() -> None:
    """containerd and CRI-O cut log lines at 16 KiB; random addresses are the worst case for compression."""
    import random

    from hazd.observe.__main__ import MOST_PER_LINE

    draw = random.Random(1)
    seen = tuple(
        (
            1795544970527822283 + 300_000 * n + draw.randrange(100_000),
            Flow(
                b"\x0a\xf4\0\5", draw.randrange(65536), bytes([10, 244, draw.randrange(4), draw.randrange(256)]), 8080
            ),
        )
        for n in range(MOST_PER_LINE)
    )
    assert len(encode(Line("flows", 1, 0, flows=seen))) < 16384


def test_other_output_is_no_observers_line() -> None:
    """A warning of the interpreter's on the same stream is passed over."""
    assert decode("DeprecationWarning: x") is None
