"""Mounts that the mount command cannot make: by open descriptor, with nothing resolved on the way.

Only the host's first process uses this, in its own mount namespace.
"""

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

_RECURSIVE_BIND = 4096 | 16384  # MS_BIND, MS_REC
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]


def bind(source: Path, target: Path) -> None:
    """Makes the file or folder `source` appear at `target` too."""
    _mount(str(source), target, None, _RECURSIVE_BIND, None)


def private(folder: Path, keep: Iterable[Path]) -> None:
    """Covers `folder` with an empty one of our own, in which only these, if they were in it, are in their places."""
    kept = [(path, os.open(path, os.O_PATH)) for path in keep if path.is_relative_to(folder)]
    _mount("tmpfs", folder, "tmpfs", 0, "size=64m,mode=755")
    for path, descriptor in kept:
        path.mkdir(parents=True, exist_ok=True)
        bind(Path(f"/proc/self/fd/{descriptor}"), path)
        os.close(descriptor)


def _mount(source: str, target: Path, kind: str | None, flags: int, options: str | None) -> None:
    words = [None if word is None else word.encode() for word in (source, str(target), kind, options)]
    if _libc.mount(words[0], words[1], words[2], flags, words[3]) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"mount {source} on {target}: {os.strerror(error)}")
