"""The failover's transition table: ``(state, event) -> (state, what to do on the way)``.

  WATCHING → PROVING → FENCING → PLACING → RESTARTING → DONE,  or ABORTED (the host came back),  or BLOCKED (a human)

* WATCHING waits for the stored deadline of ``-p n``, and reads the host's power meanwhile: power that is off is proof,
  so nothing waits for a timer when the truth can be had.
* PROVING takes one more reading; FENCING orders the power off.  Only an accepted proof leads to PLACING.
* RESTARTING ends when every VM has its end.  A pair that is missing here changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from holdfast.model.enums import FailoverState as S


class Event(Enum):
    """What can happen to a failover."""

    WAIT_OVER = auto()
    POWER_IS_OFF = auto()
    POWER_IS_NOT_OFF = auto()
    FENCED = auto()
    FENCE_FAILED = auto()
    HOST_BACK = auto()
    HOST_REBOOTED = auto()
    CONFIRMED = auto()
    BLINDED = auto()
    NOTHING_TO_DO = auto()
    ALL_ENDED = auto()
    SOME_FAILED = auto()
    RETRY = auto()
    ABORT = auto()


class Do(Enum):
    """What the engine does on a transition."""

    NOTE = auto()
    READ_POWER = auto()
    FENCE = auto()
    ACCEPT_PROOF = auto()
    """Store the proof, resolve the VMs' states, place and restart them."""
    RESTART_FAILED = auto()
    """Give the rows that failed another chance."""
    BLOCK = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class Move:
    """One cell of the table."""

    to: S
    do: Do = Do.NOTE


TABLE: dict[tuple[S, Event], Move] = {
    (S.WATCHING, Event.POWER_IS_OFF): Move(S.PLACING, Do.ACCEPT_PROOF),
    (S.WATCHING, Event.POWER_IS_NOT_OFF): Move(S.WATCHING),
    (S.WATCHING, Event.WAIT_OVER): Move(S.PROVING, Do.READ_POWER),
    (S.WATCHING, Event.HOST_BACK): Move(S.ABORTED, Do.END),
    (S.WATCHING, Event.HOST_REBOOTED): Move(S.PLACING, Do.ACCEPT_PROOF),
    (S.WATCHING, Event.CONFIRMED): Move(S.PLACING, Do.ACCEPT_PROOF),
    (S.WATCHING, Event.BLINDED): Move(S.BLOCKED, Do.BLOCK),
    (S.WATCHING, Event.NOTHING_TO_DO): Move(S.DONE, Do.END),
    (S.WATCHING, Event.ABORT): Move(S.ABORTED, Do.END),
    (S.PROVING, Event.POWER_IS_OFF): Move(S.PLACING, Do.ACCEPT_PROOF),
    (S.PROVING, Event.POWER_IS_NOT_OFF): Move(S.FENCING, Do.FENCE),
    (S.PROVING, Event.FENCE_FAILED): Move(S.BLOCKED, Do.BLOCK),
    (S.PROVING, Event.HOST_BACK): Move(S.ABORTED, Do.END),
    (S.PROVING, Event.HOST_REBOOTED): Move(S.PLACING, Do.ACCEPT_PROOF),
    (S.PROVING, Event.CONFIRMED): Move(S.PLACING, Do.ACCEPT_PROOF),
    (S.PROVING, Event.BLINDED): Move(S.BLOCKED, Do.BLOCK),
    (S.PROVING, Event.ABORT): Move(S.ABORTED, Do.END),
    (S.FENCING, Event.FENCED): Move(S.PLACING, Do.ACCEPT_PROOF),
    (S.FENCING, Event.FENCE_FAILED): Move(S.BLOCKED, Do.BLOCK),
    (S.FENCING, Event.CONFIRMED): Move(S.PLACING, Do.ACCEPT_PROOF),
    (S.FENCING, Event.HOST_REBOOTED): Move(S.PLACING, Do.ACCEPT_PROOF),
    (S.RESTARTING, Event.ALL_ENDED): Move(S.DONE, Do.END),
    (S.RESTARTING, Event.SOME_FAILED): Move(S.BLOCKED, Do.BLOCK),
    (S.RESTARTING, Event.ABORT): Move(S.ABORTED, Do.END),
    (S.BLOCKED, Event.HOST_BACK): Move(S.ABORTED, Do.END),
    (S.BLOCKED, Event.HOST_REBOOTED): Move(S.PLACING, Do.ACCEPT_PROOF),
    (S.BLOCKED, Event.CONFIRMED): Move(S.PLACING, Do.ACCEPT_PROOF),
    (S.BLOCKED, Event.ALL_ENDED): Move(S.DONE, Do.END),
    (S.BLOCKED, Event.ABORT): Move(S.ABORTED, Do.END),
}
"""``RETRY`` is not here: where a BLOCKED failover goes on depends on whether it has its proof (:func:`retry`)."""


def retry(has_proof: bool) -> Move:
    """Where ``onehost failover retry`` takes a BLOCKED failover."""
    return Move(S.RESTARTING, Do.RESTART_FAILED) if has_proof else Move(S.PROVING, Do.READ_POWER)
