"""Copies on mounted storage tell how far they are, whatever the storage does."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from holdfast.drivers.tm import copies
from holdfast.drivers.tm.account import Account, Progress
from holdfast.drivers.tm.lines import TransferError
from holdfast.drivers.tm.tools import Clockwork
from holdfast.model.enums import EffectKind
from tests.unit.tm.site import Site
from tests.unit.vmm.objects import a_stay

MIB = 1 << 20
SLOW_CP = """#!/bin/sh
# copies the beginning of a file, waits to be let go on, copies the rest
eval "origin=\\${$(($# - 1))} draft=\\${$#}"
[ -d "$origin" ] && exec /bin/cp "$@"
head -c %d "$origin" > "$draft"
sync "$draft"
until [ -e "%s" ]; do sleep 0.02; done
exec /bin/cp "$@"
"""


class Watched(Account):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, int]] = []

    def copied(self, done_bytes: int, total_bytes: int) -> None:
        super().copied(done_bytes, total_bytes)
        self.seen.append((done_bytes, total_bytes))


def filled(path: Path, data_mib: int, hole_mib: int = 0) -> Path:
    """A file with data and, behind it, a hole."""
    with path.open("wb") as file:
        file.write(os.urandom(data_mib * MIB))
        file.truncate((data_mib + hole_mib) * MIB)
        os.fsync(file.fileno())
    return path


def copied(source: Path, draft: Path, *options: str, limit_s: float = 20) -> list[tuple[int, int]]:
    account = Watched()

    async def work() -> None:
        await copies.copy(source, draft, Clockwork(limit_s, account), *options)

    asyncio.run(work())
    return account.seen


def test_a_copy_begins_with_nothing_and_ends_with_everything(tmp_path: Path) -> None:
    source = filled(tmp_path / "image", 2, hole_mib=30)
    seen = copied(source, tmp_path / "draft")
    assert seen[0] == (0, 2 * MIB)
    assert seen[-1] == (2 * MIB, 2 * MIB), "the hole is not copied and does not count"
    assert (tmp_path / "draft").read_bytes() == source.read_bytes()


def test_a_directory_counts_with_all_its_files_but_not_what_links_lead_to(tmp_path: Path) -> None:
    origin = tmp_path / "0/7"
    (origin / "disk.1.snap").mkdir(parents=True)
    filled(origin / "disk.1.snap/0", 1)
    filled(origin / "checkpoint", 2)
    (origin / "disk.0").symlink_to(filled(tmp_path / "image", 4))
    (origin / "disk.1.snap/disk.1.snap").symlink_to(".")
    assert copied(origin, tmp_path / "draft", "-a")[-1] == (3 * MIB, 3 * MIB)


@pytest.fixture
def slow_cp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """While this file is missing, a copy stops after its first MiB."""
    go_on = tmp_path / "go-on"
    program = tmp_path / "bin/cp"
    program.parent.mkdir()
    program.write_text(SLOW_CP % (MIB, go_on))
    program.chmod(0o755)
    monkeypatch.setattr("holdfast.drivers.tm.tools._PATH", f"{program.parent}:/usr/sbin:/usr/bin:/sbin:/bin")
    monkeypatch.setattr(copies, "LOOK_EVERY_S", 0.02)
    return go_on


async def progress_when(site: Site, vm_id: int, percent: int) -> Progress:
    async with asyncio.timeout(10):
        while True:
            found = site.driver.accounts.progress_of(vm_id)
            if found and found.percent >= percent:
                return found
            await asyncio.sleep(0.01)


def test_the_prolog_of_a_vm_tells_how_far_its_copy_is(tmp_path: Path, slow_cp: Path) -> None:
    site = Site(tmp_path)
    image = filled(site.root / "1/image", 4)
    vm = site.vm(site.disk(image, "raw") + "DISK=[DISK_ID=1, TYPE=swap, SIZE=1]\n")

    async def work() -> Progress:
        running = asyncio.create_task(site.driver.run(site.order(EffectKind.TM_PROLOG, vm)))
        progress = await progress_when(site, 7, 25)
        slow_cp.touch()
        assert (await running).ok
        assert site.driver.accounts.progress_of(7) is None
        return progress

    progress = asyncio.run(work())
    line = f"CLONE qcow2 front:{image} host1:{site.root}/0/7/disk.0 7 1"
    assert progress == Progress(line, 1, 2, MIB, 4 * MIB)
    assert (site.directory / "disk.0").read_bytes() == image.read_bytes()


def test_a_move_to_another_file_system_tells_how_far_it_is(
    tmp_path: Path, slow_cp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(tmp_path)
    elsewhere = Path(f"/dev/shm/holdfast-{os.getpid()}")
    (site.root / "100").rmdir()
    elsewhere.mkdir()
    (site.root / "100").symlink_to(elsewhere)
    try:
        site.directory.mkdir()
        filled(site.directory / "disk.0", 1)
        slow_cp.touch()
        said: list[str] = []
        site.driver._log = lambda vm_id, severity, text: said.append(text)
        vm = site.vm(site.disk(site.root / "1/x", "raw"), a_stay(1, 0), a_stay(2, 1, 100))
        assert site.run(EffectKind.TM_MIGRATE, vm).ok
    finally:
        for path in sorted(elsewhere.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        elsewhere.rmdir()
    assert said[0].startswith("(1/2) MV qcow2 host1:")
    assert said[1].startswith(f"(2/2) MV qcow2 host1:{site.directory} host2:{site.root}/100/7 7 100: done in ")
    assert said[1].endswith(" s, 1 MiB copied")


def test_a_copy_without_room_says_so(tmp_path: Path) -> None:
    source = filled(tmp_path / "image", 1)
    with pytest.raises(TransferError, match="no space is left in /dev: cp failed"):
        copied(source, Path("/dev/full"))


def test_what_cannot_be_looked_at_stops_the_looking_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = filled(tmp_path / "image", 1)
    looks = copies.room_of

    def room_of(path: Path) -> int:
        if path.name == "draft":
            raise OSError(5, "Input/output error")
        return looks(path)

    monkeypatch.setattr(copies, "room_of", room_of)
    monkeypatch.setattr(copies, "LOOK_EVERY_S", 0.0)
    assert copied(source, tmp_path / "draft")[-1] == (MIB, MIB)
