"""What a file of an image is, found by ``qemu-img info`` under limits, and whether VMs may be given it.

An image that names other files (a backing file, a data file) is refused: it would read, and let its VM read, any file
of the storage.  A file that was made to be hard to read ends the program that reads it, and nothing else.
"""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.drivers.tm.inspection import named_by, read_header
from holdfast.drivers.tm.lines import TransferError
from holdfast.drivers.tm.tools import Clockwork
from holdfast.model.effect import Answer

FORMATS = ("raw", "qcow2")

_MIB = 1 << 20


async def judged(path: Path, clockwork: Clockwork) -> Answer:
    """SIZE (virtual, MiB) and FORMAT of a disk image that may be used, else TransferError."""
    about = await read_header(path, clockwork)
    found = about["format"]
    if found not in FORMATS:
        raise TransferError(f"the image has format {found}; convert it first: qemu-img convert -O qcow2 <from> <to>")
    backing, data = named_by(about)
    if backing:
        raise TransferError(f"the image has the backing file {backing}; flatten it first: qemu-img convert")
    if data:
        raise TransferError(f"the image has the data file {data}; flatten it first: qemu-img convert")
    return _answer(int(about["virtual-size"]), found)


async def measured(path: Path, clockwork: Clockwork) -> Answer:
    """SIZE of a file that is no disk: a kernel, a ramdisk."""
    size = await clockwork.touch(lambda: os.stat(path).st_size, f"looking at {path}")
    return _answer(size, "raw")


def _answer(size: int, found: str) -> Answer:
    if not size:
        raise TransferError("the file is empty, 0 bytes: an image needs contents; see what PATH names")
    return Answer(ok=True, values={"SIZE": str(-(-size // _MIB)), "FORMAT": found})
