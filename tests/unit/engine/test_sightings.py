"""What observations do to hosts and their VMs."""

from dataclasses import replace

import pytest

from holdfast.engine import commands as c
from holdfast.engine.events import HostAlive, HostDegraded, HostSilent
from holdfast.model.enums import EffectKind, HostState
from holdfast.model.failover import Evidence
from holdfast.model.vm_states import LcmState, VmState
from tests.unit.engine.rig import SYSTEM, Rig

EVIDENCE = (Evidence("agent", 1.0, "silent", "last beacon 3.0 s ago"), Evidence("hypervisor", 1.0, "", "no route"))


@pytest.fixture
def rig() -> Rig:
    """Two hosts in touch."""
    return Rig(hosts=2)


def test_a_lost_host_is_in_error_with_the_evidence_in_opennebulas_form(rig: Rig) -> None:
    rig.tell(HostSilent(0, rig.now, False, EVIDENCE))
    host = rig.host(0)
    assert (host.state, host.prev_state, host.error_since) == (HostState.ERROR, HostState.MONITORED, rig.now)
    assert host.lost_boot_id == "boot-host1-1"
    assert host.template.get("ERROR") == (
        "Mon Jan 12 13:46:40 1970 : Error monitoring Host host1 (0): agent: last beacon 3.0 s ago; hypervisor: no route"
    )


def test_of_the_vms_of_a_lost_host_only_running_ones_become_unknown(rig: Rig) -> None:
    running, off, booting = rig.running_vm(0), rig.running_vm(0, "off"), rig.running_vm(0, "booting")
    for vm in (off, booting):
        rig.call(c.VmAction(vm, "poweroff"))
    rig.settle()
    rig.call(c.VmAction(booting, "resume"))
    rig.lose(0)
    assert [rig.vm(vm).state_name for vm in (running, off, booting)] == ["UNKNOWN", "POWEROFF", "BOOT_POWEROFF"]
    assert rig.vm(running).history[-1].retime == 0, "downtime counts as running"


def test_a_disabled_host_that_is_lost_keeps_its_state_and_loses_its_vms(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.call(c.SetHostStatus(0, 1))
    rig.lose(0)
    assert rig.host(0).state is HostState.DISABLED
    assert rig.vm(vm).lcm_state is LcmState.UNKNOWN
    failover = rig.open_failover(0)
    rig.answer(EffectKind.FENCE_STATUS, POWER="OFF")
    rig.settle()
    assert rig.vm(vm).hid == 1
    assert rig.failover(failover).state.is_final
    rig.tell(HostAlive(0, "boot-host1-2"))
    assert (rig.host(0).state, rig.host(0).error_since) == (HostState.DISABLED, 0)


def test_a_loss_is_stored_once(rig: Rig) -> None:
    rig.lose(0)
    since = rig.host(0).error_since
    rig.now += 50
    assert rig.tell(HostSilent(0, rig.now, False, EVIDENCE)).is_empty
    assert rig.host(0).error_since == since


def test_a_silence_that_speaks_of_another_boot_is_stale(rig: Rig) -> None:
    assert rig.tell(HostSilent(0, rig.now, False, EVIDENCE, "boot-host1-0")).is_empty


def test_observations_of_hosts_that_are_gone_are_nothing(rig: Rig) -> None:
    rig.call(c.DeleteHost(1))
    events = (HostSilent(1, rig.now, False, EVIDENCE), HostAlive(1, "boot"), HostDegraded(1, "x"))
    assert rig.tell(*events).is_empty


def test_a_host_that_returns_loses_its_error_and_keeps_its_capacity(rig: Rig) -> None:
    rig.lose(0)
    rig.tell(HostAlive(0, "boot-host1-1"))
    host = rig.host(0)
    assert (host.state, host.error_since, host.max_cpu) == (HostState.MONITORED, 0, 400)
    assert "ERROR" not in host.template


def test_a_degradation_is_shown_with_time_and_taken_back(rig: Rig) -> None:
    rig.tell(HostDegraded(0, "libvirtd does not answer"))
    assert rig.host(0).template.get("ERROR").endswith("Error monitoring Host host1 (0): libvirtd does not answer")
    assert rig.host(0).state is HostState.MONITORED
    rig.tell(HostDegraded(0, ""))
    assert "ERROR" not in rig.host(0).template


def test_a_degradation_does_not_overwrite_why_a_host_was_lost(rig: Rig) -> None:
    rig.lose(0)
    assert rig.tell(HostDegraded(0, "libvirtd does not answer")).is_empty


def test_a_boot_that_ends_on_a_host_lost_meanwhile_leaves_the_vm_unknown(rig: Rig) -> None:
    vm = rig.call(c.AllocateVm("CPU=0.1\nMEMORY=64", hold=True))
    rig.call(c.DeployVm(vm, 0))
    rig.answer(EffectKind.TM_PROLOG)
    rig.lose(0)
    rig.answer(EffectKind.VMM_DEPLOY)
    assert (rig.vm(vm).lcm_state, rig.vm(vm).may_run_on) == (LcmState.UNKNOWN, (0,))


def test_a_shutdown_that_fails_on_a_host_lost_meanwhile_leaves_the_vm_unknown(rig: Rig) -> None:
    vm = rig.running_vm(0)
    rig.call(c.VmAction(vm, "poweroff"))
    rig.lose(0)
    rig.tick(3600)
    assert (rig.vm(vm).lcm_state, rig.vm(vm).may_run_on) == (LcmState.UNKNOWN, (0,))


def test_actions_on_a_vm_of_a_lost_host_are_refused_until_it_is_proven_dead_and_then_need_no_driver_there(
    rig: Rig,
) -> None:
    vm = rig.running_vm(0, memory_mb=6000)
    rig.running_vm(1, "full", memory_mb=6000)
    rig.lose(0)
    with pytest.raises(Exception, match="is lost and not proven dead"):
        rig.call(c.VmAction(vm, "terminate"))
    rig.open_failover(0)
    rig.answer(EffectKind.FENCE_STATUS, POWER="OFF")
    rig.call(c.VmAction(vm, "terminate"))
    assert {order.kind for order in rig.orders} == {EffectKind.TM_EPILOG}
    rig.settle()
    assert rig.vm(vm).state is VmState.DONE


def test_capacity_that_an_agent_does_not_know_stays_as_it_was(rig: Rig) -> None:
    rig.tell(HostAlive(0, "boot-host1-1", (), {"TOTALCPU": "800"}))
    assert (rig.host(0).max_cpu, rig.host(0).max_mem) == (800, int(SYSTEM["TOTALMEMORY"]))


def test_a_stored_sign_of_life_is_not_renewed_by_every_beacon(rig: Rig) -> None:
    before = rig.host(0)
    rig.now += 10
    rig.tell(HostAlive(0, "boot-host1-1"))
    assert replace(rig.host(0), last_seen=before.last_seen) == before
