"""Hosts that may take VMs in falling order of free memory, so that placement need not look at all of them.

The state keeps one in step with the committed hosts, and a batch one of its own as it takes in event after event: a
host that changes costs a search and a shift within a list.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping
from heapq import merge

from holdfast.failover.placement import Room
from holdfast.model.host import Host

_Entry = tuple[int, int, int]


class RoomOrder:
    """Usable hosts, most free memory first."""

    def __init__(self, hosts: Iterable[Host] = ()) -> None:
        self._entries = sorted(_entry(host) for host in hosts if host.usable)

    def follow(self, before: Host | None, after: Host | None) -> None:
        """A host has a new version, is new (``before`` is None) or is gone (``after`` is None)."""
        old = _entry(before) if before is not None and before.usable else None
        new = _entry(after) if after is not None and after.usable else None
        if old == new:
            return
        if old is not None:
            del self._entries[bisect_left(self._entries, old)]
        if new is not None:
            insort(self._entries, new)

    def copy(self) -> RoomOrder:
        """An order that goes its own way."""
        twin = RoomOrder()
        twin._entries = self._entries.copy()
        return twin

    def with_changed(self, versions: Mapping[int, Host | None]) -> Iterator[Room]:
        """The order with newer versions of some hosts (None: removed); what is not taken from it costs nothing."""
        changed = RoomOrder(host for host in versions.values() if host is not None)._entries
        untouched = (entry for entry in self._entries if entry[1] not in versions)
        for negative_mem, hid, cpu in merge(changed, untouched):
            yield Room(hid, cpu, -negative_mem)


def _entry(host: Host) -> _Entry:
    return -host.free_mem, host.oid, host.free_cpu
