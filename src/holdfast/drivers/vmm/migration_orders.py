"""The libvirt calls of a live migration.  Blocking; run in links' threads.

The domain arrives *held*, and carries a mark in its metadata until it has run at its destination: whoever finds a
marked one knows that the guest has not gone on there.  Only the controller lets it go on, and only when it is gone from
the source.  libvirt alone would start it at once, and resume the source if then the destination's answer got lost.
"""

from __future__ import annotations

import contextlib

import libvirt
from lxml import etree

from holdfast.drivers.vmm.domain_orders import ARRIVAL_NAMESPACE, Domain, find
from holdfast.drivers.vmm.elements import document
from holdfast.drivers.vmm.line import Connection
from holdfast.model.errors import HoldfastError

_FLAGS = (
    libvirt.VIR_MIGRATE_LIVE
    | libvirt.VIR_MIGRATE_PAUSED
    | libvirt.VIR_MIGRATE_AUTO_CONVERGE
    | libvirt.VIR_MIGRATE_ABORT_ON_ERROR
)
_COHERENT = ("none", "directsync")
"""The cache modes with which two hosts see the same disk."""
_XML = libvirt.VIR_DOMAIN_XML_MIGRATABLE | libvirt.VIR_DOMAIN_XML_SECURE


def migrate(source: Connection, destination: Connection, domain: Domain) -> None:
    """Moves the running domain; it is held at the destination afterwards."""
    found = find(source, domain)
    if found is None:
        return
    described = found.XMLDesc(_XML)
    parameters = {libvirt.VIR_MIGRATE_PARAM_DEST_XML: marked(described)}
    try:
        found.migrate3(destination, parameters, _FLAGS)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_MIGRATE_UNSAFE:
            raise
        # libvirt knows shared storage by the kind of file system only; what it cannot know, it takes for unsafe.
        refuse_incoherent_disks(described)
        found.migrate3(destination, parameters, _FLAGS | libvirt.VIR_MIGRATE_UNSAFE)


def marked(described: str) -> str:
    """The description of the domain at its destination, which finds the disks' backing files itself."""
    root = document(described, "the domain")
    for disk in root.iterfind("devices/disk"):
        for known in disk.findall("backingStore"):
            disk.remove(known)
    metadata = root.find("metadata")
    if metadata is None:
        metadata = etree.SubElement(root, "metadata")
    if metadata.find(f"{{{ARRIVAL_NAMESPACE}}}arriving") is None:
        etree.SubElement(metadata, f"{{{ARRIVAL_NAMESPACE}}}arriving", nsmap={"arrival": ARRIVAL_NAMESPACE})
    return str(etree.tostring(root, encoding="unicode"))


def refuse_incoherent_disks(described: str) -> None:
    """Raises when a disk that is written to goes through a host's cache."""
    for disk in document(described, "the domain").iterfind("devices/disk"):
        driver, target = disk.find("driver"), disk.find("target")
        cache = driver.get("cache", "default") if driver is not None else "default"
        if disk.find("readonly") is None and cache not in _COHERENT:
            name = target.get("dev") if target is not None else "a disk"
            raise HoldfastError(
                f"{name} has cache mode {cache}, with which a live migration can damage it; set CACHE=none on the DISK"
            )


def go_on(connection: Connection, domain: Domain) -> None:
    """Lets the domain that has arrived run, and takes its mark away; one that runs already keeps running."""
    found = find(connection, domain)
    if found is None:
        return
    if found.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
        found.resume()
    with contextlib.suppress(libvirt.libvirtError):  # a mark on a domain that runs means nothing
        element, live = libvirt.VIR_DOMAIN_METADATA_ELEMENT, libvirt.VIR_DOMAIN_AFFECT_LIVE
        found.setMetadata(element, None, "arrival", ARRIVAL_NAMESPACE, live)
