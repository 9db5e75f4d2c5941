"""``recover --delete``, ``--recreate`` and ``--delete-db``, and the termination of a VM that failed.

A domain that may exist is destroyed before its files go, and DONE waits for it (OpenNebula goes to DONE at once and
leaves the rest to luck).  What an operator wants removed is removed even when nobody can tell what became of it.
"""

from __future__ import annotations

from holdfast.lifecycle.events import VmEvent as E
from holdfast.lifecycle.positions import (
    CLEANUP_DELETE,
    CLEANUP_RESUBMIT,
    DONE,
    FAILURES,
    FILES_ON_THE_WAY,
    HOLD,
    LCM_INIT,
    ON_TWO_HOSTS,
    OPERATIONS_PARKED,
    PARKED,
    PENDING,
    PLACED,
    POWEROFF,
    SUSPENDED,
    WAITING,
    Position,
)
from holdfast.lifecycle.row import At, Row, rows
from holdfast.lifecycle.transitions.endings import UNBORN
from holdfast.lifecycle.vocabulary import Change as C
from holdfast.lifecycle.vocabulary import Guard
from holdfast.model.enums import EffectKind

_OFF = (POWEROFF, SUSPENDED)
_ELSEWHERE = (*FILES_ON_THE_WAY, *ON_TWO_HOSTS, *_OFF)
_ONE_HOST = tuple(at for at in (*PLACED, LCM_INIT, *OPERATIONS_PARKED) if at not in _ELSEWHERE)
_LEAVES = (C.UNDO_OPERATION, C.LEG_ENDS, C.CLOSE_RECORD, C.GIVE_CAPACITY, C.DROP_RESCHED)
_ENDED = (C.RUN_ENDS_IF_OPEN, C.CLOSE_RECORD, C.END)
_LEAVES_BOTH = (*_LEAVES, C.CLOSE_PREVIOUS_IF_OPEN, C.GIVE_PREVIOUS)


def _cleanup(
    event: E, sources: tuple[Position, ...], to: Position, changes: tuple[C, ...], files: At = At.CURRENT
) -> tuple[Row, ...]:
    """The domain first when one may exist, then the files."""
    return (
        Row(sources, event, to, changes, EffectKind.TM_DELETE, Guard.NOWHERE, files),
        Row(sources, event, to, changes, EffectKind.VMM_CLEANUP, at=At.WHERE_IT_MAY_RUN),
    )


def _terminates_failed(event: E) -> tuple[Row, ...]:
    on_the_way = tuple(at for at in FAILURES if at in FILES_ON_THE_WAY)
    others = tuple(at for at in FAILURES if at not in FILES_ON_THE_WAY)
    return (
        *_cleanup(event, others, CLEANUP_DELETE, (C.ACTION_DELETE, *_LEAVES)),
        *_cleanup(event, on_the_way, CLEANUP_DELETE, (C.ACTION_DELETE, *_LEAVES), At.BOTH),
    )


DELETIONS = rows(
    *_cleanup(E.RECOVER_DELETE, _ONE_HOST, CLEANUP_DELETE, (C.ACTION_DELETE, *_LEAVES)),
    *_cleanup(E.RECOVER_DELETE, FILES_ON_THE_WAY, CLEANUP_DELETE, (C.ACTION_DELETE, *_LEAVES), At.BOTH),
    *_cleanup(E.RECOVER_DELETE, ON_TWO_HOSTS, CLEANUP_DELETE, (C.ACTION_DELETE, *_LEAVES_BOTH)),
    *_cleanup(E.RECOVER_DELETE, (*_OFF, *PARKED), CLEANUP_DELETE, _LEAVES),
    *(row for event in (E.TERMINATE, E.TERMINATE_HARD) for row in _terminates_failed(event)),
    Row(WAITING, E.RECOVER_DELETE, CLEANUP_DELETE, (C.DROP_RESCHED,), EffectKind.TM_DELETE, Guard.ON_FRONTEND),
    Row(WAITING, E.RECOVER_DELETE, DONE, _ENDED, None, Guard.NOWHERE),
    Row(
        WAITING,
        E.RECOVER_DELETE,
        CLEANUP_DELETE,
        (C.DROP_RESCHED,),
        EffectKind.VMM_CLEANUP,
        at=At.WHERE_IT_MAY_RUN,
    ),
    Row(UNBORN, E.RECOVER_DELETE, DONE, _ENDED),
    Row((CLEANUP_DELETE,), E.RECOVER_DELETE, DONE, (C.FORGET, C.END)),
    *_cleanup(E.RECOVER_DELETE, (CLEANUP_RESUBMIT,), CLEANUP_DELETE, (C.ACTION_DELETE,)),
    Row((DONE,), E.RECOVER_DELETE, None),
)

RECREATIONS = rows(
    *_cleanup(E.RECOVER_RECREATE, _ONE_HOST, CLEANUP_RESUBMIT, (C.ACTION_RECREATE, *_LEAVES, C.DROP_SNAPSHOTS)),
    *_cleanup(
        E.RECOVER_RECREATE,
        FILES_ON_THE_WAY,
        CLEANUP_RESUBMIT,
        (C.ACTION_RECREATE, *_LEAVES, C.DROP_SNAPSHOTS),
        At.BOTH,
    ),
    *_cleanup(E.RECOVER_RECREATE, ON_TWO_HOSTS, CLEANUP_RESUBMIT, (C.ACTION_RECREATE, *_LEAVES_BOTH, C.DROP_SNAPSHOTS)),
    *_cleanup(E.RECOVER_RECREATE, (*_OFF, *PARKED), CLEANUP_RESUBMIT, (C.ACTION_RECREATE, *_LEAVES, C.DROP_SNAPSHOTS)),
    Row(
        (HOLD,),
        E.RECOVER_RECREATE,
        CLEANUP_RESUBMIT,
        (C.ACTION_RECREATE, C.DROP_SNAPSHOTS),
        EffectKind.TM_DELETE,
        Guard.ON_FRONTEND,
    ),
    Row((HOLD,), E.RECOVER_RECREATE, PENDING, (C.ACTION_RECREATE,)),
    Row((PENDING, *UNBORN, CLEANUP_DELETE), E.RECOVER_RECREATE, None),
    Row((CLEANUP_RESUBMIT,), E.RECOVER_RECREATE, PENDING, (C.FORGET_DEPLOY_ID,)),
)

FORGETTING = rows(
    Row(
        (*_ONE_HOST, *FILES_ON_THE_WAY, *_OFF),
        E.RECOVER_DELETE_DB,
        DONE,
        (C.RUN_ENDS_IF_OPEN, C.CLOSE_RECORD, C.GIVE_CAPACITY, C.FORGET, C.END),
    ),
    Row(
        ON_TWO_HOSTS,
        E.RECOVER_DELETE_DB,
        DONE,
        (
            C.RUN_ENDS_IF_OPEN,
            C.CLOSE_RECORD,
            C.CLOSE_PREVIOUS_IF_OPEN,
            C.GIVE_CAPACITY,
            C.GIVE_PREVIOUS,
            C.FORGET,
            C.END,
        ),
    ),
    Row(
        (*WAITING, *UNBORN, *PARKED, CLEANUP_DELETE, CLEANUP_RESUBMIT),
        E.RECOVER_DELETE_DB,
        DONE,
        (
            C.FORGET,
            C.END,
        ),
    ),
    Row((DONE,), E.RECOVER_DELETE_DB, None),
)


def _goes_on(at: Position, end: Position, changes: tuple[C, ...]) -> tuple[Row, ...]:
    """The clean-up of a VM: files after the domain, and its end whatever the storage or an operator says."""
    return (
        Row((at,), E.CLEANUP_ENDED, at, (C.STOPPED_HERE,), EffectKind.TM_DELETE, Guard.LEFT_NOWHERE),
        Row((at,), E.DELETE_ENDED, end, changes),
        Row((at,), E.HOST_DEAD, at, (C.PROVEN_STOPPED,), EffectKind.TM_DELETE, Guard.DIED_LAST),
        Row((at,), E.HOST_DEAD, at, (C.PROVEN_STOPPED,), EffectKind.VMM_CLEANUP, at=At.WHERE_IT_MAY_RUN),
        Row((at,), E.RECOVER_SUCCESS, end, changes),
        Row((at,), E.RECOVER_FAILURE, end, changes),
        Row((at,), E.RECOVER_RETRY, None),
    )


CLEANUPS = rows(
    *_goes_on(CLEANUP_DELETE, DONE, (C.FORGET, C.END)),
    Row(
        (CLEANUP_DELETE,),
        E.CLEANUP_ENDED,
        CLEANUP_DELETE,
        (C.STOPPED_HERE,),
        EffectKind.VMM_CLEANUP,
        at=At.WHERE_IT_MAY_RUN,
    ),
    *_goes_on(CLEANUP_RESUBMIT, PENDING, (C.FORGET_DEPLOY_ID,)),
    Row((CLEANUP_RESUBMIT,), E.CLEANUP_ENDED, PENDING, (C.STOPPED_HERE, C.FORGET_DEPLOY_ID)),
)
"""A deleted VM whose domain is not certainly gone is cleaned up again and again; a recreated one waits, PENDING."""
