"""Transfers in parallel: VMs on hold are deployed all at once, their disks on the transfer driver ``dummy``.

The TM driver is production's: each VM's transfer file is written and its lines are carried out one after the other;
the driver ``dummy`` is through with a line at once, or after a delay, which shows how many are under way together.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks.figures import BUILD, Figure, Measurement
from benchmarks.installation import EPOCH, ONEADMIN, SYSTEM_DATASTORE, a_host, a_vm, controlled, empty_store, fill
from holdfast.drivers.tm.driver import TmDriver
from holdfast.engine.commands import DeployVm
from holdfast.engine.engine import Batch
from holdfast.engine.ports import Changes, Order, Stored
from holdfast.model.enums import DatastoreType, EffectKind
from holdfast.model.storage import Datastore
from holdfast.model.template import Template
from holdfast.model.user import User
from holdfast.model.vm import Vm
from holdfast.model.vm_states import LcmState, VmState

HOSTS = 20
SIZES = (200, 400, 800)
DELAY_S = 0.1
LIMIT_S = 120.0


class _Deployment:
    """Knows when all VMs run."""

    def __init__(self, count: int) -> None:
        self.to_run = set(range(count))
        self.over = asyncio.Event()

    def ordered(self, order: Order) -> None:
        """A hypervisor got an order."""

    def published(self, batch: Batch) -> None:
        """Notes which VMs run."""
        for thing in batch.changes.puts:
            if isinstance(thing, Vm) and thing.lcm_state is LcmState.RUNNING:
                self.to_run.discard(thing.oid)
        if not self.to_run:
            self.over.set()


def _population(count: int, delay_s: float) -> Iterator[Stored]:
    yield User(0, "oneadmin", "no password")
    yield Datastore(SYSTEM_DATASTORE, "system", DatastoreType.SYSTEM_DS, "dummy", "-", "/ds/0")
    for hid in range(HOSTS):
        yield a_host(hid, (), count)
    for vm_id in range(count):
        yield _on_hold(a_vm(vm_id), delay_s)


def _on_hold(vm: Vm, delay_s: float) -> Vm:
    user_template = Template([("DUMMY_DELAY_S", str(delay_s))]) if delay_s else Template()
    return replace(
        vm,
        state=VmState.HOLD,
        lcm_state=LcmState.LCM_INIT,
        template=_on_dummy(vm.template),
        user_template=user_template,
        history=(),
        may_run_on=(),
        deploy_id="",
    )


def _on_dummy(template: Template) -> Template:
    """The disks come from a datastore of the driver ``dummy``."""
    changed = []
    for name, value in template:
        is_disk = name == "DISK" and not isinstance(value, str)
        changed.append((name, {**value, "TM_MAD": "dummy"} if is_disk and not isinstance(value, str) else value))
    return Template(changed)


async def _deployed_s(count: int, delay_s: float) -> float:
    """How long until every VM runs."""
    deployment = _Deployment(count)
    with empty_store() as store, tempfile.TemporaryDirectory(prefix="bench-", dir=BUILD) as directory:
        fill(store, _population(count, delay_s))
        store.commit(Changes(EPOCH, counters={"Vm": count, "Host": HOSTS, "Datastore": 100, "User": 2}))
        tm = TmDriver(Path(directory) / "datastores", Path(directory) / "vms")
        drivers = {kind: tm for kind in EffectKind if kind.value.startswith("tm.")}
        async with controlled(store, deployment.ordered, deployment.published, drivers=drivers) as controller:
            await asyncio.sleep(0.5)
            started = time.perf_counter()
            calls = (controller.call(ONEADMIN, DeployVm(vm_id, vm_id % HOSTS, True)) for vm_id in range(count))
            async with asyncio.timeout(LIMIT_S):
                await asyncio.gather(*calls)
                await deployment.over.wait()
            return time.perf_counter() - started


def _at_once(quick: bool) -> Iterator[Figure]:
    for count in SIZES[:1] if quick else SIZES:
        yield Figure("transfers.dummy_running_s", count, asyncio.run(_deployed_s(count, 0)), "s")


def _delayed(quick: bool) -> Iterator[Figure]:
    for count in SIZES[:1] if quick else SIZES:
        yield Figure("transfers.dummy_slow_running_s", count, asyncio.run(_deployed_s(count, DELAY_S)), "s")


MEASUREMENTS = (
    Measurement(("transfers.dummy_running_s",), _at_once),
    Measurement(("transfers.dummy_slow_running_s",), _delayed),
)
