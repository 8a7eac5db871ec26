"""HTTP/1.1 requests out of a stream of bytes, without any I/O: what the sample app reads, so far as it must.

Bodies are skipped, not kept. Standard library only. Nothing is guessed: a stream that RFC 9112 does not allow is
refused, because a request that two sides frame differently would be counted differently by them.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import NamedTuple

HEAD_LIMIT = 16 * 1024  # bytes of request line and headers, and of a chunked body's trailers
KNOWN_LIMIT = 1024  # bytes of a request that is worth remembering


class Request(NamedTuple):
    """One request whose body was read and dropped. `status` other than 200 means: respond with that and close."""

    method: bytes = b"GET"
    path: str = "/"
    close: bool = False
    preflight: bool = False
    status: int = 200
    problem: str = ""


class BadRequest(Exception):
    """The stream makes no sense from here on; `status` is the status of the response before the connection ends."""

    def __init__(self, status: int, problem: str) -> None:
        super().__init__(problem)
        self.status, self.problem = status, problem


def only_request(data: bytes) -> Request | None:
    """The request that these bytes are, when they are one good request, whole and nothing more; else None.

    Clients that test a service repeat themselves: what was read once is not read again.
    """
    return _remembered(data) if len(data) <= KNOWN_LIMIT else None


@functools.lru_cache(maxsize=128)
def _remembered(data: bytes) -> Request | None:
    parser = RequestParser()
    found = parser.feed(data)
    return found[0] if len(found) == 1 and found[0].status == 200 and parser.idle else None


class RequestParser:
    """HTTP/1.1 requests out of a stream of bytes (RFC 9112), without any I/O; bodies are skipped, not kept."""

    def __init__(self) -> None:
        self.wants_continue = False  # the client waits for "100 Continue" before it sends its body
        self.broken = False
        self._buffer = bytearray()
        self._pending: Request | None = None  # its head is read, its body is not
        self._skip = 0  # bytes of body, or of one chunk, still to drop
        self._chunk_ends = False  # a chunk was dropped, its CRLF was not
        self._chunked = False
        self._trailer_bytes = -1  # >= 0 while reading trailers

    @property
    def idle(self) -> bool:
        """Between two requests: every byte so far belonged to one that is whole."""
        return not (self._buffer or self._pending or self.broken)

    def feed(self, data: bytes) -> list[Request]:
        """Every request that is now whole, in order; the last has a bad `status` when the stream makes no sense."""
        self._buffer += data
        done: list[Request] = []
        try:
            while not self.broken and (request := self._step()) is not None:
                done.append(request)
        except BadRequest as bad:
            self.broken = True
            done.append(Request(status=bad.status, problem=bad.problem, close=True))
        if self.broken:
            self._buffer.clear()
        return done

    def _step(self) -> Request | None:
        if self._pending is None:
            self._read_head()
        if self._pending is None or not self._read_body():
            return None
        request, self._pending, self.wants_continue = self._pending, None, False
        return request

    def _read_head(self) -> None:
        buffer = self._buffer
        while buffer.startswith(b"\r\n"):  # RFC 9112 section 2.2: ignore empty lines before the request line
            del buffer[:2]
        end = buffer.find(b"\r\n\r\n")
        if end < 0 or end > HEAD_LIMIT:
            if len(buffer) > HEAD_LIMIT:
                raise BadRequest(431, f"more than {HEAD_LIMIT} bytes of headers")
            return
        lines = bytes(buffer[:end]).split(b"\r\n")
        del buffer[: end + 4]
        words = lines[0].split(b" ")
        if len(words) != 3 or not words[0].isalpha() or words[2] not in (b"HTTP/1.1", b"HTTP/1.0"):
            raise BadRequest(400, "the request line is not 'METHOD TARGET HTTP/1.1'")
        fields: dict[bytes, bytes] = {}
        for line in lines[1:]:
            name, colon, value = line.partition(b":")
            if not colon or not name or name != name.strip() or b"\n" in line or b"\0" in line:
                raise BadRequest(400, "a header is not 'name: value'")
            name, value = name.lower(), value.strip(b" \t")
            fields[name] = fields[name] + b", " + value if name in fields else value
        if b"host" not in fields and words[2] == b"HTTP/1.1":
            raise BadRequest(400, "no Host header")  # RFC 9112 section 3.2
        self._frame_body(fields)
        close = words[2] == b"HTTP/1.0" or b"close" in fields.get(b"connection", b"").lower().split(b", ")
        path = words[1].split(b"?", 1)[0].decode("latin-1")
        self._pending = Request(words[0], path, close, fields.get(b"x-hazd-preflight") == b"1")
        self.wants_continue = fields.get(b"expect", b"").lower() == b"100-continue"

    def _frame_body(self, fields: Mapping[bytes, bytes]) -> None:
        encoding, length = fields.get(b"transfer-encoding"), fields.get(b"content-length", b"0")
        self._chunked, self._skip, self._trailer_bytes = encoding is not None, 0, -1
        if encoding is not None:
            if b"content-length" in fields:  # RFC 9112 section 6.1: a smuggling attempt may be refused
                raise BadRequest(400, "both Content-Length and Transfer-Encoding")
            if encoding.lower() != b"chunked":
                raise BadRequest(501, "Transfer-Encoding other than chunked")
        elif not length.isdigit() or len(length) > 18:
            raise BadRequest(400, "Content-Length is not one integer")
        else:
            self._skip = int(length)

    def _read_body(self) -> bool:
        """Drop what is there of the body; True when it was the last of it."""
        buffer = self._buffer
        while True:
            dropped = min(self._skip, len(buffer))
            del buffer[:dropped]
            self._skip -= dropped
            if self._skip:
                return False
            if not self._chunked:
                return True
            if self._chunk_ends:  # RFC 9112 section 7.1: CRLF after every chunk but the last, which is empty
                if len(buffer) < 2:
                    return False
                if not buffer.startswith(b"\r\n"):
                    raise BadRequest(400, "a chunk is longer than its size says")
                del buffer[:2]
                self._chunk_ends = False
            end = buffer.find(b"\r\n")
            if end < 0:
                if len(buffer) > HEAD_LIMIT:
                    raise BadRequest(400, "a chunk header has no end")
                return False
            line = bytes(buffer[:end])
            del buffer[: end + 2]
            if self._trailer_bytes >= 0:
                self._trailer_bytes += len(line)
                if self._trailer_bytes > HEAD_LIMIT:
                    raise BadRequest(431, f"more than {HEAD_LIMIT} bytes of trailers")
                if not line:
                    return True
            else:
                size = line.split(b";", 1)[0].strip(b" \t")
                if not size or len(size) > 15 or size.strip(b"0123456789abcdefABCDEF"):
                    raise BadRequest(400, "a chunk size is not a hexadecimal number")
                self._skip = int(size, 16)
                self._chunk_ends = self._skip > 0
                self._trailer_bytes = -1 if self._chunk_ends else 0


__all__ = ["HEAD_LIMIT", "BadRequest", "Request", "RequestParser", "only_request"]
