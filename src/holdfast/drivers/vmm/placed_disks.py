"""Puts the files that disks really are into a description, in place of the links that lead there.

The link ``disk.0`` of a disk with layers (:mod:`holdfast.drivers.tm.layers`) moves when a snapshot is taken.  A domain
that knew its disk by the link would take the newest layer for the one it began with.  Blocking.
"""

from __future__ import annotations

from pathlib import Path

from lxml import etree

from holdfast.drivers.tm.layers import active_layer
from holdfast.drivers.vmm.elements import Element, document


def with_layers(text: str) -> str:
    """The description with every disk's active layer; disks without layers stay as they are."""
    root = document(text, "the deployment file")
    changed = [source for source in root.iterfind("devices/disk/source[@file]") if _place(source)]
    return f"{etree.tostring(root, encoding='unicode')}\n" if changed else text


def _place(source: Element) -> bool:
    path = Path(source.get("file"))
    layer = active_layer(path) if path.name.startswith("disk.") else None
    if layer is None:
        return False
    source.set("file", str(layer.path))
    return True
