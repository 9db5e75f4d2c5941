"""Live migration, led by the controller over its connections to both hosts, as ``drivers/vmm/moves.py`` does it.

What is to be done next follows from a look at both sides (:func:`next_step` is told apart from the product's), so an
order that was interrupted anywhere is carried on.  What has arrived goes on only when libvirt has ended the guest at
the source: else it may have run there since.
"""

from __future__ import annotations

from enum import Enum, auto

from holdfast.model.effect import Answer
from holdfast.simulation.drivers.job import Job
from holdfast.simulation.drivers.luck import Turn
from holdfast.simulation.drivers.saves import abort
from holdfast.simulation.drivers.vmm import Doubts, deployed, look
from holdfast.simulation.kernel import Script
from holdfast.simulation.libvirtd import Led
from holdfast.simulation.links import PATIENCE_S, Fate, Reply
from holdfast.simulation.machine import Life

BLIND_S = 15.0
SETTLE_S = 10.0
LOOK_AGAIN_S = 1.0


class Step(Enum):
    """What the next step of a migration is."""

    WAIT = auto()
    MIGRATE = auto()
    ARRIVE = auto()
    RELEASE_SOURCE = auto()
    GO_BACK = auto()
    STAY = auto()
    ARRIVED = auto()
    STAYED = auto()
    GONE = auto()
    TWICE = auto()


def next_step(here: Reply, there: Reply, busy: bool, failure: str | None) -> Step:
    """What follows from where the domain is; ``failure``: None before it was tried, empty when that went well."""
    if here.fate is not Fate.DONE or there.fate is not Fate.DONE:
        return Step.WAIT
    if there.life is Life.RUNNING:
        return {None: Step.ARRIVED, Life.PAUSED: Step.RELEASE_SOURCE}.get(here.life, Step.TWICE)
    if busy:
        return Step.WAIT
    if there.life is not None:
        return Step.ARRIVE if here.life is None and failure == "" else Step.GO_BACK
    if here.life is None:
        return Step.GONE
    if here.life is Life.PAUSED:
        return Step.STAY
    return Step.MIGRATE if failure is None else Step.STAYED


class _Attempt:
    """One call of libvirt's migration, which may go on when nobody waits for it any more."""

    def __init__(self, led: Led) -> None:
        self._led = led
        self._begun = self._ended = False
        self.failure = ""

    def run(self, work: Script) -> Script:
        """Within libvirtd."""
        self._begun, self.failure = True, "it was not ended"
        try:
            self.failure = yield from work
            return self.failure
        finally:
            self._ended = True

    @property
    def under_way(self) -> bool:
        """Nothing may be concluded yet."""
        return self._begun and not self._ended and self._led.source()


class Moves:
    """Live migrations."""

    def __init__(self, doubts: Doubts) -> None:
        self._doubts = doubts

    def migrate(self, job: Job) -> Script:
        """Looks, does the next step, and looks again, until it is certain or its time is over."""
        attempt: _Attempt | None = None
        seen_at_s = job.left_s
        while True:
            here: Reply = yield from look(job, job.hid)
            there: Reply = yield from look(job, job.other_hid)
            busy = here.busy or there.busy or bool(attempt and attempt.under_way)
            failure = attempt.failure if attempt else None
            if not busy and failure is None and _waits_alone(here, there):
                failure = yield from self._earlier_failure(job)
                busy = failure is None
            step = next_step(here, there, busy, failure)
            if step is Step.MIGRATE:
                attempt, sent = yield from self._try(job)
                if not sent and not self._doubts.about(job):
                    return Answer(False, attempt.failure)
            elif step in _ACTS:
                yield from self._act(job, step)
            elif step is not Step.WAIT:
                return _answer(job, step, attempt)
            if here.fate is there.fate is Fate.DONE:
                seen_at_s = job.left_s
            if job.left_s <= 0 or seen_at_s - job.left_s > BLIND_S:
                certain = attempt is None and not self._doubts.about(job)
                return Answer(False, f"it was {_word(here)} here and {_word(there)} there at last", certain=certain)
            if step is Step.WAIT:
                yield min(LOOK_AGAIN_S, job.left_s)

    def _try(self, job: Job) -> Script:
        """The migration itself, and whether it was sent."""
        luck, libvirtd, site = job.luck, job.libvirtd, job.site
        other, to = site.lines.by_host[job.other_hid], site.world.machines[job.other_hid]
        fails = "Unsafe migration: the destination refuses" if luck.fails else ""
        takes_s = luck.takes_s(2.0, 12.0, 90.0)
        limit_s = 0.5 if luck.turn is Turn.LOST else max(job.left_s - SETTLE_S, job.left_s / 2)
        if not other.connected:
            yield other.came, min(PATIENCE_S, limit_s)
        led = Led(job.line.lifeline(), other.lifeline())
        attempt = _Attempt(led)
        if not (job.line.connected and other.connected):
            attempt.failure = "a host cannot be reached"
            return attempt, False

        def work() -> Script:
            return attempt.run(libvirtd.migrate(job.vm_id, to, takes_s, fails, led))

        try:
            reply: Reply = yield from job.line.call(job.vm_id, work, limit_s)
        except GeneratorExit:
            abort(job)
            raise
        if reply.fate is Fate.UNKNOWN:
            abort(job)
            attempt.failure = attempt.failure or reply.text
        elif reply.is_done:
            yield from self._confirm(job, attempt)
        return attempt, reply.fate is not Fate.UNSENT

    def _confirm(self, job: Job, attempt: _Attempt) -> Script:
        """Libvirt says that it went well: a later look must be able to know that, too."""
        source: Reply = yield from look(job, job.hid)
        if source.fate is not Fate.DONE or source.life is not None:
            attempt.failure = "it was not ended at the source"
            return
        to = job.site.libvirtds[job.other_hid]
        yield from job.site.lines.by_host[job.other_hid].call(job.vm_id, lambda: to.confirm(job.vm_id, _move(job)), 5.0)

    def _earlier_failure(self, job: Job) -> Script:
        """How the attempt went that brought what is held there: None while nobody can tell."""
        to = job.site.libvirtds[job.other_hid]
        reply: Reply = yield from job.site.lines.by_host[job.other_hid].call(
            job.vm_id, lambda: to.mark(job.vm_id), job.left_s
        )
        if reply.fate is not Fate.DONE:
            return None
        return "" if reply.text == _move(job) else "nobody has seen its migration end well"

    def _act(self, job: Job, step: Step) -> Script:
        """A step on one side; the next look tells what it achieved."""
        hid = job.other_hid if step in _THERE else job.hid
        libvirtd, vm_id = job.site.libvirtds[hid], job.vm_id

        def act() -> Script:
            return libvirtd.go_on(vm_id) if step in _GO_ON else libvirtd.destroy(vm_id, "")

        reply: Reply = yield from job.site.lines.by_host[hid].call(vm_id, act, job.left_s)
        if reply.fate is not Fate.DONE:
            yield min(LOOK_AGAIN_S, job.left_s)

    def probe(self, job: Job) -> Script:
        """It runs on the destination, and is gone from the source."""
        self._doubts.begun_before(job)
        source = yield from look(job, job.hid, 2.0)
        target = yield from look(job, job.other_hid, 2.0)
        done = source.fate is target.fate is Fate.DONE and source.life is None and target.life is Life.RUNNING
        return deployed(job) if done else None


_ACTS = (Step.ARRIVE, Step.RELEASE_SOURCE, Step.GO_BACK, Step.STAY)
_GO_ON = (Step.ARRIVE, Step.STAY)
_THERE = (Step.ARRIVE, Step.GO_BACK)


def _waits_alone(here: Reply, there: Reply) -> bool:
    seen = here.fate is there.fate is Fate.DONE
    return seen and here.life is None and there.life in (Life.INCOMING, Life.ARRIVED)


def _move(job: Job) -> str:
    """The same for every repetition of the order, and for no other migration of the VM."""
    stay = job.order.vm.current if job.order.vm is not None else None
    return f"{stay.seq}.{stay.stime}" if stay is not None else ""


def _answer(job: Job, step: Step, attempt: _Attempt | None) -> Answer:
    failure = attempt.failure if attempt else ""
    if step is Step.ARRIVED:
        return deployed(job)
    if step is Step.STAYED:
        return Answer(False, f"it stays on host {job.hid}: {failure}")
    if step is Step.GONE:
        return Answer(False, f"it is neither on host {job.hid} nor on host {job.other_hid}: {failure}")
    return Answer(False, "it is on the source and runs on the destination: nothing was done", certain=False)


def _word(seen: Reply) -> str:
    if seen.fate is not Fate.DONE:
        return "out of sight"
    return seen.life.value if seen.life is not None else "absent"
