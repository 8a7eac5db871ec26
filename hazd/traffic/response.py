"""Reads one HTTP/1.x response piece by piece, for the hot path: the common response, whole in one read, costs one pass.

Does no I/O. Both senders use it, so both judge a broken response alike. Follows RFC 9112 for framing; keeps only what a
sample needs (status, pod, served, whether the connection lives on) and, when asked, head and body.
"""

from __future__ import annotations

import re
from typing import TypeAlias

from hazd.traffic.classify import BadResponse

MAX_HEAD = 65_536
MAX_KNOWN = 256
Known: TypeAlias = tuple[int, bool, int, int, bytes, int]
"""What a head says: status, close, state, length, pod, served."""
_HEAD, _LENGTH, _CHUNK_SIZE, _CHUNK_DATA, _CHUNK_END, _TRAILER, _UNTIL_EOF, _DONE = range(8)
_START = b"HTTP/1."
_SERVED = b"\r\nx-hazd-served: "
_BLANK = re.compile(rb"\n\r?\n")
_STATUS = re.compile(rb"http/1\.\d [1-5]\d\d[ \r\n]").match
_NO_BODY = frozenset({101, 204, 304})

__all__ = ["MAX_HEAD", "Known", "Response", "header_list"]


class Response:
    """One response. feed() until it says True; feed_eof() when the peer closed.

    close: the connection must not be used again. head_done: the phase is RECEIVE from there on. pod, served: the
    sample app's x-hazd-pod and x-hazd-served, b"" and 0 where absent.
    """

    __slots__ = (
        "_body_less",
        "_buffer",
        "_keep",
        "_known",
        "_left",
        "_state",
        "body",
        "close",
        "head",
        "pod",
        "served",
        "status",
    )

    def __init__(self, method: str = "GET", keep: bool = False, known: dict[bytes, Known] | None = None) -> None:
        """keep: head and body are kept. known: heads read before, shared by all responses to one method."""
        self._body_less = method == "HEAD"
        self._keep = keep
        self._known = {} if known is None else known
        self._left = 0
        self.head = b""
        self.body: list[bytes] = []
        self.clear()

    def clear(self) -> None:
        """Ready for the next response on the same connection."""
        self._buffer = b""
        self._state = _HEAD
        self.status = 0
        self.close = False
        self.pod = b""
        self.served = 0
        if self._keep:
            self.head = b""
            self.body = []

    @property
    def head_done(self) -> bool:
        return self._state != _HEAD

    def feed(self, data: bytes) -> bool:
        """True when the response is whole. Raises BadResponse when it is not HTTP."""
        if self._state == _HEAD:
            data = self._feed_head(data)
        while data:
            state = self._state
            if state == _LENGTH:
                size = len(data)
                if size < self._left:
                    self._left -= size
                    self._take(data)
                    return False
                self._state = _DONE
                if size == self._left:
                    if self._keep:
                        self.body.append(data)
                    return True
                self._take(data[: self._left])
                data = data[self._left :]
            elif state == _HEAD:
                data = self._feed_head(data)
            elif state == _DONE:
                self.close = True  # bytes nobody asked for: what follows on this connection cannot be trusted
                return True
            elif state == _UNTIL_EOF:
                self._take(data)
                return False
            else:
                data = self._feed_chunked(data)
        return self._state == _DONE

    def feed_eof(self) -> bool:
        """True when the end of the connection is the proper end of this response (RFC 9112 6.3, rule 8)."""
        self.close = True
        if self._state == _UNTIL_EOF:
            self._state = _DONE
        return self._state == _DONE

    def _feed_head(self, data: bytes) -> bytes:
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        end = data.find(b"\r\n\r\n")
        if end < 0 or end > MAX_HEAD:
            return self._feed_odd_head(data)
        # Servers repeat themselves: a head that was read before, but for the count in it, is not read again.
        at = data.find(_SERVED, 0, end)
        if at < 0:
            key, count = data[:end], b""
        else:
            stop = data.find(b"\r", at + len(_SERVED))
            key, count = data[:at] + data[stop:end], data[at + len(_SERVED) : stop]
        known = self._known.get(key)
        if known is None or (count and not count.isdigit()):
            self._read_head(data[: end + 4])
            if self.status:
                if len(self._known) >= MAX_KNOWN:
                    self._known.clear()
                self._known[key] = (self.status, self.close, self._state, self._left, self.pod, self.served)
        else:
            self.status, self.close, self._state, self._left, self.pod, self.served = known
            if count:
                self.served = int(count) & 0xFFFFFFFF
        if self._keep:
            self.head = data[: end + 4]
        return data[end + 4 :]

    def _feed_odd_head(self, data: bytes) -> bytes:
        """Not all there yet, too long, or with lone line feeds (RFC 9112 2.2)."""
        found = _BLANK.search(data)
        if found is None:
            if not (data.startswith(_START) if len(data) >= len(_START) else _START.startswith(data)):
                raise BadResponse("the response does not begin with HTTP/1.")
            if len(data) <= MAX_HEAD:
                self._buffer = data
                return b""
        if found is None or found.start() > MAX_HEAD:
            raise BadResponse(f"the response's head is over {MAX_HEAD} bytes")
        self._read_head(data[: found.end()])
        if self._keep:
            self.head = data[: found.end()]
        return data[found.end() :]

    def _read_head(self, head: bytes) -> None:
        low = head.lower()
        if _STATUS(low) is None:
            raise BadResponse("the response does not begin with an HTTP/1.x status line")
        status = int(low[9:12])
        if status < 200 and status != 101:
            return  # 100 Continue and its like: the real response follows
        find = low.find
        if low[7] == 48:  # HTTP/1.0
            self.close = True
        elif (at := find(b"\nconnection:")) >= 0:
            self.close = b"close" in _value(low, at + 12)
        if self._body_less or status in _NO_BODY:
            self.close = self.close or status == 101
            self._state = _DONE
        elif (at := find(b"\ntransfer-encoding:")) >= 0:
            self._state = _CHUNK_SIZE if _value(low, at + 19).endswith(b"chunked") else _UNTIL_EOF
        elif (at := find(b"\ncontent-length:")) >= 0:
            text = low[at + 16 : find(b"\n", at + 16)].strip()
            second = find(b"\ncontent-length:", at + 16)
            if not text.isdigit() or len(text) > 18 or (second >= 0 and _value(low, second + 16) != text):
                raise BadResponse("the response's Content-Length is not one number")
            self._left = int(text)
            self._state = _LENGTH if self._left else _DONE
        else:
            self._state = _UNTIL_EOF
        if self._state == _UNTIL_EOF:
            self.close = True
        self.status = status
        if (at := find(b"\nx-hazd-pod:")) >= 0:
            self.pod = head[at + 12 : find(b"\n", at + 12)].strip()
        if (at := find(b"\nx-hazd-served:")) >= 0:
            text = low[at + 15 : find(b"\n", at + 15)].strip()
            self.served = int(text) & 0xFFFFFFFF if text.isdigit() else 0

    def _feed_chunked(self, data: bytes) -> bytes:
        if self._state == _CHUNK_DATA:
            part = data[: self._left]
            self._take(part)
            self._left -= len(part)
            if not self._left:
                self._state = _CHUNK_END
            return data[len(part) :]
        data = self._buffer + data
        self._buffer = b""
        end = data.find(b"\n")
        if end < 0:
            if len(data) > MAX_HEAD:
                raise BadResponse("a chunk's size line has no end")
            self._buffer = data
            return b""
        line, rest = data[:end].rstrip(b"\r"), data[end + 1 :]
        if self._state == _CHUNK_END:
            if line:
                raise BadResponse("a chunk is longer than its size says")
            self._state = _CHUNK_SIZE
        elif self._state == _CHUNK_SIZE:
            try:
                self._left = int(line.partition(b";")[0].strip() or b"-", 16)
            except ValueError as error:
                raise BadResponse("a chunk's size is not a number") from error
            if self._left < 0:
                raise BadResponse("a chunk's size is negative")
            self._state = _CHUNK_DATA if self._left else _TRAILER
        elif not line:
            self._state = _DONE
        return rest

    def _take(self, data: bytes) -> None:
        if self._keep:
            self.body.append(data)


def _value(head: bytes, start: int) -> bytes:
    end = head.find(b"\n", start)
    return head[start:end].strip()


def header_list(head: bytes) -> list[tuple[bytes, bytes]]:
    """The header fields of a whole head, in order; a line without a colon is skipped."""
    out = []
    for line in head.split(b"\n")[1:]:
        name, colon, value = line.partition(b":")
        if colon:
            out.append((name.strip(), value.strip()))
    return out
