"""What each guard requires, and what its refusal tells the operator."""

from dataclasses import replace

import pytest

from holdfast.lifecycle import Facts
from holdfast.lifecycle import positions as p
from holdfast.lifecycle.guards import CHECKS
from holdfast.lifecycle.vocabulary import Guard
from holdfast.model.enums import HistoryAction as A
from holdfast.model.vm import Vm
from tests.unit.lifecycle.subjects import EARLIER, FACTS, HERE, OLD, SITUATIONS, TARGET, THERE, parked, vm_at

LOST = replace(FACTS, host_lost=True)
NOWHERE = vm_at(p.POWEROFF, ())
RUNS = vm_at(p.RUNNING)
DOUBTED = vm_at(p.RUNNING, (HERE, OLD))
ELSEWHERE = vm_at(p.UNKNOWN, (OLD,))
STOPPED, UNDEPLOYED = vm_at(p.STOPPED), vm_at(p.UNDEPLOYED)
RECREATED = vm_at(p.PENDING)
MOVES = vm_at(p.SAVE_MIGRATE)
PAUSED = replace(vm_at(p.SUSPENDED, (HERE,)), history=(replace(EARLIER, hid=HERE, action=A.MONITOR),))
PROOF = "onehost failover confirm ID"
NO_TARGET = replace(FACTS, target=None)


def by(action: A) -> Vm:
    """A VM whose move began with this action."""
    return replace(MOVES, history=tuple(replace(record, action=action) for record in MOVES.history))


ON_ONE_HOST = replace(MOVES, history=(replace(EARLIER, hid=HERE, etime=0), MOVES.history[1]))

HOLDS = [
    (Guard.ALWAYS, DOUBTED, LOST),
    (Guard.MOVABLE, NOWHERE, FACTS),
    (Guard.MOVABLE, NOWHERE, LOST),
    (Guard.MOVABLE_STOPPED, STOPPED, FACTS),
    (Guard.MOVABLE_UNDEPLOYED, UNDEPLOYED, FACTS),
    (Guard.MOVABLE_UNDEPLOYED, replace(UNDEPLOYED, history=(parked(A.UNDEPLOY_HARD),)), FACTS),
    (Guard.MOVABLE_ALIVE, RUNS, FACTS),
    (Guard.STARTABLE_HERE, NOWHERE, FACTS),
    (Guard.STARTABLE_HERE, RUNS, FACTS),
    (Guard.ONLY_HERE, RUNS, FACTS),
    (Guard.ONLY_HERE, NOWHERE, FACTS),
    (Guard.NOWHERE, NOWHERE, LOST),
    (Guard.HOST_IN_TOUCH, DOUBTED, FACTS),
    (Guard.LEFT_NOWHERE, RUNS, FACTS),
    (Guard.LEFT_NOWHERE, NOWHERE, replace(FACTS, certain=False)),
    (Guard.LEFT_NOWHERE, vm_at(p.RUNNING, (HERE, THERE)), replace(FACTS, order_hids=(HERE, THERE))),
    (Guard.SOURCE_DIED_IN_DOUBT, MOVES, replace(FACTS, dead_hid=OLD)),
    (Guard.SOURCE_DIED_IN_DOUBT, vm_at(p.MIGRATE, (OLD, HERE, THERE)), replace(FACTS, dead_hid=OLD)),
    (Guard.FILES_STAYED, SITUATIONS["new-datastore"].vm(p.PROLOG_MIGRATE), FACTS),
    (Guard.FILES_STAYED, MOVES, replace(FACTS, local_files=True)),
    (Guard.SOURCE_DIED_WITH_FILES, MOVES, replace(FACTS, dead_hid=OLD, local_files=True)),
    (Guard.RESTORE_IN_DOUBT, SITUATIONS["resumed"].vm(p.SUSPENDED), FACTS),
    (Guard.RESTORE_IN_DOUBT, vm_at(p.BOOT_STOPPED_FAILURE, (HERE,)), FACTS),
    (Guard.TAKEN_FOR_OFF, SITUATIONS["off-there"].vm(p.POWEROFF), FACTS),
    (Guard.CERTAIN, RUNS, FACTS),
    (Guard.SHUTTING_SOFTLY, vm_at(p.SHUTDOWN), FACTS),
    (Guard.BY_POWEROFF, by(A.POFF_MIGRATE), FACTS),
    (Guard.BY_POWEROFF_HARD, by(A.POFF_HARD_MIGRATE), FACTS),
    (Guard.WITHOUT_CHECKPOINT, by(A.POFF_MIGRATE), FACTS),
    (Guard.WITHOUT_CHECKPOINT, by(A.POFF_HARD_MIGRATE), FACTS),
    (Guard.WITHOUT_CHECKPOINT_DESTINATION_LOST, by(A.POFF_MIGRATE), LOST),
    (Guard.DESTINATION_LOST, MOVES, LOST),
    (Guard.SOURCE_DIED, MOVES, replace(FACTS, dead_hid=OLD)),
    (Guard.DESTINATION_DIED, MOVES, FACTS),
    (Guard.BOTH_DIED, ON_ONE_HOST, FACTS),
    (Guard.DIED_LAST, RUNS, FACTS),
    (Guard.DIED_LAST, NOWHERE, FACTS),
    (Guard.FOUND_PAUSED, PAUSED, FACTS),
    (Guard.CHECKPOINT_GONE, vm_at(p.BOOT_SUSPENDED), replace(FACTS, values={"CHECKPOINT": "GONE"})),
    (Guard.ON_FRONTEND, STOPPED, FACTS),
    (Guard.ON_FRONTEND, UNDEPLOYED, FACTS),
    (Guard.HELD, replace(RECREATED, template=RECREATED.template.with_values(SUBMIT_ON_HOLD="YES")), FACTS),
    (Guard.COLD_NIC_ATTACH, NOWHERE, replace(FACTS, cold_nic_attach=True)),
    (Guard.ONLY_THERE, vm_at(p.UNKNOWN, (THERE,)), FACTS),
]

REFUSED = [
    (Guard.MOVABLE, NOWHERE, NO_TARGET, "No target host was given."),
    (Guard.MOVABLE, RUNS, FACTS, f"VM 42 may still run on host host{HERE} ({HERE}): without proof that the host is"),
    (Guard.MOVABLE, vm_at(p.PENDING, (THERE,)), FACTS, f"may still run on host {THERE}"),
    (Guard.MOVABLE, DOUBTED, FACTS, f"on host host{HERE} ({HERE}), host{OLD} ({OLD})"),
    (Guard.MOVABLE, RUNS, FACTS, PROOF),
    (Guard.MOVABLE_STOPPED, UNDEPLOYED, FACTS, "not on the front-end"),
    (Guard.MOVABLE_STOPPED, RECREATED, FACTS, "not on the front-end"),
    (Guard.MOVABLE_STOPPED, replace(STOPPED, may_run_on=(HERE,)), FACTS, "may still run"),
    (Guard.MOVABLE_UNDEPLOYED, STOPPED, FACTS, "not on the front-end"),
    (Guard.MOVABLE_UNDEPLOYED, replace(UNDEPLOYED, may_run_on=(HERE,)), FACTS, "may still run"),
    (Guard.MOVABLE_ALIVE, RUNS, NO_TARGET, "No target host was given."),
    (Guard.MOVABLE_ALIVE, RUNS, LOST, f"Host host{HERE} ({HERE}) is lost and not proven dead"),
    (Guard.MOVABLE_ALIVE, DOUBTED, FACTS, f"may still run on host host{OLD} ({OLD})"),
    (Guard.STARTABLE_HERE, ELSEWHERE, FACTS, f"may still run on host host{OLD} ({OLD})"),
    (Guard.STARTABLE_HERE, NOWHERE, LOST, "VM 42 does not run there, and cannot be started there until it is back"),
    (Guard.STARTABLE_HERE, RUNS, LOST, PROOF),
    (Guard.ONLY_HERE, DOUBTED, FACTS, f"VM 42 may run on host host{OLD} ({OLD}) too"),
    (Guard.ONLY_HERE, DOUBTED, FACTS, PROOF),
    (Guard.ONLY_HERE, RUNS, LOST, f"Host host{HERE} ({HERE}) is lost"),
    (Guard.NOWHERE, RUNS, FACTS, f"A domain of VM 42 may still run on host host{HERE} ({HERE})"),
    (Guard.NOWHERE, RUNS, FACTS, PROOF),
    (Guard.HOST_IN_TOUCH, RUNS, LOST, f"Host host{HERE} ({HERE}) is lost and not proven dead"),
    (Guard.HOST_IN_TOUCH, RUNS, LOST, PROOF),
    (Guard.LEFT_NOWHERE, RUNS, replace(FACTS, certain=False), f"may be left on host host{HERE} ({HERE})"),
    (Guard.LEFT_NOWHERE, vm_at(p.RUNNING, (HERE, THERE)), FACTS, f"may be left on host {THERE}"),
    (Guard.SOURCE_DIED, vm_at(p.MIGRATE, (OLD, HERE, THERE)), replace(FACTS, dead_hid=OLD), f"left on host {THERE}"),
    (Guard.DESTINATION_DIED, vm_at(p.MIGRATE, (OLD, HERE, THERE)), FACTS, f"left on host {THERE}"),
    (Guard.SOURCE_DIED_IN_DOUBT, MOVES, FACTS, "Another host died"),
    (Guard.FILES_STAYED, MOVES, FACTS, "where its record says"),
    (Guard.FILES_STAYED, ON_ONE_HOST, replace(FACTS, local_files=True), "where its record says"),
    (Guard.FILES_STAYED, replace(RUNS, history=()), FACTS, "never was anywhere else"),
    (Guard.SOURCE_DIED_WITH_FILES, MOVES, replace(FACTS, dead_hid=OLD), "All hosts see"),
    (Guard.SOURCE_DIED_WITH_FILES, MOVES, replace(FACTS, local_files=True), "Another host died"),
    (Guard.RESTORE_IN_DOUBT, vm_at(p.SUSPENDED, (HERE,)), FACTS, "in doubt"),
    (Guard.RESTORE_IN_DOUBT, SITUATIONS["paused"].vm(p.SUSPENDED), FACTS, "in doubt"),
    (Guard.TAKEN_FOR_OFF, vm_at(p.POWEROFF, (THERE,)), FACTS, "switched the VM off"),
    (Guard.TAKEN_FOR_OFF, SITUATIONS["paused"].vm(p.POWEROFF), FACTS, "not certain"),
    (Guard.CERTAIN, RUNS, replace(FACTS, certain=False), "not certain"),
    (Guard.SHUTTING_SOFTLY, vm_at(p.SHUTDOWN, hard=True), FACTS, "being destroyed"),
    (Guard.BY_POWEROFF, MOVES, FACTS, "moves another way"),
    (Guard.BY_POWEROFF, by(A.POFF_HARD_MIGRATE), FACTS, "moves another way"),
    (Guard.BY_POWEROFF_HARD, by(A.POFF_MIGRATE), FACTS, "moves another way"),
    (Guard.WITHOUT_CHECKPOINT, MOVES, FACTS, "moves another way"),
    (Guard.WITHOUT_CHECKPOINT_DESTINATION_LOST, MOVES, LOST, "moves another way"),
    (Guard.WITHOUT_CHECKPOINT_DESTINATION_LOST, by(A.POFF_MIGRATE), FACTS, "in touch"),
    (Guard.DESTINATION_LOST, MOVES, FACTS, "in touch"),
    (Guard.SOURCE_DIED, MOVES, FACTS, "Another host died"),
    (Guard.SOURCE_DIED, ON_ONE_HOST, FACTS, "Another host died"),
    (Guard.DESTINATION_DIED, MOVES, replace(FACTS, dead_hid=OLD), "Another host died"),
    (Guard.BOTH_DIED, MOVES, FACTS, "Another host died"),
    (Guard.BOTH_DIED, ON_ONE_HOST, replace(FACTS, dead_hid=OLD), "Another host died"),
    (Guard.DIED_LAST, DOUBTED, FACTS, f"may be left on host host{OLD} ({OLD})"),
    (Guard.FOUND_PAUSED, vm_at(p.SUSPENDED), FACTS, "has a checkpoint"),
    (Guard.CHECKPOINT_GONE, vm_at(p.BOOT_SUSPENDED), FACTS, "checkpoint is there"),
    (Guard.ON_FRONTEND, RECREATED, FACTS, "not on the front-end"),
    (Guard.ON_FRONTEND, NOWHERE, FACTS, "not on the front-end"),
    (Guard.HELD, RECREATED, FACTS, "not created on hold"),
    (Guard.COLD_NIC_ATTACH, NOWHERE, FACTS, "does not attach NICs"),
    (Guard.ONLY_THERE, DOUBTED, FACTS, "not certain that VM 42 runs there"),
    (Guard.ONLY_THERE, RUNS, replace(FACTS, target=replace(TARGET, hid=HERE)), "not certain"),
    (Guard.ONLY_THERE, vm_at(p.UNKNOWN, (THERE,)), NO_TARGET, "not certain"),
]


@pytest.mark.parametrize(("guard", "vm", "facts"), HOLDS)
def test_the_guard_holds(guard: Guard, vm: Vm, facts: Facts) -> None:
    assert CHECKS[guard](vm, facts) is None


@pytest.mark.parametrize(("guard", "vm", "facts", "said"), REFUSED)
def test_the_guard_refuses_and_says_why(guard: Guard, vm: Vm, facts: Facts, said: str) -> None:
    answer = CHECKS[guard](vm, facts)
    assert answer is not None
    assert said in answer
    assert answer.endswith((".", str(vm.oid)))


def test_every_guard_is_shown_to_hold_and_to_refuse() -> None:
    assert {guard for guard, *_ in HOLDS} == set(Guard)
    assert {guard for guard, *_ in REFUSED} == set(Guard) - {Guard.ALWAYS}
