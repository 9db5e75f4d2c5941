"""The libvirt calls of a live migration.  Blocking; run in links' threads.

The domain arrives *held*, and carries a mark in its metadata until it has run at its destination: whoever finds a
marked one knows that the guest has not gone on there.  Only the controller lets it go on, and only when it is gone from
the source.  libvirt alone would start it at once, and resume the source if then the destination's answer got lost.

An absent source alone proves nothing: the guest may have gone on there and ended later, with newer disks than the
memory that arrived.  So when libvirt has said that the migration went well, the mark is made to say so, too.
"""

from __future__ import annotations

import contextlib

import libvirt
from lxml import etree

from holdfast.drivers.vmm.domain_orders import ARRIVAL_NAMESPACE, Domain, find, forget_snapshots
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
    forget_snapshots(found)
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
    for left_over in metadata.findall(f"{{{ARRIVAL_NAMESPACE}}}*"):
        metadata.remove(left_over)  # of an earlier arrival, which may have been confirmed
    etree.SubElement(metadata, f"{{{ARRIVAL_NAMESPACE}}}arriving", nsmap={"arrival": ARRIVAL_NAMESPACE})
    return str(etree.tostring(root, encoding="unicode"))


def confirm(source: Connection, destination: Connection, domain: Domain, move: str) -> None:
    """After a migration that libvirt says went well: marks what arrived as the newest state of the guest.

    Raises when the source is still there: then it is none.  ``move`` names the migration, for :func:`is_confirmed`.
    """
    if find(source, domain) is not None:
        raise HoldfastError("libvirt says it went well, but has not ended it at the source")
    arrived = find(destination, domain)
    if arrived is not None:
        element, live = libvirt.VIR_DOMAIN_METADATA_ELEMENT, libvirt.VIR_DOMAIN_AFFECT_LIVE
        mark = etree.Element("confirmed", move=move)
        with contextlib.suppress(libvirt.libvirtError):  # whoever ran this knows it anyway; only a later look does not
            arrived.setMetadata(element, etree.tostring(mark, encoding="unicode"), "arrival", ARRIVAL_NAMESPACE, live)


def is_confirmed(connection: Connection, domain: Domain, move: str) -> bool:
    """Whether this migration brought the domain that is held here, and libvirt ended it at the source."""
    found = find(connection, domain)
    if found is None:
        return False
    try:
        mark = found.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, ARRIVAL_NAMESPACE)
    except libvirt.libvirtError as error:
        if error.get_error_code() in (libvirt.VIR_ERR_NO_DOMAIN_METADATA, libvirt.VIR_ERR_NO_DOMAIN):
            return False
        raise
    root = document(mark, "the mark of an arrival")
    return bool(etree.QName(root).localname == "confirmed" and root.get("move") == move)


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
