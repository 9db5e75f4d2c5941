"""Writes ``transitions.txt`` anew from the table: ``python -m tests.unit.lifecycle.write_transitions``.

Only for a change of the table that is wanted.  The file is the table written down a second time: what this prints has
to be read, line by line, before it is kept (``git diff``), or the tests that compare the two prove nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from holdfast.lifecycle import VmEvent, decide
from holdfast.lifecycle import positions as p
from holdfast.lifecycle.events import ANSWERS
from holdfast.lifecycle.guards import CHECKS
from holdfast.lifecycle.positions import Position
from holdfast.lifecycle.table import BY_POSITION, Row
from holdfast.lifecycle.vocabulary import Change
from tests.unit.lifecycle.subjects import EVERY_POSITION, SITUATIONS, Situation, name_of, told

PAGE = Path(__file__).with_name("transitions.txt")
REMOVALS = (VmEvent.RECOVER_DELETE, VmEvent.RECOVER_RECREATE, VmEvent.RECOVER_DELETE_DB)
STOPS = {Change.STOPPED_HERE, Change.STOPPED_AT_SOURCE, Change.STOPPED_AT_DESTINATION}
DOUBTFUL = (*(failed for _, failed in ANSWERS.values()),)
"""Only of a failure can a driver be uncertain."""


def is_removal(position: Position, event: VmEvent) -> bool:
    """Covered by test_removal.py."""
    if event in (VmEvent.TERMINATE, VmEvent.TERMINATE_HARD):
        return position in p.FAILURES
    return position in p.PLACED and event in REMOVALS


def chosen(position: Position, event: VmEvent, situation: Situation) -> Row | None:
    """The row of the table that applies, None when it is refused."""
    vm, facts = situation.vm(position), situation.facts_for(position, event)
    return next((row for row in BY_POSITION[position, event] if CHECKS[row.guard](vm, facts) is None), None)


def line(position: Position, event: VmEvent, situation: Situation) -> str:
    """One line of the file."""
    vm = situation.vm(position)
    decision = decide(vm, event, situation.facts_for(position, event))
    return f"{name_of(position)} | {event.value} | {situation.word} | {told(vm, decision)}"


def lines_of(position: Position, event: VmEvent) -> Iterator[str]:
    """One line for each row that the pair has, and one for a driver's doubt where that makes a difference."""
    wanted = list(BY_POSITION[position, event])
    for situation in SITUATIONS.values():
        row = chosen(position, event, situation)
        if row in wanted:
            wanted.remove(row)
        elif row is None or not is_doubt(position, event, situation, row):
            continue
        yield line(position, event, situation)
    if wanted:
        raise SystemExit(f"no situation exercises {wanted}")


def is_doubt(position: Position, event: VmEvent, situation: Situation, row: Row) -> bool:
    """A driver that is not certain frees the VM from none of the hosts that it may run on."""
    doubtful = situation.word == "unsure" and event in DOUBTFUL and bool(STOPS & set(row.changes))
    return doubtful and bool(situation.vm(position).may_run_on)


def whole() -> Iterator[str]:
    """The file: its heading is kept, a blank line parts the positions."""
    yield from (said for said in PAGE.read_text(encoding="utf-8").splitlines() if said.startswith("#"))
    for position in EVERY_POSITION:
        yield ""
        for event in VmEvent:
            if (position, event) in BY_POSITION and not is_removal(position, event):
                yield from lines_of(position, event)


if __name__ == "__main__":
    PAGE.write_text("\n".join(whole()) + "\n", encoding="utf-8")
