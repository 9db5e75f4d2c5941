"""A save that fails, its datastore full: nothing of it stays, and the guest is as it was before.

libvirt and the guest are played: one that stands still, as a real one does, while the draft takes the room of its
disks.  The files are real.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import libvirt
import pytest

from holdfast.drivers.vmm.connections import Connections
from holdfast.drivers.vmm.deployment import domain_name, domain_uuid
from holdfast.drivers.vmm.hypervisor import HypervisorConfig
from holdfast.drivers.vmm.jobs import Doubts, Job, Reach
from holdfast.drivers.vmm.saves import Saves
from holdfast.drivers.vmm.vm_storage import VmStorage
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from tests.unit.vmm.objects import a_host, a_vm, an_order

FULL = "No space left on device"


class Guest:
    """The domain, on a datastore of this kind."""

    def __init__(self, draft: Path, other_files_fill_it: bool = False) -> None:
        self.draft, self.other_files_fill_it = draft, other_files_fill_it
        self.why_paused = 0

    def save(self, path: str) -> None:
        self.draft.write_bytes(b"LibvirtQemudPart" * 1000)
        self.why_paused = libvirt.VIR_DOMAIN_PAUSED_IOERROR
        raise libvirt.libvirtError(f"{path}: {FULL}")

    def resume(self) -> None:
        if not self.draft.exists() and not self.other_files_fill_it:
            self.why_paused = 0

    def state(self) -> list[int]:
        if self.why_paused:
            return [libvirt.VIR_DOMAIN_PAUSED, self.why_paused]
        return [libvirt.VIR_DOMAIN_RUNNING, 1]

    def name(self) -> str:
        return domain_name(7)

    def isActive(self) -> bool:  # noqa: N802  as in libvirt
        return True

    def jobInfo(self) -> list[int]:  # noqa: N802
        return [libvirt.VIR_DOMAIN_JOB_NONE]

    def metadata(self, *_: object) -> str:
        raise libvirt.libvirtError("no metadata")


class Played:
    """Connections and the connection in one."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest

    async def call(self, _host_id: int, work: Callable[[Any], Any], _limit_s: float, long: bool = False) -> Any:
        return work(self)

    def lookupByUUIDString(self, uuid: str) -> Guest:  # noqa: N802
        assert uuid == domain_uuid(a_vm(7))
        return self.guest


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The VM's."""
    there = tmp_path / "0" / "7"
    there.mkdir(parents=True)
    return there


def saved(guest: Guest, location: Path) -> Answer:
    """The answer of a save."""

    async def whole() -> Answer:
        config, doubts = HypervisorConfig(str(location)), Doubts()
        reach = Reach(cast(Connections, Played(guest)), doubts, VmStorage(config, None))
        host = a_host()
        order = an_order(EffectKind.VMM_SAVE, a_vm(7), host, 20, {})
        deed = Saves(reach, doubts, config).deeds[EffectKind.VMM_SAVE]
        return await deed.run(Job(order, a_vm(7), host, 20))

    return asyncio.run(whole())


def test_the_draft_goes_at_once_and_the_guest_that_stood_still_for_it_goes_on(directory: Path) -> None:
    guest = Guest(directory / "checkpoint.draft")
    answer = saved(guest, directory.parent.parent)
    assert (answer.ok, answer.certain) == (False, True)
    assert "one-7 was not saved and is running: " in answer.message
    assert FULL in answer.message
    assert not list(directory.iterdir())
    assert not guest.why_paused


def test_a_guest_that_stands_still_all_the_same_is_reported_so_with_the_way_out(directory: Path) -> None:
    answer = saved(Guest(directory / "checkpoint.draft", other_files_fill_it=True), directory.parent.parent)
    assert "one-7 was not saved and is paused: " in answer.message
    assert "make room there; then let it go on: onevm resume 7" in answer.message
    assert not list(directory.iterdir())
