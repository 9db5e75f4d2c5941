"""Hosts that come back: what a new boot proves, what it does not, and what an old boot contradicts."""

import pytest

from holdfast.engine import commands as c
from holdfast.engine.events import Answered, HostAlive, HostSilent, VmSeen
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind, FailoverState, HostState, RowState
from holdfast.model.errors import ActionError
from holdfast.model.vm_states import LcmState, VmState
from tests.unit.engine.rig import Rig

OLD, NEW = "boot-host1-1", "boot-host1-2"


@pytest.fixture
def rig() -> Rig:
    """Three hosts in touch."""
    return Rig(hosts=3)


def test_a_vm_that_the_rebooted_host_reports_is_not_started_elsewhere(rig: Rig) -> None:
    vm, other = rig.running_vm(0), rig.running_vm(0, "other")
    rig.lose(0)
    failover = rig.open_failover(0, flags='PAUSE="60"')
    rig.tell(HostAlive(0, NEW, ((vm, "RUNNING"),)), VmSeen(0, vm, "RUNNING"))
    rig.settle()
    assert (rig.vm(vm).hid, rig.vm(vm).lcm_state, rig.vm(vm).may_run_on) == (0, LcmState.RUNNING, (0,))
    assert rig.vm(other).hid in (1, 2)
    rows = {row.vm_id: row for row in rig.failover(failover).rows}
    assert rows[vm].state is RowState.SKIPPED
    assert "left alone" in rows[vm].reason
    assert rows[other].state is RowState.RUNNING


def test_a_start_that_went_to_the_new_boot_is_not_repeated_elsewhere(rig: Rig) -> None:
    vm = rig.call(c.AllocateVm("CPU=0.1\nMEMORY=64", hold=True))
    rig.call(c.DeployVm(vm, 0))
    rig.answer(EffectKind.TM_PROLOG)
    rig.now += 5
    rig.engine.senses.detector.beat(0, OLD, (), rig.now)
    rig.now += 5
    rig.tell(HostSilent(0, rig.now, False, ()))
    rig.open_failover(0, flags='PAUSE="60"')
    rig.now += 10
    rig.tell(HostAlive(0, NEW, ((vm, "RUNNING"),)))
    assert [order.host_id for order in rig.starts()] == [0]
    rig.answer(EffectKind.VMM_DEPLOY)
    assert (rig.vm(vm).hid, rig.vm(vm).lcm_state) == (0, LcmState.RUNNING)


def test_a_late_hook_after_a_reboot_leaves_alone_what_was_started_since(rig: Rig) -> None:
    started, left = rig.running_vm(0), rig.running_vm(0, "left")
    rig.lose(0)
    rig.tell(HostAlive(0, NEW))
    rig.call(c.VmAction(started, "resume"))
    rig.settle()
    failover = rig.open_failover(0)
    rig.settle()
    assert (rig.vm(started).hid, rig.vm(started).lcm_state) == (0, LcmState.RUNNING)
    assert rig.vm(left).hid in (1, 2)
    assert rig.failover(failover).state is FailoverState.DONE


def test_a_vm_being_started_on_the_new_boot_is_not_taken_from_it_by_a_late_hook(rig: Rig) -> None:
    rig.lose(0)
    rig.tell(HostAlive(0, NEW))
    vm = rig.call(c.AllocateVm("CPU=0.1\nMEMORY=64", hold=True))
    rig.call(c.DeployVm(vm, 0))
    rig.answer(EffectKind.TM_PROLOG)
    rig.now += 5
    rig.open_failover(0)
    assert [order.host_id for order in rig.starts()] == [0]
    assert rig.vm(vm).may_run_on == (0,)


def test_long_after_a_reboot_the_host_is_in_touch_like_any_other(rig: Rig) -> None:
    rig.running_vm(0)
    rig.lose(0)
    rig.tell(HostAlive(0, NEW))
    rig.now += 3600
    with pytest.raises(ActionError, match="in touch"):
        rig.open_failover(0)


def test_a_reboot_alone_frees_the_vms_that_ran_before_it(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.lose(0)
    rig.tell(HostAlive(0, NEW))
    assert (rig.vm(vm).lcm_state, rig.vm(vm).may_run_on) == (LcmState.UNKNOWN, ())
    rig.call(c.MigrateVm(vm, 1))
    rig.settle()
    assert (rig.vm(vm).hid, rig.vm(vm).lcm_state) == (1, LcmState.RUNNING)


def test_a_shutdown_under_way_while_the_host_reboots_is_left_to_its_driver(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.call(c.VmAction(vm, "poweroff"))
    rig.lose(0)
    rig.tell(HostAlive(0, NEW))
    assert rig.vm(vm).lcm_state is LcmState.SHUTDOWN_POWEROFF
    rig.answer(EffectKind.VMM_SHUTDOWN)
    assert (rig.vm(vm).state, rig.vm(vm).may_run_on) == (VmState.POWEROFF, ())


def test_a_host_that_returns_while_it_is_being_fenced_ends_its_failover_when_the_fencing_fails(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.lose(0)
    failover = rig.open_failover(0, flags="PAUSE=0")
    rig.answer(EffectKind.FENCE_STATUS, POWER="ON")
    rig.tell(HostAlive(0, OLD, ((vm, "RUNNING"),)), VmSeen(0, vm, "RUNNING"))
    assert rig.failover(failover).state is FailoverState.FENCING
    rig.answer(EffectKind.FENCE_OFF, ok=False, message="the BMC is dead")
    assert rig.failover(failover).state is FailoverState.ABORTED
    assert rig.vm(vm).lcm_state is LcmState.RUNNING


def test_no_word_of_an_operator_overrules_a_host_that_speaks(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.lose(0)
    failover = rig.open_failover(0, flags="PAUSE=0")
    rig.answer(EffectKind.FENCE_STATUS, POWER="ON")
    rig.tell(HostAlive(0, OLD))
    with pytest.raises(ActionError, match="was heard after it had been lost"):
        rig.call(c.ConfirmFailover(failover, "surely off"))
    assert rig.vm(vm).may_run_on == (0,)


def test_a_fencing_that_succeeds_wins_over_a_host_that_was_heard_meanwhile(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.lose(0)
    failover = rig.open_failover(0, flags="PAUSE=0", mode="recreate")
    rig.answer(EffectKind.FENCE_STATUS, POWER="ON")
    rig.tell(HostAlive(0, OLD))
    rig.answer(EffectKind.FENCE_OFF)
    assert rig.host(0).state is HostState.ERROR, "what was just switched off gets no VMs"
    rig.settle()
    assert rig.vm(vm).hid in (1, 2)
    assert rig.failover(failover).state is FailoverState.DONE


def test_a_start_that_the_old_boot_took_to_its_grave_is_made_elsewhere(rig: Rig) -> None:
    vm = rig.call(c.AllocateVm("CPU=0.1\nMEMORY=64", hold=True))
    rig.call(c.DeployVm(vm, 0))
    rig.answer(EffectKind.TM_PROLOG)
    rig.now += 5
    rig.engine.senses.detector.beat(0, OLD, (), rig.now)
    rig.now += 5
    rig.tell(HostSilent(0, rig.now, False, ()))
    rig.open_failover(0, flags='PAUSE="60"')
    rig.tell(HostAlive(0, NEW))
    rig.settle()
    assert rig.vm(vm).hid in (1, 2)


def test_the_return_of_a_host_proven_dead_ends_no_failover_that_needs_an_operator(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.lose(0)
    failover = rig.open_failover(0)
    rig.answer(EffectKind.FENCE_STATUS, POWER="OFF")
    for _ in range(2):
        rig.answer(EffectKind.TM_MIGRATE)
        rig.answer(EffectKind.VMM_DEPLOY, ok=False, message="no such machine type")
    blocked = rig.failover(failover)
    assert blocked.state is FailoverState.BLOCKED
    rig.tell(HostAlive(0, NEW))
    assert rig.host(0).usable
    assert rig.failover(failover) == blocked
    rig.call(c.RetryFailover(failover))
    rig.settle()
    assert rig.vm(vm).lcm_state is LcmState.RUNNING


def test_a_cleanup_on_a_host_that_dies_is_completed_by_the_proof(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.running_vm(0, "other")
    rig.lose(0)
    rig.call(c.RecoverVm(vm, 4))
    assert rig.order(EffectKind.VMM_CLEANUP).host_id == 0
    failover = rig.open_failover(0)
    rig.answer(EffectKind.FENCE_STATUS, POWER="OFF")
    rig.settle()
    assert rig.failover(failover).state is FailoverState.DONE
    assert rig.vm(vm).lcm_state is LcmState.RUNNING
    assert rig.vm(vm).hid in (1, 2)


def test_a_vm_recreated_before_the_proof_waits_for_it_and_then_starts(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.lose(0)
    rig.call(c.RecoverVm(vm, 4))
    rig.reply(rig.order(EffectKind.VMM_CLEANUP), Answer(False, "unreachable", certain=False))
    assert rig.vm(vm).state is VmState.PENDING
    assert "waits for proof" in rig.vm(vm).user_template.get("SCHED_MESSAGE")
    failover = rig.open_failover(0)
    assert rig.failover(failover).is_open, "no VM is on the host's list, but one may run there"
    rig.answer(EffectKind.FENCE_STATUS, POWER="OFF")
    rig.settle()
    assert rig.vm(vm).lcm_state is LcmState.RUNNING


def test_a_host_where_a_recreated_vm_may_still_run_is_not_forgotten(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.call(c.RecoverVm(vm, 4))
    rig.reply(rig.order(EffectKind.VMM_CLEANUP), Answer(False, "timed out", certain=False))
    with pytest.raises(ActionError, match=f"VM {vm} may still run on it"):
        rig.call(c.DeleteHost(0))


def test_a_cleanup_that_certainly_failed_leaves_the_vm_bound_to_its_host(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.call(c.RecoverVm(vm, 4))
    rig.answer(EffectKind.VMM_CLEANUP, ok=False, message="operation not permitted")
    assert rig.vm(vm).may_run_on == (0,)
    assert not rig.orders


def test_a_superseded_order_that_is_answered_after_a_reboot_changes_nothing(rig: Rig) -> None:
    vm = rig.call(c.AllocateVm("CPU=0.1\nMEMORY=64", hold=True))
    rig.call(c.DeployVm(vm, 0))
    rig.answer(EffectKind.TM_PROLOG)
    order = rig.order(EffectKind.VMM_DEPLOY)
    rig.lose(0)
    rig.open_failover(0)
    rig.answer(EffectKind.FENCE_STATUS, POWER="OFF")
    before = rig.vm(vm)
    assert before.hid != 0
    assert rig.tell(Answered(order.oid, Answer(True))).is_empty
    assert rig.vm(vm) == before
