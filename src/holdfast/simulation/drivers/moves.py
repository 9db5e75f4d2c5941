"""Saving a guest's memory, and moving a running guest to another host."""

from __future__ import annotations

from holdfast.model.effect import Answer
from holdfast.simulation.drivers.job import Job
from holdfast.simulation.drivers.luck import Turn
from holdfast.simulation.drivers.vmm import look
from holdfast.simulation.kernel import Script
from holdfast.simulation.links import Fate, Reply
from holdfast.simulation.machine import Life


def save(job: Job) -> Script:
    """Done when the domain is gone and the checkpoint complete."""
    luck, libvirtd = job.luck, job.libvirtd
    fails = "No space left on device" if luck.fails else ""
    takes_s = luck.takes_s(1.0, 8.0, 90.0)
    limit_s = 0.5 if luck.turn is Turn.LOST else max(0.5, job.left_s - 1.0)
    try:
        reply: Reply = yield from job.line.call(job.vm_id, lambda: libvirtd.save(job.vm_id, takes_s, fails), limit_s)
        while reply.fate is Fate.UNKNOWN and job.left_s > 0:
            yield min(2.0, job.left_s)
            reply = yield from look(job, job.hid)
            if reply.fate is Fate.DONE and reply.life is Life.SAVING:
                reply = Reply(Fate.UNKNOWN, "it is still being saved")
    except GeneratorExit:
        _abort(job)
        raise
    return _saved(job, reply)


def _saved(job: Job, reply: Reply) -> Answer:
    if reply.fate is Fate.DONE and reply.life is None:
        there = job.vm_id in job.site.world.storage.checkpoints
        return Answer(there, "" if there else f"the domain is gone without a checkpoint: {reply.text}")
    return Answer(False, reply.text or "it still runs", certain=reply.life is Life.RUNNING)


def probe_save(job: Job) -> Script:
    """The domain is gone and its checkpoint there."""
    reply = yield from look(job, job.hid, 2.0)
    if reply.fate is Fate.DONE and reply.life is None and job.vm_id in job.site.world.storage.checkpoints:
        return Answer(True, "it was saved before the restart")
    return None


def migrate(job: Job) -> Script:
    """Live migration; what both hosts say afterwards tells what came of it."""
    luck, libvirtd = job.luck, job.libvirtd
    to = job.site.world.machines[job.other_hid]
    fails = "Unsafe migration: the destination refuses" if luck.fails else ""
    takes_s = luck.takes_s(2.0, 12.0, 90.0)
    limit_s = 0.5 if luck.turn is Turn.LOST else max(1.0, job.left_s - 5.0)
    try:
        reply: Reply = yield from job.line.call(
            job.vm_id, lambda: libvirtd.migrate(job.vm_id, to, takes_s, fails), limit_s
        )
        if reply.fate is Fate.UNSENT:
            return Answer(False, reply.text, certain=False)
        return (yield from _settled(job, reply))
    except GeneratorExit:
        _abort(job)
        raise


def _settled(job: Job, reply: Reply) -> Script:
    """Looks at both sides until they agree, or the time is over."""
    said = reply.text
    while job.left_s > 0:
        source = yield from look(job, job.hid)
        target = yield from look(job, job.other_hid)
        if source.fate is Fate.DONE and target.fate is Fate.DONE:
            if target.life is Life.RUNNING and source.life is not Life.RUNNING:
                if source.life is None or (yield from _destroy(job, job.hid)):
                    return Answer(True)
            elif source.life is Life.RUNNING:
                if target.life is None:
                    return Answer(False, said or "it still runs on the source")
                yield from job.line.call(job.vm_id, lambda: job.libvirtd.abort(job.vm_id), 2.0)
                yield from _destroy(job, job.other_hid)
                continue
        yield min(2.0, max(0.05, job.left_s))
    return Answer(False, f"where it runs is not known: {said}", certain=False)


def _destroy(job: Job, hid: int) -> Script:
    """Removes what the migration left behind."""
    libvirtd, vm_id = job.site.libvirtds[hid], job.vm_id
    reply: Reply = yield from job.site.lines.by_host[hid].call(vm_id, lambda: libvirtd.destroy(vm_id, ""), 5.0)
    return reply.fate is Fate.DONE and reply.life is None


def probe_migrate(job: Job) -> Script:
    """It runs on the destination, and is gone from the source."""
    source = yield from look(job, job.hid, 2.0)
    target = yield from look(job, job.other_hid, 2.0)
    done = source.fate is target.fate is Fate.DONE and source.life is None and target.life is Life.RUNNING
    return Answer(True, "it was moved before the restart") if done else None


def _abort(job: Job) -> None:
    """The effect was superseded: libvirt is told to stop, if it can be told at all."""
    if job.line.connected and job.machine.reachable:
        job.machine.work(job.libvirtd.abort(job.vm_id))
