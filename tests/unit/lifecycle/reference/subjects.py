"""The VM that a row speaks of: in its position, with the records, marks and hosts that come with it.

The VM is on host HERE; before that it was on BEFORE; a move goes from HERE to THERE, so in a moving position THERE is
the current host and HERE the previous one.  ``may_run_on`` is what the position makes plausible.  A position that can
be reached in several ways has several *variants*; a row has to hold for all of them, unless its guard chooses.  Any
variant can be asked for with words of :data:`PLACES` behind a comma, which say where a domain may be instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from holdfast.lifecycle.positions import Position
from holdfast.model.enums import HistoryAction
from holdfast.model.snapshot import DiskSnapshot, DiskSnapshots
from holdfast.model.template import Template
from holdfast.model.vm import NO_OPERATION, History, Operation, Vm
from holdfast.model.vm_states import VmState
from tests.unit.lifecycle.reference.rows import CATEGORY, name_of

BEFORE, HERE, THERE = 7, 1, 2
NOW = 5000
OPEN_EFFECT = 77
Action = HistoryAction
Stamps = dict[str, Any]

TREE = DiskSnapshots(0, (DiskSnapshot(0, "nightly", 50, active=True),), 1, 0)
KEPT_TREE = replace(TREE, disk_id=2)
"""The snapshots of a persistent disk."""
BASE = Template(
    [
        ("CPU", "1"),
        ("VCPU", "1"),
        ("MEMORY", "64"),
        ("DISK", {"DISK_ID": "0", "IMAGE_ID": "3", "SIZE": "100"}),
        ("DISK", {"DISK_ID": "2", "IMAGE_ID": "4", "SIZE": "100", "PERSISTENT": "YES", "SAVE": "YES"}),
        ("NIC", {"NIC_ID": "0"}),
        ("SNAPSHOT", {"SNAPSHOT_ID": "0", "NAME": "first", "HYPERVISOR_ID": "snap-0", "TIME": "60"}),
    ]
)

VARIANTS: dict[str, tuple[str, ...]] = {
    "PENDING": ("new", "recreated", "stopped", "undeployed", "undeployed hard"),
    "HOLD": ("new", "recreated", "stopped", "undeployed", "undeployed hard"),
    "SAVE_MIGRATE": ("save", "poweroff", "poweroff-hard"),
    "PROLOG_MIGRATE": ("save", "poweroff", "poweroff-hard"),
    "PROLOG_MIGRATE_FAILURE": ("save", "poweroff", "poweroff-hard"),
    "SHUTDOWN": ("soft", "hard"),
    "SHUTDOWN_POWEROFF": ("soft", "hard"),
    "SHUTDOWN_UNDEPLOY": ("soft", "hard"),
    "EPILOG": ("on its host", "on the front-end"),
    "EPILOG_FAILURE": ("on its host", "on the front-end"),
    "BOOT_FAILURE": ("domain left", "no domain"),
    "BOOT_MIGRATE_FAILURE": ("domain left", "no domain"),
    "BOOT_STOPPED_FAILURE": ("domain left", "no domain"),
    "BOOT_UNDEPLOY_FAILURE": ("domain left", "no domain"),
    "CLEANUP_DELETE": ("domain left", "no domain"),
    "CLEANUP_RESUBMIT": ("domain left", "no domain"),
    "HOTPLUG": ("disk-attach", "disk-detach", "updateconf"),
    "HOTPLUG_NIC": ("nic-attach", "nic-detach"),
    "HOTPLUG_NIC_POWEROFF": ("nic-attach", "nic-detach"),
    "HOTPLUG_SNAPSHOT": ("snapshot-create", "snapshot-revert", "snapshot-delete"),
}
"""The variants of a position by its name; the others have one, without a name."""

PLACES: dict[str, tuple[int, ...]] = {
    "no domain": (),
    "domain left": (HERE,),
    "domain elsewhere": (BEFORE,),
}
"""What agents or proofs of death have said about the domain."""

OPERATIONS: dict[str, Operation] = {
    "disk-attach": Operation("disk-attach", 1, values={"SIZE": "10"}),
    "disk-detach": Operation("disk-detach", 1),
    "nic-attach": Operation("nic-attach", 1, values={"MODEL": "virtio"}),
    "nic-detach": Operation("nic-detach", 1),
    "snapshot-create": Operation("snapshot-create", 1, values={"NAME": "second", "TIME": "90"}),
    "snapshot-revert": Operation("snapshot-revert", 0),
    "snapshot-delete": Operation("snapshot-delete", 0),
    "disk-snapshot-create": Operation("disk-snapshot-create", 1, 0, {"NAME": "weekly", "SIZE": "100", "DATE": "90"}),
    "disk-snapshot-revert": Operation("disk-snapshot-revert", 0, 0),
    "disk-snapshot-delete": Operation("disk-snapshot-delete", 0, 0),
    "disk-resize": Operation("disk-resize", 0, 0, {"SIZE": "200", "OLD_SIZE": "100"}),
    "resize": Operation(
        "resize",
        values={"CPU": "2", "VCPU": "2", "MEMORY": "128", "OLD_CPU": "1", "OLD_VCPU": "1", "OLD_MEMORY": "64"},
    ),
    "disk-saveas": Operation("disk-saveas", 0, 0),
    "backup": Operation("backup"),
    "restore": Operation("restore"),
    "updateconf": Operation("updateconf"),
}
"""What is asked for, or under way, by the name of the action."""

UNDER_WAY: dict[str, str] = {
    "HOTPLUG_SAVEAS": "disk-saveas",
    "HOTPLUG_SAVEAS_POWEROFF": "disk-saveas",
    "HOTPLUG_SAVEAS_SUSPENDED": "disk-saveas",
    "HOTPLUG_SAVEAS_UNDEPLOYED": "disk-saveas",
    "HOTPLUG_SAVEAS_STOPPED": "disk-saveas",
    "HOTPLUG_PROLOG_POWEROFF": "disk-attach",
    "HOTPLUG_EPILOG_POWEROFF": "disk-detach",
    "HOTPLUG_RESIZE": "resize",
    "DISK_SNAPSHOT": "disk-snapshot-create",
    "DISK_SNAPSHOT_POWEROFF": "disk-snapshot-create",
    "DISK_SNAPSHOT_SUSPENDED": "disk-snapshot-create",
    "DISK_SNAPSHOT_REVERT_POWEROFF": "disk-snapshot-revert",
    "DISK_SNAPSHOT_DELETE": "disk-snapshot-delete",
    "DISK_SNAPSHOT_DELETE_POWEROFF": "disk-snapshot-delete",
    "DISK_SNAPSHOT_DELETE_SUSPENDED": "disk-snapshot-delete",
    "DISK_RESIZE": "disk-resize",
    "DISK_RESIZE_POWEROFF": "disk-resize",
    "DISK_RESIZE_UNDEPLOYED": "disk-resize",
    "BACKUP": "backup",
    "BACKUP_POWEROFF": "backup",
    "RESTORE": "restore",
}
"""The operation of the positions that stand for one alone; those of the others are their variants."""

CLOSES_RECORD: dict[str, HistoryAction] = {
    "disk-attach": Action.DISK_ATTACH,
    "disk-detach": Action.DISK_DETACH,
    "nic-attach": Action.NIC_ATTACH,
    "nic-detach": Action.NIC_DETACH,
    "disk-snapshot-create": Action.DISK_SNAPSHOT_CREATE,
    "disk-snapshot-revert": Action.DISK_SNAPSHOT_REVERT,
    "disk-snapshot-delete": Action.DISK_SNAPSHOT_DELETE,
    "disk-resize": Action.DISK_RESIZE,
    "resize": Action.RESIZE,
    "backup": Action.BACKUP,
    "restore": Action.RESTORE,
}
"""The operations that close a record and open a copy; the others leave no trace in the history."""


def variants_of(at: Position) -> tuple[str, ...]:
    """The ways in which a VM comes to be in this position."""
    return VARIANTS.get(name_of(at), ("",))


def subject(at: Position, variant: str = "") -> Vm:
    """A VM in this position; RESCHED is set, and an operation is open where a driver is at work."""
    name, alive = name_of(at), _alive(name_of(at), variant)
    variant = variant.partition(", ")[0]
    vm = Vm(
        42, 3, 4, "vm", *at, BASE, history=_history(name, variant), deploy_id="one-42", may_run_on=alive,
        shutdown_hard=variant in ("hard", "poweroff-hard"), resched=True, snapshots=(TREE, KEPT_TREE),
        effect_id=OPEN_EFFECT if at[0] is VmState.ACTIVE and CATEGORY[at] == "transient" else -1,
    )  # fmt: skip
    action = UNDER_WAY.get(name) or (variant if variant in OPERATIONS else "")
    return marked(vm, OPERATIONS[action]) if action else vm


# --- records


def _record(seq: int, hid: int, start: int, **stamps: Any) -> History:
    return History(seq, hid, f"host{hid}", 0, 0, "kvm", "shared", stime=start, **stamps)


def _closed(action: HistoryAction) -> History:
    """An earlier stay on host BEFORE, from its prolog to its end; in it the VM was parked if the action says so."""
    parked = action in (Action.STOP, Action.UNDEPLOY, Action.UNDEPLOY_HARD)
    epilog: Stamps = {"estime": 190, "eetime": 200} if parked else {}
    return _record(0, BEFORE, 100, pstime=100, petime=110, rstime=110, retime=190, etime=200, action=action, **epilog)


def _stay(
    action: HistoryAction = Action.NONE, since: HistoryAction = Action.MIGRATE, **more: int
) -> tuple[History, ...]:
    """A stay on host HERE that came as far as running, after one on BEFORE."""
    stamps: Stamps = {"pstime": 300, "petime": 310, "rstime": 310, **more}
    return (_closed(since), _record(1, HERE, 300, action=action, **stamps))


def _placing(since: HistoryAction) -> tuple[History, ...]:
    return (_closed(since), _record(1, HERE, 300, pstime=300))


def _moving(
    left: HistoryAction, action: HistoryAction = Action.MIGRATE, off: bool = False, **more: int
) -> tuple[History, ...]:
    """A stay on HERE that is over, and one on THERE that has begun with a prolog."""
    retime = 390 if off else 400
    source = _record(1, HERE, 300, pstime=300, petime=310, rstime=310, retime=retime, etime=400, action=left)
    return (_closed(Action.MIGRATE), source, _record(2, THERE, 400, action=action, **{"pstime": 400, **more}))


def _leaving(left: HistoryAction, action: HistoryAction) -> tuple[History, ...]:
    """A stay on HERE that is not over, and one on THERE that waits for it."""
    source = _record(1, HERE, 300, pstime=300, petime=310, rstime=310, action=left)
    return (_closed(Action.MIGRATE), source, _record(2, THERE, 400, action=action))


def _operating(action: HistoryAction | None, home: str) -> tuple[History, ...]:
    before = {"POWEROFF": Action.POWEROFF, "SUSPENDED": Action.SUSPEND}.get(home, Action.NONE)
    off: Stamps = {"retime": 390} if before is not Action.NONE else {}
    plain = _stay(before, **off)
    if action is None:
        return plain
    closed = replace(plain[1], etime=400, retime=off.get("retime", 400), action=action)
    again: Stamps = {"retime": 400} if off else {}
    return (plain[0], closed, _record(2, HERE, 400, rstime=400, action=before, **again))


_STYLE = {
    "save": Action.MIGRATE,
    "poweroff": Action.POFF_MIGRATE,
    "poweroff-hard": Action.POFF_HARD_MIGRATE,
}
_WAITED_AFTER = {
    "recreated": Action.DELETE_RECREATE,
    "stopped": Action.STOP,
    "undeployed": Action.UNDEPLOY,
    "undeployed hard": Action.UNDEPLOY_HARD,
}
_RETIRED: Stamps = {"retime": 400}
_PARKING: Stamps = {"retime": 400, "estime": 400}
_PARKED: Stamps = {**_PARKING, "eetime": 410, "etime": 410}
_BOOTED: Stamps = {"petime": 410, "rstime": 410}


def _shutting(soft: HistoryAction, hard: HistoryAction) -> Callable[[str], tuple[History, ...]]:
    return lambda variant: _stay(hard if variant == "hard" else soft)


def _epilog(variant: str) -> tuple[History, ...]:
    return _stay(Action.TERMINATE, **(_PARKED if variant == "on the front-end" else _PARKING))


_HISTORY: dict[str, Callable[[str], tuple[History, ...]]] = {
    **dict.fromkeys(
        ("PENDING", "HOLD"), lambda variant: (_closed(_WAITED_AFTER[variant]),) if variant != "new" else ()
    ),
    **dict.fromkeys(("INIT", "CLONING", "CLONING_FAILURE"), lambda variant: ()),
    "ACTIVE": lambda variant: (_closed(Action.DELETE_RECREATE), _record(1, HERE, 0)),
    **dict.fromkeys(("PROLOG", "PROLOG_FAILURE"), lambda variant: _placing(Action.DELETE_RECREATE)),
    **dict.fromkeys(("PROLOG_RESUME", "PROLOG_RESUME_FAILURE"), lambda variant: _placing(Action.STOP)),
    **dict.fromkeys(("PROLOG_UNDEPLOY", "PROLOG_UNDEPLOY_FAILURE"), lambda variant: _placing(Action.UNDEPLOY)),
    **dict.fromkeys(("BOOT", "BOOT_UNKNOWN", "RUNNING", "UNKNOWN"), lambda variant: _stay()),
    "BOOT_POWEROFF": lambda variant: _stay(Action.RESUME),
    "BOOT_SUSPENDED": lambda variant: _stay(Action.RESUME),
    "BOOT_STOPPED": lambda variant: _stay(since=Action.STOP),
    "BOOT_UNDEPLOY": lambda variant: _stay(since=Action.UNDEPLOY),
    "BOOT_FAILURE": lambda variant: _stay(**_RETIRED),
    "BOOT_STOPPED_FAILURE": lambda variant: _stay(since=Action.STOP, **_RETIRED, etime=400),
    "BOOT_UNDEPLOY_FAILURE": lambda variant: _stay(since=Action.UNDEPLOY, **_RETIRED, etime=400),
    "POWEROFF": lambda variant: _stay(Action.POWEROFF, **_RETIRED),
    "SUSPENDED": lambda variant: _stay(Action.SUSPEND, **_RETIRED),
    "STOPPED": lambda variant: _stay(Action.STOP, **_PARKED),
    "UNDEPLOYED": lambda variant: _stay(Action.UNDEPLOY, **_PARKED),
    "DONE": lambda variant: _stay(Action.TERMINATE, **_PARKED),
    "SHUTDOWN": _shutting(Action.TERMINATE, Action.TERMINATE_HARD),
    "SHUTDOWN_POWEROFF": _shutting(Action.POWEROFF, Action.POWEROFF_HARD),
    "SHUTDOWN_UNDEPLOY": _shutting(Action.UNDEPLOY, Action.UNDEPLOY_HARD),
    "SAVE_SUSPEND": lambda variant: _stay(Action.SUSPEND),
    "SAVE_STOP": lambda variant: _stay(Action.STOP),
    **dict.fromkeys(("EPILOG", "EPILOG_FAILURE"), _epilog),
    **dict.fromkeys(("EPILOG_STOP", "EPILOG_STOP_FAILURE"), lambda variant: _stay(Action.STOP, **_PARKING)),
    **dict.fromkeys(("EPILOG_UNDEPLOY", "EPILOG_UNDEPLOY_FAILURE"), lambda variant: _stay(Action.UNDEPLOY, **_PARKING)),
    "CLEANUP_DELETE": lambda variant: _stay(Action.DELETE, **_RETIRED, etime=400),
    "CLEANUP_RESUBMIT": lambda variant: _stay(Action.DELETE_RECREATE, **_RETIRED, etime=400),
    "MIGRATE": lambda variant: _leaving(Action.LIVE_MIGRATE, Action.NONE),
    "SAVE_MIGRATE": lambda variant: _leaving(_STYLE[variant], _STYLE[variant]),
    **dict.fromkeys(
        ("PROLOG_MIGRATE", "PROLOG_MIGRATE_FAILURE"), lambda variant: _moving(_STYLE[variant], _STYLE[variant])
    ),
    "BOOT_MIGRATE": lambda variant: _moving(Action.MIGRATE, **_BOOTED),
    "BOOT_MIGRATE_FAILURE": lambda variant: _moving(Action.MIGRATE, **_BOOTED, retime=420),
    **dict.fromkeys(
        ("PROLOG_MIGRATE_UNKNOWN", "PROLOG_MIGRATE_UNKNOWN_FAILURE"), lambda variant: _moving(Action.MIGRATE)
    ),
    **dict.fromkeys(
        ("PROLOG_MIGRATE_POWEROFF", "PROLOG_MIGRATE_POWEROFF_FAILURE"),
        lambda variant: _moving(Action.POWEROFF, off=True),
    ),
    **dict.fromkeys(
        ("PROLOG_MIGRATE_SUSPEND", "PROLOG_MIGRATE_SUSPEND_FAILURE"),
        lambda variant: _moving(Action.SUSPEND, off=True),
    ),
    "HOTPLUG_SAVEAS_STOPPED": lambda variant: _stay(Action.STOP, **_PARKED),
    "HOTPLUG_SAVEAS_UNDEPLOYED": lambda variant: _stay(Action.UNDEPLOY, **_PARKED),
    "DISK_RESIZE_UNDEPLOYED": lambda variant: _stay(Action.UNDEPLOY, **_PARKED),
}


def _history(name: str, variant: str) -> tuple[History, ...]:
    if name in _HISTORY:
        return _HISTORY[name](variant)
    return _operating(CLOSES_RECORD.get(UNDER_WAY.get(name, variant)), home_of(name))


def home_of(name: str) -> str:
    """Where a VM was before an operation, by the name of the position that stands for it."""
    for home in ("POWEROFF", "SUSPENDED", "UNDEPLOYED", "STOPPED"):
        if name.endswith(f"_{home}"):
            return home
    return "POWEROFF" if name == "RESTORE" else "RUNNING"


# --- where a domain may be

_OFF = frozenset(
    "PROLOG PROLOG_FAILURE PROLOG_RESUME PROLOG_RESUME_FAILURE PROLOG_UNDEPLOY PROLOG_UNDEPLOY_FAILURE "
    "PROLOG_MIGRATE PROLOG_MIGRATE_FAILURE PROLOG_MIGRATE_POWEROFF PROLOG_MIGRATE_POWEROFF_FAILURE "
    "PROLOG_MIGRATE_SUSPEND PROLOG_MIGRATE_SUSPEND_FAILURE PROLOG_MIGRATE_UNKNOWN PROLOG_MIGRATE_UNKNOWN_FAILURE "
    "EPILOG EPILOG_FAILURE EPILOG_STOP EPILOG_STOP_FAILURE EPILOG_UNDEPLOY EPILOG_UNDEPLOY_FAILURE "
    "ACTIVE INIT PENDING HOLD CLONING CLONING_FAILURE STOPPED UNDEPLOYED POWEROFF SUSPENDED DONE".split()
)
_BOOTING_THERE = ("BOOT_MIGRATE", "BOOT_MIGRATE_FAILURE")


def _alive(name: str, variant: str) -> tuple[int, ...]:
    said = variant.rpartition(", ")[2]
    if name in _BOOTING_THERE and said in ("", "domain left"):
        return (THERE,)
    if said in PLACES:
        return PLACES[said]
    if name == "MIGRATE":
        return (HERE, THERE)
    is_off = home_of(name) != "RUNNING" and not name.startswith(("BOOT_", "SHUTDOWN_"))
    return () if name in _OFF or is_off else (HERE,)


# --- what the record shows while an operation is under way


def marked(vm: Vm, operation: Operation) -> Vm:
    """The VM with the operation under way, written down by hand: not what ``lifecycle.operations`` makes of it."""
    vm = replace(vm, operation=operation)
    name, _, verb = operation.action.rpartition("-")
    if name in ("disk", "nic") and verb in ("attach", "detach"):
        section = {f"{name.upper()}_ID": "1", **operation.values, "ATTACH": "YES"}
        return replace(vm, template=vm.template.extended([(name.upper(), section)]))
    if name == "snapshot":
        return replace(vm, template=_with_snapshot(vm.template, verb))
    if operation.action == "resize":
        return replace(vm, template=vm.template.with_values(CPU="2", VCPU="2", MEMORY="128"))
    if name == "disk":
        if verb == "resize":
            return _disk_marked(vm, SIZE="200", SIZE_PREV="100", RESIZE="YES")
        return vm
    if name == "disk-snapshot":
        if verb == "create":
            fresh = DiskSnapshot(1, "weekly", 90, parent=0, size_mb=100)
            grown = replace(TREE, snapshots=(*TREE.snapshots, fresh), next_oid=2)
            vm = replace(vm, snapshots=(grown, KEPT_TREE))
        return _disk_marked(vm, DISK_SNAPSHOT_ACTIVE="YES")
    return vm


def _with_snapshot(template: Template, verb: str) -> Template:
    (first,) = template.sections("SNAPSHOT")
    if verb == "create":
        fresh = {
            "ACTION": "CREATE", "ACTIVE": "YES", "HYPERVISOR_ID": "", "NAME": "second", "SNAPSHOT_ID": "1",
            "SYSTEM_DISK_SIZE": "0", "TIME": "90",
        }  # fmt: skip
        return template.extended([("SNAPSHOT", fresh)])
    return template.with_sections("SNAPSHOT", [{**first, "ACTION": verb.upper(), "ACTIVE": "YES"}])


def _disk_marked(vm: Vm, **marks: str) -> Vm:
    disks = [{**disk, **marks} if disk["DISK_ID"] == "0" else disk for disk in vm.template.sections("DISK")]
    return replace(vm, template=vm.template.with_sections("DISK", disks))


def without_operation(vm: Vm) -> Vm:
    """The VM with its marks, but without the operation that made them."""
    return replace(vm, operation=NO_OPERATION)
