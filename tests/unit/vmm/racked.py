"""A sandbox rack as the driver's hosts, and guests that keep a ledger: what they wrote proves that they lived once."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from holdfast.drivers.tm.driver import TmDriver
from holdfast.drivers.vmm.connections import Connections
from holdfast.drivers.vmm.deployment import domain_name
from holdfast.drivers.vmm.elements import document
from holdfast.drivers.vmm.hypervisor import HypervisorConfig
from holdfast.drivers.vmm.libvirt_driver import LibvirtDriver
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.model.host import Host
from holdfast.model.template_text import parse_text
from holdfast.model.vm import Vm
from holdfast.sandbox import ledger
from holdfast.sandbox import rack as racks
from holdfast.sandbox.guest import make_ledger_image
from holdfast.sandbox.guest.template import guest_template
from holdfast.sandbox.ledger import Ledger
from holdfast.sandbox.records import records_on_disk
from tests.unit.vmm.listening import Recorder, watching
from tests.unit.vmm.objects import a_datastore, a_host, a_stay, a_vm, an_order

LIMIT_S = 60.0
BOOT_LIMIT_S = 60.0
RECORDS = 5


@contextlib.contextmanager
def running_rack(hosts: int, storage: racks.Storage = racks.Storage.DIR) -> Iterator[racks.Rack]:
    """On a real disk, because guests open theirs without the page cache; and with a short path, for the sockets."""
    with tempfile.TemporaryDirectory(prefix="hf-", dir="/var/tmp", ignore_cleanup_errors=True) as scratch:
        directory = Path(scratch) / "rack"
        try:
            yield racks.start(racks.RackConfig(directory, hosts, storage))
        finally:
            racks.remove(directory)


class Racked:
    """The driver, over a rack's hosts."""

    def __init__(self, rack: racks.Rack, connections: Connections, recorder: Recorder) -> None:
        self.rack, self.connections, self.recorder = rack, connections, recorder
        self.vms_path = rack.directory / "vms"
        self.config = HypervisorConfig(str(rack.datastores_path), "tcg")
        self.tm = TmDriver(rack.datastores_path, self.vms_path, "front")
        self.driver = self.new_driver()
        self.took_s: dict[str, float] = {}

    def new_driver(self) -> LibvirtDriver:
        """One that remembers nothing, as after a restart of the controller."""
        return LibvirtDriver(
            self.connections,
            self.vms_path,
            self.config,
            press_again_s=1,
            tm=self.tm,
        )

    def host(self, number: int) -> Host:
        """The rack's host as the controller knows it."""
        return rack_host(self.rack, number)

    def vm(self, oid: int, image_format: str = "raw", extra: str = "") -> Vm:
        """A ledger guest with its disk."""
        text = guest_template(f"guest{oid}", self.rack, image_id=0)
        text = "\n".join(line for line in text.splitlines() if not line.startswith("DISK"))
        text += f"\nDISK=[DISK_ID=0, TARGET=vda, DRIVER={image_format}, FORMAT={image_format}, SIZE=16, CACHE=none]"
        disk = self.directory(oid) / "disk.0"
        disk.parent.mkdir(parents=True)
        if image_format == "qcow2":
            layers = disk.with_name("disk.0.snap")
            layers.mkdir()
            (layers / layers.name).symlink_to(".")
            make_ledger_image(layers / "0", 16, "qcow2")
            disk.symlink_to(f"{layers.name}/0")
        else:
            make_ledger_image(disk, 16)
        stay = replace(a_stay(), stime=int(time.time()))
        return a_vm(oid, f"{text}\n{extra}", (stay,))

    def directory(self, oid: int) -> Path:
        """SD."""
        return self.rack.datastores_path / "0" / str(oid)

    async def do(
        self,
        kind: EffectKind,
        vm: Vm,
        host: Host,
        other: Host | None = None,
        limit_s: float = LIMIT_S,
        **args: str,
    ) -> Answer:
        """Carries an order out and notes how long it took."""
        began = time.monotonic()
        answer = await self.driver.run(self.order(kind, vm, host, other, limit_s, args))
        self.took_s[kind.value] = round(time.monotonic() - began, 2)
        return answer

    def order(
        self, kind: EffectKind, vm: Vm, host: Host, other: Host | None, limit_s: float, args: Mapping[str, str]
    ) -> Any:
        """An order as the dispatcher makes it."""
        served = f'NBD_SERVER="{self.rack.controller_address}:10809"'
        text = served if self.rack.config.storage is racks.Storage.NBD else ""
        datastore = a_datastore(0, text, str(self.rack.datastores_path / "0"))
        return replace(an_order(kind, vm, host, limit_s, args, datastore), other=other)

    async def booted(self, vm: Vm, records: int = RECORDS) -> Ledger:
        """The ledger when the newest boot has written some records."""
        async with asyncio.timeout(BOOT_LIMIT_S):
            while True:
                read = self.ledger(vm)
                if read.writers and read.writers[-1].acknowledged >= records:
                    return read
                await asyncio.sleep(0.1)

    async def goes_on(self, vm: Vm) -> Ledger:
        """The ledger when the newest boot has written some more."""
        writers = self.ledger(vm).writers
        return await self.booted(vm, (writers[-1].acknowledged if writers else 0) + RECORDS)

    def ledger(self, vm: Vm) -> Ledger:
        """What its disk and its console tell."""
        disk = self.directory(vm.oid) / "disk.0"
        console = self.rack.console(f"guest{vm.oid}")
        if vm.template.section("DISK").get("FORMAT") != "qcow2":
            return ledger.read(disk, [console])
        flat = self.rack.directory / f"flat.{vm.oid}"
        subprocess.run(["qemu-img", "convert", "-U", "-O", "raw", disk, flat], check=True)
        return ledger.read(flat, [console])

    def said(self, vm: Vm) -> str:
        """What its console says besides records, for the message of a test that fails."""
        console = self.rack.console(f"guest{vm.oid}").read_text(encoding="utf-8", errors="replace")
        return "\n".join([line for line in console.splitlines() if not line.startswith("ACK")][-40:])

    def on_disk(self, vm: Vm) -> int:
        """The number of the last record on its disk."""
        self.ledger(vm)
        return max(records_on_disk(self.rack.directory / f"flat.{vm.oid}"))

    async def description(self, vm: Vm, host: Host) -> Any:
        """The domain as libvirt sees it now."""

        def work(connection: Any) -> str:
            return str(connection.lookupByName(domain_name(vm.oid)).XMLDesc(0))

        return document(await self.connections.call(host.oid, work, LIMIT_S), "the domain")

    async def is_on_host(self, vm: Vm, host: Host) -> bool:
        """Whether this host has a domain of the VM."""
        return vm.oid in await self.connections.domains(host.oid)

    async def is_on(self, vm: Vm) -> list[int]:
        """The hosts that have a domain of the VM."""
        return [n for n in range(1, self.rack.config.hosts + 1) if vm.oid in await self.connections.domains(n)]


def rack_host(rack: racks.Rack, number: int) -> Host:
    """Reached through the socket in its directory, from outside the rack's network."""
    socket = rack.host(str(number)).directory / "run/libvirt/libvirt-sock"
    return a_host(number, f'LIBVIRT_URI="qemu+unix:///session?socket={socket}"', name=f"host{number}")


@contextlib.asynccontextmanager
async def racked(rack: racks.Rack) -> AsyncIterator[Racked]:
    """The rack's hosts under watch; their guests are gone afterwards."""
    hosts = [rack_host(rack, number) for number in range(1, rack.config.hosts + 1)]
    async with watching(*hosts) as (connections, recorder):
        here = Racked(rack, connections, recorder)
        try:
            yield here
        finally:
            for host in hosts:
                for vm_id in await connections.domains(host.oid):
                    await here.do(EffectKind.VMM_CLEANUP, a_vm(vm_id), host)


def with_extra(vm: Vm, text: str) -> Vm:
    """The VM with more in its template, as after the beginning of an operation."""
    return replace(vm, template=vm.template.extended(parse_text(text)))
