"""pyone, OpenNebula's own Python client, against the real controller: hosts, VMs, hooks, and the failover they make."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyone
import pytest

from tests.e2e.daemon import GUIDE_HOOK, Daemon, PowerSwitch, until

HOOK_WITH_ID = """NAME="by_id" TYPE="state" RESOURCE="HOST" STATE="ERROR" REMOTE="no"
COMMAND="ft/host_error" ARGUMENTS="$ID -m -p 1"
""".replace('" ', '"\n')


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One controller for the tests that only need objects of their own."""
    running = Daemon(tmp_path_factory.mktemp("shared"))
    try:
        yield running.start()
    finally:
        running.close()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A controller for one test."""
    running = Daemon(tmp_path / "controller")
    try:
        yield running.start()
    finally:
        running.close()


def wait_for_host(one: Any, host_id: int, state: int = 2) -> None:
    until(lambda: int(one.host.info(host_id).STATE) == state, what=f"host {host_id} in state {state}")


def position(vm: Any) -> tuple[int, int, int]:
    """STATE, LCM_STATE and the newest host of a VM."""
    return int(vm.STATE), int(vm.LCM_STATE), int(vm.HISTORY_RECORDS.HISTORY[-1].HID)


def wait_for_vm(one: Any, vm_id: int, host_id: int, lcm_state: int = 3) -> Any:
    """The VM as soon as it is in this state on this host."""

    def look() -> Any:
        vm = one.vm.info(vm_id)
        return vm if vm.HISTORY_RECORDS.HISTORY and position(vm) == (3, lcm_state, host_id) else None

    return until(look, what=f"VM {vm_id} on host {host_id} in LCM_STATE {lcm_state}")


def test_a_host_is_registered_changed_renamed_taken_out_of_service_and_removed(shared: Daemon) -> None:
    one = shared.one
    host_id = one.host.allocate("node-a", "dummy", "dummy", -1)
    wait_for_host(one, host_id)
    one.host.update(host_id, {"RACK": "7", "FENCE_AGENT": "fence_dummy", "FENCE_PASSWORD": "geheim"}, 1)
    one.host.rename(host_id, "node-b")
    found = one.host.info(host_id)
    assert (found.NAME, found.TEMPLATE["RACK"], found.HOST_SHARE.MAX_CPU) == ("node-b", "7", 800)
    assert found.TEMPLATE["FENCE_PASSWORD"] == "********"
    one.host.status(host_id, 1)
    assert one.host.info(host_id).STATE == 4
    one.host.status(host_id, 0)
    wait_for_host(one, host_id)
    assert host_id in [host.ID for host in one.hostpool.info().HOST]
    assert one.host.delete(host_id) == host_id
    with pytest.raises(pyone.OneNoExistsException, match=rf"Error getting host \[{host_id}\]"):
        one.host.info(host_id)


def test_a_vm_is_created_held_deployed_switched_off_and_on_and_ended(shared: Daemon) -> None:
    one = shared.one
    host_id = one.host.allocate("for-vms", "dummy", "dummy", -1)
    wait_for_host(one, host_id)
    vm_id = one.vm.allocate({"TEMPLATE": {"NAME": "web", "CPU": "2", "MEMORY": "512", "COLOUR": "red"}}, True)
    assert one.vm.info(vm_id).STATE == pyone.VM_STATE.HOLD
    one.vm.deploy(vm_id, host_id)
    running = wait_for_vm(one, vm_id, host_id)
    assert (running.DEPLOY_ID, running.USER_TEMPLATE["COLOUR"]) == (f"one-{vm_id}", "red")
    share = one.host.info(host_id).HOST_SHARE
    assert (share.CPU_USAGE, share.MEM_USAGE, share.RUNNING_VMS) == (200, 512 * 1024, 1)
    one.vm.update(vm_id, {"COLOUR": "blue"}, 1)
    one.vm.action("poweroff-hard", vm_id)
    until(lambda: one.vm.info(vm_id).STATE == pyone.VM_STATE.POWEROFF, what="poweroff")
    one.vm.action("resume", vm_id)
    assert wait_for_vm(one, vm_id, host_id).USER_TEMPLATE["COLOUR"] == "blue"
    assert vm_id in [vm.ID for vm in one.vmpool.info(-2, -1, -1, -1).VM]
    with pytest.raises(pyone.OneActionException, match="Can not remove a host with running VMs"):
        one.host.delete(host_id)
    one.vm.action("terminate-hard", vm_id)
    until(lambda: one.vm.info(vm_id).STATE == pyone.VM_STATE.DONE, what="the end of the VM")
    assert vm_id not in [vm.ID for vm in one.vmpool.info(-2, -1, -1, -1).VM]
    assert one.host.info(host_id).HOST_SHARE.CPU_USAGE == 0
    assert one.host.delete(host_id) == host_id


def test_the_guides_hook_is_created_read_changed_locked_and_removed(shared: Daemon) -> None:
    one = shared.one
    hook_id = one.hook.allocate(GUIDE_HOOK)
    found = one.hook.info(hook_id)
    assert (found.NAME, found.TYPE) == ("host_error", "state")
    assert (found.TEMPLATE["ARGUMENTS"], found.TEMPLATE["ARGUMENTS_STDIN"]) == ("$TEMPLATE -m -p 5", "yes")
    assert (found.TEMPLATE["COMMAND"], found.TEMPLATE["STATE"]) == ("ft/host_error.rb", "ERROR")
    one.hook.update(hook_id, {"ARGUMENTS": "$TEMPLATE -m -p 2"}, 1)
    assert one.hook.info(hook_id).TEMPLATE["ARGUMENTS"] == "$TEMPLATE -m -p 2"
    one.hook.lock(hook_id, 4, False)
    assert one.hook.info(hook_id).LOCK.LOCKED == 4
    one.hook.unlock(hook_id)
    one.hook.rename(hook_id, "renamed")
    assert "renamed" in [hook.NAME for hook in one.hookpool.info().HOOK]
    assert one.hook.delete(hook_id) == hook_id
    with pytest.raises(pyone.OneNoExistsException):
        one.hook.info(hook_id)


def test_every_refusal_is_the_exception_that_pyone_has_for_it(shared: Daemon) -> None:
    one = shared.one
    taken = one.host.allocate("taken", "dummy", "dummy", -1)
    held = one.vm.allocate('NAME="held"\nCPU="1"\nMEMORY="64"', True)
    with pytest.raises(pyone.OneNoExistsException, match=r"\[one.vm.info\] Error getting virtual machine \[9999\]"):
        one.vm.info(9999)
    with pytest.raises(pyone.OneNoExistsException, match=r"Error getting host \[9999\]"):
        one.vm.deploy(held, 9999)
    with pytest.raises(pyone.OneActionException, match="not available for state HOLD"):
        one.vm.action("poweroff", held)
    with pytest.raises(pyone.OneActionException, match='"dance" is not supported'):
        one.vm.action("dance", held)
    with pytest.raises(pyone.OneInternalException, match="line 2, column 16"):
        one.vm.allocate('NAME="x"\nCPU="1" MEMORY="64', False)
    with pytest.raises(pyone.OneApiException, match="Wrong status code"):
        one.host.status(taken, 9)
    with pytest.raises(pyone.OneInternalException, match="Invalid Hook type"):
        one.hook.allocate('NAME="x"\nTYPE="tea"')
    with pytest.raises(pyone.OneException, match="NAME is already taken by HOST"):
        one.host.allocate("taken", "dummy", "dummy", -1)
    with (
        pyone.OneServer(shared.endpoint, session="oneadmin:wrong") as stranger,
        pytest.raises(pyone.OneAuthenticationException),
    ):
        stranger.hostpool.info()


def test_a_dead_hosts_vm_runs_elsewhere_because_the_guides_hook_exists(daemon: Daemon, tmp_path: Path) -> None:
    one = daemon.one
    switch = PowerSwitch(tmp_path / "power")
    lost, other = one.host.allocate("lost", "dummy", "dummy", -1), one.host.allocate("other", "dummy", "dummy", -1)
    one.host.update(lost, switch.attributes, 1)
    wait_for_host(one, lost)
    wait_for_host(one, other)
    one.hook.allocate(GUIDE_HOOK)
    vm_id = one.vm.allocate('NAME="web"\nCPU="1"\nMEMORY="128"', True)
    one.vm.deploy(vm_id, lost)
    wait_for_vm(one, vm_id, lost)

    daemon.done("onehost", "update", str(lost), "--append", stdin="DUMMY_DEAD=YES")
    wait_for_host(one, lost, 3)
    assert "Error monitoring Host lost" in one.host.info(lost).TEMPLATE["ERROR"]
    vm = wait_for_vm(one, vm_id, other)
    assert [record.HOSTNAME for record in vm.HISTORY_RECORDS.HISTORY] == ["lost", "other"]
    assert switch.power == "off"
    record = one.hook.info(0).HOOKLOG.HOOK_EXECUTION_RECORD[0]
    assert record.EXECUTION_RESULT.CODE == "0"
    assert "opened failover 0" in base64.b64decode(record.EXECUTION_RESULT.STDOUT).decode()
    assert list(one.host.info(other).VMS.ID) == [vm_id]
    assert one.host.info(lost).HOST_SHARE.RUNNING_VMS == 0


def test_a_hook_with_the_hosts_id_as_argument_does_the_same(daemon: Daemon, tmp_path: Path) -> None:
    one = daemon.one
    switch = PowerSwitch(tmp_path / "power")
    lost, other = daemon.host("lost", **switch.attributes), daemon.host("other")
    one.hook.allocate(HOOK_WITH_ID)
    vm_id = daemon.vm("web", lost)
    daemon.set_host(lost, DUMMY_DEAD="YES")
    daemon.wait_for_vm(vm_id, other)
    record = one.hook.info(0).HOOKLOG.HOOK_EXECUTION_RECORD[0]
    assert str(record.ARGUMENTS) == f"{lost} -m -p 1"


def test_without_a_hook_nothing_is_moved_and_nothing_is_fenced(daemon: Daemon, tmp_path: Path) -> None:
    one = daemon.one
    switch = PowerSwitch(tmp_path / "power")
    lost = daemon.host("lost", **switch.attributes)
    daemon.host("other")
    vm_id = daemon.vm("web", lost)
    daemon.set_host(lost, DUMMY_DEAD="YES")
    wait_for_host(one, lost, 3)
    wait_for_vm(one, vm_id, lost, 16)
    assert daemon.failovers() == []
    assert daemon.journal("fence.off") == daemon.journal("fence.status") == []
    assert switch.power == "on"
    with pytest.raises(pyone.OneActionException, match="may still run on host"):
        one.vm.migrate(vm_id, 1, False, False, -1, 0)


def wait_for_image(one: Any, image_id: int, state: int = 1) -> None:
    until(lambda: int(one.image.info(image_id).STATE) == state, what=f"image {image_id} in state {state}")


def test_an_image_is_copied_changed_locked_and_removed(shared: Daemon) -> None:
    one = shared.one
    image_id = one.image.allocate('NAME="empty"\nSIZE="1"\nFORMAT="raw"', 1)
    wait_for_image(one, image_id)
    copy_id = one.image.clone(image_id, "copy", -1)
    wait_for_image(one, copy_id)
    wait_for_image(one, image_id)
    assert one.image.chtype(copy_id, "DATABLOCK") == copy_id
    assert one.image.persistent(copy_id, True) == copy_id
    one.image.update(copy_id, {"DEV_PREFIX": "vd"}, 1)
    found = one.image.info(copy_id)
    assert (found.TYPE, found.PERSISTENT, found.CLONING_OPS, found.TEMPLATE["DEV_PREFIX"]) == (2, 1, 0, "vd")
    one.image.lock(copy_id, 4, False)
    assert one.image.info(copy_id).LOCK.LOCKED == 4
    with pytest.raises(pyone.OneException, match=rf"The resource image is locked. \[{copy_id}\]"):
        one.image.rename(copy_id, "other")
    one.image.unlock(copy_id)
    one.image.rename(copy_id, "other")
    for gone in (image_id, copy_id):
        one.image.delete(gone)
    until(lambda: not {image_id, copy_id} & {each.ID for each in one.imagepool.info(-2, -1, -1).IMAGE}, what="gone")
