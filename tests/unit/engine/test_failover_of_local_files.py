"""Hosts that die with the only files of their VMs: what is not restarted says why, and nothing asks the dead host."""

import pytest

from holdfast.engine import commands as c
from holdfast.engine.events import HostAlive
from holdfast.model.enums import EffectKind, FailoverState, RowState
from holdfast.model.errors import ActionError
from holdfast.model.failover import Row
from holdfast.model.vm_states import LcmState, VmState
from tests.unit.engine.rig import SYSTEM, Rig

OFF = {"POWER": "OFF"}


@pytest.fixture
def rig() -> Rig:
    """Three hosts, and a system datastore of which each host has its own part."""
    rig = Rig(hosts=3)
    rig.call(c.AllocateDatastore("NAME=apart\nTYPE=SYSTEM_DS\nTM_MAD=ssh"))
    return rig


def vm_on(rig: Rig, hid: int = 0, ds_id: int = 100) -> int:
    """A VM that runs on the host."""
    oid = rig.call(c.AllocateVm("CPU=0.1\nMEMORY=64\nDISK=[TYPE=fs,SIZE=8]", hold=True))
    rig.call(c.DeployVm(oid, hid, ds_id=ds_id))
    rig.settle()
    assert rig.vm(oid).lcm_state is LcmState.RUNNING
    return oid


def proven_dead(rig: Rig, hid: int = 0, mode: str = "migrate") -> int:
    """The host is lost, and the fence device says that its power is off."""
    rig.lose(hid)
    failover = rig.open_failover(hid, mode)
    rig.answer(EffectKind.FENCE_STATUS, POWER="OFF")
    return failover


def row(rig: Rig, failover: int, vm: int) -> Row:
    """The VM's row."""
    return next(row for row in rig.failover(failover).rows if row.vm_id == vm)


def host_of(rig: Rig, vm: int) -> int:
    """Where the VM is."""
    return rig.vm(vm).hid


def test_a_vm_whose_disks_died_with_its_host_is_reported_and_nothing_is_ordered_for_it(rig: Rig) -> None:
    lost, saved = vm_on(rig), vm_on(rig, ds_id=0)
    failover = proven_dead(rig)
    assert [order.subject for order in rig.orders] == [saved]
    rig.settle()
    told = row(rig, failover, lost)
    assert told.state is RowState.SKIPPED
    assert told.reason.startswith("its disks are on host1 alone: datastore 100 (apart) is not shared, so it cannot")
    assert told.reason in rig.vm(lost).user_template.get("ERROR")
    assert (rig.vm(lost).lcm_state, rig.vm(lost).hid) == (LcmState.UNKNOWN, 0)
    assert (rig.vm(saved).lcm_state, row(rig, failover, saved).state) == (LcmState.RUNNING, RowState.RUNNING)
    assert rig.failover(failover).state is FailoverState.DONE


def test_with_recreate_it_runs_again_elsewhere_and_its_removal_leaves_the_dead_host_alone(rig: Rig) -> None:
    vm = vm_on(rig)
    failover = proven_dead(rig, mode="recreate")
    assert rig.order(EffectKind.TM_DELETE).args["LOST"] == "host1"
    rig.settle()
    assert row(rig, failover, vm).state is RowState.RUNNING
    assert (rig.vm(vm).lcm_state, host_of(rig, vm) != 0) == (LcmState.RUNNING, True)


def test_files_on_shared_storage_are_within_reach_whoever_is_dead(rig: Rig) -> None:
    vm_on(rig, ds_id=0)
    proven_dead(rig, mode="recreate")
    assert "LOST" not in rig.order(EffectKind.TM_DELETE).args


@pytest.mark.parametrize("command", ["migrate", "resched"])
def test_no_user_moves_a_vm_away_from_files_that_nobody_can_reach(rig: Rig, command: str) -> None:
    vm = vm_on(rig)
    proven_dead(rig)
    rig.settle()
    if command == "migrate":
        with pytest.raises(ActionError, match=r"VM \d+: its disks are on host1 alone"):
            rig.call(c.MigrateVm(vm, 1))
    else:
        rig.call(c.VmAction(vm, "resched"))
        rig.tick()
        assert "its disks are on host1 alone" in rig.vm(vm).user_template.get("SCHED_MESSAGE")
    assert (rig.vm(vm).lcm_state, rig.orders) == (LcmState.UNKNOWN, [])


def test_a_vm_that_is_off_moves_as_long_as_its_host_is_there(rig: Rig) -> None:
    vm = vm_on(rig)
    rig.call(c.VmAction(vm, "poweroff-hard"))
    rig.settle()
    rig.call(c.MigrateVm(vm, 1))
    assert "LOST" not in rig.order(EffectKind.TM_MIGRATE).args
    rig.settle()
    assert (rig.vm(vm).state, host_of(rig, vm)) == (VmState.POWEROFF, 1)


def test_a_vm_starts_at_home_when_its_host_has_rebooted(rig: Rig) -> None:
    vm = vm_on(rig)
    rig.lose(0)
    failover = rig.open_failover(0)
    rig.tell(HostAlive(0, "boot-host1-2", (), SYSTEM))
    rig.tick()
    assert [order.kind for order in rig.orders] == [EffectKind.VMM_DEPLOY]
    rig.settle()
    assert (rig.vm(vm).lcm_state, host_of(rig, vm)) == (LcmState.RUNNING, 0)
    assert row(rig, failover, vm).state is RowState.RUNNING


def test_when_the_host_is_back_the_vm_that_was_left_is_resumed_there(rig: Rig) -> None:
    vm = vm_on(rig)
    proven_dead(rig)
    rig.settle()
    rig.tell(HostAlive(0, "boot-host1-2", (), SYSTEM))
    rig.call(c.VmAction(vm, "resume"))
    rig.settle()
    assert (rig.vm(vm).lcm_state, host_of(rig, vm)) == (LcmState.RUNNING, 0)
    assert "ERROR" not in rig.vm(vm).user_template


def test_a_move_whose_destination_dies_goes_back_to_where_the_files_are(rig: Rig) -> None:
    vm = vm_on(rig)
    rig.call(c.MigrateVm(vm, 1))
    rig.answer(EffectKind.VMM_SAVE)
    assert rig.vm(vm).lcm_state is LcmState.PROLOG_MIGRATE
    failover = proven_dead(rig, 1)
    rig.settle()
    assert (rig.vm(vm).lcm_state, host_of(rig, vm)) == (LcmState.RUNNING, 0)
    assert row(rig, failover, vm).state is RowState.RUNNING


def test_a_move_whose_source_dies_ends_with_the_files(rig: Rig) -> None:
    vm = vm_on(rig)
    rig.call(c.MigrateVm(vm, 1))
    failover = proven_dead(rig)
    assert rig.orders == []
    assert (rig.vm(vm).lcm_state, host_of(rig, vm)) == (LcmState.UNKNOWN, 0)
    assert "its disks are on host1 alone" in row(rig, failover, vm).reason
    assert rig.host(1).vms == ()


def test_a_vm_whose_files_were_just_being_made_is_made_anew_elsewhere(rig: Rig) -> None:
    vm = rig.call(c.AllocateVm("CPU=0.1\nMEMORY=64\nDISK=[TYPE=fs,SIZE=8]", hold=True))
    rig.call(c.DeployVm(vm, 0, ds_id=100))
    failover = proven_dead(rig)
    rig.settle()
    assert row(rig, failover, vm).state is RowState.RUNNING
    assert host_of(rig, vm) != 0


def leaving(rig: Rig) -> int:
    """A VM that was powered off, and whose files are on their way from host 0 to host 1."""
    vm = vm_on(rig)
    rig.call(c.VmAction(vm, "poweroff-hard"))
    rig.settle()
    rig.call(c.MigrateVm(vm, 1))
    assert rig.order(EffectKind.TM_MIGRATE).subject == vm
    return vm


@pytest.mark.parametrize("failed_before", [True, False])
@pytest.mark.parametrize("others", [True, False])
def test_a_vm_that_was_leaving_the_dead_host_is_listed_with_what_became_of_it(
    rig: Rig, failed_before: bool, others: bool
) -> None:
    if others:
        vm_on(rig, ds_id=0)
    vm = leaving(rig)
    if failed_before:
        rig.answer(EffectKind.TM_MIGRATE, ok=False, message="no space")
    rig.lose(0)
    failover = rig.open_failover(0)
    if others:
        rig.answer(EffectKind.FENCE_STATUS, POWER="OFF")
    told = row(rig, failover, vm)
    assert (told.state, told.to_hid) == (RowState.SKIPPED, 1)
    assert told.reason.startswith("its disks were on their way from host1 to host2; what had not arrived is on host1")
    assert f"When host1 is back: onevm recover --retry {vm}." in told.reason
    rig.settle()
    assert rig.failover(failover).state is FailoverState.DONE


def test_what_fails_for_want_of_the_dead_host_says_the_way_out_and_no_recovery_leads_in_a_circle(rig: Rig) -> None:
    vm = leaving(rig)
    rig.lose(0)
    rig.answer(EffectKind.TM_MIGRATE, ok=False, message="connection to host host1 was lost")
    assert rig.vm(vm).lcm_state is LcmState.PROLOG_MIGRATE_POWEROFF_FAILURE
    error = rig.vm(vm).user_template.get("ERROR")
    assert "connection to host host1 was lost; its disks were on their way from host1 to host2" in error
    with pytest.raises(ActionError, match=rf"without host host1 \(0\), which is lost: .*--recreate {vm}") as refused:
        rig.call(c.RecoverVm(vm, 1))
    assert "--interactive" in str(refused.value)
    rig.call(c.RecoverVm(vm, 4))
    rig.settle()
    assert rig.vm(vm).lcm_state is LcmState.RUNNING
    assert host_of(rig, vm) != 0
