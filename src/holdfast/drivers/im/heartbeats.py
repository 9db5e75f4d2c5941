"""Reads heartbeat files from the shared datastore on demand, and judges whether a host still writes its own.

Storage may hang, so each reading is made in a thread of its own with a time limit; a thread that is stuck keeps its
slot until the storage lets it go, so hung storage costs SLOTS threads and no more.

Invariants: the judgement compares readings with one another, never with a clock; an earlier file put back does not
advance, because a sequence number counts once per boot; "stalled" is only said when every reading succeeded, since
a datastore that we cannot read tells nothing about the host.
"""

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from holdfast.model.beacon import MAX_HEARTBEAT, BeaconRefused, Heartbeat, unseal_heartbeat

Judgement = Literal["advancing", "stalled", "unreadable"]
SLOTS = 16
_POLLS_PER_WINDOW = 10
_BOOTS_REMEMBERED = 16


class HeartbeatUnreadable(Exception):
    """The heartbeat could not be read in time, or is not authentic; the message says which host and why."""


class HeartbeatWatch:
    """The heartbeats of one datastore's folder, one file per host named by its ID."""

    def __init__(
        self,
        folder: Path,
        key_of: Callable[[int], bytes | None],
        window_s: float = 2.5,
        read_limit_s: float = 1.0,
    ) -> None:
        self._folder = folder
        self._key_of = key_of
        self._window_s = window_s
        self._read_limit_s = read_limit_s
        self._slots = asyncio.Semaphore(SLOTS)
        self._highest: dict[int, dict[str, int]] = {}

    async def observe(self, host_id: int) -> Judgement:
        """Read until the heartbeat moves or the window ends; "advancing" means that it moved within this call."""
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + self._window_s
        seen = dict(self._highest.get(host_id, {}))
        readings, failed = 0, False
        while True:
            try:
                advanced = self._advanced(await self.read(host_id), seen)
                readings += 1
            except HeartbeatUnreadable:
                advanced, failed = False, True
            if advanced and readings > 1:
                return "advancing"
            if loop.time() >= ends_s:
                return "stalled" if readings > 1 and not failed else "unreadable"
            await asyncio.sleep(self._window_s / _POLLS_PER_WINDOW)

    async def read(self, host_id: int) -> Heartbeat:
        """The heartbeat as it is now; HeartbeatUnreadable after the time limit at the latest."""
        key = self._key_of(host_id)
        if key is None:
            raise HeartbeatUnreadable(f"host {host_id}: has no key")
        file = self._folder / str(host_id)
        try:
            async with asyncio.timeout(self._read_limit_s):
                return unseal_heartbeat(await self._content(file), key, host_id)
        except TimeoutError:
            raise HeartbeatUnreadable(f"host {host_id}: {file} not read within {self._read_limit_s} s") from None
        except (OSError, BeaconRefused) as exc:
            raise HeartbeatUnreadable(f"host {host_id}: {file}: {exc}") from None

    def forget(self, host_id: int) -> None:
        """Start afresh with this host."""
        self._highest.pop(host_id, None)

    def _advanced(self, beat: Heartbeat, seen: dict[str, int]) -> bool:
        """Compared with what this call has seen; another call for the same host must not use up the news."""
        if beat.seq <= seen.get(beat.boot_id, -1):
            return False
        seen[beat.boot_id] = beat.seq
        boots = self._highest.setdefault(beat.host_id, {})
        boots[beat.boot_id] = max(beat.seq, boots.get(beat.boot_id, -1))
        if len(boots) > _BOOTS_REMEMBERED:
            del boots[next(iter(boots))]
        return True

    async def _content(self, file: Path) -> bytes:
        await self._slots.acquire()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bytes] = loop.create_future()

        def settle(content: bytes | OSError) -> None:
            self._slots.release()
            if answer.done():
                return  # nobody waits any more
            if isinstance(content, OSError):
                answer.set_exception(content)
            else:
                answer.set_result(content)

        def work() -> None:
            content = _read(file)
            with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody is left to tell
                loop.call_soon_threadsafe(settle, content)

        try:
            threading.Thread(target=work, name=f"heartbeat {file.name}", daemon=True).start()
        except RuntimeError as exc:  # the system has no thread to give
            settle(OSError(str(exc)))
        return await answer


def _read(file: Path) -> bytes | OSError:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as opened:
            return opened.read(MAX_HEARTBEAT + 1)
    except OSError as exc:
        return exc
