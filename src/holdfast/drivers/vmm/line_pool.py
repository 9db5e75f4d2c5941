"""The calls to one host while it is connected: a few at once, each over a line of its own.

Begins with the one line that also carries the events; further ones are opened when calls overlap and a few are kept.
A call that hangs keeps its line, its thread and its place, so that a host that hangs gets no more than a few of them;
all are written off together when the host is found lost.  Long calls (saving, migrating) have places of their own:
however many of them are under way, looking at the host is still possible.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import libvirt

from holdfast.drivers import expendable
from holdfast.drivers.vmm.line import Connection, Line, OutcomeUnknown
from holdfast.model.errors import HoldfastError

T = TypeVar("T")
_KEPT_IDLE = 2


class NotSent(HoldfastError):
    """There was no connection, or no time: nothing was sent."""


class PoolGone(NotSent):
    """The connection was lost before the order was sent; the next one may take it."""


class LinePool:
    """``open_line`` blocks; ``name`` is for messages and threads."""

    def __init__(self, first: Line, open_line: Callable[[], Line], calls_at_once: int, name: str) -> None:
        self._idle = [first]
        self._open_line = open_line
        self._slots = asyncio.Semaphore(calls_at_once)
        self._long_slots = asyncio.Semaphore(calls_at_once)
        self._name = name
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def call(self, work: Callable[[Connection], T], until: float, long: bool = False) -> T:
        """The result of ``work(connection)`` if it comes before ``until`` (on the event loop's clock)."""
        loop = asyncio.get_running_loop()
        slots = self._long_slots if long else self._slots
        try:
            async with asyncio.timeout_at(until):
                await slots.acquire()
        except TimeoutError:
            raise NotSent(f"{self._name} is busy: nothing was sent in the time there was") from None
        if self._gone.done() or loop.time() >= until:
            slots.release()
            raise self._not_sent("no time was left")
        attempt = _Attempt(self._idle.pop() if self._idle else None, self._open_line, work)
        future = expendable.start(attempt.run, f"libvirt-call {self._name}")
        future.add_done_callback(lambda done: self._finished(attempt, done, slots))
        either: set[asyncio.Future[Any]] = {future, self._gone}
        try:
            await asyncio.wait(either, timeout=until - loop.time(), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            attempt.give_up()
            raise
        if not future.done() and attempt.give_up():
            raise self._not_sent(f"no further connection to {self._name} could be opened in time")
        # What was sent gets its answer, or fails when keepalive finds its own line dead.
        await asyncio.wait({future}, timeout=max(0.0, until - loop.time()))
        if future.done():
            return future.result()
        raise OutcomeUnknown(f"{self._name} did not answer in time")

    def _not_sent(self, reason: str) -> NotSent:
        kind = PoolGone if self._gone.done() else NotSent
        return kind(f"{reason}: nothing was sent")

    def shut(self) -> None:
        """No more calls; lines in use are shut when their call ends."""
        self._gone.set_result(None)
        for line in self._idle:
            self._drop(line)
        self._idle = []

    def _finished(self, attempt: _Attempt[T], done: asyncio.Future[T], slots: asyncio.Semaphore) -> None:
        slots.release()
        line = attempt.line
        if line is None:
            return
        broken = isinstance(done.exception(), OutcomeUnknown)
        if broken or self._gone.done() or len(self._idle) >= _KEPT_IDLE:
            self._drop(line)
        else:
            self._idle.append(line)

    def _drop(self, line: Line) -> None:
        expendable.start(line.shut, f"libvirt-close {self._name}")


class _Attempt(Generic[T]):
    """One call in its thread, which can be given up as long as nothing was sent."""

    def __init__(self, line: Line | None, open_line: Callable[[], Line], work: Callable[[Connection], T]) -> None:
        self.line = line
        self._open_line = open_line
        self._work = work
        self._lock = threading.Lock()
        self._decided = False

    def run(self) -> T:
        """Opens a line if there is none that lives, then calls."""
        if self.line is not None and not self.line.alive:
            self.line.shut()
            self.line = None
        if self.line is None:
            try:
                self.line = self._open_line()
            except libvirt.libvirtError as error:
                raise NotSent(str(error)) from None
        if not self._decide():
            raise NotSent("given up before it was sent")
        return self.line.perform(self._work)

    def give_up(self) -> bool:
        """True when nothing was sent, and nothing will be."""
        return self._decide()

    def _decide(self) -> bool:
        with self._lock:
            first = not self._decided
            self._decided = True
            return first
