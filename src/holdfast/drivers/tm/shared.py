"""The transfer drivers ``shared`` and ``qcow2`` (one implementation, as in OpenNebula): storage that all hosts see.

Works on the controller's own mount of that storage, so that no step depends on a host: the host in front of a path is
read over.  Every action can be repeated: it makes its result anew, or finds that there is nothing left to do.  What
fails leaves no draft behind.  Snapshots and sizes of disks: :mod:`holdfast.drivers.tm.disks`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from holdfast.drivers.tm import home, layout
from holdfast.drivers.tm.copies import copy
from holdfast.drivers.tm.disks import FORMATS, DiskActions, copy_made_at, disk_at, format_of
from holdfast.drivers.tm.layers import DiskLayers, insist_on_whole, newest_layer
from holdfast.drivers.tm.lines import Line, TransferError, word_of_vm
from holdfast.drivers.tm.moves import Move
from holdfast.drivers.tm.paths import DatastoreArea
from holdfast.drivers.tm.tools import Clockwork, removed_on_failure
from holdfast.model.vm import Vm

_MODE = 0o640
"""Of a file that may hold passwords, from its first byte on."""
_REMOVE = ("DELETE", "MVDS")
_IN_PLACE = (*_REMOVE, "RESIZE", "SNAP_CREATE", "SNAP_REVERT", "SNAP_DELETE")
"""What is done to files that are there."""


class SharedTransfers:
    """Carries out one line after the other; raises TransferError."""

    def __init__(self, area: DatastoreArea) -> None:
        self._area = area
        self._layers = DiskLayers()
        disks = DiskActions(area, self._layers)
        self._actions: dict[str, Callable[[Line, Vm, Clockwork], Awaitable[None]]] = {
            "CLONE": self._clone,
            "LN": self._link,
            "MV": self._move,
            "MVDS": self._move_to_datastore,
            "DELETE": self._delete,
            "MKIMAGE": self._make_image,
            "MKSWAP": self._make_swap,
            "RESIZE": disks.resize,
            "SNAP_CREATE": disks.create_snapshot,
            "SNAP_REVERT": disks.revert_to_snapshot,
            "SNAP_DELETE": disks.delete_snapshot,
        }

    async def perform(self, line: Line, vm: Vm, clockwork: Clockwork) -> None:
        """One line for one VM."""
        action = self._actions.get(line.verb)
        if action is None:
            raise TransferError(f"action {line.action} is not one of {', '.join(self._actions)}")
        if line.verb in _IN_PLACE:
            await self._come_home(line, vm, clockwork)
        await action(line, vm, clockwork)

    async def put(self, word: str, content: bytes, vm: Vm, clockwork: Clockwork) -> None:
        """A small disk with this content."""
        target = self._area.vm_path(word, vm.oid)
        draft = await self._begin(layout.begin, target, vm, clockwork)
        async with removed_on_failure(draft):
            await clockwork.touch(lambda: _write(draft, content), f"writing {draft}")
            await self._publish(layout.publish_file, draft, target, clockwork)

    async def _clone(self, line: Line, vm: Vm, clockwork: Clockwork) -> None:
        source_word, target_word, *_ = line.words(4)
        target = self._area.vm_path(target_word, vm.oid)
        source = await self._source(source_word, clockwork)
        await clockwork.touch(lambda: insist_on_whole(source), f"looking at {source}")
        image_format, grown = copy_made_at(vm, target)
        if image_format == "raw":
            await self._copy(source, target, grown, vm, clockwork)
        else:
            await self._overlay(source, target, grown, vm, clockwork)

    async def _copy(self, source: Path, target: Path, grown: int, vm: Vm, clockwork: Clockwork) -> None:
        draft = await self._begin(layout.begin, target, vm, clockwork)
        async with removed_on_failure(draft):
            await copy(source, draft, clockwork)
            if grown:
                await clockwork.run("qemu-img", "resize", "-q", "-f", "raw", str(draft), f"{grown}M", writes=draft)
            await self._publish(layout.publish_file, draft, target, clockwork)

    async def _overlay(self, source: Path, target: Path, grown: int, vm: Vm, clockwork: Clockwork) -> None:
        draft = await self._begin(layout.begin_overlay, target, vm, clockwork)
        async with removed_on_failure(draft):
            create = ("qemu-img", "create", "-q", "-f", "qcow2", "-b", str(source), "-F", "qcow2", str(draft / "0"))
            await clockwork.run(*create, *([f"{grown}M"] if grown else []), writes=draft)
            await self._publish(layout.publish_overlay, draft, target, clockwork)

    async def _link(self, line: Line, vm: Vm, clockwork: Clockwork) -> None:
        source_word, target_word, *_ = line.words(4)
        target = self._area.vm_path(target_word, vm.oid)
        source = await self._source(source_word, clockwork)
        in_layers = format_of(disk_at(vm, target)) == "qcow2"
        if in_layers and not _next_snapshot(vm, target):
            await self._layers.merge_left_over(source, clockwork)

        def link() -> None:
            self._enter(target, vm)
            meant = newest_layer(source) if in_layers else source
            clockwork.insist()
            layout.link(target, meant)

        await clockwork.touch(link, f"linking {target}")

    async def _come_home(self, line: Line, vm: Vm, clockwork: Clockwork) -> None:
        """The VM's directory is where the line wants it, and if the line removes something it is the only one."""
        path = self._area.vm_path(word_of_vm(line), vm.oid)
        directory = self._area.vm_directory(path)
        removes = line.verb in _REMOVE

        def look() -> None:
            home.take_back(directory)
            if removes:
                home.insist_on_one(directory)

        await clockwork.touch(look, f"looking at {directory}")

    async def _move(self, line: Line, vm: Vm, clockwork: Clockwork) -> None:
        origin_word, target_word, *_ = line.words(4)
        origin = self._area.vm_path(origin_word, vm.oid)
        target = self._area.vm_path(target_word, vm.oid)
        if origin == target or target.name.startswith("disk."):
            return  # all hosts see the same files; single disks go with their directory
        move = Move.of(vm, origin, target)
        await clockwork.touch(lambda: move.confine(self._area), f"looking at {origin}")
        if not await clockwork.touch(lambda: move.needs_copy(clockwork.insist), f"moving {origin}"):
            return
        draft = await clockwork.touch(lambda: layout.begin(target), f"preparing {target}")
        async with removed_on_failure(draft):
            await copy(origin, draft, clockwork, "-a")
            await clockwork.touch(lambda: move.mark(draft), f"marking {draft}")
            await self._publish(layout.publish_directory, draft, target, clockwork)
        await clockwork.touch(lambda: move.finish_copy(clockwork.insist), f"removing {origin}")

    async def _move_to_datastore(self, line: Line, vm: Vm, clockwork: Clockwork) -> None:
        """A persistent image was used in place: its layers go into it, for the records of its snapshots end here."""
        disk_word, source_word, *_ = line.words(4)
        disk, image = self._area.vm_path(disk_word, vm.oid), self._area.image_path(source_word)
        await clockwork.touch(lambda: self._check_link(disk), f"looking at {disk}")
        if _next_snapshot(vm, disk) and format_of(disk_at(vm, disk)) == "qcow2":
            await self._layers.merge(disk, image, clockwork)
        await self._discard_disk(disk, clockwork)

    def _check_link(self, disk: Path) -> None:
        self._area.confine(disk.parent)
        if layout.is_there(disk) and not disk.is_symlink():
            raise TransferError(f"{disk} is a file of its own instead of a link to its image: copy it there by hand")

    async def _delete(self, line: Line, vm: Vm, clockwork: Clockwork) -> None:
        await self._discard_disk(self._area.vm_path(line.words(3)[0], vm.oid), clockwork)

    async def _discard_disk(self, path: Path, clockwork: Clockwork) -> None:
        """Removes a disk with its layers, or a whole directory."""

        def delete() -> None:
            if not layout.is_there(path.parent):
                return
            self._area.confine(path.parent)
            for own in (path, layout.snapshots_of(path)) if path.name.startswith("disk.") else (path,):
                layout.discard(own, clockwork.insist)
            if not path.name.startswith("disk."):
                layout.drop_set_aside(path)  # a link to a place where the files are not any more

        await clockwork.touch(delete, f"deleting {path}")

    async def _make_image(self, line: Line, vm: Vm, clockwork: Clockwork) -> None:
        size, made_format, word, *_ = line.words(5)
        if made_format not in FORMATS:
            raise TransferError(f"FORMAT is {made_format}, it must be raw or qcow2")
        await self._make(size, made_format, self._area.vm_path(word, vm.oid), vm, clockwork, swap=False)

    async def _make_swap(self, line: Line, vm: Vm, clockwork: Clockwork) -> None:
        size, word, *_ = line.words(4)
        await self._make(size, "raw", self._area.vm_path(word, vm.oid), vm, clockwork, swap=True)

    async def _make(self, size: str, made_format: str, target: Path, vm: Vm, clockwork: Clockwork, swap: bool) -> None:
        if not size.isdecimal() or not int(size):
            raise TransferError(f"SIZE is {size}, it must be a whole number of megabytes")
        draft = await self._begin(layout.begin, target, vm, clockwork)
        async with removed_on_failure(draft):
            await clockwork.run("qemu-img", "create", "-q", "-f", made_format, str(draft), f"{size}M", writes=draft)
            if swap:
                await clockwork.run("mkswap", "-L", "swap", str(draft), writes=draft)
            await self._publish(layout.publish_file, draft, target, clockwork)

    async def _source(self, word: str, clockwork: Clockwork) -> Path:
        source = self._area.image_path(word)

        def look() -> None:
            if not self._area.confine(source).exists():
                raise TransferError(f"image {source} does not exist")

        await clockwork.touch(look, f"looking at {source}")
        return source

    async def _begin(self, begin: Callable[[Path], Path], target: Path, vm: Vm, clockwork: Clockwork) -> Path:
        def prepare() -> Path:
            self._enter(target, vm)
            return begin(target)

        return await clockwork.touch(prepare, f"preparing {target}")

    def _enter(self, target: Path, vm: Vm) -> None:
        """The directory in which this file is about to be made is there."""
        self._area.confine(target.parent)
        home.enter(target.parent, home.may_make(vm, target.name))

    async def _publish(
        self, publish: Callable[[Path, Path, layout.Insist], None], draft: Path, target: Path, clockwork: Clockwork
    ) -> None:
        await clockwork.touch(lambda: publish(draft, target, clockwork.insist), f"putting {target} in place")


def _write(draft: Path, content: bytes) -> None:
    draft.touch(mode=_MODE)
    draft.write_bytes(content)


def _next_snapshot(vm: Vm, disk: Path) -> int:
    """The number that the next snapshot of the disk gets; 0 if the VM never had any."""
    return vm.snapshots_of(int(disk.name.removeprefix("disk."))).next_oid
