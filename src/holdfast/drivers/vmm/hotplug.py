"""Disks and network interfaces that come and go while the VM runs.

A device is recognised by what the guest knows it by: a disk by its target, an interface by its address.  Targets are
used again, and a guest may still have a disk that its record has lost: one that is there when an order begins is not
the one to be attached, unless this order was begun before the controller restarted.  An attached disk's file is made
first, and goes again if the domain certainly did not take it; a detached disk's file goes when the
guest has let go of it, which it may refuse: then the device stays, and the order fails.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import libvirt
from lxml import etree

from holdfast.drivers.tm.driver import TmDriver
from holdfast.drivers.tm.lines import Step
from holdfast.drivers.vmm import domain_orders as orders
from holdfast.drivers.vmm.devices import stable_mac
from holdfast.drivers.vmm.domain_orders import Domain
from holdfast.drivers.vmm.elements import Element, document
from holdfast.drivers.vmm.hypervisor import HypervisorConfig
from holdfast.drivers.vmm.jobs import POLL_S, Deed, Deeds, Job, Reach, again
from holdfast.drivers.vmm.line import Connection, OutcomeUnknown
from holdfast.drivers.vmm.line_pool import NotSent
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.model.errors import HoldfastError
from holdfast.model.template import Section

_ASK_AGAIN_S = 5.0
"""A guest that was booting has missed the request to let go of a device."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device as it is found in a description."""

    tag: str
    mark: str
    """The child and its attribute by which the guest knows it: ``target/dev``, ``mac/address``."""
    value: str

    def find(self, root: Element) -> Element | None:
        """The device in a description."""
        child, attribute = self.mark.split("/")
        for element in root.iterfind(f"devices/{self.tag}"):
            found = element.find(child)
            if found is not None and found.get(attribute, "").lower() == self.value.lower():
                return element
        return None


class HotPlug:
    """VMM_ATTACH_DISK, VMM_DETACH_DISK, VMM_ATTACH_NIC, VMM_DETACH_NIC.  Without ``tm`` no disk comes or goes."""

    def __init__(self, reach: Reach, config: HypervisorConfig, tm: TmDriver | None) -> None:
        self._reach, self._config, self._tm = reach, config, tm

    @property
    def deeds(self) -> Deeds:
        """By kind of effect."""
        return {
            EffectKind.VMM_ATTACH_DISK: Deed(self._attach_disk, lambda job: self._was_attached(job, _disk(job))),
            EffectKind.VMM_DETACH_DISK: Deed(self._detach_disk, again),
            EffectKind.VMM_ATTACH_NIC: Deed(self._attach_nic, lambda job: self._was_attached(job, _nic(job))),
            EffectKind.VMM_DETACH_NIC: Deed(self._detach_nic, again),
        }

    async def _attach_disk(self, job: Job) -> Answer:
        device = _disk(job)
        if (no_domain := await self._reach.running(job)) is not None:
            return no_domain
        if await self._is_there(job, device):
            known = self._reach.doubts.about(job.order)
            return await self._attached(job, device) if known else _in_the_way(job, device)
        await self._description(job, device)  # whatever is wrong with it is found before there is a file
        made = await self._transfer(job, Step.PROLOG_ATTACH)
        if not made.ok:
            return made
        try:
            text = await self._description(job, device)  # again: now the disk's name leads to its file
        except HoldfastError as error:
            answer = Answer(ok=False, message=f"{device.value} was not attached to {job.domain.name}: {error.message}")
        else:
            answer = await self._attach(job, device, text)
        if not answer.ok and answer.certain:
            undone = await self._transfer(job, Step.EPILOG_DETACH)
            trouble = "" if undone.ok else f"; its file is left over: {undone.message}"
            return Answer(ok=False, message=f"{answer.message}{trouble}")
        return answer

    async def _attach_nic(self, job: Job) -> Answer:
        device = _nic(job)
        if (no_domain := await self._reach.running(job)) is not None:
            return no_domain
        return await self._attach(job, device, await self._description(job, device))

    async def _description(self, job: Job, device: Device) -> str:
        """The device as it would be in a deployment file."""
        element = device.find(document(await self._reach.deployment(job, self._config), "the deployment file"))
        if element is None:
            raise HoldfastError(f"VM {job.vm.oid} has no {device.tag} {device.value}")
        for boot in element.findall("boot"):
            element.remove(boot)  # the order is settled when a domain starts
        return str(etree.tostring(element, encoding="unicode"))

    async def _attach(self, job: Job, device: Device, text: str) -> Answer:
        """Plugs it in; certain is what a look at the domain shows."""
        trouble = "libvirt says it is done, but it is not there"
        try:
            await self._reach.call(job, lambda c: _plug_in(c, job.domain, device, text))
        except (NotSent, libvirt.libvirtError) as error:
            trouble = str(error)
        try:
            if await self._is_there(job, device):
                return await self._attached(job, device)
        except (NotSent, OutcomeUnknown, libvirt.libvirtError) as error:
            return Answer(ok=False, certain=False, message=f"{device.value}: {trouble}; then {error}")
        return Answer(ok=False, message=f"{device.value} could not be attached to {job.domain.name}: {trouble}")

    async def _attached(self, job: Job, device: Device) -> Answer:
        return Answer(ok=True, message=f"{device.value} is attached to {job.domain.name}")

    async def _detach_disk(self, job: Job) -> Answer:
        answer = await self._detach(job, _disk(job))
        return await self._transfer(job, Step.EPILOG_DETACH) if answer.ok else answer

    async def _detach_nic(self, job: Job) -> Answer:
        return await self._detach(job, _nic(job))

    async def _detach(self, job: Job, device: Device) -> Answer:
        """Asks the guest to let go of it until it has; one that is not there is detached."""
        if (no_domain := await self._reach.running(job)) is not None:
            return no_domain
        ask_below_s, trouble = job.left_s, ""
        while await self._is_there(job, device):
            if job.left_s <= 0:
                message = f"the guest of {job.domain.name} did not let go of {device.value}{trouble}"
                return Answer(ok=False, message=message)
            if job.left_s <= ask_below_s:
                ask_below_s = job.left_s - _ASK_AGAIN_S
                trouble = await self._ask(job, device)
            await asyncio.sleep(min(POLL_S, job.left_s))
        return Answer(ok=True)

    async def _ask(self, job: Job, device: Device) -> str:
        try:
            await self._reach.call(job, lambda c: _unplug(c, job.domain, device))
        except libvirt.libvirtError as error:
            return f": {error}"
        return ""

    async def _is_there(self, job: Job, device: Device) -> bool:
        limit_s = job.left_s + job.margin_s
        connections, host_id = self._reach.connections, job.host.oid
        return await connections.call(host_id, lambda c: _found(c, job.domain, device) is not None, limit_s)

    async def _was_attached(self, job: Job, device: Device) -> Answer | None:
        return await self._attached(job, device) if await self._is_there(job, device) else None

    async def _transfer(self, job: Job, step: Step) -> Answer:
        if self._tm is None:
            raise HoldfastError("There is no transfer driver: disks cannot be attached or detached.")
        limit_s = job.left_s + job.margin_s
        return await self._tm.run_step(job.vm, step, limit_s, int(job.item), job.order.datastores)


def _in_the_way(job: Job, device: Device) -> Answer:
    message = (
        f"the guest of {job.domain.name} still has another disk at {device.value}, which is not on record for VM "
        f"{job.vm.oid} any more: detach it by hand (virsh detach-disk {job.domain.name} {device.value}), reboot the "
        "guest if it does not let go of it, or power the VM off; then attach again"
    )
    return Answer(ok=False, message=message)


def _section(job: Job, name: str) -> Section:
    for section in job.vm.template.sections(name):
        if section.get(f"{name}_ID") == job.item:
            return section
    raise HoldfastError(f"VM {job.vm.oid} has no {name} {job.item}.")


def _disk(job: Job) -> Device:
    return Device("disk", "target/dev", _section(job, "DISK").get("TARGET", ""))


def _nic(job: Job) -> Device:
    return Device("interface", "mac/address", _section(job, "NIC").get("MAC") or stable_mac(job.vm.oid, job.item))


def _described(connection: Connection, domain: Domain) -> Element | None:
    found = orders.find(connection, domain)
    return None if found is None else document(found.XMLDesc(0), "the domain")


def _found(connection: Connection, domain: Domain, device: Device) -> Element | None:
    root = _described(connection, domain)
    return None if root is None else device.find(root)


def _plug_in(connection: Connection, domain: Domain, device: Device, text: str) -> None:
    found = orders.find(connection, domain)
    if found is not None and _found(connection, domain, device) is None:
        found.attachDeviceFlags(text, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def _unplug(connection: Connection, domain: Domain, device: Device) -> None:
    """Only a request: libvirt takes the device out of the description when the guest has released it."""
    element, found = _found(connection, domain, device), orders.find(connection, domain)
    if element is not None and found is not None:
        found.detachDeviceAlias(element.find("alias").get("name"), libvirt.VIR_DOMAIN_AFFECT_LIVE)
