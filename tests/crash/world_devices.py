"""What the test's hypervisor does to a domain that runs: devices, snapshots, size.

The files of disks are made and removed by the real transfer driver, in the order in which the real VMM driver does it.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping

from holdfast.drivers.tm.driver import TmDriver
from holdfast.drivers.tm.lines import Step
from holdfast.engine.ports import Order
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.model.host import Host
from holdfast.model.vm import Vm
from tests.crash.world import Domain, World

Half = Callable[[Order, str], None]
Action = Callable[[Order, Vm, Host], Awaitable[Answer]]
TRANSFER_S = 10.0
_MIB = 1 << 20


class WorldDevices:
    """Hot-plugging, snapshots, new sizes."""

    def __init__(self, world: World, tm: TmDriver, half: Half) -> None:
        self._world = world
        self._tm = tm
        self._half = half

    @property
    def actions(self) -> Mapping[EffectKind, Action]:
        """By kind of effect."""
        return {
            EffectKind.VMM_ATTACH_DISK: self._attach_disk,
            EffectKind.VMM_DETACH_DISK: self._detach_disk,
            EffectKind.VMM_ATTACH_NIC: self._attach_nic,
            EffectKind.VMM_DETACH_NIC: self._detach_nic,
            EffectKind.VMM_SNAPSHOT_CREATE: self._snapshot,
            EffectKind.VMM_SNAPSHOT_REVERT: self._revert,
            EffectKind.VMM_SNAPSHOT_DELETE: self._forget_snapshot,
            EffectKind.VMM_DISK_SNAPSHOT_CREATE: self._layer,
            EffectKind.VMM_RESIZE: self._resize,
            EffectKind.VMM_RESIZE_DISK: self._resize_disk,
        }

    def _change(self, vm: Vm, host: Host, change: Callable[[Domain], object]) -> Answer:
        with self._world.change() as hosts:
            domain = hosts.find(vm.oid, host.oid)
            if domain is None:
                return Answer(False, f"VM {vm.oid} has no domain on {host.name}")
            change(domain)
        return Answer(True)

    def _has(self, vm: Vm, host: Host, device: str) -> bool:
        domain = self._world.look().find(vm.oid, host.oid)
        return domain is not None and device in domain.devices

    async def _attach_disk(self, order: Order, vm: Vm, host: Host) -> Answer:
        item = _item(order)
        if not self._has(vm, host, f"disk {item}"):
            made = await self._tm.run_step(vm, Step.PROLOG_ATTACH, TRANSFER_S, item)
            if not made.ok:
                return made
        self._half(order, "its file is there, the domain does not have it")
        return self._change(vm, host, lambda domain: domain.devices.update({f"disk {item}": "plugged"}))

    async def _detach_disk(self, order: Order, vm: Vm, host: Host) -> Answer:
        item = _item(order)
        self._change(vm, host, lambda domain: domain.devices.pop(f"disk {item}", None))
        self._half(order, "the domain let go of it, its file is there")
        return await self._tm.run_step(vm, Step.EPILOG_DETACH, TRANSFER_S, item)

    async def _attach_nic(self, order: Order, vm: Vm, host: Host) -> Answer:
        return self._change(vm, host, lambda domain: domain.devices.update({f"nic {_item(order)}": "plugged"}))

    async def _detach_nic(self, order: Order, vm: Vm, host: Host) -> Answer:
        return self._change(vm, host, lambda domain: domain.devices.pop(f"nic {_item(order)}", None))

    async def _snapshot(self, order: Order, vm: Vm, host: Host) -> Answer:
        name = f"snap-{_item(order)}"
        answer = self._change(vm, host, lambda domain: domain.snapshots.setdefault(name, domain.memory))
        return Answer(answer.ok, answer.message, values={"HYPERVISOR_ID": name})

    async def _revert(self, order: Order, vm: Vm, host: Host) -> Answer:
        def revert(domain: Domain) -> None:
            domain.memory = domain.snapshots[f"snap-{_item(order)}"]

        return self._change(vm, host, revert)

    async def _forget_snapshot(self, order: Order, vm: Vm, host: Host) -> Answer:
        return self._change(vm, host, lambda domain: domain.snapshots.pop(f"snap-{_item(order)}", None))

    async def _layer(self, order: Order, vm: Vm, host: Host) -> Answer:
        disk_id = int(order.effect.args["DISK_ID"])
        layer = await self._tm.prepare_layer(vm, disk_id, _item(order), TRANSFER_S)
        self._half(order, "the next layer is there, nothing leads to it")
        await self._tm.point_at_layer(vm, disk_id, layer, TRANSFER_S)
        self._half(order, "the disk leads to the next layer, the guest writes to the old one")
        written = {f"disk {disk_id}": f"layer {layer.number}"}
        return self._change(vm, host, lambda domain: domain.devices.update(written))

    async def _resize(self, order: Order, vm: Vm, host: Host) -> Answer:
        args = order.effect.args
        wanted = {name: args[name] for name in ("CPU", "VCPU", "MEMORY") if name in args}
        self._change(vm, host, lambda domain: domain.size.update({"CPU": wanted.pop("CPU", "")}))
        self._half(order, "the CPUs are there, the memory is not")
        return self._change(vm, host, lambda domain: domain.size.update(wanted))

    async def _resize_disk(self, order: Order, vm: Vm, host: Host) -> Answer:
        disk = self._tm.transfer_file(vm, Step.PROLOG)  # only its place matters: var/vms/<id>/…
        size_mb, record = int(order.effect.args["SIZE"]), vm.history[-1]
        path = disk.parents[2] / "datastores" / str(record.ds_id) / str(vm.oid) / f"disk.{_item(order)}"
        os.truncate(path.resolve(strict=True), size_mb * _MIB)
        self._half(order, "the file has grown, the guest does not know")
        return self._change(vm, host, lambda domain: domain.size.update({f"disk {_item(order)}": str(size_mb)}))


def _item(order: Order) -> int:
    return int(order.effect.args["ITEM"])
