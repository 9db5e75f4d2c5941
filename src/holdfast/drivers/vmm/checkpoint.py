"""The checkpoint of a VM, the file that holds its memory: ``<SD>/checkpoint``, written by the hypervisor of a host.

libvirt writes ``checkpoint.draft``, which becomes ``checkpoint`` when it is whole and the domain gone.  Memory fits
only the disks as they were when it was saved, so no checkpoint is used twice: before the restored guest runs, its file
is ``checkpoint.used``, and then it goes.  One that was made before the VM's present stay on its host is a leftover; so
is whatever lies there when a domain is created from the disks, or when that of a running one is about to be saved.
Works on the controller's own mount of the datastore; blocking, runs in expendable threads.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_WHOLE = b"LibvirtQemudSave"
"""How libvirt begins a saved image when it is complete; before, it begins otherwise."""
_MODE = 0o660
_SKEW_S = 60.0
"""By how much the clock of the storage, which dates drafts, may differ from ours."""


class Checkpoint:
    """The files in one VM's directory."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "checkpoint"
        self.draft = directory / "checkpoint.draft"
        self.used = directory / "checkpoint.used"

    def prepare(self) -> None:
        """A save of a running domain begins: what lies there is older, and goes.

        The new draft belongs to us, whoever the hypervisor is: its contents are the guest's memory.
        """
        self.discard()
        descriptor = os.open(self.draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
        os.close(descriptor)

    def complete(self, since: float, now: float) -> bool:
        """After the domain is gone: whether its memory is in ``checkpoint``, saved after ``since``."""
        with contextlib.suppress(FileNotFoundError):  # somebody else has just done it
            if _is_whole(self.draft) and self.draft.stat().st_mtime >= since - _SKEW_S:
                _sync(self.draft)
                os.utime(self.draft, (now, now))
                self.draft.replace(self.path)
                _sync(self.path.parent)
        return _is_whole(self.path) and self.path.stat().st_mtime >= since

    def trouble(self) -> str:
        """Why there is nothing to restore, empty when there is."""
        if _is_whole(self.path):
            return ""
        if self.path.exists():
            return f"{self.path} is not a complete checkpoint"
        if self.used.exists():
            return f"the checkpoint has been used: the VM has run since, and its disks have changed ({self.used})"
        return f"there is no {self.path}"

    def is_gone(self) -> bool:
        """The memory has run since it was saved, or is lost: the VM boots from its disks, whose directory is there."""
        return self.path.parent.is_dir() and not self.path.exists()

    def use(self) -> None:
        """The restored guest is about to run."""
        if self.path.exists():
            self.path.replace(self.used)
            _sync(self.path.parent)

    def discard(self) -> None:
        """The guest runs, or is about to, with disks that no memory on file fits any more."""
        there = [path for path in (self.used, self.path, self.draft) if path.exists()]
        for path in there:
            path.unlink(missing_ok=True)
        if there:
            _sync(self.path.parent)


def _is_whole(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_WHOLE)) == _WHOLE
    except FileNotFoundError:
        return False


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
