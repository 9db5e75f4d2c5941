"""What is told about a transfer while it runs: the lines of its log, and how far its copies are.

A log line has OpenNebula's severity (I, E, W, D).  Progress is volatile: it is never stored, and a driver that cannot
tell leaves it alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Say = Callable[[str, str], None]
"""Takes a severity and a text."""


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


def _silent(severity: str, text: str) -> None:
    """Nobody listens."""


class Account:
    """One transfer's account, while it runs."""

    def __init__(self, say: Say = _silent) -> None:
        self._say = say
        self.progress = Progress()

    def log(self, severity: str, text: str) -> None:
        """A line of the VM's log."""
        self._say(severity, text)

    def begin(self, line: str, number: int, count: int) -> None:
        """Line ``number`` of ``count`` begins."""
        self.progress = Progress(line, number, count)

    def copied(self, done_bytes: int, total_bytes: int) -> None:
        """The line's copy has come so far."""
        now = self.progress
        self.progress = Progress(now.line, now.number, now.count, done_bytes, total_bytes)


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
