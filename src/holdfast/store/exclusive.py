"""Exclusive use of a database file by one controller.

A lock on the file ``<database>.lock``: the kernel drops it with the process, however that ends, so a killed controller
leaves nothing behind that a person would have to remove.  The lock file itself stays: to remove it would let two
processes hold locks on two files of that name.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from holdfast.model.errors import StoreError

LOCKS_OF_KERNEL = Path("/proc/locks")


class ExclusiveUse:
    """Held from construction to :meth:`release`."""

    def __init__(self, database: Path) -> None:
        path = database.with_name(database.name + ".lock")
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StoreError(
                f"{database} cannot be used: its lock file {path} cannot be written ({error.strerror}). "
                "The directory must be writable for the controller."
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            reason = _refusal(self._descriptor, error)
            self.release()
            raise StoreError(f"{database} {reason}") from error

    def release(self) -> None:
        """Lets the next controller in."""
        os.close(self._descriptor)


def _refusal(descriptor: int, error: OSError) -> str:
    if not isinstance(error, BlockingIOError):
        return f"cannot be locked ({error.strerror}). Its file system must know locks: use a local disk."
    return (
        f"is in use by {_owner(descriptor)}. One controller at a time may use it: "
        "stop the other one, or give this one another path."
    )


def _owner(descriptor: int) -> str:
    """Who holds the lock, as the kernel tells it; it cannot name a process of another container."""
    status = os.fstat(descriptor)
    locked = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    for line in LOCKS_OF_KERNEL.read_text().splitlines() if LOCKS_OF_KERNEL.exists() else ():
        words = line.split()
        if words[1] == "FLOCK" and locked in words:
            return f"process {words[4]}"
    return "another process"
