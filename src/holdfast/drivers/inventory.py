"""What lies in a datastore's directory: its entries, those of VMs' directories, and how big they are.

Blocking; reads names and sizes, changes nothing.  Needs the standard library alone: it is also carried out on hosts.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

MOST_ENTRIES = 200_000
Entry = list[str | int | bool]
"""Path below the datastore, bytes on disk, whether it is a directory, whether it is a link to nowhere, its inode."""

_BLOCK = 512


class TooManyFiles(OSError):
    """The directory holds more than anybody would look through."""


def inventory(directory: Path, most: int = MOST_ENTRIES) -> list[Entry]:
    """Everything there, two levels deep where the first is a number; a directory's size is that of its files.

    A directory that is not there is empty; one that cannot be read raises OSError.
    """
    found: list[Entry] = []
    for entry in _entries(directory):
        if entry.name.isdecimal() and entry.is_dir(follow_symlinks=False):
            inner = [_described(f"{entry.name}/{each.name}", each) for each in _entries(Path(entry.path))]
            found.append([entry.name, sum(int(each[1]) for each in inner), True, False, entry.inode()])
            found += inner
        else:
            found.append(_described(entry.name, entry))
        if len(found) > most:
            raise TooManyFiles(0, f"it holds more than {most} files", str(directory))
    return found


def _entries(directory: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            yield from sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return


def _described(path: str, entry: os.DirEntry[str]) -> Entry:
    if entry.is_symlink():
        return [path, 0, False, not os.path.exists(entry.path), entry.inode()]
    if entry.is_dir():
        return [path, sum(_bytes(each) for each in _entries(Path(entry.path))), True, False, entry.inode()]
    return [path, _bytes(entry), False, False, entry.inode()]


def _bytes(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_blocks * _BLOCK
    except FileNotFoundError:  # gone meanwhile
        return 0
