"""How a run must end: nothing waits for ever, nothing is lost, and whatever was not recovered says why."""

from __future__ import annotations

from holdfast.engine.state import State
from holdfast.model.enums import FailoverState, RowState
from holdfast.model.failover import Failover
from holdfast.model.vm import Vm
from holdfast.simulation.checkers.reference import STABLE, position_of
from holdfast.simulation.checkers.violation import Violation
from holdfast.simulation.machine import Life
from holdfast.simulation.wishes import Wish, Wishes
from holdfast.simulation.world import World

WAITS = "nothing waits for ever"
LOST = "no VM is lost: it runs, is off by wish, or says why not"
ZOMBIE = "no domain lives on without its VM"
BOUND = "each VM of a dead host runs again or is explained"
GRACE_S = 5.0


class Ending:
    """The last look, when everything has had time to heal."""

    def __init__(self, world: World, wishes: Wishes) -> None:
        self._world = world
        self._wishes = wishes

    def check(self, state: State, now: float) -> None:
        """Everything at once."""
        for effect in state.effects.values():
            if effect.deadline + GRACE_S < now:
                late_s = now - effect.deadline
                raise Violation(
                    WAITS, f"effect {effect.oid} ({effect.kind.value}) is open {late_s:.0f} s after its deadline"
                )
        for vm in state.vms.values():
            self._vm(state, vm)
        self._failovers(state)

    def _vm(self, state: State, vm: Vm) -> None:
        position = position_of(vm)
        if position not in STABLE:
            raise Violation(WAITS, f"VM {vm.oid} is still in {position}")
        running = self._world.running_on(vm.oid)
        if position == "RUNNING":
            if running != [vm.hid] and not self._held_by_word(vm):
                raise Violation(LOST, f"VM {vm.oid} is RUNNING on host {vm.hid}, its domain runs on {running}")
            return
        if running:
            self._zombie(vm, position, running)
        if position.endswith("FAILURE") and not self._explained(state, vm):
            raise Violation(LOST, f"VM {vm.oid} is in {position} and does not say why")
        if position in ("UNKNOWN", "PENDING") and not self._explained(state, vm):
            raise Violation(BOUND, f"VM {vm.oid} is {position} at the end and does not say why")
        there = vm.oid in self._world.storage.checkpoints or vm.oid in self._wishes.vouched
        if position in ("SUSPENDED", "STOPPED") and not there:
            raise Violation(LOST, f"VM {vm.oid} is {position}, and there is no checkpoint of its memory")
        if position in ("POWEROFF", "SUSPENDED", "STOPPED", "UNDEPLOYED"):
            self._off(state, vm, position)

    def _held_by_word(self, vm: Vm) -> bool:
        """An operator has said that a move or a restore was over, while its domain was still held."""
        domain = self._world.machines[vm.hid].domains.get(vm.oid)
        return vm.oid in self._wishes.vouched and domain is not None and domain.life in (Life.PAUSED, Life.ARRIVED)

    def _zombie(self, vm: Vm, position: str, running: list[int]) -> None:
        if vm.oid in self._wishes.abandoned:
            return
        if vm.user_template.get("ERROR") and position != "DONE":
            return
        raise Violation(ZOMBIE, f"VM {vm.oid} is {position}, its domain runs on host {running[0]}")

    def _off(self, state: State, vm: Vm, position: str) -> None:
        """Off by wish, by its guest, or with a reason."""
        wishes = self._wishes
        if wishes.of.get(vm.oid) in (Wish.OFF, Wish.GONE) or vm.oid in wishes.refused | wishes.doubted:
            return
        if vm.oid in self._world.ended_by_itself:
            return
        if not self._explained(state, vm):
            raise Violation(LOST, f"VM {vm.oid} is {position}, which nobody wanted, and does not say why")

    def _explained(self, state: State, vm: Vm) -> bool:
        if vm.user_template.get("ERROR") or vm.user_template.get("SCHED_MESSAGE"):
            return True
        if vm.oid in self._wishes.abandoned or vm.oid in self._wishes.vouched:
            return True
        return any(_explains(failover, vm) for failover in state.failovers.values())

    def _failovers(self, state: State) -> None:
        """A failover has ended, or is BLOCKED with a reason, or every VM it waits for says for what."""
        for failover in state.failovers.values():
            if not failover.is_open:
                continue
            if failover.state is FailoverState.BLOCKED:
                if "onehost failover" not in failover.reason:
                    raise Violation(
                        BOUND, f"failover {failover.oid} is BLOCKED and shows no way out: {failover.reason}"
                    )
            elif failover.state is FailoverState.RESTARTING:
                silent = [row.vm_id for row in failover.rows if row.state is RowState.WAITING and not row.reason]
                if silent:
                    raise Violation(BOUND, f"failover {failover.oid} waits for VMs {silent} and does not say why")
            else:
                raise Violation(WAITS, f"failover {failover.oid} is still {failover.state.name}")


def _explains(failover: Failover, vm: Vm) -> bool:
    """The failover says something of the VM, or stands still with a reason, or an operator has given it up."""
    if failover.state is FailoverState.BLOCKED and failover.reason and vm.hid == failover.host_id:
        return True
    given_up = failover.state is FailoverState.ABORTED and failover.reason.startswith("aborted by")
    return any(row.vm_id == vm.oid and (row.reason or given_up) for row in failover.rows)
