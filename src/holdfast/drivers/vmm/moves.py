"""Live migration, led by the controller over its own connections to both hosts: the hosts need not trust each other.

What is to be done next follows from a look at both sides, so an order that was interrupted anywhere is simply carried
on.  Two rules keep the guest single: it goes on at the destination only when libvirt has ended it at the source, and it
goes on at the source only when it is gone from the destination.  A side that cannot be seen ends the order without
certainty.

What is held at the destination with nothing at the source goes on only if libvirt's word for that end is known, from
this attempt or from the mark that it left (:mod:`.migration_orders`).  Without it nobody can tell whether the guest has
run at the source since: its memory is given up, for on newer disks it would destroy them, and the VM boots from these.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum, auto

import libvirt

from holdfast.drivers.vmm import domain_orders as orders
from holdfast.drivers.vmm import migration_orders
from holdfast.drivers.vmm.domain_orders import Domain, Presence
from holdfast.drivers.vmm.jobs import POLL_S, Deed, Deeds, Doubts, Job, Reach, deployed
from holdfast.drivers.vmm.line import Connection, OutcomeUnknown
from holdfast.drivers.vmm.line_pool import NotSent
from holdfast.drivers.vmm.pair import call_both
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.model.errors import HoldfastError
from holdfast.model.host import Host

_SETTLE_S = 20.0
"""Kept back of a migration's time, to abort it and see where the guest is."""
_BLIND_S = 30.0
"""For so long a side may be out of sight before the order is given up."""


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


class _Attempt:
    """One call of libvirt's migration.  It may go on in its thread after nobody waits for it any more."""

    def __init__(self, move: str) -> None:
        self._move = move
        self.sent = False
        self.ended = False
        self.failure = ""

    def run(self, source: Connection, destination: Connection, domain: Domain) -> None:
        """In the thread."""
        self.sent = True
        try:
            orders.refuse_foreign(destination, domain)
            migration_orders.migrate(source, destination, domain)
            migration_orders.confirm(source, destination, domain, self._move)
        except BaseException as error:
            self.failure = f": {error}"
            raise
        finally:
            self.ended = True

    @property
    def under_way(self) -> bool:
        """Nothing may be concluded yet."""
        return self.sent and not self.ended


class Moves:
    """VMM_MIGRATE."""

    def __init__(self, reach: Reach, doubts: Doubts) -> None:
        self._reach, self._doubts = reach, doubts

    @property
    def deeds(self) -> Deeds:
        """By kind of effect."""
        return {EffectKind.VMM_MIGRATE: Deed(self._migrate, self._has_moved)}

    async def _migrate(self, job: Job) -> Answer:
        other = job.order.other
        if other is None:
            return Answer(ok=False, message=f"Effect {job.order.effect.oid} does not say where the VM shall go.")
        if job.vm.current and job.vm.previous and job.vm.current.ds_id != job.vm.previous.ds_id:
            message = f"VM {job.vm.oid} cannot change its system datastore while it runs: migrate it powered off"
            return Answer(ok=False, message=message)
        attempt: _Attempt | None = None
        seen_at_s, given_up = job.left_s, False
        while True:
            here, there = await self._look(job, other)
            busy = await self._is_busy(job, other, here, there) or bool(attempt and attempt.under_way)
            failure = None if attempt is None else attempt.failure
            if (here, there, busy, failure) == (Presence.ABSENT, Presence.INCOMING, False, None):
                failure = await self._earlier_failure(job, other)
                busy = failure is None
            step = next_step(here, there, busy, failure)
            given_up = given_up or (step is Step.GO_BACK and here is Presence.ABSENT)
            if step is Step.MIGRATE:
                attempt = _Attempt(_name_of_move(job))
                unsent = await self._try(job, other, attempt)
                if unsent and not self._doubts.about(job.order):
                    return Answer(ok=False, message=f"{job.domain.name} stays on {job.host.name}: {unsent}")
            elif step in _ACTS:
                await self._on(job, other if step in _THERE else job.host, _ACTS[step])
            elif step is not Step.WAIT:
                return _answer(job, other, step, attempt, given_up)
            seen_at_s = job.left_s if None not in (here, there) else seen_at_s
            if job.left_s <= 0 or seen_at_s - job.left_s > _BLIND_S:
                certain = attempt is None and not self._doubts.about(job.order)
                sides = f"{_word(here)} on {job.host.name} and {_word(there)} on {other.name}"
                return Answer(ok=False, certain=certain, message=f"{job.domain.name} was {sides} at last")
            if step is Step.WAIT:
                await asyncio.sleep(min(POLL_S, job.left_s))

    async def _earlier_failure(self, job: Job, other: Host) -> str | None:
        """How the attempt went that brought what is held there: empty when it went well, None while nobody can tell."""

        def is_confirmed(connection: Connection) -> bool:
            return migration_orders.is_confirmed(connection, job.domain, _name_of_move(job))

        try:
            confirmed = await self._reach.connections.call(other.oid, is_confirmed, job.left_s + job.margin_s)
        except (NotSent, OutcomeUnknown, libvirt.libvirtError):
            return None
        return "" if confirmed else ": nobody has seen its migration end well"

    async def _look(self, job: Job, other: Host) -> tuple[Presence | None, Presence | None]:
        here, there = await asyncio.gather(self._reach.try_look(job), self._reach.try_look(job, other))
        return here, there

    async def _is_busy(self, job: Job, other: Host, here: Presence | None, there: Presence | None) -> bool:
        """Whether libvirt is at work on either side."""
        present = [host for host, seen in ((job.host, here), (other, there)) if seen not in (None, Presence.ABSENT)]
        return any(await asyncio.gather(*(self._reach.is_busy(job, host) for host in present)))

    async def _try(self, job: Job, other: Host, attempt: _Attempt) -> str:
        """The migration itself; returns why it was not sent.  Where the guest is then, the next look tells."""
        limit_s = max(job.left_s - _SETTLE_S, job.left_s / 2)

        def work(source: Connection, destination: Connection) -> None:
            attempt.run(source, destination, job.domain)

        try:
            call = call_both(self._reach.connections, job.host.oid, other.oid, work, limit_s)
            await self._reach.long_call(job, call)
        except NotSent as error:
            attempt.failure = f": {error.message}"
            return error.message
        except (HoldfastError, libvirt.libvirtError):
            return ""  # the attempt knows, and the next look
        return ""

    async def _on(self, job: Job, host: Host, act: Callable[[Connection, Domain], None]) -> None:
        """A step on one side; the next look tells what it achieved."""
        try:
            await self._reach.connections.call(host.oid, lambda c: act(c, job.domain), job.left_s)
        except (NotSent, OutcomeUnknown, libvirt.libvirtError):
            await asyncio.sleep(min(POLL_S, job.left_s))

    async def _has_moved(self, job: Job) -> Answer | None:
        other = job.order.other
        if other is None:
            return None
        moved = await self._look(job, other) == (Presence.ABSENT, Presence.RUNNING)
        return deployed(job) if moved else None


_ACTS: dict[Step, Callable[[Connection, Domain], None]] = {
    Step.ARRIVE: migration_orders.go_on,
    Step.RELEASE_SOURCE: orders.destroy,
    Step.GO_BACK: orders.destroy,
    Step.STAY: orders.resume,
}
_THERE = (Step.ARRIVE, Step.GO_BACK)


def next_step(here: Presence | None, there: Presence | None, busy: bool, failure: str | None) -> Step:
    """What follows from where the domain is; ``failure``: None before the migration was tried, empty when it went well.

    What is held at the destination may run only if libvirt took the source away itself, as it says when a migration
    went well.  Else a guest that is gone from the source may have ended there, later than what arrived.
    """
    if here is None or there is None:
        return Step.WAIT
    if there is Presence.RUNNING:
        return {Presence.ABSENT: Step.ARRIVED, Presence.HALTED: Step.RELEASE_SOURCE}.get(here, Step.TWICE)
    if busy:
        return Step.WAIT
    if there is not Presence.ABSENT:
        went_well = failure == "" or (failure is None and there is Presence.PAUSED)  # without a mark: it has run there
        return Step.ARRIVE if here is Presence.ABSENT and went_well else Step.GO_BACK
    if here is Presence.ABSENT:
        return Step.GONE
    if here is Presence.HALTED:
        return Step.STAY
    return Step.MIGRATE if failure is None else Step.STAYED


def _answer(job: Job, other: Host, step: Step, attempt: _Attempt | None, given_up: bool) -> Answer:
    name, failure = job.domain.name, attempt.failure if attempt else ""
    if step is Step.ARRIVED:
        return deployed(job)
    if step is Step.STAYED:
        message = f"{name} stays on {job.host.name}, it could not be migrated to {other.name}{failure}"
        return Answer(ok=False, message=message)
    if step is Step.GONE:
        lost = (
            "; what had arrived was destroyed, for the guest may have run at the source since: boot it from its disks"
        )
        message = f"{name} is neither on {job.host.name} nor on {other.name}{failure}{lost if given_up else ''}"
        return Answer(ok=False, message=message)
    message = f"{name} is on {job.host.name} and runs on {other.name}: nothing was done, look at both"
    return Answer(ok=False, certain=False, message=message)


def _name_of_move(job: Job) -> str:
    """The same for every repetition of the order, and for no other migration of the VM."""
    stay = job.vm.current
    return f"{stay.seq}.{stay.stime}" if stay else ""


def _word(presence: Presence | None) -> str:
    return "out of sight" if presence is None else presence.value
