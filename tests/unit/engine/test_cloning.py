"""VMs that are created before their images are there."""

import pytest

from holdfast.engine import cloning
from holdfast.engine import commands as c
from holdfast.engine.state import Draft
from holdfast.engine.work import Work
from holdfast.model.effect import Answer, Effect
from holdfast.model.enums import ImageState
from holdfast.model.errors import ActionError
from holdfast.model.storage import Image
from holdfast.model.vm import Vm
from holdfast.model.vm_states import VmState
from tests.unit.engine.rig import Rig

SMALL = "CPU=0.1\nMEMORY=64\n"
FAILED = Answer(False, "no such file")


@pytest.fixture
def rig() -> Rig:
    """An installation without hosts, so that VMs stay PENDING, in which an image (0) is being copied."""
    rig = Rig()
    rig.call(c.AllocateImage("NAME=alpine\nPATH=/tmp/x\nDEV_PREFIX=vd", 1))
    return rig


def late(rig: Rig, text: str = "DISK=[IMAGE_ID=0]", hold: bool = False) -> int:
    """A VM whose image may still be on its way."""
    return rig.call(c.AllocateVm(SMALL + text, hold=hold))


def image(rig: Rig, oid: int = 0) -> Image:
    """The committed image."""
    return rig.engine.state.images[oid]


def order_for(rig: Rig, oid: int) -> Effect:
    """The order to create this image."""
    return next(order for order in rig.orders if order.subject == oid)


def create(rig: Rig, oid: int = 0, **values: str) -> None:
    """The image is there."""
    rig.reply(order_for(rig, oid), Answer(True, values={"SIZE": "512", "FORMAT": "qcow2", **values}))


def test_a_vm_waits_for_an_image_that_is_being_created(rig: Rig) -> None:
    vm = late(rig)
    assert rig.vm(vm).state is VmState.CLONING
    assert (image(rig).state, image(rig).vms) == (ImageState.LOCKED_USED, (vm,))
    disk = rig.vm(vm).template.section("DISK")
    assert (disk["CLONING"], disk["TARGET"], "SIZE" in disk, "FORMAT" in disk) == ("YES", "vda", False, False)


def test_it_goes_on_when_the_image_is_there_and_learns_what_it_is(rig: Rig) -> None:
    vm = late(rig)
    create(rig)
    assert rig.vm(vm).state is VmState.PENDING
    assert (image(rig).state, image(rig).vms) == (ImageState.USED, (vm,))
    disk = rig.vm(vm).template.section("DISK")
    assert (disk["SIZE"], disk["ORIGINAL_SIZE"], disk["FORMAT"], disk["DRIVER"]) == ("512", "512", "qcow2", "qcow2")
    assert (disk["DISK_ID"], disk["TARGET"], "CLONING" in disk) == ("0", "vda", False)


@pytest.mark.parametrize(("text", "hold"), [("", True), ("\nSUBMIT_ON_HOLD=YES", False)])
def test_a_vm_created_on_hold_is_held_after_the_wait(rig: Rig, text: str, hold: bool) -> None:
    vm = late(rig, "DISK=[IMAGE_ID=0]" + text, hold)
    assert rig.vm(vm).state is VmState.CLONING
    create(rig)
    assert rig.vm(vm).state is VmState.HOLD


def test_a_size_that_the_user_wants_is_kept_if_the_image_fits_in(rig: Rig) -> None:
    large, small = late(rig, "DISK=[IMAGE_ID=0,SIZE=1024]"), late(rig, "DISK=[IMAGE_ID=0,SIZE=10]")
    create(rig)
    assert [rig.vm(vm).template.section("DISK")["SIZE"] for vm in (large, small)] == ["1024", "512"]


def test_a_vm_waits_for_the_last_of_its_images(rig: Rig) -> None:
    rig.call(c.AllocateImage("NAME=data\nSIZE=10", 1))
    vm = late(rig, "DISK=[IMAGE_ID=0]\nDISK=[IMAGE_ID=1]\nDISK=[TYPE=swap,SIZE=8]")
    create(rig, 1)
    assert rig.vm(vm).state is VmState.CLONING
    assert image(rig, 1).state is ImageState.USED
    create(rig, 0)
    assert rig.vm(vm).state is VmState.PENDING
    assert [disk["SIZE"] for disk in rig.vm(vm).template.sections("DISK")] == ["512", "512", "8"]


def test_all_vms_that_wait_for_an_image_go_on(rig: Rig) -> None:
    vms = [late(rig) for _ in range(3)]
    create(rig)
    assert {rig.vm(vm).state for vm in vms} == {VmState.PENDING}
    assert image(rig).vms == tuple(vms)


def test_an_image_without_vms_is_ready_as_ever(rig: Rig) -> None:
    create(rig)
    assert image(rig).state is ImageState.READY
    assert rig.vm(late(rig)).state is VmState.PENDING


def test_a_persistent_image_has_one_vm_that_waits_for_it(rig: Rig) -> None:
    rig.call(c.AllocateImage("NAME=data\nSIZE=10\nPERSISTENT=YES", 1))
    vm = late(rig, "DISK=[IMAGE_ID=1]")
    assert image(rig, 1).state is ImageState.LOCKED_USED_PERS
    with pytest.raises(ActionError, match="persistent and already in use"):
        late(rig, "DISK=[IMAGE_ID=1]")
    create(rig, 1)
    assert (image(rig, 1).state, rig.vm(vm).state) == (ImageState.USED_PERS, VmState.PENDING)
    assert rig.vm(vm).template.section("DISK")["SAVE"] == "YES"


def test_an_image_that_fails_stops_the_vms_that_wait_for_it_and_they_say_why(rig: Rig) -> None:
    vms = [late(rig), late(rig)]
    rig.reply(order_for(rig, 0), FAILED)
    assert {rig.vm(vm).state for vm in vms} == {VmState.CLONING_FAILURE}
    said = rig.vm(vms[0]).user_template.get("ERROR")
    assert "Image 0 (alpine) is in state ERROR: no such file" in said
    assert "enable the image (oneimage enable 0): the VM goes on" in said


def test_a_driver_that_never_answers_does_not_keep_vms_waiting_for_ever(rig: Rig) -> None:
    vm = late(rig)
    rig.tick(4000)
    assert (rig.vm(vm).state, image(rig).state) == (VmState.CLONING_FAILURE, ImageState.ERROR)


@pytest.mark.parametrize("operation", [0, 1])
def test_recover_looks_again(rig: Rig, operation: int) -> None:
    vm = late(rig)
    rig.reply(order_for(rig, 0), FAILED)
    assert rig.call(c.RecoverVm(vm, operation)) == vm
    assert rig.vm(vm).state is VmState.CLONING_FAILURE
    rig.call(c.EnableImage(0, True))
    assert (image(rig).state, order_for(rig, 0).args["AGAIN"]) == (ImageState.LOCKED_USED, "YES")
    assert rig.call(c.RecoverVm(vm, operation)) == vm
    create(rig)
    assert image(rig).template.get("ERROR") == ""
    assert (rig.vm(vm).state, rig.vm(vm).user_template.get("ERROR")) == (VmState.PENDING, "")


def test_a_vm_that_failed_for_one_image_goes_on_waiting_for_another(rig: Rig) -> None:
    rig.call(c.AllocateImage("NAME=data\nSIZE=10", 1))
    vm = late(rig, "DISK=[IMAGE_ID=0]\nDISK=[IMAGE_ID=1]")
    rig.reply(order_for(rig, 0), FAILED)
    rig.call(c.EnableImage(0, True))
    create(rig, 0)
    assert rig.vm(vm).state is VmState.CLONING_FAILURE
    create(rig, 1)
    assert rig.vm(vm).state is VmState.PENDING


@pytest.mark.parametrize("fails", [True, False])
def test_a_waiting_vm_can_be_terminated_and_its_image_goes_on_without_it(rig: Rig, fails: bool) -> None:
    vm = late(rig)
    rig.call(c.VmAction(vm, "terminate"))
    assert (rig.vm(vm).state, image(rig).state, image(rig).vms) == (VmState.DONE, ImageState.LOCKED, ())
    rig.reply(order_for(rig, 0), FAILED if fails else Answer(True))
    assert image(rig).state is (ImageState.ERROR if fails else ImageState.READY)
    assert rig.vm(vm).state is VmState.DONE


def test_an_image_that_vms_wait_for_is_not_removed(rig: Rig) -> None:
    vm = late(rig)
    with pytest.raises(ActionError, match=f"VMs {vm} use it"):
        rig.call(c.DeleteImage(0, force=True))


def test_the_wait_survives_a_restart_of_the_controller(rig: Rig) -> None:
    vm = late(rig)
    rig.restart()
    create(rig)
    assert rig.vm(vm).state is VmState.PENDING


def test_a_late_image_is_not_attached_to_a_vm_that_exists() -> None:
    rig = Rig(hosts=1)
    vm = rig.running_vm(0)
    rig.call(c.AllocateImage("NAME=alpine\nPATH=/tmp/x", 1))
    with pytest.raises(ActionError, match="Cannot acquire image 0, it is in state: LOCKED"):
        rig.call(c.AttachDisk(vm, "DISK=[IMAGE_ID=0]"))


def test_the_end_of_an_image_touches_only_the_vms_that_wait_for_it(rig: Rig) -> None:
    others = [rig.call(c.AllocateVm(SMALL, hold=True)) for _ in range(3)]
    late(rig)
    before = [rig.vm(vm) for vm in others]
    create(rig)
    assert all(rig.vm(vm) is version for vm, version in zip(others, before, strict=True))


def test_a_vm_that_does_not_wait_is_left_alone_when_its_image_is_mended(rig: Rig) -> None:
    create(rig)
    vm = late(rig, hold=True)
    draft = Draft(rig.engine.state)
    cloning.image_ready(Work(draft, rig.now, 1, rig.settings), image(rig))
    assert list(draft.staged(Vm)) == []
    assert rig.vm(vm).state is VmState.HOLD
