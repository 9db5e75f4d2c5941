"""Commands on virtual machines."""

from uuid import UUID

import pytest

from holdfast.engine import commands as c
from holdfast.engine.events import VmSeen
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind, HistoryAction
from holdfast.model.errors import ActionError, AllocateError, HoldfastError, NoSuchObject, TemplateError
from holdfast.model.user import Actor
from holdfast.model.vm_states import LcmState, VmState
from tests.unit.engine.rig import Rig

SMALL = "CPU=0.1\nMEMORY=64\n"


@pytest.fixture
def rig() -> Rig:
    """Two hosts in touch and an image."""
    rig = Rig(hosts=2)
    rig.call(c.AllocateImage("NAME=alpine\nPATH=/tmp/alpine.qcow2\nDEV_PREFIX=vd", 1))
    rig.answer(EffectKind.IMAGE_CREATE, SIZE="512", FORMAT="qcow2")
    return rig


def held(rig: Rig, text: str = "") -> int:
    """A VM on hold."""
    return rig.call(c.AllocateVm(SMALL + text, hold=True))


# --- creation


def test_a_new_vm_is_pending_or_on_hold(rig: Rig) -> None:
    assert rig.vm(rig.call(c.AllocateVm(SMALL))).state is VmState.PENDING
    assert rig.vm(held(rig)).state is VmState.HOLD
    assert rig.vm(rig.call(c.AllocateVm(SMALL + "SUBMIT_ON_HOLD=YES"))).state is VmState.HOLD


def test_a_new_vm_has_owner_name_time_and_a_uuid_for_life(rig: Rig) -> None:
    oid = rig.call(c.AllocateVm(SMALL), actor=Actor(3, 0, "ann"))
    vm = rig.vm(oid)
    assert (vm.uid, vm.gid, vm.name, vm.stime) == (3, 0, f"one-{oid}", 1_000_000)
    assert vm.template.get("VMID") == str(oid)
    assert UUID(vm.template.section("OS")["UUID"])


def test_names_of_vms_may_repeat_but_not_be_anything(rig: Rig) -> None:
    assert held(rig, "NAME=web") != held(rig, "NAME=web")
    with pytest.raises(AllocateError, match="is not allowed"):
        held(rig, 'NAME="a/b"')


def test_the_machine_and_the_users_own_attributes_are_kept_apart(rig: Rig) -> None:
    vm = rig.vm(held(rig, 'NAME=web\nLABEL=x\nCONTEXT=[A="1"]\nSCHED_REQUIREMENTS="ID=0"'))
    assert vm.template.section("CONTEXT") == {"A": "1", "DISK_ID": "0", "TARGET": "hda"}
    assert vm.user_template.singles() == {"LABEL": "x", "SCHED_REQUIREMENTS": "ID=0"}
    assert "LABEL" not in vm.template


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("CPU=1", "MEMORY attribute must be a positive number"),
        ("CPU=1\nMEMORY=0", "MEMORY attribute"),
        ("CPU=1\nMEMORY=-5", "MEMORY attribute"),
        ("CPU=1\nMEMORY=lots", "Attribute MEMORY must be a whole number"),
        ("MEMORY=64", "CPU attribute"),
        ("CPU=0\nMEMORY=64", "CPU attribute"),
        ("CPU=nan\nMEMORY=64", "Attribute CPU must be a number"),
        ("CPU=1e400\nMEMORY=64", "Attribute CPU must be a number"),
        ("CPU=1e300\nMEMORY=64", "CPU attribute"),
        ("CPU=1\nMEMORY=64\nVCPU=0", "VCPU attribute"),
        ("CPU=1\nMEMORY=64\nVCPU=1.5", "Attribute VCPU must be a whole number"),
        ('CPU=1\nMEMORY=64\nOS=[UUID="x"]', "OS/UUID must be a UUID"),
        ("CPU=1\nMEMORY=64\nDISK=[SIZE=1]", "A DISK needs IMAGE_ID or IMAGE"),
        ("CPU=1\nMEMORY=64\nDISK=[TYPE=fs]", "needs a SIZE in MB"),
        ("CPU=1\nMEMORY=64\nDISK=[TYPE=fs,SIZE=²]", "needs a SIZE in MB"),
        ("CPU=1\nMEMORY=64\nDISK=[IMAGE_ID=9]", "Error getting image [9]"),
        ("CPU=1\nMEMORY=64\nDISK=[IMAGE_ID=x]", "DISK/IMAGE_ID must be a number"),
        ("CPU=1\nMEMORY=64\nDISK=[IMAGE=debian]", 'no image named "debian": see oneimage list'),
        ("CPU=1\nMEMORY=64\nDISK=[", "is never closed"),
    ],
)
def test_a_vm_that_cannot_be_is_refused_with_the_rule_and_leaves_nothing(rig: Rig, text: str, said: str) -> None:
    with pytest.raises(HoldfastError) as caught:
        rig.call(c.AllocateVm(text))
    assert said in caught.value.message
    assert rig.engine.state.vms == {}
    assert rig.engine.state.images[0].vms == ()


def test_a_vm_whose_second_disk_is_refused_has_not_acquired_its_first(rig: Rig) -> None:
    with pytest.raises(NoSuchObject):
        held(rig, "DISK=[IMAGE_ID=0]\nDISK=[IMAGE_ID=9]")
    assert rig.engine.state.images[0].vms == ()


def test_disks_get_ids_targets_and_what_their_image_says(rig: Rig) -> None:
    text = (
        "DISK=[IMAGE=alpine]\nDISK=[IMAGE_ID=0,TARGET=vdb]\nDISK=[TYPE=swap,SIZE=64]\nDISK=[IMAGE_ID=0,DEV_PREFIX=vd]"
    )
    disks = rig.vm(held(rig, text)).template.sections("DISK")
    assert [disk["DISK_ID"] for disk in disks] == ["0", "1", "2", "3"]
    assert [disk["TARGET"] for disk in disks] == ["vda", "vdb", "sda", "vdc"]
    first = disks[0]
    assert (first["IMAGE"], first["IMAGE_ID"], first["SIZE"], first["DRIVER"]) == ("alpine", "0", "512", "qcow2")
    assert (first["CLONE"], first["SAVE"], first["READONLY"], first["TM_MAD"]) == ("YES", "NO", "NO", "shared")
    assert first["SOURCE"] == rig.engine.state.images[0].source
    assert (disks[2]["TYPE"], disks[2]["FORMAT"]) == ("swap", "raw")


def test_a_persistent_disk_is_the_image_itself(rig: Rig) -> None:
    rig.call(c.PersistImage(0, True))
    (disk,) = rig.vm(held(rig, "DISK=[IMAGE_ID=0]")).template.sections("DISK")
    assert (disk["CLONE"], disk["SAVE"], disk["PERSISTENT"]) == ("NO", "YES", "YES")


def test_there_are_letters_for_so_many_disks_and_no_more(rig: Rig) -> None:
    disk = "DISK=[TYPE=fs,SIZE=1]\n"
    assert held(rig, disk * 26) >= 0
    with pytest.raises(AllocateError, match="More than 26 disks"):
        held(rig, disk * 27)


def test_nics_get_ids_targets_and_macs_of_their_own(rig: Rig) -> None:
    first = rig.vm(held(rig, "NIC=[BRIDGE=br0]\nNIC=[MAC=02:00:aa:bb:cc:dd]")).template.sections("NIC")
    second = rig.vm(held(rig, "NIC=[BRIDGE=br0]")).template.sections("NIC")
    assert [nic["NIC_ID"] for nic in first] == ["0", "1"]
    assert first[1]["MAC"] == "02:00:aa:bb:cc:dd"
    assert first[0]["MAC"] != second[0]["MAC"]
    assert first[0]["TARGET"] == "one-0-0"


# --- deploy and migrate


def test_deploy_puts_the_vm_where_it_is_told(rig: Rig) -> None:
    vm = held(rig)
    rig.call(c.DeployVm(vm, 1))
    record = rig.vm(vm).history[-1]
    assert (record.hid, record.hostname, record.ds_id, record.tm_mad) == (1, "host2", 0, "shared")
    assert rig.host(1).vms == (vm,)


@pytest.mark.parametrize(
    ("hid", "ds_id", "enforce", "said"),
    [
        (9, -1, False, "Error getting host [9]"),
        (1, 9, False, "Error getting datastore [9]"),
        (1, 1, False, "Datastore 1 (default) is not a system datastore"),
        (1, -1, True, "Not enough capacity on host 1"),
    ],
)
def test_a_deploy_that_cannot_be_is_refused_with_the_reason(
    rig: Rig, hid: int, ds_id: int, enforce: bool, said: str
) -> None:
    vm = rig.call(c.AllocateVm("CPU=5\nMEMORY=64", hold=True))
    with pytest.raises(HoldfastError) as caught:
        rig.call(c.DeployVm(vm, hid, enforce, ds_id))
    assert said in caught.value.message
    assert rig.vm(vm).state is VmState.HOLD
    assert not rig.orders


def test_without_enforce_a_host_may_be_overcommitted(rig: Rig) -> None:
    vm = rig.call(c.AllocateVm("CPU=5\nMEMORY=64", hold=True))
    rig.call(c.DeployVm(vm, 1))
    assert rig.host(1).free_cpu == -100


def test_an_offline_host_gets_no_vm_but_a_disabled_one_does_when_told(rig: Rig) -> None:
    vm = held(rig)
    rig.call(c.SetHostStatus(1, 2))
    with pytest.raises(ActionError, match="is OFFLINE: enable it first"):
        rig.call(c.DeployVm(vm, 1))
    rig.call(c.SetHostStatus(0, 1))
    rig.call(c.DeployVm(vm, 0))
    assert rig.vm(vm).hid == 0


def test_a_powered_off_vm_moves_and_keeps_why_it_was_off(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.call(c.VmAction(vm, "poweroff"))
    rig.settle()
    with pytest.raises(ActionError, match="already running on host"):
        rig.call(c.MigrateVm(vm, 0))
    rig.call(c.MigrateVm(vm, 1))
    rig.settle()
    old, new = rig.vm(vm).history
    assert (rig.vm(vm).state, new.hid, new.action) == (VmState.POWEROFF, 1, HistoryAction.MIGRATE)
    assert old.action is HistoryAction.POWEROFF
    assert (rig.host(0).vms, rig.host(1).vms) == ((), (vm,))


MOVES = {
    "live": (True, 0, EffectKind.VMM_MIGRATE),
    "save": (False, 0, EffectKind.VMM_SAVE),
    "poweroff": (False, 1, EffectKind.VMM_SHUTDOWN),
    "poweroff-hard": (False, 2, EffectKind.VMM_CANCEL),
}


@pytest.mark.parametrize("way", MOVES)
def test_a_running_vm_moves_and_both_hosts_hold_its_capacity_until_it_has_left(rig: Rig, way: str) -> None:
    live, kind, first = MOVES[way]
    vm = rig.running_vm(0)
    rig.call(c.MigrateVm(vm, 1, live=live, type=kind))
    assert (vm in rig.host(0).vms, vm in rig.host(1).vms) == (True, True)
    order = rig.order(first)
    assert (order.host_id, order.args["OTHER_HID"]) == (0, "1")
    rig.settle()
    assert rig.vm(vm).lcm_state is LcmState.RUNNING
    assert (rig.vm(vm).hid, rig.vm(vm).may_run_on) == (1, (1,))
    assert (rig.host(0).vms, rig.host(0).mem_usage) == ((), 0)


@pytest.mark.parametrize("way", MOVES)
def test_a_vm_that_cannot_leave_runs_on_where_it_was(rig: Rig, way: str) -> None:
    live, kind, first = MOVES[way]
    vm = rig.running_vm(0)
    rig.call(c.MigrateVm(vm, 1, live=live, type=kind))
    rig.answer(first, ok=False, message="no")
    assert rig.vm(vm).lcm_state is LcmState.RUNNING
    assert (rig.vm(vm).hid, rig.vm(vm).may_run_on) == (0, (0,))
    assert [record.hid for record in rig.vm(vm).history] == [0, 1, 0]
    assert rig.host(1).vms == ()


def test_a_live_migration_of_unknown_outcome_is_carried_on_until_it_is_certain(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.call(c.MigrateVm(vm, 1, live=True))
    first = rig.order(EffectKind.VMM_MIGRATE)
    assert first.args["AGAIN"] == "NO"
    rig.reply(first, Answer(False, "timed out", certain=False))
    assert rig.vm(vm).lcm_state is LcmState.MIGRATE
    assert set(rig.vm(vm).may_run_on) == {0, 1}
    assert rig.order(EffectKind.VMM_MIGRATE).args["AGAIN"] == "YES"
    rig.answer(EffectKind.VMM_MIGRATE)
    assert rig.vm(vm).lcm_state is LcmState.RUNNING
    assert (rig.vm(vm).hid, rig.vm(vm).may_run_on) == (1, (1,))


def test_a_vm_that_runs_only_where_its_record_does_not_say_is_taken_over_there(rig: Rig) -> None:
    """An operator's word was wrong: the guest had arrived."""
    vm = rig.running_vm(0)
    rig.call(c.MigrateVm(vm, 1, live=True))
    rig.call(c.RecoverVm(vm, 0))
    assert (rig.vm(vm).lcm_state, rig.vm(vm).hid) == (LcmState.RUNNING, 0)
    rig.tell(VmSeen(0, vm, "POWEROFF"))
    rig.tell(VmSeen(1, vm, "ELSEWHERE"))
    assert rig.vm(vm).lcm_state is LcmState.BOOT
    rig.answer(EffectKind.VMM_DEPLOY)
    assert (rig.vm(vm).lcm_state, rig.vm(vm).hid) == (LcmState.RUNNING, 1)
    assert (rig.host(0).vms, rig.host(1).vms) == ((), (vm,))


def test_a_running_vm_that_is_rescheduled_moves_as_the_installation_says(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.call(c.VmAction(vm, "resched"))
    rig.tick()
    assert rig.vm(vm).lcm_state is LcmState.SAVE_MIGRATE
    rig.settle()
    assert (rig.vm(vm).lcm_state, rig.vm(vm).hid) == (LcmState.RUNNING, 1)


def test_a_move_that_cannot_be_is_refused_with_its_reason(rig: Rig) -> None:
    other = rig.call(c.AllocateDatastore("NAME=b\nTYPE=SYSTEM_DS\nTM_MAD=shared"))
    vm = rig.running_vm(0)
    refused = {
        "already running on host": c.MigrateVm(vm, 0),
        "Migration type 7 is unknown": c.MigrateVm(vm, 1, type=7),
        "cannot be performed live": c.MigrateVm(vm, 1, live=True, ds_id=other),
    }
    for words, command in refused.items():
        with pytest.raises(ActionError, match=words):
            rig.call(command)
    rig.lose(1)
    with pytest.raises(ActionError, match="is lost"):
        rig.call(c.MigrateVm(vm, 1))
    assert rig.vm(vm).lcm_state is LcmState.RUNNING


def test_a_vm_that_was_stopped_or_undeployed_starts_on_another_host(rig: Rig) -> None:
    for action, step in (("stop", EffectKind.VMM_RESTORE), ("undeploy", EffectKind.VMM_DEPLOY)):
        vm = rig.running_vm(0)
        rig.call(c.VmAction(vm, action))
        rig.settle()
        assert rig.vm(vm).state in (VmState.STOPPED, VmState.UNDEPLOYED)
        assert rig.host(0).vms == ()
        rig.call(c.DeployVm(vm, 1))
        rig.answer(EffectKind.TM_RESUME)
        assert rig.order(step).host_id == 1
        rig.settle()
        assert (rig.vm(vm).lcm_state, rig.vm(vm).hid) == (LcmState.RUNNING, 1)
        rig.call(c.VmAction(vm, "terminate-hard"))
        rig.settle()


def test_a_vm_that_is_resumed_from_the_front_end_can_still_be_terminated_with_its_files(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.call(c.VmAction(vm, "stop"))
    rig.settle()
    for host in (0, 1):
        rig.call(c.SetHostStatus(host, 1))
    rig.call(c.VmAction(vm, "resume"))
    assert rig.vm(vm).state is VmState.PENDING
    rig.call(c.VmAction(vm, "terminate"))
    assert rig.order(EffectKind.TM_EPILOG).args["LOCAL"] == "YES"
    rig.settle()
    assert rig.vm(vm).state is VmState.DONE


def test_the_files_of_a_vm_that_may_run_are_not_moved_not_even_on_its_host(rig: Rig) -> None:
    other = rig.call(c.AllocateDatastore("NAME=b\nTYPE=SYSTEM_DS\nTM_MAD=shared"))
    vm = rig.running_vm(0)
    rig.lose(0)
    with pytest.raises(ActionError, match="may still run"):
        rig.call(c.MigrateVm(vm, 0, ds_id=other))


# --- actions and recovery


def test_an_unknown_action_is_refused(rig: Rig) -> None:
    with pytest.raises(ActionError, match='Action "fly" is not supported'):
        rig.call(c.VmAction(held(rig), "fly"))


def test_poweroff_resume_and_terminate_take_a_vm_through_its_life(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.call(c.VmAction(vm, "poweroff"))
    assert rig.order(EffectKind.VMM_SHUTDOWN).args["HARD"] == "NO"
    rig.settle()
    assert (rig.vm(vm).state, rig.vm(vm).may_run_on, rig.host(0).vms) == (VmState.POWEROFF, (), (vm,))
    rig.call(c.VmAction(vm, "resume"))
    rig.settle()
    assert (rig.vm(vm).lcm_state, rig.vm(vm).may_run_on) == (LcmState.RUNNING, (0,))
    rig.call(c.VmAction(vm, "terminate-hard"))
    assert rig.order(EffectKind.VMM_CANCEL).args["HARD"] == "YES"
    rig.settle()
    assert (rig.vm(vm).state, rig.host(0).vms, rig.host(0).mem_usage) == (VmState.DONE, (), 0)


def test_a_reboot_is_an_order_that_nobody_waits_for(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.call(c.VmAction(vm, "reboot"))
    assert (rig.vm(vm).lcm_state, rig.vm(vm).effect_id) == (LcmState.RUNNING, -1)
    rig.answer(EffectKind.VMM_REBOOT, ok=False, message="the guest ignores it")
    assert rig.vm(vm).lcm_state is LcmState.RUNNING
    assert rig.vm(vm).user_template.get("ERROR").endswith(": REBOOT: the guest ignores it")


def test_a_wrong_recovery_operation_is_refused(rig: Rig) -> None:
    with pytest.raises(ActionError, match="Wrong recovery operation code"):
        rig.call(c.RecoverVm(held(rig), 6))


def test_the_word_of_an_operator_is_no_certainty_about_a_domain(rig: Rig) -> None:
    vm = held(rig)
    rig.call(c.DeployVm(vm, 0))
    rig.answer(EffectKind.TM_PROLOG)
    rig.call(c.RecoverVm(vm, 0))
    assert (rig.vm(vm).lcm_state, rig.vm(vm).may_run_on) == (LcmState.BOOT_FAILURE, (0,))


def test_a_retry_of_a_step_under_way_supersedes_the_first_order(rig: Rig) -> None:
    vm = held(rig)
    rig.call(c.DeployVm(vm, 0))
    first = rig.order(EffectKind.TM_PROLOG)
    rig.call(c.RecoverVm(vm, 2))
    second = rig.order(EffectKind.TM_PROLOG)
    assert first.oid != second.oid
    assert first.oid not in rig.engine.state.effects


def test_update_and_rename_change_only_what_is_the_users(rig: Rig) -> None:
    vm = held(rig, "LABEL=x\nOTHER=1")
    rig.call(c.UpdateVm(vm, "LABEL=y", append=True))
    rig.call(c.RenameVm(vm, "renamed"))
    assert rig.vm(vm).user_template.singles() == {"LABEL": "y", "OTHER": "1"}
    assert rig.vm(vm).name == "renamed"
    rig.call(c.UpdateVm(vm, "CPU=9"))
    assert rig.vm(vm).cpu_percent == 10
    with pytest.raises(ActionError, match="cannot be empty"):
        rig.call(c.RenameVm(vm, ""))
    with pytest.raises(TemplateError, match="line 1, column 3"):
        rig.call(c.UpdateVm(vm, "A B"))


def test_vms_that_do_not_exist_are_named(rig: Rig) -> None:
    commands = (c.DeployVm(9, 0), c.MigrateVm(9, 0), c.VmAction(9, "hold"), c.RecoverVm(9, 2), c.UpdateVm(9, ""))
    for command in (*commands, c.RenameVm(9, "x")):
        with pytest.raises(NoSuchObject, match=r"Error getting virtual machine \[9\]"):
            rig.call(command)


def test_a_vm_whose_memory_has_run_since_it_was_saved_boots_from_its_disks(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.call(c.VmAction(vm, "suspend"))
    rig.settle()
    rig.call(c.VmAction(vm, "resume"))
    rig.answer(EffectKind.VMM_RESTORE, ok=False, message="the checkpoint has been used", CHECKPOINT="GONE")
    assert rig.vm(vm).state is VmState.POWEROFF
    assert "has been used" in rig.vm(vm).user_template.get("ERROR")
    rig.call(c.VmAction(vm, "resume"))
    rig.answer(EffectKind.VMM_DEPLOY)
    assert rig.vm(vm).lcm_state is LcmState.RUNNING


def test_a_stopped_vm_whose_memory_was_used_is_booted_by_a_retry(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.call(c.VmAction(vm, "stop"))
    rig.settle()
    rig.call(c.DeployVm(vm, 1))
    rig.answer(EffectKind.TM_RESUME)
    rig.answer(EffectKind.VMM_RESTORE, ok=False, message="the checkpoint has been used", CHECKPOINT="GONE")
    assert rig.vm(vm).lcm_state is LcmState.BOOT_FAILURE
    rig.call(c.RecoverVm(vm, 2))
    rig.answer(EffectKind.VMM_DEPLOY)
    assert rig.vm(vm).lcm_state is LcmState.RUNNING


def test_a_vm_whose_files_are_between_two_datastores_does_not_move_on_without_them(rig: Rig) -> None:
    other = rig.call(c.AllocateDatastore("NAME=b\nTYPE=SYSTEM_DS\nTM_MAD=shared"))
    vm = rig.running_vm(0)
    rig.call(c.VmAction(vm, "poweroff-hard"))
    rig.settle()
    rig.call(c.MigrateVm(vm, 1, ds_id=other))
    rig.answer(EffectKind.TM_MIGRATE, ok=False, message="no space is left")
    with pytest.raises(ActionError, match=r"on their way to another datastore: .*--retry.*--failure"):
        rig.call(c.MigrateVm(vm, 0))
    rig.call(c.VmAction(vm, "resched"))
    rig.tick()
    assert "on their way" in rig.vm(vm).user_template.get("SCHED_MESSAGE")
    rig.call(c.RecoverVm(vm, 0))
    assert rig.vm(vm).state is VmState.POWEROFF
    assert rig.vm(vm).history[-1].ds_id != other


@pytest.mark.parametrize("append", [True, False])
def test_the_progress_of_a_transfer_that_a_client_sends_back_is_not_stored(rig: Rig, append: bool) -> None:
    vm = rig.running_vm(0)
    rig.call(c.UpdateVm(vm, 'NOTE="x"\nTRANSFER="CLONE shared a b"\nTRANSFER_PERCENT="40"', append))
    assert dict(rig.vm(vm).user_template) == {"NOTE": "x"}
