"""From a thread that blocks in a socket to an async iterator, without delaying the thread.

The reader stamps a line the moment it arrives and goes back to the socket; however busy the event loop is, it never
waits for it. Needs asyncio (or uvloop): waking a loop from a thread is not part of anyio's common ground.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, Self, TypeVar

import anyio

from hazd.errors import ClusterError

T = TypeVar("T")
JOIN_S = 8.0
"""How long leaving waits for the thread: a connect under way may take its whole timeout, reading ends at once."""


class Feed(Generic[T]):
    """What a thread's work(feed) puts in comes out of the iterator, in order. Enter it to start the thread.

    Entering returns when work called opened(), or raises what work raised before. An error after that is raised by
    the iterator when everything put in before it has come out. stop() is called to make work return.
    """

    def __init__(self, name: str, work: Callable[[Feed[T]], None], stop: Callable[[], None]) -> None:
        self._work = work
        self._stop = stop
        self._thread = threading.Thread(target=self._main, name=f"hazd-{name}", daemon=True)
        self._items: deque[T] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._signalled = False
        self._error: BaseException | None = None
        self._wake = anyio.Event()
        self._is_open = anyio.Event()
        self._done = anyio.Event()
        self.leaving = threading.Event()

    # -- called by the thread ----------------------------------------------------------------------------------------
    def put(self, item: T) -> None:
        """Hand one item over; never blocks."""
        self._items.append(item)
        if not self._signalled:
            self._signalled = True
            self._call(self._woken)

    def opened(self) -> None:
        """Let whoever entered the context go on."""
        self._call(self._is_open.set)

    def _main(self) -> None:
        try:
            self._work(self)
        except BaseException as error:  # whatever it is must reach the reader, which would wait forever
            self._error = error
        finally:
            self._call(self._ended)

    def _call(self, function: Callable[[], object]) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:  # the loop is closed: nobody waits for it any more
            self.leaving.set()

    # -- called in the event loop ------------------------------------------------------------------------------------
    def _woken(self) -> None:
        self._signalled = False  # before looking at the items: what comes from now on signals again
        self._wake.set()

    def _ended(self) -> None:
        self._done.set()
        self._is_open.set()
        self._wake.set()

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._thread.start()
        try:
            await self._is_open.wait()
        except BaseException:
            await self._close()
            raise
        if self._error is not None and not self._items:
            await self._close()
            raise self._error
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._close()

    async def _close(self) -> None:
        self.leaving.set()
        self._stop()
        with anyio.move_on_after(JOIN_S, shield=True):
            await self._done.wait()
            self._thread.join(1)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while not self._items:
            if self._done.is_set():
                if isinstance(self._error, ClusterError):
                    raise self._error
                if self._error is not None:
                    raise ClusterError(f"{self._thread.name} failed: {self._error!r}") from self._error
                raise StopAsyncIteration
            await self._wake.wait()
            self._wake = anyio.Event()
        await anyio.lowlevel.checkpoint_if_cancelled()
        return self._items.popleft()


__all__ = ["Feed"]
