"""Changes to a VM's devices, snapshots and size: where they are possible, and where the VM is meanwhile.

What an operation does to the VM is in :mod:`holdfast.lifecycle.operations`; which one is under way is the VM's own
knowledge, so a detach that fails leaves the device attached (OpenNebula takes every hot-plug for an attach).
"""

from __future__ import annotations

from holdfast.lifecycle import positions as p
from holdfast.lifecycle.events import VmEvent as E
from holdfast.lifecycle.positions import Position
from holdfast.lifecycle.row import Row, rows
from holdfast.lifecycle.vocabulary import Change as C
from holdfast.lifecycle.vocabulary import Guard
from holdfast.model.enums import EffectKind as K

_RUNNING = (C.COPY_RECORD_OPERATION, C.BEGIN_OPERATION)
_RUNNING_STAYS = (*_RUNNING, C.DROP_RESCHED)
_OFF = (C.COPY_RECORD_OPERATION_OFF, C.BEGIN_OPERATION)
_OFF_STAYS = (*_OFF, C.DROP_RESCHED)


def _live(event: E, to: Position, effect: K, changes: tuple[C, ...] = _RUNNING_STAYS) -> Row:
    return Row((p.RUNNING,), event, to, changes, effect, Guard.HOST_IN_TOUCH)


def _cold(event: E, at: Position, to: Position, effect: K, changes: tuple[C, ...] = _OFF) -> Row:
    """On files that no domain may be using."""
    return Row((at,), event, to, changes, effect, Guard.NOWHERE)


DEVICES = rows(
    _live(E.DISK_ATTACH, p.HOTPLUG, K.VMM_ATTACH_DISK),
    _live(E.DISK_DETACH, p.HOTPLUG, K.VMM_DETACH_DISK),
    _cold(E.DISK_ATTACH, p.POWEROFF, p.HOTPLUG_PROLOG_POWEROFF, K.TM_ATTACH, _OFF_STAYS),
    _cold(E.DISK_DETACH, p.POWEROFF, p.HOTPLUG_EPILOG_POWEROFF, K.TM_DETACH, _OFF_STAYS),
    _live(E.NIC_ATTACH, p.HOTPLUG_NIC, K.VMM_ATTACH_NIC),
    _live(E.NIC_DETACH, p.HOTPLUG_NIC, K.VMM_DETACH_NIC),
    Row((p.POWEROFF,), E.NIC_ATTACH, p.HOTPLUG_NIC_POWEROFF, _OFF_STAYS, K.VMM_ATTACH_NIC, Guard.COLD_NIC_ATTACH),
    Row((p.POWEROFF,), E.NIC_DETACH, p.HOTPLUG_NIC_POWEROFF, _OFF_STAYS, K.VMM_DETACH_NIC, Guard.COLD_NIC_ATTACH),
    Row((p.POWEROFF,), E.NIC_ATTACH, None, (*_OFF_STAYS, C.COMPLETE_OPERATION)),
    Row((p.POWEROFF,), E.NIC_DETACH, None, (*_OFF_STAYS, C.COMPLETE_OPERATION)),
    _live(E.UPDATE_CONF, p.HOTPLUG, K.VMM_UPDATE_CONF, (C.BEGIN_OPERATION,)),
)

SNAPSHOTS = rows(
    _live(E.SNAPSHOT_CREATE, p.HOTPLUG_SNAPSHOT, K.VMM_SNAPSHOT_CREATE, (C.BEGIN_OPERATION, C.DROP_RESCHED)),
    _live(E.SNAPSHOT_REVERT, p.HOTPLUG_SNAPSHOT, K.VMM_SNAPSHOT_REVERT, (C.BEGIN_OPERATION, C.DROP_RESCHED)),
    _live(E.SNAPSHOT_DELETE, p.HOTPLUG_SNAPSHOT, K.VMM_SNAPSHOT_DELETE, (C.BEGIN_OPERATION, C.DROP_RESCHED)),
    _live(E.DISK_SNAPSHOT_CREATE, p.DISK_SNAPSHOT, K.VMM_DISK_SNAPSHOT_CREATE, _RUNNING),
    _cold(E.DISK_SNAPSHOT_CREATE, p.POWEROFF, p.DISK_SNAPSHOT_POWEROFF, K.TM_SNAPSHOT_CREATE),
    _cold(E.DISK_SNAPSHOT_CREATE, p.SUSPENDED, p.DISK_SNAPSHOT_SUSPENDED, K.TM_SNAPSHOT_CREATE),
    _cold(E.DISK_SNAPSHOT_REVERT, p.POWEROFF, p.DISK_SNAPSHOT_REVERT_POWEROFF, K.TM_SNAPSHOT_REVERT),
    _live(E.DISK_SNAPSHOT_DELETE, p.DISK_SNAPSHOT_DELETE, K.TM_SNAPSHOT_DELETE, _RUNNING),
    _cold(E.DISK_SNAPSHOT_DELETE, p.POWEROFF, p.DISK_SNAPSHOT_DELETE_POWEROFF, K.TM_SNAPSHOT_DELETE),
    _cold(E.DISK_SNAPSHOT_DELETE, p.SUSPENDED, p.DISK_SNAPSHOT_DELETE_SUSPENDED, K.TM_SNAPSHOT_DELETE),
)

SIZES = rows(
    _live(E.DISK_RESIZE, p.DISK_RESIZE, K.VMM_RESIZE_DISK, _RUNNING),
    _cold(E.DISK_RESIZE, p.POWEROFF, p.DISK_RESIZE_POWEROFF, K.TM_RESIZE),
    _cold(E.DISK_RESIZE, p.UNDEPLOYED, p.DISK_RESIZE_UNDEPLOYED, K.TM_RESIZE, (C.BEGIN_OPERATION,)),
    _live(E.RESIZE, p.HOTPLUG_RESIZE, K.VMM_RESIZE),
)

COPIES = rows(
    _live(E.DISK_SAVEAS, p.HOTPLUG_SAVEAS, K.TM_SAVEAS, (C.BEGIN_OPERATION,)),
    _cold(E.DISK_SAVEAS, p.POWEROFF, p.HOTPLUG_SAVEAS_POWEROFF, K.TM_SAVEAS, (C.BEGIN_OPERATION,)),
    _cold(E.DISK_SAVEAS, p.SUSPENDED, p.HOTPLUG_SAVEAS_SUSPENDED, K.TM_SAVEAS, (C.BEGIN_OPERATION,)),
    _cold(E.DISK_SAVEAS, p.UNDEPLOYED, p.HOTPLUG_SAVEAS_UNDEPLOYED, K.TM_SAVEAS, (C.BEGIN_OPERATION,)),
    _cold(E.DISK_SAVEAS, p.STOPPED, p.HOTPLUG_SAVEAS_STOPPED, K.TM_SAVEAS, (C.BEGIN_OPERATION,)),
    _live(E.BACKUP, p.BACKUP, K.VMM_BACKUP),
    _cold(E.BACKUP, p.POWEROFF, p.BACKUP_POWEROFF, K.VMM_BACKUP, _OFF_STAYS),
    _cold(E.RESTORE, p.POWEROFF, p.RESTORE, K.TM_RESTORE),
)

ENDS = rows(
    *(Row((at,), E.OPERATION_OK, home, (C.COMPLETE_OPERATION,)) for at, home in p.OPERATION_HOME.items()),
    *(Row((at,), E.OPERATION_FAIL, home, (C.UNDO_OPERATION,)) for at, home in p.OPERATION_HOME.items()),
)
