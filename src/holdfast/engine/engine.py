"""The single writer.

A batch of events is *staged* (each in its own layer, so that a refused one leaves no trace), *committed* in one
transaction, and *published*: only then do readers see it, callers get their answers and drivers their orders.  If the
commit fails nothing has changed anywhere.  ``handle`` does the three in a row; an asyncio shell may run the commit of
one batch in a thread while the next one gathers.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field, replace

from holdfast.engine import answers, failover_work, host_space, sightings, space
from holdfast.engine.commands import Command
from holdfast.engine.events import (
    Answered,
    Called,
    DatastoreMeasured,
    EffectExpired,
    Event,
    FailoverDue,
    HostAlive,
    HostDegraded,
    HostSilent,
    PlacementDue,
    Resumed,
    VmSeen,
)
from holdfast.engine.handlers import (
    Handlers,
    datastores,
    failovers,
    hooks,
    hosts,
    image_allocate,
    images,
    repairs,
    vm_devices,
    vm_resize,
    vm_snapshots,
    vms,
)
from holdfast.engine.notices import Notice
from holdfast.engine.ports import Changes, HookMatcher, Store
from holdfast.engine.scheduling import schedule, waits
from holdfast.engine.senses import LiveSenses
from holdfast.engine.settings import Settings
from holdfast.engine.state import Draft, State
from holdfast.engine.timers import Timers
from holdfast.engine.work import Work
from holdfast.lifecycle.whereabouts import source_of_files, strays
from holdfast.model.effect import Effect
from holdfast.model.enums import EffectKind
from holdfast.model.errors import AuthorizationError, HoldfastError, StoreError
from holdfast.model.failover import Failover
from holdfast.model.hook import Hook
from holdfast.model.host import Host
from holdfast.model.repair import Repair
from holdfast.model.storage import Datastore, Image
from holdfast.model.user import HOLDFAST
from holdfast.model.vm import Vm

_COMMANDS: Handlers = {
    **hosts.HANDLERS,
    **datastores.HANDLERS,
    **image_allocate.HANDLERS,
    **images.HANDLERS,
    **vms.HANDLERS,
    **vm_devices.HANDLERS,
    **vm_snapshots.HANDLERS,
    **vm_resize.HANDLERS,
    **hooks.HANDLERS,
    **failovers.HANDLERS,
    **repairs.HANDLERS,
}


@dataclass(slots=True)
class Batch:
    """Events staged together: their transaction, their answers (an id, or the error), and the effects to hand out.

    ``notices`` tell what happened to VMs, step by step.
    """

    events: Sequence[Event]
    answers: list[int | HoldfastError] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    changes: Changes = field(default_factory=lambda: Changes(0))

    @property
    def is_empty(self) -> bool:
        """Nothing to store."""
        changes = self.changes
        return not (changes.puts or changes.deletes or changes.executions or changes.counters)


class Engine:
    """The state, and the only way to change it."""

    def __init__(self, store: Store, settings: Settings, matcher: HookMatcher, now: float) -> None:
        self.store = store
        self.settings = settings
        self.matcher = matcher
        self.state = State(store.load())
        self.senses = LiveSenses(self.state, settings.patience, settings.unseen_hypervisors)
        self.timers = Timers(settings.expiry_grace_s)
        self.restarting: dict[int, int] = {}
        self.waiting: set[int] = set()
        self.strays: set[int] = set()
        """VMs that may still run on a host which does not list them any more."""
        self.on_the_way: set[int] = set()
        """VMs whose files are leaving a host."""
        self.presence: dict[int, float] = {}
        """When whoever repairs a VM's transfer was last heard, by VM; none is blamed for the controller's absence."""
        self._room_grew = True
        self._arrived: set[int] = set()
        """Waiting VMs that are new, or have changed since they were looked at."""
        self._resume(now)

    def _resume(self, now: float) -> None:
        """Rebuilds from the committed state what is kept beside it."""
        self.senses.watch_all(now)
        for vm in self.state.vms.values():
            self._index_vm(vm)
        for effect in self.state.effects.values():
            self.timers.watch_effect(effect)
        for failover in self.state.failovers.values():
            self._index(failover)
        self.presence.update((repair.oid, now) for repair in self.state.repairs.values() if repair.is_held)

    def handle(self, event: Event, now: float) -> Batch:
        """Stages, commits and publishes one event; raises its error, or StoreError."""
        batch = self.handle_batch([event], now)
        answer = batch.answers[0]
        if isinstance(answer, HoldfastError):
            raise answer
        return batch

    def handle_batch(self, events: Sequence[Event], now: float) -> Batch:
        """Stages, commits and publishes several events in one transaction."""
        batch = self.stage(events, now)
        self.commit(batch)
        self.publish(batch, now)
        return batch

    def stage(self, events: Sequence[Event], now: float, enough: int | None = None) -> Batch:
        """Works out what the events do, without changing anything.

        When there are ``enough`` changes to store it stops: the batch has the first events only.
        """
        draft = Draft(self.state)
        batch = Batch(events)
        taken_over: dict[int, int] = {}
        for event in events:
            if enough is not None and draft.size() >= enough:
                batch.events = events[: len(batch.answers)]
                break
            layer = Draft(draft)
            restarting = ChainMap[int, int]({}, taken_over, self.restarting)
            work = self._work(layer, event, now, restarting)
            try:
                batch.answers.append(self._dispatch(work, event))
                self._wake_hooks(draft, layer, work)
            except HoldfastError as error:
                batch.answers.append(error)
                continue
            draft.merge(layer)
            taken_over.update(restarting.maps[0])
            batch.effects.extend(work.effects)
            batch.notices.extend(work.notices)
        batch.effects = [effect for effect in batch.effects if _is_open(draft, effect)]
        batch.changes = draft.changes(self.state.epoch)
        return batch

    def commit(self, batch: Batch) -> None:
        """Makes the batch durable; raises StoreError and leaves everything as it was."""
        if not batch.is_empty:
            self.store.commit(batch.changes)

    def publish(self, batch: Batch, now: float) -> None:
        """Shows the committed batch to readers, and keeps what depends on it in step."""
        self._notice_room(batch.changes)
        self.state.publish(batch.changes)
        for stored in batch.changes.puts:
            if isinstance(stored, Vm):
                self._index_vm(stored)
            elif isinstance(stored, Host):
                self.senses.attend(stored, now)
            elif isinstance(stored, Effect):
                self.timers.watch_effect(stored)
            elif isinstance(stored, Failover):
                self._index(stored)
        for kind, oid in batch.changes.deletes:
            if kind is Host:
                self.senses.detector.forget(oid)
            elif kind is Repair:
                self.presence.pop(oid, None)
        self.timers.tidy(self.state.effects)

    def due(self, now: float) -> list[Event]:
        """Events that the passing of time has brought."""
        events: list[Event] = []
        for effect_id in self.timers.due_effects(now):
            effect = self.state.effects.get(effect_id)
            if effect is not None and effect.deadline <= now:
                events.append(EffectExpired(effect_id))
        for failover_id in self.timers.due_failovers(now):
            failover = self.state.failovers.get(failover_id)
            if failover is not None and failover.is_open:
                events.append(FailoverDue(failover_id))
        hopeful = self.waiting if self._room_grew else self._arrived & self.waiting
        if hopeful:
            events.append(PlacementDue(tuple(sorted(hopeful))))
        self._room_grew = False
        self._arrived.clear()
        return events

    def open_effects(self) -> list[Effect]:
        """Effects that were under way when the controller stopped: each is to be reconciled with the world."""
        return sorted(self.state.effects.values(), key=lambda effect: effect.oid)

    def _work(self, layer: Draft, event: Event, now: float, restarting: MutableMapping[int, int]) -> Work:
        actor = event.actor if isinstance(event, Called) else HOLDFAST
        work = Work(layer, now, self.state.epoch, self.settings, actor, restarting, self.senses)
        work.strays = self.strays
        work.on_the_way = self.on_the_way
        work.executions = self.state.executions
        work.presence = self.presence
        return work

    def _dispatch(self, work: Work, event: Event) -> int:
        match event:
            case Called(actor=actor, command=command):
                if not actor.is_admin:
                    raise AuthorizationError(f"User [{actor.uid}] : Not authorized to perform {_name(command)}.")
                return _COMMANDS[type(command)](work, command)
            case Answered(effect_id=effect_id, answer=answer):
                answers.answered(work, effect_id, answer)
            case EffectExpired(effect_id=effect_id):
                answers.expired(work, effect_id)
            case HostAlive():
                sightings.host_alive(work, event)
            case HostSilent():
                sightings.host_silent(work, event)
            case HostDegraded():
                sightings.host_degraded(work, event)
            case DatastoreMeasured():
                (space.measured if event.host_id < 0 else host_space.measured_on_host)(work, event)
            case VmSeen():
                sightings.vm_seen(work, event)
            case Resumed():
                self._resume_work(work)
            case FailoverDue(failover_id=failover_id):
                failover_work.due(work, work.get(Failover, failover_id))
            case PlacementDue(vm_ids=vm_ids):
                schedule(work, vm_ids)
            case _:
                raise StoreError(f"the engine has no handler for {type(event).__name__}")
        return -1

    @staticmethod
    def _resume_work(work: Work) -> None:
        """Open failovers look again; other open effects get their full time again."""
        for failover in list(work.draft.all(Failover)):
            if failover.is_open:
                failover_work.resume(work, failover)
        for effect in list(work.draft.all(Effect)):
            if effect.state.is_open and effect.planned_at < work.now:
                limit_s = effect.deadline - effect.planned_at
                work.draft.put(replace(effect, planned_at=work.now, deadline=work.now + limit_s))

    def _wake_hooks(self, base: Draft, layer: Draft, work: Work) -> None:
        """A state change and the hooks it wakes are stored together: no event is ever lost."""
        changed: list[Vm | Host | Image] = [*layer.staged(Vm), *layer.staged(Host), *layer.staged(Image)]
        installed = [hook for hook in base.all(Hook) if hook.type == "state"] if changed else ()
        if not installed:
            return
        for after in changed:
            before = self._before(base, after)
            for order in self.matcher.match(before, after, installed):
                hook = work.get(Hook, order.hook_id)
                args = {"ARGUMENTS": order.arguments, "REMOTE_HOST": order.remote_host}
                work.plan(EffectKind.HOOK, hook.oid, -1, args, limit_s=hooks.time_limit_s(hook))

    @staticmethod
    def _before(base: Draft, after: Vm | Host | Image) -> Vm | Host | Image | None:
        if isinstance(after, Vm):
            return base.find(Vm, after.oid)
        if isinstance(after, Host):
            return base.find(Host, after.oid)
        return base.find(Image, after.oid)

    def _index_vm(self, vm: Vm) -> None:
        self.senses.attend_vm(vm)
        if strays(vm):
            self.strays.add(vm.oid)
        else:
            self.strays.discard(vm.oid)
        if source_of_files(vm) >= 0:
            self.on_the_way.add(vm.oid)
        else:
            self.on_the_way.discard(vm.oid)
        if not waits(vm):
            self.waiting.discard(vm.oid)
        else:
            self.waiting.add(vm.oid)
            self._arrived.add(vm.oid)

    def _index(self, failover: Failover) -> None:
        self.timers.watch_failover(failover)
        for row in failover.rows:
            if failover.is_open and failover.proof_id >= 0:
                if not row.is_final:
                    self.restarting[row.vm_id] = failover.oid
            elif not failover.is_open and self.restarting.get(row.vm_id) == failover.oid:
                del self.restarting[row.vm_id]

    def _notice_room(self, changes: Changes) -> None:
        """All waiting VMs are looked at again when a host or a datastore can take more than before."""
        for stored in changes.puts:
            if isinstance(stored, Datastore):
                self._room_grew |= space.is_roomier(self.state.datastores.get(stored.oid), stored)
            elif isinstance(stored, Host) and stored.usable:
                before = self.state.hosts.get(stored.oid)
                if before is None or not before.usable or _roomier(before, stored):
                    self._room_grew = True


def _is_open(draft: Draft, effect: Effect) -> bool:
    """Not superseded by a later event of the same batch."""
    found = draft.find(Effect, effect.oid)
    return found is not None and found.state.is_open


def _roomier(before: Host, after: Host) -> bool:
    more = after.free_mem > before.free_mem or after.free_cpu > before.free_cpu
    return more or host_space.is_roomier_host(before, after)


def _name(command: Command) -> str:
    return type(command).__name__
