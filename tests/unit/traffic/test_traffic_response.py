"""The parser gives the same result however the bytes are cut, and never takes a broken response for a whole one."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazd.traffic.classify import BadResponse
from hazd.traffic.response import MAX_KNOWN, Known, Response, header_list

BODY = b"0123456789"
WHOLE = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nX-Hazd-Pod: a-1\r\nX-Hazd-Served: 7\r\n\r\n" + BODY,
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\nX-Hazd-Pod: a-1\r\nX-Hazd-Served: 7\r\n\r\n"
    b"4;a=b\r\n0123\r\n006\r\n456789\r\n0\r\nT: 1\r\n\r\n",
    "informed": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 10\r\nX-Hazd-Pod: a-1\r\n"
    b"X-Hazd-Served: 7\r\n\r\n" + BODY,
    "line feeds": b"HTTP/1.1 200 OK\nX-Hazd-Pod: a-1\nX-Hazd-Served: 7\nContent-Length: 10\n\n" + BODY,
    "both lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\nX-Hazd-Pod: a-1\r\n"
    b"X-Hazd-Served: 7\r\n\r\na\r\n0123456789\r\n0\r\n\r\n",
}


@given(name=st.sampled_from(sorted(WHOLE)), cuts=st.lists(st.integers(1, 250), max_size=8))
def test_cuts_do_not_matter(name: str, cuts: list[int]) -> None:
    """Whole at the last byte and not before, whatever the pieces."""
    data = WHOLE[name]
    edges = [0, *sorted({cut for cut in cuts if cut < len(data)}), len(data)]
    pieces = [data[a:b] for a, b in itertools.pairwise(edges)]
    response = Response(keep=True)
    assert [response.feed(piece) for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert (response.status, response.pod, response.served, response.close) == (200, b"a-1", 7, False)
    assert b"".join(response.body) == BODY


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_cut_short_is_not_whole(name: str) -> None:
    """At no place before the end does an EOF make it a whole response."""
    data = WHOLE[name]
    for end in range(len(data)):
        response = Response()
        assert not response.feed(data[:end])
        assert not response.feed_eof(), data[:end]


def test_until_eof() -> None:
    """Without a length the end of the connection is the end of the body; without that it is never whole."""
    response = Response(keep=True)
    assert not response.feed(b"HTTP/1.0 200 OK\r\n\r\nabc")
    assert response.head_done
    assert not response.feed(b"def")
    assert response.feed_eof()
    assert (b"".join(response.body), response.close) == (b"abcdef", True)


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", b"200 OK"), ("GET", b"204 No Content"), ("GET", b"304 Not Modified")]
)
def test_no_body(method: str, status: bytes) -> None:
    response = Response(method)
    assert response.feed(b"HTTP/1.1 " + status + b"\r\nContent-Length: 10\r\n\r\n")
    assert not response.close


@pytest.mark.parametrize(
    ("head", "close"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n", False),
        (b"HTTP/1.1 200 OK\r\nconnection:CLOSE\r\n", True),
        (b"HTTP/1.1 200 OK\r\nX-Connection: close\r\n", False),
        (b"HTTP/1.0 200 OK\r\n", True),
        (b"HTTP/1.1 101 Switching Protocols\r\n", True),
    ],
)
def test_close(head: bytes, close: bool) -> None:
    response = Response()
    assert response.feed(head + b"Content-Length: 0\r\n\r\n")
    assert response.close is close


def test_bytes_too_many_end_the_connection() -> None:
    """They belong to no request of ours; the response itself is whole."""
    response = Response()
    assert response.feed(WHOLE["length"] + b"HTTP/1.1 200 OK\r\n")
    assert response.close


def test_clear_forgets_everything() -> None:
    response = Response(keep=True)
    assert response.feed(WHOLE["length"].replace(b"200 OK", b"500 No") + b"x")
    response.clear()
    assert (response.status, response.pod, response.served, response.close, response.body) == (0, b"", 0, False, [])
    assert response.feed(b"HTTP/1.1 204 No Content\r\n\r\n")


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-x\r\n",
        b"\x16\x03\x01\x02\x00",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 70_000,
        b"HTTP/1.1 200 OK\r\nX: " + b"1" * 70_000,
        b"HTTP/1.1 200 OK\r\nX: " + b"1" * 70_000 + b"\r\n\r\n",
    ],
)
def test_not_http(data: bytes) -> None:
    with pytest.raises(BadResponse):
        Response().feed(data)


@given(st.binary(max_size=200))
def test_any_bytes_end_in_a_verdict(data: bytes) -> None:
    """Nothing but BadResponse is ever raised, and bytes without a status line are never whole."""
    response = Response()
    try:
        whole = response.feed(data)
    except BadResponse:
        return
    assert not whole or response.status >= 200


def test_header_list() -> None:
    head = b"HTTP/1.1 200 OK\r\nA: 1\r\nb:2 \r\nno colon\r\nA: 3\r\n\r\n"
    assert header_list(head) == [(b"A", b"1"), (b"b", b"2"), (b"A", b"3")]


@pytest.mark.parametrize("name", [b"x-hazd-served", b"X-Hazd-Served"])
def test_a_head_read_before_is_not_read_again_but_for_its_count(name: bytes) -> None:
    """However it is spelled, each response has its own count, and another status or length is another head."""
    response = Response()
    for count, status, size in [(7, 200, 1), (8, 200, 1), (8, 503, 1), (9, 200, 3), (7, 200, 1)]:
        head = b"HTTP/1.1 %d X\r\n%b: %d\r\nContent-Length: %d\r\nx-hazd-pod: a\r\n\r\n" % (status, name, count, size)
        response.clear()
        assert not response.feed(head)
        assert response.feed(b"x" * size)
        assert (response.status, response.served, response.pod, response.close) == (status, count, b"a", False)


def test_known_heads_are_bounded() -> None:
    """A header that is different in every response does not fill the memory."""
    known: dict[bytes, Known] = {}
    response = Response(known=known)
    for number in range(MAX_KNOWN * 3):
        response.clear()
        assert response.feed(b"HTTP/1.1 204 X\r\nX-Request: %d\r\n\r\n" % number)
    assert len(known) <= MAX_KNOWN
