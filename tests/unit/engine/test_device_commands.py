"""Disks and NICs that come and go while a VM exists."""

import pytest

from holdfast.engine import commands as c
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind, HistoryAction, ImageState
from holdfast.model.errors import ActionError, AllocateError, HoldfastError, NoSuchObject, TemplateError
from holdfast.model.storage import Image
from holdfast.model.template import Section
from holdfast.model.vm_states import LcmState, VmState
from tests.unit.engine.rig import Rig

LOST = Answer(False, "no answer", certain=False)


@pytest.fixture
def rig() -> Rig:
    """One host, and images: alpine (0), data (1, persistent), rescue (2, a CD-ROM)."""
    rig = Rig(hosts=1)
    texts = ("NAME=alpine\nSIZE=512\nDEV_PREFIX=vd", "NAME=data\nSIZE=100\nDEV_PREFIX=vd", "NAME=rescue\nTYPE=CDROM")
    for text in texts:
        rig.call(c.AllocateImage(text + "\nPATH=/tmp/x", 1))
        rig.answer(EffectKind.IMAGE_CREATE, FORMAT="raw" if "CDROM" in text else "qcow2")
    rig.call(c.PersistImage(1, True))
    return rig


def running(rig: Rig, text: str = 'DISK=[IMAGE=alpine]\nNIC=[BRIDGE="br0"]') -> int:
    """A VM that runs."""
    oid = rig.call(c.AllocateVm(f"CPU=0.1\nMEMORY=64\n{text}", hold=True))
    rig.call(c.DeployVm(oid, 0))
    rig.settle()
    assert rig.vm(oid).lcm_state is LcmState.RUNNING
    return oid


def powered_off(rig: Rig, text: str = 'DISK=[IMAGE=alpine]\nNIC=[BRIDGE="br0"]') -> int:
    """A VM that is off."""
    oid = running(rig, text)
    rig.call(c.VmAction(oid, "poweroff-hard"))
    rig.settle()
    return oid


def image(rig: Rig, oid: int) -> Image:
    """The committed image."""
    return rig.engine.state.images[oid]


def disks(rig: Rig, oid: int) -> dict[str, Section]:
    """The VM's disks by target."""
    return {disk["TARGET"]: disk for disk in rig.vm(oid).template.sections("DISK")}


def nics(rig: Rig, oid: int) -> list[str]:
    """The ids of the VM's NICs."""
    return [nic["NIC_ID"] for nic in rig.vm(oid).template.sections("NIC")]


# --- attaching a disk


def test_a_disk_is_attached_to_a_running_vm_by_its_hypervisor(rig: Rig) -> None:
    vm = running(rig)
    assert rig.call(c.AttachDisk(vm, "DISK=[IMAGE=data]")) == vm
    order = rig.order(EffectKind.VMM_ATTACH_DISK)
    assert [order.args[name] for name in ("ACTION", "ITEM", "DISK_ID")] == ["disk-attach", "1", "1"]
    assert rig.vm(vm).lcm_state is LcmState.HOTPLUG
    assert disks(rig, vm)["vdb"]["ATTACH"] == "YES"
    assert (image(rig, 1).state, image(rig, 1).vms) == (ImageState.USED_PERS, (vm,))
    rig.answer(EffectKind.VMM_ATTACH_DISK)
    assert rig.vm(vm).lcm_state is LcmState.RUNNING
    disk = disks(rig, vm)["vdb"]
    assert "ATTACH" not in disk
    assert (disk["IMAGE_ID"], disk["CLONE"], disk["SAVE"], disk["SIZE"]) == ("1", "NO", "YES", "100")
    assert image(rig, 1).state is ImageState.USED_PERS


def test_a_disk_is_attached_to_a_vm_that_is_off_by_its_files_alone(rig: Rig) -> None:
    vm = powered_off(rig)
    rig.call(c.AttachDisk(vm, "DISK=[IMAGE_ID=0]"))
    assert rig.vm(vm).lcm_state is LcmState.HOTPLUG_PROLOG_POWEROFF
    rig.answer(EffectKind.TM_ATTACH)
    assert (rig.vm(vm).state, sorted(disks(rig, vm))) == (VmState.POWEROFF, ["vda", "vdb"])


def test_an_attached_disk_is_in_the_history(rig: Rig) -> None:
    vm = running(rig)
    rig.call(c.AttachDisk(vm, "DISK=[TYPE=fs,SIZE=10]"))
    rig.settle()
    before, after = rig.vm(vm).history
    assert (before.action, before.uid, after.action) == (HistoryAction.DISK_ATTACH, 0, HistoryAction.NONE)
    assert before.etime
    assert not after.etime


@pytest.mark.parametrize("certain", [True, False])
def test_a_disk_that_cannot_be_plugged_in_is_not_there(rig: Rig, certain: bool) -> None:
    vm = running(rig)
    rig.call(c.AttachDisk(vm, "DISK=[IMAGE_ID=0]"))
    rig.answer(EffectKind.VMM_ATTACH_DISK, ok=False, message="no free slot", certain=certain)
    assert (rig.vm(vm).lcm_state, list(disks(rig, vm))) == (LcmState.RUNNING, ["vda"])
    assert rig.vm(vm).user_template.get("ERROR").endswith(": ATTACHDISK: no free slot")
    assert (image(rig, 0).state, image(rig, 0).vms) == (ImageState.USED, (vm,))


def test_the_image_of_a_disk_that_was_certainly_not_plugged_in_is_free_again(rig: Rig) -> None:
    vm = running(rig)
    rig.call(c.AttachDisk(vm, "DISK=[IMAGE_ID=1]"))
    rig.answer(EffectKind.VMM_ATTACH_DISK, ok=False, message="refused")
    assert (image(rig, 1).state, image(rig, 1).vms) == (ImageState.READY, ())


def test_a_persistent_image_that_may_be_plugged_in_all_the_same_is_not_lent_to_another(rig: Rig) -> None:
    vm, other = running(rig), running(rig)
    rig.call(c.AttachDisk(vm, "DISK=[IMAGE_ID=1]"))
    rig.reply(rig.order(EffectKind.VMM_ATTACH_DISK), LOST)
    assert (image(rig, 1).state, image(rig, 1).vms) == (ImageState.ERROR, ())
    with pytest.raises(ActionError, match="Cannot acquire image 1, it is in state: ERROR"):
        rig.call(c.AttachDisk(other, "DISK=[IMAGE_ID=1]"))
    rig.call(c.EnableImage(1, True))
    rig.call(c.AttachDisk(other, "DISK=[IMAGE_ID=1]"))


def test_nothing_runs_in_a_vm_that_is_off_so_its_images_are_free_whatever_the_driver_knows(rig: Rig) -> None:
    vm = powered_off(rig)
    rig.call(c.AttachDisk(vm, "DISK=[IMAGE_ID=1]"))
    rig.reply(rig.order(EffectKind.TM_ATTACH), LOST)
    assert (image(rig, 1).state, image(rig, 1).vms) == (ImageState.READY, ())


def test_a_new_disk_gets_the_next_id_and_the_next_free_target(rig: Rig) -> None:
    vm = running(rig, "DISK=[IMAGE_ID=0,TARGET=vda]\nDISK=[IMAGE_ID=0,TARGET=vdc]\nCONTEXT=[DISK_ID=2,TARGET=vdb]")
    rig.call(c.AttachDisk(vm, "DISK=[IMAGE_ID=0]"))
    assert disks(rig, vm)["vdd"]["DISK_ID"] == "3"


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("", 8192, "exactly one DISK"),
        ("CPU=1", 8192, "exactly one DISK"),
        ("DISK=[IMAGE_ID=0]\nDISK=[IMAGE_ID=0]", 8192, "it holds 2 of them"),
        ("DISK=[IMAGE_ID=0]\nNIC=[BRIDGE=br0]", 8192, "1 of them and NIC"),
        ("DISK=[", 8192, "is never closed"),
        ("DISK=[SIZE=10]", 2048, "A DISK needs IMAGE_ID or IMAGE"),
        ("DISK=[TYPE=fs]", 2048, "needs a SIZE in MB"),
        ("DISK=[IMAGE_ID=9]", 1024, "Error getting image [9]"),
        ("DISK=[IMAGE_ID=x]", 8192, "DISK/IMAGE_ID must be a number"),
        ("DISK=[IMAGE=debian]", 2048, 'no image named "debian"'),
        ("DISK=[IMAGE_ID=0,SIZE=big]", 2048, "DISK/SIZE must be a whole number"),
        ("DISK=[IMAGE_ID=0,TARGET=vda]", 2048, "DISK/TARGET vda is already in use"),
        ("DISK=[IMAGE_ID=2]", 2048, "power it off first"),
        ("DISK=[IMAGE_ID=3]", 2048, "type KERNEL"),
        ("DISK=[IMAGE_ID=4]", 2048, "it is in state: LOCKED"),
    ],
)
def test_a_disk_that_cannot_be_is_refused_with_the_rule_and_leaves_nothing(
    rig: Rig, text: str, code: int, said: str
) -> None:
    vm = running(rig)
    files = rig.call(c.AllocateDatastore("NAME=files\nTYPE=FILE_DS\nTM_MAD=shared\nDS_MAD=fs"))
    rig.call(c.AllocateImage("NAME=kernel\nTYPE=KERNEL\nPATH=/tmp/k", files))
    rig.call(c.AllocateImage("NAME=late\nSIZE=1", 1))
    before = rig.vm(vm)
    with pytest.raises(HoldfastError) as caught:
        rig.call(c.AttachDisk(vm, text))
    assert said in caught.value.message
    assert caught.value.code == code
    assert rig.vm(vm) == before
    assert {order.kind for order in rig.orders} == {EffectKind.IMAGE_CREATE}
    assert image(rig, 0).vms == (vm,)


def test_a_persistent_image_is_not_attached_twice(rig: Rig) -> None:
    vm = running(rig, "DISK=[IMAGE_ID=1]")
    with pytest.raises(ActionError, match="persistent and already in use"):
        rig.call(c.AttachDisk(vm, "DISK=[IMAGE_ID=1]"))


@pytest.mark.parametrize(
    "command", [c.AttachDisk(0, "DISK=[IMAGE_ID=0]"), c.DetachDisk(0, 0), c.AttachNic(0, "NIC=[]")]
)
def test_a_vm_in_a_state_without_devices_says_so_first(rig: Rig, command: c.Command) -> None:
    rig.call(c.AllocateVm("CPU=0.1\nMEMORY=64", hold=True))
    with pytest.raises(
        ActionError, match=r'Error performing action "\w+-\w+": This action is not available for state HOLD'
    ):
        rig.call(command)


def test_a_second_operation_waits_for_the_end_of_the_first(rig: Rig) -> None:
    vm = running(rig)
    rig.call(c.AttachDisk(vm, "DISK=[IMAGE_ID=0]"))
    with pytest.raises(ActionError, match="not available for state HOTPLUG"):
        rig.call(c.AttachDisk(vm, "DISK=[IMAGE_ID=0]"))
    assert len(disks(rig, vm)) == 2


def test_marks_of_what_is_under_way_are_not_the_users_to_set(rig: Rig) -> None:
    vm = running(rig, "DISK=[TYPE=fs,SIZE=8,CLONING=YES,RESIZE=YES]\nDISK=[IMAGE_ID=0,ATTACH=YES]\nNIC=[ATTACH=YES]")
    rig.call(c.AttachDisk(vm, "DISK=[IMAGE_ID=0,CLONING=YES,SIZE_PREV=3]"))
    rig.settle()
    sections = [value for _, value in rig.vm(vm).template if isinstance(value, Section)]
    assert not {"ATTACH", "CLONING", "RESIZE", "SIZE_PREV"} & {name for section in sections for name in section}


def test_two_disks_of_a_new_vm_have_two_targets(rig: Rig) -> None:
    with pytest.raises(AllocateError, match="DISK/TARGET vdb is already in use: choose another, or leave it out"):
        running(rig, "DISK=[IMAGE_ID=0,TARGET=vdb]\nDISK=[TYPE=fs,SIZE=8,TARGET=vdb]")
    assert image(rig, 0).vms == ()


# --- detaching a disk


def test_a_disk_is_detached_from_a_running_vm_and_its_image_is_free(rig: Rig) -> None:
    vm = running(rig, "DISK=[IMAGE_ID=0]\nDISK=[IMAGE_ID=1]")
    rig.call(c.DetachDisk(vm, 1))
    assert disks(rig, vm)["vdb"]["ATTACH"] == "YES"
    assert rig.order(EffectKind.VMM_DETACH_DISK).args["DISK_ID"] == "1"
    assert image(rig, 1).state is ImageState.USED_PERS
    rig.answer(EffectKind.VMM_DETACH_DISK)
    assert (rig.vm(vm).lcm_state, list(disks(rig, vm))) == (LcmState.RUNNING, ["vda"])
    assert (image(rig, 1).state, image(rig, 1).vms) == (ImageState.READY, ())


def test_a_disk_is_detached_from_a_vm_that_is_off_even_a_cdrom(rig: Rig) -> None:
    vm = powered_off(rig, "DISK=[IMAGE=alpine]\nDISK=[IMAGE=rescue]")
    for disk_id in (0, 1):
        rig.call(c.DetachDisk(vm, disk_id))
        rig.answer(EffectKind.TM_DETACH)
    assert (rig.vm(vm).state, disks(rig, vm)) == (VmState.POWEROFF, {})
    assert image(rig, 0).state is image(rig, 2).state is ImageState.READY


@pytest.mark.parametrize("answer", [Answer(False, "the guest holds it"), LOST])
def test_a_disk_that_the_guest_does_not_release_stays_attached(rig: Rig, answer: Answer) -> None:
    vm = running(rig, "DISK=[IMAGE_ID=1]")
    rig.call(c.DetachDisk(vm, 0))
    rig.reply(rig.order(EffectKind.VMM_DETACH_DISK), answer)
    assert rig.vm(vm).lcm_state is LcmState.RUNNING
    assert "ATTACH" not in disks(rig, vm)["vda"]
    assert image(rig, 1).state is ImageState.USED_PERS


def test_an_image_that_another_disk_of_the_vm_uses_stays_in_use(rig: Rig) -> None:
    vm = running(rig, "DISK=[IMAGE_ID=0]\nDISK=[IMAGE_ID=0]")
    assert image(rig, 0).vms == (vm,)
    rig.call(c.DetachDisk(vm, 0))
    rig.settle()
    assert (image(rig, 0).state, image(rig, 0).vms) == (ImageState.USED, (vm,))
    rig.call(c.DetachDisk(vm, 1))
    rig.settle()
    assert (image(rig, 0).state, image(rig, 0).vms) == (ImageState.READY, ())


def test_the_word_of_an_operator_does_not_lend_a_persistent_disk_to_another_vm(rig: Rig) -> None:
    vm = running(rig, "DISK=[IMAGE_ID=1]")
    rig.call(c.DetachDisk(vm, 0))
    rig.call(c.RecoverVm(vm, 1))
    assert (rig.vm(vm).lcm_state, disks(rig, vm)) == (LcmState.RUNNING, {})
    assert image(rig, 1).state is ImageState.ERROR


def test_an_operator_ends_a_hanging_detach_with_the_disk_still_attached(rig: Rig) -> None:
    vm = running(rig)
    rig.call(c.DetachDisk(vm, 0))
    late = rig.order(EffectKind.VMM_DETACH_DISK)
    rig.call(c.RecoverVm(vm, 0))
    assert (rig.vm(vm).lcm_state, list(disks(rig, vm))) == (LcmState.RUNNING, ["vda"])
    rig.reply(late, Answer(True))
    assert list(disks(rig, vm)) == ["vda"]


@pytest.mark.parametrize(
    ("disk_id", "said"),
    [
        (5, "has no disk 5; its disks: 0, 1, 2"),
        (3, "is its CONTEXT"),
        (1, "power it off first"),
        (-1, "has no disk -1"),
    ],
)
def test_a_disk_that_cannot_go_is_refused_with_the_rule(rig: Rig, disk_id: int, said: str) -> None:
    vm = running(rig, "DISK=[IMAGE_ID=0]\nDISK=[IMAGE_ID=2]\nDISK=[TYPE=swap,SIZE=8]\nCONTEXT=[DISK_ID=3]")
    with pytest.raises(ActionError, match=said):
        rig.call(c.DetachDisk(vm, disk_id))
    assert not rig.orders


def test_a_disk_with_snapshots_is_not_detached(rig: Rig) -> None:
    vm = powered_off(rig)
    rig.call(c.CreateDiskSnapshot(vm, 0, "x"))
    rig.settle()
    with pytest.raises(ActionError, match=r"has snapshots \(0\).*disk-snapshot-delete"):
        rig.call(c.DetachDisk(vm, 0))


def test_a_vm_that_ends_releases_a_disk_that_was_just_being_attached(rig: Rig) -> None:
    vm = running(rig)
    rig.call(c.AttachDisk(vm, "DISK=[IMAGE_ID=1]"))
    rig.call(c.RecoverVm(vm, 3))
    rig.settle()
    assert rig.vm(vm).state is VmState.DONE
    assert (image(rig, 0).vms, image(rig, 1).vms) == ((), ())


# --- NICs


def test_a_nic_is_attached_to_a_running_vm_with_a_mac_and_a_target_of_its_own(rig: Rig) -> None:
    vm = running(rig)
    rig.call(c.AttachNic(vm, 'NIC=[BRIDGE="br1"]'))
    assert (rig.vm(vm).lcm_state, rig.order(EffectKind.VMM_ATTACH_NIC).args["ITEM"]) == (LcmState.HOTPLUG_NIC, "1")
    rig.answer(EffectKind.VMM_ATTACH_NIC)
    first, second = rig.vm(vm).template.sections("NIC")
    assert (second["NIC_ID"], second["BRIDGE"], second["TARGET"]) == ("1", "br1", f"one-{vm}-1")
    assert first["MAC"] != second["MAC"]
    assert "ATTACH" not in second
    assert rig.vm(vm).history[0].action is HistoryAction.NIC_ATTACH


def test_a_nic_that_cannot_be_plugged_in_is_not_there(rig: Rig) -> None:
    vm = running(rig)
    rig.call(c.AttachNic(vm, 'NIC=[BRIDGE="br1"]'))
    rig.answer(EffectKind.VMM_ATTACH_NIC, ok=False)
    assert nics(rig, vm) == ["0"]


def test_nics_of_a_vm_that_is_off_change_in_its_record_alone(rig: Rig) -> None:
    vm = powered_off(rig)
    rig.call(c.AttachNic(vm, 'NIC=[BRIDGE="br1"]'))
    assert (rig.vm(vm).state, nics(rig, vm), rig.orders) == (VmState.POWEROFF, ["0", "1"], [])
    rig.call(c.DetachNic(vm, 0))
    assert (rig.vm(vm).state, nics(rig, vm), rig.orders) == (VmState.POWEROFF, ["1"], [])
    assert "ATTACH" not in rig.vm(vm).template.section("NIC")
    assert rig.vm(vm).operation.action == ""


def test_a_nic_is_detached_from_a_running_vm(rig: Rig) -> None:
    vm = running(rig)
    rig.call(c.DetachNic(vm, 0))
    rig.answer(EffectKind.VMM_DETACH_NIC, ok=False, message="busy")
    assert nics(rig, vm) == ["0"]
    rig.call(c.DetachNic(vm, 0))
    rig.answer(EffectKind.VMM_DETACH_NIC)
    assert nics(rig, vm) == []
    with pytest.raises(ActionError, match="has no NIC 0; its NICs: none"):
        rig.call(c.DetachNic(vm, 0))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('NIC=[MAC="02:00:00:00:00:00"]', "NIC/MAC 02:00:00:00:00:00 is that of NIC 0 already"),
        ('NIC=[TARGET="one-0-0"]', "NIC/TARGET one-0-0 is that of NIC 0 already"),
    ],
)
def test_two_nics_of_a_vm_differ(rig: Rig, text: str, said: str) -> None:
    vm = running(rig)
    with pytest.raises(ActionError, match=said):
        rig.call(c.AttachNic(vm, text))


@pytest.mark.parametrize("text", ["", "NIC=[BRIDGE=a]\nNIC=[BRIDGE=b]", "DISK=[IMAGE_ID=0]"])
def test_one_nic_is_attached_at_a_time(rig: Rig, text: str) -> None:
    vm = running(rig)
    with pytest.raises(TemplateError, match="exactly one NIC"):
        rig.call(c.AttachNic(vm, text))


# --- all of them


def test_vms_that_do_not_exist_are_named(rig: Rig) -> None:
    for command in (c.AttachDisk(9, ""), c.DetachDisk(9, 0), c.AttachNic(9, ""), c.DetachNic(9, 0)):
        with pytest.raises(NoSuchObject, match=r"Error getting virtual machine \[9\]"):
            rig.call(command)


def test_an_attachment_under_way_survives_a_restart_of_the_controller(rig: Rig) -> None:
    vm = running(rig)
    rig.call(c.AttachDisk(vm, "DISK=[IMAGE_ID=1]"))
    rig.restart()
    rig.answer(EffectKind.VMM_ATTACH_DISK)
    assert (rig.vm(vm).lcm_state, sorted(disks(rig, vm))) == (LcmState.RUNNING, ["vda", "vdb"])
    assert image(rig, 1).state is ImageState.USED_PERS


def test_a_driver_that_stays_silent_ends_the_operation_at_its_deadline(rig: Rig) -> None:
    vm = running(rig)
    rig.call(c.AttachNic(vm, 'NIC=[BRIDGE="br1"]'))
    rig.tick(3600)
    assert nics(rig, vm) == ["0"]
    assert "no answer within" in rig.vm(vm).user_template.get("ERROR")
