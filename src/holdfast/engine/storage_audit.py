"""Compares what lies on storage with what should: orphans, remnants and missing files.  Pure; knows no file system.

Nothing is held still while somebody looks, so a finding counts only if it holds for what was known before the look
*and* for what was known after it.  Whatever somebody works on (an open effect) is left out: a transfer in progress has
files that nobody knows yet, and lacks files that will be there.

A directory is nobody's only if it belongs to no VM that lives: a VM's files at the wrong place may be all that is left
of it, or the right ones seen over a second mount.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from holdfast.engine.state import State
from holdfast.engine.storage_looks import (
    FRONTEND,
    IN_FILES,
    Entries,
    Found,
    Looks,
    Place,
    home_of,
    is_same,
    is_whole,
    needed,
)
from holdfast.lifecycle import positions as p
from holdfast.model.enums import DatastoreType, ImageState
from holdfast.model.storage import Datastore, Image
from holdfast.model.vm import Vm
from holdfast.model.vm_states import VmState

_REMNANT = re.compile(
    r"\.?(?P<owner>.+?)(\.snap)?"
    r"(\.draft\.[0-9a-f]+|(?<=checkpoint)\.draft|\.moved|\.deleted|\.arriving|\.looked-for\..+)"
)
_SET_ASIDE = ".moved"
_DISK = re.compile(r"disk\.(\d+)(\.snap)?")
_COMPLETE = (p.RUNNING, p.UNKNOWN, p.POWEROFF, p.SUSPENDED, *p.PARKED, *p.BOOT_FAILURES)
"""Where all of a VM's files must be there."""
_UNSETTLED = (*p.FAILURES, *p.FILES_ON_THE_WAY)
"""Where a VM may have files in two places."""
_WHOLE = (ImageState.READY, ImageState.USED, ImageState.USED_PERS, ImageState.DISABLED, ImageState.CLONE)


class FindingKind(Enum):
    """What is wrong."""

    ORPHAN = "ORPHAN"
    """A file that belongs to nobody."""
    STRAY = "STRAY"
    """A VM's files where it has none: an old copy, or the last one."""
    REMNANT = "REMNANT"
    """What an interrupted step left behind."""
    MISSING = "MISSING"
    """A file that somebody needs is not there."""


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
    """What was known at one moment.  ``frontend`` is the name under which the controller's machine is a host."""

    def __init__(self, state: State, frontend: str = FRONTEND) -> None:
        self._frontend = frontend
        self.vms: Mapping[int, Vm] = dict(state.vms)
        self.images: Mapping[int, Image] = dict(state.images)
        self.datastores: Mapping[int, Datastore] = dict(state.datastores)
        subjects = [(effect.kind.value.split(".")[0], effect.subject) for effect in state.effects.values()]
        self._living = {oid: vm for oid, vm in self.vms.items() if vm.state is not VmState.DONE}
        self._homes: dict[int, dict[str, list[Vm]]] = {}
        self.busy_vms = frozenset(oid for kind, oid in subjects if kind in ("tm", "vmm"))
        self.busy_images = frozenset(oid for kind, oid in subjects if kind == "image")

    def audit(self, place: Place, found: Iterable[Found], looks: Looks | None = None) -> list[Finding]:
        """What is wrong there, as far as was known; ``looks`` are those at all places."""
        datastore = self.datastores.get(place.ds_id)
        if datastore is None:
            return []
        entries = {entry.path: entry for entry in found}
        if datastore.type is DatastoreType.SYSTEM_DS:
            strange = self._strange_vm_files(place, datastore, entries, looks or Looks())
            return [*strange, *self._lost_disks(place, datastore, entries)]
        return [*self._strange_images(place, entries), *self._lost_images(place, entries)]

    def _strange_vm_files(
        self, place: Place, datastore: Datastore, entries: Entries, looks: Looks
    ) -> Iterator[Finding]:
        for path, entry in entries.items():
            name, _, inner = path.partition("/")
            owner = _owner_of(name)
            vm_id = int(owner) if owner.isdecimal() else -1
            if vm_id in self.busy_vms:
                continue
            if not inner and name.endswith(_SET_ASIDE) and vm_id in self._living:
                yield self._set_aside(place, datastore, entry, vm_id, looks)
            elif _is_remnant(inner or name):
                yield Finding(*_remnant(place, entry), vm_id=vm_id)
            elif not inner:
                yield from self._strange_directory(place, datastore, entries, entry, vm_id, looks)
            elif vm_id in self._living and self._is_home(self.vms[vm_id], place, datastore):
                yield from self._strange_disk(place, self.vms[vm_id], inner, entry)

    def _strange_directory(
        self, place: Place, datastore: Datastore, entries: Entries, entry: Found, vm_id: int, looks: Looks
    ) -> Iterator[Finding]:
        """A directory where the VM's files are not: nobody's, or a copy that one had better look at."""
        vm = self._living.get(vm_id)
        if vm is None:
            reason = "it is no VM's directory" if vm_id < 0 else "there is no such VM"
            reason = "the VM is DONE" if vm_id in self.vms else reason
            if not (vm_id < 0 and entry.path.startswith(".")):
                yield Finding(FindingKind.ORPHAN, place, entry.path, reason, entry.size_bytes, vm_id)
        elif not self._is_home(vm, place, datastore):
            at_home = self._seen_at_home(vm, datastore, looks)
            if at_home is None or not is_same(vm, entries, at_home):
                reason = self._about_home(vm, datastore, looks)
                yield Finding(FindingKind.STRAY, place, entry.path, reason, entry.size_bytes, vm_id)

    def _set_aside(self, place: Place, datastore: Datastore, entry: Found, vm_id: int, looks: Looks) -> Finding:
        """What a move has copied: nothing but a remnant, if the copy is there."""
        vm = self.vms[vm_id]
        at_home = self._seen_at_home(vm, datastore, looks)
        if vm.position not in _UNSETTLED and at_home is not None and is_whole(vm, at_home):
            return Finding(*_remnant(place, entry), vm_id=vm_id)
        reason = "a move set it aside and has not ended: it may be the last copy of the VM's files"
        return Finding(FindingKind.STRAY, place, entry.path, reason, entry.size_bytes, vm_id)

    def _is_home(self, vm: Vm, place: Place, datastore: Datastore) -> bool:
        """The VM's files are there, or may be."""
        home = home_of(vm, datastore, self._frontend)
        if vm.position in _UNSETTLED or home is None or vm.state in (VmState.PENDING, VmState.HOLD):
            return True
        return home == (place.ds_id, place.host)

    def _seen_at_home(self, vm: Vm, datastore: Datastore, looks: Looks) -> Entries | None:
        home = self._home_of(vm, datastore)
        return looks.at(*home) if home else None

    def _home_of(self, vm: Vm, looked_at: Datastore) -> tuple[int, str] | None:
        own = self.datastores.get(vm.current.ds_id, looked_at) if vm.current else looked_at
        return home_of(vm, own, self._frontend)

    def _about_home(self, vm: Vm, datastore: Datastore, looks: Looks) -> str:
        ds_id, host = self._home_of(vm, datastore) or (datastore.oid, FRONTEND)
        where = f"datastore {ds_id}" if ds_id != datastore.oid else host or "the front-end"
        at_home = looks.at(ds_id, host)
        if at_home is None:
            return f"the VM's files belong on {where}, where nobody could look: this may be the last copy"
        if not is_whole(vm, at_home):
            return f"the VM's files belong on {where} and are not all there: this may be the last copy"
        return f"the VM's files are on {where}: this is an old copy, or the same storage seen from here"

    def _strange_disk(self, place: Place, vm: Vm, name: str, entry: Found) -> Iterator[Finding]:
        match = _DISK.fullmatch(name)
        if match and int(match.group(1)) not in _disk_ids(vm):
            reason = f"the VM has no disk {match.group(1)}"
            yield Finding(FindingKind.ORPHAN, place, entry.path, reason, entry.size_bytes, vm.oid)

    def _lost_disks(self, place: Place, datastore: Datastore, entries: Entries) -> Iterator[Finding]:
        for vm in self._at_home(datastore).get(place.host, ()):
            if vm.oid in self.busy_vms or vm.position not in _COMPLETE:
                continue
            for path in needed(vm):
                entry = entries.get(path)
                if entry is None or entry.is_broken_link:
                    reason = "it leads to a file that does not exist" if entry else "it does not exist"
                    yield Finding(FindingKind.MISSING, place, path, reason, vm_id=vm.oid)

    def _at_home(self, datastore: Datastore) -> Mapping[str, list[Vm]]:
        """The VMs whose files are on the datastore, by machine."""
        if datastore.oid not in self._homes:
            homes = self._homes[datastore.oid] = {}
            for vm in self.vms.values():
                home = None if vm.state is VmState.DONE else home_of(vm, datastore, self._frontend)
                if home is not None and home[0] == datastore.oid:
                    homes.setdefault(home[1], []).append(vm)
        return self._homes[datastore.oid]

    def _strange_images(self, place: Place, entries: Entries) -> Iterator[Finding]:
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

    def _lost_images(self, place: Place, entries: Entries) -> Iterator[Finding]:
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


def is_in_files(datastore: Datastore) -> bool:
    """Whether its contents are files that a look can find."""
    if datastore.type is DatastoreType.SYSTEM_DS:
        return datastore.tm_mad in IN_FILES
    return datastore.ds_mad == "fs" and datastore.tm_mad != "dummy"


def agreed(before: Iterable[Finding], after: Iterable[Finding]) -> list[Finding]:
    """What both found, in the words of the later one."""
    keys = {finding.key for finding in before}
    return [finding for finding in after if finding.key in keys]


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
