"""The DISK and NIC sections of a VM, completed as OpenNebula completes them: of a new VM, or for one more device.

A disk names an image, which is acquired here, or is volatile (TYPE fs or swap).  A disk whose image is still being
created carries CLONING=YES and learns its sizes when the image is ready (:mod:`holdfast.engine.cloning`).  Ids grow:
a new device has a higher one than all that the VM has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from holdfast.engine.handlers.device_rules import (
    MARKS,
    DeviceRefused,
    check_prefix,
    checked_disk,
    checked_nic,
    size_rule,
    target_of,
)
from holdfast.engine.handlers.sizes import MAX_MB, shown, whole_number
from holdfast.engine.image_work import acquire, is_arriving
from holdfast.engine.work import Work
from holdfast.model.enums import ImageType
from holdfast.model.errors import ActionError, TemplateError
from holdfast.model.storage import Datastore, Image
from holdfast.model.template import Section, Template
from holdfast.model.vm import Vm

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_PREFIX = "sd"
_DISK_TYPES = (ImageType.OS, ImageType.CDROM, ImageType.DATABLOCK)
_MAX_ID = 2**31 - 1
_INHERITED = ("QCOW2_STANDALONE", "SPARSE")
"""What drivers of the site read of a disk, and a datastore says for all of its disks."""


def disks_of_new_vm(work: Work, vm_id: int, given: Template) -> list[dict[str, str]]:
    """The disks of a VM that is being created; their images are acquired."""
    prefix = given.get("DEFAULT_DEVICE_PREFIX") or _PREFIX
    taken: set[str] = set()
    for wanted in given.sections("DISK"):
        _claim(wanted, taken)
    disks: list[dict[str, str]] = []
    for disk_id, wanted in enumerate(given.sections("DISK")):
        disks.append(_disk(work, vm_id, disk_id, wanted, prefix, taken, may_wait=True))
    return disks


def one_more_disk(work: Work, vm: Vm, wanted: Section) -> dict[str, str]:
    """A disk to attach to the VM; its image is acquired."""
    taken = {disk.get("TARGET", "") for disk in (*vm.template.sections("DISK"), vm.template.section("CONTEXT"))}
    _claim(wanted, taken)
    disk_id = _next_id((*vm.template.sections("DISK"), vm.template.section("CONTEXT")), "DISK_ID")
    prefix = vm.template.get("DEFAULT_DEVICE_PREFIX") or _PREFIX
    return _disk(work, vm.oid, disk_id, wanted, prefix, taken, may_wait=False)


def nics_of_new_vm(vm_id: int, wanted: Iterable[Section]) -> list[dict[str, str]]:
    """Each NIC with its id, target and a MAC that no other VM has."""
    nics: list[dict[str, str]] = []
    for nic_id, section in enumerate(wanted):
        nic = _nic(vm_id, nic_id, section)
        _insist_on_difference(nic, nics)
        nics.append(nic)
    return nics


def one_more_nic(vm: Vm, wanted: Section) -> dict[str, str]:
    """A NIC to attach to the VM."""
    nics = vm.template.sections("NIC")
    nic = _nic(vm.oid, _next_id(nics, "NIC_ID"), wanted)
    _insist_on_difference(nic, nics)
    return nic


def _insist_on_difference(nic: Mapping[str, str], others: Iterable[Mapping[str, str]]) -> None:
    for other in others:
        for name in ("MAC", "TARGET"):
            if nic[name].lower() == other.get(name, "").lower():
                raise DeviceRefused(
                    f"NIC/{name} {nic[name]} is that of NIC {other['NIC_ID']} already: choose another, or leave it out."
                )


def filled_from(image: Image, datastore: Datastore, wanted: Mapping[str, str]) -> dict[str, str]:
    """The disk with all that its image and datastore say; sizes and format are known once the image is there."""
    arriving = is_arriving(image)
    readonly = image.type is ImageType.CDROM
    image_format = "" if arriving else image.format
    disk = {
        "DEV_PREFIX": image.template.get("DEV_PREFIX"),
        **_unmarked(wanted),
        "ORIGINAL_SIZE": "" if arriving else str(image.size_mb),
        "SIZE": wanted.get("SIZE", "") if arriving else str(max(image.size_mb, int(wanted.get("SIZE") or 0))),
        "IMAGE": image.name,
        "IMAGE_ID": str(image.oid),
        "SOURCE": image.source,
        "FORMAT": image_format,
        "DRIVER": image_format,
        "DATASTORE": datastore.name,
        "DATASTORE_ID": str(datastore.oid),
        "TM_MAD": datastore.tm_mad,
        "TYPE": "CDROM" if readonly else "FILE",
        "DISK_TYPE": datastore.template.get("DISK_TYPE", "FILE"),
        "READONLY": "YES" if readonly else "NO",
        "CLONE": "NO" if readonly or image.persistent else "YES",
        "SAVE": "YES" if image.persistent else "NO",
        "CLONE_TARGET": datastore.template.get("CLONE_TARGET", "SYSTEM"),
        "LN_TARGET": datastore.template.get("LN_TARGET", "NONE"),
        **{name: datastore.template.get(name) for name in _INHERITED},
        "DISK_SNAPSHOT_TOTAL_SIZE": "0",
        "PERSISTENT": "YES" if image.persistent else "",
        "CLONING": "YES" if arriving else "",
    }
    return {key: value for key, value in disk.items() if value}


def _disk(
    work: Work, vm_id: int, disk_id: int, wanted: Section, prefix: str, taken: set[str], *, may_wait: bool
) -> dict[str, str]:
    if "IMAGE_ID" in wanted or "IMAGE" in wanted:
        disk = _image_disk(work, vm_id, wanted, may_wait)
    else:
        disk = _volatile_disk(wanted)
    disk["DISK_ID"] = str(disk_id)
    disk["TARGET"] = disk.get("TARGET") or _free_target(disk.get("DEV_PREFIX") or prefix, taken)
    taken.add(disk["TARGET"])
    return disk


def _unmarked(wanted: Mapping[str, str]) -> Section:
    return Section((name, value) for name, value in wanted.items() if name not in MARKS)


def _image_disk(work: Work, vm_id: int, wanted: Section, may_wait: bool) -> dict[str, str]:
    image = _image(work, wanted)
    own = checked_disk(wanted, cdrom=image.type is ImageType.CDROM)
    if own.get("SIZE") and whole_number(own["SIZE"], MAX_MB) is None:
        raise DeviceRefused(f"DISK/SIZE must be {size_rule()}; it is {shown(own['SIZE'])}.")
    if image.type not in _DISK_TYPES:
        raise DeviceRefused(f"Image {image.oid} is of type {image.type.name}, a DISK needs OS, CDROM or DATABLOCK.")
    datastore = work.get(Datastore, image.datastore_id)
    return filled_from(acquire(work, image, vm_id, may_wait), datastore, own)


def _image(work: Work, wanted: Section) -> Image:
    if "IMAGE_ID" not in wanted:
        for image in work.draft.matching(Image, wanted["IMAGE"]):
            return image
        raise DeviceRefused(f"There is no image named {shown(wanted['IMAGE'])}: see oneimage list.")
    image_id = whole_number(wanted["IMAGE_ID"], _MAX_ID)
    if image_id is None:
        raise TemplateError(f"DISK/IMAGE_ID must be a number, it is {shown(wanted['IMAGE_ID'])}: see oneimage list.")
    return work.get(Image, image_id)


def _volatile_disk(wanted: Section) -> dict[str, str]:
    kind = wanted.get("TYPE", "").lower()
    if kind not in ("fs", "swap"):
        raise DeviceRefused("A DISK needs IMAGE_ID or IMAGE, or TYPE fs or swap with SIZE in MB.")
    own = checked_disk(wanted)
    size = own.get("SIZE", "")
    if not whole_number(size, MAX_MB):
        raise DeviceRefused(
            f"A volatile DISK ({kind}) needs a SIZE in MB, {size_rule()} and above 0; it is {shown(size)}."
        )
    form = "raw" if kind == "swap" else own.get("FORMAT") or own.get("DRIVER") or "raw"
    return {**own, "TYPE": kind, "FORMAT": form, "DRIVER": form, "DISK_TYPE": "FILE"}


def _claim(wanted: Section, taken: set[str]) -> None:
    """A TARGET that the user chose belongs to this disk alone."""
    target = target_of(wanted)
    if not target:
        return
    if target in taken:
        raise DeviceRefused(f"DISK/TARGET {target} is already in use: choose another, or leave it out.")
    taken.add(target)


def _free_target(prefix: str, taken: set[str]) -> str:
    check_prefix(prefix)
    for letter in _LETTERS:
        if prefix + letter not in taken:
            return prefix + letter
    raise DeviceRefused(f"More than {len(_LETTERS)} disks with prefix {prefix}.")


def _nic(vm_id: int, nic_id: int, wanted: Mapping[str, str]) -> dict[str, str]:
    octets = (vm_id >> 16 & 255, vm_id >> 8 & 255, vm_id & 255, nic_id & 255)
    own = checked_nic(wanted)
    return {
        **own,
        "NIC_ID": str(nic_id),
        "TARGET": own.get("TARGET") or f"one-{vm_id}-{nic_id}",
        "MAC": own.get("MAC") or "02:00:" + ":".join(f"{octet:02x}" for octet in octets),
    }


def _next_id(sections: Iterable[Section], name: str) -> int:
    ids = (whole_number(section.get(name, ""), _MAX_ID) for section in sections)
    return 1 + max((oid for oid in ids if oid is not None), default=-1)


def disk_of(vm: Vm, disk_id: int) -> Section:
    """The VM's DISK with this id; raises ActionError."""
    for disk in vm.template.sections("DISK"):
        if disk.get("DISK_ID") == str(disk_id):
            return disk
    if vm.template.section("CONTEXT").get("DISK_ID") == str(disk_id):
        raise ActionError(f"Disk {disk_id} of VM {vm.oid} is its CONTEXT, which is made anew at each start.", vm.oid)
    known = ", ".join(disk.get("DISK_ID", "?") for disk in vm.template.sections("DISK")) or "none"
    raise ActionError(f"VM {vm.oid} has no disk {disk_id}; its disks: {known}.", vm.oid)


def is_cdrom(disk: Section) -> bool:
    """Nothing can be written to it."""
    return disk.get("TYPE", "").upper() == "CDROM"
