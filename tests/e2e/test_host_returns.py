"""Hosts that come back: during the wait, while BLOCKED, before anybody noticed, and after a reboot."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.agents import ScriptedAgent
from tests.e2e.daemon import GUIDE_HOOK, Daemon, PowerSwitch, until

LONG_WAIT_HOOK = GUIDE_HOOK.replace("-p 5", "-p 400")
NewAgent = Callable[..., ScriptedAgent]


@pytest.fixture
def agent(daemon: Daemon) -> Iterator[NewAgent]:
    """Makes agents, and ends those that the test left alive."""
    made: list[ScriptedAgent] = []

    def make(host_id: int, boot_id: str = "boot-1", vms: tuple[int, ...] = ()) -> ScriptedAgent:
        made.append(ScriptedAgent(daemon, host_id, boot_id, vms))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def test_a_host_that_comes_back_during_the_wait_keeps_its_vms_untouched(daemon: Daemon, tmp_path: Path) -> None:
    switch = PowerSwitch(tmp_path / "power")
    lost = daemon.host("lost", **switch.attributes)
    daemon.host("other")
    daemon.hook(LONG_WAIT_HOOK)
    vms = [daemon.vm(f"vm{number}", lost) for number in range(3)]
    before = [daemon.api.call("one.vm.info", vm_id).partition("<HISTORY_RECORDS>")[2] for vm_id in vms]
    daemon.set_host(lost, DUMMY_DEAD="YES")
    daemon.wait_for_failover("WATCHING")
    assert [daemon.vm_at(vm_id)[:2] for vm_id in vms] == [("3", "16")] * 3
    daemon.set_host(lost, DUMMY_DEAD="NO")
    aborted = daemon.wait_for_failover("ABORTED")
    assert "the host came back" in aborted.findtext("REASON", "")
    for vm_id in vms:
        daemon.wait_for_vm(vm_id, lost)
    after = [daemon.api.call("one.vm.info", vm_id).partition("<HISTORY_RECORDS>")[2] for vm_id in vms]
    assert after == before, "the history is as it was"
    assert daemon.journal("fence.off") == []
    assert [daemon.starts(vm_id) for vm_id in vms] == [1, 1, 1]
    assert (daemon.host_state(lost), switch.power) == ("2", "on")


def test_a_host_that_comes_back_while_blocked_ends_the_failover(daemon: Daemon) -> None:
    lost = daemon.host("lost")
    daemon.host("other")
    daemon.hook(GUIDE_HOOK.replace("-p 5", "-p 0"))
    vm_id = daemon.vm("web", lost)
    daemon.set_host(lost, DUMMY_DEAD="YES")
    daemon.wait_for_failover("BLOCKED")
    daemon.set_host(lost, DUMMY_DEAD="NO")
    daemon.wait_for_failover("ABORTED")
    daemon.wait_for_vm(vm_id, lost)
    assert daemon.vm_at(vm_id)[2] == [lost]
    assert daemon.starts(vm_id) == 1


def test_a_silence_shorter_than_the_limit_is_no_loss(daemon: Daemon, agent: NewAgent) -> None:
    quiet = daemon.host("quiet", im_mad="scripted")
    living = agent(quiet)
    until(lambda: daemon.host_state(quiet) == "2", what="the first beacon")
    daemon.hook()
    vm_id = daemon.vm("web", quiet)
    living.vms = (vm_id,)
    living.be_quiet(0.8)
    time.sleep(3.0)
    assert (daemon.host_state(quiet), daemon.failovers()) == ("2", [])
    assert daemon.vm_at(vm_id) == ("3", "3", [quiet])


def test_a_host_that_has_rebooted_is_proven_to_have_lost_its_vms(daemon: Daemon, agent: NewAgent) -> None:
    lost = daemon.host("lost", im_mad="scripted")
    other = daemon.host("other")
    first = agent(lost)
    until(lambda: daemon.host_state(lost) == "2", what="the first beacon")
    daemon.hook(LONG_WAIT_HOOK)
    vm_id = daemon.vm("web", lost)
    first.stop()
    daemon.wait_for_failover("WATCHING")
    agent(lost, "boot-2")
    daemon.wait_for_vm(vm_id, other)
    done = daemon.wait_for_failover("DONE")
    assert done.findtext("PROOFS/PROOF/KIND") == "REBOOTED"
    assert "boot id boot-2, it was boot-1" in done.findtext("PROOFS/PROOF/TEXT", "")
    until(lambda: daemon.host_state(lost) == "2", what="the rebooted host in service")


def test_a_reboot_faster_than_the_detection_is_noticed_all_the_same(daemon: Daemon, agent: NewAgent) -> None:
    swift = daemon.host("swift", im_mad="scripted")
    other = daemon.host("other")
    first = agent(swift)
    until(lambda: daemon.host_state(swift) == "2", what="the first beacon")
    daemon.hook()
    vm_id = daemon.vm("web", swift)
    first.stop()
    agent(swift, "boot-2")
    done = daemon.wait_for_failover("DONE")
    assert done.findtext("PROOFS/PROOF/KIND") == "REBOOTED"
    daemon.wait_for_vm(vm_id, daemon.vm_at(vm_id)[2][-1])
    assert daemon.vm_at(vm_id)[2][-1] in (swift, other)
    assert daemon.starts(vm_id) == 2


def test_a_host_that_speaks_after_it_was_proven_dead_gets_no_vms_and_is_shown(
    daemon: Daemon, agent: NewAgent, tmp_path: Path
) -> None:
    switch = PowerSwitch(tmp_path / "power")
    lost = daemon.host("lost", im_mad="scripted", **switch.attributes)
    other = daemon.host("other")
    first = agent(lost)
    until(lambda: daemon.host_state(lost) == "2", what="the first beacon")
    daemon.hook(GUIDE_HOOK.replace("-p 5", "-p 0"))
    vm_id = daemon.vm("web", lost)
    first.stop()
    daemon.wait_for_vm(vm_id, other)
    agent(lost, vms=(vm_id,))

    def complaint() -> str:
        return daemon.api.xml("one.host.info", lost).findtext("TEMPLATE/ERROR", "")

    until(lambda: "it is alive although proof" in complaint(), what="the contradiction in the host's ERROR")
    assert daemon.host_state(lost) == "3"
    assert daemon.vm_at(vm_id) == ("3", "3", [lost, other])
