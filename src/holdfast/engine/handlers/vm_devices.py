"""Disks and NICs are attached to VMs and detached from them, while these run or while they are off."""

from __future__ import annotations

from holdfast.engine import commands as c
from holdfast.engine.handlers import Handlers
from holdfast.engine.handlers.vm_disks import disk_of, is_cdrom, one_more_disk, one_more_nic
from holdfast.engine.handlers.vm_operations import start, the_only, vm_ready_for
from holdfast.engine.host_space import insist_on_growth
from holdfast.engine.space import needed_for_disk_mb
from holdfast.engine.transfer_modes import one_more
from holdfast.engine.work import Work
from holdfast.lifecycle import VmEvent
from holdfast.model.errors import ActionError
from holdfast.model.template import Section
from holdfast.model.vm import Operation, Vm
from holdfast.model.vm_states import VmState


def attach_disk(work: Work, command: c.AttachDisk) -> int:
    """``one.vm.attach``: the disk's image is acquired now, and released if the attachment fails."""
    vm = vm_ready_for(work, command.oid, VmEvent.DISK_ATTACH)
    disk = one_more(work, vm, one_more_disk(work, vm, the_only(command.text, "DISK")))
    _refuse_cdrom_while_running(vm, disk, "attached")
    insist_on_growth(work, vm, needed_for_disk_mb(Section(disk)))
    disk_id = int(disk["DISK_ID"])
    return start(work, vm, VmEvent.DISK_ATTACH, Operation("disk-attach", disk_id, disk_id, disk)).oid


def detach_disk(work: Work, command: c.DetachDisk) -> int:
    """``one.vm.detach``."""
    vm = vm_ready_for(work, command.oid, VmEvent.DISK_DETACH)
    disk = disk_of(vm, command.disk_id)
    _refuse_cdrom_while_running(vm, disk, "detached")
    snapshots = vm.snapshots_of(command.disk_id).snapshots
    if snapshots:
        named = ", ".join(str(snapshot.oid) for snapshot in snapshots)
        raise ActionError(
            f"Disk {command.disk_id} of VM {vm.oid} has snapshots ({named}) and cannot be detached with them: delete "
            f"them first (onevm disk-snapshot-delete).",
            vm.oid,
        )
    operation = Operation("disk-detach", command.disk_id, command.disk_id)
    return start(work, vm, VmEvent.DISK_DETACH, operation).oid


def _refuse_cdrom_while_running(vm: Vm, disk: Section, what: str) -> None:
    if vm.state is VmState.ACTIVE and is_cdrom(disk):
        raise ActionError(
            f"A CD-ROM drive cannot be {what} while VM {vm.oid} runs: power it off first (onevm poweroff {vm.oid}).",
            vm.oid,
        )


def attach_nic(work: Work, command: c.AttachNic) -> int:
    """``one.vm.attachnic``."""
    vm = vm_ready_for(work, command.oid, VmEvent.NIC_ATTACH)
    nic = one_more_nic(vm, the_only(command.text, "NIC"))
    return start(work, vm, VmEvent.NIC_ATTACH, Operation("nic-attach", int(nic["NIC_ID"]), values=nic)).oid


def detach_nic(work: Work, command: c.DetachNic) -> int:
    """``one.vm.detachnic``."""
    vm = vm_ready_for(work, command.oid, VmEvent.NIC_DETACH)
    known = [nic.get("NIC_ID", "?") for nic in vm.template.sections("NIC")]
    if str(command.nic_id) not in known:
        raise ActionError(f"VM {vm.oid} has no NIC {command.nic_id}; its NICs: {', '.join(known) or 'none'}.", vm.oid)
    return start(work, vm, VmEvent.NIC_DETACH, Operation("nic-detach", command.nic_id)).oid


HANDLERS: Handlers = {
    c.AttachDisk: attach_disk,
    c.DetachDisk: detach_disk,
    c.AttachNic: attach_nic,
    c.DetachNic: detach_nic,
}
