"""Saves, restores and migrations of real guests that are cancelled, interrupted, refused or lose a host."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest

from holdfast.drivers.vmm import migration_orders
from holdfast.drivers.vmm.deployment import domain_name, domain_uuid
from holdfast.drivers.vmm.domain_orders import Domain, Presence, is_busy, look
from holdfast.drivers.vmm.pair import call_both
from holdfast.model.enums import EffectKind
from holdfast.model.host import Host
from holdfast.model.vm import Vm
from holdfast.sandbox.rack import Rack
from tests.unit.vmm.racked import Racked, racked, running_rack

pytestmark = pytest.mark.rack
SLOW_MIB_S = 4
CALL_S = 40.0
CONTROLLER = """
import libvirt, sys
from holdfast.drivers.vmm import migration_orders
from holdfast.drivers.vmm.domain_orders import Domain
first, second, name, uuid = sys.argv[1:]
migration_orders.migrate(libvirt.open(first), libvirt.open(second), Domain(name, uuid))
"""


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


def domain_of(vm: Vm) -> Domain:
    """How the VM's domain is recognised."""
    return Domain(domain_name(vm.oid), domain_uuid(vm))


async def on(here: Racked, host: Host, work: Callable[[Any], Any]) -> Any:
    """From outside, as an operator or an earlier controller would."""
    return await here.connections.call(host.oid, work, CALL_S)


async def deployed(here: Racked, oid: int, slow: bool = False) -> Vm:
    """A guest that writes, on host 1."""
    vm = here.vm(oid)
    assert (await here.do(EffectKind.VMM_DEPLOY, vm, here.host(1))).ok
    await here.booted(vm)
    if slow:
        await on(here, here.host(1), lambda c: c.lookupByName(domain_name(oid)).migrateSetMaxSpeed(SLOW_MIB_S))
    return vm


async def moving(here: Racked, vm: Vm) -> None:
    """Returns when libvirt is at work on the guest of host 1."""
    async with asyncio.timeout(CALL_S):
        while not await on(here, here.host(1), lambda c: is_busy(c, domain_of(vm))):
            await asyncio.sleep(0.05)


async def quiet(here: Racked, vm: Vm) -> None:
    """Returns when it is not any more, and the guest is on host 1 only."""
    async with asyncio.timeout(CALL_S):
        while await on(here, here.host(1), lambda c: is_busy(c, domain_of(vm))) or await here.is_on(vm) != [1]:
            await asyncio.sleep(0.05)


async def alone_and_well(here: Racked, vm: Vm, writers: int = 1) -> None:
    """One guest, its ledger without gap."""
    read = await here.goes_on(vm)
    assert len(read.writers) == writers, here.said(vm)
    assert read.ok, read.to_json()


def test_a_migration_that_is_cancelled_leaves_the_guest_where_it_was(rack: Rack) -> None:
    async def story(here: Racked) -> None:
        vm, first, second = await deployed(here, 831, slow=True), here.host(1), here.host(2)
        task = asyncio.create_task(here.do(EffectKind.VMM_MIGRATE, vm, first, second))
        await moving(here, vm)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await quiet(here, vm)
        await alone_and_well(here, vm)
        await on(here, first, lambda c: c.lookupByName("one-831").migrateSetMaxSpeed(1000))
        assert (await here.do(EffectKind.VMM_MIGRATE, vm, first, second)).ok
        await alone_and_well(here, vm)

    tell(rack, story)


def test_a_migration_that_takes_too_long_is_ended_and_the_guest_stays(rack: Rack) -> None:
    async def story(here: Racked) -> None:
        vm = await deployed(here, 832, slow=True)
        answer = await here.do(EffectKind.VMM_MIGRATE, vm, here.host(1), here.host(2), limit_s=6)
        assert (answer.ok, answer.certain) == (False, True)
        assert "stays on host1" in answer.message
        assert await here.is_on(vm) == [1]
        await alone_and_well(here, vm)

    tell(rack, story)


def test_a_destination_that_dies_meanwhile_does_the_guest_no_harm(rack: Rack) -> None:
    async def story(here: Racked) -> None:
        vm, first, second = await deployed(here, 833, slow=True), here.host(1), here.host(2)
        task = asyncio.create_task(here.do(EffectKind.VMM_MIGRATE, vm, first, second))
        await moving(here, vm)
        await asyncio.to_thread(rack.power_off, "host2")
        await asyncio.to_thread(rack.power_on, "host2")
        answer = await task
        assert (answer.ok, answer.certain) == (False, True), answer
        await alone_and_well(here, vm)

    tell(rack, story)


def test_a_source_that_dies_meanwhile_takes_the_guest_with_it(rack: Rack) -> None:
    async def story(here: Racked) -> None:
        vm, first, second = await deployed(here, 834, slow=True), here.host(1), here.host(2)
        task = asyncio.create_task(here.do(EffectKind.VMM_MIGRATE, vm, first, second, limit_s=8))
        await moving(here, vm)
        await asyncio.to_thread(rack.power_off, "host1")
        answer = await task
        assert (answer.ok, answer.certain) == (False, False), answer
        assert await on(here, second, lambda c: look(c, domain_of(vm))) is Presence.ABSENT
        await asyncio.to_thread(rack.power_on, "host1")
        assert (await here.do(EffectKind.VMM_DEPLOY, vm, second)).ok
        async with asyncio.timeout(CALL_S):
            while len(here.ledger(vm).writers) < 2:
                await asyncio.sleep(0.1)
        await alone_and_well(here, vm, writers=2)

    tell(rack, story)


def test_a_migration_whose_controller_is_killed_is_begun_anew_by_the_next(rack: Rack) -> None:
    async def story(here: Racked) -> None:
        vm, first, second = await deployed(here, 841, slow=True), here.host(1), here.host(2)
        uris = (host.template.get("LIBVIRT_URI") for host in (first, second))
        controller = subprocess.Popen(
            [sys.executable, "-c", CONTROLLER, *uris, domain_name(841), domain_uuid(vm)], start_new_session=True
        )
        try:
            async with asyncio.timeout(CALL_S):
                while await here.is_on(vm) != [1, 2]:
                    await asyncio.sleep(0.05)
        finally:
            controller.kill()
            controller.wait(CALL_S)
        await quiet(here, vm)
        await on(here, first, lambda c: c.lookupByName("one-841").migrateSetMaxSpeed(1000))
        order = here.order(EffectKind.VMM_MIGRATE, vm, first, second, 30, {})
        assert await here.driver.probe(order) is None
        answer = await here.driver.run(order)
        assert answer.ok, answer
        assert await here.is_on(vm) == [2]
        await alone_and_well(here, vm)

    tell(rack, story)


@pytest.mark.parametrize(
    ("oid", "kind", "confirmed"),
    [
        (835, EffectKind.VMM_MIGRATE, True),
        (861, EffectKind.VMM_MIGRATE, False),
        (836, EffectKind.VMM_DEPLOY, True),
    ],
)
def test_a_guest_that_arrived_but_was_never_let_go_on(rack: Rack, oid: int, kind: EffectKind, confirmed: bool) -> None:
    """The controller was killed in between: a migration that went well is carried on; a start begins anew."""

    async def story(here: Racked) -> None:
        vm, first, second = await deployed(here, oid), here.host(1), here.host(2)
        order = here.order(EffectKind.VMM_MIGRATE, vm, first, second, 9, {})
        assert await here.driver.probe(order) is None

        def half(source: Any, destination: Any) -> None:
            migration_orders.migrate(source, destination, domain_of(vm))
            if confirmed:
                stay = vm.history[-1]
                migration_orders.confirm(source, destination, domain_of(vm), f"{stay.seq}.{stay.stime}")

        await call_both(here.connections, 1, 2, half, CALL_S)
        assert await on(here, second, lambda c: look(c, domain_of(vm))) is Presence.INCOMING
        here.driver = here.new_driver()
        assert await here.driver.probe(order) is None
        if not confirmed:
            answer = await here.driver.run(order)
            assert (answer.ok, answer.certain) == (False, True)
            assert "neither on host1 nor on host2" in answer.message
            assert await here.is_on(vm) == []
        elif kind is EffectKind.VMM_MIGRATE:
            assert (await here.driver.run(order)).ok
            assert (await here.new_driver().probe(order)) is not None
            await alone_and_well(here, vm)
        else:
            assert (await here.do(kind, vm, second)).ok
            async with asyncio.timeout(CALL_S):
                while len(here.ledger(vm).writers) < 2:
                    await asyncio.sleep(0.1)
            await alone_and_well(here, vm, writers=2)

    tell(rack, story)


def test_a_clean_up_removes_the_domain_wherever_it_is_and_is_certain_only_of_what_it_saw(rack: Rack) -> None:
    async def story(here: Racked) -> None:
        vm, first, second = await deployed(here, 837), here.host(1), here.host(2)
        assert (await here.do(EffectKind.VMM_CLEANUP, vm, second, first)).ok
        assert await here.is_on(vm) == []
        assert await here.driver.probe(here.order(EffectKind.VMM_CLEANUP, vm, second, first, 9, {})) is not None
        await asyncio.to_thread(rack.power_off, "host2")
        assert (await here.do(EffectKind.VMM_DEPLOY, vm, first)).ok
        answer = await here.do(EffectKind.VMM_CLEANUP, vm, second, first, limit_s=5)
        assert (answer.ok, answer.certain) == (False, False)
        assert await here.is_on_host(vm, first) is False, "the other host was cleaned nevertheless"
        await asyncio.to_thread(rack.power_on, "host2")

    tell(rack, story)


def test_a_save_that_fails_leaves_the_guest_running(rack: Rack) -> None:
    async def story(here: Racked) -> None:
        vm = await deployed(here, 838)
        (here.directory(838) / "checkpoint.draft").mkdir()
        answer = await here.do(EffectKind.VMM_SAVE, vm, here.host(1))
        assert (answer.ok, answer.certain) == (False, True)
        assert "was not saved and is running" in answer.message
        await alone_and_well(here, vm)

    tell(rack, story)


def test_a_save_of_a_guest_that_is_gone_fails_and_takes_no_old_checkpoint_for_it(rack: Rack) -> None:
    async def story(here: Racked) -> None:
        vm = await deployed(here, 839)
        old = here.directory(839) / "checkpoint"
        old.write_bytes(b"LibvirtQemudSave")
        os.utime(old, (1, 1))
        assert (await here.do(EffectKind.VMM_CANCEL, vm, here.host(1))).ok
        answer = await here.do(EffectKind.VMM_SAVE, vm, here.host(1))
        assert (answer.ok, answer.certain) == (False, False)
        assert "is not there, so it cannot be saved" in answer.message

    tell(rack, story)


def test_a_restore_without_a_usable_checkpoint_fails_for_certain(rack: Rack) -> None:
    async def story(here: Racked) -> None:
        vm = here.vm(840)
        nothing = await here.do(EffectKind.VMM_RESTORE, vm, here.host(1))
        assert (nothing.ok, nothing.certain) == (False, True)
        assert "there is no" in nothing.message
        (here.directory(840) / "checkpoint").write_bytes(b"LibvirtQemudSave but nothing more")
        broken = await here.do(EffectKind.VMM_RESTORE, vm, here.host(1))
        assert (broken.ok, broken.certain) == (False, True)
        assert (here.directory(840) / "checkpoint").exists()

    tell(rack, story)


def test_save_and_restore_are_carried_on_from_wherever_the_controller_was_killed(rack: Rack) -> None:
    async def story(here: Racked) -> None:
        points = ("saved", "promoted", "held", "used", "resumed")
        async with asyncio.TaskGroup() as together:
            for number, point in enumerate(points, 851):
                together.create_task(_killed_at(point, here, number))

    tell(rack, story)


async def _killed_at(point: str, here: Racked, oid: int) -> None:
    vm, first = await deployed(here, oid), here.host(1)
    checkpoint = here.directory(oid) / "checkpoint"
    draft, used = checkpoint.with_suffix(".draft"), checkpoint.with_suffix(".used")
    save = here.order(EffectKind.VMM_SAVE, vm, first, None, 30, {})
    restore = here.order(EffectKind.VMM_RESTORE, vm, first, None, 30, {})
    assert await here.new_driver().probe(save) is None
    await on(here, first, lambda c: c.lookupByName(domain_name(oid)).save(str(draft)))
    if point != "saved":
        draft.replace(checkpoint)
    assert (await here.new_driver().probe(save)) is not None, point
    assert await here.new_driver().probe(restore) is None, point
    await _restore_up_to(point, here, vm, checkpoint, used)
    driver = here.new_driver()
    answer = await driver.probe(restore) or await driver.run(restore)
    assert answer.ok, (point, answer)
    assert [path for path in checkpoint.parent.iterdir() if path.name.startswith("checkpoint")] == [], point
    await alone_and_well(here, vm)


async def _restore_up_to(point: str, here: Racked, vm: Vm, checkpoint: Path, used: Path) -> None:
    """What the driver does, up to the point where it was killed."""
    first = here.host(1)
    if point in ("held", "used", "resumed"):
        await on(here, first, lambda c: c.restoreFlags(str(checkpoint), None, libvirt.VIR_DOMAIN_SAVE_PAUSED))
    if point in ("used", "resumed"):
        checkpoint.replace(used)
    if point == "resumed":
        await on(here, first, lambda c: c.lookupByName(domain_name(vm.oid)).resume())
