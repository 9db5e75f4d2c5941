"""``recover --failure``, ``--success`` and ``--retry``.

In a transient position ``--success`` and ``--failure`` raise what the driver would have said; in a failure position
``--success`` goes on with the next step.  ``--retry`` repeats the step that was running, after cancelling it.  No word
of an operator lets files be moved or removed under a domain that may still run, or takes it for saved.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from holdfast.lifecycle import positions as p
from holdfast.lifecycle.events import VmEvent as E
from holdfast.lifecycle.positions import Position
from holdfast.lifecycle.row import At, Row, rows
from holdfast.lifecycle.transitions import endings, moves, operations, placement, stops
from holdfast.lifecycle.vocabulary import Change as C
from holdfast.lifecycle.vocabulary import Guard
from holdfast.model.enums import EffectKind as K

STEP: dict[Position, K] = {
    p.PROLOG: K.TM_PROLOG,
    p.PROLOG_RESUME: K.TM_RESUME,
    p.PROLOG_UNDEPLOY: K.TM_RESUME,
    p.PROLOG_MIGRATE: K.TM_MIGRATE,
    p.PROLOG_MIGRATE_POWEROFF: K.TM_MIGRATE,
    p.PROLOG_MIGRATE_SUSPEND: K.TM_MIGRATE,
    p.PROLOG_MIGRATE_UNKNOWN: K.TM_MIGRATE,
    p.BOOT: K.VMM_DEPLOY,
    p.BOOT_POWEROFF: K.VMM_DEPLOY,
    p.BOOT_UNKNOWN: K.VMM_DEPLOY,
    p.BOOT_UNDEPLOY: K.VMM_DEPLOY,
    p.BOOT_MIGRATE: K.VMM_RESTORE,
    p.BOOT_STOPPED: K.VMM_RESTORE,
    p.BOOT_SUSPENDED: K.VMM_RESTORE,
    p.SAVE_SUSPEND: K.VMM_SAVE,
    p.SAVE_STOP: K.VMM_SAVE,
    p.EPILOG: K.TM_EPILOG,
    p.EPILOG_STOP: K.TM_STOP,
    p.EPILOG_UNDEPLOY: K.TM_STOP,
}
"""The driver's step that a VM waits for, where there is only one."""

_QUIET = (p.LCM_INIT, p.RUNNING)
_BACK = (C.PROLOG_ENDS, C.CLOSE_RECORD, C.GIVE_DESTINATION, C.REOPEN_SOURCE, C.TAKE_CAPACITY, C.PROLOG_ENDS)


def _again(at: Position) -> Row:
    """The failed step is done again; a start needs that no other host may run the VM."""
    step = p.FAILED_STEP[at]
    if at in p.BOOT_FAILURES:
        return Row((at,), E.RECOVER_RETRY, step, (C.MAY_RUN_HERE,), STEP[step], Guard.STARTABLE_HERE)
    return Row((at,), E.RECOVER_RETRY, step, (), STEP[step], Guard.NOWHERE)


def _safe(step: K) -> Guard:
    """Files are touched only when no host may run the VM."""
    return Guard.NOWHERE if step.value.startswith("tm.") else Guard.ALWAYS


RETRIES = rows(
    *(_again(at) for at in p.FAILURES),
    *(Row((at,), E.RECOVER_RETRY, at, (), step, _safe(step)) for at, step in STEP.items()),
    Row((p.MIGRATE,), E.RECOVER_RETRY, p.MIGRATE, (), K.VMM_MIGRATE, at=At.PREVIOUS),
    Row((p.SAVE_MIGRATE,), E.RECOVER_RETRY, p.SAVE_MIGRATE, (), K.VMM_SHUTDOWN, Guard.BY_POWEROFF, At.PREVIOUS),
    Row((p.SAVE_MIGRATE,), E.RECOVER_RETRY, p.SAVE_MIGRATE, (), K.VMM_CANCEL, Guard.BY_POWEROFF_HARD, At.PREVIOUS),
    Row((p.SAVE_MIGRATE,), E.RECOVER_RETRY, p.SAVE_MIGRATE, (), K.VMM_SAVE, at=At.PREVIOUS),
    *(Row((at,), E.RECOVER_RETRY, at, (), K.VMM_SHUTDOWN, Guard.SHUTTING_SOFTLY) for at in p.SHUTDOWNS),
    *(Row((at,), E.RECOVER_RETRY, at, (), K.VMM_CANCEL) for at in p.SHUTDOWNS),
    Row((*_QUIET, p.UNKNOWN, *p.OPERATION_HOME), E.RECOVER_RETRY, None),
)

SUCCESSES = rows(
    Row(p.BOOT_FAILURES, E.RECOVER_SUCCESS, p.RUNNING, (C.BOOTED, C.MAY_RUN_HERE), None, Guard.STARTABLE_HERE),
    Row((p.UNKNOWN,), E.RECOVER_SUCCESS, p.RUNNING, (C.BOOTED, C.MAY_RUN_HERE), None, Guard.STARTABLE_HERE),
    Row((*_QUIET, p.CLONING_FAILURE), E.RECOVER_SUCCESS, None),
)

FAILURES = rows(
    Row((p.PROLOG_MIGRATE_UNKNOWN_FAILURE,), E.RECOVER_FAILURE, p.UNKNOWN, (*_BACK, C.SET_RESCHED)),
    Row((p.PROLOG_MIGRATE_POWEROFF_FAILURE,), E.RECOVER_FAILURE, p.POWEROFF, (*_BACK, C.RUN_ENDS)),
    Row((p.PROLOG_MIGRATE_SUSPEND_FAILURE,), E.RECOVER_FAILURE, p.SUSPENDED, (*_BACK, C.RUN_ENDS)),
    Row(
        (p.PROLOG_MIGRATE_FAILURE,),
        E.RECOVER_FAILURE,
        p.BOOT,
        (*_BACK, C.RUN_STARTS, C.MAY_RUN_HERE),
        K.VMM_DEPLOY,
        Guard.WITHOUT_CHECKPOINT,
    ),
    Row(
        (p.PROLOG_MIGRATE_FAILURE,),
        E.RECOVER_FAILURE,
        p.BOOT_MIGRATE,
        (*_BACK, C.RUN_STARTS, C.MAY_RUN_HERE),
        K.VMM_RESTORE,
    ),
    Row(
        (
            *(*_QUIET, p.UNKNOWN, p.CLONING_FAILURE, *p.BOOT_FAILURES),
            *(p.PROLOG_FAILURE, p.PROLOG_RESUME_FAILURE, p.PROLOG_UNDEPLOY_FAILURE),
            *(p.EPILOG_FAILURE, p.EPILOG_STOP_FAILURE, p.EPILOG_UNDEPLOY_FAILURE),
        ),
        E.RECOVER_FAILURE,
        None,
    ),
)

_SAID = {
    **dict.fromkeys((E.PROLOG_OK, E.BOOT_OK, E.SAVE_OK, E.SHUTDOWN_OK, E.EPILOG_OK, E.OPERATION_OK), E.RECOVER_SUCCESS),
    **dict.fromkeys(
        (E.PROLOG_FAIL, E.BOOT_FAIL, E.SAVE_FAIL, E.SHUTDOWN_FAIL, E.EPILOG_FAIL, E.OPERATION_FAIL), E.RECOVER_FAILURE
    ),
}
_LOST = (Guard.DESTINATION_LOST, Guard.WITHOUT_CHECKPOINT_DESTINATION_LOST, Guard.CHECKPOINT_GONE)
"""What only a driver can say."""
_LEFT_OVER = (
    *((p.SHUTDOWN, p.SHUTDOWN), (p.SHUTDOWN_UNDEPLOY, p.SHUTDOWN_UNDEPLOY), (p.SAVE_STOP, p.SUSPENDED)),
    *((p.SAVE_MIGRATE, p.POWEROFF), (p.SAVE_MIGRATE, p.SUSPENDED)),
)
"""What follows when another host may have a domain too; by word of an operator nothing follows then."""
_ANSWERED = (
    *(*placement.DEPLOYS, *placement.BOOTS, *moves.LEGS, *moves.LIVE_FAILURE_BY_WORD),
    *(*stops.POWEROFFS, *stops.SAVES, *stops.UNDEPLOYS, *endings.TERMINATIONS, *operations.ENDS),
)


def _by_word(row: Row) -> Row:
    """What an operator says in the driver's place."""
    leaves_host = row.event is E.SAVE_OK or (row.event is E.SHUTDOWN_OK and row.effect is not None)
    return replace(row, event=_SAID[row.event], guard=Guard.NOWHERE if leaves_host else row.guard)


def _as_driver_would(given: Iterable[Row]) -> tuple[Row, ...]:
    said = (_by_word(row) for row in given if row.event in _SAID and row.guard not in _LOST and not _is_left_over(row))
    return tuple(dict.fromkeys(said))


def _is_left_over(row: Row) -> bool:
    return row.event in (E.SAVE_OK, E.SHUTDOWN_OK) and any((source, row.to) in _LEFT_OVER for source in row.sources)


def _as_if_done(given: Iterable[Row]) -> tuple[Row, ...]:
    """``--success`` after a failure: the failed step counts as done."""
    failed_at = {step: at for at, step in p.FAILED_STEP.items() if at not in p.BOOT_FAILURES}
    return tuple(
        replace(row, sources=(failed_at[source],), event=E.RECOVER_SUCCESS)
        for row in given
        if row.event in (E.PROLOG_OK, E.EPILOG_OK)
        for source in row.sources
        if source in failed_at
    )


BY_WORD = rows(*_as_driver_would(_ANSWERED), *_as_if_done(_ANSWERED), *moves.LIVE_FAILURE_BY_WORD)
