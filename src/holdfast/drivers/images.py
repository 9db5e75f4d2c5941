"""Carries out image effects: registers a file as an image, makes an empty one, deletes one.

A user's file is copied first and judged afterwards, for the copy is all that he can no longer change.  A qcow2 file
that names a backing or data file is refused: it would read, and let its VM read, any file of the storage.  An image
appears under its name (SOURCE, chosen by the engine) whole or not at all; a draft never outlives its order.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from holdfast.drivers.expendable import Overdue
from holdfast.drivers.tm import layout
from holdfast.drivers.tm.lines import TransferError
from holdfast.drivers.tm.paths import DatastoreArea
from holdfast.drivers.tm.tools import Clockwork, TransferOverdue
from holdfast.engine.ports import Order
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.model.errors import HoldfastError

PROTECTED = ("/etc", "/root", "/proc", "/sys", "/dev")
"""Nothing in these directories can be registered."""

_FORMATS = ("raw", "qcow2")
_MIB = 1 << 20
_CHUNK = 16 * _MIB
_MODE = 0o660


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
        self._protected = [Path(directory) for directory in protected]

    async def run(self, order: Order) -> Answer:
        """Does it, within the effect's deadline."""
        try:
            clockwork = Clockwork(order.effect.deadline - self._clock())
            if order.effect.kind is EffectKind.IMAGE_DELETE:
                return await self._delete(order, clockwork)
            if order.effect.kind in (EffectKind.IMAGE_CREATE, EffectKind.IMAGE_CLONE):
                return await self._create(order, clockwork)
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
            return await _described(path, clockwork) if there else None
        except HoldfastError:
            return None

    def _path(self, order: Order) -> Path:
        source = order.effect.args.get("SOURCE") or (order.image.source if order.image else "")
        return self._area.image_path(source)

    async def _create(self, order: Order, clockwork: Clockwork) -> Answer:
        args = order.effect.args
        path = self._path(order)
        if args.get("AGAIN") == "YES" and await clockwork.touch(lambda: layout.is_there(path), f"looking at {path}"):
            return await _described(path, clockwork)  # somebody put it there, or an earlier attempt came to its end
        draft = await clockwork.touch(lambda: self._begin(path), f"preparing {path}")
        try:
            if order.effect.kind is EffectKind.IMAGE_CLONE:
                await self._clone(args.get("FROM", ""), draft, clockwork)
            elif args.get("PATH"):
                await self._copy(args["PATH"], draft, clockwork)
            else:
                await _make_empty(args, draft, clockwork)
            answer = await _described(draft, clockwork)
            await clockwork.touch(lambda: layout.publish_file(draft, path), f"putting {path} in place")
        except BaseException:
            # The order has failed: this must also work when its own time is up.
            await Clockwork(1.0).touch(lambda: layout.remove(draft), f"removing {draft}")
            raise
        return answer

    def _begin(self, path: Path) -> Path:
        self._area.confine(path.parent)
        return layout.begin(path)

    async def _clone(self, word: str, draft: Path, clockwork: Clockwork) -> None:
        origin = self._area.image_path(word)
        await clockwork.touch(lambda: self._area.confine(origin), f"looking at {origin}")
        copy = ("cp", "--sparse=always", "--reflink=auto", "--", str(origin), str(draft))
        await clockwork.run(*copy, writes=draft)

    async def _copy(self, origin: str, draft: Path, clockwork: Clockwork) -> None:
        stop = threading.Event()
        try:
            await clockwork.touch(lambda: _copy_file(origin, draft, self._refuse_protected, stop), f"copying {origin}")
        finally:
            stop.set()

    def _refuse_protected(self, real: Path, origin: str) -> None:
        for directory in self._protected:
            if real.is_relative_to(directory):
                raise TransferError(f"PATH {origin} is in {directory}, whose files cannot be registered as images")

    async def _delete(self, order: Order, clockwork: Clockwork) -> Answer:
        if not (order.effect.args.get("SOURCE") or (order.image and order.image.source)):
            return Answer(ok=True, message="the image never had a file")
        path = self._path(order)

        def delete() -> None:
            self._area.confine(path.parent)
            layout.clear(path)
            layout.remove(path.with_name(f"{path.name}.md5sum"))

        await clockwork.touch(delete, f"deleting {path}")
        return Answer(ok=True)


async def _make_empty(args: Any, draft: Path, clockwork: Clockwork) -> None:
    size, wanted = args.get("SIZE", ""), args.get("FORMAT") or "raw"
    if not size.isdecimal() or not int(size):
        raise TransferError(f'SIZE is "{size}"; an image without PATH needs its size in MB')
    if wanted not in _FORMATS:
        raise TransferError(f'FORMAT is "{wanted}", it must be raw or qcow2')
    await clockwork.run("qemu-img", "create", "-q", "-f", wanted, str(draft), f"{size}M")


async def _described(path: Path, clockwork: Clockwork) -> Answer:
    """SIZE (virtual, MiB) and FORMAT of an image that may be used, else TransferError."""
    about = json.loads(await clockwork.run("qemu-img", "info", "--output=json", str(path)))
    found = about["format"]
    if found not in _FORMATS:
        raise TransferError(f"the image has format {found}; convert it first: qemu-img convert -O qcow2 <from> <to>")
    specific = about.get("format-specific", {}).get("data", {})
    for key, name in (("backing-filename", "backing"), ("full-backing-filename", "backing")):
        if about.get(key):
            raise TransferError(f"the image has the {name} file {about[key]}; flatten it first: qemu-img convert")
    if specific.get("data-file"):
        raise TransferError(f"the image has the data file {specific['data-file']}; flatten it first: qemu-img convert")
    size_mb = -(-int(about["virtual-size"]) // _MIB)
    return Answer(ok=True, values={"SIZE": str(size_mb), "FORMAT": found})


def _copy_file(origin: str, draft: Path, check: Callable[[Path, str], None], stop: threading.Event) -> None:
    """Copies the data of a regular file, holes stay holes.  Blocking; ends soon after ``stop`` is set."""
    source = _open_checked(origin, check)
    try:
        target = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
        try:
            size = os.fstat(source).st_size
            os.ftruncate(target, size)
            _copy_data(source, target, size, stop)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            free = os.fstatvfs(target)
            raise TransferError(
                f"the datastore is full: {origin} has {size // _MIB} MB, "
                f"{free.f_bavail * free.f_frsize // _MIB} MB are free in {draft.parent}"
            ) from None
        finally:
            os.close(target)
            if stop.is_set():
                draft.unlink(missing_ok=True)
    finally:
        os.close(source)


def _open_checked(origin: str, check: Callable[[Path, str], None]) -> int:
    """Opens first and checks what was opened: a path can change between a check and its use."""
    if not origin.startswith("/"):
        raise TransferError(f"PATH {origin} is not absolute; give the whole path of a file on the controller")
    try:
        descriptor = os.open(origin, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise TransferError(f"PATH {origin} cannot be read: {error.strerror}") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise TransferError(f"PATH {origin} is not a regular file")
        check(Path(os.readlink(f"/proc/self/fd/{descriptor}")), origin)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _copy_data(source: int, target: int, size: int, stop: threading.Event) -> None:
    position = 0
    while position < size and not stop.is_set():
        try:
            position = os.lseek(source, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return  # nothing but a hole up to the end
            raise
        end = os.lseek(source, position, os.SEEK_HOLE)
        while position < end and not stop.is_set():
            os.lseek(target, position, os.SEEK_SET)
            copied = os.sendfile(target, source, position, min(_CHUNK, end - position))
            if copied == 0:
                return  # the file became shorter while it was read
            position += copied
