"""How full a directory's file system is, in MiB, and how much of it the directory itself takes.  Blocking.

The file system answers at once (``statvfs``).  What one directory takes is found by walking through it; that is done
only where a limit depends on it, and it ends after so many files.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

_MIB = 1 << 20
_BLOCK = 512
MOST_FILES = 100_000


@dataclass(frozen=True, slots=True)
class Figures:
    """Sizes in MiB.  ``used_mb`` is what the whole file system holds, or the directory alone."""

    total_mb: int
    free_mb: int
    used_mb: int


def measure(directory: Path, alone: bool, most_files: int = MOST_FILES) -> Figures:
    """The figures of the file system that the directory is on, or will be made on; raises OSError.

    With ``alone`` the used part is that of the directory, unless it holds more than ``most_files`` files.
    """
    there = directory if directory.exists() else directory.parent
    found = os.statvfs(there)
    total, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
    used = total - found.f_bfree * found.f_frsize
    own = _taken_by(directory, most_files) if alone else None
    return Figures(total // _MIB, free // _MIB, -(-(used if own is None else own) // _MIB))


def _taken_by(directory: Path, most_files: int) -> int | None:
    """Bytes on disk; a file with two names counts once, links count as links, files that go meanwhile as nothing."""
    seen: set[tuple[int, int]] = set()
    taken = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                found = os.lstat(os.path.join(folder, name))
            except FileNotFoundError:
                continue
            if found.st_nlink > 1 and (found.st_dev, found.st_ino) in seen:
                continue
            if len(seen) >= most_files:
                return None
            seen.add((found.st_dev, found.st_ino))
            taken += found.st_blocks * _BLOCK if stat.S_ISREG(found.st_mode) else 0
    return taken
