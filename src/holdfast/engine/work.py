"""The handling of one event: a draft to stage changes in, and the effects and capacity moves that come with them."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence, Set
from dataclasses import replace
from typing import Protocol

from holdfast.engine.notices import Ended, Notice, Ordered
from holdfast.engine.settings import Settings
from holdfast.engine.state import Draft, T
from holdfast.lifecycle.whereabouts import source_of_files, strays
from holdfast.model.effect import Effect
from holdfast.model.enums import EffectKind, EffectState
from holdfast.model.errors import NoSuchObject
from holdfast.model.failover import Evidence, Failover, Proof
from holdfast.model.hook import Hook, HookExecution
from holdfast.model.host import Host
from holdfast.model.repair import Repair
from holdfast.model.storage import Datastore, Image
from holdfast.model.user import HOLDFAST, Actor, User
from holdfast.model.vm import Vm

SPOKEN: dict[type, str] = {
    Vm: "virtual machine",
    Host: "host",
    Datastore: "datastore",
    Image: "image",
    Hook: "hook",
    User: "user",
    Failover: "failover",
    Proof: "proof",
    Effect: "effect",
    Repair: "repair",
}
"""What OpenNebula's messages call each kind of object."""


class Senses(Protocol):
    """What the engine sees of the hosts at this moment; volatile, never stored."""

    def is_blind(self) -> bool:
        """Too many hosts were lost at once."""

    def evidence(self, host_id: int, now: float) -> tuple[Evidence, ...]:
        """What was observed about the host."""

    def heard_at(self, host_id: int) -> float:
        """When the host's agent was last heard, 0 when never."""


class NoSenses:
    """Senses that see nothing."""

    def is_blind(self) -> bool:
        """Nothing is lost where nothing is watched."""
        return False

    def evidence(self, host_id: int, now: float) -> tuple[Evidence, ...]:
        """No evidence."""
        return ()

    def heard_at(self, host_id: int) -> float:
        """Nothing was heard."""
        return 0.0


class Work:
    """One event's draft; ``now`` is in epoch seconds."""

    def __init__(
        self,
        draft: Draft,
        now: float,
        epoch: int,
        settings: Settings,
        actor: Actor = HOLDFAST,
        restarting: MutableMapping[int, int] | None = None,
        senses: Senses | None = None,
    ) -> None:
        self.senses: Senses = senses or NoSenses()
        self.executions: Mapping[int, Sequence[HookExecution]] = {}
        """The hooks' logs, as committed."""
        self.draft = draft
        self.restarting: MutableMapping[int, int] = {} if restarting is None else restarting
        """Which open failover restarts a VM (an index: always checked against the failover itself)."""
        self.strays: Set[int] = frozenset()
        """VMs that may still run on a host which does not list them any more, as committed."""
        self.on_the_way: Set[int] = frozenset()
        """VMs whose files are leaving a host, as committed."""
        self.now = now
        self.epoch = epoch
        self.settings = settings
        self.actor = actor
        self.effects: list[Effect] = []
        self.notices: list[Notice] = []
        self.presence: dict[int, float] = {}
        """When whoever repairs a VM's transfer was last heard, by VM; volatile."""

    @property
    def second(self) -> int:
        """The time as OpenNebula stores it."""
        return int(self.now)

    def get(self, kind: type[T], oid: int) -> T:
        """The object; raises NoSuchObject."""
        found = self.draft.find(kind, oid)
        if found is None:
            raise NoSuchObject(SPOKEN[kind], oid)
        return found

    def find(self, kind: type[T], oid: int) -> T | None:
        """The object, or None."""
        return self.draft.find(kind, oid)

    def strays_of(self, host_id: int) -> list[Vm]:
        """VMs that the host does not list (being removed, PENDING again, or elsewhere), but that may run there."""
        staged = {vm.oid for vm in self.draft.staged_anywhere(Vm) if strays(vm)}
        found = (self.draft.find(Vm, vm_id) for vm_id in sorted(self.strays | staged))
        return [vm for vm in found if vm is not None and host_id in strays(vm)]

    def leaving(self, host_id: int) -> list[Vm]:
        """VMs that the host does not list any more, whose files are still on their way from it."""
        staged = {vm.oid for vm in self.draft.staged_anywhere(Vm)}
        found = (self.draft.find(Vm, vm_id) for vm_id in sorted(self.on_the_way | staged))
        return [vm for vm in found if vm is not None and source_of_files(vm) == host_id]

    def plan(
        self,
        kind: EffectKind,
        subject: int,
        host_id: int = -1,
        args: Mapping[str, str] | None = None,
        proof_id: int = -1,
        limit_s: float | None = None,
    ) -> Effect:
        """Writes an effect into the journal; it is handed out once the batch is committed."""
        deadline = self.now + (self.settings.deadlines_s[kind] if limit_s is None else limit_s)
        effect = Effect(
            self.draft.next_id(Effect),
            kind,
            subject,
            host_id,
            self.now,
            deadline,
            self.epoch,
            EffectState.RUNNING,
            proof_id,
            args=dict(args or {}),
        )
        self.draft.put(effect)
        self.effects.append(effect)
        self.notices.append(Ordered(effect))
        return effect

    def close(self, effect_id: int, state: EffectState, message: str = "") -> None:
        """Ends an effect; what its driver says from now on changes nothing."""
        effect = self.draft.find(Effect, effect_id) if effect_id >= 0 else None
        if effect is not None and effect.state.is_open:
            ended = replace(effect, state=state, ended_at=self.now, message=message)
            self.draft.put(ended)
            self.notices.append(Ended(ended))
            self.effects = [planned for planned in self.effects if planned.oid != effect_id]

    def give_capacity(self, hid: int, vm: Vm) -> None:
        """The VM's capacity returns to the host."""
        host = self.draft.find(Host, hid)
        if host is not None and vm.oid in host.vms:
            self.draft.put(
                replace(
                    host,
                    vms=tuple(oid for oid in host.vms if oid != vm.oid),
                    cpu_usage=host.cpu_usage - vm.cpu_percent,
                    mem_usage=host.mem_usage - vm.memory_kb,
                )
            )

    def resize_capacity(self, hid: int, before: Vm, after: Vm) -> None:
        """A host that holds the VM's capacity holds that of its new size."""
        host = self.draft.find(Host, hid)
        if host is not None and after.oid in host.vms:
            self.draft.put(
                replace(
                    host,
                    cpu_usage=host.cpu_usage - before.cpu_percent + after.cpu_percent,
                    mem_usage=host.mem_usage - before.memory_kb + after.memory_kb,
                )
            )

    def take_capacity(self, hid: int, vm: Vm) -> None:
        """The VM's capacity is taken from the host."""
        host = self.get(Host, hid)
        if vm.oid not in host.vms:
            self.draft.put(
                replace(
                    host,
                    vms=(*host.vms, vm.oid),
                    cpu_usage=host.cpu_usage + vm.cpu_percent,
                    mem_usage=host.mem_usage + vm.memory_kb,
                )
            )
