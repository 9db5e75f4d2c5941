"""Looks through all datastores, on the controller's mounts and on the hosts, for orphans and missing files.

Each directory is looked at within a limit, all at once; one that does not answer in time is named and holds nobody up.
What the first look finds is looked for once more: only what is found twice is reported.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path

from holdfast.drivers import expendable
from holdfast.drivers.inventory import Entry, inventory
from holdfast.engine.state import State
from holdfast.engine.storage_audit import (
    FRONTEND,
    Finding,
    Found,
    Ledger,
    Place,
    StorageReport,
    Unseen,
    agreed,
    is_in_files,
    is_seen_by_all,
)
from holdfast.model.enums import DatastoreType
from holdfast.model.errors import HoldfastError
from holdfast.model.host import Host
from holdfast.model.storage import Datastore

LIMIT_S = 20.0
AT_ONCE = 32

HostInventory = Callable[[str, str, float], Awaitable[Sequence[Entry]]]
"""What a directory on a host holds, within a limit in seconds; raises HoldfastError."""


class StorageCheck:
    """The check; ``on_host`` looks at directories on hosts, None when nothing reaches them."""

    def __init__(self, state: State, on_host: HostInventory | None = None, limit_s: float = LIMIT_S) -> None:
        self._state = state
        self._on_host = on_host
        self._limit_s = limit_s
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def report(self) -> StorageReport:
        """Looks now."""
        ledger = Ledger(self._state)
        places, unseen = self._places(ledger)
        found, failed = await self._audit(places, ledger)
        suspects = {finding.place for finding in found}
        again, failed_again = await self._audit(suspects, Ledger(self._state))
        findings = sorted(agreed(found, again), key=_order)
        trouble = sorted((*unseen, *failed, *failed_again), key=lambda each: (each.place.ds_id, each.place.host))
        seen = len(places) - len(failed)
        return StorageReport(tuple(findings), tuple(trouble), seen, tuple(sorted(ledger.busy_vms)))

    async def _audit(self, places: Iterable[Place], before: Ledger) -> tuple[list[Finding], list[Unseen]]:
        looks = await asyncio.gather(*(self._look(place) for place in places))
        seen = [(place, entries) for place, entries in looks if not isinstance(entries, Unseen)]
        findings = await asyncio.to_thread(_compare, seen, before, Ledger(self._state))
        return findings, [entries for _, entries in looks if isinstance(entries, Unseen)]

    async def _look(self, place: Place) -> tuple[Place, list[Found] | Unseen]:
        async with self._turns:
            try:
                entries = await self._entries(place)
            except HoldfastError as error:
                return place, Unseen(place, error.message)
            except OSError as error:
                return place, Unseen(place, error.strerror or str(error))
        return place, [_found(*entry) for entry in entries]

    async def _entries(self, place: Place) -> Sequence[Entry]:
        if place.host == FRONTEND:
            directory = Path(place.path)
            return await expendable.call(lambda: inventory(directory), self._limit_s, f"looking through {directory}")
        assert self._on_host is not None, "hosts are places only when they can be reached"
        return await self._on_host(place.host, place.path, self._limit_s)

    def _places(self, ledger: Ledger) -> tuple[list[Place], list[Unseen]]:
        """Where to look, and where that cannot be done at all."""
        places: list[Place] = []
        unseen: list[Unseen] = []
        for datastore in ledger.datastores.values():
            here = Place(datastore.oid, FRONTEND, datastore.base_path)
            if is_in_files(datastore):
                places.append(here)
                for host in self._hosts_of(datastore):
                    there = Place(datastore.oid, host.name, datastore.base_path)
                    if self._on_host is None:
                        unseen.append(Unseen(there, "nothing reaches the files of this host"))
                    elif host.error_since:
                        unseen.append(Unseen(there, "the host is lost"))
                    else:
                        places.append(there)
            elif datastore.tm_mad != "dummy":
                unseen.append(Unseen(here, f"only its driver ({datastore.tm_mad}) knows where its files are"))
        return places, unseen

    def _hosts_of(self, datastore: Datastore) -> Iterable[Host]:
        """The hosts that have files of their own there."""
        if datastore.type is not DatastoreType.SYSTEM_DS or is_seen_by_all(datastore):
            return ()
        return [host for host in self._state.hosts.values() if host.vm_mad != "dummy"]


def _found(path: object, size: object, is_directory: object, is_broken: object) -> Found:
    return Found(str(path), int(str(size)), bool(is_directory), bool(is_broken))


def _compare(seen: Iterable[tuple[Place, Sequence[Found]]], before: Ledger, after: Ledger) -> list[Finding]:
    """Takes long with many VMs, so it is done in a thread; all that it reads never changes."""
    findings: list[Finding] = []
    for place, entries in seen:
        findings += agreed(before.audit(place, entries), after.audit(place, entries))
    return findings


def _order(finding: Finding) -> tuple[str, int, str, str]:
    return finding.kind.value, finding.place.ds_id, finding.place.host, finding.path
