"""Mixed modes: disks whose images are on one transfer driver, on a system datastore of another.

Where the two differ, the image's datastore must know the mode (``CLONE_TARGET_SSH`` …).  The disk then carries
TM_MAD_SYSTEM, which becomes the suffix of its actions in transfer files, and the targets of that mode.  This is decided
anew whenever the VM's files are about to be made, so that a VM that was recreated may go elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from holdfast.engine.work import Work
from holdfast.model.errors import ActionError
from holdfast.model.storage import Datastore
from holdfast.model.template import Section, Template
from holdfast.model.vm import Vm

_TARGETS = ("CLONE_TARGET", "LN_TARGET")
_BY_MEDIUM = ("FILE", "BLOCK")
_ONE_IMPLEMENTATION = (frozenset({"shared", "qcow2"}), frozenset({"ssh", "local"}))


def same_driver(one: str, other: str) -> bool:
    """Whether two names of transfer drivers mean the same; ``shared`` and ``qcow2`` do, ``ssh`` and ``local`` too."""
    return one == other or any({one, other} <= family for family in _ONE_IMPLEMENTATION)


def placed_on(work: Work, vm: Vm, system: Datastore) -> Vm:
    """The VM as its files will be made on ``system``; raises ActionError when an image cannot get there."""
    placed = Template((name, _part(work, name, value, system)) for name, value in vm.template)
    return replace(vm, template=placed.with_values(TM_MAD_SYSTEM=system.tm_mad))


def _part(work: Work, name: str, value: str | Section, system: Datastore) -> str | Section:
    if isinstance(value, str) or name not in ("DISK", "OS"):
        return value
    return _placed(work, value, system) if name == "DISK" else _with_kernels(work, value, system)


def _with_kernels(work: Work, os: Section, system: Datastore) -> Section:
    """KERNEL_DS_TM_SYSTEM is to a kernel what TM_MAD_SYSTEM is to a disk."""
    placed = {name: text for name, text in os.items() if name not in ("KERNEL_DS_TM_SYSTEM", "INITRD_DS_TM_SYSTEM")}
    for attribute in ("KERNEL_DS", "INITRD_DS"):
        files = work.find(Datastore, int(os.get(f"{attribute}_DSID") or -1))
        if files is not None and not same_driver(files.tm_mad, system.tm_mad):
            _insist_on_mode(_known(work, files), system)
            placed[f"{attribute}_TM_SYSTEM"] = system.tm_mad
    return Section(placed)


def one_more(work: Work, vm: Vm, disk: Mapping[str, str]) -> Section:
    """A disk to attach to the VM; such a disk names the mode even where it is the driver itself, as in OpenNebula."""
    system = work.find(Datastore, vm.current.ds_id) if vm.current else None
    if system is None:
        return Section(disk)
    placed = _placed(work, Section(disk), system)
    return Section({**placed, "TM_MAD_SYSTEM": system.tm_mad}) if placed.get("TM_MAD") else placed


def _placed(work: Work, disk: Section, system: Datastore) -> Section:
    if disk.get("TYPE", "").lower() in ("fs", "swap"):
        return _volatile(work, disk, system)
    images = work.find(Datastore, int(disk.get("DATASTORE_ID") or -1))
    if images is None or not disk.get("TM_MAD"):
        return disk
    known = _known(work, images)
    if same_driver(images.tm_mad, system.tm_mad):
        own = {name: known[name] for name in (*_TARGETS, "DISK_TYPE") if name in known}
        return _with_medium({key: text for key, text in disk.items() if key != "TM_MAD_SYSTEM"} | own)
    mode = _insist_on_mode(known, system)
    of_mode = {name: known[f"{name}_{mode}"] for name in _TARGETS}
    of_mode["DISK_TYPE"] = known.get(f"DISK_TYPE_{mode}", "FILE")
    return _with_medium({**disk, **of_mode, "TM_MAD_SYSTEM": system.tm_mad})


def _known(work: Work, images: Datastore) -> dict[str, str]:
    """What its driver means, and what it says itself."""
    return {**work.settings.tm_conf.meaning(images.tm_mad, images.type), **images.template.singles()}


def _insist_on_mode(known: Mapping[str, str], system: Datastore) -> str:
    """The mode's name in attributes; raises ActionError when the images' datastore does not know it."""
    mode = system.tm_mad.upper()
    if any(f"{name}_{mode}" not in known for name in _TARGETS):
        raise ActionError(f"Image Datastore does not support transfer mode: {system.tm_mad}")
    return mode


def _with_medium(disk: Mapping[str, str]) -> Section:
    """TYPE says FILE or BLOCK as DISK_TYPE does; a CDROM stays one."""
    medium = disk.get("DISK_TYPE", "")
    follows = disk.get("TYPE", "") in _BY_MEDIUM and medium in _BY_MEDIUM
    return Section({**disk, "TYPE": medium} if follows else disk)


def _volatile(work: Work, disk: Section, system: Datastore) -> Section:
    """The format that the system datastore insists on, else the one that was asked for; swap is raw."""
    if disk.get("TYPE", "").lower() == "swap":
        return disk
    wanted = work.settings.tm_conf.driver_of(system.tm_mad) or system.template.get("DRIVER")
    return Section({**disk, "FORMAT": wanted, "DRIVER": wanted}) if wanted else disk
