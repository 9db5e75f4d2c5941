"""What the tables say about history records: each phrase as a rewriting of the records that are expected.

The rewritten records are compared with Holdfast's *whole*: a time that is stamped though no phrase says so is a
difference like one that is missing.  Who is noted for an action is Holdfast's own affair, but for the internal causes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from holdfast.model.enums import HistoryAction
from holdfast.model.vm import History
from tests.unit.lifecycle.reference.step import TARGET, Step
from tests.unit.lifecycle.reference.subjects import CLOSES_RECORD, NOW

Rewrite = Callable[["Expected"], None]
NOT_COMPARED: dict[str, Any] = {"uid": -1, "gid": -1, "proof_id": -1}


class Expected:
    """The records as they should be; phrases rewrite them in the order in which they are written."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self.records = list(step.before.history)

    def stamp(self, index: int, **values: Any) -> None:
        """Changes fields of a record that is there."""
        if len(self.records) >= -index:
            self.records[index] = replace(self.records[index], **values)

    def open(self, like: History | None, **values: Any) -> None:
        """A new record: where ``like`` was, or where the VM is to go."""
        seq = self.records[-1].seq + 1 if self.records else 0
        if like is None:
            place = (TARGET.hid, TARGET.hostname, TARGET.cid, TARGET.ds_id, TARGET.vm_mad, TARGET.tm_mad)
        else:
            place = (like.hid, like.hostname, like.cid, like.ds_id, like.vm_mad, like.tm_mad)
        self.records.append(History(seq, *place, **values))

    def differences(self) -> list[str]:
        """How the VM's records differ from these."""
        found = self.step.after.history
        if len(found) != len(self.records):
            return [f"{len(found)} history records instead of {len(self.records)}"]
        return [said for old, new in zip(self.records, found, strict=True) for said in _told(old, new)]


def _told(expected: History, found: History) -> list[str]:
    wanted, got = replace(expected, **NOT_COMPARED), replace(found, **NOT_COMPARED)
    return [
        f"record #{expected.seq}: {field.name.upper()} {getattr(got, field.name)!r} instead of {value!r}"
        for field in fields(History)
        if (value := getattr(wanted, field.name)) != getattr(got, field.name)
    ]


def _now(index: int, *names: str) -> Rewrite:
    return lambda expected: expected.stamp(index, **dict.fromkeys(names, NOW))


def _action(action: HistoryAction, *indexes: int) -> Rewrite:
    def rewrite(expected: Expected) -> None:
        for index in indexes or (-1,):
            expected.stamp(index, action=action)

    return rewrite


def _all(*rewrites: Rewrite) -> Rewrite:
    def rewrite(expected: Expected) -> None:
        for each in rewrites:
            each(expected)

    return rewrite


def _if_open(expected: Expected) -> None:
    """What has begun and not ended ends; a stay that never came to run has no end of running."""
    if not expected.records:
        return
    current = expected.records[-1]
    if current.rstime and not current.retime:
        expected.stamp(-1, retime=NOW)
    if not current.etime:
        expected.stamp(-1, etime=NOW)


def _now_if_zero(*names: str) -> Rewrite:
    def rewrite(expected: Expected) -> None:
        for name in names:
            if expected.records and not getattr(expected.records[-1], name):
                expected.stamp(-1, **{name: NOW})

    return rewrite


def _opens_target(**stamps: Any) -> Rewrite:
    return lambda expected: expected.open(None, **stamps)


def _opens_copy(of: int, **stamps: Any) -> Rewrite:
    return lambda expected: expected.open(expected.records[of], **stamps)


def _operation(action: HistoryAction) -> Rewrite:
    """The record is closed with the action, and a copy goes on with what the record had before."""

    def rewrite(expected: Expected) -> None:
        old = expected.records[-1]
        off = {"retime": NOW} if old.retime else {}
        expected.stamp(-1, etime=NOW, retime=old.retime or NOW, action=action)
        expected.open(old, stime=NOW, rstime=NOW, action=old.action, **off)

    return rewrite


def _operation_asked_for(expected: Expected) -> None:
    _operation(CLOSES_RECORD[expected.step.event.value])(expected)


def _nothing(expected: Expected) -> None:
    pass


_CLOSE_CP = "current record closed with the action, copy opened (close_cp_history)"
_BOOTED = {"action": HistoryAction.NONE, "etime": 0, "retime": 0}
_ENDED_BEFORE = _now(-2, "etime", "retime")

PHRASES: dict[str, Rewrite] = {
    "": _nothing,
    "none": _nothing,
    "none (no new history record, times not reset)": _nothing,
    "no history change": _nothing,
    "history ACTION not changed": _nothing,
    "RESCHED and history untouched": _nothing,
    # stamps
    "RETIME=now": _now(-1, "retime"),
    "RETIME=now (restarts the 30 s monitoring grace)": _now(-1, "retime"),
    "ETIME=now": _now(-1, "etime"),
    "ETIME=now if 0": _now_if_zero("etime"),
    "PSTIME=now": _now(-1, "pstime"),
    "PETIME=now": _now(-1, "petime"),
    "EETIME=now": _now(-1, "eetime"),
    "STIME=now": _now(-1, "stime"),
    "ESTIME, RETIME=now": _now(-1, "estime", "retime"),
    "PETIME, RSTIME=now": _now(-1, "petime", "rstime"),
    "PETIME=now, RSTIME=now": _now(-1, "petime", "rstime"),
    "PETIME, RETIME=now": _now(-1, "petime", "retime"),
    "PETIME and RETIME=now": _now(-1, "petime", "retime"),
    "EETIME, ETIME=now": _now(-1, "eetime", "etime"),
    "EETIME and ETIME=now": _now(-1, "eetime", "etime"),
    "current RSTIME=now": _now(-1, "rstime"),
    "RSTIME=now on current": _now(-1, "rstime"),
    "current PSTIME=now": _now(-1, "pstime"),
    "current ETIME=now": _now(-1, "etime"),
    "current record ETIME=now": _now(-1, "etime"),
    "current PETIME, ETIME=now": _now(-1, "petime", "etime"),
    "current record closed (PETIME, ETIME=now)": _now(-1, "petime", "etime"),
    "previous ETIME, RETIME=now": _ENDED_BEFORE,
    "ETIME, RETIME=now on previous": _ENDED_BEFORE,
    "previous record closed": _ENDED_BEFORE,
    "previous record RETIME, ETIME=now": _now(-1, "retime", "etime"),  # it becomes the previous one
    "open RETIME/ETIME closed": _if_open,
    "open RETIME/ETIME set to now": _if_open,
    "RETIME and ETIME=now if open": _if_open,
    "current ACTION=0, ETIME=0, RETIME=0": lambda expected: expected.stamp(-1, **_BOOTED),
    "ACTION=0, ETIME=0, RETIME=0 on the current record": lambda expected: expected.stamp(-1, **_BOOTED),
    # actions
    "ACTION=0": _action(HistoryAction.NONE),
    "ACTION=1": _action(HistoryAction.MIGRATE),
    "ACTION=1 on both records": _action(HistoryAction.MIGRATE, -1, -2),
    "ACTION=1 on the previous record too": _action(HistoryAction.MIGRATE, -2),
    "ACTION=2 on the previous record only": _action(HistoryAction.LIVE_MIGRATE, -2),
    "ACTION=48 on both records": _action(HistoryAction.POFF_MIGRATE, -1, -2),
    "ACTION=49 on both records": _action(HistoryAction.POFF_HARD_MIGRATE, -1, -2),
    "ACTION=5": _action(HistoryAction.UNDEPLOY),
    "ACTION=6": _action(HistoryAction.UNDEPLOY_HARD),
    "ACTION=9": _action(HistoryAction.STOP),
    "ACTION=10": _action(HistoryAction.SUSPEND),
    "ACTION=13": _action(HistoryAction.DELETE),
    "ACTION=14": _action(HistoryAction.DELETE_RECREATE),
    "ACTION=14 on the last record": _action(HistoryAction.DELETE_RECREATE),
    "ACTION=14 on the last record if there is one": _action(HistoryAction.DELETE_RECREATE),
    "ACTION=19": _action(HistoryAction.POWEROFF),
    "ACTION=20": _action(HistoryAction.POWEROFF_HARD),
    "ACTION=27": _action(HistoryAction.TERMINATE),
    "ACTION=28": _action(HistoryAction.TERMINATE_HARD),
    "ACTION=5, ESTIME=now": _all(_action(HistoryAction.UNDEPLOY), _now(-1, "estime")),
    "ACTION=9, ESTIME=now": _all(_action(HistoryAction.STOP), _now(-1, "estime")),
    "ACTION=27, ESTIME=now": _all(_action(HistoryAction.TERMINATE), _now(-1, "estime")),
    "ACTION=44, RETIME=now": _all(_action(HistoryAction.MONITOR), _now(-1, "retime")),
    "ACTION=44 (UID -1), RETIME=now": _all(_action(HistoryAction.MONITOR), _now(-1, "retime")),
    # new records
    "new record": _opens_target(),
    "new record seq+1 at API time": _opens_target(),
    "new record seq+1 (or 0) at API time": _opens_target(),
    "STIME, PSTIME=now": _now(-1, "stime", "pstime"),
    "new record same host, STIME, RSTIME=now, ACTION=0": _opens_copy(-1, stime=NOW, rstime=NOW),
    "new record seq+1 same host, STIME, RSTIME=now, ACTION=11": _opens_copy(
        -1, stime=NOW, rstime=NOW, action=HistoryAction.RESUME
    ),
    "new record cloned from previous, STIME, RSTIME=now": _opens_copy(-2, stime=NOW, rstime=NOW),
    "new record cloned from previous, STIME, PSTIME=now": _opens_copy(-2, stime=NOW, pstime=NOW),
    "new record seq+1 cloned from the previous (source) one with ACTION 0, STIME and PSTIME=now": _opens_copy(
        -2, stime=NOW, pstime=NOW
    ),
    "destination record closed and its capacity released": _now(-1, "etime"),
    "new record seq+1 cloned from the source": _all(_ENDED_BEFORE, _opens_copy(-2, stime=NOW, rstime=NOW)),
    # operations
    f"{_CLOSE_CP} ACTION=21": _operation(HistoryAction.DISK_ATTACH),
    f"{_CLOSE_CP} ACTION=22": _operation(HistoryAction.DISK_DETACH),
    f"{_CLOSE_CP} ACTION=23/24": _operation_asked_for,
    f"{_CLOSE_CP} ACTION=25": _operation(HistoryAction.DISK_SNAPSHOT_CREATE),
    f"{_CLOSE_CP} ACTION=26": _operation(HistoryAction.DISK_SNAPSHOT_DELETE),
    f"{_CLOSE_CP} ACTION=29": _operation(HistoryAction.DISK_RESIZE),
    f"{_CLOSE_CP} ACTION=35": _operation(HistoryAction.RESIZE),
    f"{_CLOSE_CP} ACTION=41": _operation(HistoryAction.DISK_SNAPSHOT_REVERT),
    f"{_CLOSE_CP} ACTION=50": _operation(HistoryAction.BACKUP),
    f"{_CLOSE_CP} ACTION=60": _operation(HistoryAction.RESTORE),
    # Holdfast's own, in the deviations
    "RETIME=now if 0": _now_if_zero("retime"),
    "EETIME=now, ETIME=now if 0": _all(_now(-1, "eetime"), _now_if_zero("etime")),
}
"""Every phrase about records; a phrase may be in :mod:`.record_words` too, when it says more than that."""

BY_NOBODY = "ACTION=44 (UID -1), RETIME=now"


def expected_after(step: Step, phrases: list[str]) -> Expected:
    """The records that the phrases lead to."""
    expected = Expected(step)
    for phrase in phrases:
        PHRASES[phrase](expected)
    return expected
