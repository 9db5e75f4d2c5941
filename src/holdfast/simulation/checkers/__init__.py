"""What must hold after every event, judged without the code under test: by the world, and by what was committed.

Costs grow with what an event changed; everything is looked at once more after a restart and at the end.
"""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.engine.engine import Batch
from holdfast.engine.state import State
from holdfast.model.effect import Effect
from holdfast.model.enums import EffectKind, FailoverMode, FailoverState, HostState
from holdfast.model.failover import Failover, Proof
from holdfast.model.host import Host
from holdfast.model.vm import Vm
from holdfast.simulation.checkers.answers import Answers
from holdfast.simulation.checkers.capacity import Capacity
from holdfast.simulation.checkers.ending import Ending
from holdfast.simulation.checkers.history import check_history
from holdfast.simulation.checkers.own_files import OwnFiles
from holdfast.simulation.checkers.positions import check_position
from holdfast.simulation.checkers.reference import STABLE, name_of, position_of
from holdfast.simulation.checkers.starts import Starts
from holdfast.simulation.checkers.violation import Violation
from holdfast.simulation.checkers.wanted import check_wish
from holdfast.simulation.checkers.writers import Writers
from holdfast.simulation.wishes import Wishes
from holdfast.simulation.world import World

DURABLE = "a restart finds what was committed"
__all__ = ["Checkers", "Violation"]


class Checkers:
    """All of them; raises Violation."""

    def __init__(self, world: World, wishes: Wishes) -> None:
        self.writers = Writers(world)
        self.ending = Ending(world, wishes)
        self._starts = Starts(world)
        self._own_files = OwnFiles(world, wishes)
        self._capacity = Capacity()
        self._answers = Answers()
        self._wishes = wishes
        self._story = world.story
        self._vms: dict[int, Vm] = {}
        self._effects_seen = -1
        self._hosts_told: dict[int, tuple[HostState, str, bool]] = {}
        self._steps_told: dict[int, int] = {}
        self._recreating: set[int] = set()

    def published(self, state: State, batch: Batch, now: float) -> None:
        """A batch was stored and is shown."""
        for effect in self._answers.published(batch):
            self._starts.answered_well(effect)
            self._own_files.answered_well(effect)
        touched: set[int] = set()
        effects: list[Effect] = []
        for stored in batch.changes.puts:
            if isinstance(stored, Vm):
                touched.update(self._vm(state, stored, now))
            elif isinstance(stored, Host):
                touched.add(stored.oid)
                self._host(stored)
            elif isinstance(stored, Effect):
                effects.append(stored)
            elif isinstance(stored, Proof):
                self._starts.proven(stored)
            elif isinstance(stored, Failover):
                self._failover(stored)
        self._hosts(state, touched)
        self._orders(state, effects)

    def restarted(self, state: State, now: float) -> None:
        """What a restarted controller has read; the last commit may be one that nobody was told of."""
        for oid, vm in self._vms.items():
            if oid not in state.vms:
                raise Violation(DURABLE, f"VM {vm.oid} is gone")
        self._answers.restarted(state.effects)
        touched: set[int] = set(state.hosts)
        for vm in state.vms.values():
            if self._vms.get(vm.oid) != vm:
                touched.update(self._vm(state, vm, now))
        self._hosts(state, touched)
        self._orders(state, list(state.effects.values()))

    def _vm(self, state: State, vm: Vm, now: float) -> Iterable[int]:
        before = self._vms.get(vm.oid)
        self._vms[vm.oid] = vm
        moved = before is None or before.position != vm.position
        if before is not None and moved:
            self._story.tell("vm {}: {} -> {} (host {})", vm.oid, position_of(before), position_of(vm), vm.hid)
        ran = "RUNNING" in (position_of(vm), name_of(vm.prev_state, vm.prev_lcm_state))
        if moved and ran and position_of(vm) in STABLE:
            self._wishes.runs(vm.oid)
        if vm.prev_lcm_state.name.startswith("BOOT") and vm.user_template.get("ERROR"):
            self._wishes.refused.add(vm.oid)
        check_position(state, before, vm)
        check_history(before, vm, int(now) + 1)
        return self._capacity.follow(vm)

    def _host(self, host: Host) -> None:
        """What people would like to know of it."""
        told = (host.state, host.boot_id, host.error_since > 0)
        if self._hosts_told.get(host.oid) != told:
            self._hosts_told[host.oid] = told
            lost = ", lost" if host.error_since else ""
            self._story.tell("host {}: {}{}, boot {}", host.oid, host.state.name, lost, host.boot_id)

    def _failover(self, failover: Failover) -> None:
        told = self._steps_told.get(failover.oid, 0)
        for step in failover.steps[told:]:
            self._story.tell(
                "failover {} of host {}: {}: {}", failover.oid, failover.host_id, step.state.name, step.text
            )
        self._steps_told[failover.oid] = len(failover.steps)
        recreates = failover.mode is FailoverMode.RECREATE and failover.force
        begins = failover.state is FailoverState.RESTARTING and failover.oid not in self._recreating
        if recreates and begins:
            self._recreating.add(failover.oid)
            for row in failover.rows:
                self._wishes.recreated(row.vm_id)

    def _hosts(self, state: State, touched: Iterable[int]) -> None:
        for hid in touched:
            host = state.hosts.get(hid)
            if host is not None:
                self._capacity.check(host)

    def _orders(self, state: State, effects: list[Effect]) -> None:
        """Each order is looked at once, when it is new."""
        newest = self._effects_seen
        for effect in effects:
            if effect.oid > self._effects_seen and effect.state.is_open:
                self._starts.ordered(state, effect)
                self._own_files.ordered(state, effect)
                check_wish(self._wishes, effect)
                if effect.kind is EffectKind.VMM_DEPLOY:
                    self._wishes.starts_anew(effect.subject)
            newest = max(newest, effect.oid)
        self._effects_seen = newest
