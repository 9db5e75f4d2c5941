"""History records: numbered, their times in order, and only the newest one open (with OpenNebula's exceptions)."""

from __future__ import annotations

from holdfast.model.vm import History, Vm
from holdfast.simulation.checkers.reference import position_of
from holdfast.simulation.checkers.violation import Violation

HISTORY = "history records are numbered, ordered, and only the last is open"
TWO_OPEN = frozenset(("MIGRATE", "SAVE_MIGRATE"))
CLOSED = frozenset("DONE STOPPED UNDEPLOYED".split())
OPEN = frozenset("RUNNING POWEROFF SUSPENDED UNKNOWN BOOT PROLOG".split())


def check_history(before: Vm | None, vm: Vm, now: int) -> None:
    """The records of a VM that was stored; those that have not changed were looked at before."""
    if before is not None and before.history == vm.history and before.state is vm.state:
        return
    for at, record in enumerate(vm.history):
        if record.seq != at:
            raise Violation(HISTORY, f"VM {vm.oid}: record {at} has number {record.seq}")
        _check_times(vm, record, now)
    position = position_of(vm)
    closed_from = 2 if position in TWO_OPEN else 1
    for record in vm.history[:-closed_from]:
        if not record.etime:
            raise Violation(HISTORY, f"VM {vm.oid} in {position}: record {record.seq} of {len(vm.history)} is open")
    for earlier, later in zip(vm.history, vm.history[1:], strict=False):
        if later.stime < earlier.stime:
            raise Violation(HISTORY, f"VM {vm.oid}: record {later.seq} begins before record {earlier.seq}")
    if vm.history:
        _check_last(vm, position, vm.history[-1])


def _check_times(vm: Vm, record: History, now: int) -> None:
    pairs = [(record.pstime, record.petime), (record.rstime, record.retime), (record.stime, record.etime)]
    if not record.etime or record.estime <= record.etime:  # else a parked VM is terminated: its record is used again
        pairs.append((record.estime, record.eetime))
    for begin, end in pairs:
        if end and begin > end:
            raise Violation(HISTORY, f"VM {vm.oid}: record {record.seq} ends before it begins: {record}")
    times = [time for pair in pairs[:3] for time in pair if time]
    if times and (min(times) < record.stime or max(times) > (record.etime or now)):
        raise Violation(HISTORY, f"VM {vm.oid}: times of record {record.seq} lie outside of it: {record}")


def _check_last(vm: Vm, position: str, last: History) -> None:
    if position in CLOSED and not last.etime:
        raise Violation(HISTORY, f"VM {vm.oid} is {position} and its last record is open")
    if position in OPEN and last.etime:
        raise Violation(HISTORY, f"VM {vm.oid} is {position} and its last record is closed")
