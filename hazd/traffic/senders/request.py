"""The bytes of a plan's request, made once: every request of a plan is the same but for its last-use announcement."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from hazd.model import TrafficPlan

__all__ = ["request_bytes"]


def request_bytes(
    plan: TrafficPlan, target_url: str, extra_headers: tuple[tuple[str, str], ...] = (), last: bool = False
) -> bytes:
    """HTTP/1.1, with Host and Content-Length unless the plan brings its own; last adds `Connection: close`."""
    url = urlsplit(target_url)
    path = quote(url.path or "/", safe="/%:@!$&'()*+,;=-._~")
    target = f"{path}?{quote(url.query, safe='/?%:@!$&()*+,;=-._~')}" if url.query else path
    body = plan.body.encode()
    headers = [*plan.headers, *extra_headers]
    given = {name.lower() for name, _ in headers}
    if "host" not in given:
        headers.insert(0, ("Host", url.netloc.rpartition("@")[2]))
    if (body or plan.method in ("POST", "PUT", "PATCH")) and "content-length" not in given:
        headers.append(("Content-Length", str(len(body))))
    if last:
        headers.append(("Connection", "close"))
    lines = [f"{plan.method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode() + body
