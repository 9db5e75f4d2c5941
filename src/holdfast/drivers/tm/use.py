"""Whether somebody writes to a disk: QEMU locks every file that it opens.

Where hosts share their storage these locks are the last line against two domains on one disk.  Where they do not, a
copy of the disk has no lock in common with it: so nothing is copied away from under a domain that lives after all.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
from pathlib import Path

from holdfast.drivers.tm.lines import TransferError
from holdfast.drivers.tm.tools import Clockwork, TransferOverdue

_WRITERS_BYTE = 101
"""QEMU's block/file-posix.c: RAW_LOCK_PERM_BASE (100) and the number of BLK_PERM_WRITE (1)."""
_FLOCK = "hhqqi4x"
"""struct flock of 64-bit Linux."""
_ENDING_S = 3.0
"""A hypervisor that is about to end may hold its locks so long."""
_POLL_S = 0.2


def disks_in(directory: Path) -> list[Path]:
    """The files of a VM's disks, layers among them.  Blocking."""
    found = [*directory.glob("disk.*"), *directory.glob("disk.*.snap/*")]
    return sorted(path for path in found if path.is_file() and not path.is_symlink() and ".draft." not in str(path))


async def insist_unused(disk: Path, clockwork: Clockwork) -> None:
    """Raises TransferError when somebody has the file open for writing."""
    patience = Clockwork(_ENDING_S)
    while await _is_locked(disk, clockwork):
        if not patience.left_s or not clockwork.left_s:
            raise TransferError(f"{disk} is in use: a domain still has it open for writing, or a program that was left")
        await asyncio.sleep(_POLL_S)


async def _is_locked(disk: Path, clockwork: Clockwork) -> bool:
    """Asks for QEMU's lock itself: qemu-img needs to know a format to see it, and a raw disk's must not be guessed."""
    try:
        return await clockwork.touch(lambda: _is_written(disk), f"looking at {disk}")
    except TransferOverdue:
        raise
    except TransferError:
        return False  # what is wrong with the disk otherwise is no reason not to move it


def _is_written(disk: Path) -> bool:
    """Somebody holds the byte that QEMU locks in a file that it may write."""
    descriptor = os.open(disk, os.O_RDONLY | os.O_CLOEXEC)
    try:
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, _WRITERS_BYTE, 1, 0)
        found: bytes = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked)
    finally:
        os.close(descriptor)
    return bool(struct.unpack(_FLOCK, found)[0] != fcntl.F_UNLCK)
