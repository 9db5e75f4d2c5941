"""Compares what lies on storage with what should: orphans, remnants and missing files.  Pure; knows no file system.

Nothing is held still while somebody looks, so a finding counts only if it holds for what was known before the look
*and* for what was known after it.  Whatever somebody works on (an open effect) is left out: a transfer in progress has
files that nobody knows yet, and lacks files that will be there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from holdfast.engine.state import State
from holdfast.lifecycle import positions as p
from holdfast.model.enums import DatastoreType, HistoryAction, ImageState
from holdfast.model.storage import Datastore, Image
from holdfast.model.vm import Vm
from holdfast.model.vm_states import VmState

FRONTEND = ""
"""The place of files that are on the controller's own mount."""

_REMNANT = re.compile(r"\.?(?P<owner>.+?)(\.snap)?(\.draft\.[0-9a-f]+|\.moved|\.deleted|\.arriving|\.looked-for\..+)")
_DISK = re.compile(r"disk\.(\d+)(\.snap)?")
_PARKING = (HistoryAction.STOP, HistoryAction.UNDEPLOY, HistoryAction.UNDEPLOY_HARD)
_COMPLETE = (p.RUNNING, p.UNKNOWN, p.POWEROFF, p.SUSPENDED, *p.PARKED, *p.BOOT_FAILURES)
"""Where all of a VM's files must be there."""
_UNSETTLED = (*p.FAILURES, *p.FILES_ON_THE_WAY)
"""Where a VM may have files in two places."""
_WHOLE = (ImageState.READY, ImageState.USED, ImageState.USED_PERS, ImageState.DISABLED, ImageState.CLONE)
_IN_FILES = ("shared", "qcow2", "ssh", "local")


class FindingKind(Enum):
    """What is wrong."""

    ORPHAN = "ORPHAN"
    """A file that belongs to nobody."""
    REMNANT = "REMNANT"
    """What an interrupted step left behind."""
    MISSING = "MISSING"
    """A file that somebody needs is not there."""


@dataclass(frozen=True, slots=True)
class Found:
    """One entry of a datastore's directory; ``path`` is relative to it."""

    path: str
    size_bytes: int = 0
    is_directory: bool = False
    is_broken_link: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """A datastore's directory on one machine: a host, or the controller itself (FRONTEND)."""

    ds_id: int
    host: str
    path: str


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong; ``vm_id`` and ``image_id`` say whom it is about, -1 for nobody."""

    kind: FindingKind
    place: Place
    path: str
    reason: str
    size_bytes: int = 0
    vm_id: int = -1
    image_id: int = -1

    @property
    def key(self) -> tuple[FindingKind, Place, str]:
        """Two looks that find this have found the same thing."""
        return self.kind, self.place, self.path


@dataclass(frozen=True, slots=True)
class Unseen:
    """A directory that could not be looked at, and why."""

    place: Place
    reason: str


@dataclass(frozen=True, slots=True)
class StorageReport:
    """What a check of all storage came to."""

    findings: tuple[Finding, ...] = ()
    unseen: tuple[Unseen, ...] = ()
    places: int = 0
    """How many directories were looked at."""
    busy_vms: tuple[int, ...] = ()
    """VMs whose files were under way, so that nothing is said of them."""


class Ledger:
    """What was known at one moment."""

    def __init__(self, state: State) -> None:
        self.vms: Mapping[int, Vm] = dict(state.vms)
        self.images: Mapping[int, Image] = dict(state.images)
        self.datastores: Mapping[int, Datastore] = dict(state.datastores)
        subjects = [(effect.kind.value.split(".")[0], effect.subject) for effect in state.effects.values()]
        self._homes: dict[int, dict[str, list[Vm]]] = {}
        self.busy_vms = frozenset(oid for kind, oid in subjects if kind in ("tm", "vmm"))
        self.busy_images = frozenset(oid for kind, oid in subjects if kind == "image")

    def audit(self, place: Place, found: Iterable[Found]) -> list[Finding]:
        """What is wrong there, as far as was known."""
        datastore = self.datastores.get(place.ds_id)
        if datastore is None:
            return []
        entries = {entry.path: entry for entry in found}
        if datastore.type is DatastoreType.SYSTEM_DS:
            return [*self._strange_vm_files(place, datastore, entries), *self._lost_disks(place, datastore, entries)]
        return [*self._strange_images(place, entries), *self._lost_images(place, entries)]

    def _strange_vm_files(self, place: Place, datastore: Datastore, entries: Mapping[str, Found]) -> Iterator[Finding]:
        for path, entry in entries.items():
            name, _, inner = path.partition("/")
            owner = _owner_of(name)
            vm_id = int(owner) if owner.isdecimal() else -1
            if vm_id in self.busy_vms:
                continue
            if _is_remnant(inner or name):
                yield Finding(*_remnant(place, entry), vm_id=vm_id)
            elif not inner:
                reason = self._no_home(vm_id, place, datastore)
                if reason and not (vm_id < 0 and name.startswith(".")):
                    yield Finding(FindingKind.ORPHAN, place, path, reason, entry.size_bytes, vm_id)
            elif vm_id in self.vms and not self._no_home(vm_id, place, datastore):
                yield from self._strange_disk(place, self.vms[vm_id], inner, entry)

    def _no_home(self, vm_id: int, place: Place, datastore: Datastore) -> str:
        """Why a directory is not where this VM's files are; empty when they are there, or may be."""
        vm = self.vms.get(vm_id)
        if vm is None:
            return "there is no such VM" if vm_id >= 0 else "it is no VM's directory"
        if vm.state is VmState.DONE:
            return "the VM is DONE"
        home = home_of(vm, datastore)
        if vm.position in _UNSETTLED or home is None or (vm.state in (VmState.PENDING, VmState.HOLD)):
            return ""
        ds_id, host = home
        if ds_id != place.ds_id:
            return f"the VM's files are on datastore {ds_id}"
        return "" if host == place.host else f"the VM's files are on {host or 'the front-end'}"

    def _strange_disk(self, place: Place, vm: Vm, name: str, entry: Found) -> Iterator[Finding]:
        match = _DISK.fullmatch(name)
        if match and int(match.group(1)) not in _disk_ids(vm):
            reason = f"the VM has no disk {match.group(1)}"
            yield Finding(FindingKind.ORPHAN, place, entry.path, reason, entry.size_bytes, vm.oid)

    def _lost_disks(self, place: Place, datastore: Datastore, entries: Mapping[str, Found]) -> Iterator[Finding]:
        for vm in self._at_home(datastore).get(place.host, ()):
            if vm.oid in self.busy_vms or vm.position not in _COMPLETE:
                continue
            for path in _needed(vm):
                entry = entries.get(path)
                if entry is None or entry.is_broken_link:
                    reason = "it leads to a file that does not exist" if entry else "it does not exist"
                    yield Finding(FindingKind.MISSING, place, path, reason, vm_id=vm.oid)

    def _at_home(self, datastore: Datastore) -> Mapping[str, list[Vm]]:
        """The VMs whose files are on the datastore, by machine."""
        if datastore.oid not in self._homes:
            homes = self._homes[datastore.oid] = {}
            for vm in self.vms.values():
                home = None if vm.state is VmState.DONE else home_of(vm, datastore)
                if home is not None and home[0] == datastore.oid:
                    homes.setdefault(home[1], []).append(vm)
        return self._homes[datastore.oid]

    def _strange_images(self, place: Place, entries: Mapping[str, Found]) -> Iterator[Finding]:
        known = {image.source: image for image in self.images.values() if image.source}
        for path, entry in entries.items():
            if "/" in path:
                continue
            image = known.get(f"{place.path}/{_image_name(path)}")
            if image is not None and self._is_busy(image):
                continue
            if _is_remnant(path):
                yield Finding(*_remnant(place, entry), image_id=image.oid if image else -1)
            elif image is None and not path.startswith("."):
                yield Finding(FindingKind.ORPHAN, place, path, "there is no such image", entry.size_bytes)

    def _lost_images(self, place: Place, entries: Mapping[str, Found]) -> Iterator[Finding]:
        datastore = self.datastores[place.ds_id]
        for oid in datastore.images:
            image = self.images.get(oid)
            if image is None or image.state not in _WHOLE or self._is_busy(image):
                continue
            name = image.source.removeprefix(f"{place.path}/")
            if name not in entries or entries[name].is_broken_link:
                yield Finding(FindingKind.MISSING, place, name, "it does not exist", image_id=oid)

    def _is_busy(self, image: Image) -> bool:
        """Its own file is made or removed, or a VM that uses it is under way."""
        return image.oid in self.busy_images or not self.busy_vms.isdisjoint(image.vms)


def home_of(vm: Vm, system: Datastore) -> tuple[int, str] | None:
    """The datastore and the machine that a VM's files are on; ``system`` says whether all see the same."""
    if vm.current is None:
        return None
    parked = vm.position in p.PARKED or (
        vm.state in (VmState.PENDING, VmState.HOLD) and vm.is_parked and vm.current.action in _PARKING
    )
    return vm.current.ds_id, FRONTEND if parked or is_seen_by_all(system) else vm.current.hostname


def is_seen_by_all(system: Datastore) -> bool:
    """Whether the controller's mount shows the files of running VMs."""
    return system.tm_mad not in ("ssh", "local")


def is_in_files(datastore: Datastore) -> bool:
    """Whether its contents are files that a look can find."""
    if datastore.type is DatastoreType.SYSTEM_DS:
        return datastore.tm_mad in _IN_FILES
    return datastore.ds_mad == "fs" and datastore.tm_mad != "dummy"


def agreed(before: Iterable[Finding], after: Iterable[Finding]) -> list[Finding]:
    """What both found, in the words of the later one."""
    keys = {finding.key for finding in before}
    return [finding for finding in after if finding.key in keys]


def _needed(vm: Vm) -> Iterator[str]:
    """Paths of the files without which the VM cannot go on."""
    for disk in vm.template.sections("DISK"):
        if disk.get("TYPE", "").upper() != "FILESYSTEM" and disk.get("TM_MAD", "shared") in _IN_FILES:
            yield f"{vm.oid}/disk.{disk.get('DISK_ID', '')}"
    saved = vm.state in (VmState.SUSPENDED, VmState.STOPPED)
    if saved and vm.current is not None and vm.current.vm_mad in ("kvm", "qemu"):
        yield f"{vm.oid}/checkpoint"


def _disk_ids(vm: Vm) -> set[int]:
    sections = (*vm.template.sections("DISK"), vm.template.section("CONTEXT"))
    return {int(section["DISK_ID"]) for section in sections if section.get("DISK_ID", "").isdecimal()}


def _is_remnant(name: str) -> bool:
    return _REMNANT.fullmatch(name) is not None


def _owner_of(name: str) -> str:
    """The directory that a remnant belongs to: ``7`` for ``7.draft.ab`` and ``.7.deleted``."""
    match = _REMNANT.fullmatch(name)
    return match.group("owner") if match else name


def _image_name(name: str) -> str:
    """The image that a file belongs to."""
    return _owner_of(name).removesuffix(".snap").removesuffix(".md5sum")


def _remnant(place: Place, entry: Found) -> tuple[FindingKind, Place, str, str, int]:
    return FindingKind.REMNANT, place, entry.path, "an interrupted step left it", entry.size_bytes
