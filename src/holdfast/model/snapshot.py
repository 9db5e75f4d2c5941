"""Snapshots of a disk, as a tree (OpenNebula's SNAPSHOTS element, one for each disk that has any)."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class DiskSnapshot:
    """One snapshot of a disk; ``parent`` is -1 at the root, ``date`` in epoch seconds."""

    oid: int
    name: str
    date: int
    parent: int = -1
    size_mb: int = 0
    active: bool = False
    """The disk is based on it now."""


@dataclass(frozen=True, slots=True)
class DiskSnapshots:
    """The snapshots of one disk; ``current_base`` is the newest one beneath what the guest writes, -1 without any."""

    disk_id: int
    snapshots: tuple[DiskSnapshot, ...] = ()
    next_oid: int = 0
    current_base: int = -1
    allow_orphans: str = "NO"

    def find(self, oid: int) -> DiskSnapshot | None:
        """The snapshot with this id."""
        return next((snapshot for snapshot in self.snapshots if snapshot.oid == oid), None)

    def children_of(self, oid: int) -> tuple[int, ...]:
        """The snapshots based directly on this one."""
        return tuple(snapshot.oid for snapshot in self.snapshots if snapshot.parent == oid)

    def with_active(self, oid: int) -> DiskSnapshots:
        """The same tree, the disk being based on this snapshot (-1: on none)."""
        marked = tuple(replace(snapshot, active=snapshot.oid == oid) for snapshot in self.snapshots)
        return replace(self, snapshots=marked, current_base=oid)
