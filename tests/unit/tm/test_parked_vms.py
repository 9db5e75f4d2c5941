"""Stop, resume and delete: a VM's directory, with its checkpoint, goes where it should, again and again."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from holdfast.drivers.tm.lines import Step
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.model.vm import Vm
from tests.unit.tm.site import Site
from tests.unit.vmm.objects import a_stay, an_order, elsewhere

K = EffectKind
OK = Answer(ok=True)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Empty datastores."""
    return Site(tmp_path)


def suspended(site: Site) -> Vm:
    """VM 7 on host 1 and datastore 0, with a checkpoint in its directory."""
    vm = site.vm(site.disk(site.image("aaa")))
    assert site.run(K.TM_PROLOG, vm) == OK
    (site.directory / "checkpoint").write_text("memory")
    return vm


def shown_done(site: Site, kind: EffectKind, vm: Vm, **args: object) -> bool:
    found = site.probe(kind, vm, **args)
    assert found is None or found.ok
    return found is not None


def test_a_stopped_vm_stays_where_it_is_for_the_front_end_sees_the_same_files(site: Site) -> None:
    vm = suspended(site)
    before = site.files()
    assert shown_done(site, K.TM_STOP, vm)
    for _ in range(2):
        assert site.run(K.TM_STOP, vm, SEQ=0) == OK
    assert site.files() == before
    assert site.driver.transfer_file(vm, Step.STOP).read_text() == (
        f"MV qcow2 host1:{site.directory}/disk.0 front:{site.directory}/disk.0 7 1\n"
        f"MV qcow2 host1:{site.directory} front:{site.directory} 7 0\n"
    )


def test_a_stopped_vm_is_resumed_on_another_host_without_touching_its_files(site: Site) -> None:
    vm = elsewhere(suspended(site), a_stay(1, 0), a_stay(2, 1))
    before = site.files()
    assert shown_done(site, K.TM_RESUME, vm)
    assert site.run(K.TM_RESUME, vm, SEQ=1) == OK
    assert site.files() == before
    assert site.driver.transfer_file(vm, Step.RESUME).read_text().splitlines()[-1] == (
        f"MV qcow2 front:{site.directory} host2:{site.directory} 7 0"
    )


def test_a_vm_that_is_resumed_on_another_datastore_takes_its_checkpoint_along(site: Site) -> None:
    vm = elsewhere(suspended(site), a_stay(1, 0), a_stay(2, 1, ds_id=100))
    assert not shown_done(site, K.TM_RESUME, vm)
    assert site.run(K.TM_RESUME, vm) == OK
    assert shown_done(site, K.TM_RESUME, vm)
    assert site.run(K.TM_RESUME, vm) == OK, "again"
    assert site.files("0") == []
    assert (site.root / "100/7/checkpoint").read_text() == "memory"
    assert site.holds(site.root / "100/7/disk.0", "qcow2", "0xab")


def test_a_vm_that_was_never_anywhere_else_cannot_be_resumed(site: Site) -> None:
    answer = site.run(K.TM_RESUME, suspended(site))
    assert (answer.ok, answer.certain) == (False, True)
    assert "never been on another host" in answer.message
    assert not shown_done(site, K.TM_RESUME, suspended(site))


@pytest.mark.parametrize("remnant", [False, True])
def test_a_vm_that_was_being_moved_is_deleted_in_both_places(site: Site, remnant: bool) -> None:
    vm = elsewhere(suspended(site), a_stay(1, 0), a_stay(2, 1, ds_id=100))
    if remnant:
        (site.root / "100/7").mkdir()
        (site.root / "100/7/disk.0").write_text("half")
    assert not shown_done(site, K.TM_DELETE, vm, SEQ=1)
    assert site.run(K.TM_DELETE, vm, SEQ=1) == OK
    assert (site.files("0"), site.files("100")) == ([], [])
    assert shown_done(site, K.TM_DELETE, vm, SEQ=1)
    assert site.run(K.TM_DELETE, vm, SEQ=1) == OK, "again"
    assert site.driver.transfer_file(vm, Step.DELETE_BOTH).name == "transfer.1.delete_both"
    assert len(site.driver.transfer_file(vm, Step.DELETE_BOTH).read_text().splitlines()) == 4


def test_a_datastore_that_is_no_directory_any_more_holds_nothing_to_delete(site: Site) -> None:
    vm = elsewhere(suspended(site), a_stay(1, 0), a_stay(2, 1, ds_id=100))
    (site.root / "100").rmdir()
    (site.root / "100").write_text("somebody's mistake")
    assert site.run(K.TM_DELETE, vm, SEQ=1) == OK
    assert site.files("0") == []


def test_a_datastore_that_refuses_keeps_no_files_on_the_other_one(site: Site) -> None:
    vm = elsewhere(suspended(site), a_stay(1, 0), a_stay(2, 1, ds_id=100))
    (site.root / "100/7").symlink_to(site.vms)
    answer = site.run(K.TM_DELETE, vm, SEQ=1)
    assert (answer.ok, answer.certain) == (False, True)
    assert "(line 1: " in answer.message, answer.message
    assert site.files("0") == []


def test_a_vm_that_was_moved_to_another_host_only_is_deleted_once(site: Site) -> None:
    vm = elsewhere(suspended(site), a_stay(1, 0), a_stay(2, 1))
    assert site.run(K.TM_DELETE, vm) == OK
    assert len(site.driver.transfer_file(vm, Step.DELETE).read_text().splitlines()) == 2


def test_the_end_may_concern_an_earlier_history_record_or_the_front_end(site: Site) -> None:
    vm = elsewhere(suspended(site), a_stay(1, 0), a_stay(2, 1, ds_id=100))
    (site.root / "100/7").mkdir()
    assert site.run(K.TM_EPILOG, vm, SEQ=0, LOCAL="YES") == OK
    assert not site.directory.exists()
    assert (site.root / "100/7").exists()
    written = site.driver.transfer_file(vm, Step.EPILOG, 0)
    assert written.name == "transfer.0.epilog"
    assert written.read_text().splitlines()[-1] == f"DELETE qcow2 front:{site.directory} 7 0"
    assert shown_done(site, K.TM_EPILOG, vm, SEQ=0)
    assert not shown_done(site, K.TM_EPILOG, vm, SEQ=1)


@pytest.mark.parametrize("kind", [K.TM_STOP, K.TM_RESUME, K.TM_ATTACH, K.TM_DETACH, K.TM_RESIZE, K.TM_SNAPSHOT_CREATE])
def test_the_dummy_driver_takes_every_step_and_shows_nothing_afterwards(site: Site, kind: EffectKind) -> None:
    text = 'DISK=[DISK_ID=0, SOURCE="/a", CLONE=YES, TM_MAD=dummy, DATASTORE_ID=1]'
    vm = site.vm(text, a_stay(1, 0, tm_mad="dummy"), a_stay(2, 1, tm_mad="dummy"))
    assert site.run(kind, vm, ITEM=0, DISK_ID=0, SIZE=9) == OK
    assert site.probe(kind, vm, ITEM=0, DISK_ID=0, SIZE=9) is None


def test_what_the_storage_holds_up_beyond_the_deadline_changes_nothing_afterwards(site: Site) -> None:
    """A named pipe stands for an image on storage that hangs: whoever opens it waits for ever."""
    vm = site.vm(site.disk(site.root / "1/aaa", "raw"))
    os.mkfifo(site.root / "1/aaa")
    answer = site.run(K.TM_PROLOG, vm, limit_s=2)
    assert (answer.ok, answer.certain) == (False, False)
    assert "cp was stopped after" in answer.message
    assert site.files() == []


def test_a_step_that_is_called_off_ends_its_programs_and_leaves_no_draft(site: Site) -> None:
    vm = site.vm(site.disk(site.root / "1/aaa", "raw"))
    os.mkfifo(site.root / "1/aaa")

    async def story() -> None:
        running = asyncio.create_task(site.driver.run(an_order(K.TM_PROLOG, vm)))
        async with asyncio.timeout(10):
            while not (copies := _programs_on(site.root / "1/aaa")):
                await asyncio.sleep(0.02)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        for pid in copies:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)

    asyncio.run(story())
    assert site.files() == []


def _programs_on(path: Path) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdecimal() else []
        except OSError:
            continue
        if str(path).encode() in words:
            found.append(int(entry.name))
    return found
