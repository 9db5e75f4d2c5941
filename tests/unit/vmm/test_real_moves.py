"""Saving, restoring and live migration of real guests between two real hosts, proven by what the guests wrote."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from holdfast.model.enums import EffectKind
from holdfast.sandbox.rack import Rack, Storage
from tests.unit.vmm.racked import Racked, racked, running_rack

pytestmark = pytest.mark.rack


@pytest.fixture(scope="module")
def rack() -> Iterator[Rack]:
    """Two hosts, for all tests."""
    with running_rack(2) as built:
        yield built


def tell(rack: Rack, story: Callable[[Racked], Awaitable[None]]) -> None:
    """Runs a story on the rack."""

    async def whole() -> None:
        async with racked(rack) as here:
            await story(here)
            print(here.took_s)

    asyncio.run(whole())


def test_a_saved_guest_goes_on_elsewhere_where_it_was_and_its_checkpoint_goes(rack: Rack) -> None:
    async def story(here: Racked) -> None:
        vm, first, second = here.vm(801), here.host(1), here.host(2)
        checkpoint = here.directory(801) / "checkpoint"
        assert (await here.do(EffectKind.VMM_DEPLOY, vm, first)).ok
        await here.booted(vm)
        assert (await here.do(EffectKind.VMM_SAVE, vm, first, SEQ="0")).ok
        assert await here.is_on(vm) == []
        assert checkpoint.exists()
        again = here.order(EffectKind.VMM_SAVE, vm, first, None, 30, {"SEQ": "0"})
        found = await here.new_driver().probe(again)
        assert found is not None, "after a restart it finds what was saved"
        assert found.ok, found
        assert (await here.do(EffectKind.VMM_RESTORE, vm, second)).ok
        assert await here.is_on(vm) == [2]
        assert list(here.directory(801).iterdir()) == [here.directory(801) / "disk.0"]
        read = await here.goes_on(vm)
        assert len(read.writers) == 1, here.said(vm)
        assert read.ok, read.to_json()
        assert (await here.do(EffectKind.VMM_RESTORE, vm, second)).ok, "repeated, it finds its domain"

    tell(rack, story)


def test_a_guest_that_moves_live_keeps_its_ledger_with_one_writer(rack: Rack) -> None:
    async def story(here: Racked) -> None:
        vm, first, second = here.vm(802), here.host(1), here.host(2)
        assert (await here.do(EffectKind.VMM_DEPLOY, vm, first)).ok
        await here.booted(vm)
        for source, destination in ((first, second), (second, first)):
            assert (await here.do(EffectKind.VMM_MIGRATE, vm, source, destination)).ok
            assert await here.is_on(vm) == [destination.oid]
            read = await here.goes_on(vm)
            assert len(read.writers) == 1, here.said(vm)
            assert read.ok, read.to_json()
        assert (await here.do(EffectKind.VMM_SHUTDOWN, vm, first)).ok
        assert await here.is_on(vm) == []

    tell(rack, story)


def test_a_guest_on_network_disks_moves_live_saves_and_goes_on() -> None:
    with running_rack(2, Storage.NBD) as rack:

        async def story(here: Racked) -> None:
            vm, first, second = here.vm(803), here.host(1), here.host(2)
            assert (await here.do(EffectKind.VMM_DEPLOY, vm, first)).ok
            await here.booted(vm)
            assert (await here.do(EffectKind.VMM_MIGRATE, vm, first, second)).ok
            assert (await here.goes_on(vm)).ok
            assert (await here.do(EffectKind.VMM_SAVE, vm, second)).ok
            assert (await here.do(EffectKind.VMM_RESTORE, vm, first)).ok
            read = await here.goes_on(vm)
            assert len(read.writers) == 1, here.said(vm)
            assert read.ok, read.to_json()

        tell(rack, story)
