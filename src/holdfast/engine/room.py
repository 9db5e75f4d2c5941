"""Hosts that may take VMs in falling order of free memory, so that placement need not look at all of them.

The state keeps one in step with the committed hosts: a host that changes costs a search and a shift within a list.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Container, Iterable, Iterator
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

    def with_changed(self, hosts: Iterable[Host], changed: Container[int]) -> Iterator[Room]:
        """The order as it is with these newer versions of the ``changed`` hosts; what is not taken costs nothing."""
        untouched = (entry for entry in self._entries if entry[1] not in changed)
        for negative_mem, hid, cpu in merge(RoomOrder(hosts)._entries, untouched):
            yield Room(hid, cpu, -negative_mem)


def _entry(host: Host) -> _Entry:
    return -host.free_mem, host.oid, host.free_cpu
