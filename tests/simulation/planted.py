"""Faults planted in the engine on purpose: the checkers must find every one of them.

Each is the production engine with one rule left out, given to the simulation in place of it.
"""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import replace

from holdfast.engine.engine import Batch, Engine
from holdfast.engine.events import Answered, Event
from holdfast.engine.state import Draft, T
from holdfast.engine.work import Work
from holdfast.model.effect import Effect
from holdfast.model.enums import EffectKind
from holdfast.model.storage import Datastore
from holdfast.model.vm import Vm


class WithoutProofCheck(Engine):
    """Takes every reading of a host's power for the proof that it is off."""

    def stage(self, events: Sequence[Event], now: float, enough: int | None = None) -> Batch:
        """As the engine, but whatever the fence device says is heard as "off"."""
        heard = [self._credulous(event) for event in events]
        batch = super().stage(heard, now, enough)
        batch.events = events[: len(batch.answers)]
        return batch

    def _credulous(self, event: Event) -> Event:
        effect = self.state.effects.get(event.effect_id) if isinstance(event, Answered) else None
        if isinstance(event, Answered) and effect is not None and effect.kind is EffectKind.FENCE_STATUS:
            return Answered(event.effect_id, replace(event.answer, ok=True, values={"POWER": "OFF"}))
        return event


class WithoutStaleAnswerCheck(Engine):
    """Takes a late answer for that of whatever its VM is waiting for now, as OpenNebula does."""

    subjects: dict[int, int]

    def stage(self, events: Sequence[Event], now: float, enough: int | None = None) -> Batch:
        """As the engine, but answers are matched by VM."""
        batch = super().stage([self._matched(event) for event in events], now, enough)
        batch.events = events[: len(batch.answers)]
        return batch

    def publish(self, batch: Batch, now: float) -> None:
        """Remembers whom each effect was about."""
        super().publish(batch, now)
        self.subjects = getattr(self, "subjects", {})
        self.subjects.update(
            {stored.oid: stored.subject for stored in batch.changes.puts if isinstance(stored, Effect)}
        )

    def _matched(self, event: Event) -> Event:
        if not isinstance(event, Answered) or event.effect_id in self.state.effects:
            return event
        vm = self.state.vms.get(getattr(self, "subjects", {}).get(event.effect_id, -1))
        return replace(event, effect_id=vm.effect_id) if vm is not None and vm.effect_id >= 0 else event


class _Greedy(Work):
    """Never gives capacity back."""

    def give_capacity(self, hid: int, vm: Vm) -> None:
        """Keeps it."""


class WithoutCapacityRelease(Engine):
    """VMs that leave a host stay on its account."""

    def _work(self, layer: Draft, event: Event, now: float, restarting: MutableMapping[int, int]) -> Work:
        work = super()._work(layer, event, now, restarting)
        greedy = _Greedy.__new__(_Greedy)
        greedy.__dict__.update(work.__dict__)
        return greedy


class _TakesAllForShared(Work):
    """Believes that all hosts see the same files."""

    def find(self, kind: type[T], oid: int) -> T | None:
        """Every datastore says that it is shared."""
        found = super().find(kind, oid)
        if isinstance(found, Datastore):
            return replace(found, template=found.template.with_values(SHARED="YES"))
        return found


class WithoutSharedCheck(Engine):
    """Moves VMs whatever host has their files."""

    def _work(self, layer: Draft, event: Event, now: float, restarting: MutableMapping[int, int]) -> Work:
        work = super()._work(layer, event, now, restarting)
        credulous = _TakesAllForShared.__new__(_TakesAllForShared)
        credulous.__dict__.update(work.__dict__)
        return credulous
