"""Whether somebody writes to a disk: QEMU locks every file that it opens, and qemu-img respects that.

Where hosts share their storage these locks are the last line against two domains on one disk.  Where they do not, a
copy of the disk has no lock in common with it: so nothing is copied away from under a domain that lives after all.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from holdfast.drivers.tm.lines import TransferError
from holdfast.drivers.tm.tools import Clockwork, TransferOverdue

_LOCKED = 'Failed to get shared "write" lock'
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
    try:
        await clockwork.run("qemu-img", "info", "-f", "raw", str(disk))  # the lock is on the file, whatever is in it
    except TransferOverdue:
        raise
    except TransferError as error:
        return _LOCKED in error.message  # what is wrong with the image otherwise is no reason not to move it
    return False
