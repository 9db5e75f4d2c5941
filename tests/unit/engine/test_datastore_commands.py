"""Commands on datastores."""

import pytest

from holdfast.engine import commands as c
from holdfast.engine.events import DatastoreMeasured
from holdfast.model.enums import DatastoreState, DatastoreType, EffectKind
from holdfast.model.errors import ActionError, AllocateError
from holdfast.model.storage import Datastore
from tests.unit.engine.rig import Rig

IMAGES_DS = 1


@pytest.fixture
def rig() -> Rig:
    """One host in touch."""
    return Rig(hosts=1)


def datastore(rig: Rig, oid: int) -> Datastore:
    """The committed datastore."""
    return rig.engine.state.datastores[oid]


def test_a_datastore_gets_what_its_driver_means(rig: Rig) -> None:
    oid = rig.call(c.AllocateDatastore('NAME="fast"\nTYPE=image_ds\nTM_MAD=qcow2\nDS_MAD=fs\nLABEL=x'))
    made = datastore(rig, oid)
    assert oid >= 100
    assert (made.type, made.tm_mad, made.ds_mad) == (DatastoreType.IMAGE_DS, "qcow2", "fs")
    assert made.base_path == f"/var/lib/one/datastores/{oid}"
    assert (made.template.get("CLONE_TARGET"), made.template.get("LABEL")) == ("SYSTEM", "x")
    assert "NAME" not in made.template


def test_a_system_datastore_is_shared_unless_the_site_says_otherwise(rig: Rig) -> None:
    shared = rig.call(c.AllocateDatastore("NAME=a\nTYPE=SYSTEM_DS\nTM_MAD=shared"))
    local = rig.call(c.AllocateDatastore("NAME=b\nTYPE=SYSTEM_DS\nTM_MAD=shared\nSHARED=NO"))
    assert (datastore(rig, shared).shared, datastore(rig, local).shared) == (True, False)
    rig.call(c.UpdateDatastore(local, "LABEL=x", append=True))
    assert not datastore(rig, local).shared


@pytest.mark.parametrize("tm_mad", ["ssh", "local"])
def test_no_word_makes_a_datastore_shared_whose_driver_copies_between_hosts(rig: Rig, tm_mad: str) -> None:
    oid = rig.call(c.AllocateDatastore(f"NAME=a\nTYPE=SYSTEM_DS\nTM_MAD={tm_mad}\nSHARED=YES"))
    assert not datastore(rig, oid).shared
    rig.call(c.UpdateDatastore(oid, "SHARED=YES", append=True))
    assert not datastore(rig, oid).shared


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("TM_MAD=shared\nDS_MAD=fs", "cannot be empty"),
        ("NAME=default\nTM_MAD=shared\nDS_MAD=fs", "already taken by DATASTORE 1"),
        ("NAME=x\nTYPE=TAPE\nTM_MAD=shared", "TYPE must be"),
        ("NAME=x\nDS_MAD=fs", "No TM_MAD"),
        ("NAME=x\nTM_MAD=shared", "No DS_MAD"),
        ("NAME=x\nTM_MAD=shared\nDS_MAD=nix", 'DS_MAD named "nix" is not defined: there is fs'),
        ("NAME=x\nTYPE=FILE_DS\nTM_MAD=shared\nDS_MAD=ceph", 'DS_MAD named "ceph" is not defined'),
        (
            "NAME=x\nTM_MAD=ceph\nDS_MAD=ceph",
            'TM_MAD named "ceph" is not defined: there are dummy, local, qcow2, shared, ssh.',
        ),
    ],
)
def test_a_datastore_that_cannot_be_is_refused_with_the_rule(rig: Rig, text: str, said: str) -> None:
    with pytest.raises(AllocateError, match="Error allocating a new datastore") as caught:
        rig.call(c.AllocateDatastore(text))
    assert said in caught.value.message


def test_an_update_of_a_datastore_keeps_type_and_driver(rig: Rig) -> None:
    oid = rig.call(c.AllocateDatastore("NAME=a\nTYPE=SYSTEM_DS\nTM_MAD=shared\nOLD=1"))
    rig.call(c.UpdateDatastore(oid, "TYPE=system_ds\nNEW=1"))
    template = datastore(rig, oid).template
    assert (template.get("TM_MAD"), template.get("TYPE"), template.get("NEW")) == ("shared", "SYSTEM_DS", "1")
    assert "OLD" not in template


@pytest.mark.parametrize("text", ["TYPE=SYSTEM_DS", "DS_MAD=ceph", "TM_MAD=qcow2\nTYPE=FILE_DS"])
def test_an_update_that_would_make_another_datastore_of_it_is_refused(rig: Rig, text: str) -> None:
    oid = rig.call(c.AllocateDatastore("NAME=a\nTM_MAD=shared\nDS_MAD=fs"))
    before = datastore(rig, oid)
    with pytest.raises(ActionError, match=f"of datastore {oid} is .* cannot become .*: create another"):
        rig.call(c.UpdateDatastore(oid, text, append=True))
    assert datastore(rig, oid) == before


def test_an_empty_datastore_changes_its_transfer_driver_and_gets_what_that_means(rig: Rig) -> None:
    oid = rig.call(c.AllocateDatastore("NAME=a\nTYPE=SYSTEM_DS\nTM_MAD=shared"))
    rig.call(c.UpdateDatastore(oid, "TM_MAD=ssh", append=True))
    made = datastore(rig, oid)
    assert (made.tm_mad, made.template.get("TM_MAD"), made.shared) == ("ssh", "ssh", False)
    with pytest.raises(AllocateError, match='TM_MAD named "cephy" is not defined'):
        rig.call(c.UpdateDatastore(oid, "TM_MAD=cephy", append=True))
    vm = rig.call(c.AllocateVm("CPU=1\nMEMORY=64", hold=True))
    rig.call(c.DeployVm(vm, 0, ds_id=oid))
    with pytest.raises(ActionError, match=f'cannot become "shared" while VM {vm} has its files there'):
        rig.call(c.UpdateDatastore(oid, "TM_MAD=shared", append=True))
    images = rig.call(c.AllocateDatastore("NAME=b\nTM_MAD=shared\nDS_MAD=fs"))
    rig.call(c.AllocateImage("NAME=i\nSIZE=10", images))
    with pytest.raises(ActionError, match='cannot become "ssh" while images lie there'):
        rig.call(c.UpdateDatastore(images, "TM_MAD=ssh", append=True))


def test_a_datastore_in_use_is_not_removed(rig: Rig) -> None:
    with pytest.raises(ActionError, match="belongs to the system"):
        rig.call(c.DeleteDatastore(0))
    system = rig.call(c.AllocateDatastore("NAME=a\nTYPE=SYSTEM_DS\nTM_MAD=shared"))
    vm = rig.call(c.AllocateVm("CPU=1\nMEMORY=64", hold=True))
    rig.call(c.DeployVm(vm, 0, ds_id=system))
    with pytest.raises(ActionError, match=f"VM {vm} has its files there"):
        rig.call(c.DeleteDatastore(system))
    images = rig.call(c.AllocateDatastore("NAME=b\nTM_MAD=shared\nDS_MAD=fs"))
    rig.call(c.AllocateImage("NAME=i\nSIZE=10", images))
    with pytest.raises(ActionError, match="not empty: 1 images"):
        rig.call(c.DeleteDatastore(images))
    rig.answer(EffectKind.IMAGE_CREATE)
    with pytest.raises(ActionError, match="not empty: 1 images"):
        rig.call(c.DeleteDatastore(images))
    rig.settle()
    rig.call(c.RecoverVm(vm, 3))
    rig.settle()
    rig.call(c.DeleteDatastore(system))
    assert system not in rig.engine.state.datastores


def test_with_a_datastore_go_the_figures_that_hosts_have_of_it(rig: Rig) -> None:
    oid = rig.call(c.AllocateDatastore("NAME=a\nTYPE=SYSTEM_DS\nTM_MAD=ssh"))
    for ds_id in (oid, 0):
        rig.tell(DatastoreMeasured(ds_id, 10, 5, 5, host_id=0))
    rig.settle()
    assert [each.ds_id for each in rig.engine.state.hosts[0].datastores] == [0, oid]
    rig.call(c.DeleteDatastore(oid))
    assert [each.ds_id for each in rig.engine.state.hosts[0].datastores] == [0]


def test_only_a_system_datastore_is_disabled_and_then_gets_no_vms(rig: Rig) -> None:
    with pytest.raises(ActionError, match="Only system datastores"):
        rig.call(c.EnableDatastore(IMAGES_DS, False))
    rig.call(c.EnableDatastore(0, False))
    assert datastore(rig, 0).state is DatastoreState.DISABLED
    vm = rig.call(c.AllocateVm("CPU=1\nMEMORY=64"))
    rig.settle()
    assert rig.vm(vm).user_template.get("SCHED_MESSAGE") == "No system datastores found to run VMs"
    rig.call(c.EnableDatastore(0, True))
    rig.settle()
    assert rig.vm(vm).hid == 0, "what waited is looked at again"
