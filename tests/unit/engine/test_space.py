"""Room on datastores: what is refused, what adds up between two measurements, and what a failed one leaves."""

import pytest

from holdfast.engine import commands as c
from holdfast.engine.events import DatastoreMeasured
from holdfast.engine.settings import Settings
from holdfast.model.enums import EffectKind
from holdfast.model.errors import ActionError, TemplateError
from holdfast.model.storage import Datastore
from tests.unit.engine.rig import Rig

SMALL = "CPU=0.1\nMEMORY=64\n"
GIB = "DISK=[TYPE=fs,SIZE=1024]"


@pytest.fixture
def rig() -> Rig:
    """A host, and datastores with 1500 MB free."""
    rig = Rig(hosts=1)
    measure(rig, 0)
    measure(rig, 1)
    return rig


def measure(rig: Rig, ds_id: int, free_mb: int = 1500, used_mb: int = 500) -> None:
    """Monitoring looks."""
    rig.tell(DatastoreMeasured(ds_id, 2000, free_mb, used_mb))
    rig.tick()


def datastore(rig: Rig, oid: int = 0) -> Datastore:
    """The committed datastore."""
    return rig.engine.state.datastores[oid]


def on_hold(rig: Rig, text: str = GIB) -> int:
    """A VM that waits for its user."""
    return rig.call(c.AllocateVm(SMALL + text, hold=True))


def test_the_figures_are_kept(rig: Rig) -> None:
    assert (datastore(rig).total_mb, datastore(rig).free_mb, datastore(rig).used_mb) == (2000, 1500, 500)


def test_a_measurement_without_news_stores_nothing(rig: Rig) -> None:
    assert rig.tell(DatastoreMeasured(0, 2000, 1500, 500)).is_empty
    assert rig.tell(DatastoreMeasured(77, 2000, 1500, 500)).is_empty


def test_a_look_that_failed_keeps_the_figures_and_says_so_until_one_succeeds(rig: Rig) -> None:
    rig.tell(DatastoreMeasured(0, error="/ds/0 did not answer"))
    assert datastore(rig).template.get("MONITORING_ERROR") == "/ds/0 did not answer"
    assert datastore(rig).free_mb == 1500
    measure(rig, 0)
    assert "MONITORING_ERROR" not in datastore(rig).template


def test_a_vm_that_does_not_fit_waits_with_the_figures_and_the_way_out_and_goes_on_when_it_fits(rig: Rig) -> None:
    vm = rig.call(c.AllocateVm(SMALL + "DISK=[TYPE=fs,SIZE=1600]"))
    rig.settle()
    assert rig.vm(vm).user_template.get("SCHED_MESSAGE") == (
        "No system datastores found to run VMs (Not enough space in datastore 0 (system): "
        f"VM {vm} needs 1600 MB, 1500 MB are left. Free some space, use another datastore, or set "
        "DATASTORE_CAPACITY_CHECK = NO with onedatastore update 0.)"
    )
    measure(rig, 0, 1700)
    rig.settle()
    assert rig.vm(vm).hid == 0


def test_vms_that_are_placed_at_once_do_not_share_the_same_room(rig: Rig) -> None:
    vms = [rig.call(c.AllocateVm(SMALL + GIB)) for _ in range(2)]
    rig.settle()
    assert sorted(rig.vm(vm).hid for vm in vms) == [-1, 0]
    assert datastore(rig).promised_mb == 1024
    measure(rig, 0)
    rig.settle()
    assert [rig.vm(vm).hid for vm in vms] == [0, 0]


def test_a_deployment_by_hand_is_refused_and_changes_nothing(rig: Rig) -> None:
    vm = on_hold(rig, "DISK=[TYPE=fs,SIZE=1600]")
    with pytest.raises(ActionError, match=f"VM {vm} needs 1600 MB, 1500 MB are left"):
        rig.call(c.DeployVm(vm, 0))
    assert (rig.vm(vm).hid, datastore(rig).promised_mb, rig.orders) == (-1, 0, [])


def test_a_move_to_another_datastore_needs_room_there_and_one_within_it_none(rig: Rig) -> None:
    rig.add_host("host2")
    other = rig.call(c.AllocateDatastore("NAME=other\nTYPE=SYSTEM_DS\nTM_MAD=shared"))
    measure(rig, other, free_mb=100)
    vm = on_hold(rig)
    rig.call(c.DeployVm(vm, 0))
    rig.settle()
    rig.call(c.VmAction(vm, "poweroff-hard"))
    rig.settle()
    measure(rig, 0, free_mb=0)
    with pytest.raises(ActionError, match=rf"datastore {other} .other.: VM {vm} needs 1024 MB, 100 MB"):
        rig.call(c.MigrateVm(vm, 1, ds_id=other))
    rig.call(c.MigrateVm(vm, 1))


def test_a_vm_goes_to_the_first_datastore_that_has_room(rig: Rig) -> None:
    other = rig.call(c.AllocateDatastore("NAME=other\nTYPE=SYSTEM_DS\nTM_MAD=shared"))
    measure(rig, 0, free_mb=100)
    measure(rig, other)
    vm = rig.call(c.AllocateVm(SMALL + GIB))
    rig.settle()
    record = rig.vm(vm).current
    assert record is not None
    assert record.ds_id == other


@pytest.mark.parametrize(("limit", "fits"), [("1523", False), ("1524", True)])
def test_a_limit_counts_what_the_datastore_uses_itself(rig: Rig, limit: str, fits: bool) -> None:
    rig.call(c.UpdateDatastore(0, f"LIMIT_MB={limit}", append=True))
    assert datastore(rig).total_mb == 0, "what was used before is not what the limit counts"
    measure(rig, 0)
    vm = on_hold(rig)
    if fits:
        rig.call(c.DeployVm(vm, 0))
    else:
        said = r"1023 MB are left \(LIMIT_MB is 1523, 500 MB are used\)\..* set a higher LIMIT_MB, or "
        with pytest.raises(ActionError, match=said):
            rig.call(c.DeployVm(vm, 0))


@pytest.mark.parametrize("how", ["attribute", "setting", "unknown"])
def test_nobody_is_refused_where_nobody_asks_or_knows(how: str) -> None:
    rig = Rig(hosts=1, settings=Settings(datastore_capacity_check=how != "setting"))
    if how != "unknown":
        measure(rig, 0, free_mb=0)
    if how == "attribute":
        rig.call(c.UpdateDatastore(0, "DATASTORE_CAPACITY_CHECK=no", append=True))
    rig.call(c.DeployVm(on_hold(rig), 0))
    assert datastore(rig).promised_mb == 0


def test_an_image_that_does_not_fit_is_refused_unless_the_caller_knows_better(rig: Rig) -> None:
    big = "NAME=big\nSIZE=1600"
    with pytest.raises(ActionError, match=r'datastore 1 .default.: image "big" needs 1600 MB, 1500 MB are left'):
        rig.call(c.AllocateImage(big, 1))
    assert rig.orders == []
    rig.call(c.AllocateImage(big, 1, skip_capacity_check=True))
    rig.answer(EffectKind.IMAGE_CREATE)
    measure(rig, 1)
    with pytest.raises(ActionError, match='image "copy" needs 1600 MB'):
        rig.call(c.CloneImage(0, "copy"))
    measure(rig, 1, free_mb=0)
    with pytest.raises(ActionError, match='image "path" needs 1 MB, 0 MB are left'):
        rig.call(c.AllocateImage("NAME=path\nPATH=/tmp/x", 1))


def test_a_disk_that_stays_in_its_image_needs_no_room_on_the_system_datastore(rig: Rig) -> None:
    rig.call(c.AllocateImage("NAME=own\nSIZE=1200\nPERSISTENT=YES", 1))
    rig.answer(EffectKind.IMAGE_CREATE, SIZE="1200")
    measure(rig, 0, free_mb=1)
    rig.call(c.DeployVm(on_hold(rig, "DISK=[IMAGE_ID=0]"), 0))


def running(rig: Rig, text: str = GIB) -> int:
    """A VM on the host."""
    vm = on_hold(rig, text)
    rig.call(c.DeployVm(vm, 0))
    rig.settle()
    return vm


def test_a_disk_that_is_attached_needs_room_unless_it_stays_in_its_image(rig: Rig) -> None:
    rig.call(c.AllocateImage("NAME=own\nSIZE=1200\nPERSISTENT=YES", 1))
    rig.answer(EffectKind.IMAGE_CREATE, SIZE="1200")
    vm = running(rig)
    measure(rig, 0, free_mb=500)
    with pytest.raises(ActionError, match=f"VM {vm} needs 1024 MB, 500 MB are left"):
        rig.call(c.AttachDisk(vm, GIB))
    assert rig.orders == []
    rig.call(c.AttachDisk(vm, "DISK=[IMAGE_ID=0]"))


def test_a_disk_that_grows_needs_room_where_its_contents_lie(rig: Rig) -> None:
    rig.call(c.AllocateImage("NAME=own\nSIZE=100\nPERSISTENT=YES", 1))
    rig.answer(EffectKind.IMAGE_CREATE, SIZE="100")
    vm = running(rig, f"{GIB}\nDISK=[IMAGE_ID=0]")
    measure(rig, 0, free_mb=500)
    with pytest.raises(ActionError, match=r"datastore 0 \(system\): VM \d+ needs 976 MB, 500 MB are left"):
        rig.call(c.ResizeDisk(vm, 0, "2000"))
    measure(rig, 1, free_mb=500)
    with pytest.raises(ActionError, match=r"datastore 1 \(default\): the image of disk 1 of VM \d+ needs 900 MB"):
        rig.call(c.ResizeDisk(vm, 1, "1000"))
    rig.call(c.ResizeDisk(vm, 0, "1500"))


@pytest.mark.parametrize("text", ["LIMIT_MB=much", "LIMIT_MB=-1", "DATASTORE_CAPACITY_CHECK=maybe"])
def test_a_limit_that_is_none_is_refused(rig: Rig, text: str) -> None:
    with pytest.raises(TemplateError, match="must be"):
        rig.call(c.UpdateDatastore(0, text, append=True))
    with pytest.raises(TemplateError, match="must be"):
        rig.call(c.AllocateDatastore(f"NAME=x\nTYPE=SYSTEM_DS\nTM_MAD=shared\n{text}"))
