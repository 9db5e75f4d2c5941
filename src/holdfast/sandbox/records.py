"""The guest's records, as it leaves them on its disk and on its serial console (guest/init.c writes them).

A record says which boot wrote which number when, and carries a checksum, so that a record is read whole or not at all:
a console cut off by a power failure, or written by two hypervisors at once, yields the records that are intact.
Sector N of the disk holds record N, sector 0 a header.  All of it is text.
"""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from holdfast.sandbox.commands import run
from holdfast.sandbox.errors import RackError

SECTOR = 512
HEADER = b"HFLEDGER 1 hint="
_CHUNK = 2048 * SECTOR
_READ_LIMIT_S = 120
_BODY = rb"seq=(\d+) t=([\d.]+) up=([\d.]+) boot=([0-9a-f-]{36}) name=([^\s#]+)"
_ON_DISK = re.compile(rb"REC (" + _BODY + rb") #([0-9a-f]{8})")
_ON_CONSOLE = re.compile(rb"ACK (" + _BODY + rb") #([0-9a-f]{8})")
_ALARM = re.compile(rb"SPLITBRAIN [^\r\n]*")
_REMARK = re.compile(rb"(?:NODISK|FULL|ERROR) [^\r\n]*")
_MOST_LINES = 20
_QCOW2_MAGIC = b"QFI\xfb"


@dataclass(frozen=True)
class Record:
    """One append; `time` is the guest's wall clock, `up` its seconds since boot."""

    seq: int
    boot: str
    time: float
    up: float
    name: str


@dataclass(frozen=True)
class Acknowledged:
    """A record that the guest saw acknowledged, and where in the console file it says so."""

    record: Record
    offset: int


def records_on_disk(disk: Path) -> dict[int, Record]:
    """Sector number -> record, for every sector that holds one; works while the VM runs."""
    with _raw_view(disk) as raw:
        return dict(_scan(raw))


def name_on_disk(disk: Path) -> str | None:
    """Which VM wrote this disk, None when no record is on it."""
    with _raw_view(disk) as raw:
        return next((record.name for _, record in _scan(raw)), None)


def acknowledged_on_console(log: bytes) -> list[Acknowledged]:
    """Every acknowledged record, in the order of the console."""
    matches = ((_record(match), match.end()) for match in _ON_CONSOLE.finditer(log))
    return [Acknowledged(record, offset) for record, offset in matches if record]


def alarms_on_console(log: bytes) -> list[str]:
    """The first different lines in which the guest says that another boot wrote on its disk."""
    return _lines(_ALARM, log)


def remarks_on_console(log: bytes) -> list[str]:
    """The first different lines in which the guest says that it could not write, which is no fault in the ledger."""
    return _lines(_REMARK, log)


def _lines(pattern: re.Pattern[bytes], log: bytes) -> list[str]:
    found = dict.fromkeys(match.group() for match in pattern.finditer(log))
    return [line.decode("utf-8", "replace") for line in islice(found, _MOST_LINES)]


@contextmanager
def _raw_view(disk: Path) -> Iterator[Path]:
    """The disk as the guest sees it: the file itself, or a temporary copy when it is qcow2."""
    if not disk.is_file():
        raise RackError(f"{disk}: no such disk")
    with disk.open("rb") as file:
        is_raw = file.read(len(_QCOW2_MAGIC)) != _QCOW2_MAGIC
    if is_raw:
        yield disk
        return
    with tempfile.TemporaryDirectory(prefix="holdfast-ledger-") as scratch:
        raw = Path(scratch, "disk.raw")
        run(["qemu-img", "convert", "-U", "-f", "qcow2", "-O", "raw", str(disk), str(raw)], _READ_LIMIT_S)
        yield raw


def _scan(raw: Path) -> Iterator[tuple[int, Record]]:
    with raw.open("rb") as file:
        for start, end in _extents(file.fileno()):
            for position in range(start - start % SECTOR, end, _CHUNK):
                chunk = os.pread(file.fileno(), min(_CHUNK, end - position), position)
                for offset in range(0, len(chunk), SECTOR):
                    match = _ON_DISK.match(chunk, offset)
                    record = _record(match) if match else None
                    if record:
                        yield (position + offset) // SECTOR, record


def _extents(descriptor: int) -> Iterator[tuple[int, int]]:
    """The parts of a sparse file that hold data."""
    size, position = os.fstat(descriptor).st_size, 0
    while position < size:
        try:
            start = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError:  # ENXIO: only a hole is left
            return
        position = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, position


def _record(match: re.Match[bytes]) -> Record | None:
    body, seq, time, up, boot, name, checksum = match.groups()
    if int(checksum, 16) != _fnv1a(body):
        return None
    return Record(int(seq), boot.decode(), float(time), float(up), name.decode("utf-8", "replace"))


def _fnv1a(data: bytes) -> int:
    value = 2166136261
    for byte in data:
        value = ((value ^ byte) * 16777619) & 0xFFFFFFFF
    return value
