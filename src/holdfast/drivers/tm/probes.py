"""After a restart: which steps the files show to be done already.

None means not done, or not to be told from files: then the step is done again, which every step allows.  That is so
for a prolog (a disk may be left from an earlier life of the VM), a disk made anew (a copy looks like any other) and
a snapshot reverted to.  No step has failed for good because of what lies on the storage.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Protocol

from holdfast.drivers.tm import layout
from holdfast.drivers.tm.disks import disk_at, file_of, format_of, has_snapshot, lacks_snapshot
from holdfast.drivers.tm.layers import active_layer, described
from holdfast.drivers.tm.lines import (
    Places,
    Request,
    Step,
    TransferError,
    is_volatile,
    record_before,
    record_of,
)
from holdfast.drivers.tm.moves import Move
from holdfast.drivers.tm.paths import DatastoreArea
from holdfast.drivers.tm.tools import Clockwork
from holdfast.model.vm import Vm

_MIB = 1 << 20
_MOVES = (Step.MIGRATE, Step.RESUME, Step.STOP)


class Probe:
    """Looks at the files of VMs on shared storage."""

    def __init__(self, area: DatastoreArea, places: Places) -> None:
        self._area = area
        self._places = places

    async def finding(self, request: Request, vm: Vm, clockwork: Clockwork) -> str:
        """What shows that the step is done; empty when nothing does."""
        if request.step in _MOVES:
            return await self._moved(request, vm, clockwork)
        if request.step in (Step.EPILOG, Step.DELETE, Step.DELETE_BOTH):
            return await self._gone(request, vm, clockwork)
        if request.step is Step.PROLOG:
            return ""
        disk = self._directory(request, vm) / f"disk.{request.disk_id}"
        if request.step is Step.PROLOG_ATTACH:
            return await self._attached(disk, vm, clockwork)
        if request.step is Step.EPILOG_DETACH:
            return await self._detached(disk, clockwork)
        if request.step is Step.DISK_RESIZE:
            return await self._resized(disk, vm, request.size_mb, clockwork)
        return await self._snapshot(request, disk, vm, clockwork)

    def _directory(self, request: Request, vm: Vm) -> Path:
        return self._area.vm_path(self._places.directory(record_of(vm, request.seq), vm), vm.oid)

    async def _moved(self, request: Request, vm: Vm, clockwork: Clockwork) -> str:
        record = record_of(vm, request.seq)
        previous = record if request.step is Step.STOP else record_before(vm, record)
        if previous is None:
            return ""
        origin, target = (self._area.vm_path(self._places.directory(each, vm), vm.oid) for each in (previous, record))
        if origin == target:
            return "all hosts see the same files"

        done = await clockwork.touch(Move.of(vm, origin, target).is_done, f"looking at {target}")
        return f"the files are in {target}" if done else ""

    async def _gone(self, request: Request, vm: Vm, clockwork: Clockwork) -> str:
        record = record_of(vm, request.seq)
        records = [record]
        before = record_before(vm, record)
        if request.step is Step.DELETE_BOTH and before:
            records.append(before)
        for each in records:
            directory = self._area.vm_path(self._places.directory(each, vm), vm.oid)
            if not await clockwork.touch(partial(layout.is_gone, directory), f"looking at {directory}"):
                return ""
        return "the files are gone"

    async def _attached(self, disk: Path, vm: Vm, clockwork: Clockwork) -> str:
        """The disk is there and comes from its image, not from one that had its number before."""
        section = disk_at(vm, disk)
        if is_volatile(section) or not section.get("SOURCE"):
            return ""
        image = self._area.image_path(section["SOURCE"])
        if section.get("CLONE", "").upper() == "YES" and format_of(section) == "raw":
            return ""

        def place() -> Path | None:
            layer = active_layer(disk)
            if layer is None:
                return disk if disk.is_symlink() and file_of(disk) == image and disk.exists() else None
            return layer.path if layer.path.exists() else None

        found = await clockwork.touch(place, f"looking at {disk}")
        if found is None:
            return ""
        if section.get("CLONE", "").upper() == "YES":
            about = await described(found, clockwork, format_of(section))
            return f"{disk} is there" if about.get("full-backing-filename") == str(image) else ""
        in_place = found == disk or found.parent == layout.snapshots_of(image)
        return f"{disk} is there" if in_place else ""

    async def _detached(self, disk: Path, clockwork: Clockwork) -> str:
        def gone() -> bool:
            return layout.is_gone(disk) and layout.is_gone(layout.snapshots_of(disk))

        return f"{disk} is gone" if await clockwork.touch(gone, f"looking at {disk}") else ""

    async def _resized(self, disk: Path, vm: Vm, size_mb: int, clockwork: Clockwork) -> str:
        about = await described(disk, clockwork, format_of(disk_at(vm, disk)))
        return f"{disk} has {size_mb} MB" if about["virtual-size"] == size_mb * _MIB else ""

    async def _snapshot(self, request: Request, disk: Path, vm: Vm, clockwork: Clockwork) -> str:
        looks = {"SNAP_CREATE": has_snapshot, "SNAP_DELETE": lacks_snapshot}
        look = looks.get(request.snapshot)
        if look is None:
            return ""
        image_format, snapshot_id = format_of(disk_at(vm, disk)), request.snapshot_id
        done = await clockwork.touch(lambda: look(disk, image_format, snapshot_id), f"looking at {disk}")
        return f"snapshot {snapshot_id} of {disk} is as it was wanted" if done else ""


class Finder(Protocol):
    """Whoever looks at files: on shared storage, or on hosts."""

    async def finding(self, request: Request, vm: Vm, clockwork: Clockwork) -> str:
        """What shows that the step is done; empty when nothing does."""


async def found_done(probe: Finder, request: Request, vm: Vm, clockwork: Clockwork) -> str:
    """As :meth:`Finder.finding`; storage that does not answer shows nothing."""
    try:
        return await probe.finding(request, vm, clockwork)
    except TransferError:
        return ""
