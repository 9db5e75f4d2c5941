"""The lines of a transfer file, as OpenNebula writes them: ``CLONE qcow2 front:/…/image host:/…/disk.0 7 1``.

Pure functions from a VM to the lines of a step.  A word cannot hold a blank, for there is no quoting.  Steps are named
by the file's extension (``transfer.<seq>.prolog``); :class:`Request` says what the step is about.

A disk's TM_MAD_SYSTEM becomes the suffix of its action.  Where whole directories move or go (migrate, resume, stop,
delete) the suffix of one disk stays for the disks after it, volatile ones too: OpenNebula's files are so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from holdfast.model.errors import HoldfastError
from holdfast.model.template import Section
from holdfast.model.vm import History, Vm

Paths = Callable[[Section], tuple[str, ...]]


class Step(StrEnum):
    """What a transfer file is for; the value is the extension of its name."""

    PROLOG = "prolog"
    MIGRATE = "migrate"
    RESUME = "resume"
    STOP = "stop"
    EPILOG = "epilog"
    DELETE = "delete"
    DELETE_BOTH = "delete_both"
    PROLOG_ATTACH = "prolog_attach"
    EPILOG_DETACH = "epilog_detach"
    DISK_SNAPSHOT = "disk_snapshot"
    DISK_RESIZE = "disk_resize"


KERNELS = {"KERNEL_DS": "kernel", "INITRD_DS": "initrd"}
"""Attributes of OS, and the names of their files in the VM's directory."""
SINGLE_DISK = (Step.PROLOG_ATTACH, Step.EPILOG_DETACH, Step.DISK_SNAPSHOT, Step.DISK_RESIZE)
"""The steps that are about one disk."""

_VM_WORD = {"CLONE": 1, "LN": 1, "MKIMAGE": 2, "MKSWAP": 1}


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

    @property
    def verb(self) -> str:
        """The action without its transfer mode: that of ``CLONE.ssh`` is ``CLONE``."""
        return self.action.partition(".")[0].upper()

    def failed(self, number: int, reason: str) -> str:
        """The reason why the line, which has this number, was not carried out: first the reason, then the line."""
        return f"{reason} (line {number}: {self})"

    def words(self, count: int) -> tuple[str, ...]:
        """The arguments, at least ``count`` of them."""
        if len(self.arguments) < count:
            raise TransferError(f"{self.action} takes {count} arguments, there are {len(self.arguments)}")
        return self.arguments


@dataclass(frozen=True, slots=True)
class Request:
    """One step for one VM.

    ``seq`` is the history record it works on, -1 the newest.  ``local``: the VM's files are on the front-end, which
    says nothing to a step that brings them from there or to there.  ``frontend``: what is removed may be there as well.
    ``snapshot`` is the action on a disk snapshot (SNAP_CREATE, SNAP_REVERT, SNAP_DELETE), ``size_mb`` the new size.
    """

    step: Step
    seq: int = -1
    local: bool = False
    frontend: bool = False
    disk_id: int = -1
    snapshot: str = ""
    snapshot_id: int = -1
    size_mb: int = 0

    @property
    def file_name(self) -> str:
        """Needs a ``seq``: see :func:`record_of`."""
        return f"transfer.{self.seq}.{self.step}"


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


def word_of_vm(line: Line) -> str:
    """The word that names the VM's file or directory; of a move, where it comes from."""
    at = _VM_WORD.get(line.verb, 0)
    return line.words(at + 3)[at]


def record_of(vm: Vm, seq: int = -1) -> History:
    """The history record with this number, -1 for the newest."""
    if not vm.history:
        raise TransferError(f"VM {vm.oid} has not been placed on a host yet")
    for record in vm.history:
        if record.seq == seq:
            return record
    if seq >= 0:
        raise TransferError(f"VM {vm.oid} has no history record {seq}; the newest is {vm.history[-1].seq}")
    return vm.history[-1]


def record_before(vm: Vm, record: History) -> History | None:
    """The history record before this one."""
    place = vm.history.index(record)
    return vm.history[place - 1] if place else None


def disk_of(vm: Vm, disk_id: int) -> Section:
    """The DISK with this id."""
    for disk in vm.template.sections("DISK"):
        if disk.get("DISK_ID") == str(disk_id):
            return disk
    raise TransferError(f"VM {vm.oid} has no DISK with DISK_ID {disk_id}")


def transfer_lines(request: Request, vm: Vm, places: Places) -> list[Line]:
    """The lines of a step, in order."""
    record = record_of(vm, request.seq)
    disks = sorted(vm.template.sections("DISK"), key=_disk_number)
    if request.step is not Step.RESUME:
        disks = [disk for disk in disks if disk.get("TYPE", "").upper() != "FILESYSTEM"]
    if request.step in SINGLE_DISK:
        disks = [disk_of(vm, request.disk_id)]
    lines = list(_Writer(request, vm, record, places).write(disks))
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
    """Writes the lines of one VM for one history record."""

    def __init__(self, request: Request, vm: Vm, record: History, places: Places) -> None:
        self.request, self.vm, self.record, self.places = request, vm, record, places
        parked = request.local and request.step not in (Step.PROLOG, Step.MIGRATE, Step.RESUME, Step.STOP)
        self.host = places.frontend if parked else record.hostname
        self.directory = places.directory(record, vm)
        self.vm_id, self.ds_id = str(vm.oid), str(record.ds_id)

    def write(self, disks: list[Section]) -> Iterator[Line]:
        """The lines of the request's step."""
        write: dict[Step, Callable[[list[Section]], Iterator[Line]]] = {
            Step.PROLOG: self.prolog,
            Step.PROLOG_ATTACH: self.prolog,
            Step.MIGRATE: self.migrate,
            Step.RESUME: self.resume,
            Step.STOP: self.stop,
            Step.EPILOG: self.epilog,
            Step.EPILOG_DETACH: self.release,
            Step.DELETE: self.delete,
            Step.DELETE_BOTH: self.delete_both,
            Step.DISK_SNAPSHOT: self.snapshot,
            Step.DISK_RESIZE: self.resize,
        }
        return write[self.request.step](disks)

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
                yield self._own(action, disk, (self._image(_wanted(disk, "SOURCE")), target))
        if self.request.step is Step.PROLOG:
            yield from self._kernels()

    def _kernels(self) -> Iterator[Line]:
        """What is booted without a boot loader; a mode of its own is named as for disks."""
        os = self.vm.template.section("OS")
        for attribute, name in KERNELS.items():
            if source := os.get(f"{attribute}_SOURCE"):
                mode, ds_id = os.get(f"{attribute}_TM_SYSTEM"), os.get(f"{attribute}_DSID", "")
                words = (self._image(source), f"{self._here()}/{name}", self.vm_id, ds_id)
                yield Line(f"CLONE.{mode}" if mode else "CLONE", os.get(f"{attribute}_TM", ""), words)

    def _image(self, source: str) -> str:
        return source if ":" in source else f"{self.places.frontend}:{source}"

    def migrate(self, disks: list[Section]) -> Iterator[Line]:
        previous = self._previous()
        return self._move(disks, f"{previous.hostname}:{self.places.directory(previous, self.vm)}", self._here())

    def resume(self, disks: list[Section]) -> Iterator[Line]:
        kept = f"{self.places.frontend}:{self.places.directory(self._previous(), self.vm)}"
        return self._move(disks, kept, self._here())

    def stop(self, disks: list[Section]) -> Iterator[Line]:
        return self._move(disks, self._here(), f"{self.places.frontend}:{self.directory}")

    def epilog(self, disks: list[Section]) -> Iterator[Line]:
        yield from self.release(disks)
        yield self._whole("DELETE", self._here())

    def release(self, disks: list[Section]) -> Iterator[Line]:
        for disk in disks:
            if disk.get("SAVE", "").upper() == "YES":
                yield self._own("MVDS", disk, (self._file(disk), _wanted(disk, "SOURCE")))
            else:
                yield self._own("DELETE", disk, (self._file(disk),))

    def delete(self, disks: list[Section]) -> Iterator[Line]:
        yield from self._each("DELETE", disks, lambda disk: (self._file(disk),))
        yield self._whole("DELETE", self._here())
        if self.request.frontend:
            yield from self._delete_on_frontend(disks)

    def _delete_on_frontend(self, disks: list[Section]) -> Iterator[Line]:
        """Where the VM was parked, or was to be: under the datastore of this record or of the one before."""
        there = replace(self.request, frontend=False, local=True)
        before = record_before(self.vm, self.record)
        records = {record.ds_id: record for record in (before, self.record) if record is not None}
        for record in records.values():
            yield from _Writer(there, self.vm, record, self.places).delete(disks)

    def delete_both(self, disks: list[Section]) -> Iterator[Line]:
        yield from self.delete(disks)
        yield from _Writer(self.request, self.vm, self._previous(), self.places).delete(disks)

    def snapshot(self, disks: list[Section]) -> Iterator[Line]:
        for disk in disks:
            yield self._own(self.request.snapshot, disk, (self._file(disk), str(self.request.snapshot_id)))

    def resize(self, disks: list[Section]) -> Iterator[Line]:
        for disk in disks:
            yield self._own("RESIZE", disk, (self._file(disk), str(self.request.size_mb)))

    def _move(self, disks: list[Section], origin: str, target: str) -> Iterator[Line]:
        def paths(disk: Section) -> tuple[str, ...]:
            name = f"disk.{disk['DISK_ID']}"
            return (f"{origin}/{name}", f"{target}/{name}")

        yield from self._each("MV", disks, paths)
        yield self._whole("MV", origin, target)

    def _each(self, action: str, disks: list[Section], paths: Paths) -> Iterator[Line]:
        """One line for each disk; a suffix stays until another takes its place."""
        mode = ""
        for disk in disks:
            mode = disk.get("TM_MAD_SYSTEM") or mode
            yield self._line(action, mode, disk, paths(disk))

    def _own(self, action: str, disk: Section, paths: tuple[str, ...]) -> Line:
        """A line with the disk's own suffix."""
        return self._line(action, disk.get("TM_MAD_SYSTEM", ""), disk, paths)

    def _line(self, action: str, mode: str, disk: Section, paths: tuple[str, ...]) -> Line:
        word = f"{action}.{mode}" if mode else action
        if is_volatile(disk):
            return Line(word, self.record.tm_mad, (*paths, self.vm_id, self.ds_id))
        return Line(word, _wanted(disk, "TM_MAD"), (*paths, self.vm_id, _wanted(disk, "DATASTORE_ID")))

    def _whole(self, action: str, *directories: str) -> Line:
        return Line(action, self.record.tm_mad, (*directories, self.vm_id, self.ds_id))

    def _here(self) -> str:
        return f"{self.host}:{self.directory}"

    def _file(self, disk: Section) -> str:
        return f"{self._here()}/disk.{disk['DISK_ID']}"

    def _previous(self) -> History:
        previous = record_before(self.vm, self.record)
        if previous is None:
            raise TransferError(f"VM {self.vm.oid} has never been on another host: there is nothing to move")
        return previous


def _wanted(disk: Section, name: str) -> str:
    value = disk.get(name, "")
    if not value:
        raise TransferError(f"DISK {disk.get('DISK_ID', '?')} has no {name}")
    return value
