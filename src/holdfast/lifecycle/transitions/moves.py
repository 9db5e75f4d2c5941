"""To another host: live, through a checkpoint, through a power-off, or as a VM that does not run.

While a running VM is on its way, both hosts hold its capacity; it may run on both only while it migrates live.  A VM
that cannot start where it is can be moved from there (OpenNebula has no way out of these positions).
"""

from __future__ import annotations

from holdfast.lifecycle.events import VmEvent as E
from holdfast.lifecycle.positions import (
    BOOT,
    BOOT_FAILURE,
    BOOT_MIGRATE,
    BOOT_MIGRATE_FAILURE,
    BOOT_STOPPED_FAILURE,
    BOOT_UNDEPLOY_FAILURE,
    MIGRATE,
    POWEROFF,
    PROLOG_MIGRATE,
    PROLOG_MIGRATE_FAILURE,
    PROLOG_MIGRATE_POWEROFF,
    PROLOG_MIGRATE_POWEROFF_FAILURE,
    PROLOG_MIGRATE_SUSPEND,
    PROLOG_MIGRATE_SUSPEND_FAILURE,
    PROLOG_MIGRATE_UNKNOWN,
    PROLOG_MIGRATE_UNKNOWN_FAILURE,
    RUNNING,
    SAVE_MIGRATE,
    SUSPENDED,
    UNKNOWN,
)
from holdfast.lifecycle.row import At, Row, rows
from holdfast.lifecycle.vocabulary import Change as C
from holdfast.lifecycle.vocabulary import Guard
from holdfast.model.enums import EffectKind

RESCHEDULED = (
    *(RUNNING, UNKNOWN, POWEROFF, BOOT_FAILURE, BOOT_MIGRATE_FAILURE, BOOT_UNDEPLOY_FAILURE, BOOT_STOPPED_FAILURE),
    *(PROLOG_MIGRATE_UNKNOWN_FAILURE, PROLOG_MIGRATE_POWEROFF_FAILURE),
)
"""Where a user may ask for another host; OpenNebula knows the first three."""

_LEAVES = (C.RUN_ENDS_IF_OPEN, C.CLOSE_RECORD)
_MOVED = (C.GIVE_CAPACITY, C.OPEN_RECORD, C.TAKE_CAPACITY, C.PROLOG_STARTS, C.DROP_RESCHED)
_ON_THE_WAY = (C.OPEN_RECORD, C.TAKE_CAPACITY, C.DROP_RESCHED)
_BOOTS = (C.PROLOG_ENDS, C.RUN_STARTS, C.MAY_RUN_HERE)
_LEFT = (C.STOPPED_HERE, C.CLOSE_PREVIOUS, C.GIVE_PREVIOUS, C.PROLOG_STARTS)
_STAYED = (C.CLOSE_RECORD, C.CLOSE_PREVIOUS, C.GIVE_DESTINATION, C.REOPEN_SOURCE_RUNNING, C.MAY_RUN_HERE)
_RESTS_AT_SOURCE = (
    *(C.STOPPED_HERE, C.CLOSE_RECORD, C.CLOSE_PREVIOUS, C.GIVE_DESTINATION, C.REOPEN_SOURCE_RUNNING, C.RUN_ENDS),
)
"""A domain may be left somewhere: the files stay where they are."""
_BACK_AT_SOURCE = (C.STOPPED_HERE, *_STAYED)

ORDERS = rows(
    Row(
        (UNKNOWN, BOOT_FAILURE, BOOT_UNDEPLOY_FAILURE, PROLOG_MIGRATE_UNKNOWN_FAILURE),
        E.MIGRATE,
        PROLOG_MIGRATE_UNKNOWN,
        (*_LEAVES, *_MOVED, C.ACTION_MIGRATE_BOTH),
        EffectKind.TM_MIGRATE,
        Guard.MOVABLE,
    ),
    Row(
        (BOOT_MIGRATE_FAILURE, BOOT_STOPPED_FAILURE),
        E.MIGRATE,
        PROLOG_MIGRATE,
        (*_LEAVES, *_MOVED, C.ACTION_MIGRATE_BOTH),
        EffectKind.TM_MIGRATE,
        Guard.MOVABLE,
    ),
    Row(
        (POWEROFF, PROLOG_MIGRATE_POWEROFF_FAILURE),
        E.MIGRATE,
        PROLOG_MIGRATE_POWEROFF,
        (C.RUN_ENDS, C.CLOSE_RECORD, *_MOVED, C.ACTION_MIGRATE),
        EffectKind.TM_MIGRATE,
        Guard.MOVABLE,
    ),
    Row(
        (SUSPENDED, PROLOG_MIGRATE_SUSPEND_FAILURE),
        E.MIGRATE,
        PROLOG_MIGRATE_SUSPEND,
        (C.RUN_ENDS, C.CLOSE_RECORD, *_MOVED, C.ACTION_MIGRATE),
        EffectKind.TM_MIGRATE,
        Guard.MOVABLE,
    ),
    Row(
        (RUNNING,),
        E.MIGRATE_SAVE,
        SAVE_MIGRATE,
        (*_ON_THE_WAY, C.ACTION_MIGRATE_BOTH),
        EffectKind.VMM_SAVE,
        Guard.MOVABLE_ALIVE,
        At.PREVIOUS,
    ),
    Row(
        (RUNNING,),
        E.MIGRATE_POWEROFF,
        SAVE_MIGRATE,
        (*_ON_THE_WAY, C.SOFTLY, C.ACTION_POFF_MIGRATE_BOTH),
        EffectKind.VMM_SHUTDOWN,
        Guard.MOVABLE_ALIVE,
        At.PREVIOUS,
    ),
    Row(
        (RUNNING,),
        E.MIGRATE_POWEROFF_HARD,
        SAVE_MIGRATE,
        (*_ON_THE_WAY, C.HARDLY, C.ACTION_POFF_HARD_MIGRATE_BOTH),
        EffectKind.VMM_CANCEL,
        Guard.MOVABLE_ALIVE,
        At.PREVIOUS,
    ),
    Row(
        (RUNNING,),
        E.MIGRATE_LIVE,
        MIGRATE,
        (*_ON_THE_WAY, C.MAY_RUN_HERE, C.ACTION_LIVE_MIGRATE_PREVIOUS),
        EffectKind.VMM_MIGRATE,
        Guard.MOVABLE_ALIVE,
        At.PREVIOUS,
    ),
    Row(RESCHEDULED, E.RESCHED, None, (C.SET_RESCHED,)),
    Row(RESCHEDULED, E.UNRESCHED, None, (C.DROP_RESCHED,)),
    Row((*RESCHEDULED, SUSPENDED, PROLOG_MIGRATE_SUSPEND_FAILURE), E.RESTART_ELSEWHERE, None, (C.SET_RESCHED,)),
    Row((SUSPENDED, PROLOG_MIGRATE_SUSPEND_FAILURE), E.UNRESCHED, None, (C.DROP_RESCHED,)),
)


def _left_the_source(event: E) -> tuple[Row, ...]:
    """The first leg of a move is done: the files follow; if the destination was lost meanwhile, the VM starts again."""
    return (
        Row(
            (SAVE_MIGRATE,),
            event,
            BOOT,
            _BACK_AT_SOURCE,
            EffectKind.VMM_DEPLOY,
            Guard.WITHOUT_CHECKPOINT_DESTINATION_LOST,
        ),
        Row((SAVE_MIGRATE,), event, BOOT_MIGRATE, _BACK_AT_SOURCE, EffectKind.VMM_RESTORE, Guard.DESTINATION_LOST),
        Row((SAVE_MIGRATE,), event, PROLOG_MIGRATE, _LEFT, EffectKind.TM_MIGRATE, Guard.LEFT_NOWHERE),
        Row((SAVE_MIGRATE,), event, POWEROFF, _RESTS_AT_SOURCE, None, Guard.WITHOUT_CHECKPOINT),
        Row((SAVE_MIGRATE,), event, SUSPENDED, _RESTS_AT_SOURCE),
    )


LEGS = rows(
    *_left_the_source(E.SAVE_OK),
    *_left_the_source(E.SHUTDOWN_OK),
    Row((SAVE_MIGRATE,), E.SAVE_FAIL, RUNNING, _STAYED),
    Row((SAVE_MIGRATE,), E.SHUTDOWN_FAIL, RUNNING, _STAYED),
    Row((PROLOG_MIGRATE,), E.PROLOG_OK, BOOT, _BOOTS, EffectKind.VMM_DEPLOY, Guard.WITHOUT_CHECKPOINT),
    Row((PROLOG_MIGRATE,), E.PROLOG_OK, BOOT_MIGRATE, _BOOTS, EffectKind.VMM_RESTORE),
    Row((PROLOG_MIGRATE,), E.PROLOG_FAIL, PROLOG_MIGRATE_FAILURE),
    Row((BOOT_MIGRATE,), E.BOOT_OK, RUNNING, (C.BOOTED,)),
    Row((BOOT_MIGRATE,), E.BOOT_FAIL, BOOT_FAILURE, (C.RUN_ENDS, C.STOPPED_HERE), None, Guard.CHECKPOINT_GONE),
    Row((BOOT_MIGRATE,), E.BOOT_FAIL, BOOT_MIGRATE_FAILURE, (C.RUN_ENDS, C.STOPPED_HERE)),
    Row((PROLOG_MIGRATE_UNKNOWN,), E.PROLOG_OK, BOOT, _BOOTS, EffectKind.VMM_DEPLOY),
    Row((PROLOG_MIGRATE_UNKNOWN,), E.PROLOG_FAIL, PROLOG_MIGRATE_UNKNOWN_FAILURE),
    Row((PROLOG_MIGRATE_POWEROFF,), E.PROLOG_OK, POWEROFF, (C.PROLOG_ENDS, C.RUN_ENDS)),
    Row((PROLOG_MIGRATE_POWEROFF,), E.PROLOG_FAIL, PROLOG_MIGRATE_POWEROFF_FAILURE),
    Row((PROLOG_MIGRATE_SUSPEND,), E.PROLOG_OK, SUSPENDED, (C.PROLOG_ENDS, C.RUN_ENDS)),
    Row((PROLOG_MIGRATE_SUSPEND,), E.PROLOG_FAIL, PROLOG_MIGRATE_SUSPEND_FAILURE),
    Row(
        (MIGRATE,),
        E.BOOT_OK,
        RUNNING,
        (C.STOPPED_AT_SOURCE, C.CLOSE_PREVIOUS, C.GIVE_PREVIOUS, C.RUN_STARTS, C.BOOTED),
    ),
)

LIVE_FAILURE = rows(
    Row((MIGRATE,), E.BOOT_FAIL, RUNNING, (C.STOPPED_AT_DESTINATION, *_STAYED), None, Guard.CERTAIN),
    Row((MIGRATE,), E.BOOT_FAIL, MIGRATE, (), EffectKind.VMM_MIGRATE, at=At.PREVIOUS),
)
"""When nobody knows on which side the VM is, the driver looks again and carries on, until it is certain."""
LIVE_FAILURE_BY_WORD = rows(Row((MIGRATE,), E.RECOVER_FAILURE, RUNNING, _STAYED))
