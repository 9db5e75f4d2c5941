"""Drives one failover through its table; pure: returns the new version and what the engine is to do.

Rows (one for each VM) are kept by :func:`with_row`; :func:`ending` reads from them whether the failover is over.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from operator import attrgetter

from holdfast.failover.table import TABLE, Do, Event, Move, retry
from holdfast.model.enums import FailoverState, RowState
from holdfast.model.errors import ActionError
from holdfast.model.failover import Evidence, Failover, Row, Step

EVIDENCE_LIMIT = 50
STEPS_LIMIT = 200
MAX_ATTEMPTS = 3
_VM_ID = attrgetter("vm_id")


def advance(failover: Failover, event: Event, text: str, now: float) -> tuple[Failover, Do] | None:
    """The failover after ``event``, or None when the event means nothing in its state."""
    move = TABLE.get((failover.state, event))
    return None if move is None else _moved(failover, move, text, now)


def command(failover: Failover, event: Event, text: str, now: float) -> tuple[Failover, Do]:
    """As :func:`advance`, for an operator: raises ActionError when it is not possible."""
    if event is Event.RETRY and failover.state is FailoverState.BLOCKED:
        return _moved(failover, retry(failover.proof_id >= 0), text, now)
    advanced = advance(failover, event, text, now)
    if advanced is None or (event is Event.CONFIRMED and failover.proof_id >= 0):
        raise ActionError(
            f"Failover {failover.oid} is {failover.state.name}: {event.name.lower()} is not possible there.",
            failover.oid,
        )
    return advanced


def _moved(failover: Failover, move: Move, text: str, now: float) -> tuple[Failover, Do]:
    after = noted(replace(failover, state=move.to), text, now)
    if move.do is Do.BLOCK:
        after = replace(after, reason=text, resume=failover.state)
    elif move.do is Do.END:
        after = replace(after, etime=now, reason=text if move.to is FailoverState.ABORTED else "")
    elif move.to is not failover.state:
        after = replace(after, reason="")
    return after, move.do


def noted(failover: Failover, text: str, now: float) -> Failover:
    """The failover with one more line in its timeline."""
    if not text or len(failover.steps) >= STEPS_LIMIT:
        return failover
    return replace(failover, steps=(*failover.steps, Step(now, failover.state, text)))


def witnessed(failover: Failover, evidence: Evidence) -> Failover:
    """The failover with one more piece of evidence; the newest of each source is kept."""
    kept = tuple(item for item in failover.evidence if item.source != evidence.source)
    return replace(failover, evidence=(*kept, evidence)[-EVIDENCE_LIMIT:])


def row_of(failover: Failover, vm_id: int) -> Row | None:
    """The VM's row."""
    at = _place_of(failover, vm_id)
    return None if at is None else failover.rows[at]


def with_row(failover: Failover, row: Row) -> Failover:
    """The failover with this version of the row."""
    at = _place_of(failover, row.vm_id)
    if at is None:
        return failover
    return replace(failover, rows=(*failover.rows[:at], row, *failover.rows[at + 1 :]))


def _place_of(failover: Failover, vm_id: int) -> int | None:
    at = bisect_left(failover.rows, vm_id, key=_VM_ID)
    return at if at < len(failover.rows) and failover.rows[at].vm_id == vm_id else None


def can_try_again(row: Row) -> bool:
    """A failed start is tried on other hosts, a few times."""
    return row.attempts < MAX_ATTEMPTS


def ending(failover: Failover) -> tuple[Event, str] | None:
    """Whether RESTARTING is over: every row has its end, or has failed for good."""
    if any(row.state in (RowState.WAITING, RowState.PLACED, RowState.STARTING) for row in failover.rows):
        return None
    failed = [row for row in failover.rows if row.state is RowState.FAILED]
    if failed:
        named = "; ".join(f"VM {row.vm_id} {row.name}: {row.reason}" for row in failed[:5])
        more = f" (and {len(failed) - 5} more)" if len(failed) > 5 else ""
        return Event.SOME_FAILED, (
            f"{len(failed)} of {len(failover.rows)} VMs could not be restarted: {named}{more}. Mend the cause, then: "
            f"onehost failover retry {failover.oid}"
        )
    running = sum(1 for row in failover.rows if row.state is RowState.RUNNING)
    return Event.ALL_ENDED, f"{running} of {len(failover.rows)} VMs run again, {len(failover.rows) - running} skipped"
