"""The production controller, built as ``holdfast serve`` builds it, with collaborators that can kill it.

Its hypervisors and their agents are the test's world: hosts with the drivers ``world``.  All else is real: the store,
the transfers, the fence agents, the hooks, the API.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from holdfast.engine.ports import Driver, Order
from holdfast.engine.state import State
from holdfast.model.beacon import BeaconReport
from holdfast.model.effect import Answer, Effect
from holdfast.serve.config import Config
from holdfast.serve.daemon import Daemon
from holdfast.serve.dispatch import Dispatcher
from holdfast.serve.sockets import Inherited
from tests.crash.points import HALF, FileChanges, KillingDriver, KillingStore, Points
from tests.crash.world import World
from tests.crash.world_driver import WorldDriver

CREDULOUS, FORGETFUL = "credulous", "forgetful"
SYSTEM = {"TOTALCPU": "800", "TOTALMEMORY": "16777216", "HYPERVISOR": "world"}


class CrashingDaemon(Daemon):
    """A controller whose store and drivers pass through points."""

    def __init__(self, config: Config, sockets: Inherited, world: World, points: Points, fault: str = "") -> None:
        super().__init__(config, sockets)
        self._fault = fault
        self._world = world
        self._points = points
        self.engine.store = KillingStore(self.engine.store, points, self.engine.open_effects())

    def _drivers(self, endpoint: str) -> Dispatcher:
        real = super()._drivers(endpoint)
        config, points, world = self._config, self._points, self._world
        hypervisors = WorldDriver(
            world,
            config.datastores_path,
            config.var / "vms",
            lambda order, text: points.reach(points.name(order.effect), f"{HALF}, {text}"),
        )
        files = FileChanges(points, config.var)

        def driver_of(order: Order) -> Driver:
            is_vmm = order.effect.kind.value.startswith("vmm.")
            driver = KillingDriver(hypervisors if is_vmm else real._driver_of(order), points, world, files)
            return CredulousDriver(driver) if self._fault == CREDULOUS else driver

        kind = ForgetfulDispatcher if self._fault == FORGETFUL else Dispatcher
        return kind(self.engine.state, driver_of, self.controller.report, config.starts_per_host, self._clock)

    async def run(self) -> None:
        """Serves until it is killed; the agents of the world's hosts report meanwhile."""
        agents = WorldAgents(self.engine.state, self._world, self.controller.hear, self._config.beacon_period_s)
        reporting = asyncio.create_task(agents.run())
        try:
            await super().run()
        finally:
            reporting.cancel()


class CredulousDriver:
    """A fault: after a restart it says that everything was done, and does not look."""

    def __init__(self, inner: Driver) -> None:
        self._inner = inner

    async def run(self, order: Order) -> Answer:
        """As the driver does."""
        return await self._inner.run(order)

    async def probe(self, order: Order) -> Answer | None:
        """Believes what it hopes."""
        return Answer(True)


class ForgetfulDispatcher(Dispatcher):
    """A fault: what was under way is not taken up after a restart."""

    def reconcile(self, effects: Iterable[Effect]) -> None:
        """Nothing is done."""


class WorldAgents:
    """The agents of hosts with IM_MAD ``world``: they report the domains that are there, unless they are cut off."""

    def __init__(self, state: State, world: World, hear: Callable[[BeaconReport], None], period_s: float) -> None:
        self._state = state
        self._world = world
        self._hear = hear
        self._period_s = period_s
        self._seq = 0

    async def run(self) -> None:
        """Beats until cancelled."""
        while True:
            self._seq += 1
            hosts = self._world.look()
            for host_id, host in list(self._state.hosts.items()):
                if host.im_mad == "world" and hosts.reaches(host_id):
                    present = tuple((one.vm_id, "RUNNING") for one in hosts.domains if one.host_id == host_id)
                    boot = f"world-{host_id}"
                    self._hear(BeaconReport(host_id, boot, self._seq, time.time(), present, "up", SYSTEM, "world"))
            await asyncio.sleep(self._period_s)


def serve(config: Config, sockets: Inherited, log: Path, world: World, points: Points, fault: str) -> None:
    """Runs a controller in this process, which is a fresh fork; never returns."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(output, stream)
    code = 1
    try:
        logging.basicConfig(
            level=config.log_level, format="%(asctime)s %(levelname).1s %(name)s: %(message)s", force=True
        )
        asyncio.run(CrashingDaemon(config, sockets, world, points, fault).run())
        code = 0
    except BaseException:
        logging.exception("the controller ended")
        raise
    finally:
        os._exit(code)
