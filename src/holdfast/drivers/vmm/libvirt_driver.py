"""Carries out VMM effects through libvirt.

A start that ran into a time limit may still succeed later inside libvirtd, so such an answer is never ``certain``; an
error that libvirt itself reported, with the domain absent afterwards, is.  A domain belongs to a VM when name *and*
UUID agree: another controller's ``one-7`` is neither taken for ours nor destroyed.  Every order can be repeated.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import libvirt

from holdfast.drivers.expendable import Overdue
from holdfast.drivers.vm_files import write_vm_file
from holdfast.drivers.vmm import domain_orders as orders
from holdfast.drivers.vmm.connections import Connections
from holdfast.drivers.vmm.deployment import deployment_file, domain_name, domain_uuid
from holdfast.drivers.vmm.domain_orders import Domain, Presence
from holdfast.drivers.vmm.hypervisor import HypervisorConfig
from holdfast.drivers.vmm.line import Connection, OutcomeUnknown
from holdfast.drivers.vmm.line_pool import NotSent
from holdfast.engine.ports import Order
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.model.errors import HoldfastError
from holdfast.model.host import Host
from holdfast.model.vm import Vm
from holdfast.model.vm_states import LcmState

_SEEN_ABSENT = {"ABSENT": "YES"}
"""Tells the engine that it was seen that there is no domain, so that an earlier start is settled too."""
_SETTLE_S = 1.0
"""Kept back of a start's time, to find out what became of it."""
_MARGIN_S = 0.25
"""Kept back of every order's time, for the last look at what it achieved."""
_LOOK_S = 5.0
_PROBE_S = 2.0
"""For a look after a restart, which may come when the effect's time is up."""
_POLL_S = 1.0
_STARTING_POLL_S = 0.1

_ASK_S = 10.0
_SIGNALS = (EffectKind.VMM_REBOOT, EffectKind.VMM_RESET)

Action = Callable[["_Job"], Awaitable[Answer]]


class _Job:
    """One order, with what every step needs."""

    def __init__(self, order: Order, vm: Vm, host: Host, limit_s: float) -> None:
        self.order, self.vm, self.host = order, vm, host
        self.margin_s = min(_MARGIN_S, max(0.0, limit_s) / 4)
        self._until = asyncio.get_running_loop().time() + limit_s - self.margin_s
        self.domain = Domain(domain_name(vm.oid), domain_uuid(vm))

    @property
    def left_s(self) -> float:
        """What remains of the effect's time, without the margin."""
        return max(0.0, self._until - asyncio.get_running_loop().time())

    @property
    def hard(self) -> bool:
        """Pull the plug instead of asking the guest."""
        return self.order.effect.args.get("HARD", "").upper() == "YES"


class LibvirtDriver:
    """The VMM driver for hosts with ``vm_mad`` kvm or qemu.

    ``press_again_s``: how often a guest that does not shut down is asked again.
    """

    def __init__(
        self,
        connections: Connections,
        vms_path: Path,
        config: HypervisorConfig,
        clock: Callable[[], float] = time.time,
        press_again_s: float = 10.0,
    ) -> None:
        self._connections = connections
        self._press_again_s = press_again_s
        self._vms_path = vms_path
        self._config = config
        self._clock = clock
        self._begun_before: set[int] = set()
        """Effects that an earlier run of the controller may have sent."""
        self._unsettled: set[tuple[int, int]] = set()
        """Host and VM of starts whose outcome was never learnt."""
        self._actions: dict[EffectKind, Action] = {
            EffectKind.VMM_DEPLOY: self._deploy,
            EffectKind.VMM_SHUTDOWN: self._shutdown,
            EffectKind.VMM_CANCEL: self._cancel,
            EffectKind.VMM_CLEANUP: self._cancel,
            EffectKind.VMM_REBOOT: self._reboot,
            EffectKind.VMM_RESET: self._reset,
        }

    async def run(self, order: Order) -> Answer:
        """Does it, within the effect's deadline."""
        try:
            job = self._job(order)
            return await self._actions[order.effect.kind](job)
        except OutcomeUnknown as error:
            return Answer(ok=False, message=error.message, certain=False)
        except HoldfastError as error:
            return Answer(ok=False, message=error.message, certain=self._untouched(order))
        except libvirt.libvirtError as error:
            return Answer(ok=False, message=str(error), certain=False)
        except Exception as error:  # noqa: BLE001 - a driver never raises
            return Answer(ok=False, message=f"{type(error).__name__}: {error}", certain=False)

    async def probe(self, order: Order) -> Answer | None:
        """After a restart: whether the domain is there tells whether the order was carried out."""
        kind = order.effect.kind
        self._begun_before.add(order.effect.oid)
        try:
            job = self._job(order, at_least_s=_PROBE_S)
            presence = await self._look(job)
        except (HoldfastError, libvirt.libvirtError):
            return None  # the order itself will say what is wrong; repeating it is harmless
        if kind is EffectKind.VMM_DEPLOY:
            return _deployed(job) if presence is Presence.RUNNING else None
        if kind in _SIGNALS:
            if presence is Presence.ABSENT:
                return Answer(ok=False, message=f"{job.domain.name} does not run on {job.host.name}")
            return Answer(ok=True, message="sent before the restart, if at all; not sent again")
        return Answer(ok=True, message="the domain is gone") if presence is Presence.ABSENT else None

    def _untouched(self, order: Order) -> bool:
        """An order that was never sent failed for certain, unless the domain may be there through something earlier."""
        if order.effect.kind in _SIGNALS:
            return True
        if order.effect.kind is not EffectKind.VMM_DEPLOY or order.vm is None or order.host is None:
            return False
        earlier = order.effect.oid in self._begun_before or (order.host.oid, order.vm.oid) in self._unsettled
        return not earlier and order.vm.lcm_state is not LcmState.BOOT_UNKNOWN

    def _job(self, order: Order, at_least_s: float = 0.0) -> _Job:
        if order.vm is None or order.host is None or order.effect.kind not in self._actions:
            raise HoldfastError(
                f"Effect {order.effect.oid} ({order.effect.kind.value}) is no order for a VM on a host."
            )
        self._connections.watch(order.host)
        return _Job(order, order.vm, order.host, max(at_least_s, order.effect.deadline - self._clock()))

    async def _look(self, job: _Job) -> Presence:
        limit_s = min(_LOOK_S, job.left_s + job.margin_s)
        return await self._connections.call(job.host.oid, lambda c: orders.look(c, job.domain), limit_s)

    async def _deploy(self, job: _Job) -> Answer:
        record = job.vm.current
        datastore = job.order.datastores.get(record.ds_id) if record else None
        if record is None or datastore is None:
            return Answer(ok=False, message=f"VM {job.vm.oid} has no system datastore that is known here")
        text = deployment_file(job.vm, job.host, datastore, self._config)
        try:
            await write_vm_file(self._vms_path, job.vm.oid, f"deployment.{record.seq}", text, job.left_s)
        except (OSError, Overdue) as error:
            return Answer(ok=False, message=f"Cannot write the deployment file: {error}")
        place = (job.host.oid, job.vm.oid)
        try:
            limit_s = max(job.left_s - _SETTLE_S, job.left_s / 2)
            await self._connections.call(job.host.oid, lambda c: orders.start(c, job.domain, text), limit_s)
        except OutcomeUnknown as error:
            self._unsettled.add(place)
            answer = await self._what_became(job, error.message)
        except asyncio.CancelledError:
            self._unsettled.add(place)
            raise
        except libvirt.libvirtError as error:
            answer = await self._refused(job, str(error))
        else:
            answer = await self._started(job)
        if answer.certain:
            self._unsettled.discard(place)
        return answer

    async def _started(self, job: _Job) -> Answer:
        """The domain is there; a start by an earlier attempt may still be going on."""
        try:
            presence = await self._look(job)
            while presence is Presence.STARTING and job.left_s > 0:
                await asyncio.sleep(_STARTING_POLL_S)
                presence = await self._look(job)
        except (NotSent, OutcomeUnknown, libvirt.libvirtError) as error:
            return Answer(ok=False, certain=False, message=f"{job.domain.name} was started; then {error}")
        if presence is Presence.RUNNING:
            return _deployed(job)
        if presence is Presence.ABSENT:
            message = f"{job.domain.name} started on {job.host.name} and stopped at once"
            return Answer(ok=False, message=message, values=_SEEN_ABSENT)
        return Answer(ok=False, certain=False, message=f"{job.domain.name} is {presence.value} on {job.host.name}")

    async def _what_became(self, job: _Job, trouble: str) -> Answer:
        """After a start without an answer: running is success; anything else may still change."""
        while await self._try_look(job) is not Presence.RUNNING:
            if job.left_s <= 0:
                return Answer(ok=False, certain=False, message=f"{trouble}; the domain may still start")
            await asyncio.sleep(_STARTING_POLL_S)
        return _deployed(job)

    async def _refused(self, job: _Job, reason: str) -> Answer:
        """libvirt said no: certain if the domain is not there."""
        message = f"Could not create domain {job.domain.name} on {job.host.name}: {reason}"
        try:
            absent = await self._look(job) is Presence.ABSENT
        except (NotSent, OutcomeUnknown, libvirt.libvirtError):
            absent = False
        return Answer(ok=False, message=message, certain=absent, values=_SEEN_ABSENT if absent else {})

    async def _cancel(self, job: _Job) -> Answer:
        reason = "it is still there"
        try:
            await self._connections.call(job.host.oid, lambda c: orders.destroy(c, job.domain), job.left_s)
        except libvirt.libvirtError as error:
            reason = str(error)
        if await self._look(job) is Presence.ABSENT:
            return Answer(ok=True)
        return Answer(ok=False, message=f"Could not destroy {job.domain.name} on {job.host.name}: {reason}")

    async def _shutdown(self, job: _Job) -> Answer:
        if job.hard:
            return await self._cancel(job)
        total_s = ask_below_s = job.left_s
        trouble = ""
        with self._connections.expecting(job.host.oid, job.vm.oid) as changed:
            while (presence := await self._try_look(job)) is not Presence.ABSENT:
                if job.left_s <= 0:
                    return _still_there(job, presence, total_s, trouble)
                if job.left_s <= ask_below_s:
                    # Again and again: a guest that was still booting has missed the first press of the button.
                    ask_below_s = job.left_s - min(self._press_again_s, total_s / 2)
                    trouble = await self._ask(job)
                await _wait(changed, min(_POLL_S, job.left_s))
        return Answer(ok=True)

    async def _try_look(self, job: _Job) -> Presence | None:
        """None while nobody can tell: a restart of libvirtd must not end what is under way."""
        try:
            return await self._look(job)
        except (NotSent, OutcomeUnknown, libvirt.libvirtError):
            return None

    async def _ask(self, job: _Job) -> str:
        """What the guest makes of it, the next look tells better than this call; returns what went wrong."""
        limit_s = min(_ASK_S, job.left_s)
        try:
            await self._connections.call(job.host.oid, lambda c: orders.press_button(c, job.domain), limit_s)
        except (NotSent, OutcomeUnknown, libvirt.libvirtError) as error:
            return f": {error}"
        return ""

    async def _reboot(self, job: _Job) -> Answer:
        return await self._signal(job, orders.reboot)

    async def _reset(self, job: _Job) -> Answer:
        return await self._signal(job, orders.reset)

    async def _signal(self, job: _Job, action: Callable[[Connection, Domain], bool]) -> Answer:
        try:
            done = await self._connections.call(job.host.oid, lambda c: action(c, job.domain), job.left_s)
        except libvirt.libvirtError as error:
            return Answer(ok=False, message=str(error))
        return Answer(ok=done, message="" if done else f"{job.domain.name} does not run on {job.host.name}")


def _still_there(job: _Job, presence: Presence | None, total_s: float, trouble: str) -> Answer:
    name = job.domain.name
    if presence is None:
        return Answer(ok=False, certain=False, message=f"{job.host.name} could not be asked about {name}{trouble}")
    return Answer(ok=False, message=f"{name} did not shut down within {total_s:.0f} s and still runs{trouble}")


def _deployed(job: _Job) -> Answer:
    return Answer(ok=True, values={"DEPLOY_ID": job.domain.uuid})


async def _wait(event: asyncio.Event, limit_s: float) -> None:
    """Until the event or the limit; the event is cleared for the next time."""
    try:
        async with asyncio.timeout(limit_s):
            await event.wait()
    except TimeoutError:
        return
    event.clear()
