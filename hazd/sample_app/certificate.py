"""A certificate for the sample app from an authority that is made for one run and then forgotten.

The only file that imports trustme, and only when it is called: the app itself gets by on the standard library.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SERVER_NAME = "app.hazd.test"
"""What the certificate says and clients ask for (SNI): no address of a pod or Service is known when it is made, and
.test is never in the DNS (RFC 6761)."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM texts. chain_pem: the server's certificate; ca_pem: whom clients have to trust."""

    chain_pem: str
    key_pem: str = field(repr=False)
    ca_pem: str
    server_name: str = SERVER_NAME


def issue_certificate(server_name: str = SERVER_NAME) -> Certificate:
    """A new authority and a certificate of it, elliptic-curve keys: a handshake costs the pods little."""
    import trustme

    authority = trustme.CA(organization_name="hazd", organization_unit_name="authority of one run")
    issued = authority.issue_cert(server_name)
    return Certificate(
        chain_pem="".join(blob.bytes().decode() for blob in issued.cert_chain_pems),
        key_pem=issued.private_key_pem.bytes().decode(),
        ca_pem=authority.cert_pem.bytes().decode(),
        server_name=server_name,
    )


__all__ = ["SERVER_NAME", "Certificate", "issue_certificate"]
