"""Disks grow, and VMs get another size: CPU, VCPU and MEMORY.

A running VM is resized by its hypervisor within what its domain was started with (VCPU_MAX, MEMORY_MAX); one that does
not run has only its record changed, and these limits grow with it.  Where the VM holds capacity of a host, the host
counts the new size from the moment it is asked for.
"""

from __future__ import annotations

from dataclasses import replace

from holdfast.engine import commands as c
from holdfast.engine.handlers import Handlers
from holdfast.engine.handlers.sizes import MAX_MB, amount, shown, whole_number
from holdfast.engine.handlers.vm_disks import disk_of, is_cdrom
from holdfast.engine.handlers.vm_operations import start, unavailable, vm_ready_for
from holdfast.engine.host_space import insist_on_growth
from holdfast.engine.space import insist_on_space, is_written_there
from holdfast.engine.work import Work
from holdfast.lifecycle import VmEvent, operations
from holdfast.lifecycle.decide import is_available
from holdfast.lifecycle.operations import SIZES
from holdfast.model.errors import ActionError
from holdfast.model.host import Host
from holdfast.model.storage import Datastore
from holdfast.model.template import Section, Template
from holdfast.model.template_text import parse_any
from holdfast.model.vm import Operation, Vm
from holdfast.model.vm_states import VmState

_ON_RECORD = (
    VmState.INIT,
    VmState.PENDING,
    VmState.HOLD,
    VmState.CLONING,
    VmState.CLONING_FAILURE,
    VmState.POWEROFF,
    VmState.UNDEPLOYED,
)
"""States in which there is no domain that would have to be resized."""
_LIMITS = {"VCPU": "VCPU_MAX", "MEMORY": "MEMORY_MAX"}


def resize_disk(work: Work, command: c.ResizeDisk) -> int:
    """``one.vm.diskresize``: the new size in MB, larger than the old one."""
    vm = vm_ready_for(work, command.oid, VmEvent.DISK_RESIZE)
    size = whole_number(command.size.strip(), MAX_MB)
    if size is None:
        raise ActionError(
            f"The new SIZE of a disk must be a whole number of MB, it is {shown(command.size)}; the most is {MAX_MB}.",
            vm.oid,
        )
    disk = disk_of(vm, command.disk_id)
    if is_cdrom(disk):
        raise ActionError(f"Disk {command.disk_id} of VM {vm.oid} is a CD-ROM: its size is that of its image.", vm.oid)
    old = disk.get("SIZE", "0")
    if size <= int(old):
        raise ActionError(
            f"New disk size has to be greater than current one: disk {command.disk_id} of VM {vm.oid} has {old} MB, "
            f"{size} MB were asked for, and a disk does not shrink.",
            vm.oid,
        )
    _insist_on_disk_room(work, vm, disk, size - int(old))
    values = {"SIZE": str(size), "OLD_SIZE": old}
    operation = Operation("disk-resize", command.disk_id, command.disk_id, values)
    return start(work, vm, VmEvent.DISK_RESIZE, operation).oid


def _insist_on_disk_room(work: Work, vm: Vm, disk: Section, more_mb: int) -> None:
    """The datastore that the disk's contents lie on has what it grows by."""
    image_datastore = work.find(Datastore, int(disk.get("DATASTORE_ID") or -1))
    if is_written_there(disk) or image_datastore is None:
        insist_on_growth(work, vm, more_mb)
    else:
        insist_on_space(work, image_datastore, more_mb, f"the image of disk {disk['DISK_ID']} of VM {vm.oid}")


def resize_vm(work: Work, command: c.ResizeVm) -> int:
    """``one.vm.resize``: what is not given, or 0, stays."""
    vm = work.get(Vm, command.oid)
    if not is_available(vm, VmEvent.RESIZE) and vm.state not in _ON_RECORD:
        raise unavailable(vm, VmEvent.RESIZE)
    operation = _operation(vm, parse_any(command.text))
    after = operations.begin(vm, operation)
    if all(after.template.get(name) == vm.template.get(name) for name in SIZES):
        return vm.oid
    if command.enforce:
        _insist_on_room(work, vm, after)
    if vm.state in _ON_RECORD:
        _change_record(work, vm, operations.complete(after, {}))
    else:
        _insist_on_limits(vm, operation)
        start(work, vm, VmEvent.RESIZE, operation)
    return vm.oid


def _operation(vm: Vm, given: Template) -> Operation:
    """The new size and the old one; raises TemplateError naming the attribute and the rule."""
    sizes = {name: amount(given, name) for name in SIZES}
    wanted = {name: f"{size:.15g}" for name, size in sizes.items() if size}
    if _is_pinned(vm):
        _refuse_pinned_while_running(vm)
        wanted = {**wanted, "CPU": wanted.get("VCPU") or vm.template.get("CPU")}
    old = {name: vm.template.get(name) for name in SIZES}
    return Operation("resize", values={**old, **wanted, **{f"OLD_{name}": value for name, value in old.items()}})


def _is_pinned(vm: Vm) -> bool:
    return vm.template.section("TOPOLOGY").get("PIN_POLICY", "NONE").upper() not in ("", "NONE")


def _refuse_pinned_while_running(vm: Vm) -> None:
    if vm.state is VmState.ACTIVE:
        raise ActionError(
            f"Cannot resize a pinned VM while it runs: power VM {vm.oid} off first (onevm poweroff {vm.oid}).", vm.oid
        )


def _insist_on_room(work: Work, vm: Vm, after: Vm) -> None:
    """The host that the VM is on has what it grows by."""
    host = work.find(Host, vm.hid)
    if host is None or vm.oid not in host.vms:
        return
    more_cpu, more_kb = after.cpu_percent - vm.cpu_percent, after.memory_kb - vm.memory_kb
    if max(more_cpu, 0) > max(host.free_cpu, 0) or max(more_kb, 0) > max(host.free_mem, 0):
        raise ActionError(
            f"Not enough capacity on host {host.oid} ({host.name}) for VM {vm.oid}: it grows by {more_cpu / 100:g} CPU "
            f"and {more_kb // 1024} MB, {host.free_cpu / 100:g} CPU and {host.free_mem // 1024} MB are free. "
            f"Move it first, or resize it without enforce.",
            vm.oid,
        )


def _insist_on_limits(vm: Vm, operation: Operation) -> None:
    """A domain grows no further than it was started for."""
    for name, limit in _LIMITS.items():
        new = int(operation.values.get(name) or 1)
        old = int(operation.values.get(f"OLD_{name}") or 1)
        most = max(vm.template.get_int(limit, 0), old)
        if new > most:
            raise ActionError(
                f"VM {vm.oid} runs and was started for at most {most} {_unit(name)} ({limit}): it cannot get {new} "
                f"now. Power it off, resize it and resume it.",
                vm.oid,
            )


def _unit(name: str) -> str:
    return "MB of MEMORY" if name == "MEMORY" else name


def _change_record(work: Work, before: Vm, after: Vm) -> None:
    """The record and the host's share change; limits that the new size exceeds go along."""
    raised = {
        limit: after.template.get(name)
        for name, limit in _LIMITS.items()
        if 0 < before.template.get_int(limit, 0) < after.template.get_int(name, 0)
    }
    resized = replace(after, template=after.template.replaced(raised))
    work.draft.put(resized)
    work.resize_capacity(before.hid, before, resized)


HANDLERS: Handlers = {
    c.ResizeDisk: resize_disk,
    c.ResizeVm: resize_vm,
}
