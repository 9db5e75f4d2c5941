"""Snapshots as ``onevm`` shows them: those of a whole VM, and those of its disks, one row each.

The server tells disk snapshots disk by disk; here each carries the id of its disk as DISK_ID.
"""

from __future__ import annotations

from copy import deepcopy
from xml.etree.ElementTree import Element, SubElement

from holdfast.cli.table import Column, Table
from holdfast.cli.units import memory_text, time_text
from holdfast.cli.xmltree import number_of, text_of

_KB_PER_MB = 1024

SNAPSHOT_TABLE = Table(
    columns=(
        Column("ID", 4, lambda snapshot, view: text_of(snapshot, "SNAPSHOT_ID"), "identifier"),
        Column("TIME", 12, lambda snapshot, view: time_text(number_of(snapshot, "TIME"), False), "when it was taken"),
        Column("NAME", 46, lambda snapshot, view: text_of(snapshot, "NAME"), "name", left=True),
        Column(
            "HYPERVISOR_ID",
            15,
            lambda snapshot, view: text_of(snapshot, "HYPERVISOR_ID"),
            "what the hypervisor calls it",
            left=True,
        ),
    ),
    default=("ID", "TIME", "NAME", "HYPERVISOR_ID"),
)

DISK_SNAPSHOT_TABLE = Table(
    columns=(
        Column(
            "AC",
            2,
            lambda snapshot, view: "=>" if text_of(snapshot, "ACTIVE") == "YES" else "",
            "=> where the disk is based on it now",
            left=True,
        ),
        Column("ID", 3, lambda snapshot, view: text_of(snapshot, "ID"), "identifier"),
        Column("DISK", 4, lambda snapshot, view: text_of(snapshot, "DISK_ID"), "disk"),
        Column("PARENT", 6, lambda snapshot, view: text_of(snapshot, "PARENT"), "snapshot that it is based on"),
        Column("CHILDREN", 10, lambda snapshot, view: text_of(snapshot, "CHILDREN"), "snapshots based on it"),
        Column("DATE", 15, lambda snapshot, view: time_text(number_of(snapshot, "DATE")), "when it was taken"),
        Column(
            "SIZE",
            12,
            lambda snapshot, view: memory_text(number_of(snapshot, "SIZE") * _KB_PER_MB, raw=view.kilobytes),
            "size of the disk",
            left=True,
        ),
        Column("NAME", 32, lambda snapshot, view: text_of(snapshot, "NAME"), "name", left=True),
    ),
    default=("AC", "ID", "DISK", "PARENT", "DATE", "SIZE", "NAME"),
)


def system_snapshots(vm: Element) -> list[Element]:
    """The snapshots of the whole VM."""
    return vm.findall("TEMPLATE/SNAPSHOT")


def disk_snapshots(vm: Element) -> list[Element]:
    """The snapshots of all disks, each with its DISK_ID."""
    return [
        _with_disk(snapshot, text_of(tree, "DISK_ID"))
        for tree in vm.findall("SNAPSHOTS")
        for snapshot in tree.findall("SNAPSHOT")
    ]


def _with_disk(snapshot: Element, disk_id: str) -> Element:
    completed = deepcopy(snapshot)
    SubElement(completed, "DISK_ID").text = disk_id
    return completed
