"""Waiting VMs get a place, or a reason, and are looked at again when something has changed that may help."""

import pytest

from holdfast.engine import commands as c
from holdfast.engine.events import HostAlive, PlacementDue
from holdfast.engine.scheduling import MOVABLE, waits
from holdfast.lifecycle.events import VmEvent
from holdfast.lifecycle.table import BY_POSITION
from holdfast.model.enums import EffectKind
from holdfast.model.vm_states import LcmState, VmState
from tests.unit.engine.rig import SYSTEM, Rig


@pytest.fixture
def rig() -> Rig:
    """Two hosts in touch."""
    return Rig(hosts=2)


def message(rig: Rig, vm: int) -> str:
    """Why the VM waits."""
    return rig.vm(vm).user_template.get("SCHED_MESSAGE")


def test_vms_created_together_spread_over_the_hosts(rig: Rig) -> None:
    vms = [rig.call(c.AllocateVm("CPU=0.1\nMEMORY=512")) for _ in range(6)]
    rig.settle()
    assert sorted(rig.vm(vm).hid for vm in vms) == [0, 0, 0, 1, 1, 1]


def test_what_is_placed_in_one_batch_does_not_share_the_same_room(rig: Rig) -> None:
    for _ in range(3):
        rig.call(c.AllocateVm("CPU=3\nMEMORY=512"))
    rig.settle()
    assert [len(rig.host(hid).vms) for hid in (0, 1)] == [1, 1]
    assert rig.host(0).cpu_usage == rig.host(1).cpu_usage == 300


def test_a_vm_that_fits_nowhere_says_what_it_needs_and_is_not_asked_again_without_a_change(rig: Rig) -> None:
    vm = rig.call(c.AllocateVm("CPU=8\nMEMORY=512"))
    rig.settle()
    assert rig.vm(vm).state is VmState.PENDING
    assert "needed 512 MB and 8 CPU" in message(rig, vm)
    rig.now += 3600
    assert rig.engine.due(rig.now) == []


@pytest.mark.parametrize("change", ["new host", "more capacity", "enabled", "room"])
def test_a_waiting_vm_is_looked_at_again_when_a_host_can_take_more(rig: Rig, change: str) -> None:
    rig.call(c.SetHostStatus(1, 1))
    full = rig.running_vm(0, memory_mb=6000)
    vm = rig.call(c.AllocateVm("CPU=1\nMEMORY=4096"))
    rig.settle()
    assert rig.vm(vm).state is VmState.PENDING
    if change == "new host":
        rig.add_host("host3")
    elif change == "more capacity":
        rig.tell(HostAlive(0, "boot-host1-1", (), {**SYSTEM, "TOTALMEMORY": str(16 * 1024 * 1024)}))
    elif change == "enabled":
        rig.call(c.SetHostStatus(1, 0))
    else:
        rig.call(c.RecoverVm(full, 3))
    rig.settle()
    assert rig.vm(vm).lcm_state is LcmState.RUNNING
    assert message(rig, vm) == ""


def test_a_host_that_is_not_in_touch_gets_nothing(rig: Rig) -> None:
    rig.lose(0)
    rig.call(c.SetHostStatus(1, 1))
    vm = rig.call(c.AllocateVm("CPU=1\nMEMORY=64"))
    rig.settle()
    assert message(rig, vm) == "No host can take VMs: none is in state MONITORED."


def test_a_held_vm_waits_for_nobody(rig: Rig) -> None:
    vm = rig.call(c.AllocateVm("CPU=1\nMEMORY=64", hold=True))
    rig.settle()
    assert rig.vm(vm).state is VmState.HOLD
    rig.call(c.VmAction(vm, "release"))
    rig.settle()
    assert rig.vm(vm).lcm_state is LcmState.RUNNING


def test_a_rescheduled_powered_off_vm_moves_to_another_host(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.call(c.VmAction(vm, "poweroff"))
    rig.settle()
    rig.call(c.VmAction(vm, "resched"))
    rig.settle()
    assert (rig.vm(vm).hid, rig.vm(vm).state, rig.vm(vm).resched) == (1, VmState.POWEROFF, False)


def test_a_failed_boot_is_rescheduled_to_another_host_not_to_the_same(rig: Rig) -> None:
    vm = rig.call(c.AllocateVm("CPU=1\nMEMORY=64", hold=True))
    rig.call(c.DeployVm(vm, 0))
    rig.answer(EffectKind.TM_PROLOG)
    rig.answer(EffectKind.VMM_DEPLOY, ok=False, message="no such machine type")
    rig.call(c.VmAction(vm, "resched"))
    rig.settle()
    assert (rig.vm(vm).hid, rig.vm(vm).lcm_state) == (1, LcmState.RUNNING)


def test_a_vm_that_may_still_run_waits_for_proof_whatever_room_there_is(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.lose(0)
    rig.call(c.VmAction(vm, "resched"))
    rig.settle()
    assert rig.vm(vm).lcm_state is LcmState.UNKNOWN
    assert "waits for proof" in message(rig, vm)
    rig.add_host("host3")
    rig.settle()
    assert not rig.starts()


def test_vms_of_a_failover_come_before_others_that_wait(rig: Rig) -> None:
    dead = rig.running_vm(0, "dead", memory_mb=3000)
    rig.running_vm(1, "full", memory_mb=6000)
    others = [rig.call(c.AllocateVm("CPU=0.1\nMEMORY=3500")) for _ in range(2)]
    rig.settle()
    waiting = [vm for vm in others if rig.vm(vm).state is VmState.PENDING]
    assert waiting
    rig.lose(0)
    rig.open_failover(0)
    rig.answer(EffectKind.FENCE_STATUS, POWER="OFF")
    rig.add_host("host3")
    rig.tick()
    assert rig.vm(dead).hid == 2
    rig.settle()


def test_after_a_restart_waiting_vms_are_looked_at_again(rig: Rig) -> None:
    rig.call(c.AllocateVm("CPU=8\nMEMORY=512"))
    rig.settle()
    rig.restart()
    assert rig.engine.due(rig.now) == [PlacementDue((0,))]


def test_a_vm_waits_only_where_it_can_be_moved(rig: Rig) -> None:
    vm = rig.vm(rig.running_vm(0))
    assert not waits(vm)
    for position in MOVABLE:
        assert (position, VmEvent.RESTART_ELSEWHERE) in BY_POSITION
    moves = (VmEvent.MIGRATE, VmEvent.MIGRATE_SAVE)
    assert {position for position, event in BY_POSITION if event in moves} == set(MOVABLE)
