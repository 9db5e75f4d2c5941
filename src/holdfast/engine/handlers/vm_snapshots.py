"""Snapshots of whole VMs (memory and disks, kept by the hypervisor) and of single disks (kept beside the disk).

Ids count up for each VM and for each disk; none is given twice, because a snapshot whose creation ended in doubt may
be there all the same.  A disk's snapshots form a tree, of which only leaves that the disk is not based on are deleted.
"""

from __future__ import annotations

import re
from dataclasses import replace

from holdfast.engine import commands as c
from holdfast.engine.handlers import Handlers
from holdfast.engine.handlers.vm_disks import disk_of, is_cdrom
from holdfast.engine.handlers.vm_operations import start, vm_ready_for
from holdfast.engine.work import Work
from holdfast.lifecycle import VmEvent
from holdfast.model.errors import ActionError
from holdfast.model.snapshot import DiskSnapshot, DiskSnapshots
from holdfast.model.template import Section
from holdfast.model.vm import Operation, Vm
from holdfast.model.vm_states import VmState

_MAX_NAME = 128
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")
"""What is not text on one line, or what XML cannot carry."""
_VOLATILE = ("FS", "SWAP")
_LIVE_DRIVERS = ("shared", "qcow2", "ssh", "local")
"""Transfer drivers whose qcow2 disks a running guest can be snapshotted on."""
_HOLLOW_HYPERVISOR = "dummy"


# --- of the whole VM


def create_snapshot(work: Work, command: c.CreateSnapshot) -> int:
    """``one.vm.snapshotcreate``: answers the id."""
    vm = vm_ready_for(work, command.oid, VmEvent.SNAPSHOT_CREATE)
    oid = _next_id(work, vm)
    name = _checked(command.name, f"snapshot-{oid}")
    sizes = (disk.get("SIZE", "") for disk in vm.template.sections("DISK"))
    size_mb = sum(int(size) for size in sizes if size.isdecimal())
    values = {"NAME": name, "TIME": str(work.second), "SYSTEM_DISK_SIZE": str(size_mb)}
    start(work, vm, VmEvent.SNAPSHOT_CREATE, Operation("snapshot-create", oid, values=values))
    return oid


def revert_snapshot(work: Work, command: c.RevertSnapshot) -> int:
    """``one.vm.snapshotrevert``."""
    vm = vm_ready_for(work, command.oid, VmEvent.SNAPSHOT_REVERT)
    values = _snapshot_of(vm, command.snap_id)
    return start(work, vm, VmEvent.SNAPSHOT_REVERT, Operation("snapshot-revert", command.snap_id, values=values)).oid


def delete_snapshot(work: Work, command: c.DeleteSnapshot) -> int:
    """``one.vm.snapshotdelete``."""
    vm = vm_ready_for(work, command.oid, VmEvent.SNAPSHOT_DELETE)
    values = _snapshot_of(vm, command.snap_id)
    return start(work, vm, VmEvent.SNAPSHOT_DELETE, Operation("snapshot-delete", command.snap_id, values=values)).oid


def _snapshot_of(vm: Vm, snap_id: int) -> dict[str, str]:
    """What the hypervisor must know of an existing snapshot; raises ActionError when there is none."""
    snapshots = vm.template.sections("SNAPSHOT")
    for snapshot in snapshots:
        if snapshot.get("SNAPSHOT_ID") == str(snap_id):
            return {"HYPERVISOR_ID": snapshot.get("HYPERVISOR_ID") or f"snap-{snap_id}"}
    known = ", ".join(snapshot.get("SNAPSHOT_ID", "?") for snapshot in snapshots) or "none"
    raise ActionError(f"VM {vm.oid} has no snapshot {snap_id}; its snapshots: {known}.", vm.oid)


def _next_id(work: Work, vm: Vm) -> int:
    """The next id of a snapshot of this VM; a refused command gives its id back, a failed snapshot does not."""
    counter = f"Snapshot/{vm.oid}"
    oid = work.draft.counter(counter)
    work.draft.counters[counter] = oid + 1
    return oid


# --- of a disk


def create_disk_snapshot(work: Work, command: c.CreateDiskSnapshot) -> int:
    """``one.vm.disksnapshotcreate``: answers the id."""
    vm = vm_ready_for(work, command.oid, VmEvent.DISK_SNAPSHOT_CREATE)
    disk = disk_of(vm, command.disk_id)
    _insist_on_snapshots(vm, disk)
    oid = vm.snapshots_of(command.disk_id).next_oid
    values = {
        "NAME": _checked(command.name, ""),
        "SIZE": disk.get("SIZE", "0"),
        "DATE": str(work.second),
    }
    operation = Operation("disk-snapshot-create", oid, command.disk_id, values)
    start(work, vm, VmEvent.DISK_SNAPSHOT_CREATE, operation)
    return oid


def _insist_on_snapshots(vm: Vm, disk: Section) -> None:
    """Only what is written to and can be layered has snapshots."""
    disk_id, form = disk.get("DISK_ID", "?"), disk.get("FORMAT", "").lower()
    if disk.get("TYPE", "").upper() in _VOLATILE:
        raise ActionError(f"Disk {disk_id} of VM {vm.oid} is volatile: only disks of images have snapshots.", vm.oid)
    if is_cdrom(disk) or disk.get("READONLY", "").upper() == "YES":
        raise ActionError(f"Disk {disk_id} of VM {vm.oid} is read-only: there is nothing to snapshot.", vm.oid)
    hollow = vm.current is not None and vm.current.vm_mad == _HOLLOW_HYPERVISOR
    if vm.state is not VmState.ACTIVE or hollow:
        return
    if disk.get("TM_MAD") not in _LIVE_DRIVERS or form != "qcow2":
        raise ActionError(
            f"Disk {disk_id} of VM {vm.oid} (TM_MAD {disk.get('TM_MAD', '-')}, format {form or 'unknown'}) has no "
            f"snapshots while the VM runs, only qcow2 disks of {', '.join(_LIVE_DRIVERS)} datastores have: "
            f"power it off or suspend it first.",
            vm.oid,
        )


def revert_disk_snapshot(work: Work, command: c.RevertDiskSnapshot) -> int:
    """``one.vm.disksnapshotrevert``: what was written since is lost."""
    vm = vm_ready_for(work, command.oid, VmEvent.DISK_SNAPSHOT_REVERT)
    _disk_snapshot_of(vm, command.disk_id, command.snap_id)
    operation = Operation("disk-snapshot-revert", command.snap_id, command.disk_id)
    return start(work, vm, VmEvent.DISK_SNAPSHOT_REVERT, operation).oid


def delete_disk_snapshot(work: Work, command: c.DeleteDiskSnapshot) -> int:
    """``one.vm.disksnapshotdelete``."""
    vm = vm_ready_for(work, command.oid, VmEvent.DISK_SNAPSHOT_DELETE)
    tree, snapshot = _disk_snapshot_of(vm, command.disk_id, command.snap_id)
    what = f"Snapshot {snapshot.oid} of disk {command.disk_id} of VM {vm.oid}"
    children = tree.children_of(snapshot.oid)
    if children:
        named = ", ".join(map(str, children))
        raise ActionError(f"{what} has children ({named}): delete them first.", vm.oid)
    if snapshot.active or tree.current_base == snapshot.oid:
        raise ActionError(
            f"{what} is the active one, the disk is based on it: revert to another snapshot first "
            f"(onevm disk-snapshot-revert).",
            vm.oid,
        )
    operation = Operation("disk-snapshot-delete", snapshot.oid, command.disk_id)
    return start(work, vm, VmEvent.DISK_SNAPSHOT_DELETE, operation).oid


def rename_disk_snapshot(work: Work, command: c.RenameDiskSnapshot) -> int:
    """``one.vm.disksnapshotrename``, in any state."""
    vm = work.get(Vm, command.oid)
    tree, snapshot = _disk_snapshot_of(vm, command.disk_id, command.snap_id)
    renamed = replace(snapshot, name=_checked(command.name, snapshot.name))
    snapshots = tuple(renamed if each is snapshot else each for each in tree.snapshots)
    trees = tuple(replace(tree, snapshots=snapshots) if each is tree else each for each in vm.snapshots)
    work.draft.put(replace(vm, snapshots=trees))
    return vm.oid


def _disk_snapshot_of(vm: Vm, disk_id: int, snap_id: int) -> tuple[DiskSnapshots, DiskSnapshot]:
    disk_of(vm, disk_id)
    tree = vm.snapshots_of(disk_id)
    snapshot = tree.find(snap_id)
    if snapshot is None:
        known = ", ".join(str(each.oid) for each in tree.snapshots) or "none"
        raise ActionError(f"Disk {disk_id} of VM {vm.oid} has no snapshot {snap_id}; its snapshots: {known}.", vm.oid)
    return tree, snapshot


def _checked(name: str, default: str) -> str:
    """The name on one line, ``default`` when it is empty; raises ActionError."""
    if len(name) > _MAX_NAME:
        raise ActionError(
            f"The snapshot's name has {len(name)} characters, at most {_MAX_NAME} are allowed: choose a shorter one."
        )
    odd = _CONTROL.search(name)
    if odd:
        raise ActionError(
            f"The snapshot's name holds the control character {odd.group()!r} at position {odd.start() + 1}, it must "
            f"be one line of text: leave that character out."
        )
    return name.strip() or default


HANDLERS: Handlers = {
    c.CreateSnapshot: create_snapshot,
    c.RevertSnapshot: revert_snapshot,
    c.DeleteSnapshot: delete_snapshot,
    c.CreateDiskSnapshot: create_disk_snapshot,
    c.RevertDiskSnapshot: revert_disk_snapshot,
    c.DeleteDiskSnapshot: delete_disk_snapshot,
    c.RenameDiskSnapshot: rename_disk_snapshot,
}
