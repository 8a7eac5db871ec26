"""Where the requests of a stream go: its own URL or the plan's, resolved once, with the TLS they need."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from hazd.model import Stream, TrafficPlan
from hazd.traffic.senders.dial import Address, resolve
from hazd.traffic.tls import client_context

__all__ = ["Target", "find_targets", "url_of"]


@dataclass(frozen=True, slots=True)
class Target:
    """tls: None for http; server_name: what the certificate must say (SNI)."""

    url: str
    address: Address
    tls: ssl.SSLContext | None
    server_name: str


async def find_targets(plan: TrafficPlan) -> list[Target]:
    """One for each stream of the plan. Raises OSError (socket.gaierror) when a name is not known."""
    known: dict[str, Target] = {}
    context: ssl.SSLContext | None = None
    for url in {url_of(plan, stream) for stream in plan.streams}:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        if secure and context is None:
            context = client_context(plan.verify_tls, plan.ca_pem)
        host = parts.hostname or ""
        address = await resolve(host, parts.port or (443 if secure else 80))
        known[url] = Target(url, address, context if secure else None, plan.sni or host)
    return [known[url_of(plan, stream)] for stream in plan.streams]


def url_of(plan: TrafficPlan, stream: Stream) -> str:
    return stream.url or plan.url
