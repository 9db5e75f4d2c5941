"""Which files a transfer line may touch: those of its VM, and images, inside the datastores' directory.

Transfer files can be edited by hand and SOURCE comes from a database, so every path is checked before it is used: by
its text here, and by where it really leads (a datastore may be a link to a mount, but nothing below it may lead out).
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from holdfast.drivers.tm.lines import TransferError

_VM_PATH = re.compile(r"(\d+)/(\d+)(?:/(?:disk\.\d+|kernel|initrd))?")
_VM_FILE = re.compile(r"(\d+)/(\d+)/[A-Za-z0-9_.\-]+(?:/\d+)?")
_IMAGE_PATH = re.compile(r"(\d+)/[A-Za-z0-9_][A-Za-z0-9_.\-]*")


class DatastoreArea:
    """The datastores' directory."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.normpath(root))

    def vm_path(self, word: str, vm_id: int) -> Path:
        """``host:<root>/<ds>/<vm id>`` or a disk in there, without the host."""
        path = self._inside(word)
        match = _VM_PATH.fullmatch(path.relative_to(self.root).as_posix())
        if not match or int(match.group(2)) != vm_id:
            raise TransferError(f"{word} is not in the directory of VM {vm_id} on a datastore")
        return path

    def vm_directory(self, path: Path) -> Path:
        """The VM's directory that a path of :meth:`vm_path` is, or is in."""
        return self.root.joinpath(*path.relative_to(self.root).parts[:2])

    def vm_file(self, word: str, vm_id: int) -> Path:
        """As :meth:`vm_path`, for any file in there: a checkpoint, a layer of a disk."""
        path = self._inside(word)
        match = _VM_FILE.fullmatch(path.relative_to(self.root).as_posix())
        if not match or int(match.group(2)) != vm_id:
            raise TransferError(f"{word} is not in the directory of VM {vm_id} on a datastore")
        return path

    def image_path(self, word: str) -> Path:
        """``[host:]<root>/<ds>/<image>``, without the host."""
        path = self._inside(word)
        if not _IMAGE_PATH.fullmatch(path.relative_to(self.root).as_posix()):
            raise TransferError(f"{word} is not the path of an image in a datastore")
        return path

    def datastore_path(self, word: str) -> Path:
        """``<root>/<ds>``."""
        path = self._inside(word)
        if path.parent != self.root or not path.name.isdecimal():
            raise TransferError(f"{word} is not the directory of a datastore")
        return path

    def confine(self, path: Path) -> Path:
        """Refuses a path that leads out of its datastore through a link.  Touches the storage: call it in a thread."""
        if not path.is_relative_to(self.root) or path == self.root:
            raise TransferError(f"{path} is outside the datastores in {self.root}")
        datastore = self.root / path.relative_to(self.root).parts[0]
        if not path.resolve().is_relative_to(datastore.resolve()):
            raise TransferError(f"{path} leads out of its datastore to {path.resolve()}")
        return path

    def _inside(self, word: str) -> Path:
        text = word if word.startswith("/") else word.partition(":")[2]
        path = Path(text)
        if not path.is_absolute() or os.path.normpath(text) != text.rstrip("/") or not path.is_relative_to(self.root):
            raise TransferError(f"{word} is outside the datastores in {self.root}")
        return path
