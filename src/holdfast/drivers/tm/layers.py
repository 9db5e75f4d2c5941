"""The layers of a qcow2 disk: ``disk.0.snap/0``, ``/1``, … each an overlay on an earlier one.

``disk.0`` is a link to the *active* layer, the one the guest writes; for a persistent image it leads to
``<image>.snap/<n>``.  Snapshot n is layer n, which nobody writes any more; creating it makes layer n + 1 and points the
disk there.  Reverting replaces the active layer by an empty one on top of layer n.  So the active layer has the highest
number, as OpenNebula's LN expects.  When ids of snapshots were left out, layer n is a link to the layer meant.

A live snapshot takes four steps, in this order: :meth:`DiskLayers.prepare` (the next layer lies there, empty),
:meth:`DiskLayers.point`, the hypervisor's switch to the prepared file (libvirt: an external disk snapshot with
REUSE_EXT), and if that certainly failed :meth:`DiskLayers.withdraw`.  The disk is pointed *before* the switch: whoever
starts the VM from an empty layer finds everything below it, but one who starts it from the old layer would lose what
was written to the new one.  A domain must be given :attr:`Layer.path`, not the link, since the link moves under it.

A persistent image may come with layers that an earlier VM left on it.  They hold that VM's data, but are no snapshots
of anybody's any more: :meth:`DiskLayers.merge_left_over`, before another VM gets the image.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from holdfast.drivers.tm import layout
from holdfast.drivers.tm.lines import TransferError
from holdfast.drivers.tm.tools import Clockwork, removed_on_failure

_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a disk; ``path`` is the file itself, with every link of the disk's name resolved but its own."""

    number: int
    path: Path


def active_layer(disk: Path) -> Layer | None:
    """The layer that a disk's name leads to; None for a disk without layers.  Blocking."""
    if not disk.is_symlink():
        return None
    target = Path(os.path.normpath(disk.parent / disk.readlink()))
    if not target.parent.name.endswith(".snap") or not target.name.isdecimal():
        return None
    return Layer(int(target.name), target)


def layer_to_run(disk: Path) -> Layer | None:
    """The layer that a domain is to be given of a qcow2 disk; None when there is no such file.  Blocking.

    One plain file becomes layer 0 first.  A domain that knew it as ``disk.0`` would lose the file at its first
    snapshot: QEMU opens what is below the new layer once more, by its name, which leads to the new layer then.
    """
    return layered(disk) if disk.exists() else None


def newest_layer(image: Path) -> Path:
    """The newest layer of a persistent qcow2 image, whose layers are begun when it has none.  Blocking."""
    folder = layout.snapshots_of(image)
    folder.mkdir(exist_ok=True)
    for name, target in ((folder.name, Path(".")), ("0", Path("..") / image.name)):
        with contextlib.suppress(FileExistsError):  # an earlier VM's, or one's that begins at the same moment
            (folder / name).symlink_to(target)
    return folder / str(max(_numbers(folder)))


def layered(disk: Path) -> Layer:
    """The active layer of a qcow2 disk; a disk that is one plain file becomes layer 0 first.  Blocking."""
    found = active_layer(disk)
    if found:
        return found
    if disk.is_symlink():
        image = Path(os.path.normpath(disk.parent / disk.readlink()))
        layout.link(disk, newest_layer(image))
    else:
        _begin_layers(disk)
    begun = active_layer(disk)
    assert begun is not None, "the disk is a link to a layer now"
    return begun


def insist_on_whole(image: Path) -> None:
    """Refuses an image that layers of an earlier VM lie on: the file alone is older than what it wrote.  Blocking."""
    newest = _left_over(image)
    if newest:
        raise TransferError(
            f"the newest data of image {image} is in layers that an earlier VM left, up to {newest}: give it to a VM "
            f"as a persistent image once, which merges them, or remove {newest.parent} if they are not wanted"
        )


class DiskLayers:
    """What can be done to the layers of a disk, given the path of ``disk.<i>``.  Everything can be repeated."""

    async def active(self, disk: Path, clockwork: Clockwork) -> Layer:
        """The layer the guest writes; a qcow2 disk that is one plain file gets its layer 0."""
        return await clockwork.touch(lambda: layered(disk), f"looking for the layers of {disk}")

    async def prepare(self, disk: Path, snapshot_id: int, clockwork: Clockwork) -> Layer:
        """Layer ``snapshot_id`` + 1, empty and complete, on the active one; the disk is not pointed there yet.

        If the disk is there already, that layer as it is.  Works below a running VM.
        """
        now = await self.active(disk, clockwork)
        wanted = Layer(snapshot_id + 1, now.path.with_name(str(snapshot_id + 1)))
        if now.number == wanted.number:
            return now
        _insist_on_room(disk, now, snapshot_id)
        frozen = now.path.with_name(str(snapshot_id))
        if now.number < snapshot_id:
            await clockwork.touch(lambda: layout.link(frozen, Path(now.path.name)), f"naming {now.path} {frozen.name}")
        await self._make(disk, now.path, wanted.path, 0, clockwork)
        return wanted

    async def insist_on_new(self, disk: Path, snapshot_id: int, clockwork: Clockwork) -> None:
        """Raises when there is a layer for what follows the snapshot; for whoever knows he has not made it yet."""
        now = await clockwork.touch(lambda: active_layer(disk), f"looking for the layers of {disk}")
        if now:
            _insist_on_room(disk, now, snapshot_id)

    async def point(self, disk: Path, layer: Layer, clockwork: Clockwork) -> None:
        """``disk.<i>`` leads to this layer, from one moment to the next."""

        def point() -> None:
            if not layer.path.exists():
                raise TransferError(f"{layer.path} does not exist: {disk} was left as it is")
            clockwork.insist()
            layout.link(disk, Path(_name_from(disk, layer.path)))

        await clockwork.touch(point, f"pointing {disk} at layer {layer.number}")

    async def withdraw(self, disk: Path, layer: Layer, below: Layer, clockwork: Clockwork) -> None:
        """Undoes a prepared layer that nobody has written: the disk is pointed at ``below``, the layer goes."""
        await self.point(disk, below, clockwork)
        await clockwork.touch(lambda: layout.discard(layer.path, clockwork.insist), f"removing {layer.path}")

    async def revert(self, disk: Path, snapshot_id: int, size_mb: int, clockwork: Clockwork) -> None:
        """What was written since is dropped: the active layer becomes an empty one on layer ``snapshot_id``.

        The VM must not run.  The disk keeps its size: at least ``size_mb``.
        """
        now = await self.active(disk, clockwork)
        name = now.path.with_name(str(snapshot_id))
        frozen = await clockwork.touch(lambda: _meant(name), f"looking at {name}")
        if not await clockwork.touch(frozen.exists, f"looking at {frozen}"):
            raise TransferError(f"snapshot {snapshot_id} of {disk} is not there: {name} does not exist")
        if now.path == frozen or await self._on_top_of(now.path, clockwork):
            raise TransferError(f"{now.path}, the active layer of {disk}, is the base of a snapshot: it must be kept")
        await self._make(disk, frozen, now.path, size_mb, clockwork)

    async def delete(self, disk: Path, snapshot_id: int, clockwork: Clockwork) -> None:
        """Layer ``snapshot_id`` goes, unless the disk or another layer needs it."""
        now = await self.active(disk, clockwork)
        doomed = now.path.with_name(str(snapshot_id))
        if await clockwork.touch(lambda: layout.is_gone(doomed), f"looking at {doomed}"):
            return
        meant = await clockwork.touch(lambda: _meant(doomed), f"looking at {doomed}")
        on_top = [*await self._on_top_of(meant, clockwork), *([disk] if meant == now.path else [])]
        if on_top:
            needed_by = ", ".join(str(path) for path in on_top)
            raise TransferError(f"snapshot {snapshot_id} of {disk} cannot be deleted: {needed_by} is based on it")

        def delete() -> None:
            layout.discard(doomed, clockwork.insist)
            if meant != doomed:
                layout.discard(meant, clockwork.insist)

        await clockwork.touch(delete, f"deleting {doomed}")

    async def merge(self, disk: Path, image: Path, clockwork: Clockwork) -> None:
        """All layers of a persistent image go into the image itself; interrupted, the layers still hold everything.

        The VM must not run.  Afterwards ``disk.<i>`` leads nowhere.  Where it is gone, because it was merged before, or
        its datastore is not mounted, the image knows its layers itself.
        """
        if not await clockwork.touch(lambda: layout.is_there(disk), f"looking at {disk}"):
            await self.merge_left_over(image, clockwork)
            return
        now = await clockwork.touch(lambda: active_layer(disk), f"looking for the layers of {disk}")
        folder = layout.snapshots_of(image)
        if now is not None and now.number > 0 and now.path.parent == folder:
            await self._merge(now.path, image, clockwork)

    async def merge_left_over(self, image: Path, clockwork: Clockwork) -> None:
        """The layers that an earlier VM left on a persistent image go into it, as if it had ended properly."""
        newest = await clockwork.touch(lambda: _left_over(image), f"looking for the layers of {image}")
        if newest:
            await self._merge(newest, image, clockwork)

    async def flatten(self, disk: Path, clockwork: Clockwork) -> Path:
        """All layers of a disk that has them in its own directory go into the lowest; the file that is the disk now.

        The VM must not run.  Interrupted, the layers still hold everything.
        """
        now = await clockwork.touch(lambda: active_layer(disk), f"looking for the layers of {disk}")
        if now is None:
            return disk
        lowest = Layer(0, now.path.with_name("0"))
        if now.number > 0:
            await self._commit(now.path, lowest.path, disk, clockwork)
            await self.point(disk, lowest, clockwork)
        return lowest.path

    async def _merge(self, newest: Path, image: Path, clockwork: Clockwork) -> None:
        folder = layout.snapshots_of(image)
        if await clockwork.touch(lambda: layout.is_there(folder), f"looking at {folder}"):
            await self._commit(newest, folder / "0", image, clockwork)

        def drop() -> None:
            layout.sync(image)
            layout.discard(folder, clockwork.insist)

        await clockwork.touch(drop, f"removing the layers of {image}")

    async def _commit(self, newest: Path, lowest: Path, of: Path, clockwork: Clockwork) -> None:
        commit = ("qemu-img", "commit", "-q", "-f", "qcow2", "-d", "-b", str(lowest), str(newest))
        await clockwork.run_unlocked(*commit, writes=of)

    async def _make(self, disk: Path, below: Path, path: Path, size_mb: int, clockwork: Clockwork) -> None:
        """An empty layer on ``below`` under the name ``path``, whole or not at all."""
        draft = await clockwork.touch(lambda: layout.begin(path), f"preparing {path}")
        about = await described(below, clockwork)
        larger = [f"{size_mb}M"] if size_mb * _MIB > about["virtual-size"] else []
        create = ("qemu-img", "create", "-q", "-f", "qcow2", "-b", _name_from(disk, below), "-F", "qcow2", str(draft))
        async with removed_on_failure(draft):
            await clockwork.run(*create, *larger, writes=draft)

            def publish() -> None:
                layout.close_to_others(draft)
                layout.replace_file(draft, path, clockwork.insist)

            await clockwork.touch(publish, f"putting {path} in place")

    async def _on_top_of(self, layer: Path, clockwork: Clockwork) -> list[Path]:
        """The layers directly on this one."""
        folder = layer.parent
        found = []
        for path in await clockwork.touch(lambda: _files(folder), f"listing {folder}"):
            lower = (await described(path, clockwork)).get("full-backing-filename")
            if lower and await clockwork.touch(partial(_same, Path(lower), layer), f"looking at {lower}"):
                found.append(path)
        return found


async def described(path: Path, clockwork: Clockwork, image_format: str = "qcow2") -> dict[str, Any]:
    """What qemu-img says about an image of this format, in use or not: virtual-size, full-backing-filename …

    The format is never left to be guessed: a guest can make its raw disk look like one that names further files.
    """
    info = ("qemu-img", "info", "-U", "-f", image_format, "--output=json")
    about: dict[str, Any] = json.loads(await clockwork.run(*info, str(path)))
    return about


def _insist_on_room(disk: Path, now: Layer, snapshot_id: int) -> None:
    if now.number > snapshot_id:
        raise TransferError(
            f"{disk} is on layer {now.number} already, which is no base for snapshot {snapshot_id}; merge the layers "
            f"of an earlier VM first, while this one is off: qemu-img commit -b {now.path.with_name('0')} {now.path}"
        )


def _left_over(image: Path) -> Path | None:
    """The newest layer of an image that nobody uses; None when it has no layers but itself."""
    folder = layout.snapshots_of(image)
    newest = max(_numbers(folder), default=0) if folder.is_dir() else 0
    return folder / str(newest) if newest else None


def _numbers(folder: Path) -> list[int]:
    return sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal())


def _begin_layers(disk: Path) -> None:
    """The file gets a second name, ``disk.i.snap/0``, before the first becomes a link to it."""
    folder = layout.snapshots_of(disk)
    first = folder / "0"
    if not (first.exists() and first.samefile(disk)):
        draft = layout.begin_overlay(disk)
        os.link(disk, draft / "0")
        layout.sync(draft)
        layout.discard(folder)
        draft.rename(folder)
    layout.link(disk, Path(folder.name) / "0")


def _files(folder: Path) -> list[Path]:
    """The layers that are files of their own: neither the image below nor other names of a layer."""
    paths = (folder / str(number) for number in _numbers(folder))
    return [path for path in paths if not path.is_symlink()]


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


def _meant(layer: Path) -> Path:
    """The layer itself, for one that is only another name of it."""
    if layer.is_symlink() and layer.readlink().name == str(layer.readlink()):
        return layer.with_name(layer.readlink().name)
    return layer


def _name_from(disk: Path, layer: Path) -> str:
    """How a layer is named by the disk's link and by the layer above: relative where all move together.

    ``disk.0.snap/1`` is right from the VM's directory, and within ``disk.0.snap`` too, for that links to itself.
    """
    return f"{layer.parent.name}/{layer.name}" if layer.parent == layout.snapshots_of(disk) else str(layer)
