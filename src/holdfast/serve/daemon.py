"""Builds the controller from its configuration and runs it until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from holdfast.api.app import make_app
from holdfast.api.methods import ApiSettings
from holdfast.api.server import Server
from holdfast.api.views import render_host, render_image, render_vm
from holdfast.drivers.fence.driver import FenceDriver
from holdfast.drivers.im.heartbeats import HeartbeatWatch
from holdfast.drivers.im.link import BeaconLink
from holdfast.drivers.image_origin import PROTECTED
from holdfast.drivers.images import ImageDriver
from holdfast.drivers.ssh import Ssh, SshSettings
from holdfast.drivers.tm.driver import TmDriver
from holdfast.drivers.tm.host_inventory import capacity_of, inventory_of
from holdfast.drivers.tm.remote import Hands
from holdfast.drivers.tm.single_lines import LineDriver
from holdfast.drivers.vmm.dummy import DummyDriver
from holdfast.drivers.vmm.hypervisor import HypervisorConfig
from holdfast.drivers.vmm.libvirt_driver import LibvirtDriver
from holdfast.drivers.vmm.site_hypervisor import unseen
from holdfast.engine.engine import Batch, Engine
from holdfast.engine.events import Resumed
from holdfast.engine.ports import Driver
from holdfast.engine.settings import Settings
from holdfast.engine.tm_conf import TmConf
from holdfast.failover.detection import Patience
from holdfast.hooks.driver import HookDriver
from holdfast.hooks.match import Matcher, Subject
from holdfast.model.beacon import host_key
from holdfast.model.enums import EffectKind
from holdfast.model.failover import Failover
from holdfast.model.host import Host
from holdfast.model.vm import Vm
from holdfast.serve.bootstrap import (
    credentials,
    first_objects,
    installation_id,
    loading,
    master_key,
    prepare_directories,
)
from holdfast.serve.capacity import DatastoreMonitor
from holdfast.serve.clock import SteadyClock
from holdfast.serve.config import Config
from holdfast.serve.context_look import ContextLook
from holdfast.serve.controller import Controller
from holdfast.serve.dispatch import Dispatcher, chooser
from holdfast.serve.site_drivers import SiteDrivers
from holdfast.serve.sockets import Inherited, beacon_socket, listening_socket, tell_supervisor
from holdfast.serve.storage_check import StorageCheck
from holdfast.serve.vm_log import VmLog
from holdfast.serve.vm_story import DUMMY, lines_of
from holdfast.serve.watch import DummyMonitor, HostWatch
from holdfast.store.sqlite import SqliteStore

LOG = logging.getLogger("holdfast")
_TM_KINDS = tuple(kind for kind in EffectKind if kind.value.startswith("tm."))
_IMAGE_KINDS = tuple(kind for kind in EffectKind if kind.value.startswith("image."))
_FENCE_KINDS = (EffectKind.FENCE_STATUS, EffectKind.FENCE_OFF)


class Daemon:
    """All parts of a running controller."""

    def __init__(self, config: Config, sockets: Inherited) -> None:
        self._config = config
        self._sockets = sockets
        prepare_directories(config.var, config.datastores_path)
        self._user, self._password = credentials(config.auth_path)
        self._master = master_key(config.var / "agent_master.key")
        self._clock = SteadyClock()
        self._store = SqliteStore(config.var / "holdfast.db")
        with loading():
            self.engine = Engine(self._store, self._settings(), Matcher(self._render), self._clock())
        first_objects(self.engine, self._user, self._password, config.datastores_path)
        self.controller = Controller(
            self.engine, self._published, self._suspected, self._clock, lambda: self._link.catch_up()
        )
        self._link = BeaconLink(self._key_of, self.controller.hear, on_rival=self.controller.rival)
        heartbeats = HeartbeatWatch(config.heartbeats_path, self._key_of, HEARTBEAT_WINDOW_S)
        self._vm_log = VmLog(self._log_path(), self._clock)
        self._watch = HostWatch(
            self.engine.state, self.engine.senses, self.controller.report, heartbeats, self._link, self._clock
        )
        self._capacity = DatastoreMonitor(self.engine.state, self.controller.report, config.datastore_period_s)
        self._ssh = Ssh(SshSettings(config.var / "ssh", config.ssh_config))
        self._dispatcher: Dispatcher | None = None
        self._logged_steps = {oid: len(failover.steps) for oid, failover in self.engine.state.failovers.items()}

    def _settings(self) -> Settings:
        config = self._config
        patience = Patience(
            beacon_period_s=config.beacon_period_s,
            suspect_after_s=config.suspect_after_s,
            dead_after_s=config.dead_after_s,
            blind_share=config.blind_share,
        )
        return Settings(
            str(config.datastores_path),
            installation_id(self._master),
            patience,
            time_zone=None,
            live_rescheds=config.live_rescheds == 1,
            cold_migrate_mode=config.cold_migrate_mode,
            datastore_capacity_check=config.datastore_capacity_check == 1,
            tm_conf=TmConf(config.tm_mad_conf),
            unseen_hypervisors=unseen(config.vmm_mad),
        )

    def _render(self, subject: Subject) -> str:
        """An object's XML, as hooks receive it."""
        if isinstance(subject, Host):
            return render_host(subject)
        users = self.engine.state.users
        return render_vm(subject, users) if isinstance(subject, Vm) else render_image(subject, users)

    def _key_of(self, host_id: int) -> bytes | None:
        return host_key(self._master, host_id) if host_id in self.engine.state.hosts else None

    def _published(self, batch: Batch) -> None:
        assert self._dispatcher is not None, "set before the controller runs"
        self._watch.take(batch)
        self._dispatcher.take(batch)
        self._capacity.take(batch)
        self._log_failovers(batch)
        self._log_vms(batch)

    def _log_failovers(self, batch: Batch) -> None:
        """Every step of every failover is a line of the log."""
        for stored in batch.changes.puts:
            if isinstance(stored, Failover):
                for step in stored.steps[self._logged_steps.get(stored.oid, 0) :]:
                    LOG.info("failover %d of host %s: %s: %s", stored.oid, stored.hostname, step.state.name, step.text)
                self._logged_steps[stored.oid] = len(stored.steps)

    def _log_vms(self, batch: Batch) -> None:
        vms_path, silent = self._config.var / "vms", (*DUMMY, *self._config.vmm_mad)
        for line in lines_of(batch.notices, self.engine.state.vms, vms_path, silent):
            self._vm_log.write(line)

    def _suspected(self, host_ids: Sequence[int]) -> None:
        self._watch.investigate(host_ids)

    def _drivers(self, endpoint: str) -> Dispatcher:
        config = self._config
        vms_path = config.var / "vms"
        hypervisor = HypervisorConfig(str(config.datastores_path), config.accelerator, config.emulator)
        site = SiteDrivers(config, endpoint, self._render)
        self._capacity.ask(site.monitor)
        log, vmm_log = self._vm_log.teller("TrM"), self._vm_log.teller("VMM")
        protected = (*PROTECTED, config.var)
        frontend = socket.gethostname()
        hands = Hands(config.datastores_path, frontend, self._ssh)
        tm = TmDriver(config.datastores_path, vms_path, frontend, self._clock, site.transfers, log, hands, protected)
        images = ImageDriver(config.datastores_path, self._clock, protected)
        self.controller.imports = images.accounts
        self.controller.context = ContextLook(config.datastores_path, protected)
        self._capacity.on_host = capacity_of(hands)
        self.controller.storage = StorageCheck(self.engine.state, inventory_of(hands), frontend=frontend)
        lines = self.controller.transfers = LineDriver(tm, config.datastores_path, vms_path, self._clock)
        libvirt = LibvirtDriver(self._watch.connections, vms_path, hypervisor, self._clock, tm=tm, hands=hands)
        environment = {"ONE_AUTH": str(config.auth_path), "ONE_XMLRPC": endpoint, "ONE_LOG_DIR": str(self._log_path())}
        by_kind: dict[EffectKind, Driver] = {
            **dict.fromkeys(_TM_KINDS, tm),
            EffectKind.TM_LINE: lines,
            **dict.fromkeys(_IMAGE_KINDS, images),
            **dict.fromkeys(_FENCE_KINDS, FenceDriver(clock=self._clock, contradiction=self._watch.still_beats)),
            EffectKind.HOOK: HookDriver(config.var / "remotes" / "hooks", environment, self._clock),
        }
        hypervisors = {"dummy": DummyDriver(clock=self._clock), **site.hypervisors(tm, vmm_log, self._clock)}
        migrating = {name: site.around_migrations(driver, tm, log, self._clock) for name, driver in hypervisors.items()}
        driver_of = chooser(by_kind, migrating, site.around_migrations(libvirt, tm, log, self._clock))
        report, paced = self.controller.report, config.starts_per_host
        return Dispatcher(self.engine.state, driver_of, report, paced, self._clock)

    def _log_path(self) -> Path:
        path = self._config.var / "log"
        path.mkdir(exist_ok=True, mode=0o700)
        return path

    async def run(self) -> None:
        """Serves until SIGTERM or SIGINT."""
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with AsyncExitStack() as stack:
            stack.callback(self._vm_log.close)
            stack.callback(self._store.close)
            stack.callback(self.controller.close)
            listening = self._sockets.api or [listening_socket(address) for address in self._config.listen]
            endpoint = _endpoint(listening[0])
            tasks = self._work(stack, endpoint)
            server = Server(make_app(self.controller, ApiSettings(endpoint=endpoint)), sockets=listening)
            await server.start()
            stack.push_async_callback(server.stop)
            LOG.info("ready: API at %s, credentials in %s", endpoint, self._config.auth_path)
            tell_supervisor("READY=1")
            await _first_of(stop, tasks)
            tell_supervisor("STOPPING=1")
            LOG.info("stopping")

    def _work(self, stack: AsyncExitStack, endpoint: str) -> set[asyncio.Task[None]]:
        """Begins everything but the API, which ends first, so that calls under way are still answered."""
        self._dispatcher = self._drivers(endpoint)
        stack.push_async_callback(self._ssh.close)
        stack.push_async_callback(self._dispatcher.close)
        stack.push_async_callback(self._watch.close)
        stack.callback(self._link.close)
        for sock in self._sockets.beacons or [beacon_socket(address) for address in self._config.beacons]:
            self._link.listen(sock)
        self._watch.begin()
        self.engine.handle_batch([Resumed()], self._clock())
        self._dispatcher.reconcile(self.engine.open_effects())
        dummies = DummyMonitor(self.engine.state, self.controller.hear, self._config.beacon_period_s)
        works = (self.controller.run(), dummies.run(), self._capacity.run())
        tasks = {asyncio.create_task(work) for work in works}
        for task in tasks:
            stack.callback(task.cancel)
        return tasks


def _endpoint(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}/RPC2" if ":" in host else f"http://{host}:{port}/RPC2"


async def _first_of(stop: asyncio.Event, tasks: set[asyncio.Task[None]]) -> None:
    """Returns when it is time to stop; raises what ended a task that should never end."""
    waiting = asyncio.create_task(stop.wait())
    await asyncio.wait({waiting, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    for task in tasks:
        if task.done():
            task.result()


HEARTBEAT_WINDOW_S = 1.2
"""An investigation begins at 1.5 s of silence and must be over at 3 s."""


def serve(config: Config, sockets: Inherited) -> None:
    """Runs a controller in this process."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a storm of fencing and hooks needs many
    logging.basicConfig(level=config.log_level, format="%(asctime)s %(levelname).1s %(name)s: %(message)s")
    asyncio.run(Daemon(config, sockets).run())
