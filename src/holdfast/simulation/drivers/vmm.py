"""Starts, stops, signals and operations of domains, as ``drivers/vmm`` does them.

A start without an answer may still succeed later inside libvirtd: it is never called certain.  A failed stop says
nothing; a stop is only done when the domain was seen absent.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.simulation.drivers.job import FOREVER_S, Job
from holdfast.simulation.drivers.luck import Turn
from holdfast.simulation.kernel import Script
from holdfast.simulation.links import Fate, Reply
from holdfast.simulation.machine import Life
from holdfast.simulation.world import Storage

LOOK_S = 5.0
PRESS_AGAIN_S = 10.0
POLL_S = 1.0
STARTS = (EffectKind.VMM_DEPLOY, EffectKind.VMM_RESTORE)
ABSENT = {"ABSENT": "YES"}
BROKEN = "internal error: process exited while connecting to monitor"


def look(job: Job, hid: int, limit_s: float = LOOK_S) -> Script:
    """The reply of a look at the VM's domain on a host."""
    line, libvirtd = job.site.lines.by_host[hid], job.site.libvirtds[hid]
    reply: Reply = yield from line.call(job.vm_id, libvirtd.look, min(limit_s, job.left_s + 0.25))
    return reply


def touch(job: Job, what: Callable[[Storage], bool]) -> Script:
    """The controller looks at the VM's files, or changes them; None when the storage does not answer."""
    storage = job.site.world.storage
    while not storage.answers_controller:
        if job.left_s <= 0:
            return None
        yield storage.change(), job.left_s
    return what(storage)


def without_files(job: Job) -> str:
    """Why QEMU cannot start there: the disks of the VM are elsewhere."""
    at = job.site.world.storage.places.get(job.vm_id, job.hid)
    return "" if at == job.hid else f"Cannot access storage file: host {job.hid} does not have it"


def forget(vm_id: int) -> Callable[[Storage], bool]:
    """Memory that was saved earlier fits no disks that the guest writes from now on."""

    def discard(storage: Storage) -> bool:
        storage.discard(vm_id)
        return True

    return discard


class Doubts:
    """Which orders may have been sent although nobody heard of it."""

    def __init__(self) -> None:
        self._unsettled: set[tuple[int, int]] = set()
        self._begun_before: set[int] = set()

    def begun_before(self, job: Job) -> None:
        """An earlier controller may have sent it."""
        self._begun_before.add(job.order.effect.oid)

    def rise(self, job: Job) -> None:
        """A start goes out; its outcome is not known."""
        self._unsettled.add((job.hid, job.vm_id))

    def settle(self, job: Job) -> None:
        """What became of all starts of the VM on the host is known."""
        self._unsettled.discard((job.hid, job.vm_id))

    def about(self, job: Job) -> bool:
        """Whether something may have happened although this order is not sent now."""
        kind = job.order.effect.kind
        if job.order.effect.oid in self._begun_before:
            return True
        if kind is EffectKind.VMM_MIGRATE:
            return job.again
        return kind in STARTS and (job.again or (job.hid, job.vm_id) in self._unsettled)


class Starts:
    """Starts of domains from their disks."""

    def __init__(self, doubts: Doubts) -> None:
        self._doubts = doubts

    def probe(self, job: Job) -> Script:
        """Whether an earlier controller's start has succeeded."""
        self._doubts.begun_before(job)
        reply = yield from look(job, job.hid, 2.0)
        if reply.fate is Fate.DONE and reply.life is Life.RUNNING:
            return deployed(job)
        return None

    def deploy(self, job: Job) -> Script:
        """Creates the domain."""
        luck, libvirtd = job.luck, job.libvirtd
        fails = BROKEN if luck.fails else without_files(job)
        takes_s = luck.takes_s(0.3, 3.0, 150.0)
        limit_s = 0.5 if luck.turn is Turn.LOST else max(job.left_s - 1.0, job.left_s / 2)
        untouched = not self._doubts.about(job)
        seen: Reply = yield from look(job, job.hid)
        if seen.fate is Fate.DONE and seen.life not in (Life.RUNNING, Life.STARTING):
            forgotten = yield from touch(job, forget(job.vm_id))
            if forgotten is None:
                return Answer(False, "its old checkpoint could not be removed", certain=untouched)
        self._doubts.rise(job)
        reply: Reply = yield from job.line.call(job.vm_id, lambda: libvirtd.start(job.vm_id, takes_s, fails), limit_s)
        answer = yield from self._judged(job, reply, untouched)
        if answer.certain:
            self._doubts.settle(job)
        return answer

    def _judged(self, job: Job, reply: Reply, untouched: bool) -> Script:
        if reply.fate is Fate.UNSENT:
            return Answer(False, reply.text, certain=untouched)
        if reply.fate is Fate.UNKNOWN:
            return (yield from self._what_became(job, reply.text))
        if reply.life is Life.RUNNING and not reply.text:
            return deployed(job)
        if reply.life is None:
            return Answer(False, f"Could not create domain one-{job.vm_id}: {reply.text}", values=ABSENT)
        return Answer(False, f"one-{job.vm_id} is {reply.life.value}: {reply.text}", certain=False)

    def _what_became(self, job: Job, trouble: str) -> Script:
        """After a start without an answer: running is success; anything else may still change."""
        while job.left_s > 0:
            reply = yield from look(job, job.hid)
            if reply.fate is Fate.DONE and reply.life is Life.RUNNING:
                return deployed(job)
            yield min(2.0, job.left_s)
        return Answer(False, f"{trouble}; the domain may still start", certain=False)


def deployed(job: Job) -> Answer:
    """The VM runs."""
    return Answer(True, values={"DEPLOY_ID": f"one-{job.vm_id}"})


def probe_stop(job: Job) -> Script:
    """A domain that is gone has been stopped."""
    for hid in _hosts(job):
        reply = yield from look(job, hid, 2.0)
        if reply.fate is not Fate.DONE or reply.life is not None:
            return None
    return Answer(True, "the domain is gone")


def _hosts(job: Job) -> list[int]:
    both = job.order.effect.kind is EffectKind.VMM_CLEANUP and job.other_hid >= 0
    return [job.hid, job.other_hid] if both else [job.hid]


def cancel(job: Job) -> Script:
    """Destroys the domain, everywhere it is to be looked for; done when it was seen absent."""
    fails = "Failed to terminate process: Device or resource busy" if job.luck.fails else ""
    for hid in _hosts(job):
        line, libvirtd = job.site.lines.by_host[hid], job.site.libvirtds[hid]
        reply: Reply = yield from line.call(job.vm_id, partial(libvirtd.destroy, job.vm_id, fails), job.left_s)
        if reply.fate is not Fate.DONE:
            return Answer(False, reply.text, certain=False)
        if reply.life is not None:
            return Answer(False, f"Could not destroy one-{job.vm_id}: {reply.text}")
    return Answer(True)


def shutdown(job: Job) -> Script:
    """Asks the guest again and again; done when the domain is seen to be gone."""
    if job.hard:
        return (yield from cancel(job))
    deaf, takes_s = job.luck.fails, job.luck.takes_s(1.0, 9.0, 90.0)
    libvirtd, line, trouble = job.libvirtd, job.line, ""
    ask_below_s = job.left_s
    while job.left_s > 0:
        if job.left_s <= ask_below_s:
            ask_below_s = job.left_s - PRESS_AGAIN_S
            limit_s = min(PRESS_AGAIN_S, job.left_s)
            reply: Reply = yield from line.call(
                job.vm_id, lambda: libvirtd.press_button(job.vm_id, takes_s, deaf), limit_s
            )
            trouble = reply.text
        elif line.connected and not job.machine.hung and job.vm_id not in job.machine.domains:
            reply = yield from look(job, job.hid)
        if reply.fate is Fate.DONE and reply.life is None:
            return Answer(True)
        yield min(POLL_S, max(job.left_s, 0.05))
    reply = yield from look(job, job.hid, 0.5)
    if reply.fate is not Fate.DONE:
        return Answer(False, f"the host could not be asked: {trouble}", certain=False)
    if reply.life is None:
        return Answer(True)
    return Answer(False, f"one-{job.vm_id} did not shut down in time and still runs")


def signal(job: Job) -> Script:
    """Reboot or reset."""
    libvirtd = job.libvirtd
    fails = "operation failed" if job.luck.fails else ""
    reply: Reply = yield from job.line.call(job.vm_id, lambda: libvirtd.operate(job.vm_id, 0.05, fails), job.left_s)
    return Answer(reply.is_done, reply.text)


def probe_signal(job: Job) -> Script:
    """Not sent again."""
    reply = yield from look(job, job.hid, 2.0)
    if reply.fate is not Fate.DONE:
        return None
    if reply.life is None:
        return Answer(False, f"one-{job.vm_id} does not run")
    return Answer(True, "sent before the restart, if at all; not sent again")


def operate(job: Job) -> Script:
    """Devices, system snapshots, live disk snapshots and sizes of a running domain."""
    libvirtd, luck = job.libvirtd, job.luck
    fails = "operation failed: the guest did not release the device" if luck.fails else ""
    takes_s = luck.takes_s(0.1, 4.0, 70.0)
    limit_s = 0.5 if luck.turn is Turn.LOST else job.left_s
    reply: Reply = yield from job.line.call(job.vm_id, lambda: libvirtd.operate(job.vm_id, takes_s, fails), limit_s)
    values = {}
    if job.order.effect.kind is EffectKind.VMM_SNAPSHOT_CREATE:
        values = {"HYPERVISOR_ID": f"snap-{job.order.effect.args.get('ITEM', '0')}"}
    return Answer(reply.is_done, reply.text, certain=reply.fate is not Fate.UNKNOWN, values=values)


def mute(job: Job) -> Script:
    """Never says anything."""
    yield FOREVER_S
    return Answer(False, "never said")
