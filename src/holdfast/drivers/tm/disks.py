"""What is done to a disk that is there: snapshots (SNAP_CREATE, SNAP_REVERT, SNAP_DELETE) and its size (RESIZE).

Snapshots of a qcow2 disk are layers (:mod:`holdfast.drivers.tm.layers`); those of a raw disk are copies,
``disk.0.snap/<n>`` in the VM's directory.  The VM does not run meanwhile, except while a snapshot is deleted that its
disk is not based on.
"""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.drivers.tm import layout
from holdfast.drivers.tm.copies import copy
from holdfast.drivers.tm.layers import DiskLayers, active_layer, described
from holdfast.drivers.tm.lines import KERNELS, Line, TransferError, disk_of
from holdfast.drivers.tm.paths import DatastoreArea
from holdfast.drivers.tm.tools import Clockwork, removed_on_failure
from holdfast.model.template import Section
from holdfast.model.vm import Vm

FORMATS = ("raw", "qcow2")
_MIB = 1 << 20


def disk_at(vm: Vm, path: Path) -> Section:
    """The DISK that ``disk.<id>`` is; its line says too little about it."""
    number = path.name.removeprefix("disk.")
    if not number.isdecimal():
        raise TransferError(f"{path} is no disk: its name must be disk.<DISK_ID>")
    return disk_of(vm, int(number))


def format_of(disk: Section) -> str:
    """``raw`` or ``qcow2``."""
    stated = _stated(disk)
    if stated not in FORMATS:
        raise TransferError(f"DISK {disk.get('DISK_ID')} has format {stated}, it must be raw or qcow2")
    return stated


def in_layers(vm: Vm) -> list[str]:
    """The names of its disks that are qcow2: only these can be based on other files."""
    disks = [disk for disk in vm.template.sections("DISK") if disk.get("TYPE", "").upper() != "SWAP"]
    return [f"disk.{disk.get('DISK_ID')}" for disk in disks if _stated(disk) == "qcow2"]


def megabytes(disk: Section, name: str) -> int:
    """A size of the disk, 0 when it is not given."""
    text = disk.get(name, "") or "0"
    if not text.isdecimal():
        raise TransferError(f"DISK {disk.get('DISK_ID')} has {name} {text}, it must be a whole number of megabytes")
    return int(text)


def copy_made_at(vm: Vm, path: Path) -> tuple[str, int]:
    """Of a copy of an image that becomes ``path``: its format, and the megabytes it grows to, 0 as it is.

    A kernel or initrd is a plain file.
    """
    if path.name in KERNELS.values():
        return "raw", 0
    disk = disk_at(vm, path)
    size_mb = megabytes(disk, "SIZE")
    return format_of(disk), size_mb if size_mb > megabytes(disk, "ORIGINAL_SIZE") else 0


def file_of(disk: Path) -> Path:
    """The file that a disk's name leads to, over one link.  Blocking."""
    return Path(os.path.normpath(disk.parent / disk.readlink())) if disk.is_symlink() else disk


def _stated(disk: Section) -> str:
    return (disk.get("FORMAT") or disk.get("DRIVER") or "raw").lower()


class DiskActions:
    """Carries out the lines about one disk."""

    def __init__(self, area: DatastoreArea, layers: DiskLayers) -> None:
        self._area = area
        self._layers = layers

    async def create_snapshot(self, line: Line, vm: Vm, clockwork: Clockwork) -> None:
        """SNAP_CREATE: what the disk holds now stays under the snapshot's id."""
        disk, snapshot_id = await self._disk_and_number(line, vm, clockwork)
        if format_of(disk_at(vm, disk)) == "qcow2":
            layer = await self._layers.prepare(disk, snapshot_id, clockwork)
            await self._layers.point(disk, layer, clockwork)
            return
        copy = copy_of(disk, snapshot_id)
        if not await clockwork.touch(copy.exists, f"looking at {copy}"):
            await self._copy(disk, copy, 0, clockwork)

    async def revert_to_snapshot(self, line: Line, vm: Vm, clockwork: Clockwork) -> None:
        """SNAP_REVERT: the disk holds again what it held then; it does not shrink."""
        disk, snapshot_id = await self._disk_and_number(line, vm, clockwork)
        about = disk_at(vm, disk)
        size_mb = megabytes(about, "SIZE")
        if format_of(about) == "qcow2":
            await self._layers.revert(disk, snapshot_id, size_mb, clockwork)
            return
        copy = copy_of(disk, snapshot_id)
        if not await clockwork.touch(copy.exists, f"looking at {copy}"):
            raise TransferError(f"snapshot {snapshot_id} of {disk} is not there: {copy} does not exist")
        target = await clockwork.touch(lambda: file_of(disk), f"looking at {disk}")
        await self._copy(copy, target, size_mb, clockwork)

    async def delete_snapshot(self, line: Line, vm: Vm, clockwork: Clockwork) -> None:
        """SNAP_DELETE."""
        disk, snapshot_id = await self._disk_and_number(line, vm, clockwork)
        if format_of(disk_at(vm, disk)) == "qcow2":
            await self._layers.delete(disk, snapshot_id, clockwork)
            return
        copy = copy_of(disk, snapshot_id)
        if await clockwork.touch(copy.parent.exists, f"looking at {copy.parent}"):
            await clockwork.touch(lambda: layout.discard(copy, clockwork.insist), f"deleting {copy}")

    async def resize(self, line: Line, vm: Vm, clockwork: Clockwork) -> None:
        """RESIZE: the disk grows to the size, or has it already."""
        word, size, *_ = line.words(4)
        if not size.isdecimal() or not int(size):
            raise TransferError(f"SIZE is {size}, it must be a whole number of megabytes")
        disk = await self._disk(word, vm, clockwork)
        file = await clockwork.touch(lambda: file_of(disk), f"looking at {disk}")
        about = await described(file, clockwork, format_of(disk_at(vm, disk)))
        if about["virtual-size"] > int(size) * _MIB:
            has_mb = about["virtual-size"] // _MIB
            raise TransferError(f"{disk} has {has_mb} MB: it cannot shrink to {size} MB")
        if about["virtual-size"] < int(size) * _MIB:
            resize = ("qemu-img", "resize", "-q", "-f", format_of(disk_at(vm, disk)), str(file), f"{size}M")
            await clockwork.run_unlocked(*resize, writes=file)
            await clockwork.touch(lambda: layout.sync(file), f"syncing {file}")

    async def _disk_and_number(self, line: Line, vm: Vm, clockwork: Clockwork) -> tuple[Path, int]:
        word, number, *_ = line.words(4)
        if not number.isdecimal():
            raise TransferError(f'the id of a snapshot is "{number}", it must be a number')
        return await self._disk(word, vm, clockwork), int(number)

    async def _disk(self, word: str, vm: Vm, clockwork: Clockwork) -> Path:
        disk = self._area.vm_path(word, vm.oid)
        disk_at(vm, disk)

        def look() -> None:
            self._area.confine(disk.parent)
            if not self._area.confine(file_of(disk)).exists():
                raise TransferError(f"{disk} does not exist")

        await clockwork.touch(look, f"looking at {disk}")
        return disk

    async def _copy(self, source: Path, target: Path, size_mb: int, clockwork: Clockwork) -> None:
        """A raw file takes the place of another, or is new; at least ``size_mb`` large."""
        draft = await clockwork.touch(lambda: _begin(target), f"preparing {target}")
        async with removed_on_failure(draft):
            await copy(source, draft, clockwork, "-L", "--preserve=mode,ownership")
            if size_mb * _MIB > (await clockwork.touch(draft.stat, f"looking at {draft}")).st_size:
                await clockwork.run("qemu-img", "resize", "-q", "-f", "raw", str(draft), f"{size_mb}M", writes=draft)
            await clockwork.touch(
                lambda: layout.replace_file(draft, target, clockwork.insist), f"putting {target} in place"
            )


def _begin(target: Path) -> Path:
    """A draft of a disk, or of a snapshot beside it."""
    if target.parent.name.endswith(".snap"):
        target.parent.mkdir(exist_ok=True)
    return layout.begin(target)


def copy_of(disk: Path, snapshot_id: int) -> Path:
    """Where the snapshot of a raw disk is."""
    return layout.snapshots_of(disk) / str(snapshot_id)


def has_snapshot(disk: Path, image_format: str, snapshot_id: int) -> bool:
    """Whether the snapshot was created, and the disk is based on it.  Blocking."""
    if image_format == "raw":
        return copy_of(disk, snapshot_id).exists()
    layer = active_layer(disk)
    return layer is not None and layer.number == snapshot_id + 1 and layer.path.exists()


def lacks_snapshot(disk: Path, image_format: str, snapshot_id: int) -> bool:
    """Whether the snapshot is gone, while its disk is there.  Blocking."""
    layer = active_layer(disk) if image_format == "qcow2" else None
    place = layer.path.with_name(str(snapshot_id)) if layer else copy_of(disk, snapshot_id)
    return disk.exists() and layout.is_gone(place)
