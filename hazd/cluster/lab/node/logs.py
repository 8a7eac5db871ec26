"""Where each container's output is, and following it to its end.

A log is read from its file by whoever follows it; lines carry their own times, so a look ten times a second, and less
often while nothing comes, is enough.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import anyio

from hazd.cluster.lab.machine import Exit

SOONEST_S, LATEST_S = 0.05, 0.4


@dataclass(frozen=True, slots=True)
class Log:
    path: Path
    ended: Exit


class Logs:
    """The latest run of every container the lab ever started, by pod uid and container name."""

    def __init__(self) -> None:
        self._logs: dict[tuple[str, str], Log] = {}
        self._change = anyio.Event()

    def note(self, uid: str, container: str, path: Path, ended: Exit) -> None:
        self._logs[uid, container] = Log(path, ended)
        self._wake()

    def _wake(self) -> None:
        self._change.set()
        self._change = anyio.Event()

    def forget(self) -> None:
        """A pod was deleted: whoever waits for it to start has to look again."""
        self._wake()

    def find(self, uid: str, container: str) -> Log | None:
        return self._logs.get((uid, container))

    async def changed(self) -> None:
        await self._change.wait()


async def follow(log: Log) -> AsyncGenerator[str]:
    """Lines without their newline, from the first, until the process has ended and all is read."""
    rest, pause_s = b"", SOONEST_S
    with log.path.open("rb") as file:
        while True:
            over = log.ended.done.is_set()  # asked before reading: what was written before the end is then read
            data = file.read()
            if data:
                pause_s = SOONEST_S
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    yield line.decode(errors="replace")
            elif over:
                break
            if not over:
                with anyio.move_on_after(pause_s):
                    await log.ended.done.wait()
                pause_s = min(LATEST_S, pause_s * 1.5)
    if rest:
        yield rest.decode(errors="replace")
