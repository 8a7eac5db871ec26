"""TLS without I/O: bytes from the socket in, bytes for the socket out. Both senders put it between socket and parser.

ssl.SSLObject over memory BIOs, so that the senders keep the socket, and with it errno, to themselves.
"""

from __future__ import annotations

import ssl

from hazd.traffic.classify import PeerClosed

__all__ = ["TlsCodec", "client_context"]


def client_context(verify: bool, ca_pem: str, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
    """A client's context: the system's authorities and `ca_pem`'s, or no verification at all when asked for."""
    context = ssl.create_default_context(cadata=ca_pem or None)
    if ca_pem:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


class TlsCodec:
    """One client connection. `pending()` is what has to be written to the socket after every call."""

    __slots__ = ("_incoming", "_object", "_outgoing")

    def __init__(self, context: ssl.SSLContext, server_name: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)

    def pending(self) -> bytes:
        return self._outgoing.read()

    def feed(self, data: bytes) -> None:
        """What came from the socket; b"" is its end."""
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def handshake(self) -> bool:
        """True when it is done. Raises ssl.SSLError, or PeerClosed when the socket ended within it."""
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLEOFError as error:
            raise PeerClosed("the peer closed within the TLS handshake") from error
        return True

    def encrypt(self, data: bytes) -> None:
        self._object.write(data)

    def decrypt(self) -> tuple[bytes, bool]:
        """(clear text, whether the peer has ended): with or without a close_notify, an end is an end."""
        parts: list[bytes] = []
        while True:
            try:
                part = self._object.read(65_536)
            except ssl.SSLWantReadError:
                return b"".join(parts), False
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b"".join(parts), True
            if not part:
                return b"".join(parts), True
            parts.append(part)
