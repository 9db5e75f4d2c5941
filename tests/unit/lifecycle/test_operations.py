"""Operations on devices, snapshots and sizes: how they begin, and their two ends."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.lifecycle import VmEvent
from holdfast.lifecycle.operations import COURSES, begin, complete, undo
from holdfast.model.snapshot import DiskSnapshot, DiskSnapshots
from holdfast.model.template import Section, Template
from holdfast.model.vm import NO_OPERATION, Operation, Vm
from holdfast.model.vm_states import LcmState, VmState

_FIRST = DiskSnapshot(0, "first", 100, -1, 512, active=True)
_SECOND = DiskSnapshot(2, "second", 200, 0, 512)
TREE = DiskSnapshots(0, (_FIRST, _SECOND), 3, 0)
"""Snapshot 1 has been deleted; the disk is based on 0."""
VM = Vm(
    7,
    0,
    0,
    "vm",
    VmState.ACTIVE,
    LcmState.RUNNING,
    Template(
        [
            ("CPU", "0.5"),
            ("MEMORY", "64"),
            ("DISK", {"DISK_ID": "0", "TARGET": "vda", "SIZE": "512", "DISK_SNAPSHOT_TOTAL_SIZE": "1024"}),
            ("DISK", {"DISK_ID": "1", "TARGET": "vdb", "SIZE": "10"}),
            ("NIC", {"NIC_ID": "0", "MAC": "02:00:00:00:07:00"}),
            ("SNAPSHOT", {"SNAPSHOT_ID": "4", "NAME": "before", "HYPERVISOR_ID": "snap-4", "TIME": "90"}),
            ("OS", {"ARCH": "x86_64"}),
        ]
    ),
    snapshots=(TREE,),
)
DISK_2 = {"IMAGE_ID": "3", "TARGET": "vdc", "SIZE": "20"}
NIC_1 = {"BRIDGE": "br0", "MAC": "02:00:00:00:07:01"}
ALL = {
    "disk-attach": Operation("disk-attach", 2, 2, DISK_2),
    "disk-detach": Operation("disk-detach", 1, 1),
    "nic-attach": Operation("nic-attach", 1, values=NIC_1),
    "nic-detach": Operation("nic-detach", 0),
    "snapshot-create": Operation("snapshot-create", 5, values={"NAME": "now", "TIME": "500"}),
    "snapshot-revert": Operation("snapshot-revert", 4),
    "snapshot-delete": Operation("snapshot-delete", 4),
    "disk-snapshot-create": Operation("disk-snapshot-create", 3, 0, {"NAME": "third", "SIZE": "512", "DATE": "300"}),
    "disk-snapshot-revert": Operation("disk-snapshot-revert", 2, 0),
    "disk-snapshot-delete": Operation("disk-snapshot-delete", 2, 0),
    "disk-resize": Operation("disk-resize", 1, 1, {"SIZE": "30", "OLD_SIZE": "10"}),
    "resize": Operation(
        "resize", values={"CPU": "2", "VCPU": "2", "MEMORY": "128", "OLD_CPU": "0.5", "OLD_MEMORY": "64"}
    ),
    "disk-saveas": Operation("disk-saveas", 0, 0),
    "backup": Operation("backup"),
    "restore": Operation("restore"),
    "updateconf": Operation("updateconf"),
}
MARKS = ("ATTACH", "ACTIVE", "ACTION", "DISK_SNAPSHOT_ACTIVE", "RESIZE", "SIZE_PREV")


def device(vm: Vm, name: str, oid: int) -> Section:
    """The DISK, NIC or SNAPSHOT with this id, empty when there is none."""
    return next((each for each in vm.template.sections(name) if each[f"{name}_ID"] == str(oid)), Section())


def marks(vm: Vm) -> set[str]:
    """All marks of work under way."""
    sections = [value for _, value in vm.template if isinstance(value, Section)]
    return {name for section in sections for name in section if name in MARKS}


def done(action: str, **values: str) -> Vm:
    """The VM after the operation has been completed."""
    return complete(begin(VM, ALL[action]), values)


def test_every_operation_that_users_can_ask_for_has_a_course() -> None:
    assert set(COURSES) == {"", *ALL}
    asked = {event.value for event in VmEvent}
    assert set(ALL) <= asked


@pytest.mark.parametrize("action", ALL)
def test_the_operation_is_known_while_it_is_under_way_and_forgotten_at_its_end(action: str) -> None:
    under_way = begin(VM, ALL[action])
    assert under_way.operation == ALL[action]
    assert complete(under_way, {}).operation is NO_OPERATION
    assert undo(under_way).operation is NO_OPERATION


@pytest.mark.parametrize("action", ALL)
@pytest.mark.parametrize("end", [lambda vm: complete(vm, {}), undo])
def test_no_end_leaves_a_mark(action: str, end: Callable[[Vm], Vm]) -> None:
    assert marks(end(begin(VM, ALL[action]))) == set()


@pytest.mark.parametrize("action", ALL)
def test_an_operation_that_is_undone_leaves_the_machine_as_it_was(action: str) -> None:
    back = undo(begin(VM, ALL[action]))
    assert sorted(back.template.pairs, key=str) == sorted(VM.template.pairs, key=str)
    assert [tree.snapshots for tree in back.snapshots] == [tree.snapshots for tree in VM.snapshots]
    assert [tree.current_base for tree in back.snapshots] == [0]


@pytest.mark.parametrize("action", ALL)
def test_what_the_operation_is_not_about_stays(action: str) -> None:
    for vm in (begin(VM, ALL[action]), done(action)):
        assert vm.template.section("OS") == {"ARCH": "x86_64"}
        assert device(vm, "DISK", 0)["TARGET"] == "vda"
        assert (vm.oid, vm.name, vm.position) == (VM.oid, VM.name, VM.position)


def test_ending_what_is_not_under_way_changes_nothing() -> None:
    assert complete(VM, {"HYPERVISOR_ID": "x"}) == VM
    assert undo(VM) == VM


# --- devices


@pytest.mark.parametrize(("name", "oid", "values"), [("DISK", 2, DISK_2), ("NIC", 1, NIC_1)])
def test_an_attached_device_is_there_from_the_beginning_and_marked_until_it_is_plugged_in(
    name: str, oid: int, values: dict[str, str]
) -> None:
    action = f"{name.lower()}-attach"
    under_way = begin(VM, ALL[action])
    assert device(under_way, name, oid) == {**values, f"{name}_ID": str(oid), "ATTACH": "YES"}
    assert device(complete(under_way, {}), name, oid) == {**values, f"{name}_ID": str(oid)}
    assert not device(undo(under_way), name, oid)


@pytest.mark.parametrize(("name", "oid"), [("DISK", 1), ("NIC", 0)])
def test_a_detached_device_stays_until_it_is_unplugged_and_for_good_if_that_fails(name: str, oid: int) -> None:
    before = device(VM, name, oid)
    under_way = begin(VM, ALL[f"{name.lower()}-detach"])
    assert device(under_way, name, oid) == {**before, "ATTACH": "YES"}
    assert not device(complete(under_way, {}), name, oid)
    assert device(undo(under_way), name, oid) == before


def test_a_disk_that_is_detached_takes_its_snapshots_with_it_but_not_those_of_others() -> None:
    vm = replace(VM, snapshots=(TREE, DiskSnapshots(1, (), 2, -1)))
    assert complete(begin(vm, ALL["disk-detach"]), {}).snapshots == (TREE,)
    assert undo(begin(vm, ALL["disk-detach"])).snapshots == vm.snapshots


def test_devices_of_one_kind_stay_together() -> None:
    names = [name for name, _ in begin(VM, ALL["disk-attach"]).template if name in ("DISK", "NIC")]
    assert names in (["NIC", "DISK", "DISK", "DISK"], ["DISK", "DISK", "DISK", "NIC"])


# --- system snapshots


def test_a_snapshot_is_listed_with_all_that_opennebula_lists() -> None:
    snapshot = device(begin(VM, ALL["snapshot-create"]), "SNAPSHOT", 5)
    assert snapshot == {
        "ACTION": "CREATE",
        "ACTIVE": "YES",
        "HYPERVISOR_ID": "",
        "NAME": "now",
        "SNAPSHOT_ID": "5",
        "SYSTEM_DISK_SIZE": "0",
        "TIME": "500",
    }


@pytest.mark.parametrize(("said", "known_as"), [({"HYPERVISOR_ID": "libvirt-5"}, "libvirt-5"), ({}, "snap-5")])
def test_a_snapshot_is_known_by_what_the_hypervisor_calls_it(said: dict[str, str], known_as: str) -> None:
    snapshot = device(done("snapshot-create", **said), "SNAPSHOT", 5)
    assert (snapshot["HYPERVISOR_ID"], snapshot["NAME"]) == (known_as, "now")


@pytest.mark.parametrize(("action", "mark"), [("snapshot-revert", "REVERT"), ("snapshot-delete", "DELETE")])
def test_work_on_a_snapshot_is_marked_in_it(action: str, mark: str) -> None:
    snapshot = device(begin(VM, ALL[action]), "SNAPSHOT", 4)
    assert (snapshot["ACTIVE"], snapshot["ACTION"]) == ("YES", mark)


def test_a_deleted_snapshot_is_gone_and_a_reverted_one_is_not() -> None:
    assert not device(done("snapshot-delete"), "SNAPSHOT", 4)
    assert device(done("snapshot-revert"), "SNAPSHOT", 4) == device(VM, "SNAPSHOT", 4)


# --- disk snapshots


def test_a_new_disk_snapshot_is_based_on_the_current_one_and_becomes_it_when_it_is_done() -> None:
    under_way = begin(VM, ALL["disk-snapshot-create"])
    tree = under_way.snapshots_of(0)
    assert tree.find(3) == DiskSnapshot(3, "third", 300, 0, 512)
    assert (tree.current_base, tree.next_oid) == (0, 4)
    assert device(under_way, "DISK", 0)["DISK_SNAPSHOT_ACTIVE"] == "YES"
    tree = complete(under_way, {}).snapshots_of(0)
    assert tree.current_base == 3
    assert [snapshot.oid for snapshot in tree.snapshots if snapshot.active] == [3]
    assert tree.children_of(0) == (2, 3)


def test_the_first_snapshot_of_a_disk_has_no_parent() -> None:
    vm = begin(replace(VM, snapshots=()), Operation("disk-snapshot-create", 0, 1, {"NAME": "x", "SIZE": "10"}))
    tree = complete(vm, {}).snapshots_of(1)
    assert tree.snapshots == (DiskSnapshot(0, "x", 0, -1, 10, active=True),)
    assert complete(vm, {}).template.sections("DISK")[1]["DISK_SNAPSHOT_TOTAL_SIZE"] == "10"


def test_a_snapshot_that_never_came_to_be_keeps_its_id_to_itself() -> None:
    tree = undo(begin(VM, ALL["disk-snapshot-create"])).snapshots_of(0)
    assert (tree.find(3), tree.next_oid) == (None, 4)


def test_a_disk_that_is_reverted_is_based_on_that_snapshot() -> None:
    assert begin(VM, ALL["disk-snapshot-revert"]).snapshots_of(0).current_base == 0
    tree = done("disk-snapshot-revert").snapshots_of(0)
    assert (tree.current_base, tree.find(2)) == (2, replace(_SECOND, active=True))
    assert undo(begin(VM, ALL["disk-snapshot-revert"])).snapshots_of(0) == TREE


def test_a_disk_weighs_what_its_snapshots_weigh() -> None:
    assert device(done("disk-snapshot-create"), "DISK", 0)["DISK_SNAPSHOT_TOTAL_SIZE"] == "1536"
    assert device(done("disk-snapshot-delete"), "DISK", 0)["DISK_SNAPSHOT_TOTAL_SIZE"] == "512"


def test_a_deleted_disk_snapshot_leaves_the_others_as_they_were() -> None:
    tree = done("disk-snapshot-delete").snapshots_of(0)
    assert (tree.snapshots, tree.current_base, tree.next_oid) == ((_FIRST,), 0, 3)


# --- sizes


def test_a_disk_shows_its_new_size_and_the_old_one_while_it_grows() -> None:
    disk = device(begin(VM, ALL["disk-resize"]), "DISK", 1)
    assert (disk["SIZE"], disk["SIZE_PREV"], disk["RESIZE"]) == ("30", "10", "YES")
    assert device(done("disk-resize"), "DISK", 1)["SIZE"] == "30"
    assert device(undo(begin(VM, ALL["disk-resize"])), "DISK", 1)["SIZE"] == "10"


def test_a_vm_has_its_new_size_from_the_beginning_and_the_old_one_again_if_it_fails() -> None:
    under_way = begin(VM, ALL["resize"])
    assert (under_way.cpu_percent, under_way.memory_kb, under_way.template.get("VCPU")) == (200, 131072, "2")
    assert done("resize").template == under_way.template
    back = undo(under_way)
    assert (back.cpu_percent, back.memory_kb, "VCPU" in back.template) == (50, 65536, False)


# --- any order


@given(st.lists(st.tuples(st.sampled_from(sorted(ALL)), st.booleans()), max_size=12))
def test_whatever_order_they_come_in_no_mark_stays_and_the_tree_stays_whole(story: list[tuple[str, bool]]) -> None:
    vm = VM
    for action, succeeds in story:
        operation = replace(ALL[action], item=fresh(vm, action))
        vm = complete(begin(vm, operation), {}) if succeeds else undo(begin(vm, operation))
        tree = vm.snapshots_of(0)
        ids = [snapshot.oid for snapshot in tree.snapshots]
        assert marks(vm) == set()
        assert len(ids) == len(set(ids))
        assert all(oid < tree.next_oid for oid in ids)
        assert [snapshot.oid for snapshot in tree.snapshots if snapshot.active] in ([tree.current_base], [])
        devices = [value[f"{name}_ID"] for name, value in vm.template if name == "DISK" and isinstance(value, Section)]
        assert len(devices) == len(set(devices))


def fresh(vm: Vm, action: str) -> int:
    """An id that the action may use now: a new one for what is made, the usual one for the rest."""
    if action == "disk-snapshot-create":
        return vm.snapshots_of(0).next_oid
    if action.endswith(("attach", "snapshot-create")):
        name = {"disk-attach": "DISK", "nic-attach": "NIC"}.get(action, "SNAPSHOT")
        return 1 + max((int(each[f"{name}_ID"]) for each in vm.template.sections(name)), default=4)
    return ALL[action].item
