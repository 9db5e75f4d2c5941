"""Creates a VM: checks its template, acquires its images, and completes what OpenNebula completes."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import NAMESPACE_OID, UUID, uuid5

from holdfast.engine import commands as c
from holdfast.engine.handlers.device_rules import DeviceRefused
from holdfast.engine.handlers.file_references import with_kernels
from holdfast.engine.handlers.names import checked
from holdfast.engine.handlers.sizes import LIMITS, amount
from holdfast.engine.handlers.vm_context import context_of_new_vm
from holdfast.engine.handlers.vm_disks import disks_of_new_vm, nics_of_new_vm
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


def allocate(work: Work, command: c.AllocateVm) -> int:
    """``one.vm.allocate``: a VM in PENDING, in HOLD, or in CLONING while an image of it is still being created."""
    given = parse_any(command.text)
    oid = work.draft.next_id(Vm)
    name = checked(work, Vm, given.get("NAME") or f"one-{oid}")
    _check_capacity(given)
    disks, nics = _devices(work, oid, given)
    waits = any("CLONING" in disk for disk in disks)
    hold = command.hold or given.flag("SUBMIT_ON_HOLD")
    machine = Template((key, value) for key, value in given if key in _VM_ATTRIBUTES and key != "DISK")
    machine = machine.extended(("DISK", disk) for disk in disks).replaced(
        {"VMID": str(oid), "OS": _with_uuid(work, oid, with_kernels(work, machine.section("OS")))}
    )
    machine = machine.with_sections("NIC", nics)
    context = _context(work, oid, name, given, disks)
    if context:
        machine = machine.with_sections("CONTEXT", [context])
    if waits and hold:
        machine = machine.with_values(SUBMIT_ON_HOLD="YES")
    user = Template((key, value) for key, value in given if key not in _VM_ATTRIBUTES and key != "NAME")
    state = VmState.CLONING if waits else VmState.HOLD if hold else VmState.PENDING
    work.draft.put(
        Vm(oid, work.actor.uid, work.actor.gid, name, state, LcmState.LCM_INIT, machine, user, stime=work.second)
    )
    return oid


def _devices(work: Work, oid: int, given: Template) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Disks and NICs."""
    try:
        return disks_of_new_vm(work, oid, given), nics_of_new_vm(oid, given.sections("NIC"))
    except DeviceRefused as error:
        raise AllocateError("virtual machine", error.message) from None


def _context(work: Work, oid: int, name: str, given: Template, disks: list[dict[str, str]]) -> Mapping[str, str] | None:
    try:
        return context_of_new_vm(work, oid, name, given, disks)
    except DeviceRefused as error:
        raise AllocateError("virtual machine", error.message) from None


def _check_capacity(given: Template) -> None:
    problem = _trouble_with_capacity(given)
    if problem:
        raise AllocateError("virtual machine", problem)


def _trouble_with_capacity(given: Template) -> str:
    try:
        sizes = {name: amount(given, name, " attribute") for name in LIMITS}
    except TemplateError as error:
        return error.message
    if not sizes["MEMORY"]:
        return "MEMORY attribute must be a positive number of MB."
    if not sizes["CPU"]:
        return f"CPU attribute must be a positive number up to {LIMITS['CPU'].most}, for example 0.5."
    for name in ("VCPU", "VCPU_MAX"):
        if given.get(name) and not sizes[name]:
            return f"{name} attribute must be a positive whole number; correct it, or leave it out."
    if 0 < sizes["VCPU_MAX"] < (sizes["VCPU"] or 1):
        return f"VCPU_MAX attribute is {sizes['VCPU_MAX']}, it must not be less than VCPU, which is {sizes['VCPU']}."
    return ""


def _with_uuid(work: Work, oid: int, os: Section) -> Mapping[str, str]:
    """The UUID a VM keeps for life; a function of installation and id, so that replays agree."""
    if "UUID" in os:
        try:
            UUID(os["UUID"])
        except ValueError:
            raise TemplateError(f'OS/UUID must be a UUID, it is "{os["UUID"]}".') from None
        return os
    return {**os, "UUID": str(uuid5(NAMESPACE_OID, f"{work.settings.installation}/vm/{oid}"))}
