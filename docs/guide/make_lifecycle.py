"""Draws the VM's life cycle from its transition table: three diagrams and the whole table, as Markdown.

    .venv/bin/python docs/guide/make_lifecycle.py           after a change of src/holdfast/lifecycle/table.py
    .venv/bin/python docs/guide/make_lifecycle.py --check   says whether the pages are up to date, changes nothing

The diagrams go between markers in vm-lifecycle.md; vm-lifecycle-table.md is written as a whole.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from holdfast.lifecycle.events import VmEvent as E
from holdfast.lifecycle.table import ALL_ROWS, BY_POSITION, TABLE, Position, Row
from holdfast.lifecycle.vocabulary import Guard
from holdfast.model.vm_states import VmState

HERE = Path(__file__).parent
PAGE = HERE / "vm-lifecycle.md"
WHOLE = HERE / "vm-lifecycle-table.md"
ORDINARY = "PENDING HOLD PROLOG BOOT RUNNING SHUTDOWN_POWEROFF POWEROFF BOOT_POWEROFF SHUTDOWN EPILOG DONE".split()
ORDINARY_EVENTS = (
    *(E.HOLD, E.RELEASE, E.DEPLOY, E.PROLOG_OK, E.BOOT_OK, E.POWEROFF, E.POWEROFF_HARD, E.RESUME),
    *(E.SHUTDOWN_OK, E.TERMINATE, E.TERMINATE_HARD, E.EPILOG_OK, E.SEEN_POWEROFF),
)
LOST_EVENTS = (E.HOST_ERROR, E.HOST_DEAD, E.SEEN_RUNNING, E.SEEN_POWEROFF, E.MIGRATE)
AFTER_A_MOVE = ("PROLOG_MIGRATE_UNKNOWN", "PROLOG_MIGRATE_POWEROFF")
FAILED_EVENTS = (
    *(E.PROLOG_FAIL, E.BOOT_FAIL, E.SHUTDOWN_FAIL, E.EPILOG_FAIL),
    *(E.RECOVER_RETRY, E.RECOVER_SUCCESS, E.RECOVER_FAILURE),
)
ONLY_IF = {
    Guard.ALWAYS: "",
    Guard.STARTABLE: "no host but the target may still run it",
    Guard.MOVABLE: "no host at all may still run it",
    Guard.STARTABLE_HERE: "no host but its own may still run it, and its host is in touch",
    Guard.NOWHERE: "no host may still run it",
    Guard.HOST_IN_TOUCH: "its host is in touch",
    Guard.STOPPED_FOR_CERTAIN: "the domain is gone for certain",
    Guard.SHUTTING_SOFTLY: "the guest was asked, not killed",
}


def name(position: Position) -> str:
    """What users see: the LCM state while ACTIVE, else the state."""
    state, lcm_state = position
    return lcm_state.name if state is VmState.ACTIVE else state.name


def mermaid(rows: Iterable[Row], wanted: Callable[[str, Row], bool]) -> str:
    """A state diagram; transitions between the same two states share one arrow."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for source in map(name, row.sources):
            target = name(row.to) if row.to else source
            if target != source and wanted(source, row):
                arrows.setdefault((source, target), []).append(row.event.value.replace("--", ""))
    lines = [f"    {one} --> {other}: {', '.join(dict.fromkeys(events))}" for (one, other), events in arrows.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"])


def ordinary(source: str, row: Row) -> bool:
    """The life of a VM when nothing goes wrong."""
    return source in ORDINARY and row.event in ORDINARY_EVENTS and (row.to is None or name(row.to) in ORDINARY)


def lost(source: str, row: Row) -> bool:
    """What the loss and the death of a host do."""
    moved = source in AFTER_A_MOVE and row.event is E.PROLOG_OK
    return moved or row.event in LOST_EVENTS or (source, row.event) == ("BOOT", E.BOOT_OK)


def failed(source: str, row: Row) -> bool:
    """Failures, and the ways out of the failure states."""
    recovery = row.event.value.startswith("recover")
    return row.event in FAILED_EVENTS and (not recovery or source.endswith("_FAILURE"))


def whole_table() -> Iterator[str]:
    """Every transition, one line each."""
    yield "# All transitions of this version\n"
    yield "Written by `docs/guide/make_lifecycle.py` from `src/holdfast/lifecycle/table.py`. Do not edit it by hand."
    yield "[vm-lifecycle.md](vm-lifecycle.md) explains it. Rows of one state and event are tried from top to bottom."
    yield f"There are {len(BY_POSITION)} pairs of state and event. Any other pair is refused.\n"
    yield "| in state | on event | goes to | driver step | only if |"
    yield "|---|---|---|---|---|"
    by_source: dict[str, list[str]] = {}
    for row in ALL_ROWS:
        for source in map(name, dict.fromkeys(row.sources)):
            target = name(row.to) if row.to and name(row.to) != source else "stays"
            step = f"`{row.effect.value}`" if row.effect else ""
            line = f"| {source} | {row.event.value} | {target} | {step} | {ONLY_IF[row.guard]} |"
            by_source.setdefault(source, []).append(line)
    for lines in by_source.values():
        yield from dict.fromkeys(lines)


def page() -> str:
    """The page with fresh diagrams between its markers."""
    text = PAGE.read_text(encoding="utf-8")
    for label, wanted in (("ordinary", ordinary), ("lost", lost), ("failed", failed)):
        begin, end = f"<!-- {label}: begin -->", f"<!-- {label}: end -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise SystemExit(f"{PAGE}: there must be one {begin} and one {end}")
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n{mermaid(TABLE, wanted)}\n{end}{rest.partition(end)[2]}"
    return text


def main() -> int:
    """Writes the pages, or with --check compares them; answers the exit code."""
    wanted = {PAGE: page(), WHOLE: "\n".join(whole_table()) + "\n"}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path.name} is out of date: run docs/guide/make_lifecycle.py")
        return 1 if stale else 0
    for path in stale:
        path.write_text(wanted[path], encoding="utf-8")
        print(f"wrote {path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
