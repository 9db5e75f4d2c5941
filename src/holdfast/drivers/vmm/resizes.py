"""The size of a running VM: its CPUs and its memory, within what its domain was started for.

More than that (VCPU_MAX, MEMORY_MAX) needs a new start.  Everything is checked before anything is changed; memory comes
by the balloon, or as further DIMMs where the VM asks for MEMORY_RESIZE_MODE=HOTPLUG.
"""

from __future__ import annotations

from typing import Any

import libvirt
from lxml import etree

from holdfast.drivers.vmm import domain_orders as orders
from holdfast.drivers.vmm.deployment import cpu_shares
from holdfast.drivers.vmm.elements import child, document
from holdfast.drivers.vmm.hypervisor import Attributes, HypervisorConfig, is_session
from holdfast.drivers.vmm.jobs import Deed, Deeds, Job, Reach, again
from holdfast.drivers.vmm.line import Connection
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.model.errors import HoldfastError

_LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE
_LEAST_DIMM_KB = 128 * 1024
"""Linux takes memory in blocks of this size."""


class Resizes:
    """VMM_RESIZE."""

    def __init__(self, reach: Reach, config: HypervisorConfig) -> None:
        self._reach, self._config = reach, config

    @property
    def deeds(self) -> Deeds:
        """By kind of effect."""
        return {EffectKind.VMM_RESIZE: Deed(self._resize, again)}

    async def _resize(self, job: Job) -> Answer:
        if (no_domain := await self._reach.running(job)) is not None:
            return no_domain
        vcpus, memory_kb = _wanted(job, "VCPU"), _wanted(job, "MEMORY") * 1024
        shares = 0
        if not is_session(job.host):
            attributes = Attributes(job.vm.template, job.host.template, self._config.defaults)
            shares = cpu_shares(job.vm.template.get_float("CPU", 1), attributes)

        def work(connection: Connection) -> str:
            domain = orders.find(connection, job.domain)
            if domain is None:
                raise HoldfastError(f"{job.domain.name} is gone from {job.host.name}")
            return _refusal(domain, vcpus, memory_kb) or _applied(domain, vcpus, memory_kb, shares)

        try:
            refusal = await self._reach.call(job, work)
        except libvirt.libvirtError as error:
            return Answer(ok=False, message=f"{job.domain.name} could not be resized: {error}")
        return Answer(ok=not refusal, message=refusal)


def _wanted(job: Job, name: str) -> int:
    """0 when it stays as it is."""
    return job.number(name) if job.argument(name) else 0


def _refusal(domain: Any, vcpus: int, memory_kb: int) -> str:
    """Why the domain cannot have this size, empty when it can."""
    most = domain.vcpusFlags(_LIVE | libvirt.VIR_DOMAIN_VCPU_MAXIMUM)
    if vcpus > most:
        return f"{domain.name()} was started for at most {most} CPUs (VCPU_MAX): power it off to give it {vcpus}"
    slots, most_kb, now_kb = _memory(domain)
    if memory_kb > most_kb:
        most_mb, wanted_mb = most_kb // 1024, memory_kb // 1024
        return f"{domain.name()} was started for at most {most_mb} MB (MEMORY_MAX): power it off to give it {wanted_mb}"
    if slots and memory_kb and memory_kb < now_kb:
        return f"{domain.name()} has its memory as DIMMs, which cannot be taken away: power it off"
    if slots and (memory_kb - now_kb) % _LEAST_DIMM_KB and memory_kb:
        return f"the memory of {domain.name()} grows by multiples of {_LEAST_DIMM_KB // 1024} MB"
    return ""


def _memory(domain: Any) -> tuple[bool, int, int]:
    """Whether it grows by DIMMs, the most it can have, what it has (KiB)."""
    root = document(domain.XMLDesc(0), "the domain")
    most, has = root.find("maxMemory"), int(root.findtext("memory"))
    return (most is not None, int(most.text) if most is not None else has, has)


def _applied(domain: Any, vcpus: int, memory_kb: int, shares: int) -> str:
    slots, _, now_kb = _memory(domain)
    if memory_kb and slots:
        if memory_kb > now_kb:
            domain.attachDeviceFlags(_dimm(memory_kb - now_kb), _LIVE)
    elif memory_kb:
        domain.setMemoryFlags(memory_kb, _LIVE)
    if vcpus and vcpus != domain.vcpusFlags(_LIVE):
        domain.setVcpusFlags(vcpus, _LIVE)
    if shares:
        domain.setSchedulerParametersFlags({"cpu_shares": shares}, _LIVE)
    return ""


def _dimm(size_kb: int) -> str:
    root = etree.Element("memory", model="dimm")
    target = child(root, "target")
    child(target, "size", str(size_kb), unit="KiB")
    child(target, "node", "0")
    return str(etree.tostring(root, encoding="unicode"))
