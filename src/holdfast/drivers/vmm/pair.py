"""A call that needs the connections of two hosts at once: a live migration.

One thread holds a line to the second host and parks; another, with a line to the first, does the work over both.  The
parked thread goes on when the work has ended, or when it is certain that it will never begin, so neither line is lost.
Lines are taken from the host with the higher id first: calls in opposite directions never wait for each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

from holdfast.drivers.vmm.connections import Connections
from holdfast.drivers.vmm.line import Connection
from holdfast.drivers.vmm.line_pool import NotSent
from holdfast.model.errors import HoldfastError

T = TypeVar("T")


async def call_both(
    connections: Connections,
    first: int,
    second: int,
    work: Callable[[Connection, Connection], T],
    limit_s: float,
) -> T:
    """``work(connection to first, connection to second)``; raises what :meth:`Connections.call` raises."""
    if first > second:
        return await call_both(connections, second, first, lambda one, other: work(other, one), limit_s)
    loan = _Loan()
    until = asyncio.get_running_loop().time() + limit_s
    lending = asyncio.create_task(connections.call(second, loan.lend, limit_s, long=True))
    lending.add_done_callback(_mark_retrieved)
    try:
        await asyncio.wait({loan.ready, lending}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        if not loan.ready.done():
            await asyncio.wait({lending}, timeout=0)
            raise _never_lent(lending)
        left_s = until - asyncio.get_running_loop().time()
        return await connections.call(first, lambda connection: loan.use(connection, work), left_s, long=True)
    finally:
        loan.end_unless_used()


def _never_lent(lending: asyncio.Task[None]) -> HoldfastError:
    error = lending.exception() if lending.done() and not lending.cancelled() else None
    return error if isinstance(error, HoldfastError) else NotSent("the second host could not be asked in time")


def _mark_retrieved(lending: asyncio.Task[None]) -> None:
    """How the parked call ended is of no interest: the work's own result tells."""
    if not lending.cancelled():
        lending.exception()


class _Loan:
    """A connection on its way from the thread that owns its line to the one that works with it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self._connection: Connection | None = None
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._used = False

    def lend(self, connection: Connection) -> None:
        """In the owner's thread: parks until the work has ended."""
        self._connection = connection
        with contextlib.suppress(RuntimeError):  # the event loop is gone: nobody will use it
            self._loop.call_soon_threadsafe(self._tell)
            self._ended.wait()

    def use(self, first: Connection, work: Callable[[Connection, Connection], T]) -> T:
        """In the worker's thread."""
        with self._lock:
            if self._ended.is_set():
                raise NotSent("given up before it was sent")
            self._used = True
        try:
            return work(first, self._connection)
        finally:
            self._ended.set()

    def end_unless_used(self) -> None:
        """Work that has begun keeps the loan to its end; work that has not will not begin any more."""
        with self._lock:
            if not self._used:
                self._ended.set()

    def _tell(self) -> None:
        if not self.ready.done():
            self.ready.set_result(None)
