"""The repair of a VM's failed transfer: its lines, where it is, who holds it, and what was done.

A VM has one repair at most, with the VM's id.  It outlives the failure that it was begun for: its records are the
account of what people did to the VM's files, the newest :data:`RECORDS_KEPT` of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from holdfast.model.vm_states import LcmState

RECORDS_KEPT = 30
OUTPUT_KEPT = 2000
"""So many characters of a line's output are kept in its record: the last ones."""


class RepairDeed(Enum):
    """What somebody did in a repair."""

    RUN = "RUN"
    SKIP = "SKIP"
    TAKE_OVER = "TAKE_OVER"


class RepairResult(Enum):
    """What came of it; ``UNKNOWN``: the driver could not tell, the line may be done, half done or not done."""

    RUNNING = "RUNNING"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    UNKNOWN = "UNKNOWN"
    CANCELLED = "CANCELLED"
    """The VM went another way while the line ran, and the line was stopped."""
    NONE = "NONE"
    """The deed has no result."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a repair to himself: a user at a seat (``login@machine``); ``session`` tells one dialogue from another.

    Times are epoch seconds.
    """

    uid: int
    user: str
    seat: str
    session: str
    since: float

    def __str__(self) -> str:
        return f"{self.user} ({self.seat})" if self.seat else self.user


NOBODY = Holder(-1, "", "", "", 0.0)


@dataclass(frozen=True, slots=True)
class RepairRecord:
    """One deed.  ``line`` counts from 1, 0 when the deed is about none; records are numbered from 1 without gaps."""

    number: int
    deed: RepairDeed
    at: float
    user: str
    seat: str
    file: str = ""
    line: int = 0
    text: str = ""
    result: RepairResult = RepairResult.NONE
    ended_at: float = 0.0
    output: str = ""


@dataclass(frozen=True, slots=True)
class Repair:
    """The repair of the VM ``oid``."""

    oid: int
    lcm_state: LcmState
    """The failure that is repaired."""
    file: str
    """The name of the transfer file, ``transfer.<seq>.<step>``."""
    lines: tuple[str, ...]
    """The file's lines as they were when the dialogue began."""
    position: int = 0
    """The current line, from 0; the number of lines when all were run or skipped."""
    holder: Holder = NOBODY
    effect_id: int = -1
    """The open effect of the line that runs, -1 when none does."""
    records: tuple[RepairRecord, ...] = ()
    next_record: int = 1
    ended: str = ""
    """Why nothing can be repaired any more; empty while the VM is in the failure."""

    @property
    def is_held(self) -> bool:
        """Somebody has it to himself, as long as he is heard."""
        return self.holder.uid >= 0

    @property
    def is_complete(self) -> bool:
        """Every line was run or skipped."""
        return self.position >= len(self.lines)

    @property
    def running(self) -> RepairRecord | None:
        """The record of the line that runs."""
        return next((record for record in self.records if record.result is RepairResult.RUNNING), None)

    def record(self, number: int) -> RepairRecord | None:
        """The record of this number, if it is still kept."""
        return next((record for record in self.records if record.number == number), None)
