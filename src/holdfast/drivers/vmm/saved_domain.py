"""The description inside a saved domain, adapted to where and how the VM would be started now.

Its devices must stay as the guest's memory knows them, addresses included, so it is not replaced by a new deployment
file: only the sources of disks, the firmware's variables and the metadata are taken from there.  A snapshot taken while
the domain ran has changed a disk's source; what was known of its backing files is dropped, QEMU finds them itself.
"""

from __future__ import annotations

from lxml import etree

from holdfast.drivers.vmm.elements import Element, document

_TIED = ("backingStore", "mirror")


def adapted(saved: str, deployment: str) -> str:
    """The saved description with the places of the deployment file."""
    root, now = document(saved, "the saved domain"), document(deployment, "the deployment file")
    disks = {_target(disk): disk for disk in now.iterfind("devices/disk")}
    for disk in root.iterfind("devices/disk"):
        if _target(disk) in disks:
            _take_source(disk, disks[_target(disk)])
    _take_text(root, now, "os/nvram")
    for old in root.findall("metadata"):
        root.remove(old)
    root.extend(now.findall("metadata"))
    return str(etree.tostring(root, encoding="unicode"))


def _target(disk: Element) -> str:
    target = disk.find("target")
    return "" if target is None else target.get("dev", "")


def _take_source(disk: Element, now: Element) -> None:
    source = now.find("source")
    if source is None:
        return
    for tag in ("source", *_TIED):
        for old in disk.findall(tag):
            disk.remove(old)
    disk.set("type", now.get("type"))
    disk.append(source)


def _take_text(root: Element, now: Element, path: str) -> None:
    old, new = root.find(path), now.find(path)
    if old is not None and new is not None:
        old.text = new.text
