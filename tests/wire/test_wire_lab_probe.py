"""The lab's kubelet asks over a real socket: plain and TLS, whole answers and cut ones."""

from __future__ import annotations

import socket
import ssl

import anyio
import pytest

from hazd.cluster.lab.http import Request, connect, exchange

from .dying_servers import OK, Peer, Server, answer_always


def ask(port: int, **request: object) -> tuple[int, bytes]:
    async def run() -> tuple[int, bytes]:
        with socket.socket() as sock, anyio.fail_after(5):
            sock.setblocking(False)
            await connect(sock, "127.0.0.1", port)
            return await exchange(sock, "127.0.0.1", Request(port, **request))  # type: ignore[arg-type]

    return anyio.run(run)


@pytest.mark.parametrize("tls", [False, True])
def test_an_answer_is_read_whole(tls: bool, certificate: tuple[str, ssl.SSLContext]) -> None:
    """By HTTPS as by HTTP; a kubelet does not verify whose certificate it is."""
    with Server(answer_always, tls=certificate[1] if tls else None) as server:
        assert ask(server.port, tls=tls, method="POST", body=b"b" * 300_000) == (200, b"ok\n")


@pytest.mark.parametrize("tls", [False, True])
def test_an_answer_that_is_cut_off_is_an_error(tls: bool, certificate: tuple[str, ssl.SSLContext]) -> None:
    """Never half an answer as if it were whole."""

    def script(peer: Peer) -> None:
        peer.read()
        peer.write(OK.replace(b"Length: 3", b"Length: 30"))

    with Server(script, tls=certificate[1] if tls else None) as server, pytest.raises(ConnectionError):
        ask(server.port, tls=tls)


def test_tls_with_a_plain_server_is_an_error() -> None:
    """As when the scheme of a probe is wrong: it fails, it does not hang."""

    def script(peer: Peer) -> None:
        peer.sock.recv(65_536)
        peer.write(OK)

    with Server(script) as server, pytest.raises(ssl.SSLError):
        ask(server.port, tls=True)
