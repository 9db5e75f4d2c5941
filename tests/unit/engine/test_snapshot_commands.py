"""Snapshots of whole VMs and of single disks."""

import pytest

from holdfast.engine import commands as c
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind, HistoryAction
from holdfast.model.errors import ActionError, NoSuchObject
from holdfast.model.snapshot import DiskSnapshot
from holdfast.model.template import Section
from holdfast.model.vm_states import LcmState, VmState
from tests.unit.engine.rig import Rig

DISKS = "DISK=[IMAGE_ID=0]\nDISK=[TYPE=fs,SIZE=10]\nDISK=[IMAGE_ID=1]\nDISK=[IMAGE_ID=2]"
"""qcow2, volatile, CD-ROM, raw."""


@pytest.fixture
def rig() -> Rig:
    """One host and images: qcow2 (0), a CD-ROM (1), raw (2)."""
    rig = Rig(hosts=1)
    for text, form in (("NAME=a", "qcow2"), ("NAME=b\nTYPE=CDROM", "raw"), ("NAME=c", "raw")):
        rig.call(c.AllocateImage(text + "\nPATH=/tmp/x\nDEV_PREFIX=vd", 1))
        rig.answer(EffectKind.IMAGE_CREATE, SIZE="512", FORMAT=form)
    return rig


def running(rig: Rig) -> int:
    """A VM that runs, with a disk of each kind."""
    oid = rig.call(c.AllocateVm(f"CPU=0.1\nMEMORY=64\n{DISKS}", hold=True))
    rig.call(c.DeployVm(oid, 0))
    rig.settle()
    return oid


def off(rig: Rig, action: str = "poweroff-hard") -> int:
    """A VM that does not run."""
    oid = running(rig)
    rig.call(c.VmAction(oid, action))
    rig.settle()
    return oid


def snapshots(rig: Rig, oid: int) -> dict[str, Section]:
    """The VM's system snapshots by id."""
    return {snapshot["SNAPSHOT_ID"]: snapshot for snapshot in rig.vm(oid).template.sections("SNAPSHOT")}


# --- of whole VMs


def test_a_snapshot_of_a_vm_is_taken_by_its_hypervisor(rig: Rig) -> None:
    vm = running(rig)
    assert rig.call(c.CreateSnapshot(vm, "before")) == 0
    order = rig.order(EffectKind.VMM_SNAPSHOT_CREATE)
    assert (order.host_id, order.args["ITEM"], order.args["NAME"]) == (0, "0", "before")
    assert rig.vm(vm).lcm_state is LcmState.HOTPLUG_SNAPSHOT
    assert snapshots(rig, vm)["0"]["ACTION"] == "CREATE"
    rig.answer(EffectKind.VMM_SNAPSHOT_CREATE, HYPERVISOR_ID="snap-0")
    assert rig.vm(vm).lcm_state is LcmState.RUNNING
    assert snapshots(rig, vm)["0"] == {
        "HYPERVISOR_ID": "snap-0",
        "NAME": "before",
        "SNAPSHOT_ID": "0",
        "SYSTEM_DISK_SIZE": str(512 * 3 + 10),
        "TIME": "1000000",
    }


def test_a_snapshot_without_a_name_gets_one(rig: Rig) -> None:
    vm = running(rig)
    rig.call(c.CreateSnapshot(vm))
    rig.settle()
    assert snapshots(rig, vm)["0"]["NAME"] == "snapshot-0"


def test_ids_of_snapshots_are_not_used_again(rig: Rig) -> None:
    vm, other = running(rig), running(rig)
    assert rig.call(c.CreateSnapshot(vm)) == 0
    rig.answer(EffectKind.VMM_SNAPSHOT_CREATE, ok=False, certain=False)
    assert snapshots(rig, vm) == {}
    assert rig.call(c.CreateSnapshot(vm)) == 1
    rig.settle()
    rig.call(c.DeleteSnapshot(vm, 1))
    rig.settle()
    rig.restart()
    assert rig.call(c.CreateSnapshot(vm)) == 2
    assert rig.call(c.CreateSnapshot(other)) == 0


def test_a_refused_snapshot_takes_no_id(rig: Rig) -> None:
    vm = running(rig)
    with pytest.raises(ActionError, match="200 characters"):
        rig.call(c.CreateSnapshot(vm, "x" * 200))
    assert rig.call(c.CreateSnapshot(vm)) == 0


def test_a_vm_goes_back_to_a_snapshot_and_keeps_it(rig: Rig) -> None:
    vm = running(rig)
    rig.call(c.CreateSnapshot(vm))
    rig.settle()
    before = rig.vm(vm).template
    rig.call(c.RevertSnapshot(vm, 0))
    assert rig.order(EffectKind.VMM_SNAPSHOT_REVERT).args["HYPERVISOR_ID"] == "snap-0"
    rig.settle()
    assert rig.vm(vm).template == before


@pytest.mark.parametrize(("ok", "left"), [(True, []), (False, ["0"])])
def test_a_deleted_snapshot_is_gone_when_the_hypervisor_says_so(rig: Rig, ok: bool, left: list[str]) -> None:
    vm = running(rig)
    rig.call(c.CreateSnapshot(vm))
    rig.settle()
    rig.call(c.DeleteSnapshot(vm, 0))
    rig.answer(EffectKind.VMM_SNAPSHOT_DELETE, ok=ok)
    assert list(snapshots(rig, vm)) == left
    assert all("ACTIVE" not in snapshot for snapshot in snapshots(rig, vm).values())


def test_a_snapshot_that_does_not_exist_is_named(rig: Rig) -> None:
    vm = running(rig)
    for command in (c.RevertSnapshot(vm, 3), c.DeleteSnapshot(vm, 3)):
        with pytest.raises(ActionError, match="has no snapshot 3; its snapshots: none"):
            rig.call(command)
    assert not rig.orders


def test_only_a_running_vm_has_a_memory_to_snapshot(rig: Rig) -> None:
    vm = off(rig)
    for command in (c.CreateSnapshot(vm), c.RevertSnapshot(vm, 0), c.DeleteSnapshot(vm, 0)):
        with pytest.raises(ActionError, match="not available for state POWEROFF"):
            rig.call(command)


# --- of disks


def test_a_disk_of_a_running_vm_is_snapshotted_by_its_hypervisor(rig: Rig) -> None:
    vm = running(rig)
    assert rig.call(c.CreateDiskSnapshot(vm, 0, "first")) == 0
    order = rig.order(EffectKind.VMM_DISK_SNAPSHOT_CREATE)
    assert (order.args["DISK_ID"], order.args["ITEM"]) == ("0", "0")
    assert rig.vm(vm).lcm_state is LcmState.DISK_SNAPSHOT
    rig.answer(EffectKind.VMM_DISK_SNAPSHOT_CREATE)
    tree = rig.vm(vm).snapshots_of(0)
    assert tree.snapshots == (DiskSnapshot(0, "first", 1_000_000, -1, 512, active=True),)
    assert (tree.current_base, rig.vm(vm).lcm_state) == (0, LcmState.RUNNING)
    assert rig.vm(vm).history[-2].action is HistoryAction.DISK_SNAPSHOT_CREATE


@pytest.mark.parametrize(
    ("action", "meanwhile", "home"),
    [
        ("poweroff-hard", LcmState.DISK_SNAPSHOT_POWEROFF, VmState.POWEROFF),
        ("suspend", LcmState.DISK_SNAPSHOT_SUSPENDED, VmState.SUSPENDED),
    ],
)
def test_a_disk_of_a_vm_that_does_not_run_is_snapshotted_where_it_lies(
    rig: Rig, action: str, meanwhile: LcmState, home: VmState
) -> None:
    vm = off(rig, action)
    rig.call(c.CreateDiskSnapshot(vm, 0))
    assert rig.vm(vm).lcm_state is meanwhile
    rig.answer(EffectKind.TM_SNAPSHOT_CREATE)
    assert (rig.vm(vm).state, rig.vm(vm).snapshots_of(0).current_base) == (home, 0)


def test_a_snapshot_that_failed_is_not_listed_and_its_id_is_lost(rig: Rig) -> None:
    vm = off(rig)
    rig.call(c.CreateDiskSnapshot(vm, 0))
    rig.answer(EffectKind.TM_SNAPSHOT_CREATE, ok=False, message="disk full")
    assert rig.vm(vm).snapshots_of(0).snapshots == ()
    assert rig.vm(vm).user_template.get("ERROR").endswith(": disk full")
    assert rig.call(c.CreateDiskSnapshot(vm, 0)) == 1


def test_snapshots_make_a_tree_of_which_only_leaves_that_nothing_stands_on_are_deleted(rig: Rig) -> None:
    vm = off(rig)
    for name in ("a", "b"):
        rig.call(c.CreateDiskSnapshot(vm, 0, name))
        rig.settle()
    with pytest.raises(ActionError, match=r"Snapshot 0 of disk 0 of VM 0 has children \(1\): delete them first"):
        rig.call(c.DeleteDiskSnapshot(vm, 0, 0))
    with pytest.raises(ActionError, match=r"Snapshot 1 .* is the active one.*revert to another snapshot first"):
        rig.call(c.DeleteDiskSnapshot(vm, 0, 1))
    rig.call(c.RevertDiskSnapshot(vm, 0, 0))
    assert rig.vm(vm).lcm_state is LcmState.DISK_SNAPSHOT_REVERT_POWEROFF
    rig.answer(EffectKind.TM_SNAPSHOT_REVERT)
    rig.call(c.DeleteDiskSnapshot(vm, 0, 1))
    rig.answer(EffectKind.TM_SNAPSHOT_DELETE)
    tree = rig.vm(vm).snapshots_of(0)
    assert ([snapshot.oid for snapshot in tree.snapshots], tree.current_base, tree.next_oid) == ([0], 0, 2)
    assert rig.vm(vm).state is VmState.POWEROFF


def test_a_running_disk_is_not_reverted_under_its_guest_but_an_old_snapshot_of_it_can_be_deleted(rig: Rig) -> None:
    vm = running(rig)
    for _ in range(2):
        rig.call(c.CreateDiskSnapshot(vm, 0))
        rig.settle()
    with pytest.raises(ActionError, match="not available for state RUNNING"):
        rig.call(c.RevertDiskSnapshot(vm, 0, 0))
    with pytest.raises(ActionError, match="has children"):
        rig.call(c.DeleteDiskSnapshot(vm, 0, 0))


def test_a_leaf_of_a_running_disk_is_deleted_where_it_lies(rig: Rig) -> None:
    vm = off(rig)
    for command in (c.CreateDiskSnapshot(vm, 0), c.CreateDiskSnapshot(vm, 0), c.RevertDiskSnapshot(vm, 0, 0)):
        rig.call(command)
        rig.settle()
    rig.call(c.VmAction(vm, "resume"))
    rig.settle()
    rig.call(c.DeleteDiskSnapshot(vm, 0, 1))
    assert (rig.vm(vm).lcm_state, rig.order(EffectKind.TM_SNAPSHOT_DELETE).host_id) == (
        LcmState.DISK_SNAPSHOT_DELETE,
        0,
    )
    rig.settle()
    assert [snapshot.oid for snapshot in rig.vm(vm).snapshots_of(0).snapshots] == [0]


@pytest.mark.parametrize("lost", [True, False])
def test_a_delete_or_revert_that_fails_leaves_the_tree_as_it_was(rig: Rig, lost: bool) -> None:
    vm = off(rig)
    for _ in range(2):
        rig.call(c.CreateDiskSnapshot(vm, 0))
        rig.settle()
    tree = rig.vm(vm).snapshots_of(0)
    rig.call(c.RevertDiskSnapshot(vm, 0, 0))
    rig.reply(rig.order(EffectKind.TM_SNAPSHOT_REVERT), Answer(False, "no", certain=not lost))
    assert rig.vm(vm).snapshots_of(0) == tree
    assert "DISK_SNAPSHOT_ACTIVE" not in rig.vm(vm).template.section("DISK")


@pytest.mark.parametrize(
    ("disk_id", "said"),
    [
        (1, "is volatile: only disks of images have snapshots"),
        (2, "is read-only"),
        (3, "has no snapshots while the VM runs.*power it off or suspend it first"),
        (9, "has no disk 9; its disks: 0, 1, 2, 3"),
    ],
)
def test_a_disk_without_snapshots_says_why(rig: Rig, disk_id: int, said: str) -> None:
    vm = running(rig)
    with pytest.raises(ActionError, match=said):
        rig.call(c.CreateDiskSnapshot(vm, disk_id, "x"))
    assert not rig.orders


def test_a_raw_disk_is_snapshotted_while_its_vm_is_off(rig: Rig) -> None:
    vm = off(rig)
    rig.call(c.CreateDiskSnapshot(vm, 3))
    rig.answer(EffectKind.TM_SNAPSHOT_CREATE)
    assert rig.vm(vm).snapshots_of(3).current_base == 0


def test_a_disk_snapshot_that_does_not_exist_is_named(rig: Rig) -> None:
    vm = off(rig)
    commands = (c.RevertDiskSnapshot(vm, 0, 7), c.DeleteDiskSnapshot(vm, 0, 7), c.RenameDiskSnapshot(vm, 0, 7, "x"))
    for command in commands:
        with pytest.raises(ActionError, match="Disk 0 of VM 0 has no snapshot 7; its snapshots: none"):
            rig.call(command)


def test_a_snapshot_is_renamed_whatever_the_vm_does(rig: Rig) -> None:
    vm = off(rig)
    rig.call(c.CreateDiskSnapshot(vm, 0, "old"))
    rig.call(c.RenameDiskSnapshot(vm, 0, 0, "new"))
    rig.settle()
    rig.call(c.RenameDiskSnapshot(vm, 0, 0, " "))
    assert [snapshot.name for snapshot in rig.vm(vm).snapshots_of(0).snapshots] == ["new"]
    with pytest.raises(ActionError, match="129 characters, at most 128"):
        rig.call(c.RenameDiskSnapshot(vm, 0, 0, "x" * 129))


def test_an_operator_may_vouch_for_a_snapshot_whose_driver_stays_silent(rig: Rig) -> None:
    vm = off(rig)
    rig.call(c.CreateDiskSnapshot(vm, 0))
    rig.call(c.RecoverVm(vm, 1))
    assert (rig.vm(vm).state, rig.vm(vm).snapshots_of(0).current_base) == (VmState.POWEROFF, 0)


def test_a_vm_that_is_made_anew_has_no_snapshots(rig: Rig) -> None:
    vm = running(rig)
    rig.call(c.CreateSnapshot(vm))
    rig.settle()
    rig.call(c.CreateDiskSnapshot(vm, 0))
    rig.settle()
    rig.call(c.RecoverVm(vm, 4))
    rig.settle(EffectKind.TM_PROLOG)
    assert (snapshots(rig, vm), rig.vm(vm).snapshots) == ({}, ())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a\nb", r"holds the control character '\\n' at position 2.*leave that character out"),
        ("\x1b[2J", "control character"),
        ("a\u2028b", "control character"),
        ("x" * 10_000, "has 10000 characters, at most 128 are allowed: choose a shorter one"),
    ],
)
def test_the_name_of_a_snapshot_is_one_short_line(rig: Rig, name: str, said: str) -> None:
    vm = running(rig)
    rig.call(c.CreateDiskSnapshot(vm, 0, "überprüft, 2. <Fassung>"))
    rig.settle()
    before = rig.vm(vm)
    for command in (
        c.CreateSnapshot(vm, name),
        c.CreateDiskSnapshot(vm, 0, name),
        c.RenameDiskSnapshot(vm, 0, 0, name),
    ):
        with pytest.raises(ActionError, match=said):
            rig.call(command)
    assert (rig.vm(vm), rig.orders) == (before, [])


def test_vms_that_do_not_exist_are_named(rig: Rig) -> None:
    whole = (c.CreateSnapshot(9), c.RevertSnapshot(9, 0), c.DeleteSnapshot(9, 0))
    disk = (c.CreateDiskSnapshot(9, 0), c.RevertDiskSnapshot(9, 0, 0), c.DeleteDiskSnapshot(9, 0, 0))
    for command in (*whole, *disk, c.RenameDiskSnapshot(9, 0, 0, "x")):
        with pytest.raises(NoSuchObject, match=r"Error getting virtual machine \[9\]"):
            rig.call(command)
