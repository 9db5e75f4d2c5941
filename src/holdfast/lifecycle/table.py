"""The VM's transition table.

One row says: in any of these positions, on this event, when the guard holds, go there, make these changes, ask the
driver for this effect.  Rows are tried in order; the first whose guard holds wins; when none holds, the last guard's
refusal is the answer.  A (position, event) pair without a row is not available.  ``to=None`` stays.

Source: OpenNebula's life cycle (positions, numbers, history records), except where Holdfast deviates on purpose
(``docs/adr/0003-proof-before-start.md``): a start needs :data:`Guard.STARTABLE`, and a VM whose host is proven dead is
resolved instead of left behind.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from holdfast.lifecycle.events import VmEvent as E
from holdfast.lifecycle.vocabulary import Change as C
from holdfast.lifecycle.vocabulary import Guard
from holdfast.model.enums import EffectKind
from holdfast.model.vm_states import LcmState, VmState

Position = tuple[VmState, LcmState]


def _at(lcm: LcmState) -> Position:
    return (VmState.ACTIVE, lcm)


def _in(state: VmState) -> Position:
    return (state, LcmState.LCM_INIT)


PENDING = _in(VmState.PENDING)
HOLD = _in(VmState.HOLD)
POWEROFF = _in(VmState.POWEROFF)
DONE = _in(VmState.DONE)
PROLOG = _at(LcmState.PROLOG)
PROLOG_FAILURE = _at(LcmState.PROLOG_FAILURE)
BOOT = _at(LcmState.BOOT)
BOOT_FAILURE = _at(LcmState.BOOT_FAILURE)
BOOT_POWEROFF = _at(LcmState.BOOT_POWEROFF)
BOOT_UNKNOWN = _at(LcmState.BOOT_UNKNOWN)
RUNNING = _at(LcmState.RUNNING)
UNKNOWN = _at(LcmState.UNKNOWN)
MOVING = _at(LcmState.PROLOG_MIGRATE_UNKNOWN)
MOVING_FAILURE = _at(LcmState.PROLOG_MIGRATE_UNKNOWN_FAILURE)
MOVING_OFF = _at(LcmState.PROLOG_MIGRATE_POWEROFF)
MOVING_OFF_FAILURE = _at(LcmState.PROLOG_MIGRATE_POWEROFF_FAILURE)
SHUTDOWN = _at(LcmState.SHUTDOWN)
SHUTDOWN_POWEROFF = _at(LcmState.SHUTDOWN_POWEROFF)
EPILOG = _at(LcmState.EPILOG)
EPILOG_FAILURE = _at(LcmState.EPILOG_FAILURE)
CLEANUP_RESUBMIT = _at(LcmState.CLEANUP_RESUBMIT)
CLEANUP_DELETE = _at(LcmState.CLEANUP_DELETE)

FAILURES = (PROLOG_FAILURE, BOOT_FAILURE, MOVING_FAILURE, MOVING_OFF_FAILURE, EPILOG_FAILURE)
BOOTING = (BOOT, BOOT_POWEROFF, BOOT_UNKNOWN)
WAITING = (PENDING, HOLD)
PLACED = (
    *(PROLOG, *BOOTING, RUNNING, UNKNOWN, MOVING, MOVING_OFF, SHUTDOWN, SHUTDOWN_POWEROFF, EPILOG),
    *(*FAILURES, POWEROFF),
)
"""Every position in which the VM holds capacity on the host of its newest history record."""


@dataclass(frozen=True, slots=True)
class Row:
    """One transition."""

    sources: tuple[Position, ...]
    event: E
    to: Position | None
    changes: tuple[C, ...] = ()
    effect: EffectKind | None = None
    guard: Guard = Guard.ALWAYS


def _rows(*rows: Row) -> tuple[Row, ...]:
    return rows


PLACEMENT = _rows(
    Row((PENDING,), E.HOLD, HOLD),
    Row((HOLD,), E.RELEASE, PENDING),
    Row(
        WAITING,
        E.DEPLOY,
        PROLOG,
        (C.OPEN_RECORD, C.TAKE_CAPACITY, C.PROLOG_STARTS),
        EffectKind.TM_PROLOG,
        Guard.STARTABLE,
    ),
    Row((PROLOG,), E.PROLOG_OK, BOOT, (C.PROLOG_ENDS, C.RUN_STARTS, C.MAY_RUN_HERE), EffectKind.VMM_DEPLOY),
    Row((PROLOG,), E.PROLOG_FAIL, PROLOG_FAILURE),
    Row(BOOTING, E.BOOT_OK, RUNNING, (C.BOOTED,)),
    Row((BOOT,), E.BOOT_FAIL, BOOT_FAILURE, (C.RUN_ENDS, C.STOPPED_IF_CERTAIN)),
    Row((BOOT_POWEROFF,), E.BOOT_FAIL, POWEROFF, (C.RUN_ENDS, C.STOPPED_IF_CERTAIN)),
    Row((BOOT_UNKNOWN,), E.BOOT_FAIL, UNKNOWN, (C.RUN_ENDS, C.STOPPED_IF_CERTAIN)),
)

_RESCHEDULED = (RUNNING, UNKNOWN, POWEROFF, BOOT_FAILURE, MOVING_FAILURE, MOVING_OFF_FAILURE)
_MOVED = (C.GIVE_CAPACITY, C.OPEN_RECORD, C.TAKE_CAPACITY, C.PROLOG_STARTS, C.DROP_RESCHED)

MOVES = _rows(
    Row(
        (UNKNOWN, BOOT_FAILURE, MOVING_FAILURE),
        E.MIGRATE,
        MOVING,
        (C.CLOSE_RECORD_MOVED, *_MOVED),
        EffectKind.TM_MIGRATE,
        Guard.MOVABLE,
    ),
    Row((MOVING,), E.PROLOG_OK, BOOT, (C.PROLOG_ENDS, C.RUN_STARTS, C.MAY_RUN_HERE), EffectKind.VMM_DEPLOY),
    Row((MOVING,), E.PROLOG_FAIL, MOVING_FAILURE),
    Row(
        (POWEROFF, MOVING_OFF_FAILURE),
        E.MIGRATE,
        MOVING_OFF,
        (C.RUN_ENDS, C.CLOSE_RECORD, *_MOVED),
        EffectKind.TM_MIGRATE,
        Guard.MOVABLE,
    ),
    Row((MOVING_OFF,), E.PROLOG_OK, POWEROFF, (C.PROLOG_ENDS, C.RUN_ENDS)),
    Row((MOVING_OFF,), E.PROLOG_FAIL, MOVING_OFF_FAILURE),
    Row(_RESCHEDULED, E.RESCHED, None, (C.SET_RESCHED,)),
    Row(_RESCHEDULED, E.UNRESCHED, None, (C.DROP_RESCHED,)),
)

STOPS = _rows(
    Row((UNKNOWN,), E.POWEROFF, POWEROFF, (C.ACTION_POWEROFF, C.RUN_ENDS), None, Guard.NOWHERE),
    Row((UNKNOWN,), E.POWEROFF_HARD, POWEROFF, (C.ACTION_POWEROFF_HARD, C.RUN_ENDS), None, Guard.NOWHERE),
    Row(
        (RUNNING, UNKNOWN),
        E.POWEROFF,
        SHUTDOWN_POWEROFF,
        (C.ACTION_POWEROFF, C.SOFTLY, C.DROP_RESCHED),
        EffectKind.VMM_SHUTDOWN,
        Guard.HOST_IN_TOUCH,
    ),
    Row(
        (RUNNING, UNKNOWN, SHUTDOWN_POWEROFF),
        E.POWEROFF_HARD,
        SHUTDOWN_POWEROFF,
        (C.ACTION_POWEROFF_HARD, C.HARDLY, C.DROP_RESCHED),
        EffectKind.VMM_CANCEL,
        Guard.HOST_IN_TOUCH,
    ),
    Row((SHUTDOWN_POWEROFF,), E.SHUTDOWN_OK, POWEROFF, (C.RUN_ENDS, C.STOPPED_HERE)),
    Row((SHUTDOWN_POWEROFF,), E.SHUTDOWN_FAIL, RUNNING, (C.CLEAR_ACTION,)),
    Row(
        (POWEROFF,),
        E.RESUME,
        BOOT_POWEROFF,
        (C.COPY_RECORD_RESUME, C.RUN_STARTS, C.MAY_RUN_HERE),
        EffectKind.VMM_DEPLOY,
        Guard.STARTABLE_HERE,
    ),
    Row((UNKNOWN,), E.RESUME, BOOT_UNKNOWN, (C.MAY_RUN_HERE,), EffectKind.VMM_DEPLOY, Guard.STARTABLE_HERE),
    Row((RUNNING,), E.REBOOT, None, (C.DROP_RESCHED,), EffectKind.VMM_REBOOT),
    Row((RUNNING,), E.REBOOT_HARD, None, (C.DROP_RESCHED,), EffectKind.VMM_RESET),
)

ENDINGS = _rows(
    Row(
        (UNKNOWN, POWEROFF),
        E.TERMINATE,
        EPILOG,
        (C.ACTION_TERMINATE, C.EPILOG_STARTS),
        EffectKind.TM_EPILOG,
        Guard.NOWHERE,
    ),
    Row(
        (UNKNOWN, POWEROFF),
        E.TERMINATE_HARD,
        EPILOG,
        (C.ACTION_TERMINATE_HARD, C.EPILOG_STARTS),
        EffectKind.TM_EPILOG,
        Guard.NOWHERE,
    ),
    Row(
        (RUNNING, UNKNOWN),
        E.TERMINATE,
        SHUTDOWN,
        (C.ACTION_TERMINATE, C.SOFTLY, C.DROP_RESCHED),
        EffectKind.VMM_SHUTDOWN,
        Guard.HOST_IN_TOUCH,
    ),
    Row(
        (RUNNING, UNKNOWN, SHUTDOWN, POWEROFF),
        E.TERMINATE_HARD,
        SHUTDOWN,
        (C.ACTION_TERMINATE_HARD, C.HARDLY, C.DROP_RESCHED),
        EffectKind.VMM_CANCEL,
        Guard.HOST_IN_TOUCH,
    ),
    Row(
        (POWEROFF,),
        E.TERMINATE,
        SHUTDOWN,
        (C.ACTION_TERMINATE, C.HARDLY, C.DROP_RESCHED),
        EffectKind.VMM_CANCEL,
        Guard.HOST_IN_TOUCH,
    ),
    Row((SHUTDOWN,), E.SHUTDOWN_OK, EPILOG, (C.STOPPED_HERE, C.EPILOG_STARTS), EffectKind.TM_EPILOG),
    Row((SHUTDOWN,), E.SHUTDOWN_FAIL, RUNNING, (C.CLEAR_ACTION,)),
    Row((EPILOG,), E.EPILOG_OK, DONE, (C.EPILOG_ENDS, C.CLOSE_RECORD, C.GIVE_CAPACITY, C.END)),
    Row((EPILOG,), E.EPILOG_FAIL, EPILOG_FAILURE),
    Row(WAITING, E.TERMINATE, DONE, (C.END,)),
    Row(WAITING, E.TERMINATE_HARD, DONE, (C.END,)),
    Row((DONE,), E.TERMINATE, None),
    Row((DONE,), E.TERMINATE_HARD, None),
)


def _cleanup(event: E, sources: tuple[Position, ...], to: Position, action: C) -> tuple[Row, ...]:
    """Removal of a VM: its domain first when one may exist, then its files."""
    changes = (action, C.RUN_ENDS_IF_OPEN, C.CLOSE_RECORD, C.GIVE_CAPACITY, C.DROP_RESCHED)
    return (
        Row(sources, event, to, changes, EffectKind.TM_DELETE, Guard.NOWHERE),
        Row(sources, event, to, changes, EffectKind.VMM_CLEANUP),
    )


CLEANUPS = _rows(
    *_cleanup(E.RECOVER_DELETE, PLACED, CLEANUP_DELETE, C.ACTION_DELETE),
    *_cleanup(E.TERMINATE, FAILURES, CLEANUP_DELETE, C.ACTION_DELETE),
    *_cleanup(E.TERMINATE_HARD, FAILURES, CLEANUP_DELETE, C.ACTION_DELETE),
    *_cleanup(E.RECOVER_RECREATE, PLACED, CLEANUP_RESUBMIT, C.ACTION_RECREATE),
    Row(
        (CLEANUP_DELETE,),
        E.CLEANUP_ENDED,
        CLEANUP_DELETE,
        (C.STOPPED_IF_CERTAIN,),
        EffectKind.TM_DELETE,
        Guard.STOPPED_FOR_CERTAIN,
    ),
    Row((CLEANUP_DELETE,), E.CLEANUP_ENDED, DONE, (C.END,)),
    Row((CLEANUP_DELETE,), E.DELETE_ENDED, DONE, (C.END,)),
    Row((CLEANUP_DELETE,), E.HOST_DEAD, CLEANUP_DELETE, (C.PROVEN_STOPPED,), EffectKind.TM_DELETE),
    Row(
        (CLEANUP_RESUBMIT,),
        E.CLEANUP_ENDED,
        CLEANUP_RESUBMIT,
        (C.STOPPED_IF_CERTAIN,),
        EffectKind.TM_DELETE,
        Guard.STOPPED_FOR_CERTAIN,
    ),
    Row((CLEANUP_RESUBMIT,), E.CLEANUP_ENDED, PENDING, (C.FORGET_DEPLOY_ID,)),
    Row((CLEANUP_RESUBMIT,), E.DELETE_ENDED, PENDING, (C.FORGET_DEPLOY_ID,)),
    Row((CLEANUP_RESUBMIT,), E.HOST_DEAD, CLEANUP_RESUBMIT, (C.PROVEN_STOPPED,), EffectKind.TM_DELETE),
    Row((CLEANUP_DELETE,), E.RECOVER_SUCCESS, DONE, (C.END,)),
    Row((CLEANUP_DELETE,), E.RECOVER_FAILURE, DONE, (C.END,)),
    Row((CLEANUP_RESUBMIT,), E.RECOVER_SUCCESS, PENDING, (C.FORGET_DEPLOY_ID,)),
    Row((CLEANUP_RESUBMIT,), E.RECOVER_FAILURE, PENDING, (C.FORGET_DEPLOY_ID,)),
    Row(WAITING, E.RECOVER_DELETE, DONE, (C.END,)),
    Row((PENDING, CLEANUP_DELETE), E.RECOVER_RECREATE, None),
    Row((HOLD,), E.RECOVER_RECREATE, PENDING, (C.ACTION_RECREATE,)),
    Row((CLEANUP_RESUBMIT,), E.RECOVER_RECREATE, PENDING, (C.FORGET_DEPLOY_ID,)),
    Row((CLEANUP_DELETE,), E.RECOVER_DELETE, DONE, (C.END,)),
    Row((CLEANUP_RESUBMIT,), E.RECOVER_DELETE, CLEANUP_DELETE, (C.ACTION_DELETE,), EffectKind.TM_DELETE, Guard.NOWHERE),
    Row((CLEANUP_RESUBMIT,), E.RECOVER_DELETE, CLEANUP_DELETE, (C.ACTION_DELETE,), EffectKind.VMM_CLEANUP),
    Row((*WAITING, CLEANUP_DELETE, CLEANUP_RESUBMIT), E.RECOVER_DELETE_DB, DONE, (C.END,)),
    Row(PLACED, E.RECOVER_DELETE_DB, DONE, (C.RUN_ENDS_IF_OPEN, C.CLOSE_RECORD, C.GIVE_CAPACITY, C.END)),
    Row((DONE,), E.RECOVER_DELETE, None),
    Row((DONE,), E.RECOVER_DELETE_DB, None),
)

_RESEND = {
    PROLOG: EffectKind.TM_PROLOG,
    BOOT: EffectKind.VMM_DEPLOY,
    BOOT_POWEROFF: EffectKind.VMM_DEPLOY,
    BOOT_UNKNOWN: EffectKind.VMM_DEPLOY,
    MOVING: EffectKind.TM_MIGRATE,
    MOVING_OFF: EffectKind.TM_MIGRATE,
    EPILOG: EffectKind.TM_EPILOG,
}

_SENT_BACK = (C.PROLOG_ENDS, C.CLOSE_RECORD, C.GIVE_CAPACITY, C.REOPEN_PREVIOUS, C.TAKE_CAPACITY)
"""A move that failed is undone: the VM is on its old host again."""

RECOVERIES = _rows(
    Row((PROLOG_FAILURE,), E.RECOVER_RETRY, PROLOG, (), EffectKind.TM_PROLOG),
    Row((MOVING_FAILURE,), E.RECOVER_RETRY, MOVING, (), EffectKind.TM_MIGRATE),
    Row((MOVING_OFF_FAILURE,), E.RECOVER_RETRY, MOVING_OFF, (), EffectKind.TM_MIGRATE),
    Row((BOOT_FAILURE,), E.RECOVER_RETRY, BOOT, (C.MAY_RUN_HERE,), EffectKind.VMM_DEPLOY, Guard.STARTABLE_HERE),
    Row((EPILOG_FAILURE,), E.RECOVER_RETRY, EPILOG, (), EffectKind.TM_EPILOG),
    *(Row((position,), E.RECOVER_RETRY, position, (), effect) for position, effect in _RESEND.items()),
    Row((SHUTDOWN, SHUTDOWN_POWEROFF), E.RECOVER_RETRY, None, (), EffectKind.VMM_SHUTDOWN, Guard.SHUTTING_SOFTLY),
    Row((SHUTDOWN, SHUTDOWN_POWEROFF), E.RECOVER_RETRY, None, (), EffectKind.VMM_CANCEL),
    Row((RUNNING, UNKNOWN, CLEANUP_DELETE, CLEANUP_RESUBMIT), E.RECOVER_RETRY, None),
    Row(
        (PROLOG_FAILURE,), E.RECOVER_SUCCESS, BOOT, (C.PROLOG_ENDS, C.RUN_STARTS, C.MAY_RUN_HERE), EffectKind.VMM_DEPLOY
    ),
    Row(
        (MOVING_FAILURE,), E.RECOVER_SUCCESS, BOOT, (C.PROLOG_ENDS, C.RUN_STARTS, C.MAY_RUN_HERE), EffectKind.VMM_DEPLOY
    ),
    Row((MOVING_OFF_FAILURE,), E.RECOVER_SUCCESS, POWEROFF, (C.PROLOG_ENDS, C.RUN_ENDS)),
    Row((BOOT_FAILURE,), E.RECOVER_SUCCESS, RUNNING, (C.BOOTED, C.MAY_RUN_HERE), None, Guard.STARTABLE_HERE),
    Row((EPILOG_FAILURE,), E.RECOVER_SUCCESS, DONE, (C.EPILOG_ENDS, C.CLOSE_RECORD, C.GIVE_CAPACITY, C.END)),
    Row((UNKNOWN,), E.RECOVER_SUCCESS, RUNNING, (C.BOOTED, C.MAY_RUN_HERE), None, Guard.STARTABLE_HERE),
    Row((RUNNING,), E.RECOVER_SUCCESS, None),
    Row((RUNNING, UNKNOWN, PROLOG_FAILURE, BOOT_FAILURE, EPILOG_FAILURE), E.RECOVER_FAILURE, None),
    Row((MOVING_FAILURE,), E.RECOVER_FAILURE, UNKNOWN, (*_SENT_BACK, C.SET_RESCHED)),
    Row((MOVING_OFF_FAILURE,), E.RECOVER_FAILURE, POWEROFF, (*_SENT_BACK, C.PROLOG_ENDS, C.RUN_ENDS)),
)

MONITORING = _rows(
    Row((UNKNOWN, BOOT_FAILURE), E.SEEN_RUNNING, RUNNING, (C.BOOTED, C.MAY_RUN_HERE, C.DROP_RESCHED)),
    Row((POWEROFF,), E.SEEN_RUNNING, RUNNING, (C.COPY_RECORD, C.RUN_STARTS, C.BOOTED, C.MAY_RUN_HERE, C.DROP_RESCHED)),
    Row((RUNNING, UNKNOWN), E.SEEN_POWEROFF, POWEROFF, (C.ACTION_MONITOR, C.RUN_ENDS, C.STOPPED_HERE, C.DROP_RESCHED)),
    Row((RUNNING,), E.SEEN_FAILURE, UNKNOWN, (C.DROP_RESCHED,)),
    Row((RUNNING,), E.HOST_ERROR, UNKNOWN, (C.DROP_RESCHED,)),
)

DEATH = _rows(
    Row((RUNNING, UNKNOWN, BOOT, BOOT_UNKNOWN, BOOT_FAILURE), E.HOST_DEAD, UNKNOWN, (C.PROVEN_STOPPED,)),
    Row((MOVING, MOVING_FAILURE), E.HOST_DEAD, UNKNOWN, (C.PROVEN_STOPPED,)),
    Row((PROLOG, PROLOG_FAILURE), E.HOST_DEAD, PENDING, (C.PROVEN_STOPPED, C.CLOSE_RECORD, C.GIVE_CAPACITY)),
    Row((BOOT_POWEROFF,), E.HOST_DEAD, UNKNOWN, (C.PROVEN_STOPPED,)),
    Row((SHUTDOWN_POWEROFF,), E.HOST_DEAD, POWEROFF, (C.PROVEN_STOPPED, C.RUN_ENDS)),
    Row((SHUTDOWN,), E.HOST_DEAD, EPILOG, (C.PROVEN_STOPPED, C.EPILOG_STARTS), EffectKind.TM_EPILOG),
    Row((POWEROFF, MOVING_OFF_FAILURE), E.HOST_DEAD, POWEROFF, (C.PROVEN_STOPPED,)),
    Row((MOVING_OFF,), E.HOST_DEAD, POWEROFF, (C.PROVEN_STOPPED, C.PROLOG_ENDS, C.RUN_ENDS)),
)

TABLE = (*PLACEMENT, *MOVES, *STOPS, *ENDINGS, *CLEANUPS, *RECOVERIES, *MONITORING, *DEATH)


def _as_driver_would(rows: Iterable[Row]) -> tuple[Row, ...]:
    """``recover --success|--failure`` in a transient state re-raises what its driver would have said."""
    said = {
        E.PROLOG_OK: E.RECOVER_SUCCESS,
        E.BOOT_OK: E.RECOVER_SUCCESS,
        E.SHUTDOWN_OK: E.RECOVER_SUCCESS,
        E.EPILOG_OK: E.RECOVER_SUCCESS,
        E.PROLOG_FAIL: E.RECOVER_FAILURE,
        E.BOOT_FAIL: E.RECOVER_FAILURE,
        E.SHUTDOWN_FAIL: E.RECOVER_FAILURE,
        E.EPILOG_FAIL: E.RECOVER_FAILURE,
    }
    return tuple(
        Row(row.sources, said[row.event], row.to, row.changes, row.effect, _by_word(row))
        for row in rows
        if row.event in said
    )


def _by_word(row: Row) -> Guard:
    """No word of an operator lets files be removed under a domain that may still run."""
    return Guard.NOWHERE if row.event is E.SHUTDOWN_OK and row.to == EPILOG else row.guard


ALL_ROWS: tuple[Row, ...] = (*TABLE, *_as_driver_would((*PLACEMENT, *MOVES, *STOPS, *ENDINGS)))


def _index(rows: Iterable[Row]) -> dict[tuple[Position, E], tuple[Row, ...]]:
    found: dict[tuple[Position, E], tuple[Row, ...]] = {}
    for row in rows:
        for source in dict.fromkeys(row.sources):
            found[source, row.event] = (*found.get((source, row.event), ()), row)
    return found


BY_POSITION = _index(ALL_ROWS)
