"""Each VM of a dead host has its row, and each row has its end, whatever users and drivers do meanwhile."""

import pytest

from holdfast.engine import commands as c
from holdfast.engine.events import HostAlive
from holdfast.model.enums import EffectKind, FailoverState, RowState
from holdfast.model.errors import ActionError, ArgumentError, HoldfastError, NoSuchObject, TemplateError
from holdfast.model.failover import Row
from holdfast.model.vm_states import LcmState, VmState
from tests.unit.engine.rig import Rig


@pytest.fixture
def rig() -> Rig:
    """Two hosts in touch: one to die, one to take over."""
    return Rig(hosts=2)


def dead(rig: Rig, mode: str = "migrate", flags: str = "PAUSE=2") -> int:
    """Host 0 is lost and proven dead; answers the failover."""
    rig.lose(0)
    failover = rig.open_failover(0, mode, flags)
    rig.answer(EffectKind.FENCE_STATUS, POWER="OFF")
    return failover


def row(rig: Rig, failover: int, vm_id: int) -> Row:
    """The VM's row."""
    return next(found for found in rig.failover(failover).rows if found.vm_id == vm_id)


def without_room(rig: Rig) -> int:
    """A VM of host 0 that finds no place elsewhere."""
    vm = rig.running_vm(0, "big", memory_mb=6000)
    rig.running_vm(1, "other", memory_mb=6000)
    return vm


def test_a_powered_off_vm_is_moved_and_stays_off(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.call(c.VmAction(vm, "poweroff"))
    rig.settle()
    failover = dead(rig)
    rig.settle()
    assert (rig.vm(vm).state, rig.vm(vm).hid) == (VmState.POWEROFF, 1)
    assert "stays off" in row(rig, failover, vm).reason
    assert rig.failover(failover).state is FailoverState.DONE


def test_a_powered_off_vm_that_cannot_be_moved_blocks_with_the_reason_and_a_retry_moves_it(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.call(c.VmAction(vm, "poweroff"))
    rig.settle()
    failover = dead(rig)
    rig.answer(EffectKind.TM_MIGRATE, ok=False, message="no space left on device")
    assert rig.vm(vm).lcm_state is LcmState.PROLOG_MIGRATE_POWEROFF_FAILURE
    assert rig.failover(failover).state is FailoverState.BLOCKED
    assert "no space left" in rig.failover(failover).reason
    rig.add_host("host3")
    rig.call(c.RetryFailover(failover))
    rig.settle()
    assert (rig.vm(vm).state, rig.vm(vm).hid) == (VmState.POWEROFF, 2)
    assert rig.failover(failover).state is FailoverState.DONE


def test_a_shutdown_is_completed_and_the_vm_stays_off(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.call(c.VmAction(vm, "poweroff"))
    failover = dead(rig)
    rig.settle()
    assert rig.vm(vm).state is VmState.POWEROFF
    assert rig.failover(failover).state is FailoverState.DONE


@pytest.mark.parametrize("mode", ["migrate", "recreate"])
def test_a_vm_that_its_user_was_terminating_is_not_brought_back(rig: Rig, mode: str) -> None:
    vm = rig.running_vm(0)
    rig.call(c.VmAction(vm, "terminate"))
    failover = dead(rig, mode)
    assert row(rig, failover, vm).state is RowState.SKIPPED
    rig.settle()
    assert rig.vm(vm).state is VmState.DONE
    assert rig.failover(failover).state is FailoverState.DONE


@pytest.mark.parametrize(("flags", "state"), [("", VmState.POWEROFF), ("FORCE=YES", VmState.ACTIVE)])
def test_a_vm_being_powered_off_is_recreated_only_when_forced(rig: Rig, flags: str, state: VmState) -> None:
    vm = rig.running_vm(0)
    rig.call(c.VmAction(vm, "poweroff"))
    dead(rig, "recreate", f"PAUSE=2\n{flags}")
    rig.settle()
    assert rig.vm(vm).state is state


def test_a_vm_caught_in_its_prolog_is_deployed_afresh(rig: Rig) -> None:
    vm = rig.call(c.AllocateVm("CPU=0.1\nMEMORY=64", hold=True))
    rig.call(c.DeployVm(vm, 0))
    failover = dead(rig)
    rig.settle()
    assert (rig.vm(vm).hid, rig.vm(vm).lcm_state) == (1, LcmState.RUNNING)
    assert row(rig, failover, vm).state is RowState.RUNNING


def test_a_fresh_deployment_that_fails_is_made_anew_by_a_retry(rig: Rig) -> None:
    vm = rig.call(c.AllocateVm("CPU=0.1\nMEMORY=64", hold=True))
    rig.call(c.DeployVm(vm, 0))
    failover = dead(rig)
    rig.answer(EffectKind.TM_PROLOG, ok=False, message="no such image")
    assert rig.failover(failover).state is FailoverState.BLOCKED
    assert "no such image" in rig.failover(failover).reason
    rig.call(c.RetryFailover(failover))
    rig.settle()
    assert rig.vm(vm).lcm_state is LcmState.RUNNING
    assert rig.failover(failover).state is FailoverState.DONE


def test_a_waiting_vm_that_its_user_unrescheds_stays_and_holds_nothing_up(rig: Rig) -> None:
    vm = without_room(rig)
    failover = dead(rig)
    assert row(rig, failover, vm).state is RowState.WAITING
    rig.call(c.VmAction(vm, "unresched"))
    assert "unresched" in row(rig, failover, vm).reason
    assert rig.failover(failover).state is FailoverState.DONE


def test_a_waiting_vm_that_its_user_terminates_holds_nothing_up(rig: Rig) -> None:
    vm = without_room(rig)
    failover = dead(rig)
    rig.call(c.VmAction(vm, "terminate"))
    rig.answer(EffectKind.TM_EPILOG, ok=False, message="unreadable")
    assert row(rig, failover, vm).state is RowState.SKIPPED
    assert rig.failover(failover).state is FailoverState.DONE


def test_a_waiting_vm_that_its_user_holds_holds_nothing_up(rig: Rig) -> None:
    vm = without_room(rig)
    failover = dead(rig, "recreate")
    rig.settle()
    assert rig.vm(vm).state is VmState.PENDING
    rig.call(c.VmAction(vm, "hold"))
    assert row(rig, failover, vm).state is RowState.SKIPPED
    assert rig.failover(failover).state is FailoverState.DONE


def test_an_abort_leaves_the_vms_that_wait_where_they_are(rig: Rig) -> None:
    vm = without_room(rig)
    failover = dead(rig)
    rig.call(c.AbortFailover(failover))
    assert rig.failover(failover).state is FailoverState.ABORTED
    rig.add_host("host3")
    rig.settle()
    assert (rig.vm(vm).hid, rig.vm(vm).lcm_state) == (0, LcmState.UNKNOWN)
    rig.call(c.MigrateVm(vm, 2))
    rig.settle()
    assert rig.vm(vm).lcm_state is LcmState.RUNNING
    assert rig.vm(vm).history[-1].proof_id == rig.failover(failover).proof_id, "the proof still stands"


def test_a_vm_started_by_its_user_while_it_waits_counts_as_running(rig: Rig) -> None:
    vm = without_room(rig)
    failover = dead(rig)
    rig.call(c.MigrateVm(vm, 1))
    rig.settle()
    assert row(rig, failover, vm).state is RowState.RUNNING
    assert rig.failover(failover).state is FailoverState.DONE


def test_a_vm_of_an_open_failover_goes_back_to_an_older_one_when_that_gets_its_proof(rig: Rig) -> None:
    """Failover 0 of host 0 waits for its fencing; meanwhile host 1 dies and its VM is deployed on host 0."""
    rig.running_vm(0, "first")
    vm = rig.running_vm(1, "second")
    rig.lose(0)
    older = rig.open_failover(0, flags="PAUSE=0")
    rig.answer(EffectKind.FENCE_STATUS, POWER="ON")
    rig.lose(1)
    newer = rig.open_failover(1, "recreate")
    rig.answer(EffectKind.FENCE_STATUS, POWER="OFF")
    rig.answer(EffectKind.TM_DELETE)
    rig.call(c.DeployVm(vm, 0))
    assert row(rig, newer, vm).state is RowState.PLACED
    rig.answer(EffectKind.FENCE_OFF)
    assert row(rig, newer, vm).state is RowState.SKIPPED
    assert row(rig, older, vm).state is RowState.WAITING
    rig.add_host("host3")
    rig.settle()
    assert row(rig, older, vm).state is RowState.RUNNING
    assert {rig.failover(item).state for item in (older, newer)} == {FailoverState.DONE}


def test_a_second_failover_that_takes_nothing_over_leaves_the_first_one_its_vm(rig: Rig) -> None:
    """The new host reboots while the VM's start is under way there and reported: the start is not disturbed."""
    vm = rig.running_vm(0)
    failover = dead(rig)
    rig.answer(EffectKind.TM_MIGRATE)
    rig.lose(1)
    second = rig.open_failover(1, flags="PAUSE=60")
    rig.tell(HostAlive(1, "boot-host2-2", ((vm, "RUNNING"),)))
    assert row(rig, second, vm).state is RowState.SKIPPED
    rig.answer(EffectKind.VMM_DEPLOY)
    assert row(rig, failover, vm).state is RowState.RUNNING
    assert rig.failover(failover).state is FailoverState.DONE


def test_local_disks_keep_a_vm_on_its_host_with_the_command_that_helps(rig: Rig) -> None:
    local = rig.call(c.AllocateDatastore("NAME=local\nTYPE=SYSTEM_DS\nTM_MAD=shared\nSHARED=NO"))
    vm = rig.call(c.AllocateVm("CPU=0.1\nMEMORY=64", hold=True))
    rig.call(c.DeployVm(vm, 0, ds_id=local))
    rig.settle()
    failover = dead(rig)
    assert f"onevm recover --recreate {vm}" in row(rig, failover, vm).reason
    rig.call(c.RecoverVm(vm, 4))
    rig.settle()
    assert rig.vm(vm).lcm_state is LcmState.RUNNING


@pytest.mark.parametrize(
    ("mode", "flags", "error"),
    [("explode", "", ArgumentError), ("migrate", "PAUSE=-1", ArgumentError), ("migrate", "PAUSE", TemplateError)],
)
def test_a_failover_with_wrong_options_is_not_opened(
    rig: Rig, mode: str, flags: str, error: type[HoldfastError]
) -> None:
    rig.running_vm(0)
    rig.lose(0)
    with pytest.raises(error):
        rig.call(c.AllocateFailover(0, mode, flags))
    assert rig.engine.state.failovers == {}


def test_commands_on_failovers_that_are_not_there_say_so(rig: Rig) -> None:
    for command in (c.RetryFailover(7), c.ConfirmFailover(7), c.AbortFailover(7)):
        with pytest.raises(NoSuchObject, match=r"Error getting failover \[7\]"):
            rig.call(command)
    with pytest.raises(NoSuchObject):
        rig.call(c.AllocateFailover(9, "migrate"))


def test_a_finished_failover_takes_no_commands(rig: Rig) -> None:
    rig.running_vm(0)
    failover = dead(rig)
    rig.settle()
    for command in (c.RetryFailover(failover), c.ConfirmFailover(failover), c.AbortFailover(failover)):
        with pytest.raises(ActionError):
            rig.call(command)


def prolog_failed(rig: Rig) -> int:
    """A VM on host 0 whose disks could not be made."""
    vm = rig.call(c.AllocateVm("CPU=0.1\nMEMORY=64\nDISK=[TYPE=fs,SIZE=8]", hold=True))
    rig.call(c.DeployVm(vm, 0, ds_id=0))
    rig.answer(EffectKind.TM_PROLOG, ok=False, message="no such file")
    assert rig.vm(vm).lcm_state is LcmState.PROLOG_FAILURE
    return vm


def test_a_vm_that_had_failed_before_and_fails_again_is_explained_and_does_not_block_the_failover(rig: Rig) -> None:
    well, failed = rig.running_vm(0), prolog_failed(rig)
    failover = dead(rig)
    rig.settle(EffectKind.TM_PROLOG)
    rig.answer(EffectKind.TM_PROLOG, ok=False, message="no such file")
    told = row(rig, failover, failed)
    assert told.state is RowState.SKIPPED
    assert told.reason.startswith("was in PROLOG_FAILURE before its host was lost, and could not be started elsewhere")
    assert "no such file" in told.reason
    assert f"onevm recover --retry {failed}" in told.reason
    assert rig.failover(failover).state is FailoverState.DONE
    assert row(rig, failover, well).state is RowState.RUNNING


def test_a_vm_that_had_failed_before_may_well_succeed_on_another_host(rig: Rig) -> None:
    failed = prolog_failed(rig)
    failover = dead(rig)
    rig.settle()
    assert row(rig, failover, failed).state is RowState.RUNNING


def test_what_fails_only_since_the_loss_still_blocks(rig: Rig) -> None:
    vm = rig.call(c.AllocateVm("CPU=0.1\nMEMORY=64\nDISK=[TYPE=fs,SIZE=8]", hold=True))
    rig.call(c.DeployVm(vm, 0, ds_id=0))
    rig.lose(0)
    failover = rig.open_failover(0)
    rig.answer(EffectKind.TM_PROLOG, ok=False, message="no such file")
    rig.answer(EffectKind.FENCE_STATUS, POWER="OFF")
    rig.settle(EffectKind.TM_PROLOG)
    rig.answer(EffectKind.TM_PROLOG, ok=False, message="no such file")
    assert rig.failover(failover).state is FailoverState.BLOCKED
