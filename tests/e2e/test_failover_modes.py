"""What the hook's options do, and failovers that meet more than one misfortune."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.daemon import GUIDE_HOOK, Daemon, PowerSwitch, until


def hook(options: str) -> str:
    """The guide's hook with other options."""
    return GUIDE_HOOK.replace("-m -p 5", options)


def host_with_switch(daemon: Daemon, directory: Path, name: str) -> tuple[int, PowerSwitch]:
    switch = PowerSwitch(directory / f"power of {name}")
    return daemon.host(name, **switch.attributes), switch


def test_recreate_deletes_the_vm_and_deploys_it_anew(daemon: Daemon, tmp_path: Path) -> None:
    lost, _ = host_with_switch(daemon, tmp_path, "lost")
    other = daemon.host("other")
    daemon.hook(hook("-r -p 0"))
    vm_id = daemon.vm("web", lost)
    daemon.set_host(lost, DUMMY_DEAD="YES")
    daemon.wait_for_vm(vm_id, other)
    done = daemon.wait_for_failover("DONE")
    assert (done.findtext("MODE"), done.findtext("VMS/VM/STATE")) == ("recreate", "RUNNING")
    records = daemon.api.xml("one.vm.info", vm_id).findall("HISTORY_RECORDS/HISTORY")
    assert [record.findtext("ACTION") for record in records] == ["14", "0"], "delete-recreate, none"
    assert daemon.starts(vm_id) == 2


def test_recreate_leaves_a_vm_that_is_off_unless_it_is_forced(daemon: Daemon, tmp_path: Path) -> None:
    lost, _ = host_with_switch(daemon, tmp_path, "lost")
    daemon.host("other")
    daemon.hook(hook("-r -p 0"))
    vm_id = daemon.vm("web", lost)
    daemon.api.call("one.vm.action", "poweroff-hard", vm_id)
    until(lambda: daemon.vm_at(vm_id)[0] == "8", what="POWEROFF")
    daemon.set_host(lost, DUMMY_DEAD="YES")
    row = daemon.wait_for_failover("DONE").find("VMS/VM")
    assert row is not None
    assert (row.findtext("STATE"), row.findtext("REASON")) == ("SKIPPED", "in state POWEROFF: recreated only with -f")
    assert daemon.vm_at(vm_id) == ("8", "0", [lost])


def test_delete_removes_the_vms_once_the_host_is_proven_dead(daemon: Daemon, tmp_path: Path) -> None:
    lost, switch = host_with_switch(daemon, tmp_path, "lost")
    daemon.hook(hook("-d -p 0"))
    vm_id = daemon.vm("web", lost)
    daemon.set_host(lost, DUMMY_DEAD="YES")
    daemon.wait_for_failover("DONE")
    until(lambda: daemon.vm_at(vm_id)[0] == "6", what="DONE")
    assert switch.power == "off"
    assert daemon.api.xml("one.host.info", lost).findtext("HOST_SHARE/RUNNING_VMS") == "0"


def test_a_vm_that_is_off_moves_and_stays_off(daemon: Daemon, tmp_path: Path) -> None:
    lost, _ = host_with_switch(daemon, tmp_path, "lost")
    other = daemon.host("other")
    daemon.hook(hook("-m -p 0"))
    vm_id = daemon.vm("web", lost)
    daemon.api.call("one.vm.action", "poweroff-hard", vm_id)
    until(lambda: daemon.vm_at(vm_id)[0] == "8", what="POWEROFF")
    daemon.set_host(lost, DUMMY_DEAD="YES")
    done = daemon.wait_for_failover("DONE")
    assert daemon.vm_at(vm_id) == ("8", "0", [lost, other])
    assert "stays off" in done.findtext("VMS/VM/REASON", "")
    assert daemon.starts(vm_id) == 1
    daemon.api.call("one.vm.action", "resume", vm_id)
    daemon.wait_for_vm(vm_id, other)


def test_a_disabled_host_fails_over_and_stays_disabled(daemon: Daemon, tmp_path: Path) -> None:
    lost, _ = host_with_switch(daemon, tmp_path, "lost")
    other = daemon.host("other")
    daemon.hook(hook("-m -p 0"))
    vm_id = daemon.vm("web", lost)
    daemon.done("onehost", "disable", "lost")
    daemon.set_host(lost, DUMMY_DEAD="YES")
    daemon.wait_for_vm(vm_id, other)
    assert daemon.host_state(lost) == "4"


def test_a_host_without_vms_is_not_fenced(daemon: Daemon, tmp_path: Path) -> None:
    lost, switch = host_with_switch(daemon, tmp_path, "lost")
    daemon.hook(hook("-m -p 0"))
    daemon.set_host(lost, DUMMY_DEAD="YES")
    done = daemon.wait_for_failover("DONE")
    assert "the host has no VMs" in done.findall("STEPS/STEP/TEXT")[-1].text  # type: ignore[operator]
    assert switch.power == "on"


def test_an_operator_can_begin_a_failover_without_any_hook_but_only_for_a_lost_host(
    daemon: Daemon, tmp_path: Path
) -> None:
    lost, _ = host_with_switch(daemon, tmp_path, "lost")
    other = daemon.host("other")
    vm_id = daemon.vm("web", lost)
    refused = daemon.refused("onehost", "failover", "allocate", "lost", "-m")
    assert "Host 0 (lost) is in touch (state MONITORED): only a lost host fails over." in refused
    assert "Can not remove a host with running VMs" in daemon.refused("onehost", "delete", "lost")
    daemon.set_host(lost, DUMMY_DEAD="YES")
    until(lambda: daemon.host_state(lost) == "3", what="the loss")
    assert daemon.done("onehost", "failover", "allocate", "lost", "-m", "-p", "400") == "ID: 0\n"
    again = daemon.done("onehost", "failover", "allocate", "lost", "-m", "-p", "0")
    assert again == "ID: 0\n", "the one that is open is answered"
    daemon.done("onehost", "failover", "abort", "0")
    assert daemon.done("onehost", "failover", "allocate", "lost", "-m", "-p", "0") == "ID: 1\n"
    daemon.wait_for_vm(vm_id, other)
    daemon.wait_for_failover("DONE", failover_id=1)
    daemon.done("onehost", "delete", "lost")
    assert "lost (0)" in daemon.done("onehost", "failover", "show", "1"), "its story outlives the host"


def test_a_hook_that_cannot_run_is_seen_in_its_log_and_nothing_is_fenced(daemon: Daemon, tmp_path: Path) -> None:
    lost, switch = host_with_switch(daemon, tmp_path, "lost")
    daemon.vm("web", lost)
    daemon.hook(GUIDE_HOOK.replace("ft/host_error.rb", "ft/host_eror.rb"))
    daemon.hook(hook("-m -x").replace('host_error"\nSTATE', 'wrong_options"\nSTATE'))
    daemon.set_host(lost, DUMMY_DEAD="YES")

    def log() -> list[str]:
        return daemon.done("onehook", "log", "--list", "HOOK,RC", "--no-header").split()

    until(lambda: len(log()) == 4, what="two executions")
    assert sorted(log()) == ["0", "1", "255", "255"]
    assert "ft/host_eror.rb" in daemon.done("onehook", "show", "0", "-e", "0")
    assert "-x" in daemon.done("onehook", "show", "1", "-e", "0")
    assert (daemon.failovers(), switch.power) == ([], "on")


def test_when_most_hosts_are_lost_at_once_nothing_is_fenced_until_the_operator_says_so(
    daemon: Daemon, tmp_path: Path
) -> None:
    hosts = [host_with_switch(daemon, tmp_path, name) for name in ("a", "b", "c")]
    safe = daemon.host("safe")
    daemon.hook(hook("-m -p 2"))
    vms = [daemon.vm(f"vm{number}", host) for number, (host, _) in enumerate(hosts)]
    for host, _ in hosts:
        daemon.set_host(host, DUMMY_DEAD="YES")
    for number in range(3):
        blocked = daemon.wait_for_failover("BLOCKED", failover_id=number)
        assert "WE ARE BLIND" in blocked.findtext("REASON", "")
    assert [switch.power for _, switch in hosts] == ["on"] * 3
    assert "WE ARE BLIND" in daemon.done("onehost", "failover", "show", "0")
    for number in range(3):
        daemon.done("onehost", "failover", "retry", str(number))
    for vm_id in vms:
        daemon.wait_for_vm(vm_id, safe)
    assert [switch.power for _, switch in hosts] == ["off"] * 3


@pytest.mark.parametrize("crash", [False, True], ids=["", "and the controller is restarted"])
def test_a_vm_whose_new_host_dies_too_goes_on_to_a_third(daemon: Daemon, tmp_path: Path, crash: bool) -> None:
    first, _ = host_with_switch(daemon, tmp_path, "first")
    second, second_switch = host_with_switch(daemon, tmp_path, "second")
    daemon.hook(hook("-m -p 0"))
    vm_id = daemon.vm("web", first)
    daemon.api.call("one.vm.update", vm_id, 'DUMMY_DELAY_S="30"', 1)
    daemon.set_host(first, DUMMY_DEAD="YES")
    until(lambda: daemon.vm_at(vm_id) == ("3", "2", [first, second]), what="BOOT on the second")
    third = daemon.host("third")
    daemon.host("fourth")
    daemon.set_host(second, DUMMY_DEAD="YES")
    if crash:
        daemon.kill()
        daemon.start()
    daemon.api.call("one.vm.update", vm_id, 'DUMMY_DELAY_S="0"', 1)
    daemon.wait_for_failover("DONE", failover_id=1)
    assert daemon.wait_for_failover("DONE", failover_id=0).findtext("VMS/VM/STATE") == "SKIPPED"
    daemon.wait_for_vm(vm_id, daemon.vm_at(vm_id)[2][-1])
    assert daemon.vm_at(vm_id)[2][:2] == [first, second]
    assert daemon.vm_at(vm_id)[2][2] >= third
    assert second_switch.power == "off"
    proofs = {found.findtext("PROOFS/PROOF/ID") for found in daemon.failovers()}
    assert len(proofs) == 2, "each start has the proof of its own dead host"


def test_a_vm_that_cannot_be_started_is_tried_elsewhere_then_blocks_and_a_retry_tries_again(
    daemon: Daemon, tmp_path: Path
) -> None:
    lost, _ = host_with_switch(daemon, tmp_path, "lost")
    daemon.hook(hook("-m -p 0"))
    vm_id = daemon.vm("web", lost)
    others = {daemon.host(name) for name in ("o1", "o2", "o3")}
    daemon.api.call("one.vm.update", vm_id, 'DUMMY_FAIL="deploy"', 1)
    daemon.set_host(lost, DUMMY_DEAD="YES")
    blocked = daemon.wait_for_failover("BLOCKED")
    assert "1 of 1 VMs could not be restarted: VM 0 web" in blocked.findtext("REASON", "")
    assert "failed as it was told to" in blocked.findtext("REASON", "")
    tried = daemon.vm_at(vm_id)[2][1:]
    assert set(tried) == others, "each once"
    daemon.api.call("one.vm.update", vm_id, "DUMMY_FAIL=no", 1)
    daemon.done("onehost", "failover", "retry", "0")
    assert daemon.wait_for_failover("DONE").findtext("VMS/VM/STATE") == "RUNNING"
    assert daemon.vm_at(vm_id)[:2] == ("3", "3")
    assert daemon.starts(vm_id) == 1 + len(tried) + 1
