"""Snapshots of a VM's disks as XML: one SNAPSHOTS element for each disk that has any.

Snapshots of the whole VM are SNAPSHOT vectors of its template and need no view of their own.
"""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.model.snapshot import DiskSnapshot, DiskSnapshots
from holdfast.model.template_xml import cdata


def of_disks(trees: Iterable[DiskSnapshots]) -> str:
    """The trees that hold a snapshot, in the order of the disks."""
    return "".join(_tree(tree) for tree in sorted(trees, key=lambda tree: tree.disk_id) if tree.snapshots)


def _tree(tree: DiskSnapshots) -> str:
    snapshots = "".join(_snapshot(snapshot, tree) for snapshot in tree.snapshots)
    return (
        f"<SNAPSHOTS>{_text('ALLOW_ORPHANS', tree.allow_orphans)}{_text('CURRENT_BASE', tree.current_base)}"
        f"{_text('DISK_ID', tree.disk_id)}{_text('NEXT_SNAPSHOT', tree.next_oid)}{snapshots}</SNAPSHOTS>"
    )


def _snapshot(snapshot: DiskSnapshot, tree: DiskSnapshots) -> str:
    active = _text("ACTIVE", "YES") if snapshot.active else ""
    children = ",".join(map(str, tree.children_of(snapshot.oid)))
    return (
        f"<SNAPSHOT>{active}{_text('CHILDREN', children) if children else ''}{_text('DATE', snapshot.date)}"
        f"{_text('ID', snapshot.oid)}{_text('NAME', snapshot.name)}{_text('PARENT', snapshot.parent)}"
        f"{_text('SIZE', snapshot.size_mb)}</SNAPSHOT>"
    )


def _text(name: str, value: str | int) -> str:
    return f"<{name}>{cdata(str(value))}</{name}>"
