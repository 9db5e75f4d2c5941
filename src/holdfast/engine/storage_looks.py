"""What looks at datastores' directories found, and whether a VM's files are where they belong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from holdfast.lifecycle import positions as p
from holdfast.model.enums import HistoryAction
from holdfast.model.storage import Datastore
from holdfast.model.vm import Vm
from holdfast.model.vm_states import VmState

FRONTEND = ""
"""The place of files that are on the controller's own mount."""
IN_FILES = ("shared", "qcow2", "ssh", "local")
"""The transfer drivers whose disks are files in the VM's directory."""

_PARKING = (HistoryAction.STOP, HistoryAction.UNDEPLOY, HistoryAction.UNDEPLOY_HARD)


@dataclass(frozen=True, slots=True)
class Found:
    """One entry of a datastore's directory; ``path`` is relative to it, ``inode`` 0 when it is not known."""

    path: str
    size_bytes: int = 0
    is_directory: bool = False
    is_broken_link: bool = False
    inode: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """A datastore's directory on one machine: a host, or the controller itself (FRONTEND)."""

    ds_id: int
    host: str
    path: str


Entries = Mapping[str, Found]
"""What a place holds, by path."""


class Looks:
    """What several places hold."""

    def __init__(self, looks: Iterable[tuple[Place, Sequence[Found]]] = ()) -> None:
        self._entries = {
            (place.ds_id, place.host): {entry.path: entry for entry in entries} for place, entries in looks
        }

    def at(self, ds_id: int, host: str) -> Entries | None:
        """What is there; None when nobody could look."""
        return self._entries.get((ds_id, host))


def home_of(vm: Vm, system: Datastore, frontend: str = FRONTEND) -> tuple[int, str] | None:
    """The datastore and the machine that a VM's files are on; ``system`` says whether all see the same.

    ``frontend`` is the name under which the controller's own machine is a host.
    """
    if vm.current is None:
        return None
    parked = vm.position in p.PARKED or (
        vm.state in (VmState.PENDING, VmState.HOLD) and vm.is_parked and vm.current.action in _PARKING
    )
    is_here = parked or is_seen_by_all(system) or vm.current.hostname == frontend
    return vm.current.ds_id, FRONTEND if is_here else vm.current.hostname


def is_seen_by_all(system: Datastore) -> bool:
    """Whether the controller's mount shows the files of running VMs."""
    return system.tm_mad not in ("ssh", "local")


def needed(vm: Vm) -> Iterator[str]:
    """Paths of the files without which the VM cannot go on."""
    for disk in vm.template.sections("DISK"):
        if disk.get("TYPE", "").upper() != "FILESYSTEM" and disk.get("TM_MAD", "shared") in IN_FILES:
            yield f"{vm.oid}/disk.{disk.get('DISK_ID', '')}"
    saved = vm.state in (VmState.SUSPENDED, VmState.STOPPED)
    if saved and vm.current is not None and vm.current.vm_mad in ("kvm", "qemu"):
        yield f"{vm.oid}/checkpoint"


def is_whole(vm: Vm, entries: Entries) -> bool:
    """All that the VM needs is there."""
    paths = (str(vm.oid), *needed(vm))
    return all(path in entries and not entries[path].is_broken_link for path in paths)


def is_same(vm: Vm, one: Entries, other: Entries) -> bool:
    """Both are the VM's one directory, seen over two mounts: the numbers of its files are the same."""
    pairs = [(one.get(path), other.get(path)) for path in (str(vm.oid), *needed(vm))]
    return all(mine and theirs and mine.inode and mine.inode == theirs.inode for mine, theirs in pairs)
