"""The judge of every drill: was there one writer at a time, and is every acknowledged write still there?

The verdict rests on cause and order, never on clocks.  A guest numbers its records, each boot goes on after the last
record it finds, and prints a record only after the disk acknowledged it.  Hence, for a VM that never lived twice:
the numbers of one boot lie all before those of the next; the console never goes back; every number from 1 up is on the
disk once; and each record on a console is on the disk, written by the same boot.  Times are only reported.

A console belongs to one VM on one disk: a second VM that reuses both the name and the console looks like lost writes.
"""

import bisect
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path

from holdfast.sandbox.records import (
    Record,
    acknowledged_on_console,
    alarms_on_console,
    records_on_disk,
    remarks_on_console,
)

STAMPS_SUFFIX = ".stamps"


@dataclass(frozen=True)
class Sighting:
    """An acknowledged record on a console; `at` is when it arrived there, or the guest's clock when nobody noted it."""

    record: Record
    at: float


@dataclass(frozen=True)
class Writer:
    """One boot of the VM: the numbers it wrote, and when."""

    boot: str
    first_seq: int
    last_seq: int
    acknowledged: int
    first_time: float
    last_time: float


@dataclass(frozen=True)
class Overlap:
    """Two boots that both wrote in this range of numbers, or one whose numbers went back."""

    boots: tuple[str, str]
    first_seq: int
    last_seq: int


@dataclass(frozen=True)
class Lost:
    """An acknowledged record that is not on the disk; `found` is the boot whose record is there instead."""

    seq: int
    boot: str
    found: str | None


@dataclass(frozen=True)
class Ledger:
    """What the records prove about one VM."""

    writers: tuple[Writer, ...]
    gaps: tuple[tuple[int, int], ...]
    overlaps: tuple[Overlap, ...]
    lost: tuple[Lost, ...]
    alarms: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """One writer at any time, nothing acknowledged is lost, nothing is missing, no guest met another writer."""
        return bool(self.writers) and not (self.gaps or self.overlaps or self.lost or self.alarms)

    @property
    def first_time(self) -> float | None:
        """When the first record was written."""
        return min((writer.first_time for writer in self.writers), default=None)

    @property
    def last_time(self) -> float | None:
        """When the last record was written."""
        return max((writer.last_time for writer in self.writers), default=None)

    @property
    def acknowledged(self) -> int:
        """How many acknowledged records were checked."""
        return sum(writer.acknowledged for writer in self.writers)

    @property
    def interruptions_s(self) -> tuple[float, ...]:
        """For each boot but the first: seconds since the last record of the boot before."""
        return tuple(round(after.first_time - before.last_time, 3) for before, after in pairwise(self.writers))

    def to_json(self) -> str:
        """Everything, for machines."""
        judged = {
            "ok": self.ok,
            "acknowledged": self.acknowledged,
            "first_time": self.first_time,
            "last_time": self.last_time,
            "interruptions_s": self.interruptions_s,
        }
        return json.dumps(judged | asdict(self))


def read(disk_path: Path, console_logs: Sequence[Path]) -> Ledger:
    """The ledger of the VM that wrote this disk and these consoles."""
    consoles = [log.read_bytes() if log.exists() else b"" for log in console_logs]
    sightings = [_sightings(console, _arrivals(log)) for console, log in zip(consoles, console_logs, strict=True)]
    alarms = [line for console in consoles for line in alarms_on_console(console)]
    remarks = [line for console in consoles for line in remarks_on_console(console)]
    # The disk last: a record seen on a console before is then on the disk, or it is lost.
    ledger = judge(records_on_disk(disk_path), sightings)
    return replace(ledger, alarms=tuple(alarms), remarks=tuple(remarks))


def judge(on_disk: Mapping[int, Record], consoles: Sequence[Sequence[Sighting]]) -> Ledger:
    """The verdict on the records of a disk (by place) and of the consoles (in order)."""
    seen = [sighting for console in consoles for sighting in console]
    writers = _writers(on_disk, seen)
    return Ledger(
        writers=writers,
        gaps=_gaps(on_disk),
        overlaps=_overlaps(writers, consoles, on_disk),
        lost=_lost(on_disk, seen),
    )


def _sightings(console: bytes, arrivals: list[tuple[int, float]]) -> list[Sighting]:
    found = []
    for acknowledged in acknowledged_on_console(console):
        place = bisect.bisect_left(arrivals, (acknowledged.offset, 0.0))
        at = arrivals[place][1] if place < len(arrivals) else acknowledged.record.time
        found.append(Sighting(acknowledged.record, at))
    return found


def _arrivals(log: Path) -> list[tuple[int, float]]:
    stamps = log.with_name(log.name + STAMPS_SUFFIX)
    if not stamps.exists():
        return []
    lines = stamps.read_text(encoding="ascii").splitlines()
    return sorted((int(offset), float(at)) for offset, at in (line.split() for line in lines))


def _writers(on_disk: Mapping[int, Record], seen: Sequence[Sighting]) -> tuple[Writer, ...]:
    places: dict[str, list[int]] = {}
    times: dict[str, list[float]] = {}
    acknowledged: dict[str, int] = {}
    for sighting in seen:
        boot = sighting.record.boot
        places.setdefault(boot, []).append(sighting.record.seq)
        times.setdefault(boot, []).append(sighting.at)
        acknowledged[boot] = acknowledged.get(boot, 0) + 1
    for place, record in on_disk.items():
        places.setdefault(record.boot, []).append(place)
        if record.boot not in acknowledged:
            times.setdefault(record.boot, []).append(record.time)
    writers = [
        Writer(boot, min(own), max(own), acknowledged.get(boot, 0), min(times[boot]), max(times[boot]))
        for boot, own in places.items()
    ]
    return tuple(sorted(writers, key=lambda writer: (writer.first_seq, writer.last_seq)))


def _gaps(on_disk: Mapping[int, Record]) -> tuple[tuple[int, int], ...]:
    gaps, expected = [], 1
    for place in sorted(on_disk):
        if place > expected:
            gaps.append((expected, place - 1))
        expected = place + 1
    return tuple(gaps)


def _overlaps(
    writers: Sequence[Writer], consoles: Sequence[Sequence[Sighting]], on_disk: Mapping[int, Record]
) -> tuple[Overlap, ...]:
    found: dict[tuple[str, str], Overlap] = {}
    furthest: Writer | None = None
    for writer in writers:
        if furthest and writer.first_seq <= furthest.last_seq:
            last = min(writer.last_seq, furthest.last_seq)
            _note(found, Overlap((furthest.boot, writer.boot), writer.first_seq, last))
        furthest = writer if furthest is None or writer.last_seq > furthest.last_seq else furthest
    for console in consoles:
        for earlier, later in pairwise(console):
            if later.record.seq <= earlier.record.seq:
                boots = (earlier.record.boot, later.record.boot)
                _note(found, Overlap(boots, later.record.seq, earlier.record.seq))
    for place, record in on_disk.items():
        if record.seq != place:
            _note(found, Overlap((record.boot, record.boot), min(place, record.seq), max(place, record.seq)))
    return tuple(sorted(found.values(), key=lambda overlap: (overlap.first_seq, overlap.last_seq)))


def _note(found: dict[tuple[str, str], Overlap], overlap: Overlap) -> None:
    first, second = sorted(overlap.boots)
    known = found.get((first, second), overlap)
    first_seq, last_seq = min(known.first_seq, overlap.first_seq), max(known.last_seq, overlap.last_seq)
    found[first, second] = Overlap(known.boots, first_seq, last_seq)


def _lost(on_disk: Mapping[int, Record], seen: Sequence[Sighting]) -> tuple[Lost, ...]:
    lost = []
    for sighting in seen:
        wanted = sighting.record
        record = on_disk.get(wanted.seq)
        if record is None or record.boot != wanted.boot:
            lost.append(Lost(wanted.seq, wanted.boot, record.boot if record else None))
    return tuple(sorted(lost, key=lambda item: (item.seq, item.boot)))
