"""VMs whose files are on one host alone run where these are, or anew; and nothing asks a dead host for files."""

from __future__ import annotations

from holdfast.engine.state import State
from holdfast.model.effect import Effect
from holdfast.model.enums import EffectKind
from holdfast.model.vm import Vm
from holdfast.simulation.checkers.starts import STARTS
from holdfast.simulation.checkers.violation import Violation
from holdfast.simulation.machine import Domain, End, Life
from holdfast.simulation.wishes import Wishes
from holdfast.simulation.world import NOWHERE, World

FROM_NOTHING = "a VM whose files died with its host runs nowhere else, except when it is made anew"
DEAD = "nothing of a failover asks the dead host"


class OwnFiles:
    """Looks at every start, and at every order to a transfer driver."""

    def __init__(self, world: World, wishes: Wishes) -> None:
        self._world, self._wishes = world, wishes
        self._misled: set[int] = set()
        """VMs whose files were said to have come, by an operator's wrong word; so until they are where they start."""
        world.watchers.append(self.changed)

    def changed(self, domain: Domain, why: End | None) -> None:
        """A domain appeared, changed or went."""
        at = self._world.storage.places.get(domain.vm_id)
        if why is None and domain.life is Life.RUNNING and at is not None and at != domain.hid:
            raise Violation(FROM_NOTHING, f"VM {domain.vm_id} runs on host {domain.hid}, its files are on {at}")

    def answered_well(self, effect: Effect) -> None:
        """The controller has heard that a step is done."""
        if self._world.storage.unanswered.get(effect.subject) == effect.oid:
            del self._world.storage.unanswered[effect.subject]

    def ordered(self, state: State, effect: Effect) -> None:
        """An order was stored, and goes out now."""
        vm = state.vms.get(effect.subject)
        if vm is None or not self._is_apart(state, vm):
            return
        if effect.kind in STARTS:
            self._start(effect)
        elif effect.kind.value.startswith("tm."):
            self._transfer(state, effect, vm)

    def _is_apart(self, state: State, vm: Vm) -> bool:
        system = state.datastores.get(vm.current.ds_id) if vm.current else None
        return system is not None and not system.shared

    def _start(self, effect: Effect) -> None:
        """Where the controller cannot know that the files have gone, a start there fails: QEMU finds no disk."""
        at = self._world.storage.places.get(effect.subject, NOWHERE)
        if at == effect.host_id:
            self._misled.discard(effect.subject)
        elif effect.subject in self._wishes.vouched | self._wishes.doubted:
            self._misled.add(effect.subject)
        elif effect.subject not in self._misled and effect.subject not in self._world.storage.unanswered:
            raise Violation(
                FROM_NOTHING, f"VM {effect.subject} is to start on host {effect.host_id}, its files are on {at}"
            )

    def _transfer(self, state: State, effect: Effect, vm: Vm) -> None:
        """A host that is proven dead, and has not been heard since, is named as lost."""
        if vm.is_parked or effect.kind is EffectKind.TM_LINE:  # what an operator does by hand is his own
            return
        lost = effect.args.get("LOST", "").split()
        for host in (state.hosts.get(hid) for hid in _concerned(effect, vm)):
            if host is not None and host.error_since > 0 and host.proof_id >= 0 and host.name not in lost:
                raise Violation(DEAD, f"{effect.kind.value} of VM {vm.oid} asks host {host.oid}, which is proven dead")


def _concerned(effect: Effect, vm: Vm) -> set[int]:
    """The hosts whose files the order is about."""
    if effect.kind in (EffectKind.TM_PROLOG, EffectKind.TM_RESUME):
        return {effect.host_id}
    more = {EffectKind.TM_MIGRATE: vm.previous_hid, EffectKind.TM_DELETE: int(effect.args.get("OTHER_HID", "-1"))}
    return {effect.host_id, more.get(effect.kind, -1)}
