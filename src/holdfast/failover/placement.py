"""Placement: which host takes which VM, by free capacity.

Greedy worst fit: the VM that needs most memory first, each on the host that keeps most memory free, so that the load
spreads and restarts run in parallel on as many hosts as possible.  V VMs on H hosts cost O((V + H) log H) while
capacity suffices.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
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


def place(requests: Iterable[Request], rooms: Sequence[Room]) -> Placement:
    """A host for every request that fits somewhere."""
    heap = [(-room.free_mem, room.hid, room.free_cpu) for room in rooms]
    heapq.heapify(heap)
    chosen: dict[int, int] = {}
    refused: dict[int, str] = {}
    for request in sorted(requests, key=lambda r: (-r.priority, -r.mem, -r.cpu, r.vm_id)):
        hid = _take(heap, request)
        if hid is None:
            refused[request.vm_id] = _why(request, rooms, heap)
        else:
            chosen[request.vm_id] = hid
    return Placement(chosen, refused)


def _take(heap: list[tuple[int, int, int]], request: Request) -> int | None:
    """Pops hosts until one fits, and puts all back (the chosen one with less room)."""
    aside: list[tuple[int, int, int]] = []
    found: int | None = None
    while heap and found is None:
        negative_mem, hid, cpu = heapq.heappop(heap)
        if -negative_mem < request.mem:
            aside.append((negative_mem, hid, cpu))
            break
        if hid in request.excluded or cpu < request.cpu:
            aside.append((negative_mem, hid, cpu))
        else:
            found = hid
            heapq.heappush(heap, (negative_mem + request.mem, hid, cpu - request.cpu))
    for entry in aside:
        heapq.heappush(heap, entry)
    return found


def _why(request: Request, rooms: Sequence[Room], heap: list[tuple[int, int, int]]) -> str:
    if not rooms:
        return "No host can take VMs: none is in state MONITORED."
    usable = [(-mem, cpu) for mem, hid, cpu in heap if hid not in request.excluded]
    if not usable:
        return "No other host can take VMs: all candidates were tried or are excluded."
    most_mem = max(mem for mem, _ in usable)
    most_cpu = max(cpu for _, cpu in usable)
    return (
        f"No host has enough free capacity: needed {request.mem // 1024} MB and {request.cpu / 100:g} CPU, the most "
        f"that is free on one host is {most_mem // 1024} MB and {most_cpu / 100:g} CPU. It starts when there is room."
    )
