"""The logs of the VMs: form, full disks, rotation, and nothing that holds up who writes."""

from __future__ import annotations

import logging
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.serve import vm_log
from holdfast.serve.vm_log import VmLine, VmLog, append, formatted

AT = 1795336976.9
SAMPLE = "Sun Nov 22 08:42:56 2026 [Z0][TrM][I]: simflag failure in clone\n"


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def line(text: str, vm_id: int = 7) -> VmLine:
    return VmLine(vm_id, "TrM", "I", text)


def test_a_line_has_opennebulas_form(tmp_path: Path) -> None:
    log = VmLog(tmp_path / "log", lambda: AT)
    log.write(line("simflag failure in clone"))
    log.teller("VM")(8, "I", "New state is ACTIVE")
    log.teller("VMM")(8, "E", "DEPLOY: no memory")
    log.close()
    assert (tmp_path / "log/7.log").read_text() == SAMPLE
    assert (tmp_path / "log/8.log").read_text() == (
        "Sun Nov 22 08:42:56 2026 [Z0][VM][I]: New state is ACTIVE\n"
        "Sun Nov 22 08:42:56 2026 [Z0][VMM][E]: DEPLOY: no memory\n"
    )


def test_a_log_is_private_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    for text in ("before", "after"):
        log = VmLog(tmp_path, lambda: AT)
        log.write(line(text))
        log.close()
    assert [text[-7:] for text in (tmp_path / "7.log").read_text().splitlines()] == [" before", ": after"]
    assert (tmp_path / "7.log").stat().st_mode & 0o777 == 0o600


def test_a_line_is_one_line_without_secrets_and_not_too_long() -> None:
    written = formatted(AT, line("a\nb\0 PASSWORD=hunter2 \ud800")).decode()
    assert written.endswith("]: a b\\x00 PASSWORD=******** \\ud800\n")
    assert len(formatted(AT, line("x" * 10_000))) < vm_log.TEXT_LIMIT + 100


def test_a_file_that_has_grown_past_its_limit_is_put_aside(tmp_path: Path) -> None:
    log = VmLog(tmp_path, lambda: AT, file_limit=3 * len(SAMPLE))
    for number in range(8):
        log.write(line(f"line {number}" + " " * 17))
        time.sleep(2 * vm_log._GATHER_S)
    log.close()
    kept = [(tmp_path / name).read_text().count("line") for name in ("7.log.1", "7.log")]
    assert kept == [3, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["7.log", "7.log.1"]


def test_a_log_that_is_rotated_or_removed_by_others_goes_on(tmp_path: Path) -> None:
    append(tmp_path / "7.log", b"one\n", 100)
    (tmp_path / "7.log").rename(tmp_path / "7.log.0")
    append(tmp_path / "7.log", b"two\n", 100)
    assert [(tmp_path / name).read_bytes() for name in ("7.log.0", "7.log")] == [b"one\n", b"two\n"]


@pytest.mark.parametrize("kind", ["link", "pipe", "directory"])
def test_nothing_is_written_through_what_is_no_file(tmp_path: Path, kind: str) -> None:
    target, path = tmp_path / "target", tmp_path / "7.log"
    target.write_bytes(b"")
    if kind == "link":
        path.symlink_to(target)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(OSError, match=r"."):
        append(path, b"text\n", 100)
    assert target.read_bytes() == b""


def test_a_full_disk_costs_whole_lines_and_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """RLIMIT_FSIZE cuts writes as a full disk does: a part is written, then there is an error."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    log = VmLog(tmp_path, lambda: AT)
    log.write(line("fits"))
    time.sleep(5 * vm_log._GATHER_S)
    size = (tmp_path / "7.log").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, before[1]))
    try:
        for number in range(3):
            log.write(line(f"lost {number}"))
            time.sleep(3 * vm_log._GATHER_S)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    log.write(line("fits again"))
    log.close()
    assert [text.partition("]: ")[2] for text in (tmp_path / "7.log").read_text().splitlines()] == [
        "fits",
        "fits again",
    ]
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert said == [
        f"log lines of VMs are lost: {tmp_path}/7.log cannot be written: File too large",
        "VM logs are written again; 3 lines were lost",
    ]


def test_whoever_writes_never_waits_and_memory_is_bounded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vm_log, "LINES_LIMIT", 100)
    monkeypatch.setattr(vm_log, "_GATHER_S", 0.5)
    log = VmLog(tmp_path, lambda: AT)
    begun = time.monotonic()
    for number in range(1000):
        log.write(line(str(number)))
    assert time.monotonic() - begun < 0.4
    log.close()
    assert len((tmp_path / "7.log").read_text().splitlines()) == 100
    assert [record.getMessage() for record in caplog.records] == [
        f"log lines of VMs are lost: 100 wait already for {tmp_path}",
        "VM logs are written again; 900 lines were lost",
    ]
