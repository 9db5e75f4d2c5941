"""What the tables say about the VM besides its history: capacity, RESCHED, marks, snapshots, sizes, images.

A phrase about something that Holdfast does not have (quotas, VNC ports, leases, backups …) is checked, too: as long as
nothing of the kind is there the phrase cannot matter, and the day it comes the check fails and has to be written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import fields

from holdfast.api.methods import REGISTRY
from holdfast.lifecycle import VmEvent
from holdfast.lifecycle.positions import PENDING
from holdfast.model.host import Host
from holdfast.model.vm import NO_OPERATION, History, Vm
from holdfast.model.vm_states import VmState
from tests.unit.lifecycle.reference.rows import HELD
from tests.unit.lifecycle.reference.step import Step, follow, take
from tests.unit.lifecycle.reference.subjects import KEPT_TREE, NOW, TREE

Check = Callable[[Step], str]
"""Answers how the step differs from what a phrase says, nothing if it does not."""
Moves = Callable[[Step], dict[int, int]]


# --- capacity


def holds(vm: Vm) -> dict[int, int]:
    """On which hosts the VM holds capacity, as the table of states says it."""
    text = HELD[vm.position]
    if text.startswith("none") or text == "by LCM_STATE" or not vm.history:
        return {}
    if "came from STOPPED/UNDEPLOYED" in text and vm.is_parked:
        return {}
    return dict.fromkeys((vm.hid, vm.previous_hid) if text == "current+previous" else (vm.hid,), 1)


def _moved(**shares: int) -> Moves:
    """Capacity that changes hands between the VM's hosts after the step; on one and the same host nothing does."""

    def moves(step: Step) -> dict[int, int]:
        hosts = {"current": step.after.hid, "previous": step.after.previous_hid}
        total: Counter[int] = Counter()
        for name, share in shares.items():
            total[hosts[name]] += share
        return dict(total)

    return moves


def _released_at_destination(step: Step) -> dict[int, int]:
    vm = step.before
    return {vm.hid: -1} if vm.hid != vm.previous_hid else {}


def _back_to_source(step: Step) -> dict[int, int]:
    vm = step.before
    return {vm.hid: -1, vm.previous_hid: 1} if vm.hid != vm.previous_hid else {}


def _released(step: Step) -> dict[int, int]:
    vm = step.before
    return {vm.hid: -1} if vm.hid in holds(vm) else {}


def _source_released(step: Step) -> dict[int, int]:
    return {step.before.previous_hid: -1}


def _nothing(step: Step) -> dict[int, int]:
    return {}


CAPACITY: dict[str, Moves] = {
    "": _nothing,
    "set to new size": _nothing,
    "add on current": _moved(current=1),
    "add on current if host differs": _moved(current=1),
    "add current if host differs": _moved(current=1),
    "add current, release previous if host differs": _moved(current=1, previous=-1),
    "release current": _released,
    "release previous if host differs": _moved(previous=-1),
    "release current (destination)": _released_at_destination,
    "release current, add source if host differs": _back_to_source,
    # in the matrix of recoveries
    "capacity on current host and VNC port released": _released,
    "capacity on current host released": _released,
    "host capacity released": _released,
    "source capacity released": _source_released,
    "source capacity and previous VNC port released": _source_released,
    "destination record closed and its capacity released": _released_at_destination,
    "capacity moved back to the source host (skipped when same host)": _back_to_source,
}


def capacity_differences(phrases: list[str], step: Step) -> list[str]:
    """How the capacity that changes hands differs from what the phrases say together."""
    wanted: Counter[int] = Counter()
    for phrase in phrases:
        wanted.update(CAPACITY[phrase](step))
    expected = {hid: share for hid, share in wanted.items() if share}
    got = _changed_hands(step)
    return [f"capacity by host {got} instead of {expected}"] if got != expected else []


def _changed_hands(step: Step) -> dict[int, int]:
    """A host counts a VM once: giving back what it does not count, or taking what it counts, changes nothing."""
    before = holds(step.before)
    after = dict(before)
    if step.decision is not None:
        for hid in step.decision.gives:
            after.pop(hid, None)
        if step.decision.takes is not None:
            after[step.decision.takes] = 1
    shares = {hid: after.get(hid, 0) - before.get(hid, 0) for hid in {*before, *after}}
    return {hid: share for hid, share in shares.items() if share}


# --- RESCHED

RESCHED: dict[str, Callable[[bool], bool]] = {
    "": lambda before: before,
    "unchanged": lambda before: before,
    "clear": lambda before: False,
    "set": lambda before: True,
}


# --- the rest


def _true(condition: Callable[[Step], bool], said: str) -> Check:
    return lambda step: "" if condition(step) else said


_MODELS = (Vm, History, Host)


def _unknown(*words: str) -> Check:
    """Holdfast has nothing of the kind."""

    def check(step: Step) -> str:
        names = {field.name for model in _MODELS for field in fields(model)}
        known = [name for name in names for word in words if word in name.split("_")]
        return f"{known} has come to be and has to be checked" if known else ""

    return check


def _not_offered(method: str) -> Check:
    """No user can ask for it, so nothing outside the VM waits for its end; the VM's own operation is over."""

    def check(step: Step) -> str:
        if method in REGISTRY:
            return f"{method} has come to be and has to be checked"
        return "" if step.after.operation == NO_OPERATION else "the operation is still under way"

    return check


def _no_mark(vm: Vm) -> bool:
    marks = {"ATTACH", "DISK_SNAPSHOT_ACTIVE", "RESIZE", "SIZE_PREV", "ACTIVE", "ACTION"}
    sections = [section for name in ("DISK", "NIC", "SNAPSHOT") for section in vm.template.sections(name)]
    return vm.operation == NO_OPERATION and not any(marks & set(section) for section in sections)


def _ids(vm: Vm, name: str) -> set[str]:
    return {section[f"{name}_ID"] for section in vm.template.sections(name)}


def _device(name: str, kept: bool) -> Check:
    """What the row says of the device under way; where none is (any change of the configuration) nothing is to say."""

    def check(step: Step) -> str:
        if not _no_mark(step.after):
            return "a mark is left"
        if step.before.operation.item != 1:
            return ""
        there = "1" in _ids(step.after, name)
        return "" if there is kept else f"{name} 1 is {'kept' if there else 'removed'}"

    return check


def _system_snapshots(create: set[str], revert: set[str], delete: set[str]) -> Check:
    wanted = {"snapshot-create": create, "snapshot-revert": revert, "snapshot-delete": delete}

    def check(step: Step) -> str:
        if not _no_mark(step.after):
            return "a mark is left"
        left = _ids(step.after, "SNAPSHOT")
        return "" if left == wanted[step.before.operation.action] else f"snapshots {left} are left"

    return check


def _snapshot_applied(step: Step) -> str:
    tree = step.after.snapshots_of(0)
    ids = {snapshot.oid for snapshot in tree.snapshots}
    wanted = {
        "disk-snapshot-create": ({0, 1}, 1),
        "disk-snapshot-revert": ({0}, 0),
        "disk-snapshot-delete": (set(), tree.current_base),
    }[step.before.operation.action]
    if not _no_mark(step.after):
        return "a mark is left"
    return "" if (ids, tree.current_base) == wanted else f"snapshots {ids} are left, based on {tree.current_base}"


def _snapshots_as_before(step: Step) -> str:
    tree = step.after.snapshots_of(0)
    if not _no_mark(step.after):
        return "a mark is left"
    return "" if (tree.snapshots, tree.current_base) == (TREE.snapshots, TREE.current_base) else "snapshots changed"


def _disk_snapshots_dropped(step: Step) -> str:
    if step.after.snapshots_of(0).snapshots:
        return "the disk keeps its snapshots"
    return "" if step.after.snapshots_of(2) == KEPT_TREE else "the persistent disk lost its snapshots"


def _snapshots_dropped(step: Step) -> str:
    if step.after.template.sections("SNAPSHOT"):
        return "the VM keeps its snapshots"
    return _disk_snapshots_dropped(step)


def _disk_size(size: str) -> Check:
    def check(step: Step) -> str:
        if not _no_mark(step.after):
            return "a mark is left"
        found = step.after.template.sections("DISK")[0]["SIZE"]
        return "" if found == size else f"the disk has {found} MB"

    return check


def _size(vm: Vm) -> tuple[str, ...]:
    return tuple(vm.template.get(name) for name in ("CPU", "VCPU", "MEMORY"))


def _new_size(step: Step) -> str:
    if step.before.operation.action == "disk-resize":
        return _disk_size("200")(step)
    return "" if _size(step.after) == ("2", "2", "128") and _no_mark(step.after) else f"its size is {_size(step.after)}"


def _images_again(step: Step) -> str:
    """All ready, any in ERROR, neither yet: what the state of the images makes of the VM."""
    ready, failed = (take(step.after, event).after.state for event in (VmEvent.IMAGES_READY, VmEvent.IMAGES_FAILED))
    wanted = (VmState.PENDING, VmState.CLONING_FAILURE)
    return "" if (ready, failed) == wanted else f"its images lead to {ready.name} and {failed.name}"


def _on_pending(step: Step) -> str:
    at_rest = follow(step, ok=True)
    return "" if at_rest.position == PENDING and not at_rest.deploy_id else "PENDING keeps DEPLOY_ID"


def _is_done(step: Step) -> str:
    """The engine releases the images of a VM that becomes DONE (see :mod:`.test_engine`)."""
    at_rest = follow(step, ok=True)
    return "" if at_rest.state is VmState.DONE and at_rest.etime == NOW else "the VM does not come to its end"


_MARKS_CLEARED = _true(lambda step: _no_mark(step.after), "a mark is left")
_QUOTA = _unknown("quota", "quotas")
_PORT = _unknown("vnc", "port", "pci")
_LEASES = _unknown("lease", "leases", "quotas", "group")


def _both(*checks: Check) -> Check:
    return lambda step: "; ".join(said for check in checks if (said := check(step)))


PHRASES: dict[str, Check] = {
    # images and what else a VM uses
    "images, leases, VM group and quotas released": _both(_is_done, _LEASES),
    "images (state not checked), leases, VM group and quotas released": _both(_is_done, _LEASES),
    "images and leases kept": _true(
        lambda step: [disk.get("IMAGE_ID") for disk in step.after.template.sections("DISK")][:2] == ["3", "4"],
        "it lost its images",
    ),
    "VM ETIME=now": _is_done,
    "running quota added back": _QUOTA,
    "running quota checked and added first (error 2048 if exceeded)": _QUOTA,
    "VNC port kept": _PORT,
    "VNC port released": _PORT,
    "VNC port and cluster quota rolled back": _both(_PORT, _QUOTA),
    "PCI, VNC port and cluster quota rolled back": _both(_PORT, _QUOTA),
    "saved image set to ERROR": _not_offered("one.vm.disksaveas"),
    "saved image unlocked": _not_offered("one.vm.disksaveas"),
    "backup image or increment registered from LAST_BACKUP_* values": _not_offered("one.vm.backup"),
    "backup quota returned": _both(_not_offered("one.vm.backup"), _QUOTA),
    "backup job told it failed": _not_offered("one.vm.backup"),
    "snapshots dropped, incremental chain reset": _not_offered("one.vm.restore"),
    "re-reads the state of the images being cloned": _images_again,
    "all ready: PENDING (HOLD if SUBMIT_ON_HOLD)": _images_again,
    "any ERROR: CLONING_FAILURE": _images_again,
    "otherwise CLONING": _true(
        lambda step: step.after.state in (VmState.CLONING, VmState.CLONING_FAILURE), "it does not wait for its images"
    ),
    # the VM
    "RESCHED=0": _true(lambda step: not step.after.resched, "RESCHED is still set"),
    "RESCHED=1": _true(lambda step: step.after.resched, "RESCHED is not set"),
    "RESCHED and history untouched": _true(
        lambda step: step.after.resched is step.before.resched, "RESCHED is touched"
    ),
    "scheduler woken": _true(
        lambda step: step.after.position == PENDING or step.after.resched, "nothing is there for the scheduler"
    ),
    "DEPLOY_ID cleared": _true(lambda step: not step.after.deploy_id, "DEPLOY_ID is kept"),
    "DEPLOY_ID cleared on PENDING": _on_pending,
    "VM stays on the destination record": _true(
        lambda step: step.after.hid == step.before.hid, "it is not where it was to go"
    ),
    # marks
    "pending disk mark cleared": _MARKS_CLEARED,
    "pending NIC mark cleared": _MARKS_CLEARED,
    "snapshot mark cleared": _MARKS_CLEARED,
    "resize data dropped": _MARKS_CLEARED,
    "resize mark cleared, old size restored": _disk_size("100"),
    "disk kept": _device("DISK", kept=True),
    "disk removed from the VM": _device("DISK", kept=False),
    "pending disk flag cleared, disk kept": _device("DISK", kept=True),
    "pending disk removed from the VM (if any)": _device("DISK", kept=False),
    "pending NIC kept": _device("NIC", kept=True),
    "pending NIC removed, lease released": _both(_device("NIC", kept=False), _LEASES),
    # snapshots
    "snapshots dropped": _snapshots_dropped,
    "non-persistent disk snapshots dropped": _disk_snapshots_dropped,
    "non-persistent disk snapshots and system snapshots dropped": _snapshots_dropped,
    "a snapshot being created is dropped": _snapshots_as_before,
    "revert/delete leave the list as it was": _snapshots_as_before,
    "snapshot operation applied to the VM record": _snapshot_applied,
    "by SNAPSHOT/ACTION: CREATE keeps it, REVERT clears the mark, DELETE removes it": _system_snapshots(
        {"0", "1"}, {"0"}, set()
    ),
    "by SNAPSHOT/ACTION: CREATE removes it, REVERT and DELETE clear the mark": _system_snapshots({"0"}, {"0"}, {"0"}),
    # sizes
    "set to new size": _true(lambda step: _size(step.after) == ("2", "2", "128"), "it has its old size"),
    "new size kept": _new_size,
    "old size and quotas restored": _both(_disk_size("100"), _QUOTA),
    "old CPU/VCPU/MEMORY restored on the VM, on the host share and in quotas": _both(
        _true(lambda step: _size(step.after) == ("1", "1", "64") and _no_mark(step.after), "it keeps the new size"),
        _QUOTA,
    ),
}
"""Every phrase about the VM; one may be among the words for history or capacity as well, when it says more."""


def said_of(phrases: list[str], step: Step) -> list[str]:
    """How the VM differs from what the phrases say."""
    return [f"{phrase}: {said}" for phrase in phrases if phrase in PHRASES and (said := PHRASES[phrase](step))]
