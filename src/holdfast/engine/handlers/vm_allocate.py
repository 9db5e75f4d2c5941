"""Creates a VM: checks its template, acquires its images, and completes what OpenNebula completes."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import NAMESPACE_OID, UUID, uuid5

from holdfast.engine import commands as c
from holdfast.engine.handlers.names import checked
from holdfast.engine.handlers.vm_disks import DeviceRefused, disks_of_new_vm, nics_of_new_vm
from holdfast.engine.work import Work
from holdfast.model.errors import AllocateError, TemplateError
from holdfast.model.template import Section, Template
from holdfast.model.template_text import parse_any
from holdfast.model.vm import Vm
from holdfast.model.vm_states import LcmState, VmState

_VM_ATTRIBUTES = frozenset(
    "CPU VCPU MEMORY OS DISK NIC GRAPHICS RAW CONTEXT FEATURES CPU_MODEL INPUT VIDEO TOPOLOGY EMULATOR "
    "MEMORY_MAX VCPU_MAX MEMORY_SLOTS MEMORY_RESIZE_MODE CPU_COST MEMORY_COST DISK_COST SUBMIT_ON_HOLD "
    "TEMPLATE_ID".split()
)
"""Attributes that make the machine; all others go to the user template."""
_MAX_CPU = 100_000


def allocate(work: Work, command: c.AllocateVm) -> int:
    """``one.vm.allocate``: a VM in PENDING, in HOLD, or in CLONING while an image of it is still being created."""
    given = parse_any(command.text)
    oid = work.draft.next_id(Vm)
    name = checked(work, Vm, given.get("NAME") or f"one-{oid}")
    _check_capacity(given)
    disks = _disks(work, oid, given)
    waits = any("CLONING" in disk for disk in disks)
    hold = command.hold or given.flag("SUBMIT_ON_HOLD")
    machine = Template((key, value) for key, value in given if key in _VM_ATTRIBUTES and key != "DISK")
    machine = machine.extended(("DISK", disk) for disk in disks).replaced(
        {"VMID": str(oid), "OS": _with_uuid(work, oid, machine.section("OS"))}
    )
    machine = machine.with_sections("NIC", nics_of_new_vm(oid, given.sections("NIC")))
    if waits and hold:
        machine = machine.with_values(SUBMIT_ON_HOLD="YES")
    user = Template((key, value) for key, value in given if key not in _VM_ATTRIBUTES and key != "NAME")
    state = VmState.CLONING if waits else VmState.HOLD if hold else VmState.PENDING
    work.draft.put(
        Vm(oid, work.actor.uid, work.actor.gid, name, state, LcmState.LCM_INIT, machine, user, stime=work.second)
    )
    return oid


def _disks(work: Work, oid: int, given: Template) -> list[dict[str, str]]:
    try:
        return disks_of_new_vm(work, oid, given)
    except DeviceRefused as error:
        raise AllocateError("virtual machine", error.message) from None


def _check_capacity(given: Template) -> None:
    if given.get_int("MEMORY", 0) <= 0:
        raise AllocateError("virtual machine", "MEMORY attribute must be a positive number of MB.")
    if not 0 < given.get_float("CPU", 0) <= _MAX_CPU:
        raise AllocateError(
            "virtual machine", f"CPU attribute must be a positive number up to {_MAX_CPU}, for example 0.5."
        )
    if given.get_int("VCPU", 1) <= 0:
        raise AllocateError("virtual machine", "VCPU attribute must be a positive whole number.")


def _with_uuid(work: Work, oid: int, os: Section) -> Mapping[str, str]:
    """The UUID a VM keeps for life; a function of installation and id, so that replays agree."""
    if "UUID" in os:
        try:
            UUID(os["UUID"])
        except ValueError:
            raise TemplateError(f'OS/UUID must be a UUID, it is "{os["UUID"]}".') from None
        return os
    return {**os, "UUID": str(uuid5(NAMESPACE_OID, f"{work.settings.installation}/vm/{oid}"))}
