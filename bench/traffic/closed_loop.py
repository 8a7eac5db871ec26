"""A child process: one Python client as fast as it can, 64 requests in flight; prints what it did as one JSON line.

python -m bench.traffic.closed_loop CLIENT URL new|reused SECONDS. CLIENT: fast, httpx (hazd's senders, every request
recorded to a file), stock-httpx, aiohttp. Imports and start-up are not in its figures.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

IN_FLIGHT = 64


class Measured:
    """CPU and wall time of a stretch of this process."""

    def start(self) -> None:
        gc.collect()
        gc.freeze()
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def stop(self, requests: int, ok: int) -> dict[str, Any]:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return {"requests": requests, "ok": ok, "wall_s": wall, "cpu_s": cpu}


async def hazd_sender(name: str, url: str, new: bool, seconds: float) -> dict[str, Any]:
    """Every answer's record starts the next request."""
    from hazd.model import FailureKind, Stream, TrafficPlan
    from hazd.traffic.clock import MonotonicClock
    from hazd.traffic.ledger import Ledger
    from hazd.traffic.senders.choice import make_sender

    stream = Stream("s", "new" if new else "reused", pool=IN_FLIGHT)
    plan = TrafficPlan(url, 1.0, (stream,), sender=name)
    clock = MonotonicClock()
    measured = Measured()
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "records.bin")

        class Again:
            sent = 0
            end_ns = 0
            pod_number = staticmethod(ledger.pod_number)

            def add(self, *fields: int) -> None:
                ledger.add(*fields)
                self.next()

            def next(self) -> None:
                now_ns = clock.now_ns()
                if now_ns < self.end_ns:
                    sender.send(self.sent, 0, now_ns)
                    self.sent += 1

        again = Again()
        async with make_sender(plan, again, clock) as sender:
            measured.start()
            again.end_ns = clock.now_ns() + int(seconds * 1e9)
            for _ in range(IN_FLIGHT):
                again.next()
            await sender.drain()
            ledger.flush()
            result = measured.stop(ledger.recorded, int(ledger.kinds[FailureKind.OK]))
        ledger.close()
        return {**result, "due": again.sent, "file_bytes": ledger.path.stat().st_size}


async def many(one: Callable[[], Awaitable[bool]], seconds: float) -> dict[str, Any]:
    measured = Measured()
    counts = [0, 0]

    async def lane() -> None:
        while time.perf_counter() < end:
            good = await one()
            counts[0] += 1
            counts[1] += good

    measured.start()
    end = time.perf_counter() + seconds
    await asyncio.gather(*(lane() for _ in range(IN_FLIGHT)))
    return measured.stop(counts[0], counts[1])


async def stock_httpx(url: str, new: bool, seconds: float) -> dict[str, Any]:
    """httpx.AsyncClient as it comes, connections kept or not."""
    import httpx

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0 if new else IN_FLIGHT)
    async with httpx.AsyncClient(limits=limits, trust_env=False) as client:

        async def one() -> bool:
            return (await client.get(url)).status_code == 200

        await one()
        return await many(one, seconds)


async def aiohttp_client(url: str, new: bool, seconds: float) -> dict[str, Any]:
    import aiohttp

    connector = aiohttp.TCPConnector(limit=0, force_close=new)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def one() -> bool:
            async with session.get(url) as answer:
                await answer.read()
                return answer.status == 200

        await one()
        return await many(one, seconds)


def main() -> None:
    client, url, connection, seconds = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])
    new = connection == "new"
    run: Awaitable[dict[str, Any]]
    if client == "stock-httpx":
        run = stock_httpx(url, new, seconds)
    elif client == "aiohttp":
        run = aiohttp_client(url, new, seconds)
    else:
        run = hazd_sender(client, url, new, seconds)
    import uvloop

    async def awaited() -> dict[str, Any]:
        return await run

    print(json.dumps(uvloop.run(awaited())))


if __name__ == "__main__":
    main()
