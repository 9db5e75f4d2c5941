"""What is told about a transfer while it runs: the lines of its log, and how far its copies are.

A log line has OpenNebula's severity (I, E, W, D).  Each line of the transfer file is told when it ends, with its
result; one that takes long is told while it runs, after 10 s, 20 s, 40 s and then every minute.  Progress is volatile:
it is never stored, and a driver that cannot tell leaves it alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

Say = Callable[[str, str], None]
"""Takes a severity and a text."""

FIRST_WORD_S = 10.0
_AT_MOST_EVERY_S = 60.0
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a step is: line ``number`` of ``count``; bytes of its copy, ``total_bytes`` 0 when nothing is copied."""

    line: str = ""
    number: int = 0
    count: int = 0
    done_bytes: int = 0
    total_bytes: int = 0

    @property
    def percent(self) -> int:
        """0 to 100; of a line that copies nothing, 0."""
        return min(100, 100 * self.done_bytes // self.total_bytes) if self.total_bytes else 0

    def __str__(self) -> str:
        """The line with its place in the file."""
        return f"({self.number}/{self.count}) {self.line}"


def silent(severity: str, text: str) -> None:
    """Nobody listens."""


class Account:
    """One transfer's account, while it runs."""

    def __init__(self, say: Say = silent, first_word_s: float = FIRST_WORD_S) -> None:
        self._say = say
        self._first_word_s = first_word_s
        self._listener: Say = silent
        self.progress = Progress()

    def log(self, severity: str, text: str) -> None:
        """A line of the VM's log."""
        self._say(severity, text)
        self._listener(severity, text)

    @contextmanager
    def heard_by(self, listener: Say) -> Iterator[None]:
        """What is said within is also told to the listener."""
        self._listener = listener
        try:
            yield
        finally:
            self._listener = silent

    @contextmanager
    def line(self, line: str, number: int, count: int) -> Iterator[None]:
        """Line ``number`` of ``count`` is carried out within; whatever is raised is told as its failure."""
        self.progress = Progress(line, number, count)
        begun = time.monotonic()
        words = _Words(self, self._first_word_s)
        try:
            yield
        except Exception as error:
            self.log("E", f"{self.progress}: failed after {time.monotonic() - begun:.1f} s: {error}")
            raise
        else:
            self.log("I", f"{self.progress}: done in {time.monotonic() - begun:.1f} s{self._copied()}")
        finally:
            words.end()

    def copied(self, done_bytes: int, total_bytes: int) -> None:
        """The line's copy has come so far."""
        now = self.progress
        self.progress = Progress(now.line, now.number, now.count, done_bytes, total_bytes)

    def _copied(self) -> str:
        total = self.progress.total_bytes
        return f", {_mib(total)} MiB copied" if total else ""


def _mib(size: int) -> int:
    return max(1, round(size / _MIB))


class _Words:
    """Tells of a line that takes long."""

    def __init__(self, account: Account, first_s: float) -> None:
        self._account, self._every_s, self._runs_s = account, first_s, first_s
        self._timer = asyncio.get_running_loop().call_later(first_s, self._speak)

    def _speak(self) -> None:
        now = self._account.progress
        far = f"{now.percent} % of {_mib(now.total_bytes)} MiB after" if now.total_bytes else "runs for"
        self._account.log("I", f"{now}: {far} {self._runs_s:.0f} s")
        self._every_s = min(self._runs_s, _AT_MOST_EVERY_S)
        self._runs_s += self._every_s
        self._timer = asyncio.get_running_loop().call_later(self._every_s, self._speak)

    def end(self) -> None:
        """It is over."""
        self._timer.cancel()


class Accounts:
    """The accounts of the transfers that run now, by VM."""

    def __init__(self) -> None:
        self._open: dict[int, Account] = {}

    def open(self, vm_id: int, account: Account) -> None:
        """A transfer of the VM begins."""
        self._open[vm_id] = account

    def close(self, vm_id: int, account: Account) -> None:
        """It ended; another one that began meanwhile stays."""
        if self._open.get(vm_id) is account:
            del self._open[vm_id]

    def progress_of(self, vm_id: int) -> Progress | None:
        """How far the VM's transfer is, None when none runs."""
        account = self._open.get(vm_id)
        return account.progress if account else None

    def running(self) -> Sequence[int]:
        """The VMs whose transfers run now."""
        return tuple(self._open)
