"""Runs the programs that make images (qemu-img, cp, mkswap), each within what is left of the effect's time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import TypeVar

from holdfast.drivers import expendable, process
from holdfast.drivers.tm.lines import TransferError

T = TypeVar("T")

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LAST_WORDS = 500


class TransferOverdue(TransferError):
    """The time was up before the storage had done it."""


class Clockwork:
    """How much time is left until a deadline, given on the event loop's clock."""

    def __init__(self, limit_s: float) -> None:
        self._until = asyncio.get_running_loop().time() + limit_s

    @property
    def left_s(self) -> float:
        """Seconds left, 0 when the time is up."""
        return max(0.0, self._until - asyncio.get_running_loop().time())

    async def run(self, *argv: str) -> bytes:
        """The program's output; raises TransferError with its last words, or TransferOverdue."""
        if self.left_s <= 0:
            raise TransferOverdue(f"no time was left for {argv[0]}")
        environment = {**os.environ, "PATH": _PATH, "LC_ALL": "C"}
        ended = await process.run(argv, deadline_s=self.left_s, env=environment)
        if ended.timed_out:
            raise TransferOverdue(f"{argv[0]} was stopped after {ended.took_s:.1f} s: the time was up")
        if ended.code != 0:
            words = " ".join(ended.stderr.decode(errors="replace").split())[-_LAST_WORDS:]
            raise TransferError(f"{argv[0]} failed with exit code {ended.code}: {words or 'it gave no reason'}")
        return ended.stdout

    async def touch(self, work: Callable[[], T], what: str) -> T:
        """A few system calls on the storage, in a thread; raises TransferError or TransferOverdue."""
        try:
            return await expendable.call(work, self.left_s, what)
        except expendable.Overdue as error:
            raise TransferOverdue(error.message) from None
        except OSError as error:
            raise TransferError(f"{what}: {error.strerror or error} ({error.filename})") from None
