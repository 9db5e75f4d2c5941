"""The CONTEXT of a new VM: its device, the files it names, and what OpenNebula fills in (``$NAME``, ``$USER[…]``)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from holdfast.engine.handlers.device_rules import DeviceRefused, target_of
from holdfast.engine.handlers.file_references import file_images
from holdfast.engine.handlers.sizes import shown
from holdfast.engine.work import Work
from holdfast.model.context import VARIABLE, context_files
from holdfast.model.enums import ImageType
from holdfast.model.errors import TemplateError
from holdfast.model.template import Section, Template
from holdfast.model.user import User

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_OF_USER = re.compile(r"\$USER\[\s*([A-Za-z0-9_]+)\s*\]")
_KNOWN = re.compile(r"\$(NAME|VMID|UID|UNAME|GID|GNAME)\b")
_VERBATIM = ("START_SCRIPT", "START_SCRIPT_BASE64", "FILES", "FILES_DS")
_CALLS_HOME = ("TOKEN", "REPORT_READY")


def context_of_new_vm(
    work: Work, vm_id: int, name: str, given: Template, disks: Iterable[Mapping[str, str]]
) -> Section | None:
    """The section with its DISK_ID and TARGET; None when there is no CONTEXT.  Raises TemplateError, ActionError."""
    wanted = given.section("CONTEXT")
    if not wanted:
        return None
    for variable in wanted:
        if not VARIABLE.fullmatch(variable):
            raise TemplateError(f"CONTEXT/{shown(variable)} is no name of a shell variable.")
    filled = _filled(work, vm_id, name, wanted)
    if any(filled.get(attribute, "").upper() == "YES" for attribute in _CALLS_HOME):
        filled["VMID"] = str(vm_id)
    if "FILES_DS" in filled:
        filled["FILES_DS"] = _files_of_datastores(work, filled["FILES_DS"])
    disks = list(disks)
    filled["DISK_ID"] = str(1 + max((int(disk["DISK_ID"]) for disk in disks), default=-1))
    filled["TARGET"] = _target(filled, given, {disk.get("TARGET", "") for disk in disks})
    section = Section(filled)
    context_files(section)
    return section


def _filled(work: Work, vm_id: int, name: str, wanted: Mapping[str, str]) -> dict[str, str]:
    """What ``$…`` stands for; in scripts a dollar is the shell's, and what is not known stays as it is."""
    user = work.find(User, work.actor.uid)
    words = {
        "NAME": name, "VMID": str(vm_id), "UID": str(work.actor.uid), "UNAME": work.actor.name,
        "GID": str(work.actor.gid), "GNAME": user.gname if user else "",
    }  # fmt: skip

    def fill(text: str) -> str:
        text = _OF_USER.sub(lambda match: user.template.get(match[1].upper()) if user else "", text)
        return _KNOWN.sub(lambda match: words[match[1]], text)

    return {key: text if key in _VERBATIM else fill(text) for key, text in wanted.items()}


def _files_of_datastores(work: Work, text: str) -> str:
    """``$FILE[IMAGE_ID=3] …`` as ``path:'name' …``."""
    images = file_images(work, text, ImageType.CONTEXT, "CONTEXT/FILES_DS")
    return " ".join(f"{image.source}:'{image.name}'" for image in images)


def _target(wanted: Mapping[str, str], given: Template, taken: set[str]) -> str:
    """The first free drive after those of the VM's own CD-ROMs."""
    stated = target_of(Section({"TARGET": wanted.get("TARGET", "")}))
    if stated:
        if stated in taken:
            raise DeviceRefused(f"CONTEXT/TARGET {stated} is already in use: choose another, or leave it out.")
        return stated
    machine = given.section("OS").get("MACHINE", "")
    prefix = "sd" if "q35" in machine or "virt" in machine else "hd"
    for letter in _LETTERS:
        if prefix + letter not in taken:
            return prefix + letter
    raise DeviceRefused(f"No drive {prefix}a to {prefix}z is free for the CONTEXT.")
