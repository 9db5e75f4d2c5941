"""What an earlier order left behind is never taken for the work of the present one: on libvirt's mock hypervisor."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import libvirt
import pytest

from holdfast.drivers.tm.driver import TmDriver
from holdfast.drivers.tm.lines import Step
from holdfast.drivers.vmm import migration_orders
from holdfast.drivers.vmm.connections import Connections
from holdfast.drivers.vmm.deployment import domain_name, domain_uuid
from holdfast.drivers.vmm.domain_orders import Domain, Presence, forget_snapshots, look
from holdfast.drivers.vmm.flights import Flights
from holdfast.drivers.vmm.hypervisor import HypervisorConfig
from holdfast.drivers.vmm.libvirt_driver import LibvirtDriver
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.model.storage import Datastore
from holdfast.model.template_text import parse_text
from holdfast.model.vm import Vm
from tests.unit.vmm.listening import QUICK, Recorder, watching
from tests.unit.vmm.objects import BASIC, a_host, a_vm, an_order
from tests.unit.vmm.session_daemon import SessionDaemon

K = EffectKind
HOST = a_host(1, 'LIBVIRT_URI="test:///default"')
WHOLE = b"LibvirtQemudSave and the rest"
CALL_S = 5.0


class Transfers(TmDriver):
    """Notes the steps that it is asked for."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, path)
        self.steps: list[Step] = []

    async def run_step(
        self,
        vm: Vm,
        step: Step,
        limit_s: float,
        disk_id: int | None = None,
        datastores: Mapping[int, Datastore] | None = None,
    ) -> Answer:
        """Nothing happens."""
        self.steps.append(step)
        return Answer(ok=True)


class Bench:
    """A driver over the mock, whose datastores are in a temporary directory."""

    def __init__(self, connections: Connections, path: Path) -> None:
        self.connections, self._path = connections, path
        self.tm = Transfers(path)
        self.driver = self.new_driver()

    def new_driver(self) -> LibvirtDriver:
        """One that remembers nothing, as after a restart of the controller."""
        return LibvirtDriver(self.connections, self._path / "vms", HypervisorConfig(str(self._path)), tm=self.tm)

    def directory(self, vm: Vm) -> Path:
        """SD."""
        found = self._path / "0" / str(vm.oid)
        found.mkdir(parents=True, exist_ok=True)
        return found

    async def do(self, kind: EffectKind, vm: Vm, limit_s: float = CALL_S, **args: str) -> Answer:
        """Carries an order out on host 1; the VM's directory is there."""
        self.directory(vm)
        return await self.driver.run(an_order(kind, vm, HOST, limit_s, args))

    async def on_domain(self, vm: Vm, work: Callable[[Any], Any]) -> Any:
        """From outside, as an operator or an earlier controller would."""
        return await self.connections.call(1, lambda c: work(c.lookupByName(domain_name(vm.oid))), CALL_S)


def tell(tmp_path: Path, story: Callable[[Bench], Awaitable[None]]) -> None:
    """Runs a story on the mock hypervisor."""

    async def whole() -> None:
        async with watching(HOST, timing=QUICK) as (connections, _):
            await story(Bench(connections, tmp_path))

    asyncio.run(whole())


# --- memory that no longer fits the disks


def test_a_checkpoint_goes_before_a_domain_is_created_from_the_disks(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        vm = a_vm(901)
        names = ("checkpoint", "checkpoint.draft", "checkpoint.used")
        for name in names:
            (bench.directory(vm) / name).write_bytes(WHOLE)
        assert (await bench.do(K.VMM_DEPLOY, vm)).ok
        assert list(bench.directory(vm).iterdir()) == []
        assert (await bench.do(K.VMM_CANCEL, vm)).ok
        refused = await bench.do(K.VMM_RESTORE, vm)
        assert (refused.ok, refused.certain) == (False, True)
        assert "there is no" in refused.message

    tell(tmp_path, story)


def test_a_start_that_finds_its_domain_touches_no_checkpoint(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        vm = a_vm(902)
        assert (await bench.do(K.VMM_DEPLOY, vm)).ok
        (bench.directory(vm) / "checkpoint").write_bytes(WHOLE)
        assert (await bench.do(K.VMM_DEPLOY, vm)).ok
        assert (bench.directory(vm) / "checkpoint").exists()
        await bench.do(K.VMM_CANCEL, vm)

    tell(tmp_path, story)


def test_a_vm_is_not_started_while_its_old_checkpoint_cannot_be_removed(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        vm = a_vm(903)
        (bench.directory(vm) / "checkpoint").mkdir()
        answer = await bench.do(K.VMM_DEPLOY, vm)
        assert (answer.ok, answer.certain) == (False, True)
        assert "one-903 was not started: its old checkpoint" in answer.message
        assert 903 not in await bench.connections.domains(1)

    tell(tmp_path, story)


def test_a_guest_that_ended_by_itself_was_not_saved_whatever_lies_there(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        vm = a_vm(904)
        draft = bench.directory(vm) / "checkpoint.draft"
        draft.write_bytes(WHOLE)
        order = an_order(K.VMM_SAVE, vm, HOST)
        answer = await bench.driver.run(order)
        assert (answer.ok, answer.certain) == (False, False)
        assert "one-904 is not there, so it cannot be saved" in answer.message
        assert draft.exists()
        found = await bench.new_driver().probe(order)
        assert found is not None, "begun before a restart, it is this order's"
        assert found.ok
        assert (bench.directory(vm) / "checkpoint").exists()

    tell(tmp_path, story)


# --- a migration that nobody saw end


@pytest.mark.parametrize(("move", "arrives"), [("0.1000", True), ("0.999", False), ("", False)])
def test_what_is_held_at_the_destination_goes_on_only_if_libvirt_confirmed_this_move(
    tmp_path: Path, daemon: SessionDaemon, second_daemon: SessionDaemon, move: str, arrives: bool
) -> None:
    hosts = [a_host(n, f'LIBVIRT_URI="{each.mock_uri}"') for n, each in enumerate((daemon, second_daemon), 1)]
    vm = a_vm(905)
    domain = Domain(domain_name(905), domain_uuid(vm))
    plain = f"<domain type='test'><name>{domain.name}</name><uuid>{domain.uuid}</uuid><memory>9000</memory><os>"
    held = migration_orders.marked(f"{plain}<type>hvm</type></os></domain>")

    async def story(connections: Connections) -> None:
        driver = LibvirtDriver(connections, tmp_path, HypervisorConfig(str(tmp_path)))
        order = dataclasses.replace(an_order(K.VMM_MIGRATE, vm, hosts[0]), other=hosts[1])

        def arrive(destination: Any) -> Presence:
            destination.createXML(held, 0).suspend()
            if move:
                source = libvirt.open(daemon.mock_uri)
                migration_orders.confirm(source, destination, domain, move)
                source.close()
            return look(destination, domain)

        assert await connections.call(2, arrive, CALL_S) is Presence.INCOMING
        answer = await driver.probe(order) or await driver.run(order)
        there = await connections.call(2, lambda c: look(c, domain), CALL_S)
        if arrives:
            assert answer.ok, answer
            assert there is Presence.RUNNING
            assert (await driver.run(an_order(K.VMM_CANCEL, vm, hosts[1]))).ok
        else:
            assert (answer.ok, answer.certain) == (False, True)
            assert "neither on host1 nor on host2" in answer.message
            assert "boot it from its disks" in answer.message
            assert there is Presence.ABSENT

    async def whole() -> None:
        async with watching(*hosts, timing=QUICK) as (connections, _):
            await story(connections)

    asyncio.run(whole())


def test_a_move_is_not_confirmed_while_the_guest_is_still_at_the_source() -> None:
    connection = libvirt.open("test:///default")
    guest = connection.lookupByName("test")
    with pytest.raises(Exception, match="has not ended it at the source"):
        migration_orders.confirm(connection, connection, Domain(guest.name(), guest.UUIDString()), "1.2")
    connection.close()


# --- devices


def test_a_disk_at_the_same_target_is_not_taken_for_the_one_to_be_attached(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        vm = a_vm(906, f"{BASIC}\nDISK=[DISK_ID=1, TARGET=vdb, DRIVER=raw]")
        assert (await bench.do(K.VMM_DEPLOY, vm)).ok
        order = an_order(K.VMM_ATTACH_DISK, vm, HOST, args={"ITEM": "1"})
        answer = await bench.driver.run(order)
        assert (answer.ok, answer.certain) == (False, True)
        assert "still has another disk at vdb, which is not on record for VM 906 any more: detach" in answer.message
        assert bench.tm.steps == []
        driver = bench.new_driver()
        await driver.probe(order)
        assert (await driver.run(order)).ok, "begun before a restart, it is this order's"
        await bench.do(K.VMM_CANCEL, vm)

    tell(tmp_path, story)


def test_a_disk_that_cannot_be_described_gets_no_file(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        vm = a_vm(907)
        assert (await bench.do(K.VMM_DEPLOY, vm)).ok
        text = 'CPU=1 \n OS=[MACHINE="pc"] \n DISK=[DISK_ID=1, TARGET=vdb, DRIVER=raw]'
        answer = await bench.do(K.VMM_ATTACH_DISK, dataclasses.replace(vm, template=parse_text(text)), ITEM="1")
        assert (answer.ok, answer.certain) == (False, True)
        assert "MEMORY" in answer.message
        assert bench.tm.steps == []
        await bench.do(K.VMM_CANCEL, vm)

    tell(tmp_path, story)


# --- snapshots


class Remembered:
    """A guest of which libvirt has snapshots on record; it forgets them on request."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)

    def name(self) -> str:
        return "one-908"

    def isActive(self) -> bool:  # noqa: N802 - libvirt's name
        return True

    def lookupByUUIDString(self, _uuid: str) -> Remembered:  # noqa: N802
        """The guest is its own connection."""
        return self

    def snapshotListNames(self) -> list[str]:  # noqa: N802
        return list(self.names)

    def snapshotLookupByName(self, name: str) -> Forgettable:  # noqa: N802
        return Forgettable(self, name)

    def XMLDesc(self, _flags: int) -> str:  # noqa: N802
        return "<domain/>"

    def migrate3(self, *_how: object) -> None:
        """As libvirt: not while it has snapshots on record."""
        assert self.names == ["by-hand"]


class Forgettable:
    """A snapshot on record."""

    def __init__(self, guest: Remembered, name: str) -> None:
        self._guest, self._name = guest, name

    def delete(self, flags: int) -> None:
        """From the record only: the disk keeps it."""
        assert flags == libvirt.VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY
        self._guest.names.remove(self._name)


def test_a_snapshot_that_was_cut_short_does_not_block_a_migration() -> None:
    guest = Remembered("snap-3", "by-hand", "snap-12")
    migration_orders.migrate(guest, None, Domain("one-908", "any"))
    assert guest.names == ["by-hand"]


def test_the_snapshot_that_is_being_made_is_kept_and_so_is_what_is_not_ours() -> None:
    guest = Remembered("snap-1", "snap-2", "snap-x", "snap-", "other-1")
    forget_snapshots(guest, but="snap-2")
    assert guest.names == ["snap-2", "snap-x", "snap-", "other-1"]


# --- a start that is still inside libvirt


class HeldConnection:
    """A libvirt whose starts do not return until they are let go."""

    def __init__(self, connection: Any, gate: threading.Event, refusal: Exception | None) -> None:
        self._connection, self._gate, self._refusal = connection, gate, refusal

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def createXML(self, text: str, flags: int) -> Any:  # noqa: N802 - libvirt's name
        assert self._gate.wait(30)
        if self._refusal:
            raise self._refusal
        return self._connection.createXML(text, flags)


class HeldStarts(Connections):
    """Connections to such hosts."""

    def __init__(self) -> None:
        recorder = Recorder()
        super().__init__(recorder.on_domain, recorder.on_connection, QUICK)
        self.gate = threading.Event()
        self.refusal: Exception | None = None

    async def call(self, host_id: int, work: Callable[[Any], Any], deadline_s: float, long: bool = False) -> Any:
        """As always, over a held connection."""
        return await super().call(host_id, lambda c: work(HeldConnection(c, self.gate, self.refusal)), deadline_s, long)


def held(tmp_path: Path, story: Callable[[HeldStarts, Bench], Awaitable[None]]) -> None:
    """Runs a story on a host whose starts hang."""

    async def whole() -> None:
        connections = HeldStarts()
        connections.watch(HOST)
        try:
            await story(connections, Bench(connections, tmp_path))
        finally:
            connections.gate.set()
            await connections.close()

    asyncio.run(whole())


@pytest.mark.parametrize("kind", [K.VMM_CANCEL, K.VMM_CLEANUP, K.VMM_SHUTDOWN])
def test_no_end_is_certain_while_a_start_is_still_inside_libvirt(tmp_path: Path, kind: EffectKind) -> None:
    async def story(connections: HeldStarts, bench: Bench) -> None:
        vm = a_vm(909)
        started = await bench.do(K.VMM_DEPLOY, vm, 2)
        assert (started.ok, started.certain) == (False, False)
        assert await bench.driver.probe(an_order(kind, vm, HOST)) is None
        ended = await bench.do(kind, vm, 1.5)
        assert (ended.ok, ended.certain) == (False, False)
        assert "a start of one-909 on host1 has not returned" in ended.message
        other = a_vm(910)
        assert await bench.do(kind, other) == Answer(ok=True), "another VM is not concerned"
        ending = asyncio.create_task(bench.do(kind, vm, 10, HARD="YES"))
        await asyncio.sleep(0.3)
        assert not ending.done()
        connections.gate.set()
        assert (await ending).ok
        assert 909 not in await bench.connections.domains(1)
        assert (await bench.driver.probe(an_order(kind, vm, HOST))) is not None

    held(tmp_path, story)


def test_a_start_that_libvirt_refuses_at_last_is_over(tmp_path: Path) -> None:
    async def story(connections: HeldStarts, bench: Bench) -> None:
        vm = a_vm(911)
        connections.refusal = libvirt.libvirtError("no room")
        assert not (await bench.do(K.VMM_DEPLOY, vm, 1)).certain
        connections.gate.set()
        assert await bench.do(K.VMM_CANCEL, vm, 4) == Answer(ok=True)

    held(tmp_path, story)


def test_a_start_whose_connection_broke_may_take_effect_for_a_while() -> None:
    now_s = 100.0
    flights = Flights(lambda: now_s)
    broken = libvirt.libvirtError("gone")
    broken.err = (libvirt.VIR_ERR_RPC, libvirt.VIR_FROM_RPC, "gone", 2, "", "", "", -1, -1)

    def start(_connection: Any) -> None:
        assert flights.are_there(1, 7)
        raise broken

    with pytest.raises(libvirt.libvirtError):
        flights.followed(1, 7, start)(None)
    assert flights.are_there(1, 7)
    assert not flights.are_there(2, 7)
    now_s = 131.0
    assert not flights.are_there(1, 7)
    flights.followed(1, 7, lambda _connection: flights.are_there(1, 7))(None)
    assert not flights.are_there(1, 7), "what libvirt answered is over at once"
