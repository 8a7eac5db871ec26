"""What the sample app reads from its environment: names, bounds and defaults, checked before anything is started.

Standard library only; the fixes and manifests set these variables by their names.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

ON_SIGTERM = ("exit", "graceful", "ignore")


@dataclass(frozen=True, slots=True)
class Knobs:
    """What the environment says. Raises ValueError (variable, value, what would be right) in `read`.

    tls_cert, tls_key: PEM texts, "" for no TLS. http2: HTTP/2 is made ready before the app listens.
    """

    port: int
    startup_delay_s: float
    on_sigterm: str
    latency_s: float
    cpu_s: float
    recycle_after: int
    shutdown_timeout_s: float
    tag: str
    pod: str
    tls_port: int = 8443
    tls_cert: str = ""
    tls_key: str = field(default="", repr=False)
    http2: bool = False

    @classmethod
    def read(cls, env: Mapping[str, str]) -> Knobs:
        on_sigterm = env.get("HAZD_ON_SIGTERM", "") or "exit"
        if on_sigterm not in ON_SIGTERM:
            raise ValueError(f"HAZD_ON_SIGTERM={on_sigterm!r}: must be one of {', '.join(ON_SIGTERM)}")
        pod = env.get("POD_NAME", "") or socket.gethostname()
        if not (pod.isascii() and pod.isprintable()):
            raise ValueError(f"POD_NAME={pod!r}: must be printable ASCII, it is sent in a header")
        if bool(env.get("HAZD_TLS_CERT")) != bool(env.get("HAZD_TLS_KEY")):
            raise ValueError("HAZD_TLS_CERT, HAZD_TLS_KEY: must be given both or neither")
        return cls(
            port=_whole(env, "HAZD_PORT", 8080, 65535),
            startup_delay_s=_number(env, "HAZD_STARTUP_DELAY_S", 0.0, 86_400.0),
            on_sigterm=on_sigterm,
            latency_s=_number(env, "HAZD_LATENCY_MS", 0.0, 3_600_000.0) / 1e3,
            cpu_s=_number(env, "HAZD_CPU_MS", 0.0, 60_000.0) / 1e3,
            recycle_after=_whole(env, "HAZD_RECYCLE_AFTER", 0, 2**31),
            shutdown_timeout_s=_number(env, "HAZD_SHUTDOWN_TIMEOUT_S", 10.0, 86_400.0),
            tag=env.get("HAZD_RUN_TAG", ""),
            pod=pod,
            tls_port=_whole(env, "HAZD_TLS_PORT", 8443, 65535),
            tls_cert=env.get("HAZD_TLS_CERT", ""),
            tls_key=env.get("HAZD_TLS_KEY", ""),
            http2=_whole(env, "HAZD_HTTP2", 0, 1) == 1,
        )


def _number(env: Mapping[str, str], name: str, default: float, most: float) -> float:
    text = env.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = math.nan
    if not 0 <= value <= most:
        raise ValueError(f"{name}={text!r}: must be a number from 0 to {most:g}")
    return value


def _whole(env: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = env.get(name, "")
    if text and not (text.isascii() and text.isdigit() and len(text) < 12 and int(text) <= most):
        raise ValueError(f"{name}={text!r}: must be an integer from 0 to {most}")
    return int(text) if text else default


__all__ = ["ON_SIGTERM", "Knobs"]
