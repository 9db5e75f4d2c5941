"""How the storage is touched: programs (qemu-img, cp, mkswap) and system calls, within what is left of the time.

Whoever gave up - the time was up, the order was superseded - leaves at most a thread behind that a hanging storage
holds.  It must not undo what came after it, so it calls :meth:`Clockwork.insist` right before each step that replaces
or removes something.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

from holdfast.drivers import expendable, process
from holdfast.drivers.tm import layout
from holdfast.drivers.tm.account import Account
from holdfast.drivers.tm.lines import TransferError
from holdfast.model.errors import HoldfastError

T = TypeVar("T")

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LAST_WORDS = 500
_FULL = ("No space left on device", "Disk quota exceeded")
_LOCKED = 'Failed to get "'
_LOCK_POLL_S = 0.3
_LOOK_LIMIT_S = 2.0
_CLEAN_LIMIT_S = 2.0


class TransferOverdue(TransferError):
    """The time was up, or the connection to a host lost, before it was known to be done."""


class Clockwork:
    """How much time is left until a deadline, given on the event loop's clock; and who is told what happens."""

    def __init__(self, limit_s: float, account: Account | None = None) -> None:
        self.account = account or Account()
        self._until = asyncio.get_running_loop().time() + limit_s
        self._due = time.monotonic() + limit_s
        self._given_up = threading.Event()

    @property
    def left_s(self) -> float:
        """Seconds left, 0 when the time is up."""
        return max(0.0, self._until - asyncio.get_running_loop().time())

    def insist(self) -> None:
        """In a thread, before what cannot be taken back: raises TransferOverdue when nobody waits for it any more."""
        if self._given_up.is_set() or time.monotonic() > self._due:
            raise TransferOverdue("the storage answered too late: nothing was changed")

    async def run(self, *argv: str, writes: Path | None = None) -> bytes:
        """The program's output; raises TransferError with its last words, or TransferOverdue.

        ``writes`` is the file it makes: if there was no room for it, the message says so and where.
        """
        if self.left_s <= 0:
            raise TransferOverdue(f"no time was left for {argv[0]}")
        environment = {**os.environ, "PATH": _PATH, "LC_ALL": "C"}
        ended = await process.run(argv, deadline_s=self.left_s, env=environment)
        if ended.timed_out:
            raise TransferOverdue(f"{argv[0]} was stopped after {ended.took_s:.1f} s: the time was up")
        if ended.code != 0:
            words = " ".join(ended.stderr.decode(errors="replace").split())[-_LAST_WORDS:]
            full = writes and (any(sign in words for sign in _FULL) or await is_full(writes.parent))
            room = f"no space is left in {writes.parent}: " if writes and full else ""
            how = process.ended_with(ended.code).replace("ended with", "failed with")
            raise TransferError(f"{room}{argv[0]} {how}: {words or 'it gave no reason'}")
        return ended.stdout

    async def run_unlocked(self, *argv: str, writes: Path | None = None) -> bytes:
        """As :meth:`run`, but waits for an image that another program has locked.

        That may be one which an earlier controller started and could not stop any more.
        """
        while True:
            try:
                return await self.run(*argv, writes=writes)
            except TransferOverdue:
                raise
            except TransferError as error:
                if _LOCKED not in error.message or self.left_s <= _LOCK_POLL_S:
                    raise
            await asyncio.sleep(_LOCK_POLL_S)

    async def touch(self, work: Callable[[], T], what: str) -> T:
        """A few system calls on the storage, in a thread; raises TransferError or TransferOverdue."""
        try:
            return await expendable.call(work, self.left_s, what)
        except expendable.Overdue as error:
            self._given_up.set()
            raise TransferOverdue(error.message) from None
        except asyncio.CancelledError:
            self._given_up.set()
            raise
        except OSError as error:
            full = "no space is left on the datastore: " if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
            where = f" ({error.filename})" if error.filename else ""
            raise TransferError(f"{full}{what}: {error.strerror or error}{where}") from None


@contextlib.asynccontextmanager
async def removed_on_failure(draft: Path) -> AsyncIterator[None]:
    """If what is done within fails, or is cancelled, the draft goes; this must also work when the time is up."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(HoldfastError):  # the next attempt removes it
            await Clockwork(_CLEAN_LIMIT_S).touch(lambda: layout.remove(draft), f"removing {draft}")
        raise


async def is_full(directory: Path) -> bool:
    """For programs that do not say why they could not write."""
    try:
        return await expendable.call(
            lambda: os.statvfs(directory).f_bavail == 0, _LOOK_LIMIT_S, f"looking at {directory}"
        )
    except (expendable.Overdue, OSError):
        return False
