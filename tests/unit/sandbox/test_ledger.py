"""The judge must clear every honest history and catch every dishonest one, whatever the clocks say."""

import json
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.sandbox import ledger
from holdfast.sandbox.errors import RackError
from holdfast.sandbox.ledger import Lost, Overlap, Sighting, judge
from holdfast.sandbox.records import (
    SECTOR,
    Record,
    acknowledged_on_console,
    alarms_on_console,
    name_on_disk,
    records_on_disk,
    remarks_on_console,
)

A, B, C = (str(UUID(int=number)) for number in (1, 2, 3))


def record(seq: int, boot: str, at: float | None = None) -> Record:
    return Record(seq, boot, at if at is not None else 1000.0 + seq, float(seq), "web")


def history(*boots: tuple[str, int]) -> list[Record]:
    """The records of boots that wrote so many each, one boot after the other."""
    written = [boot for boot, count in boots for _ in range(count)]
    return [record(seq, boot) for seq, boot in enumerate(written, start=1)]


def on_disk(records: list[Record]) -> dict[int, Record]:
    return {item.seq: item for item in records}


def console(records: list[Record]) -> list[list[Sighting]]:
    return [[Sighting(item, item.time) for item in records]]


def line(seq: int, boot: str, word: str = "ACK") -> bytes:
    body = f"seq={seq} t=1700000000.250 up={seq}.000 boot={boot} name=web".encode()
    checksum = 2166136261
    for byte in body:
        checksum = ((checksum ^ byte) * 16777619) & 0xFFFFFFFF
    return b"%s %s #%08x" % (word.encode(), body, checksum)


def disk_with(path: Path, *records: tuple[int, str]) -> Path:
    content = bytearray(SECTOR * 64)
    content[: len(b"HFLEDGER 1 hint=0\n")] = b"HFLEDGER 1 hint=0\n"
    for seq, boot in records:
        content[seq * SECTOR : seq * SECTOR + len(line(seq, boot, "REC"))] = line(seq, boot, "REC")
    path.write_bytes(content)
    return path


def test_boots_that_follow_one_another_are_clean() -> None:
    written = history((A, 5), (B, 3), (C, 1))
    judged = judge(on_disk(written), console(written))
    assert judged.ok
    assert [(writer.first_seq, writer.last_seq) for writer in judged.writers] == [(1, 5), (6, 8), (9, 9)]
    assert judged.interruptions_s == (1.0, 1.0)
    assert (judged.first_time, judged.last_time, judged.acknowledged) == (1001.0, 1009.0, 9)


def test_an_unacknowledged_last_record_on_the_disk_is_no_fault() -> None:
    written = history((A, 6), (B, 3))
    assert judge(on_disk(written), console([item for item in written if item.seq != 6])).ok


def test_nothing_written_proves_nothing() -> None:
    assert not judge({}, []).ok


def test_clocks_do_not_count() -> None:
    written = [record(1, A, 5000.0), record(2, B, 10.0), record(3, C, 9000.0)]
    assert judge(on_disk(written), console(written)).ok


def test_an_acknowledged_record_that_is_not_on_the_disk_is_lost() -> None:
    written = history((A, 5))
    judged = judge(on_disk(written[:4]), console(written))
    assert judged.lost == (Lost(5, A, None),)
    assert not judged.ok


def test_a_missing_record_between_others_is_a_gap() -> None:
    written = history((A, 9))
    kept = [item for item in written if item.seq not in (1, 4, 5)]
    judged = judge(on_disk(kept), console(kept))
    assert judged.gaps == ((1, 1), (4, 5))
    assert not judged.ok


def test_two_boots_that_write_the_same_number_overlap_and_one_has_lost() -> None:
    first, second = history((A, 7)), [*history((A, 4))[:4], record(5, B), record(6, B)]
    judged = judge(on_disk([*first[:4], *second[4:], first[6]]), console([*first, *second[4:]]))
    assert judged.overlaps == (Overlap((A, B), 5, 7),)
    assert judged.lost == (Lost(5, A, B), Lost(6, A, B))
    assert not judged.ok


def test_an_older_boot_that_writes_after_a_newer_one_is_seen_on_the_disk_alone() -> None:
    written = [record(1, A), record(2, B), record(3, A)]
    assert judge(on_disk(written), []).overlaps == (Overlap((A, B), 2, 2),)


def test_a_boot_whose_numbers_go_back_is_seen_on_the_console() -> None:
    written = history((A, 3))
    assert judge(on_disk(written), console([*written, written[1]])).overlaps == (Overlap((A, A), 2, 3),)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=6), st.data())
def test_every_honest_history_is_clean_and_every_double_life_is_not(counts: list[int], data: st.DataObject) -> None:
    written = history(*((str(UUID(int=number)), count) for number, count in enumerate(counts, start=1)))
    assert judge(on_disk(written), console(written)).ok
    victim = data.draw(st.integers(0, len(written) - 1))
    intruder = record(written[victim].seq, str(UUID(int=99)))
    place = data.draw(st.integers(victim + 1, len(written)))
    seen = [*written[:place], intruder, *written[place:]]
    for disk in (written, [intruder if item.seq == intruder.seq else item for item in written]):
        judged = judge(on_disk(disk), console(seen))
        assert judged.overlaps
        assert len(judged.lost) == 1


def test_half_lines_and_mixed_lines_on_a_console_are_not_records() -> None:
    whole = line(4, A)
    log = (
        b"\r\nUP name=web\r\n"
        + whole[:-9]
        + line(5, B)
        + b"\r\n"
        + whole[:40]
        + b"x"
        + whole[40:]
        + b"\r\n"
        + line(6, A)
    )
    assert [(found.record.seq, found.record.boot) for found in acknowledged_on_console(log)] == [(5, B), (6, A)]


def test_alarms_and_remarks_are_told_apart() -> None:
    log = b"SPLITBRAIN name=web boot=x saw seq=4\r\nERROR seq=4 errno=5\r\nHalt\r\nSPLITBRAIN name=web again\r\n"
    assert alarms_on_console(log) == ["SPLITBRAIN name=web boot=x saw seq=4", "SPLITBRAIN name=web again"]
    assert remarks_on_console(log) == ["ERROR seq=4 errno=5"]


def test_an_alarm_makes_a_ledger_unclean_and_a_remark_does_not(tmp_path: Path) -> None:
    disk = disk_with(tmp_path / "disk", (1, A))
    log = tmp_path / "web.log"
    log.write_bytes(line(1, A) + b"\r\nERROR seq=2 errno=5\r\n")
    assert ledger.read(disk, [log]).ok
    log.write_bytes(line(1, A) + b"\r\nSPLITBRAIN name=web saw seq=1\r\n")
    judged = ledger.read(disk, [log])
    assert not judged.ok
    assert json.loads(judged.to_json())["alarms"] == ["SPLITBRAIN name=web saw seq=1"]


def test_times_come_from_the_stamps_when_there_are_some(tmp_path: Path) -> None:
    disk = disk_with(tmp_path / "disk", (1, A), (2, A))
    log = tmp_path / "web.log"
    log.write_bytes(line(1, A) + b"\r\n" + line(2, A) + b"\r\n")
    half = len(line(1, A)) + 2
    (tmp_path / "web.log.stamps").write_text(f"{half} 42.5\n{2 * half} 43.5\n", encoding="ascii")
    judged = ledger.read(disk, [log])
    assert (judged.first_time, judged.last_time) == (42.5, 43.5)


def test_a_disk_yields_its_records_by_place_and_the_name_of_its_vm(tmp_path: Path) -> None:
    disk = disk_with(tmp_path / "disk", (1, A), (2, A), (40, B))
    assert {place: found.boot for place, found in records_on_disk(disk).items()} == {1: A, 2: A, 40: B}
    assert name_on_disk(disk) == "web"
    empty = tmp_path / "empty"
    with empty.open("wb") as file:
        file.truncate(1 << 20)
    assert name_on_disk(empty) is None


def test_a_console_that_does_not_exist_yet_is_empty_and_a_disk_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    disk = disk_with(tmp_path / "disk", (1, A))
    assert ledger.read(disk, [tmp_path / "none.log"]).ok
    with pytest.raises(RackError, match="no such disk"):
        ledger.read(tmp_path / "none", [])
