"""Placement: which host takes which VM, by free capacity.

Greedy worst fit: the VM that needs most memory first, each on the host that keeps most memory free, so that the load
spreads and restarts run in parallel on as many hosts as possible.  The hosts come sorted, and while capacity suffices
only the first ones are looked at: V VMs cost O(V log V), however many hosts there are.  Room only shrinks on the way,
so a refusal also answers for every later VM that needs no less.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Request:
    """A VM that needs a place: CPU in percent of a core, memory in KiB, hosts that are out of the question."""

    vm_id: int
    cpu: int
    mem: int
    excluded: frozenset[int] = frozenset()
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Room:
    """A host that may take VMs, with what it has free."""

    hid: int
    free_cpu: int
    free_mem: int


@dataclass(frozen=True, slots=True)
class Placement:
    """Where each VM goes, and why the others go nowhere."""

    chosen: dict[int, int]
    refused: dict[int, str]


def place(requests: Iterable[Request], rooms: Iterable[Room]) -> Placement:
    """A host for every request that fits somewhere; ``rooms`` must come in falling order of free memory."""
    free = _Free(rooms)
    chosen: dict[int, int] = {}
    refused: dict[int, str] = {}
    for request in sorted(requests, key=lambda r: (-r.priority, -r.mem, -r.cpu, r.vm_id)):
        hid = free.take(request)
        if hid is None:
            refused[request.vm_id] = free.why(request)
        else:
            chosen[request.vm_id] = hid
    return Placement(chosen, refused)


_Entry = tuple[int, int, int]
"""Negative free memory, host, free CPU: the smallest entry is the host with most memory."""


class _Free:
    """What is free on the hosts, less with every request that is granted."""

    def __init__(self, rooms: Iterable[Room]) -> None:
        self._coming = ((-room.free_mem, room.hid, room.free_cpu) for room in rooms)
        self._next: _Entry | None = next(self._coming, None)
        self._seen: list[_Entry] = []
        self._hosts: frozenset[int] = frozenset()
        """All hosts; known only after a first refusal."""
        self._hopeless: list[tuple[int, int, frozenset[int]]] = []
        """Memory, CPU and exclusions of requests that nobody can grant."""
        self._most: dict[frozenset[int], tuple[int, int]] = {}
        """The most free memory and CPU on one host, by exclusions; forgotten when something is granted."""

    def take(self, request: Request) -> int | None:
        """Grants the request on the host with most memory among those that fit, or answers None."""
        if self._is_hopeless(request):
            return None
        unfit: list[_Entry] = []
        found: int | None = None
        while found is None and (entry := self._roomiest()) is not None:
            negative_mem, hid, cpu = entry
            if -negative_mem < request.mem:
                unfit.append(entry)
                break
            if hid in request.excluded or cpu < request.cpu:
                unfit.append(entry)
            else:
                found = hid
                heapq.heappush(self._seen, (negative_mem + request.mem, hid, cpu - request.cpu))
        for entry in unfit:
            heapq.heappush(self._seen, entry)
        if found is None:
            self._note_hopeless(request)
        else:
            self._most.clear()
        return found

    def _roomiest(self) -> _Entry | None:
        if self._next is None or (self._seen and self._seen[0] < self._next):
            return heapq.heappop(self._seen) if self._seen else None
        entry, self._next = self._next, next(self._coming, None)
        return entry

    def _is_hopeless(self, request: Request) -> bool:
        return any(
            mem <= request.mem and cpu <= request.cpu and excluded <= request.excluded
            for mem, cpu, excluded in self._hopeless
        )

    def _note_hopeless(self, request: Request) -> None:
        self._see_all()
        mem, cpu, excluded = request.mem, request.cpu, request.excluded & self._hosts
        harder = (
            known for known in self._hopeless if not (mem <= known[0] and cpu <= known[1] and excluded <= known[2])
        )
        self._hopeless = [*harder, (mem, cpu, excluded)]

    def _see_all(self) -> None:
        if self._next is not None:
            self._seen.extend((self._next, *self._coming))
            self._next = None
            heapq.heapify(self._seen)
        if len(self._hosts) != len(self._seen):
            self._hosts = frozenset(hid for _, hid, _ in self._seen)

    def why(self, request: Request) -> str:
        """Why the request was refused, for people."""
        if not self._hosts:
            return "No host can take VMs: none is in state MONITORED."
        excluded = request.excluded & self._hosts
        if excluded == self._hosts:
            return "No other host can take VMs: all candidates were tried or are excluded."
        if excluded not in self._most:
            usable = [(-mem, cpu) for mem, hid, cpu in self._seen if hid not in excluded]
            self._most[excluded] = max(mem for mem, _ in usable), max(cpu for _, cpu in usable)
        most_mem, most_cpu = self._most[excluded]
        return (
            f"No host has enough free capacity: needed {request.mem // 1024} MB and {request.cpu / 100:g} CPU, "
            f"the most that is free on one host is {most_mem // 1024} MB and {most_cpu / 100:g} CPU. "
            f"It starts when there is room."
        )
