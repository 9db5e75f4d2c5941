"""Images of one transfer driver on system datastores of another, and which datastores a VM may use at all."""

import pytest

from holdfast.engine import commands as c
from holdfast.engine.settings import Settings
from holdfast.engine.tm_conf import TmConf
from holdfast.model.enums import EffectKind
from holdfast.model.errors import ActionError
from holdfast.model.template import Section
from holdfast.model.vm_states import LcmState, VmState
from tests.unit.engine.rig import Rig

DEFAULT_IMAGES = 1


@pytest.fixture
def rig() -> Rig:
    """Two hosts; the datastores 0 and 1 are on shared storage."""
    return Rig(hosts=2)


def system(rig: Rig, tm_mad: str) -> int:
    """A system datastore of this driver."""
    return rig.call(c.AllocateDatastore(f"NAME={tm_mad}-{rig.now}\nTYPE=SYSTEM_DS\nTM_MAD={tm_mad}"))


def images(rig: Rig, tm_mad: str) -> int:
    """An image datastore of this driver."""
    return rig.call(c.AllocateDatastore(f"NAME={tm_mad}-images\nTYPE=IMAGE_DS\nTM_MAD={tm_mad}\nDS_MAD=fs"))


def image(rig: Rig, ds_id: int = DEFAULT_IMAGES, name: str = "alpine") -> int:
    """A ready image."""
    oid = rig.call(c.AllocateImage(f"NAME={name}\nPATH=/tmp/alpine.qcow2", ds_id))
    rig.answer(EffectKind.IMAGE_CREATE, SIZE="512", FORMAT="qcow2")
    return oid


def held(rig: Rig, *disks: str) -> int:
    """A VM on hold with these disks."""
    text = "\n".join(f"DISK=[{disk}]" for disk in disks)
    return rig.call(c.AllocateVm(f"CPU=1\nMEMORY=64\n{text}", hold=True))


def disk(rig: Rig, vm: int, number: int = 0) -> Section:
    """One of its disks."""
    return rig.vm(vm).template.sections("DISK")[number]


def only(rig: Rig, ds_id: int) -> None:
    """The one system datastore that takes VMs."""
    for datastore in list(rig.engine.state.datastores.values()):
        if datastore.type.name == "SYSTEM_DS":
            rig.call(c.EnableDatastore(datastore.oid, datastore.oid == ds_id))


def test_a_disk_on_a_system_datastore_of_its_own_driver_has_no_mode(rig: Rig) -> None:
    vm = held(rig, f"IMAGE_ID={image(rig)}")
    rig.call(c.DeployVm(vm, 1))
    assert "TM_MAD_SYSTEM" not in disk(rig, vm)
    assert rig.vm(vm).template.get("TM_MAD_SYSTEM") == "shared"


def test_a_disk_from_shared_images_on_ssh_carries_the_mode_and_its_targets(rig: Rig) -> None:
    vm = held(rig, f"IMAGE_ID={image(rig)}")
    rig.call(c.DeployVm(vm, 1, ds_id=system(rig, "ssh")))
    made = disk(rig, vm)
    said = [made[name] for name in ("TM_MAD", "TM_MAD_SYSTEM", "CLONE_TARGET", "LN_TARGET", "DISK_TYPE")]
    assert said == ["shared", "ssh", "SYSTEM", "SYSTEM", "FILE"]
    assert rig.vm(vm).template.get("TM_MAD_SYSTEM") == "ssh"


def test_an_image_that_does_not_know_the_mode_is_refused_in_opennebulas_words(rig: Rig) -> None:
    vm = held(rig, f"IMAGE_ID={image(rig, images(rig, 'ssh'))}")
    with pytest.raises(ActionError, match=r"^Image Datastore does not support transfer mode: shared$"):
        rig.call(c.DeployVm(vm, 1, ds_id=0))
    assert rig.vm(vm).state is VmState.HOLD
    assert "TM_MAD_SYSTEM" not in rig.vm(vm).template


@pytest.mark.parametrize(("of_image", "of_system"), [("qcow2", "shared"), ("ssh", "local"), ("local", "ssh")])
def test_two_names_of_one_implementation_are_no_mixed_mode(rig: Rig, of_image: str, of_system: str) -> None:
    vm = held(rig, f"IMAGE_ID={image(rig, images(rig, of_image))}")
    rig.call(c.DeployVm(vm, 1, ds_id=system(rig, of_system)))
    assert "TM_MAD_SYSTEM" not in disk(rig, vm)


def test_the_scheduler_takes_the_first_system_datastore_that_all_images_fit(rig: Rig) -> None:
    local = system(rig, "local")
    vm = held(rig, f"IMAGE_ID={image(rig, images(rig, 'ssh'))}", "TYPE=fs,SIZE=8")
    rig.call(c.VmAction(vm, "release"))
    rig.tick()
    current = rig.vm(vm).current
    assert current is not None
    assert (current.ds_id, current.tm_mad) == (local, "local")


def test_a_vm_that_fits_nowhere_waits_and_says_for_each_datastore_why(rig: Rig) -> None:
    vm = held(rig, f"IMAGE_ID={image(rig, images(rig, 'ssh'))}")
    rig.call(c.VmAction(vm, "release"))
    rig.tick()
    assert rig.vm(vm).state is VmState.PENDING
    assert rig.vm(vm).user_template.get("SCHED_MESSAGE") == (
        "No system datastores found to run VMs "
        "(datastore 0 (system): Image Datastore does not support transfer mode: shared)"
    )


def test_a_volatile_disk_has_the_format_that_the_system_datastore_insists_on(rig: Rig) -> None:
    vm = held(rig, "TYPE=fs,SIZE=8", "TYPE=swap,SIZE=8", "TYPE=fs,SIZE=8,FORMAT=raw")
    assert disk(rig, vm)["FORMAT"] == "raw"
    rig.call(c.DeployVm(vm, 1, ds_id=system(rig, "qcow2")))
    assert [made["FORMAT"] for made in rig.vm(vm).template.sections("DISK")] == ["qcow2", "raw", "qcow2"]


def test_a_recreated_vm_may_go_where_its_disks_are_handled_another_way(rig: Rig) -> None:
    vm = held(rig, f"IMAGE_ID={image(rig)}")
    ssh = system(rig, "ssh")
    rig.call(c.DeployVm(vm, 1, ds_id=ssh))
    rig.settle()
    only(rig, 0)
    rig.call(c.RecoverVm(vm, 4))
    rig.settle()
    current = rig.vm(vm).current
    assert current is not None
    assert (current.ds_id, rig.vm(vm).lcm_state) == (0, LcmState.RUNNING)
    assert "TM_MAD_SYSTEM" not in disk(rig, vm)
    assert disk(rig, vm)["LN_TARGET"] == "NONE"


def test_a_disk_that_is_attached_names_the_mode_even_if_it_is_its_driver(rig: Rig) -> None:
    vm = held(rig, "TYPE=fs,SIZE=8")
    rig.call(c.DeployVm(vm, 1))
    rig.settle()
    rig.call(c.AttachDisk(vm, f"DISK=[IMAGE_ID={image(rig)}]"))
    rig.settle()
    assert disk(rig, vm, 1)["TM_MAD_SYSTEM"] == "shared"


def test_a_disk_whose_image_does_not_know_the_mode_is_not_attached(rig: Rig) -> None:
    other = image(rig, images(rig, "ssh"))
    vm = held(rig, "TYPE=fs,SIZE=8")
    rig.call(c.DeployVm(vm, 1))
    rig.settle()
    with pytest.raises(ActionError, match="Image Datastore does not support transfer mode: shared"):
        rig.call(c.AttachDisk(vm, f"DISK=[IMAGE_ID={other}]"))
    assert rig.engine.state.images[other].vms == ()


def powered_off(rig: Rig, ds_id: int) -> int:
    """A VM that was on host 1, with its files on the datastore."""
    vm = held(rig, "TYPE=fs,SIZE=8")
    rig.call(c.DeployVm(vm, 1, ds_id=ds_id))
    rig.settle()
    rig.call(c.VmAction(vm, "poweroff-hard"))
    rig.settle()
    return vm


def test_a_vm_moves_only_to_datastores_of_its_own_driver(rig: Rig) -> None:
    vm = powered_off(rig, 0)
    with pytest.raises(ActionError, match=r"^Cannot migrate to a system datastore with a different driver$"):
        rig.call(c.MigrateVm(vm, 0, ds_id=system(rig, "ssh")))
    assert rig.vm(vm).state is VmState.POWEROFF
    fitting = system(rig, "qcow2")
    rig.call(c.EnableDatastore(fitting, False))
    with pytest.raises(ActionError, match=rf"^Datastore {fitting} .* is disabled.*onedatastore enable {fitting}"):
        rig.call(c.MigrateVm(vm, 0, ds_id=fitting))
    rig.call(c.EnableDatastore(fitting, True))
    rig.call(c.MigrateVm(vm, 0, ds_id=fitting))
    assert rig.vm(vm).lcm_state is LcmState.PROLOG_MIGRATE_POWEROFF


def test_a_driver_of_the_site_that_moves_no_datastores_keeps_vms_where_they_are() -> None:
    fancy = {"LN_TARGET": "NONE", "CLONE_TARGET": "SYSTEM", "DS_MIGRATE": "NO"}
    rig = Rig(hosts=2, settings=Settings(tm_conf=TmConf({"fancy": fancy})))
    one, two = (rig.call(c.AllocateDatastore(f"NAME={n}\nTYPE=SYSTEM_DS\nTM_MAD=fancy")) for n in ("a", "b"))
    vm = powered_off(rig, one)
    with pytest.raises(ActionError, match=r"System datastore migration not supported by driver \(DS_MIGRATE of b\)"):
        rig.call(c.MigrateVm(vm, 0, ds_id=two))


def test_a_stopped_vm_goes_back_to_a_datastore_of_its_own_driver(rig: Rig) -> None:
    ssh = system(rig, "ssh")
    vm = held(rig, f"IMAGE_ID={image(rig)}")
    rig.call(c.DeployVm(vm, 1, ds_id=ssh))
    rig.settle()
    rig.call(c.VmAction(vm, "undeploy-hard"))
    rig.settle()
    rig.call(c.VmAction(vm, "resume"))
    rig.settle()
    current = rig.vm(vm).current
    assert current is not None
    assert (current.ds_id, rig.vm(vm).lcm_state) == (ssh, LcmState.RUNNING)
    assert disk(rig, vm)["TM_MAD_SYSTEM"] == "ssh"
