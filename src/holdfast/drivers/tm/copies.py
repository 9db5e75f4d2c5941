"""Copies on mounted storage, by cp, and how far they are: told by the room that the draft takes so far."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

from holdfast.drivers import expendable
from holdfast.drivers.expendable import Overdue
from holdfast.drivers.tm.account import Account
from holdfast.drivers.tm.tools import Clockwork

LOOK_EVERY_S = 0.5
_LOOK_LIMIT_S = 5.0
_BLOCK = 512


async def copy(source: Path, draft: Path, clockwork: Clockwork, *options: str) -> None:
    """Copies a file or, with ``-a``, a directory; holes stay holes, and where the storage can share blocks it does."""
    total = await clockwork.touch(lambda: room_of(source), f"looking at {source}")
    clockwork.account.copied(0, total)
    following = asyncio.create_task(_follow(draft, total, clockwork.account))
    try:
        command = ("cp", *options, "--sparse=always", "--reflink=auto", "--", str(source), str(draft))
        await clockwork.run(*command, writes=draft)
    finally:
        following.cancel()
    clockwork.account.copied(total, total)


def room_of(path: Path) -> int:
    """Bytes that a file takes, or all files of a directory; holes take none.  Blocking."""
    if not path.is_dir():
        return path.stat().st_blocks * _BLOCK
    files = (Path(folder) / name for folder, _, names in os.walk(path) for name in names)
    return sum(about.st_blocks for about in map(os.lstat, files) if stat.S_ISREG(about.st_mode)) * _BLOCK


async def _follow(draft: Path, total: int, account: Account) -> None:
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        try:
            done = await expendable.call(lambda: room_of(draft), _LOOK_LIMIT_S, f"looking at {draft}")
        except FileNotFoundError:
            continue  # not begun, or just gone
        except (OSError, Overdue):
            return  # the copy itself will say what is wrong with the storage
        account.copied(min(done, total), total)
