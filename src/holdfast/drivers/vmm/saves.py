"""Save: the guest's memory goes to the checkpoint and the domain ends.  Restore: it goes on from there.

Saved is what was seen: the domain is gone and the checkpoint complete (:mod:`.checkpoint`), and this very order found
the domain there, now or before a restart of the controller.  A restored domain is held until its checkpoint is marked
as used, so that no crash at any point lets the same memory run twice.

A save that failed leaves nothing: its draft goes at once, for it may have taken the last room of the guest's own disks,
and a guest that stands still because of that goes on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

import libvirt

from holdfast.drivers.expendable import Overdue
from holdfast.drivers.vmm import domain_orders as orders
from holdfast.drivers.vmm.domain_orders import Presence
from holdfast.drivers.vmm.hypervisor import HypervisorConfig
from holdfast.drivers.vmm.jobs import POLL_S, Deed, Deeds, Doubts, Job, Reach, deployed
from holdfast.drivers.vmm.line import Connection, OutcomeUnknown
from holdfast.drivers.vmm.line_pool import NotSent
from holdfast.drivers.vmm.saved_domain import adapted
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind

_SETTLE_S = 10.0
"""Kept back of the time of a save, to abort it and see that the guest goes on."""
_RESUMES = 5
"""A guest whose writes fail all the same stands still again at once."""
_DONE = ": libvirt has saved it"
_HELD = (Presence.HALTED, Presence.PAUSED)
_SAVE_XML = libvirt.VIR_DOMAIN_SAVE_IMAGE_XML_SECURE


class Saves:
    """VMM_SAVE and VMM_RESTORE."""

    def __init__(
        self, reach: Reach, doubts: Doubts, config: HypervisorConfig, clock: Callable[[], float] = time.time
    ) -> None:
        self._reach, self._doubts = reach, doubts
        self._config = config
        self._clock = clock

    @property
    def deeds(self) -> Deeds:
        """By kind of effect."""
        return {
            EffectKind.VMM_SAVE: Deed(self._save, self._was_saved),
            EffectKind.VMM_RESTORE: Deed(self._restore, self._was_restored),
        }

    async def _save(self, job: Job) -> Answer:
        attempt = ""
        while (presence := await self._reach.try_look(job)) is not Presence.ABSENT:
            if job.left_s <= 0:
                return Answer(ok=False, certain=False, message=f"{job.domain.name} is still being saved{attempt}")
            if presence is None or await self._reach.is_busy(job) or attempt == _DONE:
                await asyncio.sleep(min(POLL_S, job.left_s))
            elif attempt or presence is Presence.INCOMING:
                return await self._stayed(job, presence, attempt)
            else:
                attempt = await self._try_save(job)
        if not attempt and not self._doubts.about(job.order):
            message = f"{job.domain.name} is not there, so it cannot be saved"
            return Answer(ok=False, certain=False, message=message)
        return await self._conclude(job, attempt)

    async def _try_save(self, job: Job) -> str:
        """How it went; the next look tells what became of the domain."""
        limit_s = max(job.left_s - _SETTLE_S, job.left_s / 2)
        draft = self._reach.storage.draft_path(job)

        def save(connection: Connection) -> None:
            found = orders.find(connection, job.domain)
            if found is not None:
                found.save(str(draft))

        try:
            await self._reach.storage.prepare_checkpoint(job)
            await self._reach.long_call(job, self._reach.connections.call(job.host.oid, save, limit_s, long=True))
        except OSError as error:
            return f": {draft}: {error.strerror}"
        except OutcomeUnknown as error:
            return f": {error.message}"
        except libvirt.libvirtError as error:
            return f": {error}"
        return _DONE

    async def _stayed(self, job: Job, presence: Presence, attempt: str) -> Answer:
        """The domain is there, and nobody saves it any more."""
        left = await self._forget_draft(job) if attempt else ""
        if attempt:
            presence = await self._let_go_on(job, presence)
        said = f"{job.domain.name} was not saved and is {presence.value}{attempt}{left}"
        if presence is Presence.PAUSED and attempt:
            said += (
                f". If its datastore is full, make room there; then let it go on: onevm resume {job.vm.oid}, or switch "
                f"it off: onevm poweroff --hard {job.vm.oid}"
            )
        return Answer(ok=False, message=said)

    async def _forget_draft(self, job: Job) -> str:
        """Returns why what was written could not be removed, empty when it is gone."""
        try:
            await self._reach.storage.discard_checkpoint(job)
        except (OSError, Overdue) as error:
            draft = self._reach.storage.draft_path(job)
            return f"; what was written could not be removed ({error}): remove {draft} on {job.record.hostname}"
        return ""

    async def _let_go_on(self, job: Job, presence: Presence) -> Presence:
        """Looks until the guest does not stand still any more, a few times."""
        for _ in range(_RESUMES):
            try:
                stood = await self._reach.call(job, lambda c: orders.let_go_on(c, job.domain))
            except (NotSent, OutcomeUnknown, libvirt.libvirtError):
                return presence
            await asyncio.sleep(min(POLL_S, job.left_s))
            presence = await self._reach.try_look(job) or presence
            if not stood and presence is not Presence.PAUSED:
                break
        return presence

    async def _conclude(self, job: Job, trouble: str) -> Answer:
        """The domain is gone: its memory was saved, or it is lost."""
        if await self._reach.storage.complete_checkpoint(job, float(job.record.stime), self._clock()):
            return Answer(ok=True)
        left = await self._forget_draft(job) if trouble else ""
        return Answer(ok=False, message=f"{job.domain.name} is gone and its memory was not saved{trouble}{left}")

    async def _was_saved(self, job: Job) -> Answer | None:
        if await self._reach.look(job) is not Presence.ABSENT:
            return None
        answer = await self._conclude(job, "")
        return answer if answer.ok else None

    async def _restore(self, job: Job) -> Answer:
        attempt: Answer | None = None
        while (presence := await self._reach.try_look(job)) is not Presence.RUNNING:
            tried = attempt.message if attempt else ""
            if job.left_s <= 0:
                message = f"{job.domain.name} could not be restored in time{tried}"
                return Answer(ok=False, certain=False, message=message)
            if presence is Presence.ABSENT and attempt is None:
                attempt = await self._try_restore(job)
            elif presence is Presence.ABSENT and attempt and attempt.certain:
                refused = await self._reach.refused(job, f"{job.domain.name} was not restored{tried}")
                return replace(refused, values={**refused.values, **attempt.values})
            elif presence is Presence.INCOMING:
                await self._reach.call(job, lambda c: orders.destroy(c, job.domain))
            elif presence in _HELD and not await self._reach.is_busy(job):
                job.begun = True
                await self._reach.storage.use_checkpoint(job)
                await self._reach.call(job, lambda c: orders.resume(c, job.domain))
            else:
                await asyncio.sleep(min(POLL_S, job.left_s))
        return await self._restored(job)

    async def _try_restore(self, job: Job) -> Answer:
        """Creates the domain, held.  Only the message and the certainty of the answer count: was it sent and lost?"""
        path = str(self._reach.storage.checkpoint_path(job))
        trouble = await self._reach.storage.checkpoint_trouble(job)
        if trouble:
            gone = await self._reach.storage.checkpoint_is_gone(job)
            return Answer(ok=False, message=f": {trouble}", values={"CHECKPOINT": "GONE"} if gone else {})
        deployment = await self._reach.deployment(job, self._config)

        def restore(connection: Connection) -> None:
            orders.refuse_foreign(connection, job.domain)
            saved = connection.saveImageGetXMLDesc(path, _SAVE_XML)
            connection.restoreFlags(path, adapted(saved, deployment), libvirt.VIR_DOMAIN_SAVE_PAUSED)

        job.begun = True
        try:
            await self._reach.connections.call(job.host.oid, self._doubts.followed(job, restore), job.left_s, long=True)
        except OutcomeUnknown as error:
            self._doubts.rise(job)
            return Answer(ok=False, certain=False, message=f": {error.message}")
        except asyncio.CancelledError:
            self._doubts.rise(job)
            raise
        except libvirt.libvirtError as error:
            return Answer(ok=False, message=f": {error}")
        return Answer(ok=True, message=": it came to an end at once")

    async def _restored(self, job: Job) -> Answer:
        """The VM runs, whatever happens to the file."""
        self._doubts.settle(job)
        try:
            await self._reach.storage.discard_checkpoint(job)
        except (OSError, Overdue) as error:
            return replace(deployed(job), message=f"the VM runs, but its checkpoint could not be removed: {error}")
        return deployed(job)

    async def _was_restored(self, job: Job) -> Answer | None:
        if await self._reach.look(job) is not Presence.RUNNING:
            return None
        return await self._restored(job)
