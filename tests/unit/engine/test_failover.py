"""The death of a host, from the first silence to the last restarted VM, with scripted drivers."""

import pytest

from holdfast.engine import commands as c
from holdfast.engine.events import Answered, HostAlive
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind, FailoverState, HostState, ProofKind, RowState
from holdfast.model.errors import ActionError
from holdfast.model.vm_states import LcmState, VmState
from tests.unit.engine.rig import Rig


@pytest.fixture
def rig() -> Rig:
    """Three hosts in touch."""
    return Rig(hosts=3)


def test_a_vm_goes_through_prolog_and_boot_to_running(rig: Rig) -> None:
    vm = rig.running_vm(0)
    assert rig.vm(vm).position == (VmState.ACTIVE, LcmState.RUNNING)
    assert rig.host(0).vms == (vm,)
    assert rig.host(0).mem_usage == 96 * 1024
    assert rig.vm(vm).may_run_on == (0,)


def test_a_pending_vm_is_placed_by_itself(rig: Rig) -> None:
    vm = rig.call(c.AllocateVm("CPU=1\nMEMORY=128"))
    rig.settle()
    assert rig.vm(vm).lcm_state is LcmState.RUNNING


def test_no_vm_is_started_before_the_host_is_fenced(rig: Rig) -> None:
    vms = [rig.running_vm(0, f"vm{number}") for number in range(3)]
    rig.lose(0)
    assert rig.host(0).state is HostState.ERROR
    assert {rig.vm(vm).lcm_state for vm in vms} == {LcmState.UNKNOWN}
    failover = rig.open_failover(0)
    rig.answer(EffectKind.FENCE_STATUS, message="power is on", POWER="ON")
    assert rig.failover(failover).state is FailoverState.WATCHING
    rig.tick(2.0)
    rig.answer(EffectKind.FENCE_STATUS, POWER="ON")
    assert rig.failover(failover).state is FailoverState.FENCING
    assert rig.starts() == []
    rig.answer(EffectKind.FENCE_OFF, message="off, read back", RAW="Status: OFF")
    rig.settle()
    done = rig.failover(failover)
    assert done.state is FailoverState.DONE
    assert {row.state for row in done.rows} == {RowState.RUNNING}
    assert rig.engine.state.proofs[done.proof_id].kind is ProofKind.FENCED
    for vm in vms:
        assert rig.vm(vm).hid in (1, 2)
        assert rig.vm(vm).may_run_on == (rig.vm(vm).hid,)
        assert rig.vm(vm).history[-1].proof_id == done.proof_id
    assert rig.host(0).vms == ()
    assert rig.host(0).mem_usage == 0


def test_power_that_is_off_is_proof_and_cuts_the_wait_short(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.lose(0)
    failover = rig.open_failover(0, flags='PAUSE="60"')
    rig.answer(EffectKind.FENCE_STATUS, message="power is off", POWER="OFF", RAW="Status: OFF")
    rig.settle()
    assert rig.failover(failover).state is FailoverState.DONE
    assert rig.vm(vm).lcm_state is LcmState.RUNNING
    assert rig.now < rig.failover(failover).deadline


def test_a_host_that_comes_back_during_the_wait_ends_the_failover_and_its_vms_run_untouched(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.lose(0)
    failover = rig.open_failover(0, flags='PAUSE="5"')
    rig.now += 1
    rig.tell(HostAlive(0, "boot-host1-1", ((vm, "RUNNING"),)))
    assert rig.failover(failover).state is FailoverState.ABORTED
    assert rig.host(0).state is HostState.MONITORED
    assert rig.vm(vm).lcm_state is LcmState.UNKNOWN
    assert rig.vm(vm).hid == 0
    rig.tick(60)
    assert not rig.starts()


def test_a_host_that_rebooted_is_proof_that_its_vms_are_gone(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.lose(0)
    failover = rig.open_failover(0, flags='PAUSE="60"')
    rig.tell(HostAlive(0, "boot-host1-2"))
    rig.settle(EffectKind.FENCE_STATUS)
    done = rig.failover(failover)
    assert done.state is FailoverState.DONE
    assert rig.engine.state.proofs[done.proof_id].kind is ProofKind.REBOOTED
    assert rig.vm(vm).lcm_state is LcmState.RUNNING


def test_a_failed_fence_blocks_and_says_what_unblocks(rig: Rig) -> None:
    rig.running_vm(0)
    rig.lose(0)
    failover = rig.open_failover(0, flags='PAUSE="0"')
    rig.answer(EffectKind.FENCE_STATUS, ok=False, message="the BMC does not answer")
    rig.answer(EffectKind.FENCE_OFF, ok=False, message="The BMC does not answer.")
    blocked = rig.failover(failover)
    assert blocked.state is FailoverState.BLOCKED
    assert f"onehost failover confirm {failover}" in blocked.reason
    assert "does not answer" in blocked.reason
    rig.tick(3600)
    assert not rig.starts()


def test_the_operators_word_unblocks_and_is_recorded_with_the_name(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.lose(0)
    failover = rig.open_failover(0, flags='PAUSE="0"')
    rig.answer(EffectKind.FENCE_STATUS, ok=False, message="dead")
    rig.answer(EffectKind.FENCE_OFF, ok=False, message="dead")
    rig.call(c.ConfirmFailover(failover, "pulled the plug"))
    rig.settle()
    done = rig.failover(failover)
    proof = rig.engine.state.proofs[done.proof_id]
    assert (proof.kind, proof.by) == (ProofKind.OPERATOR, "oneadmin")
    assert "pulled the plug" in proof.text
    assert rig.vm(vm).lcm_state is LcmState.RUNNING
    with pytest.raises(ActionError):
        rig.call(c.ConfirmFailover(failover, "again"))


def test_retry_tries_to_fence_again(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.lose(0)
    failover = rig.open_failover(0, flags='PAUSE="0"')
    rig.answer(EffectKind.FENCE_STATUS, ok=False, message="wrong password")
    rig.answer(EffectKind.FENCE_OFF, ok=False, message="wrong password")
    rig.call(c.RetryFailover(failover))
    rig.answer(EffectKind.FENCE_STATUS, POWER="ON")
    rig.answer(EffectKind.FENCE_OFF, message="off")
    rig.settle()
    assert rig.failover(failover).state is FailoverState.DONE
    assert rig.vm(vm).lcm_state is LcmState.RUNNING


def test_without_fencing_there_is_no_start_without_another_proof(rig: Rig) -> None:
    rig.running_vm(0)
    rig.lose(0)
    failover = rig.open_failover(0, flags='PAUSE="0" FENCING="NO"')
    rig.answer(EffectKind.FENCE_STATUS, POWER="ON")
    assert rig.failover(failover).state is FailoverState.BLOCKED
    assert "-u" in rig.failover(failover).reason


def test_a_host_without_fence_device_blocks_with_the_reason() -> None:
    rig = Rig()
    host = rig.add_host("host1", fence=False)
    rig.add_host("host2")
    rig.running_vm(host)
    rig.lose(host)
    failover = rig.open_failover(host, flags='PAUSE="0"')
    assert rig.failover(failover).state is FailoverState.BLOCKED
    assert "no fence device" in rig.failover(failover).reason


def test_a_vm_without_room_says_why_and_starts_when_there_is_room() -> None:
    rig = Rig(hosts=2)
    big = rig.running_vm(0, "big", memory_mb=6000)
    rig.running_vm(1, "other", memory_mb=6000)
    rig.lose(0)
    failover = rig.open_failover(0)
    rig.answer(EffectKind.FENCE_STATUS, POWER="OFF")
    row = rig.failover(failover).rows[0]
    assert row.state is RowState.WAITING
    assert "No host has enough free capacity" in row.reason
    assert rig.failover(failover).state is FailoverState.RESTARTING
    assert "No host has enough" in rig.vm(big).user_template.get("SCHED_MESSAGE")
    rig.add_host("host3")
    rig.settle()
    assert rig.vm(big).lcm_state is LcmState.RUNNING
    assert rig.failover(failover).state is FailoverState.DONE
    assert rig.vm(big).user_template.get("SCHED_MESSAGE") == ""


def test_a_start_that_fails_is_tried_on_another_host(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.lose(0)
    failover = rig.open_failover(0)
    rig.answer(EffectKind.FENCE_STATUS, POWER="OFF")
    rig.answer(EffectKind.TM_MIGRATE)
    first = rig.order(EffectKind.VMM_DEPLOY).host_id
    rig.answer(EffectKind.VMM_DEPLOY, ok=False, message="no such machine type")
    rig.answer(EffectKind.TM_MIGRATE)
    second = rig.order(EffectKind.VMM_DEPLOY).host_id
    assert {first, second} == {1, 2}
    rig.settle()
    assert rig.failover(failover).state is FailoverState.DONE
    assert rig.vm(vm).hid == second


def test_when_all_hosts_fail_to_start_it_the_failover_blocks_with_the_reason_and_retry_starts_over(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.lose(0)
    failover = rig.open_failover(0)
    rig.answer(EffectKind.FENCE_STATUS, POWER="OFF")
    for _ in range(2):
        rig.answer(EffectKind.TM_MIGRATE)
        rig.answer(EffectKind.VMM_DEPLOY, ok=False, message="unsupported machine type")
    blocked = rig.failover(failover)
    assert blocked.state is FailoverState.BLOCKED
    assert "unsupported machine type" in blocked.reason
    assert rig.vm(vm).lcm_state is LcmState.BOOT_FAILURE
    rig.call(c.RetryFailover(failover))
    rig.settle()
    assert rig.vm(vm).lcm_state is LcmState.RUNNING
    assert rig.failover(failover).state is FailoverState.DONE


def test_a_start_with_unknown_outcome_is_not_repeated_elsewhere(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.lose(0)
    rig.open_failover(0)
    rig.answer(EffectKind.FENCE_STATUS, POWER="OFF")
    rig.answer(EffectKind.TM_MIGRATE)
    rig.answer(EffectKind.VMM_DEPLOY, ok=False, message="timed out", certain=False)
    rig.tick(3600)
    assert not rig.starts()
    assert rig.vm(vm).may_run_on == (rig.vm(vm).hid,)
    with pytest.raises(ActionError, match="may still run"):
        rig.call(c.MigrateVm(vm, 2 if rig.vm(vm).hid == 1 else 1))


def test_a_late_answer_to_an_overtaken_order_changes_nothing(rig: Rig) -> None:
    vm = rig.call(c.AllocateVm("CPU=0.1\nMEMORY=64", hold=True))
    rig.call(c.DeployVm(vm, 0))
    rig.answer(EffectKind.TM_PROLOG)
    late = rig.order(EffectKind.VMM_DEPLOY)
    rig.lose(0)
    failover = rig.open_failover(0)
    rig.answer(EffectKind.FENCE_STATUS, POWER="OFF")
    rig.settle()
    before = rig.vm(vm)
    assert before.lcm_state is LcmState.RUNNING
    assert before.hid != 0
    rig.tell(Answered(late.oid, Answer(False, "connection lost")))
    assert rig.vm(vm) == before
    assert rig.failover(failover).state is FailoverState.DONE


@pytest.mark.parametrize("answered", range(6))
def test_a_controller_killed_at_any_step_finishes_the_failover_and_starts_nothing_twice(answered: int) -> None:
    rig = Rig(hosts=3)
    vms = [rig.running_vm(0, f"vm{number}") for number in range(2)]
    rig.lose(0)
    failover = rig.open_failover(0, flags='PAUSE="0"')
    for _ in range(answered):
        rig.tick()
        if rig.orders:
            order = rig.orders[0]
            rig.tell(Answered(order.oid, Answer(True, values={"POWER": "ON"})))
    rig.restart()
    for order in list(rig.orders):
        if order.kind is EffectKind.FENCE_STATUS:
            rig.reply(order, Answer(True, values={"POWER": "ON"}))
    rig.tick(5.0)
    rig.settle()
    assert rig.failover(failover).state is FailoverState.DONE
    for vm in vms:
        assert rig.vm(vm).lcm_state is LcmState.RUNNING
        assert rig.vm(vm).history[0].hid == 0
        assert len(rig.vm(vm).history) == 2


def test_a_restarted_controller_fences_nobody_before_the_host_had_a_chance_to_be_heard(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.lose(0)
    failover = rig.open_failover(0, flags='PAUSE="0"')
    rig.answer(EffectKind.FENCE_STATUS, POWER="ON")
    assert rig.failover(failover).state is FailoverState.FENCING
    rig.now += 3600
    rig.restart()
    rig.tick()
    assert [order.kind for order in rig.orders] == [EffectKind.FENCE_STATUS]
    rig.tell(HostAlive(0, "boot-host1-1", ((vm, "RUNNING"),)))
    assert rig.failover(failover).state is FailoverState.ABORTED
    assert rig.orders == []


def test_a_restarted_controller_finds_the_fencing_that_went_through(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.lose(0)
    failover = rig.open_failover(0, flags='PAUSE="0"')
    rig.answer(EffectKind.FENCE_STATUS, POWER="ON")
    rig.restart()
    rig.answer(EffectKind.FENCE_STATUS, POWER="OFF")
    rig.settle()
    assert rig.failover(failover).state is FailoverState.DONE
    assert rig.vm(vm).lcm_state is LcmState.RUNNING


def test_the_same_host_has_one_failover_however_often_the_hook_fires(rig: Rig) -> None:
    rig.running_vm(0)
    rig.lose(0)
    assert rig.open_failover(0) == rig.open_failover(0)


def test_a_healthy_host_cannot_be_failed_over(rig: Rig) -> None:
    rig.running_vm(0)
    with pytest.raises(ActionError, match="only a lost host"):
        rig.open_failover(0)


def test_a_lost_host_without_vms_is_not_fenced(rig: Rig) -> None:
    rig.lose(0)
    failover = rig.open_failover(0)
    assert rig.failover(failover).state is FailoverState.DONE
    assert rig.orders == []


def test_recreate_cleans_up_and_starts_afresh(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.lose(0)
    failover = rig.open_failover(0, mode="recreate")
    rig.answer(EffectKind.FENCE_STATUS, POWER="OFF")
    assert rig.order(EffectKind.TM_DELETE).subject == vm
    rig.answer(EffectKind.TM_DELETE)
    assert rig.order(EffectKind.TM_PROLOG).subject == vm
    rig.settle()
    assert rig.vm(vm).lcm_state is LcmState.RUNNING
    assert rig.failover(failover).state is FailoverState.DONE


def test_delete_removes_the_vms(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.lose(0)
    failover = rig.open_failover(0, mode="delete")
    rig.answer(EffectKind.FENCE_STATUS, POWER="OFF")
    rig.settle()
    assert rig.vm(vm).state is VmState.DONE
    assert rig.failover(failover).state is FailoverState.DONE


def test_a_host_proven_dead_that_is_heard_with_the_same_boot_gets_no_vms(rig: Rig) -> None:
    rig.running_vm(0)
    rig.lose(0)
    rig.open_failover(0)
    rig.answer(EffectKind.FENCE_STATUS, POWER="OFF")
    rig.settle()
    rig.tell(HostAlive(0, "boot-host1-1"))
    assert rig.host(0).state is HostState.ERROR
    assert "may now run twice" in rig.host(0).template.get("ERROR")
    rig.tell(HostAlive(0, "boot-host1-2"))
    assert rig.host(0).state is HostState.MONITORED
    assert "ERROR" not in rig.host(0).template


def test_a_failover_of_the_new_host_takes_its_vms_over(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.lose(0)
    first = rig.open_failover(0)
    rig.answer(EffectKind.FENCE_STATUS, POWER="OFF")
    rig.answer(EffectKind.TM_MIGRATE)
    new_host = rig.order(EffectKind.VMM_DEPLOY).host_id
    rig.lose(new_host)
    second = rig.open_failover(new_host)
    rig.answer(EffectKind.FENCE_STATUS, POWER="OFF")
    rig.settle()
    assert rig.vm(vm).lcm_state is LcmState.RUNNING
    assert rig.vm(vm).hid not in (0, new_host)
    assert rig.failover(first).state is FailoverState.DONE
    assert rig.failover(second).state is FailoverState.DONE
