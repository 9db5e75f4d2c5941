"""The ends of a domain: shut down (the guest is asked), cancel (at once), clean up (wherever it may be); and resets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import libvirt

from holdfast.drivers.vmm import domain_orders as orders
from holdfast.drivers.vmm.domain_orders import Domain, Presence
from holdfast.drivers.vmm.jobs import Deed, Deeds, Job, Reach
from holdfast.drivers.vmm.line import Connection, OutcomeUnknown
from holdfast.drivers.vmm.line_pool import NotSent
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.model.host import Host

_POLL_S = 1.0
_ASK_S = 10.0


class Stops:
    """VMM_SHUTDOWN, VMM_CANCEL, VMM_CLEANUP, VMM_REBOOT, VMM_RESET.

    ``press_again_s``: how often a guest that does not shut down is asked again.
    """

    def __init__(self, reach: Reach, press_again_s: float) -> None:
        self._reach = reach
        self._press_again_s = press_again_s

    @property
    def deeds(self) -> Deeds:
        """By kind of effect."""
        return {
            EffectKind.VMM_SHUTDOWN: Deed(self._shutdown, self._is_gone),
            EffectKind.VMM_CANCEL: Deed(self._cancel, self._is_gone),
            EffectKind.VMM_CLEANUP: Deed(self._clean_up, self._is_gone_everywhere),
            EffectKind.VMM_REBOOT: Deed(lambda job: self._signal(job, orders.reboot), self._was_signalled),
            EffectKind.VMM_RESET: Deed(lambda job: self._signal(job, orders.reset), self._was_signalled),
        }

    async def _cancel(self, job: Job) -> Answer:
        return await self._destroy(job, job.host)

    async def _clean_up(self, job: Job) -> Answer:
        hosts = [host for host in (job.host, job.order.other) if host is not None]
        answers = await asyncio.gather(*(self._try_destroy(job, host) for host in hosts))
        failed = [answer for answer in answers if not answer.ok]
        if not failed:
            return Answer(ok=True)
        return Answer(ok=False, certain=False, message="; ".join(answer.message for answer in failed))

    async def _try_destroy(self, job: Job, host: Host) -> Answer:
        """One host that cannot be asked must not keep the domain on the other alive."""
        try:
            return await self._destroy(job, host)
        except (NotSent, OutcomeUnknown, libvirt.libvirtError) as error:
            return Answer(ok=False, certain=False, message=f"{job.domain.name} on {host.name}: {error}")

    async def _destroy(self, job: Job, host: Host) -> Answer:
        """Again and again while a start is on its way there, which may put the domain back."""
        while True:
            reason = "it is still there"
            try:
                await self._reach.connections.call(host.oid, lambda c: orders.destroy(c, job.domain), job.left_s)
            except libvirt.libvirtError as error:
                reason = str(error)
            in_flight = self._reach.doubts.in_flight(job.vm.oid, host.oid)
            absent = await self._reach.look(job, host) is Presence.ABSENT
            if not in_flight:
                message = f"Could not destroy {job.domain.name} on {host.name}: {reason}"
                return Answer(ok=True) if absent else Answer(ok=False, message=message)
            if job.left_s <= _POLL_S:
                return _may_still_start(job, host)
            await asyncio.sleep(_POLL_S)

    async def _shutdown(self, job: Job) -> Answer:
        if job.hard:
            return await self._cancel(job)
        total_s = ask_below_s = job.left_s
        trouble = ""
        with self._reach.connections.expecting(job.host.oid, job.vm.oid) as changed:
            while True:
                in_flight = self._reach.doubts.in_flight(job.vm.oid, job.host.oid)
                presence = await self._reach.try_look(job)
                if presence is Presence.ABSENT and not in_flight:
                    return Answer(ok=True)
                if job.left_s <= 0 and presence is Presence.ABSENT:
                    return _may_still_start(job, job.host)
                if job.left_s <= 0:
                    return _still_there(job, presence, total_s, trouble)
                if job.left_s <= ask_below_s:
                    # Again and again: a guest that was still booting has missed the first press of the button.
                    ask_below_s = job.left_s - min(self._press_again_s, total_s / 2)
                    trouble = await self._ask(job)
                await _wait(changed, min(_POLL_S, job.left_s))

    async def _ask(self, job: Job) -> str:
        """What the guest makes of it, the next look tells better than this call; returns what went wrong."""
        try:
            await self._reach.call(job, lambda c: orders.press_button(c, job.domain), min(_ASK_S, job.left_s))
        except (NotSent, OutcomeUnknown, libvirt.libvirtError) as error:
            return f": {error}"
        return ""

    async def _signal(self, job: Job, action: Callable[[Connection, Domain], bool]) -> Answer:
        try:
            done = await self._reach.call(job, lambda c: action(c, job.domain))
        except libvirt.libvirtError as error:
            return Answer(ok=False, message=str(error))
        return Answer(ok=done, message="" if done else f"{job.domain.name} does not run on {job.host.name}")

    async def _is_gone(self, job: Job) -> Answer | None:
        return Answer(ok=True, message="the domain is gone") if await self._reach.is_gone(job) else None

    async def _is_gone_everywhere(self, job: Job) -> Answer | None:
        other = job.order.other
        if other is not None and not await self._reach.is_gone(job, other):
            return None
        return await self._is_gone(job)

    async def _was_signalled(self, job: Job) -> Answer | None:
        if await self._reach.look(job) is Presence.ABSENT:
            return Answer(ok=False, message=f"{job.domain.name} does not run on {job.host.name}")
        return Answer(ok=True, message="sent before the restart, if at all; not sent again")


def _may_still_start(job: Job, host: Host) -> Answer:
    message = (
        f"a start of {job.domain.name} on {host.name} has not returned from the libvirt there, so it may still take "
        "effect, whatever is there now; it ends when that libvirtd answers again or is restarted"
    )
    return Answer(ok=False, certain=False, message=message)


def _still_there(job: Job, presence: Presence | None, total_s: float, trouble: str) -> Answer:
    name = job.domain.name
    if presence is None:
        return Answer(ok=False, certain=False, message=f"{job.host.name} could not be asked about {name}{trouble}")
    return Answer(ok=False, message=f"{name} did not shut down within {total_s:.0f} s and still runs{trouble}")


async def _wait(event: asyncio.Event, limit_s: float) -> None:
    """Until the event or the limit; the event is cleared for the next time."""
    try:
        async with asyncio.timeout(limit_s):
            await event.wait()
    except TimeoutError:
        return
    event.clear()
