"""The libvirt driver against libvirt's mock hypervisor: every order, repeated, refused, lost and probed."""

from __future__ import annotations

import asyncio
import dataclasses
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.drivers.vmm.connections import Connections
from holdfast.drivers.vmm.deployment import domain_name, domain_uuid
from holdfast.drivers.vmm.domain_states import DomainReport
from holdfast.drivers.vmm.hypervisor import HypervisorConfig
from holdfast.drivers.vmm.libvirt_driver import LibvirtDriver
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.model.host import Host
from holdfast.model.vm import Vm
from holdfast.model.vm_states import LcmState
from tests.unit.vmm.listening import QUICK, watching
from tests.unit.vmm.objects import BASIC, a_host, a_stay, a_vm, an_order
from tests.unit.vmm.session_daemon import SessionDaemon

MOCK = 'LIBVIRT_URI="test:///default"'


class Bench:
    """A driver with its connections, for one story."""

    def __init__(self, connections: Connections, vms_path: Path) -> None:
        self.connections = connections
        self.vms_path = vms_path
        self.driver = LibvirtDriver(connections, vms_path, HypervisorConfig("/ds"))

    async def do(self, kind: EffectKind, vm: Vm, host: Host, limit_s: float = 5, **args: str) -> Answer:
        return await self.driver.run(an_order(kind, vm, host, limit_s, args))

    async def probe(self, kind: EffectKind, vm: Vm, host: Host, oid: int = 1) -> Answer | None:
        return await self.driver.probe(an_order(kind, vm, host, oid=oid))

    async def destroy(self, vm: Vm) -> None:
        """From outside, as a crash would."""

        def work(connection: Any) -> None:
            connection.lookupByName(domain_name(vm.oid)).destroy()

        await self.connections.call(1, work, 5)


def tell(tmp_path: Path, story: Callable[[Bench], Awaitable[None]], host: Host | None = None) -> None:
    """Runs a story with one host, the mock hypervisor unless told otherwise."""

    async def whole() -> None:
        async with watching(host or a_host(1, MOCK), timing=QUICK) as (connections, _):
            await story(Bench(connections, tmp_path / "vms"))

    asyncio.run(whole())


def test_deploy_writes_the_deployment_file_and_answers_with_the_uuid(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        vm = a_vm(601, history=(a_stay(seq=3),))
        answer = await bench.do(EffectKind.VMM_DEPLOY, vm, a_host(1, MOCK))
        assert answer == Answer(ok=True, values={"DEPLOY_ID": domain_uuid(vm)})
        file = bench.vms_path / "601/deployment.3"
        assert "<name>one-601</name>" in file.read_text()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        assert (await bench.connections.domains(1))[601] is DomainReport.RUNNING
        await bench.destroy(vm)

    tell(tmp_path, story)


def test_a_deploy_that_is_repeated_finds_its_domain(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        vm, host = a_vm(602), a_host(1, MOCK)
        assert (await bench.do(EffectKind.VMM_DEPLOY, vm, host)).ok
        assert (await bench.do(EffectKind.VMM_DEPLOY, vm, host)).ok
        await bench.destroy(vm)

    tell(tmp_path, story)


def test_a_domain_of_the_same_name_that_is_not_ours_is_neither_taken_nor_destroyed(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        host = a_host(1, MOCK)
        theirs = a_vm(603, f'{BASIC}\nOS=[UUID="6f4d1f9e-0000-4000-8000-000000000603", MACHINE=pc]')
        theirs = dataclasses.replace(theirs, template=theirs.template.without("OS").extended(
            [("OS", {"UUID": "6f4d1f9e-0000-4000-8000-000000000603", "MACHINE": "pc"})]
        ))  # fmt: skip
        ours = a_vm(603)
        assert (await bench.do(EffectKind.VMM_DEPLOY, theirs, host)).ok
        refused = await bench.do(EffectKind.VMM_DEPLOY, ours, host)
        assert not refused.ok
        assert refused.certain
        assert "is there already" in refused.message
        assert (await bench.do(EffectKind.VMM_CANCEL, ours, host)).ok
        assert 603 in await bench.connections.domains(1)
        assert (await bench.do(EffectKind.VMM_CANCEL, theirs, host)).ok
        assert 603 not in await bench.connections.domains(1)

    tell(tmp_path, story)


def test_what_libvirt_refuses_fails_for_certain_with_its_words(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        vm = a_vm(604, f"{BASIC}\nDISK=[DISK_ID=0, TARGET=vda, CACHE=imaginary]")
        answer = await bench.do(EffectKind.VMM_DEPLOY, vm, a_host(1, MOCK))
        assert (answer.ok, answer.certain) == (False, True)
        assert "Could not create domain one-604 on host1" in answer.message
        assert "imaginary" in answer.message

    tell(tmp_path, story)


def test_what_cannot_be_written_fails_for_certain(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        no_memory = await bench.do(EffectKind.VMM_DEPLOY, a_vm(605, "CPU=1"), a_host(1, MOCK))
        assert (no_memory.ok, no_memory.certain) == (False, True)
        assert "MEMORY" in no_memory.message
        bench.vms_path.write_text("in the way")
        no_place = await bench.do(EffectKind.VMM_DEPLOY, a_vm(605), a_host(1, MOCK))
        assert (no_place.ok, no_place.certain) == (False, True)
        assert "Cannot write the deployment file" in no_place.message

    tell(tmp_path, story)


def test_a_paused_domain_of_ours_is_resumed_by_deploy(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        vm, host = a_vm(606), a_host(1, MOCK)
        assert (await bench.do(EffectKind.VMM_DEPLOY, vm, host)).ok
        await bench.connections.call(1, lambda c: c.lookupByName("one-606").suspend() and None, 5)
        assert (await bench.do(EffectKind.VMM_DEPLOY, vm, host)).ok
        assert (await bench.connections.domains(1))[606] is DomainReport.RUNNING
        await bench.destroy(vm)

    tell(tmp_path, story)


@pytest.mark.parametrize("hard", ["NO", "YES"])
def test_shutdown_ends_when_the_domain_is_gone(tmp_path: Path, hard: str) -> None:
    async def story(bench: Bench) -> None:
        vm, host = a_vm(607), a_host(1, MOCK)
        assert (await bench.do(EffectKind.VMM_DEPLOY, vm, host)).ok
        assert await bench.do(EffectKind.VMM_SHUTDOWN, vm, host, HARD=hard) == Answer(ok=True)
        assert 607 not in await bench.connections.domains(1)
        assert await bench.do(EffectKind.VMM_SHUTDOWN, vm, host, HARD=hard) == Answer(ok=True)

    tell(tmp_path, story)


@pytest.mark.parametrize("kind", [EffectKind.VMM_CANCEL, EffectKind.VMM_CLEANUP])
def test_cancel_and_cleanup_succeed_whether_or_not_the_domain_is_there(tmp_path: Path, kind: EffectKind) -> None:
    async def story(bench: Bench) -> None:
        vm, host = a_vm(608), a_host(1, MOCK)
        assert await bench.do(kind, vm, host) == Answer(ok=True)
        assert (await bench.do(EffectKind.VMM_DEPLOY, vm, host)).ok
        assert await bench.do(kind, vm, host) == Answer(ok=True)
        assert 608 not in await bench.connections.domains(1)

    tell(tmp_path, story)


def test_reboot_needs_a_domain(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        vm, host = a_vm(609), a_host(1, MOCK)
        for kind in (EffectKind.VMM_REBOOT, EffectKind.VMM_RESET):
            answer = await bench.do(kind, vm, host)
            assert answer == Answer(ok=False, message="one-609 does not run on host1")
        assert (await bench.do(EffectKind.VMM_DEPLOY, vm, host)).ok
        assert (await bench.do(EffectKind.VMM_REBOOT, vm, host)).ok
        await bench.do(EffectKind.VMM_CLEANUP, vm, host)

    tell(tmp_path, story)


def test_probes_tell_from_the_domain_what_was_done(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        vm, host = a_vm(610), a_host(1, MOCK)
        stops = (EffectKind.VMM_SHUTDOWN, EffectKind.VMM_CANCEL, EffectKind.VMM_CLEANUP)
        assert await bench.probe(EffectKind.VMM_DEPLOY, vm, host) is None
        for kind in stops:
            answer = await bench.probe(kind, vm, host)
            assert answer
            assert answer.ok
        reset = await bench.probe(EffectKind.VMM_RESET, vm, host)
        assert reset
        assert not reset.ok
        assert (await bench.do(EffectKind.VMM_DEPLOY, vm, host)).ok
        deployed = await bench.probe(EffectKind.VMM_DEPLOY, vm, host)
        assert deployed == Answer(ok=True, values={"DEPLOY_ID": domain_uuid(vm)})
        assert [await bench.probe(kind, vm, host) for kind in stops] == [None] * 3
        reset = await bench.probe(EffectKind.VMM_RESET, vm, host)
        assert reset
        assert reset.ok
        await bench.do(EffectKind.VMM_CLEANUP, vm, host)

    tell(tmp_path, story)


def test_an_order_that_was_never_sent_is_certain_only_if_nothing_earlier_may_have_been(tmp_path: Path) -> None:
    host = a_host(1, f'LIBVIRT_URI="test+unix:///default?socket={tmp_path}/none"')

    async def story(bench: Bench) -> None:
        vm = a_vm(611)
        fresh = await bench.do(EffectKind.VMM_DEPLOY, vm, host, 0.3)
        assert (fresh.ok, fresh.certain) == (False, True)
        assert "cannot be reached" in fresh.message
        resumed = await bench.do(EffectKind.VMM_DEPLOY, a_vm(611, lcm=LcmState.BOOT_UNKNOWN), host, 0.3)
        assert (resumed.ok, resumed.certain) == (False, False)
        assert await bench.probe(EffectKind.VMM_DEPLOY, vm, host) is None
        redone = await bench.do(EffectKind.VMM_DEPLOY, vm, host, 0.3)
        assert (redone.ok, redone.certain) == (False, False)
        for kind in (EffectKind.VMM_CANCEL, EffectKind.VMM_CLEANUP, EffectKind.VMM_SHUTDOWN):
            stop = await bench.do(kind, vm, host, 0.3)
            assert (stop.ok, stop.certain) == (False, False), kind

    tell(tmp_path, story, host)


def test_a_start_whose_answer_never_came_is_uncertain_and_so_is_the_next_that_cannot_be_sent(
    tmp_path: Path, fragile_daemon: SessionDaemon
) -> None:
    host = a_host(1, f'LIBVIRT_URI="{fragile_daemon.mock_uri}"')

    async def story(bench: Bench) -> None:
        vm = a_vm(612)
        await bench.connections.domains(1)
        fragile_daemon.freeze()
        lost = await bench.do(EffectKind.VMM_DEPLOY, vm, host, 2)
        assert (lost.ok, lost.certain) == (False, False)
        fragile_daemon.kill_daemon()
        never_sent = await bench.do(EffectKind.VMM_DEPLOY, vm, host, 1)
        assert (never_sent.ok, never_sent.certain) == (False, False)
        fragile_daemon.start()
        assert (await bench.do(EffectKind.VMM_DEPLOY, vm, host)).ok

    tell(tmp_path, story, host)


def test_a_start_that_outlived_its_answer_is_found(tmp_path: Path, fragile_daemon: SessionDaemon) -> None:
    """The daemon hangs, takes the order nevertheless, and goes on before our time is up."""
    host = a_host(1, f'LIBVIRT_URI="{fragile_daemon.mock_uri}"')

    async def story(bench: Bench) -> None:
        await bench.connections.domains(1)
        fragile_daemon.freeze()
        deploying = asyncio.create_task(bench.do(EffectKind.VMM_DEPLOY, a_vm(613), host, 3))
        await asyncio.sleep(2.2)
        assert not deploying.done()
        fragile_daemon.thaw()
        assert (await deploying).ok

    tell(tmp_path, story, host)


def test_a_shutdown_outlives_a_restart_of_libvirtd(tmp_path: Path, fragile_daemon: SessionDaemon) -> None:
    """libvirt's mock forgets its guests when the daemon ends: seen from here, the guest has shut down meanwhile."""
    host = a_host(1, f'LIBVIRT_URI="{fragile_daemon.mock_uri}"')

    async def story(bench: Bench) -> None:
        vm = a_vm(614)
        assert (await bench.do(EffectKind.VMM_DEPLOY, vm, host)).ok
        fragile_daemon.kill_daemon()
        shutting = asyncio.create_task(bench.do(EffectKind.VMM_SHUTDOWN, vm, host, 10))
        await asyncio.sleep(0.5)
        fragile_daemon.start()
        assert (await shutting).ok

    tell(tmp_path, story, host)


def test_an_order_without_vm_or_of_another_kind_is_answered_not_raised(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        for order in (
            an_order(EffectKind.VMM_DEPLOY, None, a_host(1, MOCK)),
            an_order(EffectKind.FENCE_OFF, a_vm(), a_host(1, MOCK)),
            an_order(EffectKind.VMM_DEPLOY, a_vm(history=(a_stay(ds_id=9),)), a_host(1, MOCK)),
        ):
            answer = await bench.driver.run(order)
            assert not answer.ok
            assert answer.message

    tell(tmp_path, story)


def test_what_this_version_does_not_offer_is_said(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        for kind in (EffectKind.VMM_UPDATE_CONF, EffectKind.VMM_BACKUP):
            answer = await bench.do(kind, a_vm(615), a_host(1, MOCK))
            assert (answer.ok, answer.certain) == (False, True)
            assert f"{kind.value} is not offered by this version" in answer.message

    tell(tmp_path, story)


def test_a_migration_needs_a_destination_and_keeps_the_system_datastore(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        nowhere = await bench.do(EffectKind.VMM_MIGRATE, a_vm(616), a_host(1, MOCK))
        assert (nowhere.ok, nowhere.certain) == (False, True)
        assert "does not say where" in nowhere.message
        moved = a_vm(616, history=(a_stay(ds_id=0), a_stay(hid=2, seq=1, ds_id=100)))
        order = an_order(EffectKind.VMM_MIGRATE, moved, a_host(1, MOCK))
        answer = await bench.driver.run(dataclasses.replace(order, other=a_host(2, MOCK)))
        assert (answer.ok, answer.certain) == (False, True)
        assert "cannot change its system datastore" in answer.message

    tell(tmp_path, story)


def test_an_operation_on_what_the_vm_does_not_have_names_it(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        vm, host = a_vm(617), a_host(1, MOCK)
        assert (await bench.do(EffectKind.VMM_DEPLOY, vm, host)).ok
        for kind, args, message in (
            (EffectKind.VMM_ATTACH_DISK, {"ITEM": "5"}, "VM 617 has no DISK 5"),
            (EffectKind.VMM_DETACH_NIC, {"ITEM": "4"}, "VM 617 has no NIC 4"),
            (EffectKind.VMM_RESIZE_DISK, {"DISK_ID": "3", "SIZE": "9"}, "VM 617 has no DISK with DISK_ID 3"),
            (EffectKind.VMM_SNAPSHOT_REVERT, {"ITEM": ""}, 'ITEM of effect 1 is "", it must be a number'),
            (EffectKind.VMM_SNAPSHOT_REVERT, {"ITEM": "2"}, "The description of snap-2 cannot be read"),
        ):
            answer = await bench.driver.run(an_order(kind, vm, host, args=args))
            assert (answer.ok, answer.certain) == (False, True), kind
            assert message in answer.message
        await bench.destroy(vm)
        for kind in (EffectKind.VMM_RESIZE, EffectKind.VMM_SNAPSHOT_CREATE):
            answer = await bench.do(kind, vm, host, ITEM="0")
            assert (answer.ok, answer.certain) == (False, True), kind
            assert "one-617 is absent on host1" in answer.message

    tell(tmp_path, story)


def test_a_clean_up_of_two_hosts_is_certain_only_when_both_were_seen(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        vm, host = a_vm(618), a_host(1, MOCK)
        assert (await bench.do(EffectKind.VMM_DEPLOY, vm, host)).ok
        order = an_order(EffectKind.VMM_CLEANUP, vm, a_host(2, 'LIBVIRT_URI="test:///nowhere"'), 1.5)
        answer = await bench.driver.run(dataclasses.replace(order, other=host))
        assert (answer.ok, answer.certain) == (False, False)
        assert 618 not in await bench.connections.domains(1)

    tell(tmp_path, story)
