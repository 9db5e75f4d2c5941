"""The changes to a VM's devices, snapshots and size, as a table by OpenNebula's name of the action.

Each has three ends: it begins (the record shows what is under way: ATTACH, ACTIVE, RESIZE, DISK_SNAPSHOT_ACTIVE), is
complete, or is undone.  Whoever asks has checked that the disk, NIC or snapshot is there; an end that finds it gone
leaves the record as it is.  Undoing an attachment removes the device, undoing a detachment keeps it: the operation, not
the state, says which it was.  Ids of snapshots are not used again, not even those of snapshots that never came to be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from holdfast.model.snapshot import DiskSnapshot, DiskSnapshots
from holdfast.model.template import Section, Template
from holdfast.model.vm import NO_OPERATION, Operation, Vm

Values = Mapping[str, str]
Begin = Callable[[Vm, Operation], Vm]
End = Callable[[Vm, Operation, Values], Vm]
Edit = Callable[[Section], Values]

SIZES = ("CPU", "VCPU", "MEMORY")
"""The attributes that a resize changes; ``OLD_<name>`` holds what was before, empty when it was not given."""


@dataclass(frozen=True, slots=True)
class Course:
    """What an operation does to the VM's record at its beginning and at its two possible ends."""

    begin: Begin
    complete: End
    undo: End


def begin(vm: Vm, operation: Operation) -> Vm:
    """The VM with the operation under way."""
    return replace(COURSES[operation.action].begin(vm, operation), operation=operation)


def complete(vm: Vm, values: Values) -> Vm:
    """The VM after its operation; ``values`` is what the driver's answer says besides."""
    return replace(COURSES[vm.operation.action].complete(vm, vm.operation, values), operation=NO_OPERATION)


def undo(vm: Vm) -> Vm:
    """The VM as if its operation had not been asked for."""
    return replace(COURSES[vm.operation.action].undo(vm, vm.operation, {}), operation=NO_OPERATION)


def _edited(vm: Vm, name: str, oid: int, edit: Edit) -> Vm:
    """The VM with one DISK, NIC or SNAPSHOT changed."""
    pairs = (
        (key, edit(value) if key == name and _is(value, name, oid) and isinstance(value, Section) else value)
        for key, value in vm.template
    )
    return replace(vm, template=Template(pairs))


def _without(vm: Vm, name: str, oid: int) -> Vm:
    pairs = ((key, value) for key, value in vm.template if key != name or not _is(value, name, oid))
    return replace(vm, template=Template(pairs))


def _is(value: str | Section, name: str, oid: int) -> bool:
    return isinstance(value, Section) and value.get(f"{name}_ID") == str(oid)


def _with(**marks: str) -> Edit:
    return lambda section: {**section, **marks}


def _but(*names: str) -> Edit:
    return lambda section: {name: value for name, value in section.items() if name not in names}


def _added(vm: Vm, name: str, section: Values) -> Vm:
    sections = (*vm.template.sections(name), section)
    return replace(vm, template=vm.template.with_sections(name, sections))


def _same(vm: Vm, operation: Operation, values: Values | None = None) -> Vm:
    return vm


# --- disks and NICs


def _attachment(name: str) -> Course:
    def attach(vm: Vm, operation: Operation) -> Vm:
        return _added(vm, name, {**operation.values, f"{name}_ID": str(operation.item), "ATTACH": "YES"})

    return Course(attach, _unmark(name, "ATTACH"), _remove(name))


def _detachment(name: str) -> Course:
    return Course(_mark(name, ATTACH="YES"), _remove(name), _unmark(name, "ATTACH"))


def _mark(name: str, **marks: str) -> Begin:
    return lambda vm, operation: _edited(vm, name, operation.item, _with(**marks))


def _unmark(name: str, *marks: str) -> End:
    return lambda vm, operation, values: _edited(vm, name, operation.item, _but(*marks))


def _remove(name: str) -> End:
    def remove(vm: Vm, operation: Operation, values: Values) -> Vm:
        left = _without(vm, name, operation.item)
        if name != "DISK":
            return left
        return replace(left, snapshots=tuple(tree for tree in vm.snapshots if tree.disk_id != operation.item))

    return remove


# --- system snapshots


def _begin_snapshot(vm: Vm, operation: Operation) -> Vm:
    section = {
        "ACTION": "CREATE",
        "ACTIVE": "YES",
        "HYPERVISOR_ID": "",
        "NAME": operation.values.get("NAME", ""),
        "SNAPSHOT_ID": str(operation.item),
        "SYSTEM_DISK_SIZE": operation.values.get("SYSTEM_DISK_SIZE", "0"),
        "TIME": operation.values.get("TIME", "0"),
    }
    return _added(vm, "SNAPSHOT", section)


def _keep_snapshot(vm: Vm, operation: Operation, values: Values) -> Vm:
    """The hypervisor calls it ``snap-<id>``, whether its answer was heard or an operator speaks for it."""
    hypervisor_id = values.get("HYPERVISOR_ID") or f"snap-{operation.item}"
    named = _edited(vm, "SNAPSHOT", operation.item, _with(HYPERVISOR_ID=hypervisor_id))
    return _edited(named, "SNAPSHOT", operation.item, _but("ACTION", "ACTIVE"))


_UNMARK_SNAPSHOT = _unmark("SNAPSHOT", "ACTION", "ACTIVE")


# --- disk snapshots


def _with_tree(vm: Vm, tree: DiskSnapshots) -> Vm:
    """The VM with this tree in its place, and the disk with the size of its snapshots."""
    others = tuple(other for other in vm.snapshots if other.disk_id != tree.disk_id)
    ordered = tuple(sorted((*others, tree), key=lambda each: each.disk_id))
    total_mb = sum(snapshot.size_mb for snapshot in tree.snapshots)
    changed = replace(vm, snapshots=ordered)
    return _edited(changed, "DISK", tree.disk_id, _with(DISK_SNAPSHOT_TOTAL_SIZE=str(total_mb)))


def _mark_disk(vm: Vm, operation: Operation) -> Vm:
    return _edited(vm, "DISK", operation.disk_id, _with(DISK_SNAPSHOT_ACTIVE="YES"))


def _unmark_disk(vm: Vm, operation: Operation, values: Values | None = None) -> Vm:
    return _edited(vm, "DISK", operation.disk_id, _but("DISK_SNAPSHOT_ACTIVE"))


def _begin_disk_snapshot(vm: Vm, operation: Operation) -> Vm:
    tree = vm.snapshots_of(operation.disk_id)
    values = operation.values
    snapshot = DiskSnapshot(
        operation.item,
        values.get("NAME", ""),
        int(values.get("DATE") or 0),
        tree.current_base,
        int(values.get("SIZE") or 0),
    )
    grown = replace(tree, snapshots=(*tree.snapshots, snapshot), next_oid=max(tree.next_oid, operation.item + 1))
    return _mark_disk(_with_tree(vm, grown), operation)


def _base_on_snapshot(vm: Vm, operation: Operation, values: Values) -> Vm:
    tree = vm.snapshots_of(operation.disk_id)
    based = _with_tree(vm, tree.with_active(operation.item)) if tree.find(operation.item) else vm
    return _unmark_disk(based, operation)


def _drop_disk_snapshot(vm: Vm, operation: Operation, values: Values) -> Vm:
    tree = vm.snapshots_of(operation.disk_id)
    kept = tuple(snapshot for snapshot in tree.snapshots if snapshot.oid != operation.item)
    return _unmark_disk(_with_tree(vm, replace(tree, snapshots=kept)), operation)


# --- sizes


def _begin_disk_resize(vm: Vm, operation: Operation) -> Vm:
    values = operation.values
    marks = {"SIZE": values["SIZE"], "SIZE_PREV": values["OLD_SIZE"], "RESIZE": "YES"}
    return _edited(vm, "DISK", operation.item, _with(**marks))


def _undo_disk_resize(vm: Vm, operation: Operation, values: Values) -> Vm:
    back = _edited(vm, "DISK", operation.item, _with(SIZE=operation.values["OLD_SIZE"]))
    return _unmark("DISK", "RESIZE", "SIZE_PREV")(back, operation, values)


def _begin_resize(vm: Vm, operation: Operation) -> Vm:
    return _sized(vm, {name: operation.values.get(name, "") for name in SIZES})


def _undo_resize(vm: Vm, operation: Operation, values: Values) -> Vm:
    return _sized(vm, {name: operation.values.get(f"OLD_{name}", "") for name in SIZES})


def _sized(vm: Vm, size: Values) -> Vm:
    """The VM of this size; what is empty is not given."""
    given = {name: value for name, value in size.items() if value}
    template = vm.template.without(*(name for name in size if name not in given)).replaced(given)
    return replace(vm, template=template)


NO_MARKS = Course(_same, _same, _same)

COURSES: dict[str, Course] = {
    NO_OPERATION.action: NO_MARKS,
    "disk-attach": _attachment("DISK"),
    "disk-detach": _detachment("DISK"),
    "nic-attach": _attachment("NIC"),
    "nic-detach": _detachment("NIC"),
    "snapshot-create": Course(_begin_snapshot, _keep_snapshot, _remove("SNAPSHOT")),
    "snapshot-revert": Course(_mark("SNAPSHOT", ACTION="REVERT", ACTIVE="YES"), _UNMARK_SNAPSHOT, _UNMARK_SNAPSHOT),
    "snapshot-delete": Course(_mark("SNAPSHOT", ACTION="DELETE", ACTIVE="YES"), _remove("SNAPSHOT"), _UNMARK_SNAPSHOT),
    "disk-snapshot-create": Course(_begin_disk_snapshot, _base_on_snapshot, _drop_disk_snapshot),
    "disk-snapshot-revert": Course(_mark_disk, _base_on_snapshot, _unmark_disk),
    "disk-snapshot-delete": Course(_mark_disk, _drop_disk_snapshot, _unmark_disk),
    "disk-resize": Course(_begin_disk_resize, _unmark("DISK", "RESIZE", "SIZE_PREV"), _undo_disk_resize),
    "resize": Course(_begin_resize, _same, _undo_resize),
    "disk-saveas": NO_MARKS,
    "backup": NO_MARKS,
    "restore": NO_MARKS,
    "updateconf": NO_MARKS,
}
"""Every operation by its action; none at all (an operator ends what is not under way) changes nothing."""
