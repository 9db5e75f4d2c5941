"""How a VM's files lie on a datastore (OpenNebula's layout), and how they come and go whole.

A raw disk is the file ``disk.0``.  A qcow2 disk is ``disk.0.snap/0``, an overlay over its image, with ``disk.0`` a link
to it and ``disk.0.snap/disk.0.snap`` a link to itself, as OpenNebula's snapshots want it.  A persistent image is used
in place through a link.  Everything is made under a draft name, synced, and renamed: a file with a disk's name is
complete.  Blocking; runs in expendable threads.  A draft has a name of its own for each attempt, because a program
that an earlier controller left behind may still write to the old one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import uuid
from collections.abc import Callable
from pathlib import Path

from holdfast.drivers.tm.lines import TransferError

Insist = Callable[[], None]
"""Called right before something is replaced or removed; raises when nobody wants that any more."""

_DRAFT = ".draft."
_TRIES = 5


def _yes() -> None:
    """Still wanted."""


def snapshots_of(disk: Path) -> Path:
    """The directory that belongs to a disk or image: ``disk.0.snap``."""
    return disk.with_name(f"{disk.name}.snap")


def make_directory(path: Path) -> None:
    """The directory is there afterwards; a link to a storage that is not mounted is named as such."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        dangling = next((each for each in (path, *path.parents) if each.is_symlink() and not each.exists()), None)
        if dangling is None:
            raise
        where = f"{dangling} leads to {dangling.readlink()}"
        raise TransferError(f"{where}, which is not there: is its storage mounted?") from None


def begin(path: Path) -> Path:
    """A new draft name for ``path``; drafts left by earlier attempts go.  Its directory must be there."""
    if not path.parent.is_dir():
        raise TransferError(f"{path.parent} is not there: {path.name} cannot be made in it")
    drop_drafts(path)
    return _draft_of(path)


def drop_drafts(path: Path) -> None:
    """Nothing is left of attempts at ``path``."""
    for own in (path, snapshots_of(path)):
        for leftover in path.parent.glob(f"{own.name}{_DRAFT}*"):
            remove(leftover)


def is_draft_of(draft: Path, path: Path) -> bool:
    """By its name."""
    return draft.name.startswith(f"{path.name}{_DRAFT}")


def begin_overlay(disk: Path) -> Path:
    """A draft of the disk's snapshot directory, with the link to itself."""
    begin(disk)
    draft = _draft_of(snapshots_of(disk))
    try:
        draft.mkdir()
        (draft / snapshots_of(disk).name).symlink_to(".")
    except OSError:
        remove(draft)
        raise
    return draft


def publish_file(draft: Path, disk: Path, insist: Insist = _yes) -> None:
    """The draft becomes the disk; what else belonged to an earlier disk of this name goes."""
    close_to_others(draft)
    sync(draft)
    insist()
    draft.replace(disk)
    remove(snapshots_of(disk))
    sync(disk.parent)


def publish_overlay(draft: Path, disk: Path, insist: Insist = _yes) -> None:
    """The draft of a snapshot directory becomes the disk."""
    close_to_others(draft / "0")
    sync(draft / "0")
    sync(draft)
    insist()
    remove(disk)
    discard(snapshots_of(disk), insist)
    insist()
    draft.rename(snapshots_of(disk))
    link(disk, Path(snapshots_of(disk).name) / "0")


def publish_directory(draft: Path, directory: Path, insist: Insist = _yes) -> None:
    """The draft of a whole directory takes its place."""
    for folder, _, files in os.walk(draft):
        for name in files:
            if not (Path(folder) / name).is_symlink():
                sync(Path(folder) / name)
        sync(Path(folder))
    discard(directory, insist)
    insist()
    draft.rename(directory)
    sync(directory.parent)


def close_to_others(file: Path) -> None:
    """Only its owner and group may read it: disks hold the guest's secrets, that of the context passwords."""
    file.chmod(stat.S_IMODE(file.stat().st_mode) & ~stat.S_IRWXO)


def replace_file(draft: Path, path: Path, insist: Insist = _yes) -> None:
    """The draft takes the place of one file, in one step; everything around it stays."""
    sync(draft)
    insist()
    draft.replace(path)
    sync(path.parent)


def link(path: Path, target: Path) -> None:
    """Makes or replaces a symbolic link in one step."""
    draft = begin(path)
    draft.symlink_to(target)
    try:
        draft.replace(path)
    except OSError:
        remove(draft)
        raise
    sync(path.parent)


def clear(disk: Path) -> None:
    """Removes a disk with all that belongs to it: first the name by which it would be used."""
    remove(disk)
    remove(snapshots_of(disk))


def discard(path: Path, insist: Insist = _yes) -> None:
    """Removes what has this name now: if the storage hangs meanwhile, whatever gets the name later is not touched."""
    doomed = _doomed(path)
    _purge(doomed)
    if is_there(path):
        insist()
        path.rename(doomed)
        _purge(doomed)


def is_gone(path: Path) -> bool:
    """Nothing is left of what had this name, not even a remnant of :func:`discard` or of a move."""
    return not any(is_there(name) for name in (path, aside_of(path), _doomed(path)))


def remove(path: Path) -> None:
    """Removes a file, a link (not what it leads to) or a directory; absent is fine, and so is no directory above it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()


def is_there(path: Path) -> bool:
    """The name exists, be it a link that leads nowhere."""
    return os.path.lexists(path)


def set_aside(origin: Path, insist: Insist = _yes) -> None:
    """What was copied completely loses its name, in one step; it can still be found as :func:`aside_of`."""
    gone = aside_of(origin)
    remove(gone)
    insist()
    origin.rename(gone)
    sync(origin.parent)


def drop_set_aside(origin: Path) -> None:
    """What was set aside goes."""
    remove(aside_of(origin))


def sync(path: Path) -> None:
    """What was written to the file or directory survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        os.close(descriptor)


def _draft_of(path: Path) -> Path:
    return path.with_name(f"{path.name}{_DRAFT}{uuid.uuid4().hex}")


def _purge(doomed: Path) -> None:
    for _ in range(_TRIES):
        with contextlib.suppress(FileNotFoundError):  # an earlier attempt, held up by the storage, removes it too
            remove(doomed)
        if not is_there(doomed):
            return
    raise TransferError(f"{doomed} comes back while it is removed: something else writes there")


def _doomed(path: Path) -> Path:
    return path.with_name(f".{path.name}.deleted")


def aside_of(origin: Path) -> Path:
    """The name of a directory that a move has set aside."""
    return origin.with_name(f"{origin.name}.moved")
