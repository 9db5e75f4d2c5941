"""Room on the hosts' own storage: known hosts without room are passed over, and refused by name when asked for."""

import pytest

from holdfast.engine import commands as c
from holdfast.engine.events import DatastoreMeasured
from holdfast.model.errors import ActionError
from holdfast.model.host import HostDatastore
from tests.unit.engine.rig import Rig

LARGE = "CPU=0.1\nMEMORY=64\nDISK=[TYPE=fs,SIZE=1024]"


@pytest.fixture
def rig() -> Rig:
    """Two hosts with storage of their own; the first has more memory free."""
    rig = Rig(hosts=2)
    rig.call(c.EnableDatastore(0, False))
    rig.call(c.AllocateDatastore("NAME=local\nTYPE=SYSTEM_DS\nTM_MAD=ssh"))
    rig.running_vm(1, memory_mb=512)
    return rig


def measure(rig: Rig, hid: int, free_mb: int, error: str = "") -> None:
    """Monitoring looks at a host."""
    figures = (0, 0, 0) if error else (2000, free_mb, 2000 - free_mb)
    rig.tell(DatastoreMeasured(100, *figures, error=error, host_id=hid))
    rig.tick()


def test_the_figures_are_the_hosts_own_and_not_the_datastores(rig: Rig) -> None:
    measure(rig, 0, 1500)
    assert rig.host(0).datastores == (HostDatastore(100, 2000, 1500, 500),)
    assert (rig.host(1).datastores, rig.engine.state.datastores[100].total_mb) == ((), 0)


def test_a_host_without_room_is_passed_over_for_one_that_has_it(rig: Rig) -> None:
    measure(rig, 0, 100)
    vm = rig.call(c.AllocateVm(LARGE))
    rig.settle()
    assert rig.vm(vm).hid == 1


def test_where_no_host_has_room_a_vm_waits_with_the_figures_until_one_has(rig: Rig) -> None:
    for hid in (0, 1):
        measure(rig, hid, 100)
    vm = rig.call(c.AllocateVm(LARGE))
    rig.settle()
    said = rig.vm(vm).user_template.get("SCHED_MESSAGE")
    assert f"datastore 100 (local) on host host1: VM {vm} needs 1024 MB, 100 MB are left there" in said
    assert said.endswith(". There is no room on host2 either.")
    measure(rig, 1, 1500)
    rig.settle()
    assert rig.vm(vm).hid == 1


def test_what_is_placed_at_once_does_not_share_the_same_room(rig: Rig) -> None:
    for hid in (0, 1):
        measure(rig, hid, 1500)
    vms = [rig.call(c.AllocateVm(LARGE)) for _ in range(3)]
    rig.settle()
    assert sorted(rig.vm(vm).hid for vm in vms) == [-1, 0, 1]


def test_a_host_that_is_asked_for_refuses_by_name(rig: Rig) -> None:
    measure(rig, 0, 100)
    vm = rig.call(c.AllocateVm(LARGE, hold=True))
    with pytest.raises(ActionError, match=r"on host host1: VM \d+ needs 1024 MB, 100 MB are left there"):
        rig.call(c.DeployVm(vm, 0, ds_id=100))
    rig.call(c.UpdateDatastore(100, "DATASTORE_CAPACITY_CHECK=NO", append=True))
    rig.call(c.DeployVm(vm, 0, ds_id=100))


def test_a_host_that_cannot_be_measured_says_so_and_nothing_is_known_of_it(rig: Rig) -> None:
    measure(rig, 0, 100)
    measure(rig, 0, 0, error="host host1: Connection refused")
    assert rig.host(0).datastores == ()
    assert rig.host(0).template.get("MONITORING_ERROR") == "host host1: Connection refused"
    measure(rig, 0, 100)
    assert "MONITORING_ERROR" not in rig.host(0).template


def test_the_figures_of_a_datastore_that_is_removed_go_with_it(rig: Rig) -> None:
    other = rig.call(c.AllocateDatastore("NAME=other\nTYPE=SYSTEM_DS\nTM_MAD=ssh"))
    for ds_id in (100, other):
        rig.tell(DatastoreMeasured(ds_id, 2000, 1000, 1000, host_id=0))
    rig.tick()
    rig.call(c.DeleteDatastore(other))
    assert [each.ds_id for each in rig.host(0).datastores] == [100]
    rig.tell(DatastoreMeasured(other, 2000, 1000, 1000, host_id=0))
    rig.tick()
    assert [each.ds_id for each in rig.host(0).datastores] == [100], "a look that ends late finds it gone"
