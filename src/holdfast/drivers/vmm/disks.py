"""The ``<disk>`` elements of a deployment file.

Every file disk is ``SD/disk.<id>``, SD being the VM's directory on the system datastore; persistent images are links
there.  If the system datastore has an ``NBD_SERVER``, each file disk is reached as an export of that server instead
(:mod:`holdfast.drivers.nbd`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from holdfast.drivers.nbd import RECONNECT_S, NbdServer, export_name
from holdfast.drivers.vmm.elements import Element, child, on_off
from holdfast.drivers.vmm.hypervisor import Attributes, DeploymentError
from holdfast.model.template import Section

_LIMITS = ("TOTAL_BYTES_SEC", "READ_BYTES_SEC", "WRITE_BYTES_SEC", "TOTAL_IOPS_SEC", "READ_IOPS_SEC", "WRITE_IOPS_SEC")
_IOTUNE = (*(limit + end for limit in _LIMITS for end in ("", "_MAX", "_MAX_LENGTH")), "SIZE_IOPS_SEC")
_FILE_TYPES = ("", "FILE", "FS", "SWAP", "CDROM", "BLOCK")
_TARGET = re.compile(r"(?:hd|sd|vd|xvd|fd)[a-z]{1,2}")


@dataclass(frozen=True, slots=True)
class DiskWriter:
    """Writes the disks of one VM on one host."""

    vm_id: int
    directory: str
    attributes: Attributes
    nbd: NbdServer | None
    pcie: bool
    vcpus: str
    boot_order: Mapping[str, int]

    def write(self, devices: Element) -> None:
        """Adds one element for each DISK, in order, and the CD-ROM of the CONTEXT."""
        for disk in self.attributes.vm.sections("DISK"):
            self._disk(devices, disk)
        context = self.attributes.vm.section("CONTEXT")
        if context.get("TARGET"):
            self._disk(devices, Section({"TYPE": "CDROM", **{name: context[name] for name in ("DISK_ID", "TARGET")}}))

    def _disk(self, devices: Element, disk: Section) -> None:
        disk_id = disk.get("DISK_ID", "")
        kind = self._kind(disk)
        cdrom = disk.get("TYPE", "").upper() == "CDROM"
        network = self.nbd is not None and kind == "file"
        element = child(devices, "disk", type="network" if network else kind, device="cdrom" if cdrom else "disk")
        self._source(element, disk_id, kind, network)
        bus = self._target(element, disk, cdrom)
        if disk_id in self.boot_order:
            child(element, "boot", order=str(self.boot_order[disk_id]))
        if on_off(disk.get("READONLY", "")) or cdrom:
            child(element, "readonly")
        if on_off(disk.get("SHAREABLE", "")):
            child(element, "shareable")
        if disk.get("SERIAL"):
            child(element, "serial", disk["SERIAL"])
        self._driver(element, disk, cdrom or network, bus)
        self._iotune(element, disk)

    def _kind(self, disk: Section) -> str:
        """``file`` or ``block``."""
        stated = disk.get("TYPE", "").upper()
        if stated not in _FILE_TYPES:
            raise DeploymentError(
                f"DISK {disk.get('DISK_ID', '?')} has TYPE {stated}; disks can be FILE, BLOCK, CDROM, fs or swap."
            )
        by_disk_type = stated in ("FS", "SWAP", "CDROM")
        block = disk.get("DISK_TYPE", "").upper() == "BLOCK" if by_disk_type else stated == "BLOCK"
        return "block" if block else "file"

    def _source(self, element: Element, disk_id: str, kind: str, network: bool) -> None:
        if not disk_id.isdecimal():
            raise DeploymentError(f'A DISK has DISK_ID "{disk_id}", it must be a number.')
        path = f"{self.directory}/disk.{disk_id}"
        if network and self.nbd:
            source = child(element, "source", protocol="nbd", name=export_name(self.vm_id, disk_id))
            child(source, "host", name=self.nbd.host, port=self.nbd.port)
            child(source, "reconnect", delay=str(RECONNECT_S))
        elif kind == "block":
            child(element, "source", dev=path)
        else:
            child(element, "source", file=path)

    def _target(self, element: Element, disk: Section, cdrom: bool) -> str:
        target = disk.get("TARGET", "")
        if not _TARGET.fullmatch(target):
            raise DeploymentError(
                f'DISK {disk.get("DISK_ID", "?")} has TARGET "{target}", it must be a device name such as vda.'
            )
        ide = "sata" if self.pcie else "ide"
        if cdrom:
            bus = ide
        elif target.startswith("s"):
            bus = self.attributes.inner("OS", "SD_DISK_BUS")
        else:
            bus = "virtio" if target.startswith("v") else ide
        child(element, "target", dev=target, bus=bus)
        if bus == "scsi":
            child(element, "address", type="drive", controller="0", bus="0", target=_number(target), unit="0")
        return bus

    def _driver(self, element: Element, disk: Section, raw: bool, bus: str) -> None:
        queues = disk.get("VIRTIO_BLK_QUEUES", "") if bus == "virtio" else ""
        default = self.attributes.of_host
        child(
            element,
            "driver",
            name="qemu",
            type="raw" if raw else disk.get("DRIVER") or disk.get("FORMAT") or default("DRIVER", "DISK"),
            cache=disk.get("CACHE") or default("CACHE", "DISK"),
            io=disk.get("IO") or default("IO", "DISK"),
            discard=disk.get("DISCARD") or default("DISCARD", "DISK"),
            iothread=disk.get("IOTHREAD", ""),
            queues=self.vcpus if queues.lower() == "auto" else queues,
        )

    def _iotune(self, element: Element, disk: Section) -> None:
        values = {name: value for name in _IOTUNE if (value := disk.get(name) or self.attributes.of_host(name, "DISK"))}
        if values:
            iotune = child(element, "iotune")
            for name, value in values.items():
                child(iotune, name.lower(), value)


def _number(target: str) -> str:
    """sda is 0, sdz 25, sdaa 26."""
    number = 0
    for letter in target[2:]:
        number = number * 26 + ord(letter) - ord("a") + 1
    return str(number - 1)
