"""Draws the VM's life cycle from its transition table: diagrams, the recovery matrix and all transitions, as Markdown.

    .venv/bin/python docs/guide/make_lifecycle.py           after a change of src/holdfast/lifecycle
    .venv/bin/python docs/guide/make_lifecycle.py --check   says whether the pages are up to date, changes nothing

Diagrams and matrices go between markers in lifecycle.md; lifecycle-table.md is written as a whole.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from holdfast.lifecycle import positions as declared
from holdfast.lifecycle.events import RECOVERIES
from holdfast.lifecycle.events import VmEvent as E
from holdfast.lifecycle.table import ALL_ROWS, BY_POSITION, PARTS, Position, Row
from holdfast.lifecycle.vocabulary import Guard
from holdfast.model.vm_states import VmState

HERE = Path(__file__).parent
PAGE = HERE / "lifecycle.md"
WHOLE = HERE / "lifecycle-table.md"
NEVER_STORED = ("INIT", "LCM_INIT")
ONLY_IF = {
    Guard.ALWAYS: "",
    Guard.MOVABLE: "no host may still run it",
    Guard.MOVABLE_STOPPED: "it was stopped: memory and disks are on the front-end",
    Guard.MOVABLE_UNDEPLOYED: "it was undeployed: its disks are on the front-end",
    Guard.MOVABLE_ALIVE: "no other host may run it, and its host is in touch",
    Guard.STARTABLE_HERE: "no other host may run it, and its host is in touch",
    Guard.ONLY_HERE: "no other host may run it, and its host is in touch",
    Guard.NOWHERE: "no host may still run it",
    Guard.HOST_IN_TOUCH: "its host is in touch",
    Guard.LEFT_NOWHERE: "no domain is left on any other host, for certain",
    Guard.CERTAIN: "the driver is certain",
    Guard.SHUTTING_SOFTLY: "the guest was asked, not killed",
    Guard.BY_POWEROFF: "the move shuts it down",
    Guard.BY_POWEROFF_HARD: "the move destroys it",
    Guard.WITHOUT_CHECKPOINT: "the move shut it down or destroyed it",
    Guard.WITHOUT_CHECKPOINT_DESTINATION_LOST: "the same, and the destination is lost",
    Guard.DESTINATION_LOST: "the destination is lost",
    Guard.SOURCE_DIED: "the host that it leaves died",
    Guard.SOURCE_DIED_IN_DOUBT: "the same, but a third host may run it",
    Guard.DESTINATION_DIED: "the host that it goes to died",
    Guard.FILES_STAYED: "it was going to another datastore, or to a host that shares no files",
    Guard.SOURCE_DIED_WITH_FILES: "the host that it was leaving died, with the only files of the VM",
    Guard.RESTORE_IN_DOUBT: "a restore of unknown outcome was ordered there",
    Guard.TAKEN_FOR_OFF: "the same, and monitoring took it for off",
    Guard.BOTH_DIED: "it was changing its datastore on that host",
    Guard.DIED_LAST: "no other host may run it",
    Guard.FOUND_PAUSED: "it was found paused: there is no saved memory",
    Guard.CHECKPOINT_GONE: "the saved memory is gone or was used",
    Guard.ON_FRONTEND: "its files are on the front-end",
    Guard.HELD: "it was created on hold",
    Guard.COLD_NIC_ATTACH: "the driver attaches NICs to VMs that are off",
    Guard.ONLY_THERE: "it may run there and nowhere else",
}
Wanted = Callable[[str, str, Row], bool]


def name(position: Position) -> str:
    """What users see: the LCM state while ACTIVE, else the state."""
    state, lcm_state = position
    return lcm_state.name if state is VmState.ACTIVE else state.name


def positions() -> Iterator[Position]:
    """Those of the table, in the order in which they are declared."""
    known = {position for position, _ in BY_POSITION}
    yield from (position for position in vars(declared).values() if isinstance(position, tuple) and position in known)


POSITIONS = tuple(positions())


def among(names: str, *events: E) -> Wanted:
    """Transitions by these events between these states, except those that answer a loss."""
    wanted = names.split()
    lost = (Guard.DESTINATION_LOST, Guard.WITHOUT_CHECKPOINT_DESTINATION_LOST)
    return lambda source, target, row: {source, target} <= {*wanted} and row.event in events and row.guard not in lost


ORDINARY = among(
    "CLONING PENDING HOLD PROLOG BOOT RUNNING SHUTDOWN_POWEROFF POWEROFF BOOT_POWEROFF SHUTDOWN EPILOG DONE",
    *(E.IMAGES_READY, E.HOLD, E.RELEASE, E.DEPLOY, E.PROLOG_OK, E.BOOT_OK, E.POWEROFF, E.POWEROFF_HARD, E.RESUME),
    *(E.SHUTDOWN_OK, E.TERMINATE, E.TERMINATE_HARD, E.EPILOG_OK, E.SEEN_POWEROFF, E.SEEN_RUNNING),
)
STOPS = among(
    "RUNNING SAVE_SUSPEND SUSPENDED BOOT_SUSPENDED SAVE_STOP EPILOG_STOP STOPPED PENDING PROLOG_RESUME BOOT_STOPPED "
    "POWEROFF SHUTDOWN_UNDEPLOY EPILOG_UNDEPLOY UNDEPLOYED PROLOG_UNDEPLOY BOOT_UNDEPLOY",
    *(E.SUSPEND, E.STOP, E.UNDEPLOY, E.UNDEPLOY_HARD, E.RESUME, E.DEPLOY, E.SAVE_OK, E.SHUTDOWN_OK, E.PROLOG_OK),
    *(E.BOOT_OK, E.EPILOG_OK),
)
MOVES = among(
    "RUNNING MIGRATE SAVE_MIGRATE PROLOG_MIGRATE BOOT_MIGRATE BOOT POWEROFF PROLOG_MIGRATE_POWEROFF SUSPENDED "
    "PROLOG_MIGRATE_SUSPEND UNKNOWN PROLOG_MIGRATE_UNKNOWN",
    *(E.MIGRATE, E.MIGRATE_LIVE, E.MIGRATE_SAVE, E.MIGRATE_POWEROFF, E.MIGRATE_POWEROFF_HARD, E.SAVE_OK),
    *(E.SHUTDOWN_OK, E.PROLOG_OK, E.BOOT_OK),
)
_FAILED = (E.PROLOG_FAIL, E.BOOT_FAIL, E.SHUTDOWN_FAIL, E.SAVE_FAIL, E.EPILOG_FAIL)
_RECOVERED = (E.RECOVER_RETRY, E.RECOVER_SUCCESS, E.RECOVER_FAILURE, E.MIGRATE, E.SEEN_RUNNING)
_NOT_OFFERED = (E.DISK_SAVEAS, E.BACKUP, E.RESTORE, E.UPDATE_CONF)
_CHANGING = {name(row.to) for row in PARTS["operations"] if row.to and row.event not in _NOT_OFFERED}


def operations(source: str, target: str, row: Row) -> bool:
    """Changes to devices, snapshots and sizes that the API offers."""
    return row in PARTS["operations"] and {source, target} <= _CHANGING and row.event not in _NOT_OFFERED


def failures(source: str, target: str, row: Row) -> bool:
    """Where a step that fails leads."""
    return row.event in _FAILED


def recoveries(source: str, target: str, row: Row) -> bool:
    """The ways out of the failure states."""
    return row.event in _RECOVERED and source.endswith("_FAILURE")


def losses(source: str, target: str, row: Row) -> bool:
    """What the loss and the death of a host do to a VM that runs, and how it runs again."""
    watched = "RUNNING UNKNOWN POWEROFF BOOT PROLOG_MIGRATE_UNKNOWN MIGRATE SAVE_MIGRATE SHUTDOWN EPILOG PENDING PROLOG"
    back = (source, row.event) in (("UNKNOWN", E.MIGRATE), ("PROLOG_MIGRATE_UNKNOWN", E.PROLOG_OK), ("BOOT", E.BOOT_OK))
    seen = row.event in (E.HOST_ERROR, E.HOST_DEAD, E.SEEN_RUNNING, E.SEEN_POWEROFF, E.SEEN_ELSEWHERE)
    return {source, target} <= set(watched.split()) and (back or seen)


def mermaid(wanted: Wanted) -> str:
    """A state diagram; transitions between the same two states share one arrow."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for row in ALL_ROWS:
        for source in map(name, row.sources):
            target = name(row.to) if row.to else source
            if target != source and wanted(source, target, row):
                arrows.setdefault((source, target), []).append(row.event.value.replace("--", ""))
    lines = [f"    {one} --> {other}: {', '.join(dict.fromkeys(events))}" for (one, other), events in arrows.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"])


def outcome(position: Position, event: E) -> str:
    """Where the event leads from here, in a few words."""
    rows = BY_POSITION.get((position, event), ())
    said = []
    for row in rows:
        stays = "does it again" if row.effect else "stays"
        said.append(stays if row.to in (None, position) else name(row.to or position))
    return " or ".join(dict.fromkeys(said)) or "refused"


def grouped(said: Callable[[Position], tuple[str, ...]], positions: Iterable[Position]) -> Iterator[str]:
    """Table lines: the states of which the same is said, and what."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for position in positions:
        alike.setdefault(said(position), []).append(name(position))
    for cells, names in alike.items():
        yield f"| {', '.join(names)} | {' | '.join(cells)} |"


def recovery_matrix() -> str:
    """What each operation of ``onevm recover`` does in each state."""
    events = [event for event in RECOVERIES.values() if event is not E.RECOVER_DELETE_DB]
    shown = [position for position in POSITIONS if name(position) not in NEVER_STORED]
    heading = f"| in | {' | '.join(f'`{event.value.split()[1]}`' for event in events)} |"
    rows = grouped(lambda position: tuple(outcome(position, event) for event in events), shown)
    return "\n".join([heading, "|" + "---|" * (len(events) + 1), *rows])


def death_matrix() -> str:
    """What the proven death of its host makes of a VM."""
    shown = [position for position in POSITIONS if (position, E.HOST_DEAD) in BY_POSITION]
    rows = grouped(lambda position: (outcome(position, E.HOST_DEAD),), shown)
    return "\n".join(["| a VM in | is then |", "|---|---|", *rows])


FRESH: dict[str, Callable[[], str]] = {
    "ordinary": lambda: mermaid(ORDINARY),
    "stops": lambda: mermaid(STOPS),
    "moves": lambda: mermaid(MOVES),
    "operations": lambda: mermaid(operations),
    "failed": lambda: mermaid(failures),
    "recovered": lambda: mermaid(recoveries),
    "matrix": recovery_matrix,
    "lost": lambda: mermaid(losses),
    "dead": death_matrix,
}
"""What stands between the markers of each name."""


def whole_table() -> Iterator[str]:
    """Every transition, one line each, by state."""
    yield "# All transitions\n"
    yield "Written by `docs/guide/make_lifecycle.py` from `src/holdfast/lifecycle`. Do not edit it by hand."
    yield "[lifecycle.md](lifecycle.md) explains it. Rows of one state and event are tried from top to bottom; when no"
    yield "condition holds, the last one is why it is refused. *Stays* with a driver step does that step."
    yield f"There are {len(BY_POSITION)} pairs of state and event. Any other pair is refused."
    for position in POSITIONS:
        yield f"\n## {name(position)}\n"
        yield "| on event | goes to | driver step | only if |"
        yield "|---|---|---|---|"
        found = (row for event in E for row in BY_POSITION.get((position, event), ()))
        for row in found:
            target = "stays" if row.to in (None, position) else name(row.to or position)
            step = f"`{row.effect.value}`" if row.effect else ""
            yield f"| {row.event.value} | {target} | {step} | {ONLY_IF[row.guard]} |"


def page() -> str:
    """The page with what is drawn afresh between its markers; every state must be explained in it."""
    text = PAGE.read_text(encoding="utf-8")
    for label, fresh in FRESH.items():
        begin, end = f"<!-- {label}: begin -->", f"<!-- {label}: end -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise SystemExit(f"{PAGE}: there must be one {begin} and one {end}")
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n{fresh()}\n{end}{rest.partition(end)[2]}"
    explained = text.partition("## What each state means")[2].partition("\n## ")[0].replace(",", " ").split()
    unexplained = [name(position) for position in POSITIONS if name(position) not in (*explained, *NEVER_STORED)]
    if unexplained:
        raise SystemExit(f"{PAGE}: 'What each state means' does not mention {', '.join(unexplained)}")
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
