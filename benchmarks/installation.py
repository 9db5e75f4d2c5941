"""An installation to measure: hosts full of VMs in a store on the disk, a controller, drivers that succeed at once.

Engine, controller, dispatcher, hook matcher and store are those of production.  Drivers, agents and the hook's command
are played here: a figure is what the controller itself costs.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Container, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path

from benchmarks.figures import BUILD
from holdfast.api.views import render_host, render_image, render_vm
from holdfast.engine.engine import Batch, Engine
from holdfast.engine.ports import Changes, Driver, Order, Stored
from holdfast.engine.settings import Settings
from holdfast.engine.state import State
from holdfast.hooks.match import Matcher, Subject
from holdfast.model.beacon import BeaconReport
from holdfast.model.effect import Answer
from holdfast.model.enums import DatastoreType, EffectKind, HistoryAction, HostState
from holdfast.model.hook import Hook
from holdfast.model.host import Host
from holdfast.model.storage import Datastore
from holdfast.model.template import Template
from holdfast.model.user import Actor, User
from holdfast.model.vm import History, Vm
from holdfast.model.vm_states import LcmState, VmState
from holdfast.serve.bootstrap import loading
from holdfast.serve.config import Config
from holdfast.serve.controller import Controller
from holdfast.serve.dispatch import Dispatcher, DriverOf
from holdfast.store.sqlite import SqliteStore

EPOCH = 1
ONEADMIN = Actor(0, 0, "oneadmin")
SYSTEM_DATASTORE = 0
BEAT_EVERY_S = 0.02
_VM_MEMORY_KB = 2 * 1024 * 1024
_COMMIT_SIZE = 1000
_POWER_IS_ON = Answer(True, "power is on", values={"POWER": "ON"})
_DONE = Answer(True, "done")


def a_vm(oid: int, hid: int = 5) -> Vm:
    """A VM as they are in life: three disks, a few attributes, one migration behind it."""
    disk = {
        "IMAGE": "debian 12",
        "IMAGE_ID": "3",
        "DATASTORE": "default",
        "DATASTORE_ID": "1",
        "SOURCE": "/var/lib/one/datastores/1/6f0d4b8e",
        "TM_MAD": "shared",
        "DEV_PREFIX": "vd",
        "DRIVER": "qcow2",
        "SIZE": "10240",
        "CLONE": "YES",
    }
    template = Template(
        [
            ("CPU", "1"),
            ("VCPU", "2"),
            ("MEMORY", "2048"),
            ("VMID", str(oid)),
            ("OS", {"ARCH": "x86_64", "BOOT": "disk0"}),
            ("GRAPHICS", {"LISTEN": "0.0.0.0", "TYPE": "VNC", "PORT": str(5900 + oid)}),
            ("CONTEXT", {"NETWORK": "YES", "SET_HOSTNAME": "$NAME", "TARGET": "hda"}),
            *(("DISK", {"DISK_ID": str(number), "TARGET": f"vd{'abc'[number]}", **disk}) for number in range(3)),
        ]
    )
    return Vm(
        oid,
        uid=0,
        gid=0,
        name=f"web-{oid}",
        state=VmState.ACTIVE,
        lcm_state=LcmState.RUNNING,
        template=template,
        user_template=Template([("LABELS", "web")]),
        stime=1_790_000_000,
        deploy_id=f"one-{oid}",
        history=_records(hid),
        may_run_on=(hid,),
        monitoring=Template([("CPU", "3.1"), ("MEMORY", "204800")]),
    )


def _records(hid: int) -> tuple[History, History]:
    before = hid + 1
    first, second = 1_790_000_000, 1_790_000_901
    moved = HistoryAction.MIGRATE
    return (
        History(0, before, f"node{before}", 0, SYSTEM_DATASTORE, "dummy", "shared", first, second, action=moved),
        History(1, hid, f"node{hid}", 0, SYSTEM_DATASTORE, "dummy", "shared", stime=second, rstime=second),
    )


def a_host(oid: int, vms: tuple[int, ...], capacity: int) -> Host:
    """A living host with room for as many VMs as ``capacity`` says."""
    return Host(
        oid,
        f"node{oid}",
        HostState.MONITORED,
        "dummy",
        "dummy",
        template=Template([("FENCE_AGENT", "fence_dummy"), ("FENCE_IP", "192.0.2.9"), ("FENCE_PASSWORD", "secret")]),
        max_cpu=100 * capacity,
        max_mem=_VM_MEMORY_KB * capacity,
        cpu_usage=100 * len(vms),
        mem_usage=_VM_MEMORY_KB * len(vms),
        vms=vms,
        boot_id=f"boot-{oid}",
    )


def population(hosts: int, vms_per_host: int) -> Iterator[Stored]:
    """Hosts half full of VMs, with what else every installation has, and the hook that opens failovers."""
    yield User(0, "oneadmin", "no password")
    yield Datastore(SYSTEM_DATASTORE, "system", DatastoreType.SYSTEM_DS, "shared", "-", "/ds/0")
    hook = {"COMMAND": "ft/host_error", "ARGUMENTS": "$ID -m", "RESOURCE": "HOST", "STATE": "ERROR", "REMOTE": "NO"}
    yield Hook(0, "host_error", "state", Template(hook.items()))
    for hid in range(hosts):
        members = tuple(range(hid * vms_per_host, (hid + 1) * vms_per_host))
        yield a_host(hid, members, 2 * vms_per_host + 4)
        for vm_id in members:
            yield a_vm(vm_id, hid)


@contextmanager
def empty_store() -> Iterator[SqliteStore]:
    """A new store on the disk; it is removed afterwards."""
    BUILD.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir=BUILD) as directory,
        closing(SqliteStore(Path(directory) / "one.db")) as store,
    ):
        yield store


@contextmanager
def stored(hosts: int, vms_per_host: int) -> Iterator[SqliteStore]:
    """A store that holds the population."""
    with empty_store() as store:
        fill(store, population(hosts, vms_per_host))
        counters = {"Vm": hosts * vms_per_host, "Host": hosts, "Hook": 1, "Datastore": 100, "User": 2}
        store.commit(Changes(EPOCH, counters=counters))
        yield store


def fill(store: SqliteStore, objects: Iterable[Stored]) -> None:
    """Stores the objects, many in a commit."""
    waiting: list[Stored] = []
    for thing in objects:
        waiting.append(thing)
        if len(waiting) == _COMMIT_SIZE:
            store.commit(Changes(EPOCH, waiting))
            waiting = []
    store.commit(Changes(EPOCH, waiting))


class PromptDriver:
    """Succeeds at once, whatever it is asked; every host's power is on until it is fenced."""

    def __init__(self, on_order: Callable[[Order], None]) -> None:
        self._on_order = on_order

    async def run(self, order: Order) -> Answer:
        """Does nothing and says that it is done."""
        self._on_order(order)
        return _POWER_IS_ON if order.effect.kind is EffectKind.FENCE_STATUS else _DONE

    async def probe(self, order: Order) -> Answer | None:
        """Nothing has been done yet."""
        return None


@asynccontextmanager
async def controlled(
    store: SqliteStore,
    on_order: Callable[[Order], None],
    on_publish: Callable[[Batch], None],
    silent: Container[int] = (),
    drivers: Mapping[EffectKind, Driver] | None = None,
) -> AsyncIterator[Controller]:
    """A controller at work on what the store holds; every host's agent beats once a second, but for ``silent`` ones.

    ``drivers`` carry out their kinds of effects in place of the one that succeeds at once.
    """

    def published(batch: Batch) -> None:
        dispatcher.take(batch)
        on_publish(batch)

    with loading():
        engine = Engine(store, Settings(), Matcher(lambda subject: _rendered(engine.state, subject)), time.time())
    controller = Controller(engine, published, lambda host_ids: None)
    prompt, by_kind = PromptDriver(on_order), drivers or {}
    driver_of: DriverOf = lambda order: by_kind.get(order.effect.kind, prompt)  # noqa: E731
    dispatcher = Dispatcher(engine.state, driver_of, controller.report, Config().starts_per_host)
    tasks = [asyncio.create_task(controller.run()), asyncio.create_task(_beat(controller, silent))]
    try:
        yield controller
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await dispatcher.close()
        controller.close()


def _rendered(state: State, subject: Subject) -> str:
    if isinstance(subject, Host):
        return render_host(subject)
    return render_vm(subject, state.users) if isinstance(subject, Vm) else render_image(subject, state.users)


async def _beat(controller: Controller, silent: Container[int]) -> None:
    """Speaks for the agents, spread over the second as they are in life."""
    host_ids = sorted(controller.state.hosts)
    started, beaten = time.monotonic(), 0
    while True:
        due = int((time.monotonic() - started) * len(host_ids))
        for number in range(beaten, due):
            host = controller.state.hosts[host_ids[number % len(host_ids)]]
            if host.oid not in silent:
                controller.hear(_report(controller.state, host, number))
        beaten = due
        await asyncio.sleep(BEAT_EVERY_S)


def _report(state: State, host: Host, seq: int) -> BeaconReport:
    present = tuple([(vm_id, "RUNNING") for vm_id in host.vms if host.oid in state.vms[vm_id].may_run_on])
    return BeaconReport(host.oid, host.boot_id, seq, time.time(), present, "up", None, "dummy")
