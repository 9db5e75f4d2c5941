"""The link to one host: its connection, opened again and again, for as long as the host is watched.

Opening can block for ever, so each attempt has a thread of its own and our own limit.  A late success is used; no more
than a few attempts hang at a time.  Keepalive finds a dead connection within seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from holdfast.drivers import expendable
from holdfast.drivers.vmm import event_loop
from holdfast.drivers.vmm.domain_states import DomainReport
from holdfast.drivers.vmm.line import Connection, Line
from holdfast.drivers.vmm.line_pool import LinePool, NotSent, PoolGone

T = TypeVar("T")


class Listener(Protocol):
    """Who hears about a host; called on the asyncio event loop."""

    def domain_changed(self, host_id: int, vm_id: int, what: DomainReport) -> None:
        """A domain changed its state."""

    def connection_changed(self, host_id: int, up: bool, text: str) -> None:
        """The connection came, went, or cannot be opened for another reason than before."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Limits and pauses, in seconds."""

    open_limit_s: float = 5.0
    first_retry_s: float = 0.2
    last_retry_s: float = 5.0
    patience_s: float = 5.0
    keepalive_interval_s: int = 1
    keepalive_count: int = 3
    calls_at_once: int = 4
    hanging_opens: int = 4
    hanging_open_relief_s: float = 60.0


class _Watched:
    """The line that carries the events."""

    def __init__(self, line: Line, lost: asyncio.Future[str]) -> None:
        self.line, self.lost = line, lost


class HostLink:
    """Keeps one host connected while :meth:`run` runs."""

    def __init__(self, host_id: int, uri: str, listener: Listener, timing: Timing) -> None:
        self.host_id = host_id
        self.uri = uri
        self._listener = listener
        self._timing = timing
        self._loop = asyncio.get_running_loop()
        self._pool: LinePool | None = None
        self._up = asyncio.Event()
        self._opening: set[asyncio.Future[_Watched]] = set()
        self._last_attempt = 0.0
        self._trouble = "not connected yet"

    @property
    def connected(self) -> bool:
        """A connection is open, as far as anyone knows."""
        return self._pool is not None

    async def run(self) -> None:
        """Opens, serves until lost, opens again; ends by cancellation."""
        event_loop.ensure_running()
        pause_s = self._timing.first_retry_s
        try:
            while True:
                try:
                    watched = await self._open()
                except (NotSent, RuntimeError) as error:  # RuntimeError: no more threads just now
                    self._say_down(str(error))
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, self._timing.last_retry_s)
                    continue
                pause_s = self._timing.first_retry_s
                await self._serve(watched)
                await asyncio.sleep(pause_s)
        finally:
            self._nobody_wants(self._opening)

    async def call(self, work: Callable[[Connection], T], limit_s: float, long: bool = False) -> T:
        """The result of ``work(connection)``; raises NotSent, OutcomeUnknown or what ``work`` raises."""
        until = self._loop.time() + limit_s
        patient_until = min(until, self._loop.time() + self._timing.patience_s)
        while True:
            pool = self._pool or await self._next_pool(patient_until)
            try:
                return await pool.call(work, until, long)
            except PoolGone:
                if self._loop.time() >= patient_until:
                    raise

    async def _next_pool(self, until: float) -> LinePool:
        while self._pool is None:
            try:
                async with asyncio.timeout_at(until):
                    await self._up.wait()
            except TimeoutError:
                raise NotSent(f"{self.uri} cannot be reached: {self._trouble or 'not connected'}") from None
        return self._pool

    async def _serve(self, watched: _Watched) -> None:
        pool = LinePool(watched.line, self._new_line, self._timing.calls_at_once, self.uri)
        self._pool, self._trouble = pool, ""
        self._up.set()
        self._listener.connection_changed(self.host_id, True, f"connected to {self.uri}")
        try:
            reason = await watched.lost
        finally:
            self._pool = None
            self._up.clear()
            pool.shut()
        self._say_down(reason)

    def _say_down(self, text: str) -> None:
        if text != self._trouble:
            self._trouble = text
            self._listener.connection_changed(self.host_id, False, text)

    async def _open(self) -> _Watched:
        """A line that tells its events, or NotSent after the limit."""
        now = self._loop.time()
        hanging = len(self._opening) >= self._timing.hanging_opens
        if not hanging or now - self._last_attempt > self._timing.hanging_open_relief_s:
            self._last_attempt = now
            lost: asyncio.Future[str] = self._loop.create_future()
            self._opening.add(expendable.start(lambda: self._open_watched(lost), f"libvirt-open {self.uri}"))
        limit_s = self._timing.open_limit_s
        done, self._opening = await asyncio.wait(self._opening, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            raise NotSent(f"{self.uri} did not answer within {limit_s:g} s")
        opened = [future for future in done if not future.exception()]
        if not opened:
            raise NotSent(str(next(iter(done)).exception()))
        self._nobody_wants({*opened[1:], *self._opening})
        self._opening = set()
        return opened[0].result()

    def _new_line(self) -> Line:
        return Line(self.uri, self._timing.keepalive_interval_s, self._timing.keepalive_count)

    def _open_watched(self, lost: asyncio.Future[str]) -> _Watched:
        """Blocks, in a thread of its own."""

        def lose(reason: str) -> None:
            if not lost.done():
                lost.set_result(reason)

        def pass_on(vm_id: int, what: DomainReport) -> None:
            if not lost.done():
                self._listener.domain_changed(self.host_id, vm_id, what)

        line = self._new_line()
        try:
            line.subscribe(lambda *told: self._tell(lose, *told), lambda *told: self._tell(pass_on, *told))
        except BaseException:
            line.shut()
            raise
        return _Watched(line, lost)

    def _tell(self, action: Callable[..., None], *told: object) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop has ended before libvirt's
            self._loop.call_soon_threadsafe(action, *told)

    def _nobody_wants(self, opening: set[asyncio.Future[_Watched]]) -> None:
        for future in opening:
            future.add_done_callback(_drop_late)


def _drop_late(opening: asyncio.Future[_Watched]) -> None:
    """An attempt that was given up succeeded after all."""
    if not opening.cancelled() and not opening.exception():
        opening.result().lost.cancel()
        expendable.start(opening.result().line.shut, "libvirt-close late")
