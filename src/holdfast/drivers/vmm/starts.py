"""Deploy: the domain is created from its deployment file, which is written to the VM's files first.

A start that ran into a time limit may still succeed later inside libvirtd, so such an answer is never ``certain``; an
error that libvirt itself reported, with the domain absent afterwards, is.

Memory that was saved earlier fits no disks that a fresh domain has written: before one is created, it goes.
"""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import libvirt

from holdfast.drivers.expendable import Overdue
from holdfast.drivers.vm_files import write_vm_file
from holdfast.drivers.vmm import domain_orders as orders
from holdfast.drivers.vmm.domain_orders import Presence
from holdfast.drivers.vmm.hypervisor import HypervisorConfig
from holdfast.drivers.vmm.jobs import POLL_S, Deed, Deeds, Doubts, Job, Reach, deployed
from holdfast.drivers.vmm.line import OutcomeUnknown
from holdfast.drivers.vmm.line_pool import NotSent
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind

_SETTLE_S = 1.0
"""Kept back of a start's time, to find out what became of it."""


class Starts:
    """VMM_DEPLOY."""

    def __init__(self, reach: Reach, doubts: Doubts, vms_path: Path, config: HypervisorConfig) -> None:
        self._reach, self._doubts = reach, doubts
        self._vms_path, self._config = vms_path, config

    @property
    def deeds(self) -> Deeds:
        """By kind of effect."""
        return {EffectKind.VMM_DEPLOY: Deed(self._deploy, self._was_deployed)}

    async def _deploy(self, job: Job) -> Answer:
        text = await self._reach.deployment(job, self._config)
        try:
            await write_vm_file(self._vms_path, job.vm.oid, f"deployment.{job.record.seq}", text, job.left_s)
        except (OSError, Overdue) as error:
            return Answer(ok=False, message=f"Cannot write the deployment file: {error}")
        try:
            trouble = await self._start(job, text)
        except OutcomeUnknown as error:
            self._doubts.rise(job)
            answer = await self._what_became(job, error.message)
        except asyncio.CancelledError:
            self._doubts.rise(job)
            raise
        except libvirt.libvirtError as error:
            message = f"Could not create domain {job.domain.name} on {job.host.name}: {error}"
            answer = await self._reach.refused(job, message)
        else:
            answer = await (self._reach.refused(job, trouble) if trouble else self._started(job))
        if answer.certain:
            self._doubts.settle(job)
        return answer

    async def _start(self, job: Job, text: str) -> str:
        """Returns why the domain was not even ordered, empty when it was."""
        limit_s = max(job.left_s - _SETTLE_S, job.left_s / 2)
        sent = False
        while not sent:
            may_create = orders.needs_creation(await self._reach.look(job))
            if may_create and (trouble := await self._forget_memory(job)):
                return trouble
            start = self._doubts.followed(
                job, partial(orders.start, domain=job.domain, text=text, may_create=may_create)
            )
            sent = await self._reach.call(job, start, min(limit_s, job.left_s))
        return ""

    async def _forget_memory(self, job: Job) -> str:
        """Returns why it could not be removed, empty when there is none any more."""
        path = self._reach.storage.checkpoint_path(job)
        try:
            await self._reach.storage.discard_checkpoint(job)
        except (OSError, Overdue) as error:
            return (
                f"{job.domain.name} was not started: its old checkpoint, which does not fit its disks any more, could "
                f"not be removed ({error}); remove {path}* by hand and start it again"
            )
        return ""

    async def _started(self, job: Job) -> Answer:
        """The domain is there; a start by an earlier attempt may still be going on."""
        try:
            presence = await self._reach.look(job)
            while presence is Presence.STARTING and job.left_s > 0:
                await asyncio.sleep(POLL_S)
                presence = await self._reach.look(job)
        except (NotSent, OutcomeUnknown, libvirt.libvirtError) as error:
            return Answer(ok=False, certain=False, message=f"{job.domain.name} was started; then {error}")
        if presence is Presence.RUNNING:
            return deployed(job)
        if presence is Presence.ABSENT:
            return await self._reach.refused(job, f"{job.domain.name} started on {job.host.name} and stopped at once")
        said = f"{job.domain.name} is {presence.value} on {job.host.name}"
        if presence is Presence.PAUSED:
            said += (
                f" again right after it was let go on: a guest whose writes fail stands still. If its datastore is "
                f"full, make room there, then: onevm resume {job.vm.oid}. Or: onevm poweroff --hard {job.vm.oid}"
            )
        return Answer(ok=False, certain=False, message=said)

    async def _what_became(self, job: Job, trouble: str) -> Answer:
        """After a start without an answer: running is success; anything else may still change."""
        while await self._reach.try_look(job) is not Presence.RUNNING:
            if job.left_s <= 0:
                return Answer(ok=False, certain=False, message=f"{trouble}; the domain may still start")
            await asyncio.sleep(POLL_S)
        return deployed(job)

    async def _was_deployed(self, job: Job) -> Answer | None:
        return deployed(job) if await self._reach.look(job) is Presence.RUNNING else None
