"""Saving a guest's memory, and restoring it, as ``drivers/vmm/saves.py`` does it.

Saved is what was seen: the domain is gone and the checkpoint complete.  A restored domain is held until its checkpoint
is marked as used, so that no crash at any point lets the same memory run twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from holdfast.model.effect import Answer
from holdfast.simulation.drivers.job import Job
from holdfast.simulation.drivers.luck import Turn
from holdfast.simulation.drivers.vmm import ABSENT, Doubts, deployed, forget, look, touch, without_files
from holdfast.simulation.kernel import Script
from holdfast.simulation.links import Fate, Reply
from holdfast.simulation.machine import Life
from holdfast.simulation.world import Storage

GONE = {"CHECKPOINT": "GONE"}
SLOW = "the datastore does not answer"
SEEN_AGAIN_S = 1.0
ARRIVALS = (Life.INCOMING, Life.ARRIVED)


class Saves:
    """Saving a guest's memory."""

    def __init__(self, doubts: Doubts) -> None:
        self._doubts = doubts

    def save(self, job: Job) -> Script:
        """Done when the domain is gone and the checkpoint complete."""
        tried: Reply | None = None
        while True:
            seen: Reply = yield from look(job, job.hid)
            said = tried.text if tried else seen.text
            if seen.fate is Fate.DONE and seen.life is None:
                if tried is None and not self._doubts.about(job):
                    return Answer(False, "it is not there, so it cannot be saved", certain=False)
                return (yield from _conclude(job, said))
            if job.left_s <= 0:
                return Answer(False, f"it is still being saved {said}", certain=False)
            if seen.fate is not Fate.DONE or seen.busy or (tried is not None and tried.is_done):
                yield min(SEEN_AGAIN_S, job.left_s)
            elif tried is not None or seen.life in ARRIVALS:
                return Answer(False, f"it was not saved: {said or 'it is only arriving'}")
            else:
                tried = yield from self._try(job)

    def _try(self, job: Job) -> Script:
        luck, libvirtd = job.luck, job.libvirtd
        fails = "No space left on device" if luck.fails else ""
        takes_s = luck.takes_s(1.0, 8.0, 90.0)
        limit_s = 0.5 if luck.turn is Turn.LOST else max(job.left_s - 10.0, job.left_s / 2)
        if (yield from touch(job, forget(job.vm_id))) is None:
            return Reply(Fate.UNKNOWN, SLOW)
        return (yield from _or_abort(job, lambda: libvirtd.save(job.vm_id, takes_s, fails), limit_s))

    def probe(self, job: Job) -> Script:
        """The domain is gone and its checkpoint there."""
        self._doubts.begun_before(job)
        seen = yield from look(job, job.hid, 2.0)
        if seen.fate is not Fate.DONE or seen.life is not None:
            return None
        answer = yield from _conclude(job, "")
        return answer if answer.ok else None


def _or_abort(job: Job, work: Callable[[], Script], limit_s: float) -> Script:
    """A call that libvirt can abort: it is aborted when its time is up, or nobody wants it any more."""
    try:
        reply: Reply = yield from job.line.call(job.vm_id, work, limit_s)
    except GeneratorExit:
        abort(job)
        raise
    if reply.fate is Fate.UNKNOWN:
        abort(job)
    return reply


def abort(job: Job) -> None:
    """Libvirt is told to stop, if it can be told at all."""
    if job.line.connected and job.machine.reachable and not job.machine.hung:
        job.machine.work(job.libvirtd.abort(job.vm_id))


def _conclude(job: Job, trouble: str) -> Script:
    vm = job.order.vm
    since = float(vm.history[job.seq].stime) if vm is not None else 0.0
    done = yield from touch(job, lambda storage: storage.complete(job.vm_id, since, job.site.clock()))
    if done is None:
        return Answer(False, SLOW, certain=False)
    return Answer(done, "" if done else f"the domain is gone, and its memory was not saved: {trouble}")


class Restores:
    """Starts of domains from their checkpoints."""

    def __init__(self, doubts: Doubts) -> None:
        self._doubts = doubts

    def probe(self, job: Job) -> Script:
        """Whether an earlier controller's restore has succeeded."""
        self._doubts.begun_before(job)
        seen = yield from look(job, job.hid, 2.0)
        if seen.fate is not Fate.DONE or seen.life is not Life.RUNNING:
            return None
        return (yield from self._restored(job))

    def restore(self, job: Job) -> Script:
        """What is to be done next follows from a look."""
        tried: Answer | None = None
        seen: Reply = yield from look(job, job.hid)
        while not (seen.fate is Fate.DONE and seen.life is Life.RUNNING):
            if job.left_s <= 0:
                return Answer(False, f"it could not be restored in time {tried or seen.text}", certain=False)
            if seen.fate is not Fate.DONE or seen.busy or seen.life is Life.STARTING:
                yield min(SEEN_AGAIN_S, job.left_s)
            elif seen.life is None and tried is None:
                tried = yield from self._try(job)
            elif seen.life is None and tried is not None and tried.certain:
                return replace(tried, ok=False, values={**ABSENT, **tried.values})
            elif seen.life in ARRIVALS:
                yield from self._tell(job, partial(job.libvirtd.destroy, job.vm_id, ""))
            elif seen.life is Life.PAUSED:
                if (yield from touch(job, _use(job.vm_id))) is not None:
                    yield from self._tell(job, partial(job.libvirtd.go_on, job.vm_id))
            else:
                yield min(SEEN_AGAIN_S, job.left_s)
            seen = yield from look(job, job.hid)
        return (yield from self._restored(job))

    def _try(self, job: Job) -> Script:
        """Creates the domain, held.  Only the message and the certainty of the answer count."""
        luck, libvirtd, vm_id = job.luck, job.libvirtd, job.vm_id
        there = yield from touch(job, lambda storage: vm_id in storage.checkpoints)
        if there is None:
            return Answer(False, SLOW)
        if not there:
            used = vm_id in job.site.world.storage.used
            return Answer(False, "there is no checkpoint", values=GONE if used else {})
        fails = "internal error: the guest's memory cannot be loaded" if luck.fails else without_files(job)
        takes_s = luck.takes_s(0.3, 3.0, 150.0)
        limit_s = 0.5 if luck.turn is Turn.LOST else job.left_s
        self._doubts.rise(job)
        reply: Reply = yield from job.line.call(vm_id, lambda: libvirtd.restore(vm_id, takes_s, fails), limit_s)
        if reply.fate is Fate.UNSENT:
            return Answer(False, reply.text, certain=False)
        return Answer(reply.is_done, reply.text or "it came to an end at once", certain=reply.fate is Fate.DONE)

    def _tell(self, job: Job, work: Callable[[], Script]) -> Script:
        yield from job.line.call(job.vm_id, work, job.left_s)

    def _restored(self, job: Job) -> Script:
        """The VM runs, whatever happens to the file."""
        self._doubts.settle(job)
        yield from touch(job, forget(job.vm_id))
        return deployed(job)


def _use(vm_id: int) -> Callable[[Storage], bool]:
    def use(storage: Storage) -> bool:
        storage.use(vm_id)
        return True

    return use
