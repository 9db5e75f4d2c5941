"""Brings the file or URL that PATH names into a draft: plainly copied, or fetched, checked and decompressed.

A plain file of this machine is copied with its holes.  What comes over the network, has a checksum to be checked or is
compressed goes through :mod:`holdfast.drivers.image_fetch`.  Whatever is too big for the room that is left is refused
before it is written, if its size is known, and else as soon as that room is used up.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from holdfast.drivers.image_fetch import kind_of, no_room
from holdfast.drivers.image_origin import PathRules, open_checked, scheme_of
from holdfast.drivers.piped import Piped, piped
from holdfast.drivers.process import ended_with
from holdfast.drivers.tm.account import Account
from holdfast.drivers.tm.lines import TransferError
from holdfast.drivers.tm.tools import Clockwork, TransferOverdue

_BLOCK = 512
_CHUNK = 16 << 20
_MODE = 0o660
_PROGRAM = (sys.executable, "-P", "-m", "holdfast.drivers.image_fetch")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is imported under which rules.

    ``digests``: checksums by name; ``room_bytes``: the most it may take; ``capacity_checked``: what a server announces
    is refused at once when it is more.
    """

    origin: str
    rules: PathRules
    room_bytes: int
    digests: Mapping[str, str] = field(default_factory=dict)
    unpack: bool = True
    capacity_checked: bool = True


async def bring(wanted: Wanted, draft: Path, clockwork: Clockwork) -> None:
    """Makes the draft; raises TransferError.  What it leaves behind when it fails is the caller's to remove."""
    plain = not scheme_of(wanted.origin) and not wanted.digests
    if plain and wanted.unpack:
        look = f"looking at {wanted.origin}"
        plain = not await clockwork.touch(lambda: _is_packed(wanted), look)
    if plain:
        await _copy(wanted, draft, clockwork)
    else:
        await _fetch(wanted, draft, clockwork)


def _is_packed(wanted: Wanted) -> bool:
    source = open_checked(wanted.origin, wanted.rules)
    try:
        return bool(kind_of(os.read(source, 8)))
    finally:
        os.close(source)


async def _fetch(wanted: Wanted, draft: Path, clockwork: Clockwork) -> None:
    order = {
        "origin": wanted.origin,
        "rules": asdict(wanted.rules),
        "target": str(draft),
        "limit_bytes": wanted.room_bytes,
        "digests": dict(wanted.digests),
        "unpack": wanted.unpack,
        "capacity_checked": wanted.capacity_checked,
    }
    allowed_s = clockwork.left_s
    try:
        async with asyncio.timeout(allowed_s), piped(_PROGRAM) as program:
            with contextlib.suppress(BrokenPipeError):  # it ended: what it said tells why
                await program.write(json.dumps(order).encode())
            program.end_input()
            end = await _listen(program, clockwork.account)
    except TimeoutError:
        done = clockwork.account.progress
        raise TransferOverdue(
            f"{wanted.origin} was given up, the time was up: {done.done_bytes} bytes came in {allowed_s:.0f} s; try "
            f"again (oneimage enable), or download the file yourself and register that"
        ) from None
    if not end.get("ok"):
        raise TransferError(end.get("message", f"{wanted.origin} cannot be fetched"))


async def _listen(program: Piped, account: Account) -> Mapping[str, Any]:
    """What it says at last; how far it is goes into the account."""
    while line := await program.read_line():
        said: Mapping[str, Any] = json.loads(line)
        if "ok" in said:
            return said
        account.copied(said["done"], said["total"])
    code = await program.ends()
    words = " ".join(program.stderr.kept.decode(errors="replace").split())[-500:]
    return {"message": f"the program that fetches images {ended_with(code)}: {words or 'it gave no reason'}"}


async def _copy(wanted: Wanted, draft: Path, clockwork: Clockwork) -> None:
    stop = threading.Event()
    try:
        await clockwork.touch(lambda: _copy_file(wanted, draft, clockwork.account, stop), f"copying {wanted.origin}")
    finally:
        stop.set()


def _copy_file(wanted: Wanted, draft: Path, account: Account, stop: threading.Event) -> None:
    """Copies the data of a regular file, holes stay holes.  Blocking; ends soon after ``stop`` is set."""
    source = open_checked(wanted.origin, wanted.rules)
    try:
        found = os.fstat(source)
        needed_bytes = min(found.st_size, found.st_blocks * _BLOCK)
        if needed_bytes > wanted.room_bytes:
            raise TransferError(no_room(wanted.origin, needed_bytes, wanted.room_bytes))
        target = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
        try:
            os.ftruncate(target, found.st_size)
            _copy_data(source, target, found.st_size, account, stop)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            free = os.fstatvfs(target)
            left_bytes = free.f_bavail * free.f_frsize
            raise TransferError(no_room(wanted.origin, needed_bytes, left_bytes)) from None
        finally:
            os.close(target)
            if stop.is_set():
                draft.unlink(missing_ok=True)
    finally:
        os.close(source)


def _copy_data(source: int, target: int, size: int, account: Account, stop: threading.Event) -> None:
    position = 0
    while position < size and not stop.is_set():
        try:
            position = os.lseek(source, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return  # nothing but a hole up to the end
            raise
        end = os.lseek(source, position, os.SEEK_HOLE)
        while position < end and not stop.is_set():
            os.lseek(target, position, os.SEEK_SET)
            copied = os.sendfile(target, source, position, min(_CHUNK, end - position))
            if copied == 0:
                return  # the file became shorter while it was read
            position += copied
            account.copied(position, size)
