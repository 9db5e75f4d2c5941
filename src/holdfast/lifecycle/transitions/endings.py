"""The end of a VM that its user terminates: shutdown, its files saved or removed, DONE."""

from __future__ import annotations

from holdfast.lifecycle.events import VmEvent as E
from holdfast.lifecycle.positions import (
    CLEANUP_DELETE,
    CLONING,
    CLONING_FAILURE,
    DONE,
    EPILOG,
    EPILOG_FAILURE,
    INIT,
    PARKED,
    POWEROFF,
    RUNNING,
    SHUTDOWN,
    SUSPENDED,
    UNKNOWN,
    WAITING,
)
from holdfast.lifecycle.row import At, Row, rows
from holdfast.lifecycle.vocabulary import Change as C
from holdfast.lifecycle.vocabulary import Guard
from holdfast.model.enums import EffectKind

UNBORN = (INIT, CLONING, CLONING_FAILURE)
"""The VM has never been on a host; one that waits may have been: it has files on the front-end, or a domain is left."""


def _terminates(event: E, action: C) -> tuple[Row, ...]:
    """From everywhere but the transient positions; where a domain may be left it is destroyed first."""
    hard = event is E.TERMINATE_HARD
    effect = EffectKind.VMM_CANCEL if hard else EffectKind.VMM_SHUTDOWN
    shut = (action, C.HARDLY if hard else C.SOFTLY, C.DROP_RESCHED)
    destroyed = (C.ACTION_TERMINATE, C.HARDLY, C.DROP_RESCHED)
    gone = (C.ACTION_TERMINATE, C.EPILOG_STARTS)
    ended = (C.RUN_ENDS_IF_OPEN, C.CLOSE_RECORD, C.END)
    return (
        Row((UNKNOWN,), event, EPILOG, (action, C.EPILOG_STARTS, C.DROP_RESCHED), EffectKind.TM_EPILOG, Guard.NOWHERE),
        Row((POWEROFF, SUSPENDED), event, EPILOG, gone, EffectKind.TM_EPILOG, Guard.NOWHERE),
        Row((POWEROFF, SUSPENDED), event, SHUTDOWN, destroyed, EffectKind.VMM_CANCEL, Guard.ONLY_HERE),
        Row((RUNNING, UNKNOWN), event, SHUTDOWN, shut, effect, Guard.ONLY_HERE),
        Row(PARKED, event, EPILOG, gone, EffectKind.TM_EPILOG, Guard.NOWHERE),
        Row(WAITING, event, EPILOG, gone, EffectKind.TM_EPILOG, Guard.ON_FRONTEND),
        Row(WAITING, event, DONE, ended, None, Guard.NOWHERE),
        Row(WAITING, event, CLEANUP_DELETE, (C.DROP_RESCHED,), EffectKind.VMM_CLEANUP, at=At.WHERE_IT_MAY_RUN),
        Row(UNBORN, event, DONE, ended),
        Row((DONE,), event, None),
    )


TERMINATIONS = rows(
    *_terminates(E.TERMINATE, C.ACTION_TERMINATE),
    *_terminates(E.TERMINATE_HARD, C.ACTION_TERMINATE_HARD),
    Row(
        (SHUTDOWN,),
        E.TERMINATE_HARD,
        SHUTDOWN,
        (C.ACTION_TERMINATE_HARD, C.HARDLY, C.DROP_RESCHED),
        EffectKind.VMM_CANCEL,
        Guard.ONLY_HERE,
    ),
    Row(
        (SHUTDOWN,),
        E.SHUTDOWN_OK,
        EPILOG,
        (C.STOPPED_HERE, C.EPILOG_STARTS),
        EffectKind.TM_EPILOG,
        Guard.LEFT_NOWHERE,
    ),
    Row((SHUTDOWN,), E.SHUTDOWN_OK, SHUTDOWN, (C.STOPPED_HERE,), EffectKind.VMM_CANCEL, at=At.WHERE_IT_MAY_RUN),
    Row((SHUTDOWN,), E.SHUTDOWN_FAIL, RUNNING, (C.CLEAR_ACTION, C.MAY_RUN_HERE)),
    Row((EPILOG,), E.EPILOG_OK, DONE, (C.EPILOG_ENDS, C.CLOSE_RECORD, C.GIVE_CAPACITY, C.END)),
    Row((EPILOG,), E.EPILOG_FAIL, EPILOG_FAILURE),
)
