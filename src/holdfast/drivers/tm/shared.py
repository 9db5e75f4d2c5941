"""The transfer drivers ``shared`` and ``qcow2`` (one implementation, as in OpenNebula): storage that all hosts see.

Works on the controller's own mount of that storage, so that no step depends on a host: the host in front of a path is
read over.  Every action can be repeated: it makes its result anew, or finds that there is nothing left to do.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from holdfast.drivers.tm import layout
from holdfast.drivers.tm.lines import Line, TransferError
from holdfast.drivers.tm.paths import DatastoreArea
from holdfast.drivers.tm.tools import Clockwork
from holdfast.model.template import Section
from holdfast.model.vm import Vm

_FORMATS = ("raw", "qcow2")


class SharedTransfers:
    """Carries out one line after the other; raises TransferError."""

    def __init__(self, area: DatastoreArea) -> None:
        self._area = area
        self._actions: dict[str, Callable[[Line, Vm, Clockwork], Awaitable[None]]] = {
            "CLONE": self._clone,
            "LN": self._link,
            "MV": self._move,
            "MVDS": self._move_to_datastore,
            "DELETE": self._delete,
            "MKIMAGE": self._make_image,
            "MKSWAP": self._make_swap,
        }

    async def perform(self, line: Line, vm: Vm, clockwork: Clockwork) -> None:
        """One line for one VM."""
        action = self._actions.get(line.action.partition(".")[0].upper())
        if action is None:
            raise TransferError(f"action {line.action} is not one of {', '.join(self._actions)}")
        await action(line, vm, clockwork)

    async def _clone(self, line: Line, vm: Vm, clockwork: Clockwork) -> None:
        source_word, target_word, *_ = _words(line, 4)
        target = self._area.vm_path(target_word, vm.oid)
        source = await self._source(source_word, clockwork)
        disk = _disk_of(vm, target)
        grown = _megabytes(disk, "SIZE") if _megabytes(disk, "SIZE") > _megabytes(disk, "ORIGINAL_SIZE") else 0
        if _format(disk) == "raw":
            draft = await self._begin(layout.begin, target, clockwork)
            await clockwork.run("cp", "--sparse=always", "--reflink=auto", "--", str(source), str(draft))
            if grown:
                await clockwork.run("qemu-img", "resize", "-q", "-f", "raw", str(draft), f"{grown}M")
            await clockwork.touch(lambda: layout.publish_file(draft, target), f"putting {target} in place")
        else:
            draft = await self._begin(layout.begin_overlay, target, clockwork)
            create = ("qemu-img", "create", "-q", "-f", "qcow2", "-b", str(source), "-F", "qcow2", str(draft / "0"))
            await clockwork.run(*create, *([f"{grown}M"] if grown else []))
            await clockwork.touch(lambda: layout.publish_overlay(draft, target), f"putting {target} in place")

    async def _link(self, line: Line, vm: Vm, clockwork: Clockwork) -> None:
        source_word, target_word, *_ = _words(line, 4)
        target = self._area.vm_path(target_word, vm.oid)
        source = await self._source(source_word, clockwork)
        in_layers = _format(_disk_of(vm, target)) == "qcow2"

        def link() -> None:
            self._area.confine(target.parent)
            layout.link(target, layout.active_layer(source) if in_layers else source)

        await clockwork.touch(link, f"linking {target}")

    async def _move(self, line: Line, vm: Vm, clockwork: Clockwork) -> None:
        origin_word, target_word, *_ = _words(line, 4)
        origin = self._area.vm_path(origin_word, vm.oid)
        target = self._area.vm_path(target_word, vm.oid)
        if origin == target or target.name.startswith("disk."):
            return  # all hosts see the same files; single disks go with their directory
        await clockwork.touch(lambda: self._area.confine(origin.parent), f"looking at {origin}")
        await clockwork.touch(lambda: self._area.confine(target.parent), f"looking at {target}")
        if await clockwork.touch(lambda: layout.needs_copy(origin, target), f"moving {origin}"):
            draft = await clockwork.touch(lambda: layout.begin(target), f"preparing {target}")
            await clockwork.run("cp", "-a", "--sparse=always", "--reflink=auto", "--", str(origin), str(draft))
            await clockwork.touch(lambda: layout.publish_directory(draft, target), f"putting {target} in place")
            await clockwork.touch(lambda: layout.finish_move(origin), f"removing {origin}")

    async def _move_to_datastore(self, line: Line, vm: Vm, _clockwork: Clockwork) -> None:
        """A persistent image was used in place: it is where it belongs."""
        self._area.vm_path(_words(line, 4)[0], vm.oid)

    async def _delete(self, line: Line, vm: Vm, clockwork: Clockwork) -> None:
        path = self._area.vm_path(_words(line, 3)[0], vm.oid)

        due = time.monotonic() + clockwork.left_s

        def delete() -> None:
            if not layout.is_there(path.parent):
                return
            self._area.confine(path.parent)
            if time.monotonic() > due:
                raise TransferError(f"{path} was not deleted: the storage answered too late")
            for own in (path, layout.snapshots_of(path)) if path.name.startswith("disk.") else (path,):
                layout.discard(own)

        await clockwork.touch(delete, f"deleting {path}")

    async def _make_image(self, line: Line, vm: Vm, clockwork: Clockwork) -> None:
        size, made_format, word, *_ = _words(line, 5)
        if made_format not in _FORMATS:
            raise TransferError(f"FORMAT is {made_format}, it must be raw or qcow2")
        await self._make(size, made_format, self._area.vm_path(word, vm.oid), clockwork, swap=False)

    async def _make_swap(self, line: Line, vm: Vm, clockwork: Clockwork) -> None:
        size, word, *_ = _words(line, 4)
        await self._make(size, "raw", self._area.vm_path(word, vm.oid), clockwork, swap=True)

    async def _make(self, size: str, made_format: str, target: Path, clockwork: Clockwork, swap: bool) -> None:
        if not size.isdecimal() or not int(size):
            raise TransferError(f"SIZE is {size}, it must be a whole number of megabytes")
        draft = await self._begin(layout.begin, target, clockwork)
        await clockwork.run("qemu-img", "create", "-q", "-f", made_format, str(draft), f"{size}M")
        if swap:
            await clockwork.run("mkswap", "-L", "swap", str(draft))
        await clockwork.touch(lambda: layout.publish_file(draft, target), f"putting {target} in place")

    async def _source(self, word: str, clockwork: Clockwork) -> Path:
        source = self._area.image_path(word)

        def look() -> None:
            if not self._area.confine(source).exists():
                raise TransferError(f"image {source} does not exist")

        await clockwork.touch(look, f"looking at {source}")
        return source

    async def _begin(self, begin: Callable[[Path], Path], target: Path, clockwork: Clockwork) -> Path:
        def prepare() -> Path:
            self._area.confine(target.parent)
            return begin(target)

        return await clockwork.touch(prepare, f"preparing {target}")


def _words(line: Line, count: int) -> tuple[str, ...]:
    if len(line.arguments) < count:
        raise TransferError(f"{line.action} takes {count} arguments, there are {len(line.arguments)}")
    return line.arguments


def _disk_of(vm: Vm, path: Path) -> Section:
    """The DISK that ``disk.<id>`` is; its line says too little about it."""
    disk_id = path.name.removeprefix("disk.")
    for disk in vm.template.sections("DISK"):
        if disk.get("DISK_ID") == disk_id:
            return disk
    raise TransferError(f"VM {vm.oid} has no DISK with DISK_ID {disk_id}")


def _format(disk: Section) -> str:
    stated = (disk.get("FORMAT") or disk.get("DRIVER") or "raw").lower()
    if stated not in _FORMATS:
        raise TransferError(f"DISK {disk.get('DISK_ID')} has format {stated}, it must be raw or qcow2")
    return stated


def _megabytes(disk: Section, name: str) -> int:
    text = disk.get(name, "") or "0"
    if not text.isdecimal():
        raise TransferError(f"DISK {disk.get('DISK_ID')} has {name} {text}, it must be a whole number of megabytes")
    return int(text)
