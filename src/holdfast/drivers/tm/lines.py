"""The lines of a transfer file, as OpenNebula writes them: ``CLONE qcow2 front:/…/image host:/…/disk.0 7 1``.

Pure functions from a VM to the lines of a step.  A word cannot hold a blank, for there is no quoting.  Steps are named
by the file's extension: prolog, migrate, epilog, delete.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from holdfast.model.errors import HoldfastError
from holdfast.model.template import Section
from holdfast.model.vm import History, Vm


class Step(StrEnum):
    """What a transfer file is for; the value is the extension of its name."""

    PROLOG = "prolog"
    MIGRATE = "migrate"
    EPILOG = "epilog"
    DELETE = "delete"


class TransferError(HoldfastError):
    """A line cannot be written, read or carried out."""


@dataclass(frozen=True, slots=True)
class Line:
    """One action of one transfer driver."""

    action: str
    driver: str
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join((self.action, self.driver, *self.arguments))


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are: the datastores' directory as every host sees it, and the controller's own host name."""

    datastores_path: str
    frontend: str

    def directory(self, record: History, vm: Vm) -> str:
        """SD: the VM's directory on the system datastore of a history record."""
        return f"{self.datastores_path.rstrip('/')}/{record.ds_id}/{vm.oid}"


def parse(text: str) -> list[Line]:
    """The lines of a transfer file; empty lines and comments are skipped."""
    lines = []
    for number, raw in enumerate(text.splitlines(), 1):
        words = raw.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) < 2:
            raise TransferError(f'line {number} "{raw.strip()}" lacks the name of a transfer driver')
        lines.append(Line(words[0], words[1], tuple(words[2:])))
    return lines


def transfer_lines(step: Step, vm: Vm, places: Places, local: bool = False) -> list[Line]:
    """The lines of a step; ``local`` is the variant of the epilog for a VM whose files are on the front-end."""
    record = vm.current
    if record is None:
        raise TransferError(f"VM {vm.oid} has not been placed on a host yet")
    disks = sorted(vm.template.sections("DISK"), key=_disk_number)
    disks = [disk for disk in disks if disk.get("TYPE", "").upper() != "FILESYSTEM"]
    writer = _Writer(vm, record, places, places.frontend if local else record.hostname)
    produced = {
        Step.PROLOG: writer.prolog,
        Step.MIGRATE: writer.migrate,
        Step.EPILOG: writer.epilog,
        Step.DELETE: writer.delete,
    }[step]
    lines = list(produced(disks))
    for line in lines:
        if any(not word or word.split() != [word] for word in (line.driver, *line.arguments)):
            raise TransferError(f'"{line}" has an argument that is empty or holds a blank')
    return lines


def is_volatile(disk: Section) -> bool:
    """A disk without image: its data lives and dies with the VM."""
    return disk.get("TYPE", "").lower() in ("swap", "fs")


def _disk_number(disk: Section) -> int:
    text = disk.get("DISK_ID", "")
    if not text.isdecimal():
        raise TransferError(f'a DISK has DISK_ID "{text}", it must be a number')
    return int(text)


class _Writer:
    """Writes the lines of one VM; ``host`` is the host named in front of the VM's own files."""

    def __init__(self, vm: Vm, record: History, places: Places, host: str) -> None:
        self.vm, self.record, self.places, self.host = vm, record, places, host
        self.directory = places.directory(record, vm)
        self.vm_id, self.ds_id = str(vm.oid), str(record.ds_id)

    def prolog(self, disks: list[Section]) -> Iterator[Line]:
        for disk in disks:
            target = self._file(disk)
            system = (target, self.vm_id, self.ds_id)
            kind = disk.get("TYPE", "").lower()
            if kind == "swap":
                yield Line("MKSWAP", self.record.tm_mad, (_wanted(disk, "SIZE"), *system))
            elif kind == "fs":
                made = (_wanted(disk, "SIZE"), disk.get("FORMAT") or disk.get("DRIVER") or "raw")
                yield Line("MKIMAGE", self.record.tm_mad, (*made, *system))
            else:
                action = "CLONE" if _wanted(disk, "CLONE").upper() == "YES" else "LN"
                source = _wanted(disk, "SOURCE")
                source = source if ":" in source else f"{self.places.frontend}:{source}"
                yield self._image_line(action, disk, (source, target))

    def migrate(self, disks: list[Section]) -> Iterator[Line]:
        if len(self.vm.history) < 2:
            raise TransferError(f"VM {self.vm.oid} has never been on another host: there is nothing to move")
        previous = self.vm.history[-2]
        origin = f"{previous.hostname}:{self.places.directory(previous, self.vm)}"
        for disk in disks:
            yield self._disk_line("MV", disk, (f"{origin}/disk.{disk['DISK_ID']}", self._file(disk)))
        yield Line("MV", self.record.tm_mad, (origin, *self._whole()))

    def epilog(self, disks: list[Section]) -> Iterator[Line]:
        for disk in disks:
            if disk.get("SAVE", "").upper() == "YES":
                yield self._image_line("MVDS", disk, (self._file(disk), _wanted(disk, "SOURCE")))
            else:
                yield self._disk_line("DELETE", disk, (self._file(disk),))
        yield Line("DELETE", self.record.tm_mad, self._whole())

    def delete(self, disks: list[Section]) -> Iterator[Line]:
        for disk in disks:
            yield self._disk_line("DELETE", disk, (self._file(disk),))
        yield Line("DELETE", self.record.tm_mad, self._whole())

    def _file(self, disk: Section) -> str:
        return f"{self.host}:{self.directory}/disk.{disk['DISK_ID']}"

    def _whole(self) -> tuple[str, ...]:
        return (f"{self.host}:{self.directory}", self.vm_id, self.ds_id)

    def _disk_line(self, action: str, disk: Section, paths: tuple[str, ...]) -> Line:
        if is_volatile(disk):
            return Line(action, self.record.tm_mad, (*paths, self.vm_id, self.ds_id))
        return self._image_line(action, disk, paths)

    def _image_line(self, action: str, disk: Section, paths: tuple[str, ...]) -> Line:
        mode = disk.get("TM_MAD_SYSTEM", "")
        word = f"{action}.{mode}" if mode else action
        return Line(word, _wanted(disk, "TM_MAD"), (*paths, self.vm_id, _wanted(disk, "DATASTORE_ID")))


def _wanted(disk: Section, name: str) -> str:
    value = disk.get(name, "")
    if not value:
        raise TransferError(f"DISK {disk.get('DISK_ID', '?')} has no {name}")
    return value
