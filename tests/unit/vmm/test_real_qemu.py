"""The libvirt driver with real libvirtd's and real QEMU guests: a boot sector that obeys the power button."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import libvirt_qemu  # type: ignore[import-untyped]
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
from tests.unit.vmm.listening import Recorder, until, watching
from tests.unit.vmm.objects import a_host, a_vm, an_order
from tests.unit.vmm.session_daemon import SessionDaemon

pytestmark = pytest.mark.rack

# 16-bit code: let ACPI note the power button, sleep until the next timer tick, look, and power off when it was pressed.
GUEST = bytes.fromhex("ba0206b80001effbf4ba0006edf6c40174f5ba0406b80020efebed")
PC = 'CPU=0.1 \n MEMORY=32 \n OS=[MACHINE="pc"] \n DISK=[DISK_ID=0, TARGET=vda, DRIVER=raw]'
Q35 = "CPU=0.1 \n MEMORY=32 \n DISK=[DISK_ID=0, TARGET=vda, DRIVER=raw]"
LIMIT_S = 30.0
_HUMAN = libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP


class Rack:
    """Hosts, their driver and what they report."""

    def __init__(self, connections: Connections, recorder: Recorder, storage: Path) -> None:
        self.connections, self.recorder, self.storage = connections, recorder, storage
        self.driver = LibvirtDriver(connections, storage / "vms", HypervisorConfig(str(storage)), press_again_s=1)

    def disk(self, vm: Vm, code: bytes = GUEST) -> None:
        """The VM's disk: one megabyte that begins with the code."""
        disk = self.storage / f"0/{vm.oid}/disk.0"
        disk.parent.mkdir(parents=True)
        disk.write_bytes((code.ljust(510, b"\0") + b"\x55\xaa").ljust(1 << 20, b"\0"))

    async def do(self, kind: EffectKind, vm: Vm, host: Host, limit_s: float = LIMIT_S, **args: str) -> Answer:
        return await self.driver.run(an_order(kind, vm, host, limit_s, args))

    async def booted(self, vm: Vm, host: Host) -> None:
        """Waits until the boot sector sleeps: a reset during the firmware's first moments can hang the firmware."""

        def sleeps(connection: Any) -> bool:
            domain = connection.lookupByName(domain_name(vm.oid))
            registers = libvirt_qemu.qemuMonitorCommand(domain, "info registers", _HUMAN)
            return "EIP=00007c" in registers and "HLT=1" in registers

        async with asyncio.timeout(LIMIT_S):
            while not await self.connections.call(host.oid, sleeps, LIMIT_S):
                await asyncio.sleep(0.05)

    async def reported(self, vm: Vm, what: DomainReport) -> None:
        await until(lambda: any(report[1:] == (vm.oid, what) for report in self.recorder.domains))


@asynccontextmanager
async def rack(storage: Path, *hosts: Host) -> AsyncIterator[Rack]:
    """All guests of the hosts are gone afterwards."""
    async with watching(*hosts) as (connections, recorder):
        made = Rack(connections, recorder, storage)
        try:
            yield made
        finally:
            for host in hosts:
                for vm_id in await connections.domains(host.oid):
                    await made.do(EffectKind.VMM_CLEANUP, a_vm(vm_id), host)


def real_host(daemon: SessionDaemon, oid: int = 1) -> Host:
    """The daemon as a host."""
    return a_host(oid, f'LIBVIRT_URI="{daemon.uri}"')


@pytest.mark.parametrize("machine", [PC, Q35], ids=["pc", "q35"])
def test_a_guest_starts_resets_and_shuts_down_by_itself(daemon: SessionDaemon, tmp_path: Path, machine: str) -> None:
    async def story() -> None:
        host, vm = real_host(daemon), a_vm(701, machine)
        async with rack(tmp_path, host) as here:
            here.disk(vm)
            assert await here.do(EffectKind.VMM_DEPLOY, vm, host) == Answer(
                ok=True, values={"DEPLOY_ID": domain_uuid(vm)}
            )
            await here.reported(vm, DomainReport.RUNNING)
            await here.booted(vm, host)
            assert (await here.do(EffectKind.VMM_RESET, vm, host)).ok
            assert await here.do(EffectKind.VMM_SHUTDOWN, vm, host) == Answer(ok=True)
            await here.reported(vm, DomainReport.POWEROFF)
            assert daemon.guest_pids() == []

    asyncio.run(story())


def test_a_guest_that_ignores_the_button_is_reported_and_can_be_switched_off_hard(
    daemon: SessionDaemon, tmp_path: Path
) -> None:
    async def story() -> None:
        host, vm = real_host(daemon), a_vm(702, PC)
        async with rack(tmp_path, host) as here:
            here.disk(vm, bytes.fromhex("f4ebfd"))
            assert (await here.do(EffectKind.VMM_DEPLOY, vm, host)).ok
            answer = await here.do(EffectKind.VMM_SHUTDOWN, vm, host, 2)
            assert (answer.ok, answer.certain) == (False, True)
            assert "still runs" in answer.message
            assert await here.do(EffectKind.VMM_SHUTDOWN, vm, host, HARD="YES") == Answer(ok=True)
            assert daemon.guest_pids() == []

    asyncio.run(story())


def test_a_killed_guest_is_reported_as_failed(daemon: SessionDaemon, tmp_path: Path) -> None:
    async def story() -> None:
        host, vm = real_host(daemon), a_vm(703, PC)
        async with rack(tmp_path, host) as here:
            here.disk(vm)
            assert (await here.do(EffectKind.VMM_DEPLOY, vm, host)).ok
            os.kill(daemon.guest_pids()[0], signal.SIGKILL)
            await here.reported(vm, DomainReport.FAILURE)
            assert vm.oid not in await here.connections.domains(host.oid)

    asyncio.run(story())


def test_a_guest_outlives_its_libvirtd_and_is_found_again(fragile_daemon: SessionDaemon, tmp_path: Path) -> None:
    async def story() -> None:
        host, vm = real_host(fragile_daemon), a_vm(706, PC)
        async with rack(tmp_path, host) as here:
            here.disk(vm)
            assert (await here.do(EffectKind.VMM_DEPLOY, vm, host)).ok
            pids = fragile_daemon.guest_pids()
            fragile_daemon.kill_daemon()
            fragile_daemon.start()
            assert (await here.connections.domains(host.oid))[vm.oid] is DomainReport.RUNNING
            deployed = await here.driver.probe(an_order(EffectKind.VMM_DEPLOY, vm, host))
            assert deployed == Answer(ok=True, values={"DEPLOY_ID": domain_uuid(vm)})
            assert fragile_daemon.guest_pids() == pids

    asyncio.run(story())


def test_the_lock_on_its_disk_keeps_a_vm_from_starting_twice(
    daemon: SessionDaemon, second_daemon: SessionDaemon, tmp_path: Path
) -> None:
    async def story() -> None:
        first, second, vm = real_host(daemon), real_host(second_daemon, 2), a_vm(704, PC)
        async with rack(tmp_path, first, second) as here:
            here.disk(vm)
            assert (await here.do(EffectKind.VMM_DEPLOY, vm, first)).ok
            answer = await here.do(EffectKind.VMM_DEPLOY, vm, second)
            assert (answer.ok, answer.certain) == (False, True)
            assert "lock" in answer.message
            assert (await here.do(EffectKind.VMM_CANCEL, vm, first)).ok
            assert (await here.do(EffectKind.VMM_DEPLOY, vm, second)).ok

    asyncio.run(story())


def test_a_missing_disk_is_a_certain_failure(daemon: SessionDaemon, tmp_path: Path) -> None:
    async def story() -> None:
        host, vm = real_host(daemon), a_vm(705, PC)
        async with rack(tmp_path, host) as here:
            answer = await here.do(EffectKind.VMM_DEPLOY, vm, host)
            assert (answer.ok, answer.certain) == (False, True)
            assert "disk.0" in answer.message

    asyncio.run(story())
