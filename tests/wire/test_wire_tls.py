"""TLS: own authority, SNI, verification on unless switched off; failures have the phase tls."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from hazd.model import Connection, FailureKind, Phase

from .dying_servers import OK, Peer, Server, answer_always
from .harness import REUSED, send

Certificate = tuple[str, ssl.SSLContext]


def test_own_authority_and_sni(sender: str, tmp_path: Path, certificate: Certificate) -> None:
    """The certificate is verified against the plan's authority and the plan's server name."""
    pem, context = certificate
    with Server(answer_always, tls=context) as server:
        rows = send(sender, tmp_path, server.url, REUSED, requests=3, ca_pem=pem, sni="app.test")
        assert server.connections == 1
    assert {row.kind for row in rows} == {FailureKind.OK}
    assert [row.connection for row in rows] == [Connection.NEW, Connection.REUSED, Connection.REUSED]


def test_unknown_authority_is_refused_by_us(sender: str, tmp_path: Path, certificate: Certificate) -> None:
    """Verification is on by default, and OpenSSL's own number is not taken for an errno."""
    _, context = certificate
    with Server(answer_always, tls=context) as server:
        row = send(sender, tmp_path, server.url, sni="app.test")[0]
        assert server.requests == []
    assert (row.kind, row.phase, row.errno, row.status) == (FailureKind.OTHER, Phase.TLS, 0, 0)


def test_wrong_name(sender: str, tmp_path: Path, certificate: Certificate) -> None:
    pem, context = certificate
    with Server(answer_always, tls=context) as server:
        row = send(sender, tmp_path, server.url, ca_pem=pem, sni="other.test")[0]
    assert (row.kind, row.phase) == (FailureKind.OTHER, Phase.TLS)


def test_verification_off(sender: str, tmp_path: Path, certificate: Certificate) -> None:
    _, context = certificate
    with Server(answer_always, tls=context) as server:
        row = send(sender, tmp_path, server.url, verify_tls=False)[0]
    assert row.kind == FailureKind.OK


@pytest.mark.parametrize("how", ["fin", "rst", "garbage"])
def test_death_in_the_handshake(sender: str, tmp_path: Path, how: str) -> None:
    """The connection stood; the handshake did not."""

    def script(peer: Peer) -> None:
        peer.sock.recv(65_536)
        if how == "rst":
            peer.reset()
        elif how == "garbage":
            peer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            peer.wait_for_client_to_close()

    with Server(script) as server:
        row = send(sender, tmp_path, server.url.replace("http:", "https:"))[0]
    kinds = {"fin": FailureKind.EOF, "rst": FailureKind.RESET, "garbage": FailureKind.OTHER}
    assert (row.kind, row.phase) == (kinds[how], Phase.TLS)
    assert row.connected_ns > 0


def test_fin_in_the_body(sender: str, tmp_path: Path, certificate: Certificate) -> None:
    """Without a close_notify, as a killed process leaves it."""
    _, context = certificate

    def script(peer: Peer) -> None:
        peer.read()
        peer.write(OK.replace(b"Length: 3", b"Length: 30"))

    with Server(script, tls=context) as server:
        row = send(sender, tmp_path, server.url, verify_tls=False)[0]
    assert (row.kind, row.phase, row.errno) == (FailureKind.EOF, Phase.RECEIVE, 0)
