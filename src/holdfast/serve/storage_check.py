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
from holdfast.engine.storage_audit import Finding, FindingKind, Ledger, StorageReport, Unseen, agreed, is_in_files
from holdfast.engine.storage_looks import FRONTEND, Found, Looks, Place, is_seen_by_all
from holdfast.model.enums import DatastoreType
from holdfast.model.errors import HoldfastError
from holdfast.model.host import Host
from holdfast.model.storage import Datastore

LIMIT_S = 20.0
AT_ONCE = 32

_COMPARED = (FindingKind.STRAY, FindingKind.REMNANT)
"""What is found by looking at another place as well."""

HostInventory = Callable[[str, str, float], Awaitable[Sequence[Entry]]]
"""What a directory on a host holds, within a limit in seconds; raises HoldfastError."""


class StorageCheck:
    """The check; ``on_host`` looks at directories on hosts, None when nothing reaches them.

    ``frontend`` is the name under which the controller's own machine is a host, if it is one.
    """

    def __init__(
        self,
        state: State,
        on_host: HostInventory | None = None,
        limit_s: float = LIMIT_S,
        frontend: str = FRONTEND,
    ) -> None:
        self._frontend = frontend
        self._state = state
        self._on_host = on_host
        self._limit_s = limit_s
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def report(self) -> StorageReport:
        """Looks now."""
        ledger = self._ledger()
        places, unseen = self._places(ledger)
        found, failed = await self._audit(places, ledger)
        elsewhere = any(finding.vm_id >= 0 and finding.kind in _COMPARED for finding in found)
        suspects = places if elsewhere else {finding.place for finding in found}
        again, failed_again = await self._audit(suspects, self._ledger())
        findings = sorted(agreed(found, again), key=_order)
        trouble = sorted((*unseen, *failed, *failed_again), key=lambda each: (each.place.ds_id, each.place.host))
        seen = len(places) - len(failed)
        return StorageReport(tuple(findings), tuple(trouble), seen, tuple(sorted(ledger.busy_vms)))

    def _ledger(self) -> Ledger:
        return Ledger(self._state, self._frontend)

    async def _audit(self, places: Iterable[Place], before: Ledger) -> tuple[list[Finding], list[Unseen]]:
        looks = await asyncio.gather(*(self._look(place) for place in places))
        seen = [(place, entries) for place, entries in looks if not isinstance(entries, Unseen)]
        findings = await asyncio.to_thread(_compare, seen, before, self._ledger())
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
        mine = self._frontend
        return [host for host in self._state.hosts.values() if host.vm_mad != "dummy" and host.name != mine]


def _found(path: object, size: object, is_directory: object, is_broken: object, inode: object) -> Found:
    return Found(str(path), int(str(size)), bool(is_directory), bool(is_broken), int(str(inode)))


def _compare(seen: Sequence[tuple[Place, Sequence[Found]]], before: Ledger, after: Ledger) -> list[Finding]:
    """Takes long with many VMs, so it is done in a thread; all that it reads never changes."""
    looks, findings = Looks(seen), list[Finding]()
    for place, entries in seen:
        findings += agreed(before.audit(place, entries, looks), after.audit(place, entries, looks))
    return findings


def _order(finding: Finding) -> tuple[str, int, str, str]:
    return finding.kind.value, finding.place.ds_id, finding.place.host, finding.path
