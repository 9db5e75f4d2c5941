"""Carries out VMM effects through libvirt.

A domain belongs to a VM when name *and* UUID agree: another controller's ``one-7`` is neither taken for ours nor
destroyed.  Every order can be repeated, and has a probe that tells after a restart whether it was carried out.  The
actions themselves are in the groups below; what goes wrong in them becomes an answer here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import libvirt

from holdfast.drivers.expendable import Overdue
from holdfast.drivers.tm.driver import TmDriver
from holdfast.drivers.tm.remote import Hands
from holdfast.drivers.vmm.connections import Connections
from holdfast.drivers.vmm.disk_changes import DiskChanges
from holdfast.drivers.vmm.hotplug import HotPlug
from holdfast.drivers.vmm.hypervisor import HypervisorConfig
from holdfast.drivers.vmm.jobs import STARTS, Deed, Doubts, Job, Reach
from holdfast.drivers.vmm.line import OutcomeUnknown
from holdfast.drivers.vmm.moves import Moves
from holdfast.drivers.vmm.resizes import Resizes
from holdfast.drivers.vmm.saves import Saves
from holdfast.drivers.vmm.snapshots import Snapshots
from holdfast.drivers.vmm.starts import Starts
from holdfast.drivers.vmm.stops import Stops
from holdfast.drivers.vmm.vm_storage import HostFilesFailed, VmStorage
from holdfast.engine.ports import Order
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.model.errors import HoldfastError

_PROBE_S = 2.0
"""For a look after a restart, which may come when the effect's time is up."""
_ENDS = (EffectKind.VMM_SHUTDOWN, EffectKind.VMM_CANCEL, EffectKind.VMM_CLEANUP)
_SIGNALS = (EffectKind.VMM_REBOOT, EffectKind.VMM_RESET)
_NOT_OFFERED = (EffectKind.VMM_UPDATE_CONF, EffectKind.VMM_BACKUP)


class LibvirtDriver:
    """The VMM driver for hosts with ``vm_mad`` kvm or qemu.

    ``press_again_s``: how often a guest that does not shut down is asked again.  ``tm`` makes and removes the files of
    disks that are attached and detached; ``hands`` work on the files of hosts that do not share them.
    """

    def __init__(
        self,
        connections: Connections,
        vms_path: Path,
        config: HypervisorConfig,
        clock: Callable[[], float] = time.time,
        press_again_s: float = 10.0,
        tm: TmDriver | None = None,
        hands: Hands | None = None,
    ) -> None:
        self._connections = connections
        self._tm = tm
        self._clock = clock
        self._doubts = Doubts()
        reach = Reach(connections, self._doubts, VmStorage(config, hands))
        groups = (
            Starts(reach, self._doubts, vms_path, config),
            Stops(reach, press_again_s),
            Saves(reach, self._doubts, config, clock),
            Moves(reach, self._doubts),
            HotPlug(reach, config, tm),
            Snapshots(reach, vms_path, config),
            DiskChanges(reach, tm),
            Resizes(reach, config),
        )
        self._deeds: dict[EffectKind, Deed] = {kind: deed for group in groups for kind, deed in group.deeds.items()}

    async def run(self, order: Order) -> Answer:
        """Does it, within the effect's deadline."""
        kind = order.effect.kind
        if kind in _NOT_OFFERED:
            return Answer(ok=False, message=f"{kind.value} is not offered by this version")
        job: Job | None = None
        try:
            deed, job = self._deed(order), self._job(order)
            return await self._unprepared(job) or await deed.run(job)
        except (OutcomeUnknown, Overdue) as error:
            return Answer(ok=False, message=error.message, certain=False)
        except HoldfastError as error:
            return Answer(ok=False, message=error.message, certain=self._untouched(order, job))
        except HostFilesFailed as error:
            return Answer(ok=False, message=str(error), certain=kind in STARTS and self._untouched(order, job))
        except libvirt.libvirtError as error:
            return Answer(ok=False, message=str(error), certain=False)
        except Exception as error:  # noqa: BLE001 - a driver never raises
            return Answer(ok=False, message=f"{type(error).__name__}: {error}", certain=False)

    async def probe(self, order: Order) -> Answer | None:
        """After a restart: the answer if the world shows it, else None; then the order is repeated."""
        self._doubts.begun_before(order)
        try:
            return await self._deed(order).probe(self._job(order, at_least_s=_PROBE_S))
        except (HoldfastError, libvirt.libvirtError, OSError):
            return None  # the order itself will say what is wrong; repeating it is harmless

    async def _unprepared(self, job: Job) -> Answer | None:
        """Before a start: the failure that keeps the VM from its directory, or from having its CONTEXT."""
        if self._tm is None or job.order.effect.kind not in STARTS:
            return None
        found = await self._tm.come_home(job.vm, job.left_s)
        if not found.ok:
            return replace(found, certain=self._untouched(job.order, job))
        if not job.vm.template.section("CONTEXT"):
            return None
        made = await self._tm.make_context(job.vm, job.left_s, job.order.datastores)
        if made.ok:
            return None
        return Answer(ok=False, message=f"CONTEXT: {made.message}", certain=self._untouched(job.order, job))

    def _untouched(self, order: Order, job: Job | None) -> bool:
        """An order that was never sent failed for certain, unless the domain may be there through something earlier."""
        kind = order.effect.kind
        if kind in _SIGNALS or job is None:
            return True
        return kind not in _ENDS and not job.begun and not self._doubts.about(order)

    def _deed(self, order: Order) -> Deed:
        deed = self._deeds.get(order.effect.kind)
        if deed is None or order.vm is None or order.host is None:
            raise HoldfastError(
                f"Effect {order.effect.oid} ({order.effect.kind.value}) is no order for a VM on a host."
            )
        return deed

    def _job(self, order: Order, at_least_s: float = 0.0) -> Job:
        assert order.vm is not None
        assert order.host is not None
        for host in (order.host, order.other):
            if host is not None:
                self._connections.watch(host)
        return Job(order, order.vm, order.host, max(at_least_s, order.effect.deadline - self._clock()))
