"""Carries out image effects: imports a file or URL, makes an empty image, copies one, deletes one.

A user's file is copied first and judged afterwards, for the copy is all that he can no longer change.  An image appears
under its name (SOURCE, chosen by the engine) whole or not at all; a draft never outlives its order.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from holdfast.drivers.expendable import Overdue
from holdfast.drivers.image_fetch import DIGESTS, no_room
from holdfast.drivers.image_import import Wanted, bring
from holdfast.drivers.image_judge import FORMATS, judged, measured
from holdfast.drivers.image_origin import PROTECTED, PathRules, directories
from holdfast.drivers.tm import arrivals, layout
from holdfast.drivers.tm.account import Account, Accounts
from holdfast.drivers.tm.layers import insist_on_whole
from holdfast.drivers.tm.lines import TransferError
from holdfast.drivers.tm.paths import DatastoreArea
from holdfast.drivers.tm.tools import Clockwork, TransferOverdue
from holdfast.engine.ports import Order
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind, ImageType
from holdfast.model.errors import HoldfastError
from holdfast.model.template import EMPTY

_NO_DISKS = (ImageType.KERNEL, ImageType.RAMDISK, ImageType.CONTEXT)
_MIB = 1 << 20
_BLOCK = 512


class ImageDriver:
    """The datastore driver ``fs``.  ``protected``: directories whose files cannot be registered."""

    def __init__(
        self,
        datastores_path: Path,
        clock: Callable[[], float] = time.time,
        protected: Sequence[str | Path] = PROTECTED,
    ) -> None:
        self._area = DatastoreArea(datastores_path)
        self._clock = clock
        self._protected = tuple(str(directory) for directory in protected)
        self.accounts = Accounts()
        """How far the imports are that run now, by image."""

    async def run(self, order: Order) -> Answer:
        """Does it, within the effect's deadline."""
        try:
            if order.effect.kind is EffectKind.IMAGE_DELETE:
                return await self._delete(order, Clockwork(order.effect.deadline - self._clock()))
            if order.effect.kind in (EffectKind.IMAGE_CREATE, EffectKind.IMAGE_CLONE):
                return await self._create_and_tell(order)
            raise TransferError(f"Effect {order.effect.oid} ({order.effect.kind.value}) is none for an image")
        except (TransferOverdue, Overdue) as error:
            return Answer(ok=False, message=error.message, certain=False)
        except HoldfastError as error:
            return Answer(ok=False, message=error.message)
        except Exception as error:  # noqa: BLE001 - a driver never raises
            return Answer(ok=False, message=f"{type(error).__name__}: {error}", certain=False)

    async def probe(self, order: Order) -> Answer | None:
        """After a restart: an image that has its name is complete; one that has none is deleted."""
        try:
            clockwork = Clockwork(order.effect.deadline - self._clock())
            path = self._path(order)
            there = await clockwork.touch(lambda: layout.is_there(path), f"looking at {path}")
            if order.effect.kind is EffectKind.IMAGE_DELETE:
                return None if there else Answer(ok=True)
            return await _described(order, path, clockwork) if there else None
        except HoldfastError:
            return None

    def _path(self, order: Order) -> Path:
        source = order.effect.args.get("SOURCE") or (order.image.source if order.image else "")
        return self._area.image_path(source)

    async def _create_and_tell(self, order: Order) -> Answer:
        account = Account()
        self.accounts.open(order.effect.subject, account)
        try:
            return await self._create(order, Clockwork(order.effect.deadline - self._clock(), account))
        finally:
            self.accounts.close(order.effect.subject, account)

    async def _create(self, order: Order, clockwork: Clockwork) -> Answer:
        path = self._path(order)
        again = order.effect.args.get("AGAIN") == "YES"
        if again and await clockwork.touch(lambda: layout.is_there(path), f"looking at {path}"):
            return await _described(order, path, clockwork)  # put there by hand, or by an attempt that ended late
        draft = await clockwork.touch(lambda: self._begin(path), f"preparing {path}")
        try:
            await self._fill(order, draft, clockwork)
            answer = await _as_asked(order, draft, await _described(order, draft, clockwork), clockwork)
            await clockwork.touch(lambda: layout.publish_file(draft, path), f"putting {path} in place")
        except BaseException:
            # The order has failed: this must also work when its own time is up.
            await Clockwork(1.0).touch(lambda: layout.remove(draft), f"removing {draft}")
            raise
        return answer

    def _begin(self, path: Path) -> Path:
        self._area.confine(path.parent)
        layout.make_directory(path.parent)
        return layout.begin(path)

    async def _fill(self, order: Order, draft: Path, clockwork: Clockwork) -> None:
        args = order.effect.args
        if order.effect.kind is EffectKind.IMAGE_CREATE and not args.get("PATH"):
            await _make_empty(args, draft, clockwork)
            return
        room_bytes = await clockwork.touch(lambda: _room_bytes(draft.parent, args), f"looking at {draft.parent}")
        if order.effect.kind is EffectKind.IMAGE_CLONE:
            await self._clone(args.get("FROM", ""), draft, room_bytes, clockwork)
        else:
            await bring(self._wanted(order, room_bytes), draft, clockwork)

    def _wanted(self, order: Order, room_bytes: int) -> Wanted:
        template = order.image.template if order.image else EMPTY
        datastore = order.datastores.get(int(order.effect.args.get("DATASTORE_ID") or -1))
        limits = datastore.template if datastore else EMPTY
        restricted, safe = (tuple(directories(limits.get(name))) for name in ("RESTRICTED_DIRS", "SAFE_DIRS"))
        return Wanted(
            order.effect.args["PATH"],
            PathRules(self._protected, restricted, safe),
            room_bytes,
            {name: template.get(name) for name in DIGESTS if template.get(name)},
            unpack=not template.flag("NO_DECOMPRESS"),
            capacity_checked=bool(order.effect.args.get("ROOM_MB")),
        )

    async def _clone(self, word: str, draft: Path, room_bytes: int, clockwork: Clockwork) -> None:
        origin = self._area.image_path(word)

        def needed_bytes() -> int:
            insist_on_whole(origin)
            return os.stat(self._area.confine(origin)).st_blocks * _BLOCK

        needed = await clockwork.touch(needed_bytes, f"looking at {origin}")
        if needed > room_bytes:
            raise TransferError(no_room(str(origin), needed, room_bytes))
        copy = ("cp", "--sparse=always", "--reflink=auto", "--", str(origin), str(draft))
        await clockwork.run(*copy, writes=draft)

    async def _delete(self, order: Order, clockwork: Clockwork) -> Answer:
        if not (order.effect.args.get("SOURCE") or (order.image and order.image.source)):
            return Answer(ok=True, message="the image never had a file")
        path = self._path(order)

        def delete() -> None:
            self._area.confine(path.parent)
            layout.clear(path)
            layout.remove(path.with_name(f"{path.name}.md5sum"))
            arrivals.hand_out(path)

        await clockwork.touch(delete, f"deleting {path}")
        return Answer(ok=True)


async def _make_empty(args: Mapping[str, str], draft: Path, clockwork: Clockwork) -> None:
    size, wanted = args.get("SIZE", ""), args.get("FORMAT") or "raw"
    if not size.isdecimal() or not int(size):
        raise TransferError(f'SIZE is "{size}"; an image without PATH needs its size in MB')
    if wanted not in FORMATS:
        raise TransferError(f'FORMAT is "{wanted}", it must be raw or qcow2')
    await clockwork.run("qemu-img", "create", "-q", "-f", wanted, str(draft), f"{size}M")


async def _described(order: Order, path: Path, clockwork: Clockwork) -> Answer:
    """SIZE and FORMAT of the image, if it may be used."""
    is_disk = order.image is None or order.image.type not in _NO_DISKS
    return await (judged if is_disk else measured)(path, clockwork)


async def _as_asked(order: Order, draft: Path, found: Answer, clockwork: Clockwork) -> Answer:
    """What was brought is of the FORMAT that was asked for, and as big as SIZE; raises TransferError."""
    args = order.effect.args
    path, wanted, size = args.get("PATH", ""), args.get("FORMAT", ""), args.get("SIZE", "")
    if order.effect.kind is not EffectKind.IMAGE_CREATE or not path:
        return found
    if wanted and wanted != found.values["FORMAT"]:
        raise TransferError(
            f"{path} is {found.values['FORMAT']}, the image's template says {wanted}: leave FORMAT and DRIVER out, or "
            f"convert the file first: qemu-img convert -O {wanted} FROM TO"
        )
    size_mb, found_mb = int(size) if size.isdecimal() else 0, int(found.values["SIZE"])
    if not size_mb or size_mb == found_mb:
        return found
    if size_mb < found_mb:
        raise TransferError(
            f"{path} is a disk of {found_mb} MB, SIZE says {size_mb} MB: a disk can be made bigger, not smaller; leave "
            f"SIZE out, or say more"
        )
    await clockwork.run("qemu-img", "resize", "-q", "-f", found.values["FORMAT"], str(draft), f"{size_mb}M")
    return await _described(order, draft, clockwork)


def _room_bytes(directory: Path, args: Mapping[str, str]) -> int:
    """What may be written: what the file system has left, and no more than ROOM_MB of the order."""
    free = os.statvfs(directory)
    left, allowed = free.f_bavail * free.f_frsize, args.get("ROOM_MB", "")
    return min(left, int(allowed) * _MIB) if allowed.isdecimal() else left
