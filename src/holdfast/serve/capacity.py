"""Looks how full the datastores are: each once in a period, and soon after something was written to or removed from it.

A look is one call in an expendable thread with a limit.  A datastore that hangs has at most one such thread; it is not
looked at again before that has returned, and its own record says so.  Nothing else waits for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Protocol

from holdfast.drivers import expendable
from holdfast.drivers.capacity import Figures, measure
from holdfast.engine.engine import Batch
from holdfast.engine.events import DatastoreMeasured, Event
from holdfast.engine.state import State
from holdfast.model.effect import Effect
from holdfast.model.enums import DatastoreType
from holdfast.model.errors import HoldfastError
from holdfast.model.host import Host
from holdfast.model.storage import Datastore

LIMIT_S = 10.0
SOON_S = 2.0
"""What was written is looked at so much later, and what is written meanwhile with it."""
HOSTS_AT_ONCE = 8
_ON_OUR_MOUNT = ("shared", "qcow2")
_ON_HOSTS = ("ssh", "local")
_FILES = "fs"

HostLook = Callable[[str, str, float], Awaitable[Figures]]
"""Measures a directory on a host, within a limit in seconds; raises HoldfastError."""


class Scripts(Protocol):
    """Measures datastores that are not files on our mounts."""

    def measures(self, datastore: Datastore) -> bool:
        """Whether it does."""

    async def look(self, datastore: Datastore, limit_s: float) -> Figures:
        """The figures; raises HoldfastError."""


class DatastoreMonitor:
    """Reports each datastore's figures; ``period_s`` between two looks at one."""

    def __init__(
        self,
        state: State,
        report: Callable[[Event], None],
        period_s: float,
        limit_s: float = LIMIT_S,
        soon_s: float = SOON_S,
        look: Callable[[Path, bool], Figures] = measure,
    ) -> None:
        self.on_host: HostLook | None = None
        """Looks at the hosts' own storage; None when nothing reaches it."""
        self._turns = asyncio.Semaphore(HOSTS_AT_ONCE)
        self._state = state
        self._report = report
        self._period_s = period_s
        self._limit_s = limit_s
        self._soon_s = soon_s
        self._look = look
        self._scripts: Scripts | None = None
        self._due: dict[int, float] = {}
        self._all_hosts_due: dict[int, float] = {}
        self._hosts_due: dict[int, set[int]] = {}
        """Hosts where something was written since the datastore was looked at."""
        self._met: set[int] = set()
        """Hosts in touch, whose own storage was looked at or is about to be."""
        self._looks: dict[int, asyncio.Future[Figures]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()

    def ask(self, scripts: Scripts) -> None:
        """The datastores that ``scripts`` measures are left to it."""
        self._scripts = scripts

    def take(self, batch: Batch) -> None:
        """A datastore is new or has no figures any more, or a transfer has ended: it is looked at soon.

        So is what a host has of its own when it is heard for the first time, or again: VMs are placed there from then.
        """
        for stored in batch.changes.puts:
            if isinstance(stored, Datastore) and (stored.oid not in self._due or not stored.total_mb):
                self._plan(stored.oid, 0.0)
            elif isinstance(stored, Host):
                self._meet(stored)
            elif isinstance(stored, Effect) and not stored.state.is_open:
                for ds_id, hid in self._written_by(stored):
                    self._hosts_due.setdefault(ds_id, set()).add(hid)
                    self._plan(ds_id, self._soon_s)
        for kind, oid in batch.changes.deletes:
            if kind is Datastore:
                self._due.pop(oid, None)

    def _meet(self, host: Host) -> None:
        if not host.in_touch:
            self._met.discard(host.oid)
        elif host.oid not in self._met:
            self._met.add(host.oid)
            for datastore in self._state.datastores.values():
                if has_files_on_hosts(datastore):
                    self._hosts_due.setdefault(datastore.oid, set()).add(host.oid)
                    self._plan(datastore.oid, 0.0)

    def _written_by(self, effect: Effect) -> tuple[tuple[int, int], ...]:
        """Datastores, with the host that may have files of its own there."""
        if effect.kind.value.startswith("image."):
            return ((int(effect.args.get("DATASTORE_ID", "-1")), -1),)
        if not effect.kind.value.startswith("tm."):
            return ()
        vm = self._state.vms.get(effect.subject)
        return tuple({(record.ds_id, record.hid) for record in vm.history[-2:]}) if vm else ()

    def _plan(self, ds_id: int, delay_s: float) -> None:
        at = time.monotonic() + delay_s
        if ds_id in self._state.datastores and at < self._due.get(ds_id, at + 1):
            self._due[ds_id] = at
            self._wake.set()

    async def run(self) -> None:
        """Looks until cancelled."""
        self._met = {host.oid for host in self._state.hosts.values() if host.in_touch}
        for ds_id in self._state.datastores:
            self._plan(ds_id, 0.0)
        try:
            while True:
                self._begin_what_is_due()
                self._wake.clear()
                try:
                    async with asyncio.timeout_at(self._next_at()):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        finally:
            for task in self._tasks:
                task.cancel()

    def _next_at(self) -> float | None:
        """On the event loop's clock; None when there is no datastore."""
        now = time.monotonic()
        first = min(self._due.values(), default=None)
        return None if first is None else asyncio.get_running_loop().time() + max(0.0, first - now)

    def _begin_what_is_due(self) -> None:
        now = time.monotonic()
        for ds_id, at in list(self._due.items()):
            if at <= now:
                self._due[ds_id] = now + self._period_s
                task = asyncio.create_task(
                    self._measure(ds_id, self._hosts_to_ask(ds_id, now)), name=f"capacity of datastore {ds_id}"
                )
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def _hosts_to_ask(self, ds_id: int, now: float) -> Iterable[int]:
        """All of them once in a period, else those where something was written."""
        written = self._hosts_due.pop(ds_id, set())
        if now < self._all_hosts_due.get(ds_id, 0.0):
            return written
        self._all_hosts_due[ds_id] = now + self._period_s
        return tuple(self._state.hosts)

    async def _measure(self, ds_id: int, hids: Iterable[int]) -> None:
        datastore = self._state.datastores.get(ds_id)
        if datastore is None:
            return
        if self._scripts and self._scripts.measures(datastore):
            self._report(await _asked(self._scripts, datastore, self._limit_s))
            return
        if has_files_on_hosts(datastore) and self.on_host is not None:
            await asyncio.gather(*(self._measure_host(self.on_host, hid, datastore) for hid in hids))
        if not is_on_our_mount(datastore):
            return
        if ds_id not in self._looks or self._looks[ds_id].done():
            path, alone = Path(datastore.base_path), bool(datastore.template.get("LIMIT_MB"))
            self._looks[ds_id] = expendable.start(lambda: self._look(path, alone), f"measuring {path}")
        look = self._looks[ds_id]
        await asyncio.wait({look}, timeout=self._limit_s)
        self._report(_event(ds_id, datastore.base_path, look, self._limit_s))

    async def _measure_host(self, on_host: HostLook, host_id: int, datastore: Datastore) -> None:
        """A host that is lost is not asked; one that does not answer says so in its own record."""
        async with self._turns:
            host = self._state.hosts.get(host_id)
            if host is None or not host.in_touch or host.vm_mad == "dummy":
                return
            try:
                found = await on_host(host.name, datastore.base_path, self._limit_s)
            except HoldfastError as error:
                self._report(DatastoreMeasured(datastore.oid, error=error.message, host_id=host_id))
                return
        figures = (found.total_mb, found.free_mb, found.used_mb)
        self._report(DatastoreMeasured(datastore.oid, *figures, host_id=host_id))


async def _asked(scripts: Scripts, datastore: Datastore, limit_s: float) -> DatastoreMeasured:
    try:
        found = await scripts.look(datastore, limit_s)
    except HoldfastError as error:
        return DatastoreMeasured(datastore.oid, error=error.message)
    return DatastoreMeasured(datastore.oid, found.total_mb, found.free_mb, found.used_mb)


def _event(ds_id: int, path: str, look: asyncio.Future[Figures], limit_s: float) -> DatastoreMeasured:
    if not look.done():
        return DatastoreMeasured(ds_id, error=f"{path} did not answer within {limit_s:g} s: is its storage reachable?")
    error = look.exception()
    if error is not None:
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return DatastoreMeasured(ds_id, error=f"{path} cannot be measured: {said}")
    found = look.result()
    return DatastoreMeasured(ds_id, found.total_mb, found.free_mb, found.used_mb)


def has_files_on_hosts(datastore: Datastore) -> bool:
    """Whether each host has files of its own there, which a hand can reach."""
    return datastore.type is DatastoreType.SYSTEM_DS and datastore.tm_mad in _ON_HOSTS


def is_on_our_mount(datastore: Datastore) -> bool:
    """Whether its files are on a file system that the controller sees: not those on the hosts, or in other systems."""
    if datastore.type is DatastoreType.SYSTEM_DS:
        return datastore.tm_mad in _ON_OUR_MOUNT and datastore.shared
    return datastore.ds_mad == _FILES
