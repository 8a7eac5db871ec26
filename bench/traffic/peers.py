"""How each tool is started, and how its own words are read: requests answered with 200, and seconds."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.traffic.place import ROOT, find, peer_python, pin_client

IN_FLIGHT = "64"
OPEN_RATE = 5000
"""Requests a second of the open loop."""
HEY = "-z {s}s -cpus 1 {url}"
OHA = "-z {s}s --no-tui --output-format json {url}"
K6 = "--vus 64 --duration {s}s -e URL={url} {here}/k6.js"


@dataclass(frozen=True, slots=True)
class Peer:
    """command(url, new, seconds) or None where it is not installed; read(stdout) -> (answered, seconds or 0)."""

    name: str
    command: Callable[[str, bool, float], list[str] | None]
    read: Callable[[str], tuple[int, float]]


def _tool(name: str, arguments: str, new: str = "", kept: str = "") -> Callable[..., list[str] | None]:
    """`arguments` with {s} for the seconds, {url}, {here} for this folder; `new` or `kept` goes before them."""

    def command(url: str, is_new: bool, seconds: float) -> list[str] | None:
        path = find(name)
        words = f"{new if is_new else kept} {arguments}".split()
        filled = [word.format(s=f"{seconds:g}", url=url, here=Path(__file__).parent) for word in words]
        return [path, *filled] if path else None

    return command


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if found is None:
        raise ValueError(f"no {pattern!r} in: {text[-500:]}")
    return float(found.group(1))


def _wrk(out: str) -> tuple[int, float]:
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    total = _number(r"(\d+) requests in", out)
    return int(total) - (int(bad.group(1)) if bad else 0), _number(r"requests in ([\d.]+)s", out)


def _ab(out: str) -> tuple[int, float]:
    total = _number(r"Complete requests:\s+(\d+)", out) - _number(r"Failed requests:\s+(\d+)", out)
    return int(total), _number(r"Time taken for tests:\s+([\d.]+)", out)


def _hey(out: str) -> tuple[int, float]:
    return int(_number(r"\[200\]\s+(\d+) responses", out)), _number(r"Total:\s+([\d.]+) secs", out)


def _oha(out: str) -> tuple[int, float]:
    data = json.loads(out)
    return int(data["statusCodeDistribution"]["200"]), float(data["summary"]["total"])


def _k6(out: str) -> tuple[int, float]:
    return int(_number(r"http_reqs\.*: (\d+)", out)), 0.0


def _locust(out: str) -> tuple[int, float]:
    stats = json.loads(out[out.index("[") :])[0]
    return stats["num_requests"] - stats["num_failures"], stats["last_request_timestamp"] - stats["start_time"]


def _python(client: str, python: Callable[[], str | None]) -> Peer:
    def command(url: str, new: bool, seconds: float) -> list[str] | None:
        path = python()
        arguments = ["-m", "bench.traffic.closed_loop", client, url, "new" if new else "reused", str(seconds)]
        return [path, *arguments] if path else None

    return Peer(client, command, lambda out: (json.loads(out)["ok"], json.loads(out)["wall_s"]))


def _locust_command(url: str, new: bool, seconds: float) -> list[str] | None:
    python = peer_python()
    file = Path(__file__).with_name("locustfile_.py")
    if python is None:
        return None
    arguments = ["-f", str(file), "--headless", "--json", "-u", IN_FLIGHT, "-r", "1000", "-t", f"{seconds:g}s"]
    return [python, "-m", "locust", *arguments, "-H", url.rstrip("/"), "--only-summary", "--loglevel", "ERROR"]


def _own() -> str:
    return sys.executable


PEERS = (
    _python("fast", _own),
    _python("httpx", _own),
    _python("stock-httpx", _own),
    Peer("wrk", _tool("wrk", "-t1 -c64 -d{s}s {url}"), _wrk),
    Peer("ab", _tool("ab", "-q -t {s} -n 99999999 -c 64 {url}", kept="-k"), _ab),
    Peer("hey", _tool("hey", HEY, new="-c 64 -disable-keepalive", kept="-c 64"), _hey),
    Peer("oha", _tool("oha", OHA, new="-c 64 --disable-keepalive", kept="-c 64"), _oha),
    Peer("k6", _tool("k6", K6, new="run -q --no-connection-reuse", kept="run -q"), _k6),
    _python("aiohttp", peer_python),
    Peer("locust", _locust_command, _locust),
)

PACED = (
    Peer("oha", _tool("oha", OHA, new=f"-c 50 -q {OPEN_RATE} --disable-keepalive"), _oha),
    # hey's rate is each worker's own.
    Peer("hey", _tool("hey", HEY, new=f"-c 50 -q {OPEN_RATE // 50} -disable-keepalive"), _hey),
)
"""Peers that can keep a rate, at OPEN_RATE."""


def measure(peer: Peer, url: str, new: bool, seconds: float) -> dict[str, Any] | None:
    """One run on the client's core: answers, wall and CPU seconds. None where the tool is not installed.

    For programs the CPU is that of the whole process; Python clients leave their own start-up out. Raises RuntimeError
    with the tool's own words when it failed.
    """
    command = peer.command(url, new, seconds)
    if command is None:
        return None
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "GOMAXPROCS": "1", "TOKIO_WORKER_THREADS": "1"}
    before, began = os.times(), time.perf_counter()
    done = subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        preexec_fn=pin_client,
        timeout=seconds * 5 + 60,
        check=False,
    )
    wall, after = time.perf_counter() - began, os.times()
    try:
        ok, own_wall = peer.read(done.stdout)
    except (ValueError, KeyError, IndexError) as error:
        raise RuntimeError(f"{peer.name}: exit {done.returncode}: {error}: {done.stderr[-500:]}") from error
    cpu = after.children_user - before.children_user + after.children_system - before.children_system
    result = {"ok": ok, "wall_s": own_wall or wall, "cpu_s": cpu}
    if done.stdout.startswith('{"requests"'):
        result |= json.loads(done.stdout)
    return {**result, "per_s": ok / result["wall_s"], "per_cpu_s": ok / result["cpu_s"]}
