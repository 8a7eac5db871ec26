"""The sample app's request parser, without a socket."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazd.sample_app.http1 import HEAD_LIMIT, Request, RequestParser, only_request

STREAM = (
    b"\r\nGET /a?b=c HTTP/1.1\r\nHost: x\r\nX-Hazd-Preflight: 1\r\n\r\n"
    b"POST /b HTTP/1.1\r\nhost:x\r\ncontent-length: 7\r\n\r\nGET / H"
    b"PUT /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n"
    b"2;a=b\r\n\r\n\r\n0b\r\n01234567890\r\n0\r\nT: u\r\n\r\n"
    b"HEAD /d HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Close\r\n\r\n"
)
REQUESTS = [
    Request(b"GET", "/a", preflight=True),
    Request(b"POST", "/b"),
    Request(b"PUT", "/c"),
    Request(b"HEAD", "/d", close=True),
]


@given(st.lists(st.integers(0, len(STREAM))))
def test_segments_do_not_matter(cuts: list[int]) -> None:
    """However the bytes arrive, the same requests come out, in order."""
    parser = RequestParser()
    edges = [0, *sorted(cuts), len(STREAM)]
    found = [request for start, end in pairwise(edges) for request in parser.feed(STREAM[start:end])]
    assert found == REQUESTS
    assert not parser.broken


@given(st.binary(max_size=200), st.integers(0, 200))
def test_any_bytes_end_in_requests_or_one_refusal(data: bytes, cut: int) -> None:
    """Arbitrary input never raises; at most one refusal comes, it is the last, and says why."""
    parser = RequestParser()
    found = parser.feed(data[:cut]) + parser.feed(data[cut:])
    assert all(request.status == 200 for request in found[:-1])
    if found and found[-1].status != 200:
        assert parser.broken
        assert found[-1].problem
        assert found[-1].close


HOST = b"Host: x\r\n"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET /\r\n" + HOST + b"\r\n", 400),
        (b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"a : b\r\n\r\n", 400),  # RFC 9112 section 5.1
        (b"GET / HTTP/1.1\r\n" + HOST + b" folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"no colon\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3, 4\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: -3\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcde\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcXY0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"a: " + b"b" * HEAD_LIMIT, 431),
    ],
)
def test_what_rfc_9112_forbids_is_refused(data: bytes, status: int) -> None:
    """A stream that two sides could frame differently, or that has no end, is refused."""
    parser = RequestParser()
    assert [request.status for request in parser.feed(data)] == [status]
    assert parser.feed(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") == []


@pytest.mark.parametrize(
    ("data", "is_one"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", True),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab", True),
        (b"GET / HTTP/1.1\r\nHost: a\r\n", False),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na", False),
        (2 * b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\nG", False),
        (b"nonsense\r\n\r\n", False),
        (b"", False),
    ],
)
def test_what_is_one_whole_request_is_read_at_once(data: bytes, is_one: bool) -> None:
    """Neither less, nor more, nor a bad one; and it is the parser's own."""
    found = only_request(data)
    assert (found is not None) == is_one
    assert only_request(data) is found
    if is_one:
        assert RequestParser().feed(data) == [found]
