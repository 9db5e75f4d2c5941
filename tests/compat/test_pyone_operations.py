"""pyone and ``onevm`` against the real controller: a VM is saved, moved, given devices, snapshots and another size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyone
import pytest

from tests.e2e.daemon import Daemon, until

POWEROFF = int(pyone.VM_STATE.POWEROFF)
STOPPED = int(pyone.VM_STATE.STOPPED)
SUSPENDED = int(pyone.VM_STATE.SUSPENDED)
UNDEPLOYED = int(pyone.VM_STATE.UNDEPLOYED)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One controller with two hosts, 0 and 1, for all tests here."""
    running = Daemon(tmp_path_factory.mktemp("operations"))
    try:
        running.start()
        assert [running.host("here"), running.host("there")] == [0, 1]
        yield running
    finally:
        running.close()


@pytest.fixture
def vm_id(daemon: Daemon) -> Iterator[int]:
    """A VM that runs on host 0; it does not outlive its test."""
    created = daemon.vm("web", 0)
    yield created
    daemon.one.vm.recover(created, 3)
    until(lambda: daemon.one.vm.info(created).STATE == pyone.VM_STATE.DONE, what=f"the end of VM {created}")


def wait_for_state(daemon: Daemon, vm_id: int, state: int) -> Any:
    """The VM as soon as it is in this state, which is not ACTIVE."""

    def look() -> Any:
        vm = daemon.one.vm.info(vm_id)
        return vm if int(vm.STATE) == state else None

    return until(look, what=f"VM {vm_id} in state {state}: {daemon.vm_at(vm_id)}")


def running_on(daemon: Daemon, vm_id: int, host_id: int) -> Any:
    """The VM as soon as it is RUNNING on this host."""
    daemon.wait_for_vm(vm_id, host_id)
    return daemon.one.vm.info(vm_id)


def actions(vm: Any) -> list[int]:
    """ACTION of each history record."""
    return [record.ACTION for record in vm.HISTORY_RECORDS.HISTORY]


def capacity(daemon: Daemon) -> list[tuple[int, int]]:
    """CPU and memory that each host has given away."""
    shares = [daemon.one.host.info(host_id).HOST_SHARE for host_id in (0, 1)]
    return [(share.CPU_USAGE, share.MEM_USAGE // 1024) for share in shares]


def test_a_vm_is_suspended_stopped_undeployed_and_started_again(daemon: Daemon, vm_id: int) -> None:
    one = daemon.one
    one.vm.action("suspend", vm_id)
    assert actions(wait_for_state(daemon, vm_id, SUSPENDED))[-1] == 10
    assert capacity(daemon) == [(100, 128), (0, 0)]
    one.vm.action("resume", vm_id)
    running_on(daemon, vm_id, 0)
    one.vm.action("stop", vm_id)
    assert actions(wait_for_state(daemon, vm_id, STOPPED))[-1] == 9
    assert capacity(daemon) == [(0, 0), (0, 0)]
    one.vm.deploy(vm_id, 1)
    running_on(daemon, vm_id, 1)
    one.vm.action("undeploy-hard", vm_id)
    assert actions(wait_for_state(daemon, vm_id, UNDEPLOYED))[-1] == 6
    one.vm.deploy(vm_id, 0)
    assert [record.HID for record in running_on(daemon, vm_id, 0).HISTORY_RECORDS.HISTORY][-1] == 0
    assert capacity(daemon) == [(100, 128), (0, 0)]


@pytest.mark.parametrize(
    ("live", "kind", "closed_by"),
    [(True, 0, 2), (False, 0, 1), (False, 1, 48), (False, 2, 49)],
    ids=["live", "save", "poweroff", "poweroff-hard"],
)
def test_a_running_vm_is_moved(daemon: Daemon, vm_id: int, live: bool, kind: int, closed_by: int) -> None:
    assert daemon.one.vm.migrate(vm_id, 1, live, False, -1, kind) == vm_id
    moved = running_on(daemon, vm_id, 1)
    assert [record.HOSTNAME for record in moved.HISTORY_RECORDS.HISTORY] == ["here", "there"]
    assert actions(moved)[0] == closed_by
    assert capacity(daemon) == [(0, 0), (100, 128)]


def test_disks_are_attached_enlarged_and_detached(daemon: Daemon, vm_id: int) -> None:
    one = daemon.one
    assert one.vm.attach(vm_id, {"TEMPLATE": {"DISK": {"TYPE": "fs", "SIZE": "16", "FORMAT": "qcow2"}}}) == vm_id
    disk = running_on(daemon, vm_id, 0).TEMPLATE["DISK"]
    assert (disk["DISK_ID"], disk["SIZE"], disk["TARGET"], disk.get("ATTACH")) == ("0", "16", "sda", None)
    assert one.vm.diskresize(vm_id, 0, "32") == vm_id
    assert running_on(daemon, vm_id, 0).TEMPLATE["DISK"]["SIZE"] == "32"
    with pytest.raises(pyone.OneActionException, match="greater than current"):
        one.vm.diskresize(vm_id, 0, "8")
    assert one.vm.detach(vm_id, 0) == vm_id
    gone = running_on(daemon, vm_id, 0)
    assert "DISK" not in gone.TEMPLATE
    assert actions(gone) == [21, 29, 22, 0]


def test_nics_are_attached_and_detached(daemon: Daemon, vm_id: int) -> None:
    one = daemon.one
    assert one.vm.attachnic(vm_id, {"TEMPLATE": {"NIC": {"BRIDGE": "br0", "IP": "192.0.2.9"}}}) == vm_id
    nic = running_on(daemon, vm_id, 0).TEMPLATE["NIC"]
    assert (nic["NIC_ID"], nic["BRIDGE"], nic["IP"]) == ("0", "br0", "192.0.2.9")
    assert nic["MAC"].startswith("02:00:")
    assert one.vm.detachnic(vm_id, 0) == vm_id
    assert "NIC" not in running_on(daemon, vm_id, 0).TEMPLATE


def test_a_vm_gets_another_size_and_its_host_counts_it(daemon: Daemon, vm_id: int) -> None:
    one = daemon.one
    one.vm.action("poweroff-hard", vm_id)
    wait_for_state(daemon, vm_id, POWEROFF)
    assert one.vm.resize(vm_id, {"CPU": "2", "MEMORY": "512"}, True) == vm_id
    template = one.vm.info(vm_id).TEMPLATE
    assert (template["CPU"], template["MEMORY"]) == ("2", "512")
    assert capacity(daemon) == [(200, 512), (0, 0)]
    with pytest.raises(pyone.OneActionException, match="Not enough capacity on host 0"):
        one.vm.resize(vm_id, {"MEMORY": "99999999"}, True)
    with pytest.raises(pyone.OneInternalException, match="MEMORY must be a whole number"):
        one.vm.resize(vm_id, 'MEMORY="lots"', False)


def test_snapshots_of_a_vm_are_taken_gone_back_to_and_removed(daemon: Daemon, vm_id: int) -> None:
    one = daemon.one
    first = one.vm.snapshotcreate(vm_id, "before")
    running_on(daemon, vm_id, 0)
    second = one.vm.snapshotcreate(vm_id, "")
    taken = running_on(daemon, vm_id, 0).TEMPLATE["SNAPSHOT"]
    assert (first, second) == (0, 1)
    assert [(each["SNAPSHOT_ID"], each["NAME"], each["HYPERVISOR_ID"]) for each in taken] == [
        ("0", "before", "snap-0"),
        ("1", "snapshot-1", "snap-1"),
    ]
    assert one.vm.snapshotrevert(vm_id, first) == vm_id
    running_on(daemon, vm_id, 0)
    assert one.vm.snapshotdelete(vm_id, second) == vm_id
    [left] = running_on(daemon, vm_id, 0).TEMPLATE["SNAPSHOT"]
    assert left["SNAPSHOT_ID"] == "0"


def disk_snapshots(vm: Any) -> list[tuple[int, str, int, str | None]]:
    """Id, name, parent and ACTIVE of each snapshot of disk 0."""
    [tree] = vm.SNAPSHOTS
    assert tree.DISK_ID == 0
    return [(each.ID, each.NAME, each.PARENT, each.ACTIVE) for each in tree.SNAPSHOT]


def test_snapshots_of_a_disk_are_taken_gone_back_to_renamed_and_removed(daemon: Daemon, vm_id: int) -> None:
    one = daemon.one
    image = one.image.allocate('NAME="data"\nTYPE="DATABLOCK"\nSIZE="16"\nFORMAT="qcow2"', 1)
    until(lambda: int(one.image.info(image).STATE) == 1, what="the image")
    one.vm.action("poweroff-hard", vm_id)
    wait_for_state(daemon, vm_id, POWEROFF)
    one.vm.attach(vm_id, f'DISK=[IMAGE_ID="{image}"]')
    wait_for_state(daemon, vm_id, POWEROFF)
    taken = []
    for name in ("clean", "tried"):
        taken.append(one.vm.disksnapshotcreate(vm_id, 0, name))
        wait_for_state(daemon, vm_id, POWEROFF)
    assert taken == [0, 1]
    assert disk_snapshots(one.vm.info(vm_id)) == [(0, "clean", -1, None), (1, "tried", 0, "YES")]
    assert one.vm.disksnapshotrename(vm_id, 0, 1, "worse") == vm_id
    with pytest.raises(pyone.OneActionException, match="has children"):
        one.vm.disksnapshotdelete(vm_id, 0, 0)
    with pytest.raises(pyone.OneActionException, match="is the active one"):
        one.vm.disksnapshotdelete(vm_id, 0, 1)
    assert one.vm.disksnapshotrevert(vm_id, 0, 0) == vm_id
    assert disk_snapshots(wait_for_state(daemon, vm_id, POWEROFF)) == [(0, "clean", -1, "YES"), (1, "worse", 0, None)]
    assert daemon.done("onevm", "disk-snapshot-delete", str(vm_id), "0", "worse") == ""
    assert disk_snapshots(wait_for_state(daemon, vm_id, POWEROFF)) == [(0, "clean", -1, "YES")]
    listed = daemon.done("onevm", "disk-snapshot-list", "web", "0", "--csv", "-l", "AC,ID,SIZE,NAME")
    assert listed == "AC,ID,SIZE,NAME\n=>,0,16M,clean\n"


def test_what_cannot_be_is_the_exception_that_pyone_has_for_it(daemon: Daemon, vm_id: int) -> None:
    one = daemon.one
    with pytest.raises(pyone.OneNoExistsException, match=r"Error getting virtual machine \[9999\]"):
        one.vm.attach(9999, "DISK=[TYPE=fs,SIZE=16]")
    with pytest.raises(pyone.OneNoExistsException, match=r"Error getting image \[9999\]"):
        one.vm.attach(vm_id, 'DISK=[IMAGE_ID="9999"]')
    with pytest.raises(pyone.OneInternalException, match="exactly one DISK"):
        one.vm.attach(vm_id, 'CPU="1"')
    with pytest.raises(pyone.OneActionException, match=f"VM {vm_id} has no disk 7"):
        one.vm.detach(vm_id, 7)
    with pytest.raises(pyone.OneActionException, match=f"VM {vm_id} has no NIC 7"):
        one.vm.detachnic(vm_id, 7)
    with pytest.raises(pyone.OneActionException, match=f"VM {vm_id} has no snapshot 7"):
        one.vm.snapshotrevert(vm_id, 7)
    with pytest.raises(pyone.OneActionException, match="not available for state RUNNING"):
        one.vm.disksnapshotrevert(vm_id, 0, 0)
    with pytest.raises(pyone.OneActionException, match="already running on host"):
        one.vm.migrate(vm_id, 0, True, False, -1, 0)
    with pytest.raises(pyone.OneActionException, match="type"):
        one.vm.migrate(vm_id, 1, False, False, -1, 9)


def test_onevm_does_the_same(daemon: Daemon, vm_id: int) -> None:
    vm = str(vm_id)
    assert daemon.done("onevm", "disk-attach", vm, "--size", "16m", "--format", "qcow2", "-t", "vda") == ""
    running_on(daemon, vm_id, 0)
    assert daemon.done("onevm", "nic-attach", vm, "--bridge", "br0", "-v") == f"VM {vm}: Attaching NIC\n"
    running_on(daemon, vm_id, 0)
    assert daemon.done("onevm", "snapshot-create", vm, "before the upgrade", "-v").endswith(f"VM {vm}: snapshot 0\n")
    running_on(daemon, vm_id, 0)
    assert daemon.done("onevm", "snapshot-list", vm, "--csv", "-l", "ID,NAME,HYPERVISOR_ID") == (
        "ID,NAME,HYPERVISOR_ID\n0,before the upgrade,snap-0\n"
    )
    daemon.done("onevm", "snapshot-delete", vm, "before the upgrade")
    running_on(daemon, vm_id, 0)
    daemon.done("onevm", "disk-resize", vm, "0", "1g")
    running_on(daemon, vm_id, 0)
    daemon.done("onevm", "migrate", vm, "there", "--live")
    running_on(daemon, vm_id, 1)
    daemon.done("onevm", "suspend", vm)
    wait_for_state(daemon, vm_id, SUSPENDED)
    shown = daemon.done("onevm", "show", vm)
    assert "STATE               : SUSPENDED\n" in shown
    assert [line.split()[4] for line in shown.partition("PROLOG\n")[2].splitlines()[:5]] == [
        "disk-attach",
        "nic-attach",
        "disk-resize",
        "live-migrate",
        "suspend",
    ]
    assert daemon.refused("onevm", "snapshot-create", vm) == (
        '[one.vm.snapshotcreate] Error performing action "snapshot-create": '
        "This action is not available for state SUSPENDED\n"
    )
    assert daemon.refused("onevm", "disk-detach", vm, "vda") == (
        "A disk is named by its number, not 'vda'; 'onevm show' lists them.\n"
    )
