"""The VMM driver of the test's world: every action in the steps that a hypervisor takes, each of them there for good.

``half`` is told between two steps.  Any action can be found half done and is finished, as the port demands; what is
certain is said to be certain, and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from holdfast.drivers.tm.driver import TmDriver
from holdfast.engine.ports import Order
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.model.host import Host
from holdfast.model.vm import History, Vm
from tests.crash import world as w
from tests.crash.world import Domain, Hosts, World
from tests.crash.world_devices import Action, Half, WorldDevices

BLOCK = 512
"""Each boot of a guest leaves its mark in a block of its own on disk 0."""
_SILENCE_S = 0.2
_STOPS = (EffectKind.VMM_SHUTDOWN, EffectKind.VMM_CANCEL, EffectKind.VMM_CLEANUP)


class WorldDriver:
    """Carries out VMM effects in the world; ``datastores`` is where disks and checkpoints are."""

    def __init__(self, world: World, datastores: Path, vms: Path, half: Half) -> None:
        self._world = world
        self._datastores = datastores
        self._half = half
        devices = WorldDevices(world, TmDriver(datastores, vms), half)
        self._actions: Mapping[EffectKind, Action] = {
            **devices.actions,
            EffectKind.VMM_DEPLOY: self._deploy,
            EffectKind.VMM_SHUTDOWN: self._shutdown,
            EffectKind.VMM_CANCEL: self._cancel,
            EffectKind.VMM_CLEANUP: self._cancel,
            EffectKind.VMM_SAVE: self._save,
            EffectKind.VMM_RESTORE: self._restore,
            EffectKind.VMM_MIGRATE: self._migrate,
        }

    async def run(self, order: Order) -> Answer:
        """Does it."""
        vm, host, action = order.vm, order.host, self._actions.get(order.effect.kind)
        if vm is None or host is None or action is None:
            return Answer(False, f"{order.effect.kind.value} is not known in this world")
        if not self._world.reaches(host.oid):
            await asyncio.sleep(_SILENCE_S)
            return Answer(False, f"host {host.name} does not answer", certain=False)
        return await action(order, vm, host)

    async def probe(self, order: Order) -> Answer | None:
        """Done is what nothing is left to do of."""
        vm, host, kind = order.vm, order.host, order.effect.kind
        if vm is None or host is None or not self._world.reaches(host.oid):
            return None
        hosts = self._world.look()
        here = hosts.find(vm.oid, host.oid)
        if kind is EffectKind.VMM_DEPLOY and here is not None and here.state == w.RUNNING:
            return _deployed(vm)
        there = hosts.find(vm.oid, _other(order))
        if kind in _STOPS and here is None and there is None:
            return Answer(True, "the domain is gone")
        if kind is EffectKind.VMM_MIGRATE and here is None and there is not None and there.state == w.RUNNING:
            return _deployed(vm)
        return None

    def directory(self, order: Order, vm: Vm) -> Path:
        """The VM's files, where the history record that the order is about has them."""
        record = _record(order, vm)
        return self._datastores / str(record.ds_id) / str(vm.oid)

    async def _deploy(self, order: Order, vm: Vm, host: Host) -> Answer:
        with self._world.change() as hosts:
            domain = hosts.find(vm.oid, host.oid)
            if domain is not None and domain.state in (w.INCOMING, w.HANDED_OVER):
                hosts.domains.remove(domain)
                domain = None
            if domain is None:
                missing = self._missing(order, vm)
                if missing:
                    return Answer(False, f"there is no {missing}", values={"ABSENT": "YES"})
                hosts.tell(f"VM {vm.oid} created on host {host.oid}")
                domain = hosts.create(vm.oid, host.oid, w.STARTING)
        self._half(order, "the domain is there, its guest has not begun")
        with self._world.change() as hosts:
            domain = hosts.find(vm.oid, host.oid) or domain
            if domain.state == w.STARTING:
                hosts.boot(domain)
                hosts.tell(f"VM {vm.oid} boots on host {host.oid}")
                self._mark(order, vm, f"boot {hosts.boots[str(vm.oid)]} on host {host.oid}", hosts.boots[str(vm.oid)])
            domain.state = w.RUNNING
        return _deployed(vm)

    def _missing(self, order: Order, vm: Vm) -> str:
        names = (f"disk.{disk['DISK_ID']}" for disk in vm.template.sections("DISK"))
        return next((name for name in names if not (self.directory(order, vm) / name).exists()), "")

    def _mark(self, order: Order, vm: Vm, text: str, number: int) -> None:
        """What a guest writes must be there later on, whatever became of the controller meanwhile."""
        with (self.directory(order, vm) / "disk.0").resolve(strict=True).open("r+b") as disk:
            disk.seek(number * BLOCK)
            disk.write(text.encode())

    async def _shutdown(self, order: Order, vm: Vm, host: Host) -> Answer:
        if order.effect.args.get("HARD") == "YES":
            return await self._cancel(order, vm, host)
        with self._world.change() as hosts:
            domain = hosts.find(vm.oid, host.oid)
            if domain is None:
                return Answer(True)
            domain.state = w.STOPPING
        self._half(order, "the guest is shutting down")
        return await self._cancel(order, vm, host)

    async def _cancel(self, order: Order, vm: Vm, host: Host) -> Answer:
        self._destroy(vm, host.oid)
        other = _other(order)
        if order.effect.kind is EffectKind.VMM_CLEANUP and other >= 0:
            self._half(order, "gone on one host, not on the other")
            if not self._world.reaches(other):
                return Answer(False, f"host {other} does not answer", certain=False)
            self._destroy(vm, other)
        return Answer(True)

    def _destroy(self, vm: Vm, host_id: int) -> None:
        with self._world.change() as hosts:
            domain = hosts.find(vm.oid, host_id)
            if domain is not None:
                hosts.domains.remove(domain)
                hosts.tell(f"VM {vm.oid} is gone on host {host_id}")

    async def _save(self, order: Order, vm: Vm, host: Host) -> Answer:
        checkpoint = self.directory(order, vm) / "checkpoint"
        draft = checkpoint.with_suffix(".draft")
        with self._world.change() as hosts:
            domain = hosts.find(vm.oid, host.oid)
            if domain is None:
                there = checkpoint.exists()
                return Answer(there, "" if there else "neither domain nor checkpoint", certain=True)
            domain.state = w.SAVING
            memory = domain.memory
            draft.write_text(memory[: len(memory) // 2], encoding="utf-8")
        self._half(order, "half of the memory is written")
        draft.write_text(memory, encoding="utf-8")
        draft.replace(checkpoint)
        self._half(order, "the memory is written, the domain is still there")
        self._destroy(vm, host.oid)
        return Answer(True)

    async def _restore(self, order: Order, vm: Vm, host: Host) -> Answer:
        checkpoint = self.directory(order, vm) / "checkpoint"
        with self._world.change() as hosts:
            domain = hosts.find(vm.oid, host.oid)
            if domain is None:
                missing = self._missing(order, vm) or ("" if checkpoint.exists() else "checkpoint")
                if missing:
                    return Answer(False, f"there is no {missing}", values={"ABSENT": "YES"})
                domain = hosts.create(vm.oid, host.oid, w.RESTORING, checkpoint.read_text(encoding="utf-8"))
                hosts.tell(f"VM {vm.oid} is restored on host {host.oid}")
        self._half(order, "the domain is there, its guest does not go on yet")
        self._go_on(vm, host.oid)
        self._half(order, "the guest goes on, its checkpoint is still there")
        checkpoint.unlink(missing_ok=True)
        return _deployed(vm)

    def _go_on(self, vm: Vm, host_id: int) -> None:
        with self._world.change() as hosts:
            domain = hosts.find(vm.oid, host_id)
            if domain is not None:
                domain.state = w.RUNNING

    async def _migrate(self, order: Order, vm: Vm, host: Host) -> Answer:
        other = _other(order)
        if not self._world.reaches(other):
            return Answer(False, f"host {other} does not answer", certain=False)
        with self._world.change() as hosts:
            source, target = hosts.find(vm.oid, host.oid), hosts.find(vm.oid, other)
            if source is None:
                is_there = target is not None and target.state == w.RUNNING
                return _deployed(vm) if is_there else Answer(False, "the domain is nowhere")
            if target is not None:
                hosts.domains.remove(target)
            source.state = w.RUNNING
            hosts.create(vm.oid, other, w.INCOMING)
        self._half(order, "the memory is on its way")
        with self._world.change() as hosts:
            source, target = _both(hosts, vm, host.oid, other)
            source.state, target.memory = w.HANDED_OVER, source.memory
            target.devices, target.snapshots, target.size = source.devices, source.snapshots, source.size
        self._half(order, "paused on one host, not yet going on on the other")
        with self._world.change() as hosts:
            source, target = _both(hosts, vm, host.oid, other)
            hosts.domains.remove(source)
            target.state = w.RUNNING
            hosts.tell(f"VM {vm.oid} went from host {host.oid} to host {other}")
        return _deployed(vm)


def _deployed(vm: Vm) -> Answer:
    return Answer(True, values={"DEPLOY_ID": f"one-{vm.oid}"})


def _other(order: Order) -> int:
    return int(order.effect.args.get("OTHER_HID", "-1"))


def _record(order: Order, vm: Vm) -> History:
    wanted = order.effect.args.get("SEQ", "")
    return next((one for one in vm.history if str(one.seq) == wanted), vm.history[-1])


def _both(hosts: Hosts, vm: Vm, source_id: int, target_id: int) -> tuple[Domain, Domain]:
    source, target = hosts.find(vm.oid, source_id), hosts.find(vm.oid, target_id)
    assert source is not None
    assert target is not None
    return source, target
