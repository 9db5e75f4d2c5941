"""Changes to a disk while the VM runs: a snapshot of it, and its size.

A snapshot puts a new layer on the disk (:mod:`holdfast.drivers.tm.layers`): it is prepared and the disk's name led to
it before the hypervisor switches over, so whoever starts the VM after a crash in between finds everything.  libvirt
keeps no record of it: the layers are the record.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import libvirt
from lxml import etree

from holdfast.drivers.tm.disks import format_of
from holdfast.drivers.tm.driver import TmDriver
from holdfast.drivers.tm.layers import Layer
from holdfast.drivers.tm.lines import disk_of
from holdfast.drivers.vmm import domain_orders as orders
from holdfast.drivers.vmm.elements import child, document
from holdfast.drivers.vmm.jobs import Deed, Deeds, Job, Reach
from holdfast.drivers.vmm.line import Connection, OutcomeUnknown
from holdfast.drivers.vmm.line_pool import NotSent
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.model.errors import HoldfastError

_MIB = 1 << 20
_SNAPSHOT = (
    libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
    | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT
    | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
    | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC
)


class DiskChanges:
    """VMM_DISK_SNAPSHOT_CREATE and VMM_RESIZE_DISK.  Without ``tm`` there are no layers."""

    def __init__(self, reach: Reach, tm: TmDriver | None) -> None:
        self._reach, self._tm = reach, tm

    @property
    def deeds(self) -> Deeds:
        """By kind of effect."""
        return {
            EffectKind.VMM_DISK_SNAPSHOT_CREATE: Deed(self._snapshot, self._was_snapshotted),
            EffectKind.VMM_RESIZE_DISK: Deed(self._resize, self._was_resized),
        }

    async def _snapshot(self, job: Job) -> Answer:
        if (no_domain := await self._reach.running(job)) is not None:
            return no_domain
        tm, disk_id, target = self._layers(), job.number("DISK_ID"), _target(job)
        below = await self._written(job, target)
        if not below.name.isdecimal() and format_of(disk_of(job.vm, disk_id)) == "qcow2":
            return Answer(ok=False, message=_known_by_name(job, target, below))
        if not self._reach.doubts.about(job.order):
            await tm.insist_on_new_layer(job.vm, disk_id, job.number("ITEM"), job.left_s)
        layer = await tm.prepare_layer(job.vm, disk_id, job.number("ITEM"), job.left_s)
        if below == layer.path:
            return Answer(ok=True)
        under = Layer(int(below.name), below)
        await tm.point_at_layer(job.vm, disk_id, layer, job.left_s)
        trouble = ""
        try:
            await self._reach.call(job, lambda c: _switch(c, job, target, layer.path))
        except libvirt.libvirtError as error:
            trouble = f": {error}"
        try:
            if await self._written(job, target) == layer.path:
                return Answer(ok=True)
        except (NotSent, OutcomeUnknown, libvirt.libvirtError) as error:
            return Answer(ok=False, certain=False, message=f"{target} of {job.domain.name}{trouble}; then {error}")
        await tm.withdraw_layer(job.vm, disk_id, layer, under, job.left_s + job.margin_s)
        return Answer(ok=False, message=f"{target} of {job.domain.name} was not snapshotted{trouble}")

    async def _was_snapshotted(self, job: Job) -> Answer | None:
        layer = await self._layers().active_layer(job.vm, job.number("DISK_ID"), job.left_s)
        done = layer.number == job.number("ITEM") + 1 and await self._written(job, _target(job)) == layer.path
        return Answer(ok=True) if done else None

    def _layers(self) -> TmDriver:
        if self._tm is None:
            raise HoldfastError("There is no transfer driver: disks cannot be snapshotted while the VM runs.")
        return self._tm

    async def _written(self, job: Job, target: str) -> Path:
        """The file that the guest writes now."""

        def work(connection: Connection) -> Path:
            source = _sources(_domain(connection, job)).get(target)
            if source is None:
                raise HoldfastError(f"{job.domain.name} has no disk {target} that is a file.")
            return Path(source)

        return await self._reach.connections.call(job.host.oid, work, job.left_s + job.margin_s)

    async def _resize(self, job: Job) -> Answer:
        if (no_domain := await self._reach.running(job)) is not None:
            return no_domain
        target, size_mb = _target(job), job.number("SIZE")
        try:
            has = await self._reach.call(job, lambda c: _grown(c, job, target, size_mb * _MIB))
        except libvirt.libvirtError as error:
            return Answer(ok=False, message=f"{target} of {job.domain.name} keeps its size: {error}")
        if has > size_mb * _MIB:
            message = f"{target} of {job.domain.name} has {has // _MIB} MB: it cannot shrink to {size_mb} MB"
            return Answer(ok=False, message=message)
        return Answer(ok=True)

    async def _was_resized(self, job: Job) -> Answer | None:
        target = _target(job)
        call = self._reach.connections.call(job.host.oid, lambda c: _capacity(_domain(c, job), target), job.left_s)
        return Answer(ok=True) if await call == job.number("SIZE") * _MIB else None


def _known_by_name(job: Job, target: str, below: Path) -> str:
    return (
        f"{job.domain.name} was started with {target} as {below}, a name that leads elsewhere after a snapshot and "
        "takes the disk along: nothing was done. Power the VM off and on, or suspend and resume it, then snapshot it"
    )


def _target(job: Job) -> str:
    return disk_of(job.vm, job.number("DISK_ID")).get("TARGET", "")


def _domain(connection: Connection, job: Job) -> Any:
    found = orders.find(connection, job.domain)
    if found is None:
        raise HoldfastError(f"{job.domain.name} is gone from {job.host.name}")
    return found


def _sources(domain: Any) -> dict[str, str | None]:
    """The file of each disk by its target; None for one that is no file."""
    disks = document(domain.XMLDesc(0), "the domain").iterfind("devices/disk")
    sources = ((disk.find("target").get("dev"), disk.find("source")) for disk in disks)
    return {target: None if source is None else source.get("file") for target, source in sources}


def _switch(connection: Connection, job: Job, target: str, layer: Path) -> None:
    """From now on the guest writes to the layer; the other disks are left alone."""
    domain = _domain(connection, job)
    root = etree.Element("domainsnapshot")
    disks = child(root, "disks")
    for name in _sources(domain):
        disk = child(disks, "disk", name=name, snapshot="external" if name == target else "no")
        if name == target:
            disk.set("type", "file")
            child(disk, "driver", type="qcow2")
            child(disk, "source", file=str(layer))
    domain.snapshotCreateXML(str(etree.tostring(root, encoding="unicode")), _SNAPSHOT)


def _capacity(domain: Any, target: str) -> int:
    return int(domain.blockInfo(target)[0])


def _grown(connection: Connection, job: Job, target: str, size: int) -> int:
    """The size of the disk after it was made to grow; one that is larger stays as it is."""
    domain = _domain(connection, job)
    if _capacity(domain, target) < size:
        domain.blockResize(target, size, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)
    return _capacity(domain, target)
