"""What beacons and looks turn into: only what changes something becomes an event."""

from collections.abc import Mapping

import pytest

from holdfast.engine import commands as c
from holdfast.engine import senses as limits
from holdfast.engine.events import Event, HostAlive, HostDegraded, HostSilent, VmSeen
from holdfast.engine.settings import Settings
from holdfast.model.beacon import BeaconReport, Vms
from holdfast.model.enums import EffectKind
from holdfast.model.vm_states import LcmState, VmState
from tests.unit.engine.rig import SYSTEM, Rig

BOOT = "boot-host1-1"


class Agents:
    """A rig whose hosts beat."""

    def __init__(self, hosts: int = 2, settings: Settings | None = None) -> None:
        self.rig = Rig(hosts=hosts, settings=settings)
        self.seq = 0

    def hear(
        self,
        hid: int = 0,
        vms: Vms = (),
        boot: str = "",
        hypervisor: str = "up",
        system: Mapping[str, str] | None = None,
    ) -> list[Event]:
        """The events of one beacon, not yet told to the engine."""
        self.seq += 1
        boot_id = boot or f"boot-host{hid + 1}-1"
        report = BeaconReport(hid, boot_id, self.seq, self.rig.now, vms, hypervisor, system, "10.0.0.1")
        return self.rig.engine.senses.hear(report, self.rig.now)

    def beat(self, times: int = 1, hid: int = 0, vms: Vms = (), boot: str = "") -> list[Event]:
        """Beacons, one a second, whose events reach the engine; answers all of them."""
        events: list[Event] = []
        for _ in range(times):
            self.rig.now += 1
            heard = self.hear(hid, vms, boot)
            self.rig.tell(*heard)
            events += heard
        return events


@pytest.fixture
def agents() -> Agents:
    """Two hosts in touch."""
    return Agents()


def test_a_beacon_that_says_nothing_new_is_no_event(agents: Agents) -> None:
    vm = agents.rig.running_vm(0)
    assert agents.hear(vms=((vm, "RUNNING"),), system=SYSTEM) == []


def test_beacons_of_unknown_and_offline_hosts_are_no_events(agents: Agents) -> None:
    agents.rig.call(c.SetHostStatus(0, 2))
    assert agents.hear(0) == agents.hear(9) == []


def test_the_first_beacon_of_a_new_host_brings_its_capacity(agents: Agents) -> None:
    oid = agents.rig.call(c.AllocateHost("host3", "kvm", "kvm"))
    assert agents.hear(oid, system=SYSTEM) == [HostAlive(oid, "boot-host3-1", (), SYSTEM)]


def test_a_change_of_capacity_is_news(agents: Agents) -> None:
    bigger = {**SYSTEM, "TOTALCPU": "800"}
    (event,) = agents.hear(system=bigger)
    agents.rig.tell(event)
    assert agents.rig.host(0).max_cpu == 800
    assert agents.hear(system=bigger) == []


def test_a_lost_host_that_is_heard_is_back(agents: Agents) -> None:
    agents.rig.lose(0)
    agents.beat()
    assert agents.rig.host(0).usable


def test_a_new_boot_is_believed_when_the_old_one_stays_silent(agents: Agents) -> None:
    vm = agents.rig.running_vm(0)
    events = agents.beat(2, boot="boot-host1-2")
    assert events == [], "it might be another machine with a copied configuration"
    events = agents.beat(2, boot="boot-host1-2")
    assert [type(event) for event in events][:2] == [HostSilent, HostAlive], "a reboot is a loss and a return"
    assert agents.rig.host(0).boot_id == "boot-host1-2"
    assert (agents.rig.vm(vm).lcm_state, agents.rig.vm(vm).may_run_on) == (LcmState.UNKNOWN, ())


def test_two_agents_that_claim_to_be_one_host_prove_nothing_and_are_shown(agents: Agents) -> None:
    vm = agents.rig.running_vm(0)
    for _ in range(20):
        agents.beat(vms=((vm, "RUNNING"),))
        agents.rig.engine.senses.rival(0, agents.rig.now)
        agents.beat(boot="boot-copy")
    assert agents.rig.host(0).boot_id == BOOT
    assert agents.rig.vm(vm).lcm_state is LcmState.RUNNING
    assert "two agents claim to be this host" in agents.rig.host(0).template.get("ERROR")


def test_a_hypervisor_that_is_down_is_shown_once_and_taken_back_once(agents: Agents) -> None:
    (event,) = agents.hear(hypervisor="down")
    assert isinstance(event, HostDegraded)
    agents.rig.tell(event)
    assert "libvirtd does not answer" in agents.rig.host(0).template.get("ERROR")
    assert agents.rig.host(0).usable, "its VMs are left alone"
    assert agents.hear(hypervisor="down") == []
    agents.rig.tell(*agents.hear())
    assert "ERROR" not in agents.rig.host(0).template
    assert agents.hear() == []


def test_what_was_shown_before_a_restart_is_taken_back_after_it(agents: Agents) -> None:
    agents.rig.tell(*agents.hear(hypervisor="down"))
    agents.rig.restart()
    agents.rig.tell(*agents.hear())
    assert "ERROR" not in agents.rig.host(0).template


# --- VMs


def test_a_running_vm_missing_from_enough_beacons_is_powered_off(agents: Agents) -> None:
    vm = agents.rig.running_vm(0)
    agents.beat(limits.MISSING_BEACONS - 1)
    assert agents.rig.vm(vm).lcm_state is LcmState.RUNNING
    agents.beat()
    assert (agents.rig.vm(vm).state, agents.rig.vm(vm).may_run_on) == (VmState.POWEROFF, ())


def test_a_beacon_that_has_the_vm_starts_the_count_again(agents: Agents) -> None:
    vm = agents.rig.running_vm(0)
    for _ in range(3):
        agents.beat(limits.MISSING_BEACONS - 1)
        agents.beat(vms=((vm, "RUNNING"),))
    assert agents.rig.vm(vm).lcm_state is LcmState.RUNNING


def test_a_vm_that_was_missed_and_is_started_again_is_missed_from_the_beginning(agents: Agents) -> None:
    vm = agents.rig.running_vm(0)
    agents.beat(limits.MISSING_BEACONS)
    agents.rig.call(c.VmAction(vm, "resume"))
    agents.rig.settle()
    agents.beat(limits.MISSING_BEACONS - 1)
    assert agents.rig.vm(vm).lcm_state is LcmState.RUNNING


def test_a_vm_rescheduled_while_it_was_off_is_still_missed_when_it_runs(agents: Agents) -> None:
    vm = agents.rig.running_vm(0, memory_mb=6000)
    agents.rig.running_vm(1, "full", memory_mb=6000)
    agents.rig.call(c.VmAction(vm, "poweroff"))
    agents.rig.settle()
    agents.rig.call(c.VmAction(vm, "resched"))
    agents.rig.call(c.VmAction(vm, "resume"))
    agents.rig.settle()
    agents.beat(limits.MISSING_BEACONS)
    assert agents.rig.vm(vm).state is VmState.POWEROFF


def test_an_unknown_vm_is_running_as_soon_as_it_is_reported(agents: Agents) -> None:
    vm = agents.rig.running_vm(0)
    agents.rig.lose(0)
    agents.beat(vms=((vm, "RUNNING"),))
    assert agents.rig.vm(vm).lcm_state is LcmState.RUNNING


def test_an_unknown_vm_is_given_more_time_before_it_is_powered_off(agents: Agents) -> None:
    vm = agents.rig.running_vm(0)
    agents.rig.lose(0)
    agents.beat(limits.MISSING_BEACONS_UNKNOWN - 1)
    assert agents.rig.vm(vm).lcm_state is LcmState.UNKNOWN
    agents.beat()
    assert agents.rig.vm(vm).state is VmState.POWEROFF


def test_an_unknown_vm_that_is_about_to_move_is_not_powered_off(agents: Agents) -> None:
    vm = agents.rig.running_vm(0, memory_mb=6000)
    agents.rig.running_vm(1, "full", memory_mb=6000)
    agents.rig.lose(0)
    agents.rig.call(c.VmAction(vm, "resched"))
    agents.beat(60)
    assert agents.rig.vm(vm).lcm_state is LcmState.UNKNOWN


def test_a_powered_off_vm_that_runs_is_running_but_not_by_a_beacon_from_before(agents: Agents) -> None:
    vm = agents.rig.running_vm(0)
    agents.rig.call(c.VmAction(vm, "poweroff"))
    agents.rig.settle()
    agents.beat(2, vms=((vm, "RUNNING"),))
    assert agents.rig.vm(vm).state is VmState.POWEROFF
    agents.rig.now += 10
    agents.beat(vms=((vm, "RUNNING"),))
    assert (agents.rig.vm(vm).lcm_state, agents.rig.vm(vm).may_run_on) == (LcmState.RUNNING, (0,))


def test_while_a_driver_is_at_work_on_a_vm_beacons_say_nothing_of_it(agents: Agents) -> None:
    vm = agents.rig.running_vm(0)
    agents.rig.call(c.VmAction(vm, "suspend"))
    assert agents.beat(limits.MISSING_BEACONS_DOUBT - 1) == []
    assert agents.rig.vm(vm).lcm_state is LcmState.SAVE_SUSPEND


def test_a_guest_that_is_seen_off_has_been_shut_down_whatever_its_driver_waits_for(agents: Agents) -> None:
    vm = agents.rig.running_vm(0)
    agents.rig.call(c.VmAction(vm, "poweroff"))
    agents.beat(limits.MISSING_BEACONS)
    assert agents.rig.vm(vm).state is VmState.POWEROFF
    assert agents.rig.vm(vm).may_run_on == ()


def test_a_doubt_about_a_failed_start_ends_when_the_agent_denies_the_domain_for_long_enough(agents: Agents) -> None:
    vm = agents.rig.call(c.AllocateVm("CPU=0.1\nMEMORY=64", hold=True))
    agents.rig.call(c.DeployVm(vm, 0))
    agents.rig.answer(EffectKind.TM_PROLOG)
    agents.rig.answer(EffectKind.VMM_DEPLOY, ok=False, message="timed out", certain=False)
    agents.beat(limits.MISSING_BEACONS_DOUBT - 1)
    assert agents.rig.vm(vm).may_run_on == (0,)
    agents.beat()
    assert agents.rig.vm(vm).may_run_on == ()
    agents.rig.call(c.MigrateVm(vm, 1))


def test_a_domain_where_none_should_be_binds_its_vm(agents: Agents) -> None:
    vm = agents.rig.call(c.AllocateVm("CPU=0.1\nMEMORY=64", hold=True))
    agents.beat(limits.STRANGE_BEACONS, hid=1, vms=((vm, "RUNNING"),))
    assert agents.rig.vm(vm).may_run_on == (1,)
    assert "seen on host 1" in agents.rig.vm(vm).user_template.get("ERROR")
    agents.rig.call(c.VmAction(vm, "release"))
    agents.rig.settle()
    assert agents.rig.vm(vm).state is VmState.PENDING
    assert "may still run on host 1" in agents.rig.vm(vm).user_template.get("SCHED_MESSAGE")


def test_domains_that_are_none_of_ours_are_ignored(agents: Agents) -> None:
    assert agents.beat(60, vms=((4711, "RUNNING"),)) == []


# --- looks


def looks(agents: Agents, seconds: float) -> tuple[list[Event], list[int]]:
    """What the looks of the next seconds find; their events reach the engine."""
    events: list[Event] = []
    suspects: list[int] = []
    for _ in range(round(seconds * 4)):
        agents.rig.now += 0.25
        found, asked = agents.rig.engine.senses.look(agents.rig.now)
        agents.rig.tell(*found)
        events += found
        suspects += asked
    return events, suspects


def test_a_silent_host_is_investigated_and_then_lost_with_the_evidence(agents: Agents) -> None:
    agents.beat(hid=0)
    agents.beat(hid=1)
    agents.rig.engine.senses.look(agents.rig.now)
    agents.rig.engine.senses.detector.watches[1].hypervisor_text = "connection refused"
    for _ in range(2):
        looks(agents, 0.75)
        agents.rig.now += 0.25
        agents.rig.tell(*agents.hear(0))
    (lost, *_), _ = looks(agents, 1.5)
    assert isinstance(lost, HostSilent)
    assert lost.host_id == 1
    assert {item.source for item in lost.evidence} == {"verdict", "agent", "hypervisor", "storage heartbeat"}
    assert "connection refused" in agents.rig.host(1).template.get("ERROR")
    assert agents.rig.host(0).usable


def test_when_all_hosts_fall_silent_together_the_event_says_that_we_are_blind(agents: Agents) -> None:
    agents.beat(hid=0)
    agents.beat(hid=1)
    agents.rig.running_vm(0)
    agents.rig.engine.senses.look(agents.rig.now)
    events, suspects = looks(agents, 6)
    silent = [event for event in events if isinstance(event, HostSilent)]
    assert sorted(set(suspects)) == [0, 1]
    assert silent[-1].blind
    failover = agents.rig.open_failover(0, flags="PAUSE=0")
    assert "WE ARE BLIND" in agents.rig.failover(failover).reason
    assert f"onehost failover retry {failover}" in agents.rig.failover(failover).reason
    assert not agents.rig.orders, "nothing is fenced"


def test_a_silent_agent_whose_hypervisor_answers_is_shown_and_not_lost(agents: Agents) -> None:
    agents.beat(hid=0)
    senses = agents.rig.engine.senses
    senses.look(agents.rig.now)
    for _ in range(20):
        looks(agents, 0.5)
        senses.detector.hypervisor_answered(0, True, "hypervisor answers", agents.rig.now)
    assert agents.rig.host(0).error_since == 0
    assert "its hypervisor answers" in agents.rig.host(0).template.get("ERROR")


def test_a_silence_that_was_broken_before_it_could_be_stored_is_nothing(agents: Agents) -> None:
    agents.beat(hid=0)
    silent = HostSilent(0, agents.rig.now, False, ())
    agents.beat(hid=0)
    agents.rig.tell(silent)
    assert agents.rig.host(0).error_since == 0


def test_only_its_own_host_is_believed_about_a_vm(agents: Agents) -> None:
    vm = agents.rig.running_vm(0)
    agents.rig.tell(VmSeen(1, vm, "POWEROFF"), VmSeen(1, vm, "FAILURE"), VmSeen(0, 4711, "RUNNING"))
    assert agents.rig.vm(vm).lcm_state is LcmState.RUNNING
    agents.rig.tell(VmSeen(0, vm, "FAILURE"))
    assert agents.rig.vm(vm).lcm_state is LcmState.UNKNOWN


def test_where_agents_see_no_guests_of_a_hypervisor_their_silence_proves_nothing_about_vms() -> None:
    agents = Agents(settings=Settings(unseen_hypervisors=frozenset({"qemu"})))
    vm = agents.rig.running_vm(0)
    assert agents.beat(limits.MISSING_BEACONS_DOUBT + 1) == []
    assert (agents.rig.vm(vm).lcm_state, agents.rig.vm(vm).may_run_on) == (LcmState.RUNNING, (0,))
    agents.rig.call(c.VmAction(vm, "poweroff"))
    assert agents.beat(limits.MISSING_BEACONS_DOUBT + 1) == []
    agents.rig.answer(EffectKind.VMM_SHUTDOWN, ok=False, message="timed out", certain=False)
    agents.beat(limits.MISSING_BEACONS_DOUBT + 1)
    assert agents.rig.vm(vm).may_run_on == (0,)
