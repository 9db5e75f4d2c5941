"""Creates a VM: checks its template, acquires its images, and completes what OpenNebula completes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import NAMESPACE_OID, UUID, uuid5

from holdfast.engine import commands as c
from holdfast.engine.handlers.names import checked
from holdfast.engine.image_work import acquire
from holdfast.engine.work import Work
from holdfast.model.enums import ImageType
from holdfast.model.errors import AllocateError, TemplateError
from holdfast.model.storage import Datastore, Image
from holdfast.model.template import Section, Template
from holdfast.model.template_text import parse_any
from holdfast.model.vm import Vm
from holdfast.model.vm_states import LcmState, VmState

_VM_ATTRIBUTES = frozenset(
    "CPU VCPU MEMORY OS DISK NIC GRAPHICS RAW CONTEXT FEATURES CPU_MODEL INPUT VIDEO TOPOLOGY EMULATOR "
    "MEMORY_MAX VCPU_MAX MEMORY_SLOTS CPU_COST MEMORY_COST DISK_COST SUBMIT_ON_HOLD TEMPLATE_ID".split()
)
"""Attributes that make the machine; all others go to the user template."""
_MAX_CPU = 100_000
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def allocate(work: Work, command: c.AllocateVm) -> int:
    """``one.vm.allocate``: a VM in PENDING, or in HOLD."""
    given = parse_any(command.text)
    oid = work.draft.next_id(Vm)
    name = checked(work, Vm, given.get("NAME") or f"one-{oid}")
    _check_capacity(given)
    disks = _disks(work, oid, given)
    machine = Template((key, value) for key, value in given if key in _VM_ATTRIBUTES and key != "DISK")
    machine = machine.extended(("DISK", disk) for disk in disks).replaced(
        {"VMID": str(oid), "OS": _with_uuid(work, oid, machine.section("OS"))}
    )
    machine = machine.with_sections("NIC", _nics(oid, given.sections("NIC")))
    user = Template((key, value) for key, value in given if key not in _VM_ATTRIBUTES and key != "NAME")
    hold = command.hold or given.flag("SUBMIT_ON_HOLD")
    state = VmState.HOLD if hold else VmState.PENDING
    work.draft.put(
        Vm(oid, work.actor.uid, work.actor.gid, name, state, LcmState.LCM_INIT, machine, user, stime=work.second)
    )
    return oid


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


def _nics(oid: int, nics: Iterable[Section]) -> list[dict[str, str]]:
    """Each NIC with its id, target and a MAC that no other VM has."""
    return [
        {
            **nic,
            "NIC_ID": str(nic_id),
            "TARGET": nic.get("TARGET") or f"one-{oid}-{nic_id}",
            "MAC": nic.get("MAC")
            or f"02:00:{oid >> 16 & 255:02x}:{oid >> 8 & 255:02x}:{oid & 255:02x}:{nic_id & 255:02x}",
        }
        for nic_id, nic in enumerate(nics)
    ]


def _disks(work: Work, oid: int, given: Template) -> list[Mapping[str, str]]:
    prefix = given.get("DEFAULT_DEVICE_PREFIX") or "sd"
    taken = {disk["TARGET"] for disk in given.sections("DISK") if disk.get("TARGET")}
    disks: list[Mapping[str, str]] = []
    for disk_id, wanted in enumerate(given.sections("DISK")):
        disk = _image_disk(work, oid, wanted) if _names_image(wanted) else _volatile_disk(wanted)
        disk["DISK_ID"] = str(disk_id)
        disk["TARGET"] = disk.get("TARGET") or _free_target(disk.get("DEV_PREFIX") or prefix, taken)
        taken.add(disk["TARGET"])
        disks.append(disk)
    return disks


def _names_image(disk: Section) -> bool:
    return "IMAGE_ID" in disk or "IMAGE" in disk


def _free_target(prefix: str, taken: set[str]) -> str:
    for letter in _LETTERS:
        if prefix + letter not in taken:
            return prefix + letter
    raise AllocateError("virtual machine", f"More than {len(_LETTERS)} disks with prefix {prefix}.")


def _image_disk(work: Work, oid: int, wanted: Section) -> dict[str, str]:
    image = _image(work, wanted)
    datastore = work.get(Datastore, image.datastore_id)
    acquire(work, image, oid)
    readonly = image.type is ImageType.CDROM
    disk = {
        "ORIGINAL_SIZE": str(image.size_mb),
        "SIZE": str(image.size_mb),
        "DEV_PREFIX": image.template.get("DEV_PREFIX"),
        **wanted,
        "IMAGE": image.name,
        "IMAGE_ID": str(image.oid),
        "SOURCE": image.source,
        "FORMAT": image.format,
        "DRIVER": image.format,
        "DATASTORE": datastore.name,
        "DATASTORE_ID": str(datastore.oid),
        "TM_MAD": datastore.tm_mad,
        "TYPE": "CDROM" if readonly else "FILE",
        "DISK_TYPE": "FILE",
        "READONLY": "YES" if readonly else "NO",
        "CLONE": "NO" if readonly or image.persistent else "YES",
        "SAVE": "YES" if image.persistent else "NO",
        "CLONE_TARGET": datastore.template.get("CLONE_TARGET", "SYSTEM"),
        "LN_TARGET": datastore.template.get("LN_TARGET", "NONE"),
        "DISK_SNAPSHOT_TOTAL_SIZE": "0",
    }
    if image.persistent:
        disk["PERSISTENT"] = "YES"
    return {key: value for key, value in disk.items() if value}


def _image(work: Work, wanted: Section) -> Image:
    if "IMAGE_ID" in wanted:
        try:
            return work.get(Image, int(wanted["IMAGE_ID"]))
        except ValueError:
            raise TemplateError(f'DISK/IMAGE_ID must be a number, it is "{wanted["IMAGE_ID"]}".') from None
    for image in work.draft.matching(Image, wanted["IMAGE"]):
        return image
    raise AllocateError("virtual machine", f'There is no image named "{wanted["IMAGE"]}": see oneimage list.')


def _volatile_disk(wanted: Section) -> dict[str, str]:
    kind = wanted.get("TYPE", "").lower()
    if kind not in ("fs", "swap"):
        raise AllocateError("virtual machine", "A DISK needs IMAGE_ID or IMAGE, or TYPE fs or swap with SIZE in MB.")
    if not wanted.get("SIZE", "").isdecimal() or int(wanted["SIZE"]) <= 0:
        raise AllocateError("virtual machine", f"A volatile DISK ({kind}) needs a SIZE in MB.")
    form = "raw" if kind == "swap" else wanted.get("FORMAT") or "raw"
    return {**wanted, "TYPE": kind, "FORMAT": form, "DRIVER": form, "DISK_TYPE": "FILE"}
