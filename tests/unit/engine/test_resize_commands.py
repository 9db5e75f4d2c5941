"""Disks that grow, and VMs that get another size."""

import pytest

from holdfast.engine import commands as c
from holdfast.model.enums import EffectKind, HistoryAction, ImageState
from holdfast.model.errors import ActionError, HoldfastError, NoSuchObject
from holdfast.model.template import Section
from holdfast.model.vm_states import LcmState, VmState
from tests.unit.engine.rig import Rig

GROWING = "VCPU=1\nVCPU_MAX=4\nMEMORY_MAX=512\n"


@pytest.fixture
def rig() -> Rig:
    """One host (4 CPU, 8 GiB) and an image (0) and a CD-ROM (1)."""
    rig = Rig(hosts=1)
    for text in ("NAME=a", "NAME=b\nTYPE=CDROM"):
        rig.call(c.AllocateImage(text + "\nPATH=/tmp/x\nDEV_PREFIX=vd", 1))
        rig.answer(EffectKind.IMAGE_CREATE, SIZE="512", FORMAT="qcow2")
    return rig


def held(rig: Rig, text: str = GROWING) -> int:
    """A VM on hold."""
    return rig.call(c.AllocateVm(f"CPU=1\nMEMORY=256\nDISK=[IMAGE_ID=0]\nDISK=[IMAGE_ID=1]\n{text}", hold=True))


def running(rig: Rig, text: str = GROWING) -> int:
    """A VM that runs."""
    oid = held(rig, text)
    rig.call(c.DeployVm(oid, 0))
    rig.settle()
    return oid


def off(rig: Rig, action: str = "poweroff-hard", text: str = GROWING) -> int:
    """A VM that does not run."""
    oid = running(rig, text)
    rig.call(c.VmAction(oid, action))
    rig.settle()
    return oid


def size(rig: Rig, oid: int) -> tuple[str, str, str]:
    """CPU, VCPU and MEMORY in the VM's record."""
    template = rig.vm(oid).template
    return template.get("CPU"), template.get("VCPU"), template.get("MEMORY")


def usage(rig: Rig) -> tuple[int, int]:
    """What the host has given away: CPU in percent of a core, memory in MB."""
    return rig.host(0).cpu_usage, rig.host(0).mem_usage // 1024


def disk(rig: Rig, oid: int) -> Section:
    """The VM's first disk."""
    return rig.vm(oid).template.section("DISK")


# --- disks


@pytest.mark.parametrize(
    ("action", "meanwhile", "effect", "home"),
    [
        ("", LcmState.DISK_RESIZE, EffectKind.VMM_RESIZE_DISK, VmState.ACTIVE),
        ("poweroff-hard", LcmState.DISK_RESIZE_POWEROFF, EffectKind.TM_RESIZE, VmState.POWEROFF),
        ("undeploy-hard", LcmState.DISK_RESIZE_UNDEPLOYED, EffectKind.TM_RESIZE, VmState.UNDEPLOYED),
    ],
)
def test_a_disk_grows_wherever_it_is(
    rig: Rig, action: str, meanwhile: LcmState, effect: EffectKind, home: VmState
) -> None:
    vm = off(rig, action) if action else running(rig)
    rig.call(c.ResizeDisk(vm, 0, "1024"))
    order = rig.order(effect)
    assert (order.args["DISK_ID"], order.args["ITEM"], order.args["SIZE"]) == ("0", "0", "1024")
    assert rig.vm(vm).lcm_state is meanwhile
    assert (disk(rig, vm)["SIZE"], disk(rig, vm)["SIZE_PREV"]) == ("1024", "512")
    rig.answer(effect)
    assert (rig.vm(vm).state, disk(rig, vm)["SIZE"], disk(rig, vm)["ORIGINAL_SIZE"]) == (home, "1024", "512")
    assert "RESIZE" not in disk(rig, vm)


def test_a_parked_disk_is_resized_on_the_front_end(rig: Rig) -> None:
    vm = off(rig, "undeploy-hard")
    rig.call(c.ResizeDisk(vm, 0, "1024"))
    assert rig.order(EffectKind.TM_RESIZE).args["LOCAL"] == "YES"


def test_a_disk_that_could_not_grow_has_its_old_size(rig: Rig) -> None:
    vm = running(rig)
    rig.call(c.ResizeDisk(vm, 0, "1024"))
    rig.answer(EffectKind.VMM_RESIZE_DISK, ok=False, message="no space left")
    assert (disk(rig, vm)["SIZE"], rig.vm(vm).lcm_state) == ("512", LcmState.RUNNING)
    assert rig.vm(vm).history[-2].action is HistoryAction.DISK_RESIZE


@pytest.mark.parametrize(
    ("disk_id", "text", "said"),
    [
        (0, "512", "disk 0 of VM 0 has 512 MB, 512 MB were asked for, and a disk does not shrink"),
        (0, "10", "does not shrink"),
        (0, "1.5G", 'must be a whole number of MB, it is "1.5G"'),
        (0, "-1", "whole number"),
        (0, "", "whole number"),
        (0, "٣٣٣٣", "whole number"),
        (0, "9" * 13, "whole number"),
        (1, "1024", "is a CD-ROM"),
        (7, "1024", "has no disk 7; its disks: 0, 1"),
    ],
)
def test_a_size_that_a_disk_cannot_have_is_refused_with_the_rule(rig: Rig, disk_id: int, text: str, said: str) -> None:
    vm = running(rig)
    with pytest.raises(ActionError) as caught:
        rig.call(c.ResizeDisk(vm, disk_id, text))
    assert said in caught.value.message
    assert not rig.orders


def test_a_suspended_vm_has_disks_that_nobody_may_change(rig: Rig) -> None:
    vm = off(rig, "suspend")
    with pytest.raises(ActionError, match='"disk-resize": This action is not available for state SUSPENDED'):
        rig.call(c.ResizeDisk(vm, 0, "1024"))


def test_a_persistent_image_has_the_size_that_its_disk_grew_to(rig: Rig) -> None:
    rig.call(c.PersistImage(0, True))
    vm = running(rig)
    rig.call(c.ResizeDisk(vm, 0, "1024"))
    rig.settle()
    rig.call(c.VmAction(vm, "terminate-hard"))
    rig.settle()
    image = rig.engine.state.images[0]
    assert (image.state, image.size_mb) == (ImageState.READY, 1024)


# --- VMs that run


def test_a_running_vm_is_resized_by_its_hypervisor_and_the_host_counts_it_at_once(rig: Rig) -> None:
    vm = running(rig)
    assert usage(rig) == (100, 256)
    rig.call(c.ResizeVm(vm, "CPU=2.5\nVCPU=3\nMEMORY=512"))
    args = rig.order(EffectKind.VMM_RESIZE).args
    assert (args["CPU"], args["VCPU"], args["MEMORY"]) == ("2.5", "3", "512")
    assert rig.vm(vm).lcm_state is LcmState.HOTPLUG_RESIZE
    assert usage(rig) == (250, 512)
    rig.answer(EffectKind.VMM_RESIZE)
    assert (rig.vm(vm).lcm_state, size(rig, vm), usage(rig)) == (LcmState.RUNNING, ("2.5", "3", "512"), (250, 512))
    assert rig.vm(vm).history[-2].action is HistoryAction.RESIZE


@pytest.mark.parametrize("by_operator", [True, False])
def test_a_resize_that_failed_gives_vm_and_host_their_old_figures(rig: Rig, by_operator: bool) -> None:
    vm = running(rig, "VCPU_MAX=4\nMEMORY_MAX=512")
    rig.call(c.ResizeVm(vm, "CPU=2\nVCPU=2\nMEMORY=512"))
    if by_operator:
        rig.call(c.RecoverVm(vm, 0))
    else:
        rig.answer(EffectKind.VMM_RESIZE, ok=False)
    assert (rig.vm(vm).lcm_state, size(rig, vm), usage(rig)) == (LcmState.RUNNING, ("1", "", "256"), (100, 256))


def test_a_vm_deleted_while_it_is_resized_gives_all_its_capacity_back(rig: Rig) -> None:
    vm = running(rig)
    rig.call(c.ResizeVm(vm, "CPU=2\nMEMORY=512"))
    rig.call(c.RecoverVm(vm, 3))
    rig.settle()
    assert (rig.vm(vm).state, usage(rig), rig.host(0).vms) == (VmState.DONE, (0, 0), ())


def test_a_running_vm_shrinks_without_any_limit(rig: Rig) -> None:
    vm = running(rig, "VCPU=4")
    rig.call(c.ResizeVm(vm, "VCPU=2\nMEMORY=128\nCPU=0.5"))
    rig.settle()
    assert (size(rig, vm), usage(rig)) == (("0.5", "2", "128"), (50, 128))


@pytest.mark.parametrize(
    ("text", "given", "said"),
    [
        (GROWING, "VCPU=5", r"at most 4 VCPU \(VCPU_MAX\): it cannot get 5 now. Power it off"),
        (GROWING, "MEMORY=513", r"at most 512 MB of MEMORY \(MEMORY_MAX\)"),
        ("", "VCPU=2", "at most 1 VCPU"),
        ("", "MEMORY=257", "at most 256 MB of MEMORY"),
        (GROWING + "TOPOLOGY=[PIN_POLICY=CORE]", "VCPU=2", "Cannot resize a pinned VM while it runs"),
    ],
)
def test_a_running_vm_grows_no_further_than_it_was_started_for(rig: Rig, text: str, given: str, said: str) -> None:
    vm = running(rig, text)
    before = rig.vm(vm)
    with pytest.raises(ActionError, match=said):
        rig.call(c.ResizeVm(vm, given))
    assert (rig.vm(vm), rig.orders) == (before, [])


# --- VMs that do not run


@pytest.mark.parametrize("release", [True, False])
def test_a_waiting_vm_is_resized_in_its_record(rig: Rig, release: bool) -> None:
    vm = held(rig)
    if release:
        rig.call(c.SetHostStatus(0, 1))
        rig.call(c.VmAction(vm, "release"))
    rig.call(c.ResizeVm(vm, "CPU=3\nMEMORY=1024"))
    assert (size(rig, vm), usage(rig), rig.orders) == (("3", "1", "1024"), (0, 0), [])


def test_a_vm_that_is_off_is_resized_in_its_record_and_on_its_host(rig: Rig) -> None:
    vm = off(rig)
    rig.call(c.ResizeVm(vm, "CPU=3\nMEMORY=1024"))
    assert (size(rig, vm), usage(rig), rig.orders) == (("3", "1", "1024"), (300, 1024), [])
    assert (rig.vm(vm).state, rig.vm(vm).operation.action) == (VmState.POWEROFF, "")


def test_an_undeployed_vm_takes_its_new_size_when_it_is_deployed(rig: Rig) -> None:
    vm = off(rig, "undeploy-hard")
    rig.call(c.ResizeVm(vm, "CPU=2\nMEMORY=1024"))
    assert usage(rig) == (0, 0)
    rig.call(c.DeployVm(vm, 0))
    rig.settle()
    assert (rig.vm(vm).lcm_state, usage(rig)) == (LcmState.RUNNING, (200, 1024))


def test_limits_grow_with_a_vm_that_does_not_run(rig: Rig) -> None:
    vm = off(rig)
    rig.call(c.ResizeVm(vm, "VCPU=8\nMEMORY=600"))
    assert (rig.vm(vm).template.get("VCPU_MAX"), rig.vm(vm).template.get("MEMORY_MAX")) == ("8", "600")


def test_limits_that_were_not_set_are_not_set_by_growing(rig: Rig) -> None:
    vm = off(rig, text="")
    rig.call(c.ResizeVm(vm, "VCPU=8\nMEMORY=600"))
    assert {"VCPU_MAX", "MEMORY_MAX"} & rig.vm(vm).template.names() == set()


def test_the_cpu_of_a_pinned_vm_is_its_number_of_vcpus(rig: Rig) -> None:
    vm = off(rig, text="VCPU=1\nTOPOLOGY=[PIN_POLICY=THREAD]")
    rig.call(c.ResizeVm(vm, "VCPU=2\nCPU=0.5"))
    assert size(rig, vm) == ("2", "2", "256")


@pytest.mark.parametrize("action", ["suspend", "stop"])
def test_a_vm_with_a_checkpoint_is_not_resized(rig: Rig, action: str) -> None:
    vm = off(rig, action)
    with pytest.raises(ActionError, match='"resize": This action is not available for state'):
        rig.call(c.ResizeVm(vm, "CPU=2"))


# --- room


@pytest.mark.parametrize("given", ["CPU=4.1", f"MEMORY={8 * 1024 + 1}"])
@pytest.mark.parametrize("action", ["", "poweroff-hard"])
def test_with_enforce_a_vm_grows_into_free_capacity_only(rig: Rig, given: str, action: str) -> None:
    vm = off(rig, action, "MEMORY_MAX=100000") if action else running(rig, "MEMORY_MAX=100000")
    before = usage(rig)
    with pytest.raises(ActionError, match=r"Not enough capacity on host 0 \(host1\).*without enforce"):
        rig.call(c.ResizeVm(vm, given))
    assert usage(rig) == before
    rig.call(c.ResizeVm(vm, given, enforce=False))
    assert usage(rig) != before


def test_the_host_that_an_undeployed_vm_was_on_is_not_asked_for_room(rig: Rig) -> None:
    vm = off(rig, "undeploy-hard")
    rig.call(c.ResizeVm(vm, "CPU=9"))
    assert size(rig, vm)[0] == "9"


def test_a_vm_may_always_shrink_and_grow_in_what_there_is_room_for(rig: Rig) -> None:
    vm = off(rig)
    rig.call(c.ResizeVm(vm, "CPU=10", enforce=False))
    rig.call(c.ResizeVm(vm, "MEMORY=1024"))
    rig.call(c.ResizeVm(vm, "CPU=1"))
    assert usage(rig) == (100, 1024)


# --- what is asked for


@pytest.mark.parametrize("given", ["", "CPU=0\nVCPU=0\nMEMORY=0", "CPU=1", "LABEL=x"])
def test_what_is_not_given_stays_and_nothing_to_do_is_done_at_once(rig: Rig, given: str) -> None:
    vm = running(rig)
    before = rig.vm(vm)
    assert rig.call(c.ResizeVm(vm, given)) == vm
    assert (rig.vm(vm), rig.orders) == (before, [])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("CPU=-1", "CPU must be a positive float or integer value"),
        ("CPU=nan", "Attribute CPU must be a number"),
        ("CPU=200000", "up to 100000"),
        ("VCPU=-2", "VCPU must be a positive integer value"),
        ("VCPU=1.5", "Attribute VCPU must be a whole number"),
        ("MEMORY=-256", "MEMORY must be a positive integer value"),
        ("MEMORY=1G", "Attribute MEMORY must be a whole number"),
        ("CPU=[", "is never closed"),
    ],
)
def test_a_size_that_a_vm_cannot_have_is_refused_with_the_rule(rig: Rig, given: str, said: str) -> None:
    vm = off(rig)
    with pytest.raises(HoldfastError) as caught:
        rig.call(c.ResizeVm(vm, given))
    assert (said in caught.value.message, caught.value.code) == (True, 8192)


def test_vms_that_do_not_exist_are_named(rig: Rig) -> None:
    for command in (c.ResizeDisk(9, 0, "10"), c.ResizeVm(9, "CPU=1")):
        with pytest.raises(NoSuchObject, match=r"Error getting virtual machine \[9\]"):
            rig.call(command)
