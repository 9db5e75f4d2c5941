"""A VM's directory on a datastore: who may make it, how it is known to have arrived, and its way back.

Only the lines that make a VM's disks make its directory.  Anything else that finds none is told so: a directory made by
the way would be taken for the VM's, and moved over the last copy of its disks.

A directory that moves carries a mark of this very move inside, so that mark and files arrive together.  A directory
without it, where one was to arrive, is a leftover of something else.  What was left behind at the old place is set
aside under the name ``<id>.moved``: the directory itself after a copy, a link to the new place while it is renamed.  A
move that was given up is undone from there, when the VM is next used at the old place.  Blocking.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path

from holdfast.drivers.tm import layout
from holdfast.drivers.tm.lines import KERNELS, TransferError, record_of
from holdfast.model.template import Section
from holdfast.model.vm import Vm

MARK = ".arrived"
_IN_FILES = ("shared", "qcow2", "ssh", "local")
_MARK_AT_MOST = 1 << 12


def move_of(vm: Vm, origin: object, target: object) -> str:
    """What tells this move from all others of the VM: the history record that it makes or ends, and its two ends."""
    return f"VM {vm.oid}, history record {record_of(vm).seq}: {origin} -> {target}"


def mark(directory: Path, move: str) -> None:
    """What is in here arrives by this move.  Whatever a host has put in the mark's place goes."""
    path = directory / MARK
    layout.remove(path)
    with path.open("x", encoding="utf-8") as file:
        file.write(move)
    layout.sync(path)
    layout.sync(directory)


def is_marked(directory: Path, move: str) -> bool:
    """The directory has arrived by this move."""
    return bool(move) and _mark_of(directory) == move


def disks_of(vm: Vm, but: str = "") -> list[str]:
    """The names of the VM's disks that are files in its directory, ``but`` one."""
    driver = record_of(vm).tm_mad
    names = (f"disk.{disk.get('DISK_ID', '')}" for disk in vm.template.sections("DISK") if _is_file(disk, driver))
    return [name for name in names if name != but]


def lacking(directory: Path, disks: Iterable[str]) -> list[str]:
    """Those of these disks that are not there."""
    return [name for name in disks if not (directory / name).exists()]


def may_make(vm: Vm, name: str) -> bool:
    """Whether the file of this name is made with the VM, or for one that has no disks: then so may be its directory."""
    made = [disk for disk in vm.template.sections("DISK") if f"disk.{disk.get('DISK_ID', '')}" == name]
    is_first = name in KERNELS.values() or any(disk.get("ATTACH", "").upper() != "YES" for disk in made)
    return is_first or not disks_of(vm, but=name)


def enter(directory: Path, makes: bool) -> None:
    """The VM's directory is there afterwards; raises TransferError when it is not and may not be made."""
    take_back(directory)
    if makes:
        layout.make_directory(directory)
    elif not layout.is_there(directory):
        raise TransferError(
            f"{directory}, the directory of the VM, is not there: see whether its datastore is mounted, and where a "
            f"move may have left the files"
        )


def take_back(directory: Path) -> None:
    """A move that did not go on is undone: what it set aside has its name again."""
    aside = layout.aside_of(directory)
    if layout.is_there(directory) or not layout.is_there(aside):
        return
    if not aside.is_symlink():
        aside.rename(directory)
    elif not _return_from(aside.readlink(), directory):
        return
    layout.sync(directory.parent)
    if aside.is_symlink():
        aside.unlink()


def insist_on_one(directory: Path) -> None:
    """Before one of two is moved away or removed: raises TransferError when nobody knows which one is the VM's."""
    aside = layout.aside_of(directory)
    if not (layout.is_there(directory) and layout.is_there(aside)):
        return
    if aside.is_symlink():
        aside.unlink()  # a rename was about to begin
        return
    raise two_of(str(directory), str(aside))


def two_of(directory: str, aside: str) -> TransferError:
    """Nobody knows which one is the VM's."""
    return TransferError(
        f"{directory} and {aside} are both there: a move that was not completed set the latter aside, and something "
        f"else has made the former since. Look at both, keep the one with the last version of the disks under the "
        f"former name, move the other one away, and try again"
    )


def is_set_aside(directory: Path) -> bool:
    """What a move set aside is still there."""
    aside = layout.aside_of(directory)
    return layout.is_there(aside) and not (aside.is_symlink() and layout.is_there(directory))


def insist_on_whole(origin: object, target: object, lacks: Iterable[str]) -> None:
    """Before what lies at the target is replaced, raises TransferError when the origin lacks disks of the VM."""
    missing = ", ".join(lacks)
    if missing:
        raise TransferError(
            f"{origin} lacks {missing}, and something lies at {target} already, maybe the last copy: nothing was "
            f"changed. Look at both, bring what is missing to {origin} or move the other one away, and try again"
        )


def leftover(origin: object, target: object, vm_id: int) -> TransferError:
    """The origin is not there, and what lies at the target has not arrived by this move."""
    return TransferError(
        f"{origin} does not exist, and {target} did not arrive by this move: it may be old. See whether the "
        f"datastore of {origin} is mounted and try again; if {target} is the last version all the same: "
        f"onevm recover --success {vm_id}"
    )


def _return_from(place: Path, directory: Path) -> bool:
    """A directory that was renamed is renamed back, if it is this one."""
    is_ours = place.name == directory.name and place.parent.parent == directory.parent.parent
    if not is_ours or not _mark_of(place).endswith(f": {directory} -> {place}"):
        return False
    place.rename(directory)
    layout.sync(place.parent)
    return True


def _mark_of(directory: Path) -> str:
    path = directory / MARK
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return ""
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(_MARK_AT_MOST)
    except (FileNotFoundError, NotADirectoryError):
        return ""


def _is_file(disk: Section, driver: str) -> bool:
    used = disk.get("TM_MAD_SYSTEM") or disk.get("TM_MAD") or driver
    return used in _IN_FILES and disk.get("TYPE", "").upper() != "FILESYSTEM"
