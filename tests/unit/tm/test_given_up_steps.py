"""What goes on in the background after a step was given up must not undo what came after it; locks are waited for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.drivers.tm import layout
from holdfast.drivers.tm.tools import Clockwork, TransferOverdue
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from tests.unit.tm.site import Site, opened
from tests.unit.vmm.objects import an_order

LIMIT_S = 10


class HangingStorage:
    """A thread that hangs in the storage while it puts a draft in place, and what came of it."""

    def __init__(self, put: Callable[[layout.Insist], None], clockwork: Clockwork) -> None:
        self._put, self._clockwork = put, clockwork
        self.entered, self.released, self.ended = threading.Event(), threading.Event(), threading.Event()
        self.refusals: list[TransferOverdue] = []

    def __call__(self) -> None:
        self.entered.set()
        assert self.released.wait(LIMIT_S)
        try:
            self._put(self._clockwork.insist)
        except TransferOverdue as error:
            self.refusals.append(error)
        self.ended.set()


def published(draft: Path, disk: Path) -> Callable[[layout.Insist], None]:
    return lambda insist: layout.publish_file(draft, disk, insist)


@pytest.mark.parametrize("end", ["overdue", "cancelled"])
def test_a_thread_that_wakes_up_after_its_step_was_given_up_replaces_nothing(end: str, tmp_path: Path) -> None:
    disk, draft = tmp_path / "disk.0", tmp_path / "late"
    disk.write_text("the guest's")
    draft.write_text("of a prolog long ago")

    async def story() -> HangingStorage:
        clockwork = Clockwork(0.2 if end == "overdue" else LIMIT_S)
        hanging = HangingStorage(published(draft, disk), clockwork)
        step = asyncio.create_task(clockwork.touch(hanging, "putting it in place"))
        if end == "cancelled":
            while not hanging.entered.is_set():
                await asyncio.sleep(0.01)
            step.cancel()
        with pytest.raises(TransferOverdue if end == "overdue" else asyncio.CancelledError):
            await step
        return hanging

    hanging = asyncio.run(story())
    hanging.released.set()
    assert hanging.ended.wait(LIMIT_S)
    assert len(hanging.refusals) == 1
    assert disk.read_text() == "the guest's"


def test_a_thread_whose_step_still_waits_does_its_work(tmp_path: Path) -> None:
    disk, draft = tmp_path / "disk.0", tmp_path / "draft"
    draft.write_text("new")

    async def story() -> None:
        clockwork = Clockwork(LIMIT_S)
        hanging = HangingStorage(published(draft, disk), clockwork)
        hanging.released.set()
        await clockwork.touch(hanging, "putting it in place")

    asyncio.run(story())
    assert disk.read_text() == "new"


def test_a_resize_waits_for_a_program_that_an_earlier_controller_left_behind(tmp_path: Path) -> None:
    site = Site(tmp_path)
    vm = site.vm(site.disk(site.image("aaa")))
    assert site.run(EffectKind.TM_PROLOG, vm).ok

    async def story() -> Answer:
        async with opened(site.directory / "disk.0"):
            order = an_order(EffectKind.TM_RESIZE, vm, limit_s=20, args={"DISK_ID": "0", "SIZE": "9"})
            resize = asyncio.create_task(site.driver.run(order))
            done, _ = await asyncio.wait({resize}, timeout=1)
            assert not done
        return await resize

    assert asyncio.run(story()) == Answer(ok=True)
    assert site.info(site.directory / "disk.0")["virtual-size"] == 9 << 20


def test_a_lock_that_is_never_given_up_ends_the_step_by_its_deadline(tmp_path: Path) -> None:
    site = Site(tmp_path)
    vm = site.vm(site.disk(site.image("aaa")))
    assert site.run(EffectKind.TM_PROLOG, vm).ok

    async def story() -> Answer:
        async with opened(site.directory / "disk.0"), asyncio.timeout(LIMIT_S):
            order = an_order(EffectKind.TM_RESIZE, vm, limit_s=2, args={"DISK_ID": "0", "SIZE": "9"})
            return await site.driver.run(order)

    assert not asyncio.run(story()).ok
    assert site.info(site.directory / "disk.0")["virtual-size"] == 4 << 20
