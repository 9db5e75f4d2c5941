"""Puts the files that disks really are into a description, in place of the links that lead there.

The link ``disk.0`` of a disk with layers (:mod:`holdfast.drivers.tm.layers`) moves when a snapshot is taken.  A domain
that knew its disk by the link would take the newest layer for the one it began with.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lxml import etree

from holdfast.drivers.vmm.elements import document


def qcow2_disks(text: str) -> list[Path]:
    """The disks of a description that have layers, or can get them."""
    disks = document(text, "the deployment file").iterfind("devices/disk[driver][source]")
    files = [disk.find("source").get("file", "") for disk in disks if disk.find("driver").get("type") == "qcow2"]
    return [Path(file) for file in files if Path(file).name.startswith("disk.")]


def with_layers(text: str, layers: Mapping[str, str]) -> str:
    """The description with the active layer of every disk that has layers; the others stay as they are."""
    if not layers:
        return text
    root = document(text, "the deployment file")
    for source in root.iterfind("devices/disk/source[@file]"):
        source.set("file", layers.get(source.get("file"), source.get("file")))
    return f"{etree.tostring(root, encoding='unicode')}\n"
