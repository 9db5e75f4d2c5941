"""Commands on images."""

import pytest

from holdfast.engine import commands as c
from holdfast.model.enums import EffectKind, ImageState, ImageType
from holdfast.model.errors import ActionError, HoldfastError, LockedError, TemplateError
from holdfast.model.storage import Datastore, Image
from holdfast.model.vm_states import VmState
from tests.unit.engine.rig import Rig

IMAGES_DS = 1


@pytest.fixture
def rig() -> Rig:
    """One host in touch."""
    return Rig(hosts=1)


def datastore(rig: Rig, oid: int) -> Datastore:
    """The committed datastore."""
    return rig.engine.state.datastores[oid]


def image(rig: Rig, oid: int) -> Image:
    """The committed image."""
    return rig.engine.state.images[oid]


def ready_image(rig: Rig, text: str = "NAME=alpine\nPATH=/tmp/alpine.qcow2") -> int:
    """An image whose file is there."""
    oid = rig.call(c.AllocateImage(text, IMAGES_DS))
    rig.answer(EffectKind.IMAGE_CREATE, SIZE="512", FORMAT="qcow2")
    return oid


def vm_with(rig: Rig, oid: int) -> int:
    """A VM on hold that uses the image."""
    return rig.call(c.AllocateVm(f"CPU=1\nMEMORY=64\nDISK=[IMAGE_ID={oid}]", hold=True))


def test_datastores_and_images_are_renamed(rig: Rig) -> None:
    oid = ready_image(rig)
    rig.call(c.RenameImage(oid, "alpine 3"))
    rig.call(c.RenameDatastore(IMAGES_DS, "images"))
    assert (image(rig, oid).name, datastore(rig, IMAGES_DS).name) == ("alpine 3", "images")
    with pytest.raises(ActionError, match="already taken by DATASTORE 0"):
        rig.call(c.RenameDatastore(IMAGES_DS, "system"))


def test_an_image_is_locked_until_its_file_is_there_and_then_known_to_its_datastore(rig: Rig) -> None:
    oid = rig.call(c.AllocateImage("NAME=alpine\nPATH=/tmp/alpine.qcow2\nTYPE=os\nLABEL=x", IMAGES_DS))
    assert (image(rig, oid).state, datastore(rig, IMAGES_DS).images) == (ImageState.LOCKED, ())
    args = rig.order(EffectKind.IMAGE_CREATE).args
    assert (args["PATH"], args["SOURCE"], args["DATASTORE_ID"]) == ("/tmp/alpine.qcow2", image(rig, oid).source, "1")
    rig.answer(EffectKind.IMAGE_CREATE, SIZE="512", FORMAT="raw")
    made = image(rig, oid)
    assert (made.state, made.size_mb, made.format, made.effect_id) == (ImageState.READY, 512, "raw", -1)
    assert made.template.singles() == {"LABEL": "x"}
    assert datastore(rig, IMAGES_DS).images == (oid,)


def test_an_image_that_could_not_be_made_says_why_and_can_be_removed(rig: Rig) -> None:
    oid = rig.call(c.AllocateImage("NAME=alpine\nPATH=/nowhere", IMAGES_DS))
    rig.answer(EffectKind.IMAGE_CREATE, ok=False, message="no such file")
    assert image(rig, oid).state is ImageState.ERROR
    assert image(rig, oid).template.get("ERROR") == "no such file"
    rig.call(c.DeleteImage(oid))
    rig.answer(EffectKind.IMAGE_DELETE)
    assert oid not in rig.engine.state.images
    assert datastore(rig, IMAGES_DS).images == ()


@pytest.mark.parametrize(
    ("text", "ds_id", "said"),
    [
        ("NAME=x\nSIZE=10", 0, "does not hold images"),
        ("SIZE=10", 1, "cannot be empty"),
        ("NAME=x", 1, "PATH (a file to copy) or SIZE"),
        ("NAME=x\nSIZE=0", 1, "PATH (a file to copy) or SIZE"),
        ("NAME=x\nSIZE=big", 1, "Attribute SIZE must be a whole number"),
        ("NAME=x\nSIZE=10\nTYPE=TAPE", 1, "TYPE must be one of OS"),
        ("NAME=x\nSIZE=10", 77, "Error getting datastore [77]"),
    ],
)
def test_an_image_that_cannot_be_is_refused_with_the_rule(rig: Rig, text: str, ds_id: int, said: str) -> None:
    with pytest.raises(HoldfastError) as caught:
        rig.call(c.AllocateImage(text, ds_id))
    assert said in caught.value.message
    assert not rig.orders


def test_two_images_never_share_a_file(rig: Rig) -> None:
    first, second = ready_image(rig), ready_image(rig, "NAME=other\nSIZE=10")
    assert image(rig, first).source != image(rig, second).source


def test_an_image_is_used_while_a_vm_has_it_and_not_removed(rig: Rig) -> None:
    oid = ready_image(rig)
    first, second = vm_with(rig, oid), vm_with(rig, oid)
    assert (image(rig, oid).state, image(rig, oid).vms) == (ImageState.USED, (first, second))
    with pytest.raises(ActionError, match=f"VMs {first}, {second} use it"):
        rig.call(c.DeleteImage(oid))
    rig.call(c.VmAction(first, "terminate"))
    assert image(rig, oid).state is ImageState.USED
    rig.call(c.VmAction(second, "terminate"))
    assert (image(rig, oid).state, image(rig, oid).vms) == (ImageState.READY, ())


def test_a_persistent_image_has_one_user_at_a_time(rig: Rig) -> None:
    oid = ready_image(rig)
    rig.call(c.PersistImage(oid, True))
    vm_with(rig, oid)
    assert image(rig, oid).state is ImageState.USED_PERS
    with pytest.raises(ActionError, match="persistent and already in use"):
        vm_with(rig, oid)
    with pytest.raises(ActionError, match="Cannot change image"):
        rig.call(c.PersistImage(oid, False))


def test_a_persistent_image_of_a_vm_deleted_while_active_needs_the_operators_eye(rig: Rig) -> None:
    oid = ready_image(rig)
    rig.call(c.PersistImage(oid, True))
    vm = vm_with(rig, oid)
    rig.call(c.DeployVm(vm, 0))
    rig.settle()
    rig.call(c.RecoverVm(vm, 3))
    rig.settle()
    assert image(rig, oid).state is ImageState.ERROR
    rig.call(c.EnableImage(oid, True))
    assert image(rig, oid).state is ImageState.READY


def test_a_persistent_image_of_a_vm_that_ended_well_is_ready_again(rig: Rig) -> None:
    oid = ready_image(rig)
    rig.call(c.PersistImage(oid, True))
    vm = vm_with(rig, oid)
    rig.call(c.DeployVm(vm, 0))
    rig.settle()
    rig.call(c.VmAction(vm, "terminate-hard"))
    rig.settle()
    assert image(rig, oid).state is ImageState.READY


def test_an_image_that_is_being_created_is_not_deleted_and_a_vm_waits_for_it(rig: Rig) -> None:
    oid = rig.call(c.AllocateImage("NAME=alpine\nSIZE=10", IMAGES_DS))
    with pytest.raises(ActionError, match="in state: LOCKED"):
        rig.call(c.DeleteImage(oid))
    vm = vm_with(rig, oid)
    assert rig.vm(vm).state is VmState.CLONING
    with pytest.raises(ActionError, match="use it"):
        rig.call(c.DeleteImage(oid))


def test_images_are_enabled_and_disabled_in_the_states_that_allow_it(rig: Rig) -> None:
    oid = ready_image(rig)
    rig.call(c.EnableImage(oid, False))
    assert image(rig, oid).state is ImageState.DISABLED
    with pytest.raises(ActionError, match="Cannot disable"):
        rig.call(c.EnableImage(oid, False))
    rig.call(c.EnableImage(oid, True))
    vm_with(rig, oid)
    with pytest.raises(ActionError, match="Cannot disable image 0, it is in state: USED"):
        rig.call(c.EnableImage(oid, False))


def test_only_disks_are_persistent(rig: Rig) -> None:
    oid = ready_image(rig, "NAME=cd\nSIZE=10\nTYPE=CDROM")
    assert image(rig, oid).type is ImageType.CDROM
    with pytest.raises(TemplateError, match="cannot be persistent"):
        rig.call(c.PersistImage(oid, True))


def test_the_template_of_an_image_is_replaced_or_merged(rig: Rig) -> None:
    oid = ready_image(rig)
    rig.call(c.UpdateImage(oid, "A=1\nB=2"))
    rig.call(c.UpdateImage(oid, "B=3\nIMPORT_BYTES=9", append=True))
    assert image(rig, oid).template.singles() == {"A": "1", "B": "3"}


def clone(rig: Rig, oid: int, name: str = "copy", ds_id: int = -1) -> int:
    """A copy that has been ordered."""
    return rig.call(c.CloneImage(oid, name, ds_id))


def test_a_copy_is_an_image_of_its_own_and_its_origin_waits_for_it(rig: Rig) -> None:
    oid = ready_image(rig, "NAME=alpine\nPATH=/tmp/x\nDEV_PREFIX=vd\nPERSISTENT=YES")
    copy = clone(rig, oid)
    assert (image(rig, oid).state, image(rig, oid).clones) == (ImageState.CLONE, (copy,))
    made = image(rig, copy)
    assert (made.state, made.cloning_id, made.persistent, made.template.get("DEV_PREFIX")) == (
        *(ImageState.LOCKED, oid),
        *(False, "vd"),
    )
    args = rig.order(EffectKind.IMAGE_CLONE).args
    assert (args["FROM"], args["SOURCE"]) == (image(rig, oid).source, made.source)
    assert args["FROM"] != args["SOURCE"]
    rig.answer(EffectKind.IMAGE_CLONE, SIZE="512", FORMAT="qcow2")
    assert (image(rig, oid).state, image(rig, oid).clones) == (ImageState.READY, ())
    assert (image(rig, copy).state, image(rig, copy).cloning_id) == (ImageState.READY, -1)
    assert datastore(rig, IMAGES_DS).images == (oid, copy)


def test_a_copy_that_fails_lets_its_origin_go_and_can_be_tried_again(rig: Rig) -> None:
    oid = ready_image(rig)
    copy = clone(rig, oid)
    rig.answer(EffectKind.IMAGE_CLONE, ok=False, message="the datastore is full")
    assert (image(rig, oid).state, image(rig, copy).state) == (ImageState.READY, ImageState.ERROR)
    rig.call(c.EnableImage(copy, True))
    assert (image(rig, oid).state, image(rig, copy).state) == (ImageState.CLONE, ImageState.LOCKED)
    rig.answer(EffectKind.IMAGE_CLONE)
    assert (image(rig, oid).state, image(rig, copy).template.get("ERROR")) == (ImageState.READY, "")


def test_an_image_in_use_is_copied_and_is_in_use_as_long_as_anybody_needs_it(rig: Rig) -> None:
    oid = ready_image(rig)
    vm = vm_with(rig, oid)
    copy = clone(rig, oid)
    assert image(rig, oid).state is ImageState.USED
    rig.call(c.VmAction(vm, "terminate"))
    assert image(rig, oid).state is ImageState.CLONE
    with pytest.raises(ActionError, match=f"it is being copied to images {copy}"):
        rig.call(c.DeleteImage(oid))
    rig.answer(EffectKind.IMAGE_CLONE)
    assert image(rig, oid).state is ImageState.READY


def test_a_copy_given_up_by_force_changes_nothing_any_more(rig: Rig) -> None:
    oid = ready_image(rig)
    copy = clone(rig, oid)
    order = rig.order(EffectKind.IMAGE_CLONE)
    rig.call(c.DeleteImage(copy, force=True))
    assert (image(rig, oid).state, image(rig, copy).state) == (ImageState.READY, ImageState.DELETE)
    assert order.oid not in rig.engine.state.effects
    rig.answer(EffectKind.IMAGE_DELETE)
    assert copy not in rig.engine.state.images


def test_what_somebody_writes_to_or_is_not_there_is_not_copied(rig: Rig) -> None:
    oid = ready_image(rig)
    rig.call(c.PersistImage(oid, True))
    vm_with(rig, oid)
    with pytest.raises(ActionError, match="Cannot clone image 0, it is in state: USED_PERS"):
        clone(rig, oid)
    arriving = rig.call(c.AllocateImage("NAME=late\nSIZE=10", IMAGES_DS))
    with pytest.raises(ActionError, match="in state: LOCKED"):
        clone(rig, arriving)
    with pytest.raises(HoldfastError, match="already taken by IMAGE 0"):
        clone(rig, oid, "alpine")
    with pytest.raises(HoldfastError, match="does not hold images"):
        clone(rig, oid, "elsewhere", 0)


def test_kernels_and_the_like_are_kept_on_a_file_datastore(rig: Rig) -> None:
    files = rig.call(c.AllocateDatastore("NAME=files\nTYPE=FILE_DS\nTM_MAD=shared\nDS_MAD=fs"))
    oid = rig.call(c.AllocateImage("NAME=vmlinuz\nTYPE=KERNEL\nPATH=/boot/vmlinuz", files))
    assert image(rig, oid).type is ImageType.KERNEL
    for text, ds_id, said in (
        ("NAME=k\nTYPE=KERNEL\nPATH=/x", IMAGES_DS, "needs a FILE_DS"),
        ("NAME=d\nTYPE=OS\nPATH=/x", files, "needs an IMAGE_DS"),
        ("NAME=k\nTYPE=KERNEL\nSIZE=1", files, "needs a PATH"),
    ):
        with pytest.raises(HoldfastError, match=said):
            rig.call(c.AllocateImage(text, ds_id))


def test_a_disk_changes_its_type_as_long_as_nobody_uses_it(rig: Rig) -> None:
    oid = ready_image(rig)
    rig.call(c.ChangeImageType(oid, "datablock"))
    assert image(rig, oid).type is ImageType.DATABLOCK
    for kind, said in (("KERNEL", "different datastores"), ("TAPE", "TYPE must be one of OS")):
        with pytest.raises(ActionError, match=said):
            rig.call(c.ChangeImageType(oid, kind))
    rig.call(c.PersistImage(oid, True))
    with pytest.raises(ActionError, match="oneimage nonpersistent 0 first"):
        rig.call(c.ChangeImageType(oid, "CDROM"))
    vm = vm_with(rig, oid)
    with pytest.raises(ActionError, match=f"VMs {vm} use it"):
        rig.call(c.ChangeImageType(oid, "OS"))


CHANGES = (
    c.DeleteImage(0),
    c.UpdateImage(0, "A=1"),
    c.RenameImage(0, "n"),
    c.EnableImage(0, False),
    c.PersistImage(0, True),
    c.ChangeImageType(0, "OS"),
)


@pytest.mark.parametrize("level", [1, 2, 4])
def test_a_locked_image_is_not_changed(rig: Rig, level: int) -> None:
    oid = ready_image(rig)
    rig.call(c.LockImage(oid, level))
    for change in CHANGES:
        with pytest.raises(LockedError, match=r"The resource image is locked. \[0\]. Unlock it first"):
            rig.call(change)
    rig.call(c.UnlockImage(oid))
    rig.call(c.RenameImage(oid, "free"))
    assert (image(rig, oid).lock, image(rig, oid).lock_owner) == (0, -1)


@pytest.mark.parametrize(("level", "usable"), [(1, False), (2, True), (3, True), (4, False)])
def test_a_lock_against_use_keeps_vms_away(rig: Rig, level: int, usable: bool) -> None:
    oid = ready_image(rig)
    rig.call(c.LockImage(oid, level))
    assert (image(rig, oid).lock, image(rig, oid).lock_time) == (level, int(rig.now))
    if usable:
        vm_with(rig, oid)
        clone(rig, oid)
    else:
        with pytest.raises(LockedError):
            vm_with(rig, oid)
        with pytest.raises(LockedError):
            clone(rig, oid)


def test_a_lock_can_be_a_test_and_has_four_levels(rig: Rig) -> None:
    oid = ready_image(rig)
    rig.call(c.LockImage(oid, 3, test=True))
    with pytest.raises(ActionError, match="already locked"):
        rig.call(c.LockImage(oid, 1, test=True))
    for level in (0, 5):
        with pytest.raises(ActionError, match="Wrong lock level"):
            rig.call(c.LockImage(oid, level))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("NAME=x\nSOURCE=/ds/1/x\nSIZE=1", "SOURCE cannot be given"),
        ('NAME=x\nPATH="/tmp/my image"', "holds blanks"),
        ("NAME=x\nSIZE=1\nTYPE=CDROM\nPERSISTENT=YES", "cannot be persistent"),
    ],
)
def test_what_a_new_image_cannot_have_is_said(rig: Rig, text: str, said: str) -> None:
    with pytest.raises(HoldfastError, match=said):
        rig.call(c.AllocateImage(text, IMAGES_DS))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("PATH=/x\nSHA256=xyz", 'SHA256 must be 64 hexadecimal digits, it is "xyz" \\(3 characters\\)'),
        (f"PATH=/x\nMD5={'a' * 64}", "MD5 must be 32 .*64 characters, as many as SHA256 has.*md5sum"),
        (f"PATH=/x\nSHA1={'g' * 40}", "SHA1 must be 40 hexadecimal digits"),
        (f"SIZE=10\nSHA256={'a' * 64}", "SHA256 is the checksum of the file that PATH names"),
        ("PATH=/x\nFORMAT=vmdk", 'FORMAT is "vmdk"; images are raw or qcow2. Convert'),
        ("PATH=/x\nDRIVER=vdi", 'DRIVER is "vdi"'),
        ("PATH=/x\nSIZE=-5", "SIZE is -5; it is a number of MB"),
    ],
)
def test_what_can_only_fail_after_the_import_is_refused_before_it(rig: Rig, text: str, said: str) -> None:
    with pytest.raises(HoldfastError, match=said):
        rig.call(c.AllocateImage(f"NAME=x\n{text}", IMAGES_DS))
    oid = ready_image(rig)
    if "SHA256=xyz" in text:
        with pytest.raises(TemplateError, match=said):
            rig.call(c.UpdateImage(oid, "SHA256=xyz", append=True))


def test_what_is_asked_of_a_file_reaches_the_driver(rig: Rig) -> None:
    rig.call(c.AllocateImage(f"NAME=x\nPATH=/x\nSIZE=64\nFORMAT=QCOW2\nMD5={'A' * 32}", IMAGES_DS))
    args = rig.order(EffectKind.IMAGE_CREATE).args
    assert (args["SIZE"], args["FORMAT"]) == ("64", "qcow2")


def test_refusals_for_an_images_state_name_the_way_out(rig: Rig) -> None:
    oid = rig.call(c.AllocateImage("NAME=alpine\nPATH=/nowhere", IMAGES_DS))
    with pytest.raises(ActionError, match=f"delete image {oid}, it is in state: LOCKED.*oneimage delete --force"):
        rig.call(c.DeleteImage(oid))
    with pytest.raises(ActionError, match=f"Cannot clone image {oid}, it is in state: LOCKED. Wait until"):
        rig.call(c.CloneImage(oid, "copy"))
    rig.answer(EffectKind.IMAGE_CREATE, ok=False, message="no such file")
    with pytest.raises(ActionError, match=f"it is in state: ERROR .no such file.*oneimage enable {oid}"):
        rig.call(c.CloneImage(oid, "copy"))
    rig.call(c.EnableImage(oid, False))
    with pytest.raises(ActionError, match=f"it is in state: DISABLED. First: oneimage enable {oid}"):
        rig.call(c.CloneImage(oid, "copy"))
