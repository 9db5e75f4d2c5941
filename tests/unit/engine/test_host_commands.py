"""Commands on hosts."""

import pytest

from holdfast.engine import commands as c
from holdfast.engine.events import HostAlive, HostSilent
from holdfast.model.enums import HostState
from holdfast.model.errors import ActionError, AllocateError, ArgumentError, AuthorizationError, NoSuchObject
from holdfast.model.user import Actor
from tests.unit.engine.rig import SYSTEM, Rig


@pytest.fixture
def rig() -> Rig:
    """Two hosts in touch."""
    return Rig(hosts=2)


def test_a_new_host_is_init_until_its_agent_is_heard(rig: Rig) -> None:
    oid = rig.call(c.AllocateHost("host3", "kvm", "qemu"))
    host = rig.host(oid)
    assert (host.state, host.name, host.im_mad, host.vm_mad) == (HostState.INIT, "host3", "kvm", "qemu")
    assert host.template.singles() == {"IM_MAD": "kvm", "VM_MAD": "qemu"}
    rig.tell(HostAlive(oid, "boot", (), SYSTEM))
    assert rig.host(oid).state is HostState.MONITORED
    assert (rig.host(oid).max_cpu, rig.host(oid).max_mem) == (400, 8 * 1024 * 1024)


def test_ids_are_never_used_again(rig: Rig) -> None:
    oid = rig.call(c.AllocateHost("host3", "kvm", "kvm"))
    rig.call(c.DeleteHost(oid))
    assert rig.call(c.AllocateHost("host3", "kvm", "kvm")) == oid + 1


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (c.AllocateHost("host1", "kvm", "kvm"), "NAME is already taken by HOST 0."),
        (c.AllocateHost("", "kvm", "kvm"), "it cannot be empty"),
        (c.AllocateHost("   ", "kvm", "kvm"), "it cannot be empty"),
        (c.AllocateHost("x" * 129, "kvm", "kvm"), "it has 129 characters, at most 128"),
        (c.AllocateHost("a<b", "kvm", "kvm"), "character '<' is not allowed"),
        (c.AllocateHost("a\nb", "kvm", "kvm"), "is not allowed"),
        (c.AllocateHost("host3", "", "kvm"), "IM_MAD and VM_MAD must be given"),
        (c.AllocateHost("host3", "kvm", "kvm", 7), "Cluster 7 does not exist"),
    ],
)
def test_a_host_that_cannot_be_is_refused_with_the_rule(rig: Rig, command: c.Command, said: str) -> None:
    with pytest.raises(AllocateError, match="Error allocating a new host") as caught:
        rig.call(command)
    assert said in caught.value.message
    assert len(rig.engine.state.hosts) == 2


def test_a_host_with_vms_is_not_removed_and_they_are_named(rig: Rig) -> None:
    vm = rig.running_vm(0)
    with pytest.raises(ActionError, match=f"running VMs .1: {vm}"):
        rig.call(c.DeleteHost(0))
    rig.call(c.RecoverVm(vm, 3))
    rig.settle()
    rig.call(c.DeleteHost(0))
    assert 0 not in rig.engine.state.hosts


def test_a_host_under_failover_is_not_removed(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.lose(0)
    failover = rig.open_failover(0, flags="PAUSE=60")
    rig.call(c.RecoverVm(vm, 5))
    with pytest.raises(ActionError, match=f"under failover {failover}"):
        rig.call(c.DeleteHost(0))


def test_a_removed_host_is_missed_by_nobody(rig: Rig) -> None:
    senses = rig.engine.senses
    for hid in (0, 1):
        senses.detector.beat(hid, "boot", (), rig.now)
    rig.call(c.DeleteHost(1))
    rig.tell(HostAlive(1, "boot"))
    senses.look(rig.now)
    lost = [event for late in (0.9, 1.8, 2.7, 3.6) for event in senses.look(rig.now + late)[0]]
    assert [event.host_id for event in lost if isinstance(event, HostSilent)] == [0]


def test_update_replaces_but_keeps_drivers_and_what_the_agent_measured(rig: Rig) -> None:
    rig.call(c.UpdateHost(0, 'RACK="4"\nIM_MAD="nonsense"'))
    template = rig.host(0).template
    assert (template.get("RACK"), template.get("IM_MAD"), template.get("TOTALCPU")) == ("4", "qemu", "400")
    assert "FENCE_AGENT" not in template
    rig.call(c.UpdateHost(0, 'FENCE_AGENT="fence_dummy"', append=True))
    assert rig.host(0).template.get("RACK") == "4"


def test_a_masked_secret_that_comes_back_keeps_the_secret(rig: Rig) -> None:
    rig.call(c.UpdateHost(0, 'FENCE_PASSWORD="s3cret"\nFENCE=[AGENT=a,PASSWORD="one"]\nFENCE=[AGENT=b,PASSWORD="two"]'))
    masked = 'FENCE_PASSWORD="********"\nFENCE=[AGENT=a,PASSWORD="********"]\nFENCE=[AGENT=c,PASSWORD="new"]'
    rig.call(c.UpdateHost(0, masked))
    template = rig.host(0).template
    assert template.get("FENCE_PASSWORD") == "s3cret"
    assert [section["PASSWORD"] for section in template.sections("FENCE")] == ["one", "new"]


def test_a_mask_for_which_there_is_no_secret_is_empty(rig: Rig) -> None:
    rig.call(c.UpdateHost(0, 'FENCE=[AGENT=a,PASSWORD="********"]'))
    assert rig.host(0).template.section("FENCE")["PASSWORD"] == ""


def test_a_host_is_renamed_unless_it_has_vms_or_the_name_is_taken(rig: Rig) -> None:
    rig.call(c.RenameHost(0, "first"))
    assert rig.host(0).name == "first"
    assert rig.call(c.RenameHost(0, "first")) == 0
    with pytest.raises(ActionError, match="already taken by HOST 1"):
        rig.call(c.RenameHost(0, "host2"))
    vm = rig.running_vm(0)
    with pytest.raises(ActionError, match=f"cannot be renamed while it has VMs .{vm}"):
        rig.call(c.RenameHost(0, "other"))


def test_a_host_with_vms_keeps_its_address(rig: Rig) -> None:
    rig.running_vm(0)
    with pytest.raises(ActionError, match="another LIBVIRT_URI"):
        rig.call(c.UpdateHost(0, 'LIBVIRT_URI="qemu+ssh://elsewhere/system"', append=True))


def test_a_disabled_host_keeps_its_vms_and_gets_no_new_ones(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.call(c.SetHostStatus(0, 1))
    assert rig.host(0).state is HostState.DISABLED
    assert rig.host(0).vms == (vm,)
    new = rig.call(c.AllocateVm("CPU=1\nMEMORY=64"))
    rig.settle()
    assert rig.vm(new).hid == 1
    rig.call(c.SetHostStatus(0, 0))
    assert rig.host(0).state is HostState.MONITORED


def test_an_offline_host_has_no_capacity_and_is_not_watched(rig: Rig) -> None:
    rig.call(c.SetHostStatus(0, 2))
    host = rig.host(0)
    assert (host.state, host.max_cpu, host.max_mem) == (HostState.OFFLINE, 0, 0)
    assert "TOTALCPU" not in host.template
    rig.tell(HostAlive(0, "boot-host1-1", (), SYSTEM))
    assert rig.host(0).state is HostState.OFFLINE
    rig.call(c.SetHostStatus(0, 0))
    assert rig.host(0).state is HostState.INIT
    rig.tell(HostAlive(0, "boot-host1-1", (), SYSTEM))
    assert rig.host(0).usable


@pytest.mark.parametrize("status", [1, 2])
def test_no_status_says_that_a_lost_host_is_back(rig: Rig, status: int) -> None:
    rig.lose(0)
    rig.call(c.SetHostStatus(0, status))
    rig.call(c.SetHostStatus(0, 0))
    assert rig.host(0).state is HostState.ERROR
    assert rig.host(0).error_since


def test_the_vms_of_a_lost_host_that_was_taken_offline_can_still_be_failed_over(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.lose(0)
    rig.call(c.SetHostStatus(0, 2))
    failover = rig.open_failover(0, flags="PAUSE=0\nFENCING=NO")
    rig.settle()
    rig.call(c.ConfirmFailover(failover, "it is in the workshop"))
    rig.settle()
    assert rig.vm(vm).hid == 1


def test_a_status_that_does_not_exist_is_refused(rig: Rig) -> None:
    with pytest.raises(ArgumentError, match=r"Wrong status code \[3\]"):
        rig.call(c.SetHostStatus(0, 3))


def test_hosts_that_do_not_exist_are_named(rig: Rig) -> None:
    for command in (c.DeleteHost(9), c.UpdateHost(9, ""), c.RenameHost(9, "x"), c.SetHostStatus(9, 0)):
        with pytest.raises(NoSuchObject, match=r"Error getting host \[9\]"):
            rig.call(command)


def test_only_administrators_change_anything(rig: Rig) -> None:
    before = dict(rig.engine.state.hosts)
    with pytest.raises(AuthorizationError, match=r"User \[5\] : Not authorized to perform DeleteHost"):
        rig.call(c.DeleteHost(1), actor=Actor(5, 1, "ann"))
    assert rig.engine.state.hosts == before
