"""Finds and ends what scripts left running: every process carries the mark of its run in its environment.

A process group does not hold all of them.  A child may have made a group of its own, and a controller that was killed
leaves its scripts at work: a copy that goes on beside its own repetition would spoil the disk.  A mark is inherited by
all children and survives both.  Blocking; Linux only (``/proc``, pidfd).
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

VARIABLE = "HOLDFAST_RUN"
"""The environment variable that holds the mark."""

_GRACE_S = 2.0
_POLL_S = 0.02


def end_marked(mark: str, limit_s: float) -> list[int]:
    """Ends all processes whose mark begins so: SIGTERM, later SIGKILL.  Answers those still there at the limit."""
    began = time.monotonic()
    told: set[tuple[int, int]] = set()
    while True:
        waited_s = time.monotonic() - began
        number = signal.SIGTERM if waited_s < _GRACE_S else signal.SIGKILL
        left = list(_marked(mark))
        for pid in left:
            if (pid, number) not in told:
                _signal(pid, mark, number)
                told.add((pid, number))
        if not left or waited_s > limit_s:
            return left
        time.sleep(_POLL_S)


def _marked(mark: str) -> Iterator[int]:
    own = os.getpid()
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal() and int(entry.name) != own and _carries(int(entry.name), mark):
            yield int(entry.name)


def _carries(pid: int, mark: str) -> bool:
    """A process that ended, or that is not ours to read, does not."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    wanted = f"{VARIABLE}={mark}".encode()
    return any(each.startswith(wanted) for each in environment.split(b"\0"))


def _signal(pid: int, mark: str, number: signal.Signals) -> None:
    """Through a descriptor, and looking once more: the number may belong to another process by now."""
    with contextlib.suppress(OSError):
        descriptor = os.pidfd_open(pid)
        try:
            if _carries(pid, mark):
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)
