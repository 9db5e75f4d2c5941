"""A live migration carries memory only: it needs disks that both hosts have."""

import pytest

from holdfast.engine import commands as c
from holdfast.engine.settings import Settings
from holdfast.model.errors import ActionError
from holdfast.model.vm_states import LcmState
from tests.unit.engine.rig import Rig


def running(rig: Rig, tm_mad: str) -> int:
    """A VM that runs on host 0, with its files on a datastore of this driver."""
    system = rig.call(c.AllocateDatastore(f"NAME={tm_mad}-vms\nTYPE=SYSTEM_DS\nTM_MAD={tm_mad}"))
    vm = rig.call(c.AllocateVm("CPU=1\nMEMORY=64\nDISK=[TYPE=fs,SIZE=8]", hold=True))
    rig.call(c.DeployVm(vm, 0, ds_id=system))
    rig.settle()
    return vm


@pytest.mark.parametrize("tm_mad", ["ssh", "local"])
def test_a_vm_whose_disks_only_its_host_has_is_not_migrated_live(tm_mad: str) -> None:
    rig = Rig(hosts=2)
    vm = running(rig, tm_mad)
    with pytest.raises(ActionError, match=r"cannot be migrated live: datastore 100 .* is not shared.*without --live"):
        rig.call(c.MigrateVm(vm, 1, live=True))
    assert rig.vm(vm).lcm_state is LcmState.RUNNING
    rig.call(c.MigrateVm(vm, 1))
    assert rig.vm(vm).lcm_state is LcmState.SAVE_MIGRATE


@pytest.mark.parametrize(("tm_mad", "way"), [("ssh", LcmState.SAVE_MIGRATE), ("shared", LcmState.MIGRATE)])
def test_a_site_that_reschedules_live_saves_such_a_vm_instead(tm_mad: str, way: LcmState) -> None:
    rig = Rig(hosts=2, settings=Settings(live_rescheds=True))
    vm = running(rig, tm_mad)
    rig.call(c.VmAction(vm, "resched"))
    rig.tick()
    assert rig.vm(vm).lcm_state is way
