"""What monitoring sees, and what the silence or the proven death of a host means.

On proof of death a VM is taken to what its user had asked for: one that ran, or was about to, is restarted (UNKNOWN is
where failovers start from); a shutdown is complete; files that are on their way go on without the host.
"""

from __future__ import annotations

from holdfast.lifecycle import positions as p
from holdfast.lifecycle.events import VmEvent as E
from holdfast.lifecycle.row import Row, rows
from holdfast.lifecycle.vocabulary import Change as C
from holdfast.lifecycle.vocabulary import Guard
from holdfast.model.enums import EffectKind as K

_UP = (C.BOOTED, C.MAY_RUN_HERE, C.DROP_RESCHED)
_UP_AGAIN = (C.COPY_RECORD, C.RUN_STARTS, *_UP)
_TAKEN_OVER = (
    *(C.RUN_ENDS_IF_OPEN, C.CLOSE_RECORD, C.GIVE_CAPACITY, C.OPEN_RECORD, C.TAKE_CAPACITY),
    *(C.RUN_STARTS, C.MAY_RUN_HERE, C.DROP_RESCHED),
)
_DOWN = (C.ACTION_MONITOR, C.RUN_ENDS, C.STOPPED_HERE, C.DROP_RESCHED)


def _restored_late(at: p.Position, step: p.Position, changes: tuple[C, ...]) -> tuple[Row, ...]:
    """A restore of unknown outcome has a domain now: the driver sees to it that it runs."""
    bound = (*changes, C.MAY_RUN_HERE)
    return (Row((at,), E.SEEN_RUNNING, step, bound, K.VMM_RESTORE, Guard.RESTORE_IN_DOUBT),)


SIGHTINGS = rows(
    Row((p.UNKNOWN, *p.BOOTING, p.BOOT_FAILURE, p.BOOT_UNDEPLOY_FAILURE), E.SEEN_RUNNING, p.RUNNING, _UP),
    *_restored_late(p.BOOT_MIGRATE_FAILURE, p.BOOT_MIGRATE, ()),
    Row((p.BOOT_MIGRATE_FAILURE,), E.SEEN_RUNNING, p.RUNNING, _UP),
    *_restored_late(p.BOOT_STOPPED_FAILURE, p.BOOT_STOPPED, ()),
    Row((p.BOOT_STOPPED_FAILURE,), E.SEEN_RUNNING, p.RUNNING, _UP),
    *_restored_late(p.SUSPENDED, p.BOOT_SUSPENDED, (C.COPY_RECORD_RESUME, C.RUN_STARTS)),
    Row((p.POWEROFF, p.SUSPENDED), E.SEEN_RUNNING, p.RUNNING, _UP_AGAIN),
    Row((p.RUNNING, p.UNKNOWN), E.SEEN_POWEROFF, p.POWEROFF, _DOWN),
    Row((p.SUSPENDED,), E.SEEN_POWEROFF, p.POWEROFF, (C.STOPPED_HERE,), None, Guard.FOUND_PAUSED),
    Row((p.SUSPENDED,), E.SEEN_POWEROFF, None, (C.STOPPED_HERE,)),
    Row((p.SHUTDOWN_POWEROFF,), E.SEEN_POWEROFF, p.POWEROFF, (C.RUN_ENDS, C.STOPPED_HERE)),
    Row((p.SHUTDOWN,), E.SEEN_POWEROFF, p.EPILOG, (C.STOPPED_HERE, C.EPILOG_STARTS), K.TM_EPILOG),
    Row((p.SHUTDOWN_UNDEPLOY,), E.SEEN_POWEROFF, p.EPILOG_UNDEPLOY, (C.STOPPED_HERE, C.EPILOG_STARTS), K.TM_STOP),
    Row(
        (p.RUNNING, p.UNKNOWN),
        E.SEEN_SUSPENDED,
        p.SUSPENDED,
        (C.ACTION_MONITOR, C.RUN_ENDS, C.DROP_RESCHED),
    ),
    Row((p.RUNNING,), E.SEEN_FAILURE, p.UNKNOWN, (C.DROP_RESCHED,)),
    Row((p.UNKNOWN,), E.SEEN_FAILURE, None),
    Row(
        (p.RUNNING, p.UNKNOWN),
        E.SEEN_ELSEWHERE,
        p.BOOT,
        _TAKEN_OVER,
        K.VMM_DEPLOY,
        Guard.ONLY_THERE,
    ),
    Row((p.POWEROFF,), E.SEEN_ELSEWHERE, p.BOOT, _TAKEN_OVER, K.VMM_DEPLOY, Guard.TAKEN_FOR_OFF),
    Row((p.RUNNING,), E.HOST_ERROR, p.UNKNOWN, (C.DROP_RESCHED,)),
)

_SOURCE_GONE = (C.PROVEN_STOPPED, C.CLOSE_PREVIOUS, C.GIVE_PREVIOUS)
_DESTINATION_GONE = (
    *(C.PROVEN_STOPPED, C.CLOSE_RECORD, C.CLOSE_PREVIOUS, C.GIVE_DESTINATION),
    *(C.REOPEN_SOURCE_RUNNING, C.MAY_RUN_HERE),
)

_FILES_BACK = (
    *(C.PROLOG_ENDS, C.CLOSE_RECORD, C.GIVE_DESTINATION, C.REOPEN_SOURCE, C.TAKE_CAPACITY),
    *(C.PROLOG_ENDS, C.RUN_ENDS),
)
"""A move to another datastore, or between hosts that share nothing, died half way: the files are where they were."""
_MOVING = (p.PROLOG_MIGRATE, p.PROLOG_MIGRATE_FAILURE, p.PROLOG_MIGRATE_UNKNOWN, p.PROLOG_MIGRATE_UNKNOWN_FAILURE)
_MOVING_OFF = (p.PROLOG_MIGRATE_POWEROFF, p.PROLOG_MIGRATE_POWEROFF_FAILURE)
_MOVING_SUSPENDED = (p.PROLOG_MIGRATE_SUSPEND, p.PROLOG_MIGRATE_SUSPEND_FAILURE)
_BY_HYPERVISOR = (p.BACKUP_POWEROFF, p.HOTPLUG_NIC_POWEROFF)
_BY_FILES = tuple(at for at in p.OPERATIONS_OFF if at not in _BY_HYPERVISOR)
"""Operations on a VM that is off: those on files go on without the host, the others cannot."""

_LEFT_BY_A_START = (p.BOOT_STOPPED_FAILURE, p.BOOT_UNDEPLOY_FAILURE)
_BOOTED_NOT = tuple(at for at in p.BOOT_FAILURES if at not in _LEFT_BY_A_START)

DEATHS = rows(
    Row((p.RUNNING, p.UNKNOWN, *p.BOOTING, *_BOOTED_NOT), E.HOST_DEAD, p.UNKNOWN, (C.PROVEN_STOPPED,)),
    Row(_LEFT_BY_A_START, E.HOST_DEAD, p.UNKNOWN, (C.PROVEN_STOPPED, C.STAY_GOES_ON)),
    Row(p.OPERATIONS_RUNNING, E.HOST_DEAD, p.UNKNOWN, (C.PROVEN_STOPPED, C.UNDO_OPERATION)),
    Row(_BY_HYPERVISOR, E.HOST_DEAD, p.POWEROFF, (C.PROVEN_STOPPED, C.UNDO_OPERATION)),
    Row(
        (p.PROLOG, p.PROLOG_FAILURE),
        E.HOST_DEAD,
        p.PENDING,
        (C.PROVEN_STOPPED, C.CLOSE_RECORD, C.GIVE_CAPACITY),
    ),
    Row(
        (p.PROLOG_RESUME, p.PROLOG_RESUME_FAILURE, p.PROLOG_UNDEPLOY, p.PROLOG_UNDEPLOY_FAILURE),
        E.HOST_DEAD,
        p.PENDING,
        (C.PROVEN_STOPPED, C.ACTION_AS_PARKED, C.CLOSE_RECORD, C.GIVE_CAPACITY),
    ),
    Row(_MOVING, E.HOST_DEAD, p.UNKNOWN, (C.PROVEN_STOPPED, *_FILES_BACK), None, Guard.FILES_STAYED),
    Row(_MOVING, E.HOST_DEAD, p.UNKNOWN, (C.PROVEN_STOPPED,)),
    Row(_MOVING_OFF, E.HOST_DEAD, p.POWEROFF, (C.PROVEN_STOPPED, *_FILES_BACK), None, Guard.FILES_STAYED),
    Row(_MOVING_SUSPENDED, E.HOST_DEAD, p.SUSPENDED, (C.PROVEN_STOPPED, *_FILES_BACK), None, Guard.FILES_STAYED),
    Row(
        (p.PROLOG_MIGRATE_POWEROFF, p.PROLOG_MIGRATE_POWEROFF_FAILURE),
        E.HOST_DEAD,
        p.POWEROFF,
        (C.PROVEN_STOPPED, C.PROLOG_ENDS, C.RUN_ENDS),
    ),
    Row(
        (p.PROLOG_MIGRATE_SUSPEND, p.PROLOG_MIGRATE_SUSPEND_FAILURE),
        E.HOST_DEAD,
        p.SUSPENDED,
        (C.PROVEN_STOPPED, C.PROLOG_ENDS, C.RUN_ENDS),
    ),
    Row(
        (p.MIGRATE, p.SAVE_MIGRATE),
        E.HOST_DEAD,
        p.UNKNOWN,
        (C.PROVEN_STOPPED, C.CLOSE_RECORD, C.CLOSE_PREVIOUS, C.GIVE_DESTINATION, C.REOPEN_SOURCE_RUNNING),
        None,
        Guard.SOURCE_DIED_WITH_FILES,
    ),
    Row((p.MIGRATE,), E.HOST_DEAD, p.BOOT, (*_SOURCE_GONE, C.RUN_STARTS), K.VMM_DEPLOY, Guard.SOURCE_DIED),
    Row((p.MIGRATE,), E.HOST_DEAD, p.BOOT, _DESTINATION_GONE, K.VMM_DEPLOY, Guard.DESTINATION_DIED),
    Row(
        (p.SAVE_MIGRATE,),
        E.HOST_DEAD,
        p.PROLOG_MIGRATE_UNKNOWN,
        (*_SOURCE_GONE, C.PROLOG_STARTS),
        K.TM_MIGRATE,
        Guard.SOURCE_DIED,
    ),
    Row(
        (p.SAVE_MIGRATE,),
        E.HOST_DEAD,
        p.UNKNOWN,
        (C.PROVEN_STOPPED, C.CLOSE_RECORD, C.CLOSE_PREVIOUS, C.REOPEN_SOURCE_RUNNING),
        None,
        Guard.BOTH_DIED,
    ),
    Row((p.MIGRATE, p.SAVE_MIGRATE), E.HOST_DEAD, p.UNKNOWN, _SOURCE_GONE, None, Guard.SOURCE_DIED_IN_DOUBT),
    Row((p.MIGRATE,), E.HOST_DEAD, p.UNKNOWN, _DESTINATION_GONE),
    Row((p.SUSPENDED,), E.HOST_DEAD, p.POWEROFF, (C.PROVEN_STOPPED, C.RUN_ENDS_IF_OPEN), None, Guard.FOUND_PAUSED),
    Row((p.SAVE_SUSPEND, p.SAVE_STOP), E.HOST_DEAD, p.POWEROFF, (C.PROVEN_STOPPED, C.RUN_ENDS)),
    Row((p.SHUTDOWN_POWEROFF,), E.HOST_DEAD, p.POWEROFF, (C.PROVEN_STOPPED, C.RUN_ENDS)),
    Row((p.SHUTDOWN,), E.HOST_DEAD, p.EPILOG, (C.PROVEN_STOPPED, C.EPILOG_STARTS), K.TM_EPILOG),
    Row((p.SHUTDOWN_UNDEPLOY,), E.HOST_DEAD, p.EPILOG_UNDEPLOY, (C.PROVEN_STOPPED, C.EPILOG_STARTS), K.TM_STOP),
    Row(
        (
            *(p.POWEROFF, p.SUSPENDED, p.SAVE_MIGRATE, *_BY_FILES),
            *(p.EPILOG, p.EPILOG_STOP, p.EPILOG_UNDEPLOY),
            *(p.EPILOG_FAILURE, p.EPILOG_STOP_FAILURE, p.EPILOG_UNDEPLOY_FAILURE),
        ),
        E.HOST_DEAD,
        None,
        (C.PROVEN_STOPPED,),
    ),
)
