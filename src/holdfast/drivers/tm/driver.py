"""Carries out TM effects: writes the step's transfer file and runs its lines in order.

The file is kept, ``vms/<id>/transfer.<seq>.<step>``: it shows what was done, and an interactive retry works on it.
The first line that fails stops the step, and the answer names it; a removal of all files goes on, for what stands in
its way on one datastore must not keep the files on another.  All actions can be repeated, so after a restart a
step is simply done again, except when the files show that it was done.

The VMM driver uses two more doors: :meth:`TmDriver.run_step` for the line of a disk that is plugged in or out, and the
``*_layer`` methods for live snapshots (the order they must be called in: :mod:`holdfast.drivers.tm.layers`).  A raw
disk has no layers: with its VM paused, :meth:`TmDriver.run_request` of SNAP_CREATE copies it.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from holdfast.drivers.expendable import Overdue
from holdfast.drivers.tm import home
from holdfast.drivers.tm.account import Account, Accounts, Say, silent
from holdfast.drivers.tm.context_step import ContextStep
from holdfast.drivers.tm.disks import format_of
from holdfast.drivers.tm.exports import await_exports
from holdfast.drivers.tm.host_files import HostFiles
from holdfast.drivers.tm.layer_doors import LayerDoors, LocalLayers
from holdfast.drivers.tm.layers import Layer
from holdfast.drivers.tm.lines import (
    Line,
    Places,
    Request,
    Step,
    TransferError,
    disk_of,
    parse,
    record_of,
    transfer_lines,
)
from holdfast.drivers.tm.paths import DatastoreArea
from holdfast.drivers.tm.probes import Probe, found_done
from holdfast.drivers.tm.reach import within_reach
from holdfast.drivers.tm.registry import DummyTransfers, External, Registry, Transfers
from holdfast.drivers.tm.remote import Hands
from holdfast.drivers.tm.remote_probes import RemoteProbe
from holdfast.drivers.tm.requests import request_of
from holdfast.drivers.tm.shared import SharedTransfers
from holdfast.drivers.tm.ssh import SshTransfers
from holdfast.drivers.tm.tools import Clockwork, TransferOverdue
from holdfast.drivers.vm_files import read_vm_file, write_vm_file
from holdfast.engine.ports import Order
from holdfast.model.effect import Answer
from holdfast.model.errors import HoldfastError
from holdfast.model.storage import Datastore
from holdfast.model.vm import Vm

_WHOLE_DISKS = (Step.PROLOG, Step.RESUME)
_ONE_DISK = (Step.PROLOG_ATTACH, Step.DISK_RESIZE)
_REMOVALS = (Step.DELETE, Step.DELETE_BOTH)
SHARED = ("shared", "qcow2")
_OF_HOSTS = ("ssh", "local")
VmLog = Callable[[int, str, str], None]
"""Takes a VM's id, a severity (I, E, W, D) and a line for the VM's log."""


class TmDriver:
    """The TM driver; ``frontend`` is the controller's own name in transfer files.

    Without ``hands`` there is no way to the hosts' own files: no driver ``ssh``, no driver ``local``.
    ``protected``: directories from which no file is put on a CONTEXT CD-ROM.
    """

    def __init__(
        self,
        datastores_path: Path,
        vms_path: Path,
        frontend: str = "",
        clock: Callable[[], float] = time.time,
        external: External = lambda name: None,
        log: VmLog = lambda vm_id, severity, text: None,
        hands: Hands | None = None,
        protected: Sequence[str | Path] = (),
    ) -> None:
        self.accounts = Accounts()
        self._log = log
        self._area = DatastoreArea(datastores_path)
        self._places = Places(str(self._area.root), frontend or socket.gethostname())
        self._vms_path = vms_path
        self._clock = clock
        self._layers = LocalLayers()
        self._hands = hands
        self._begun_before: set[int] = set()
        self._probe = Probe(self._area, self._places)
        built_in: dict[str, Transfers] = dict.fromkeys(SHARED, SharedTransfers(self._area))
        if hands:
            built_in |= dict.fromkeys(_OF_HOSTS, SshTransfers(self._area, hands))
        self._drivers = Registry({**built_in, "dummy": DummyTransfers()}, external)
        forbidden = [Path(directory) for directory in protected]
        self._context = ContextStep(self._area, self._places, vms_path, self._drivers, forbidden)

    async def run(self, order: Order) -> Answer:
        """Does it, within the effect's deadline."""
        return await _answered(self._run(order))

    async def probe(self, order: Order) -> Answer | None:
        """After a restart: ok when the files show that it was done, else None: it is to be done (again)."""
        self._begun_before.add(order.effect.oid)
        if order.vm is None:
            return None
        try:
            request = request_of(order.effect, order.vm)
            clockwork = Clockwork(order.effect.deadline - self._clock())
            found = await self._found_done(request, order, order.vm, clockwork)
        except Exception:  # noqa: BLE001 - a driver never raises; what is wrong is said when the order is carried out
            return None
        return Answer(ok=True, message=found) if found else None

    async def _found_done(self, request: Request, order: Order, vm: Vm, clockwork: Clockwork) -> str:
        """What shows that a step is done; of what other drivers did, and on lost hosts, files say nothing."""
        if self._is_work_of(SHARED, request, vm):
            return await found_done(self._probe, request, vm, clockwork)
        if self._hands and self._is_work_of(_OF_HOSTS, request, vm) and not order.effect.args.get("LOST"):
            return await found_done(RemoteProbe(self._area, self._places, self._hands), request, vm, clockwork)
        return ""

    async def run_line(
        self, vm: Vm, text: str, limit_s: float, say: Say = silent, number: int = 1, count: int = 1
    ) -> Answer:
        """Line ``number`` of ``count`` of a transfer file by itself, for an interactive repair.

        ``say`` hears what is said while it runs; the answer's message is the reason by itself.
        """

        async def work() -> None:
            with self._account(vm) as account:
                for line in parse(text):
                    with account.line(str(line), number, count), account.heard_by(say):
                        driver = self._drivers.carrying_out(line)
                        await driver.perform(line, vm, Clockwork(limit_s, account))

        return await _answered(work())

    async def come_home(self, vm: Vm, limit_s: float) -> Answer:
        """Before a start or a restore: the VM's directory is where it is to start, not where a move was undone."""
        return await _answered(self._come_home(vm, Clockwork(limit_s)))

    async def make_context(self, vm: Vm, limit_s: float, datastores: Mapping[int, Datastore] | None = None) -> Answer:
        """The CD-ROM of the VM's CONTEXT is made anew: before each start and restore, as part of the VMM's work.

        With an order's ``datastores``, it also waits until an NBD server offers it.
        """

        async def work() -> None:
            with self._account(vm) as account:
                clockwork = Clockwork(limit_s, account)
                await self._context.carry_out(vm, clockwork)
                served = (datastores or {}).get(record_of(vm).ds_id)
                sections = [section for section in vm.template.sections("CONTEXT") if section.get("DISK_ID")]
                await await_exports(served, vm.oid, sections, 0, clockwork)

        return await _answered(work())

    async def run_step(
        self,
        vm: Vm,
        step: Step,
        limit_s: float,
        disk_id: int | None = None,
        datastores: Mapping[int, Datastore] | None = None,
    ) -> Answer:
        """The lines of a step without a transfer file, as part of another driver's work.

        A disk is plugged in with PROLOG_ATTACH before the hypervisor gets it, and goes with EPILOG_DETACH after the
        hypervisor let go of it, or when it did not take it.  With an order's ``datastores``, the step also waits until
        an NBD server offers the disk.
        """
        return await self.run_request(
            vm, Request(step, disk_id=-1 if disk_id is None else disk_id), limit_s, datastores
        )

    async def run_request(
        self, vm: Vm, request: Request, limit_s: float, datastores: Mapping[int, Datastore] | None = None
    ) -> Answer:
        """As :meth:`run_step`, for a step that needs more to be said: a snapshot, a size."""

        async def work() -> None:
            with self._account(vm) as account:
                clockwork = Clockwork(limit_s, account)
                await self._perform_all(transfer_lines(request, vm, self._places), vm, clockwork)
                await self._await_exports(request, vm, datastores or {}, clockwork)

        return await _answered(work())

    async def active_layer(self, vm: Vm, disk_id: int, limit_s: float) -> Layer:
        """The layer of a qcow2 disk that the guest writes; raises TransferError."""
        disk, layers = await self._layered_disk(vm, disk_id, limit_s)
        return await layers.active_layer(disk, limit_s)

    async def prepare_layer(self, vm: Vm, disk_id: int, snapshot_id: int, limit_s: float) -> Layer:
        """An empty layer for what follows snapshot ``snapshot_id``, complete, not yet used; raises TransferError.

        May be repeated; when the disk is pointed there already, it is answered as it is.
        """
        disk, layers = await self._layered_disk(vm, disk_id, limit_s)
        return await layers.prepare_layer(disk, snapshot_id, limit_s)

    async def insist_on_new_layer(self, vm: Vm, disk_id: int, snapshot_id: int, limit_s: float) -> None:
        """Before an order's first :meth:`prepare_layer`: raises TransferError when somebody else's layer is there."""
        disk, layers = await self._layered_disk(vm, disk_id, limit_s)
        await layers.insist_on_new_layer(disk, snapshot_id, limit_s)

    async def point_at_layer(self, vm: Vm, disk_id: int, layer: Layer, limit_s: float) -> None:
        """``disk.<id>`` leads to this layer from now on: before the hypervisor writes there; raises TransferError."""
        disk, layers = await self._layered_disk(vm, disk_id, limit_s)
        await layers.point_at_layer(disk, layer, limit_s)

    async def withdraw_layer(self, vm: Vm, disk_id: int, layer: Layer, below: Layer, limit_s: float) -> None:
        """The hypervisor certainly did not take ``layer``: the disk is ``below`` again; raises TransferError."""
        disk, layers = await self._layered_disk(vm, disk_id, limit_s)
        await layers.withdraw_layer(disk, layer, below, limit_s)

    def transfer_file(self, vm: Vm, step: Step, seq: int = -1) -> Path:
        """Where the transfer file of a step is; -1 is the VM's newest history record."""
        return self._vms_path / str(vm.oid) / Request(step, record_of(vm, seq).seq).file_name

    async def _run(self, order: Order) -> None:
        vm = order.vm
        if vm is None:
            raise TransferError(f"Effect {order.effect.oid} ({order.effect.kind.value}) is no transfer of a VM")
        with self._account(vm) as account:
            await self._run_step(order, vm, Clockwork(order.effect.deadline - self._clock(), account))

    async def _come_home(self, vm: Vm, clockwork: Clockwork) -> None:
        record, needed = record_of(vm), bool(home.disks_of(vm))
        directory = self._area.vm_path(self._places.directory(record, vm), vm.oid)
        if record.tm_mad in _OF_HOSTS and self._hands:
            about = {"path": str(directory), "needed": needed}
            await self._hands.call(record.hostname, "home", vm.oid, clockwork, **about)
        elif record.tm_mad in SHARED:
            work = partial(home.enter, directory, makes=False) if needed else partial(home.take_back, directory)
            await clockwork.touch(work, f"looking for {directory}")

    @contextmanager
    def _account(self, vm: Vm) -> Iterator[Account]:
        """The account of a transfer of the VM, open while it runs."""
        account = Account(partial(self._log, vm.oid))
        self.accounts.open(vm.oid, account)
        try:
            yield account
        finally:
            self.accounts.close(vm.oid, account)

    async def _run_step(self, order: Order, vm: Vm, clockwork: Clockwork) -> None:
        request = request_of(order.effect, vm)
        text = "".join(f"{line}\n" for line in transfer_lines(request, vm, self._places))
        if order.effect.oid not in self._begun_before:
            await self._insist_on_new_snapshot(request, vm, clockwork)
        path = await write_vm_file(self._vms_path, vm.oid, request.file_name, text, clockwork.left_s)
        lines = parse(await read_vm_file(path, clockwork.left_s))
        lines = within_reach(lines, set(order.effect.args.get("LOST", "").split()), clockwork.account)
        await self._perform_all(lines, vm, clockwork, to_the_end=request.step in _REMOVALS)
        await self._await_exports(request, vm, order.datastores, clockwork)

    async def _insist_on_new_snapshot(self, request: Request, vm: Vm, clockwork: Clockwork) -> None:
        """A layer that lies where this snapshot's would is somebody else's: it must not be taken for done."""
        if request.snapshot != "SNAP_CREATE" or not self._is_work_of((*SHARED, *_OF_HOSTS), request, vm):
            return
        if format_of(disk_of(vm, request.disk_id)) == "qcow2":
            await self.insist_on_new_layer(vm, request.disk_id, request.snapshot_id, clockwork.left_s)

    async def _perform_all(self, lines: Sequence[Line], vm: Vm, clockwork: Clockwork, to_the_end: bool = False) -> None:
        failures: list[TransferError] = []
        for number, line in enumerate(lines, 1):
            try:
                with clockwork.account.line(str(line), number, len(lines)):
                    await self._drivers.carrying_out(line).perform(line, vm, clockwork)
            except HoldfastError as error:
                failure = _failure(line, number, error)
                if not to_the_end or isinstance(failure, TransferOverdue):
                    raise failure from None
                failures.append(failure)
        if failures:
            raise failures[0]

    async def _await_exports(
        self, request: Request, vm: Vm, datastores: Mapping[int, Datastore], clockwork: Clockwork
    ) -> None:
        datastore = datastores.get(record_of(vm, request.seq).ds_id)
        if request.step in _WHOLE_DISKS:
            await await_exports(datastore, vm.oid, vm.template.sections("DISK"), 0, clockwork)
        elif request.step in _ONE_DISK and not request.local:
            disks = [disk_of(vm, request.disk_id)]
            await await_exports(datastore, vm.oid, disks, request.size_mb, clockwork)

    def _is_work_of(self, drivers: Sequence[str], request: Request, vm: Vm) -> bool:
        """All lines of this step are carried out by these drivers."""
        names = {self._drivers.name_for(line) for line in transfer_lines(request, vm, self._places)}
        return bool(names) and names.issubset(drivers)

    async def _layered_disk(self, vm: Vm, disk_id: int, limit_s: float) -> tuple[Path, LayerDoors]:
        section, record = disk_of(vm, disk_id), record_of(vm)
        driver = section.get("TM_MAD_SYSTEM") or section.get("TM_MAD") or record.tm_mad
        path = self._area.vm_path(f"{self._places.directory(record, vm)}/disk.{disk_id}", vm.oid)
        if format_of(section) == "qcow2" and driver in _OF_HOSTS and self._hands:
            return path, HostFiles(self._hands, record.hostname, vm.oid)
        if format_of(section) == "qcow2" and driver in SHARED:
            await Clockwork(limit_s).touch(partial(self._area.confine, path.parent), f"looking at {path}")
            return path, self._layers
        raise TransferError(
            f"DISK {disk_id} of VM {vm.oid} (TM_MAD {driver}, format {format_of(section)}) has no layers: "
            "live snapshots need a qcow2 disk as a file; power the VM off first"
        )


def _failure(line: Line, number: int, error: HoldfastError) -> TransferError:
    kind = TransferOverdue if isinstance(error, TransferOverdue | Overdue) else TransferError
    return kind(line.failed(number, error.message))


async def _answered(work: Awaitable[None]) -> Answer:
    """What came of it as an answer; a driver never raises."""
    try:
        await work
    except (TransferOverdue, Overdue) as error:
        return Answer(ok=False, message=error.message, certain=False)
    except HoldfastError as error:
        return Answer(ok=False, message=error.message)
    except OSError as error:
        return Answer(ok=False, message=f"{error.strerror or error} ({error.filename})")
    except Exception as error:  # noqa: BLE001 - a driver never raises
        return Answer(ok=False, message=f"{type(error).__name__}: {error}", certain=False)
    return Answer(ok=True)
