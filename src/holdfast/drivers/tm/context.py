"""The CD-ROM with a VM's CONTEXT: ``context.sh`` and the files that it names, on an ISO 9660 image labelled CONTEXT.

The image is a function of its files: times are the same on all of them, so that making it again changes nothing.
Names are as given (Rock Ridge and Joliet).  The files are on the controller; a user names them, so nothing is read from
directories that are protected.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from time import gmtime, strftime, struct_time
from typing import Any

import pycdlib
from pycdlib import dates, headervd, utils
from pycdlib import pycdlib as library

from holdfast.drivers.tm.lines import Line, Places, TransferError, record_of
from holdfast.model.context import ContextFile
from holdfast.model.vm import Vm

LABEL = "CONTEXT"
SCRIPT = "context.sh"
LIMIT_BYTES = 64 << 20
"""Of all files together: the image is made in memory."""
_JOLIET_NAME = 64
_MODE = 0o100644


class _StoppedClock:
    """What pycdlib takes for the clock: it stamps the time on whatever it makes."""

    strftime = staticmethod(strftime)

    def time(self) -> float:
        """1980-01-01, the first day that everybody can show."""
        return 315532800.0

    def localtime(self, seconds: float) -> struct_time:
        """The same everywhere."""
        return gmtime(seconds)

    gmtime = localtime


_STAMPING: tuple[Any, ...] = (library, headervd, dates, utils)
for _module in _STAMPING:
    _module.time = _StoppedClock()


def context_image(files: Mapping[str, bytes]) -> bytes:
    """The image of a CD-ROM with these files; raises TransferError for a name that it cannot hold."""
    disc: Any = pycdlib.PyCdlib()
    disc.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident=LABEL, sys_ident="LINUX")
    try:
        for number, (name, content) in enumerate(sorted(files.items())):
            _add(disc, number, name, content)
        image = io.BytesIO()
        disc.write_fp(image)
    finally:
        disc.close()
    return image.getvalue()


def _add(disc: Any, number: int, name: str, content: bytes) -> None:
    if len(name) > _JOLIET_NAME or any(character in name for character in '*/:;?\\"') or not name.isprintable():
        raise TransferError(
            f'a CD-ROM cannot hold a file named "{name}": at most {_JOLIET_NAME} characters, none of * / : ; ? \\ "'
        )
    plain = f"/{number:08d}.;1" if name != SCRIPT else "/CONTEXT.SH;1"
    disc.add_fp(io.BytesIO(content), len(content), plain, rr_name=name, joliet_path=f"/{name}", file_mode=_MODE)


def read_files(
    script: str, files: Sequence[ContextFile], protected: Sequence[Path], ours: Set[str] = frozenset()
) -> dict[str, bytes]:
    """What goes on the CD-ROM, by name; ``ours`` are paths that nothing protects.  Blocking.

    Raises TransferError, OSError.
    """
    contents = {SCRIPT: script.encode("utf-8", "surrogateescape")}
    left = LIMIT_BYTES - len(contents[SCRIPT])
    for file in files:
        contents[file.name] = _content(file, () if file.path in ours else protected, left)
        left -= len(contents[file.name])
    return contents


def insist_on_readable(files: Sequence[ContextFile], protected: Sequence[Path]) -> None:
    """As :func:`read_files`, without reading; raises TransferError alone.  Blocking."""
    left = LIMIT_BYTES
    for file in files:
        try:
            descriptor = _opened(file, protected, left)
        except OSError as error:
            raise TransferError(f"{file.path} cannot be read: {error.strerror}") from None
        left -= os.fstat(descriptor).st_size
        os.close(descriptor)


def _content(file: ContextFile, protected: Sequence[Path], left: int) -> bytes:
    descriptor = _opened(file, protected, left)
    try:
        return _whole(descriptor, left)
    finally:
        os.close(descriptor)


def _opened(file: ContextFile, protected: Sequence[Path], left: int) -> int:
    """Opened once, and judged by what was opened."""
    descriptor = os.open(file.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        real, about = Path(os.readlink(f"/proc/self/fd/{descriptor}")), os.fstat(descriptor)
        if any(real.is_relative_to(directory) for directory in protected):
            raise TransferError(f"{file.path} is in a protected directory: copy it elsewhere, or register it")
        if not stat.S_ISREG(about.st_mode):
            raise TransferError(f"{file.path} is not a file")
        if about.st_size > left:
            raise TransferError(f"the files of a CONTEXT can have {LIMIT_BYTES >> 20} MB together, {file.path} is more")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _whole(descriptor: int, most: int) -> bytes:
    content = bytearray()
    while chunk := os.read(descriptor, most - len(content)):
        content += chunk
    return bytes(content)


def context_line(vm: Vm, places: Places, script: Path, files: Sequence[ContextFile]) -> Line:
    """``CONTEXT ssh <context.sh> <files> host:SD/disk.<n> <vm> <ds>``."""
    record = record_of(vm)
    target = f"{record.hostname}:{places.directory(record, vm)}/disk.{vm.template.section('CONTEXT')['DISK_ID']}"
    names = [f"{file.path}:'{file.name}'" if not file.path.endswith(f"/{file.name}") else file.path for file in files]
    return Line("CONTEXT", record.tm_mad, (str(script), *names, target, str(vm.oid), str(record.ds_id)))
