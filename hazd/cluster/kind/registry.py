"""Asks once, and briefly, whether Docker's image registry answers, and pulls what can be pulled.

A machine without a registry must not wait for timeouts: `docker pull` would, for minutes, on some networks. Which
host is asked comes from the Docker engine's own settings (index, mirrors, proxy), never from this file.
"""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import anyio

from hazd.cluster.process import Say, docker
from hazd.errors import EnvironmentProblem

CONNECT_S = 5.0
PULL_S = 1800.0
_known: list[bool] = []


def asked_hosts(info: dict[str, object]) -> list[tuple[str, int]]:
    """PURE: (host, port) pairs of which one must accept a connection for a pull to work, from `docker info`'s JSON.

    With a proxy set, the engine never connects to the registry itself, so the proxy is what has to answer.
    """
    proxy = str(info.get("HTTPSProxy") or info.get("HttpsProxy") or "")
    registry = info.get("RegistryConfig")
    mirrors = registry.get("Mirrors") if isinstance(registry, dict) else None
    urls = [proxy] if proxy else [*map(str, mirrors or []), str(info.get("IndexServerAddress") or "")]
    hosts = []
    for url in urls:
        parts = urlsplit(url if "//" in url else f"//{url}")
        if parts.hostname:
            hosts.append((parts.hostname, parts.port or (80 if parts.scheme == "http" else 443)))
    return hosts


async def answers() -> bool:
    """Whether a registry accepts connections within CONNECT_S; asked once in the life of this process."""
    if not _known:
        info = json.loads((await docker("info", "-f", "{{json .}}")).out)
        _known.append(any([await _connects(host, port) for host, port in asked_hosts(info)]))
    return _known[0]


async def _connects(host: str, port: int) -> bool:
    with anyio.move_on_after(CONNECT_S):
        try:
            stream = await anyio.connect_tcp(host, port)
        except OSError:
            return False
        await stream.aclose()
        return True
    return False


async def has_image(image: str) -> bool:
    return (await docker("image", "inspect", "-f", "{{.Id}}", image, check=False)).code == 0


async def pull(image: str, say: Say) -> bool:
    """Pull if a registry answers; False when none does or it does not have the image (said through `say`)."""
    if not await answers():
        say(f"no image registry answers, so {image} cannot be pulled")
        return False
    say(f"pulling {image}")

    def layer(line: str) -> None:
        if "Pull complete" in line or "Downloaded" in line:
            say(f"  {line}")

    try:
        await docker("pull", image, timeout_s=PULL_S, on_line=layer)
    except EnvironmentProblem as error:
        say(f"{image} could not be pulled: {(error.hint or error.message).splitlines()[-1]}")
        return False
    return True


__all__ = ["answers", "asked_hosts", "has_image", "pull"]
