"""System snapshots: memory and disks of a running VM at one moment, kept inside its qcow2 disks.

libvirt's own knowledge of a snapshot dies with the domain and forbids migrating it.  So the description goes to the
VM's files (``vms/<id>/snap-<n>.xml``) and libvirt forgets it at once; it is told again when it is to go back to the
snapshot or to delete it.  Going back replaces the running guest, so first every disk is asked whether it has it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import libvirt
from lxml import etree

from holdfast.drivers import expendable
from holdfast.drivers.expendable import Overdue
from holdfast.drivers.vm_files import read_vm_file, write_vm_file
from holdfast.drivers.vmm import domain_orders as orders
from holdfast.drivers.vmm.elements import document
from holdfast.drivers.vmm.hypervisor import HypervisorConfig
from holdfast.drivers.vmm.jobs import Deed, Deeds, Job, Reach, again
from holdfast.drivers.vmm.line import Connection
from holdfast.drivers.vmm.saved_domain import adapted
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.model.errors import HoldfastError

_SECURE = libvirt.VIR_DOMAIN_SNAPSHOT_XML_SECURE
_REDEFINE = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE
_FORGET = libvirt.VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY
_REVERT = libvirt.VIR_DOMAIN_SNAPSHOT_REVERT_RUNNING | libvirt.VIR_DOMAIN_SNAPSHOT_REVERT_FORCE


class Snapshots:
    """VMM_SNAPSHOT_CREATE, VMM_SNAPSHOT_REVERT, VMM_SNAPSHOT_DELETE."""

    def __init__(self, reach: Reach, vms_path: Path, config: HypervisorConfig) -> None:
        self._reach, self._vms_path, self._config = reach, vms_path, config

    @property
    def deeds(self) -> Deeds:
        """By kind of effect."""
        return {
            EffectKind.VMM_SNAPSHOT_CREATE: Deed(self._create, self._was_created),
            EffectKind.VMM_SNAPSHOT_REVERT: Deed(self._revert, again),
            EffectKind.VMM_SNAPSHOT_DELETE: Deed(self._delete, again),
        }

    async def _create(self, job: Job) -> Answer:
        if (no_domain := await self._reach.running(job)) is not None:
            return no_domain
        if (created := await self._was_created(job)) is not None:
            return created
        name = _name(job)
        try:
            text = await self._on_domain(job, lambda domain: _created(domain, name))
        except libvirt.libvirtError as error:
            return Answer(ok=False, message=f"{name} of {job.domain.name} could not be created: {error}")
        await write_vm_file(self._vms_path, job.vm.oid, f"{name}.xml", text, job.left_s + job.margin_s)
        await self._on_domain(job, lambda domain: _forget(domain, name))
        return _is_snapshot(name)

    async def _was_created(self, job: Job) -> Answer | None:
        """Its description is written when it is complete, and the id of a snapshot is never used again."""
        path = self._file(job)
        there = await expendable.call(path.exists, job.left_s, f"looking at {path}")
        return _is_snapshot(_name(job)) if there else None

    async def _revert(self, job: Job) -> Answer:
        if (no_domain := await self._reach.running(job)) is not None:
            return no_domain
        name, text = _name(job), await self._description(job)
        lacking = [path for path, has in (await self._held_by(job, text)).items() if not has]
        if lacking:
            where = ", ".join(lacking)
            message = f"{name} is not in {where}: the disk has been replaced or snapshotted by itself since"
            return Answer(ok=False, message=message)
        try:
            await self._on_domain(job, lambda domain: _reverted(domain, name, text))
        except libvirt.libvirtError as error:
            return Answer(ok=False, message=f"{job.domain.name} could not go back to {name}: {error}")
        return await self._reach.running(job) or Answer(ok=True)

    async def _delete(self, job: Job) -> Answer:
        if (no_domain := await self._reach.running(job)) is not None:
            return no_domain
        name, path = _name(job), self._file(job)
        if await expendable.call(path.exists, job.left_s, f"looking at {path}"):
            text = await self._description(job)
            if any((await self._held_by(job, text)).values()):
                try:
                    await self._on_domain(job, lambda domain: _deleted(domain, name, text))
                except libvirt.libvirtError as error:
                    return Answer(ok=False, message=f"{name} of {job.domain.name} could not be deleted: {error}")
            await expendable.call(lambda: path.unlink(missing_ok=True), job.left_s, f"removing {path}")
        return Answer(ok=True)

    async def _description(self, job: Job) -> str:
        """The snapshot with its disks where they are now."""
        path = self._file(job)
        try:
            text = await read_vm_file(path, job.left_s)
        except (OSError, Overdue) as error:
            raise HoldfastError(f"The description of {_name(job)} cannot be read: {error}") from None
        root = document(text, str(path))
        deployment = await self._reach.deployment(job, self._config)
        for domain in root.findall("domain"):
            root.replace(domain, document(adapted(str(etree.tostring(domain, encoding="unicode")), deployment), ""))
        return str(etree.tostring(root, encoding="unicode"))

    async def _held_by(self, job: Job, text: str) -> dict[str, bool]:
        """For each disk's file that the snapshot is about: whether it is in there."""
        root, name = document(text, "the snapshot"), _name(job)
        internal = [disk.get("name") for disk in root.iterfind("disks/disk[@snapshot='internal']")]
        found = {}
        for disk in root.iterfind("domain/devices/disk"):
            source, target = disk.find("source"), disk.find("target")
            if source is not None and target.get("dev") in internal:
                path = source.get("file") or source.get("dev") or ""
                found[path] = name in await self._reach.storage.snapshots_in(job, Path(path))
        return found

    async def _on_domain(self, job: Job, work: Callable[[Any], str]) -> str:
        def call(connection: Connection) -> str:
            found = orders.find(connection, job.domain)
            if found is None:
                raise HoldfastError(f"{job.domain.name} is gone from {job.host.name}")
            return work(found)

        return await self._reach.call(job, call)

    def _file(self, job: Job) -> Path:
        return self._vms_path / str(job.vm.oid) / f"{_name(job)}.xml"


def _name(job: Job) -> str:
    """What the hypervisor calls it."""
    return f"snap-{job.item}"


def _is_snapshot(name: str) -> Answer:
    return Answer(ok=True, values={"HYPERVISOR_ID": name})


def _known(domain: Any, name: str) -> Any | None:
    return domain.snapshotLookupByName(name) if name in domain.snapshotListNames() else None


def _created(domain: Any, name: str) -> str:
    """Its description; one that an earlier attempt made is taken as it is."""
    orders.forget_snapshots(domain, but=name)
    snapshot = _known(domain, name)
    if snapshot is None:
        root = etree.Element("domainsnapshot")
        etree.SubElement(root, "name").text = name
        snapshot = domain.snapshotCreateXML(str(etree.tostring(root, encoding="unicode")), 0)
    return str(snapshot.getXMLDesc(_SECURE))


def _told(domain: Any, name: str, text: str) -> Any:
    return _known(domain, name) or domain.snapshotCreateXML(text, _REDEFINE)


def _forget(domain: Any, name: str) -> str:
    snapshot = _known(domain, name)
    if snapshot is not None:
        snapshot.delete(_FORGET)
    return name


def _reverted(domain: Any, name: str, text: str) -> str:
    snapshot = _told(domain, name, text)
    try:
        domain.revertToSnapshot(snapshot, _REVERT)
    finally:
        if domain.isActive():
            _forget(domain, name)
    return name


def _deleted(domain: Any, name: str, text: str) -> str:
    _told(domain, name, text).delete(0)
    return name
