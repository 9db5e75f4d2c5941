"""Carries out TM effects: writes the step's transfer file and runs its lines in order.

The file is kept, ``vms/<id>/transfer.<seq>.<step>``: it shows what was done, and an interactive retry works on it.
The first line that fails stops the step, and the answer names it.  All actions can be repeated, so after a restart a
step is simply done again, except when its result is visible.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from holdfast.drivers.expendable import Overdue
from holdfast.drivers.nbd import NbdServer, export_name
from holdfast.drivers.tm import layout
from holdfast.drivers.tm.lines import Line, Places, Step, TransferError, parse, transfer_lines
from holdfast.drivers.tm.paths import DatastoreArea
from holdfast.drivers.tm.shared import SharedTransfers
from holdfast.drivers.tm.tools import Clockwork, TransferOverdue
from holdfast.drivers.vm_files import read_vm_file, write_vm_file
from holdfast.drivers.vmm.dummy import wants_failure, wished_delay_s
from holdfast.engine.ports import Order
from holdfast.model.effect import Answer
from holdfast.model.enums import EffectKind
from holdfast.model.errors import HoldfastError
from holdfast.model.vm import Vm

_STEPS = {
    EffectKind.TM_PROLOG: Step.PROLOG,
    EffectKind.TM_MIGRATE: Step.MIGRATE,
    EffectKind.TM_EPILOG: Step.EPILOG,
    EffectKind.TM_DELETE: Step.DELETE,
}
_EXPORT_POLL_S = 0.05
_EXPORT_TRY_S = 2.0


class Transfers(Protocol):
    """A transfer driver: carries out a line or raises TransferError."""

    async def perform(self, line: Line, vm: Vm, clockwork: Clockwork) -> None:
        """One line for one VM."""


class DummyTransfers:
    """The transfer driver ``dummy``: nothing happens; the VM's DUMMY_FAIL and DUMMY_DELAY_S are obeyed."""

    async def perform(self, line: Line, vm: Vm, clockwork: Clockwork) -> None:
        """Waits and fails as the VM wishes."""
        await asyncio.sleep(min(wished_delay_s(vm), clockwork.left_s))
        if wants_failure(vm, line.action):
            raise TransferError("it failed as it was told to")


class TmDriver:
    """The TM driver; ``frontend`` is the controller's own name in transfer files."""

    def __init__(
        self,
        datastores_path: Path,
        vms_path: Path,
        frontend: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._area = DatastoreArea(datastores_path)
        self._places = Places(str(self._area.root), frontend or socket.gethostname())
        self._vms_path = vms_path
        self._clock = clock
        shared = SharedTransfers(self._area)
        self._drivers: dict[str, Transfers] = {"shared": shared, "qcow2": shared, "dummy": DummyTransfers()}

    async def run(self, order: Order) -> Answer:
        """Does it, within the effect's deadline."""
        try:
            return await self._run(order)
        except (TransferOverdue, Overdue) as error:
            return Answer(ok=False, message=error.message, certain=False)
        except HoldfastError as error:
            return Answer(ok=False, message=error.message)
        except OSError as error:
            return Answer(ok=False, message=f"{error.strerror or error} ({error.filename})")
        except Exception as error:  # noqa: BLE001 - a driver never raises
            return Answer(ok=False, message=f"{type(error).__name__}: {error}", certain=False)

    async def probe(self, order: Order) -> Answer | None:
        """After a restart: a directory that is gone has been removed; everything else is done again."""
        vm = order.vm
        if vm is None or vm.current is None or order.effect.kind not in (EffectKind.TM_EPILOG, EffectKind.TM_DELETE):
            return None
        try:
            directory = self._area.vm_path(self._places.directory(vm.current, vm), vm.oid)
            clockwork = Clockwork(order.effect.deadline - self._clock())
            there = await clockwork.touch(lambda: layout.is_there(directory), f"looking at {directory}")
        except TransferError:
            return None
        return None if there else Answer(ok=True, message="the files are gone")

    async def run_line(self, vm: Vm, text: str, limit_s: float) -> Answer:
        """One line of a transfer file by itself, for an interactive retry."""
        try:
            for line in parse(text):
                await self._perform(line, 1, vm, Clockwork(limit_s))
        except TransferOverdue as error:
            return Answer(ok=False, message=error.message, certain=False)
        except HoldfastError as error:
            return Answer(ok=False, message=error.message)
        return Answer(ok=True)

    def transfer_file(self, vm: Vm, step: Step) -> Path:
        """Where the transfer file of a step is, for the VM's newest history record."""
        return self._vms_path / str(vm.oid) / _file_name(vm, step)

    async def _run(self, order: Order) -> Answer:
        vm, step = order.vm, _STEPS.get(order.effect.kind)
        if vm is None or step is None:
            raise TransferError(f"Effect {order.effect.oid} ({order.effect.kind.value}) is no transfer of a VM")
        clockwork = Clockwork(order.effect.deadline - self._clock())
        local = order.effect.args.get("LOCAL", "").upper() == "YES"
        text = "".join(f"{line}\n" for line in transfer_lines(step, vm, self._places, local))
        path = await write_vm_file(self._vms_path, vm.oid, _file_name(vm, step), text, clockwork.left_s)
        for number, line in enumerate(parse(await read_vm_file(path, clockwork.left_s)), 1):
            await self._perform(line, number, vm, clockwork)
        if step is Step.PROLOG:
            await self._await_exports(order, vm, clockwork)
        return Answer(ok=True)

    async def _perform(self, line: Line, number: int, vm: Vm, clockwork: Clockwork) -> None:
        driver = self._drivers.get(line.driver)
        try:
            if driver is None:
                raise TransferError(f"Transfer Driver '{line.driver}' not available")
            await driver.perform(line, vm, clockwork)
        except HoldfastError as error:
            kind = TransferOverdue if isinstance(error, TransferOverdue) else TransferError
            raise kind(f'line {number} "{line}": {error.message}') from None

    async def _await_exports(self, order: Order, vm: Vm, clockwork: Clockwork) -> None:
        """With an NBD server: its exports appear a moment after the files."""
        datastore = order.datastores.get(vm.history[-1].ds_id)
        server = NbdServer.parse(datastore.template.get("NBD_SERVER")) if datastore else None
        if server is None:
            return
        for disk in vm.template.sections("DISK"):
            if disk.get("TYPE", "").upper() != "BLOCK":
                await _await_export(server.uri(export_name(vm.oid, disk["DISK_ID"])), clockwork)


async def _await_export(uri: str, clockwork: Clockwork) -> None:
    while True:
        try:
            await Clockwork(min(_EXPORT_TRY_S, clockwork.left_s)).run("qemu-img", "info", "--output=json", uri)
            return
        except TransferError as error:
            if clockwork.left_s <= _EXPORT_POLL_S:
                raise TransferOverdue(f"{uri} was not served in time: {error.message}") from None
        await asyncio.sleep(_EXPORT_POLL_S)


def _file_name(vm: Vm, step: Step) -> str:
    return f"transfer.{vm.history[-1].seq if vm.history else 0}.{step}"
