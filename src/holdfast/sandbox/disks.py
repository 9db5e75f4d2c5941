"""Finds a guest's disk and console among a rack's files, with no help from any controller."""

from pathlib import Path

from holdfast.sandbox.errors import RackError
from holdfast.sandbox.layout import Layout
from holdfast.sandbox.records import name_on_disk


def find_disk(directory: Path, vm: str) -> tuple[Path, list[Path]]:
    """The first disk of the VM with this ID or name, and its consoles; the rack may be up or down."""
    layout = Layout(directory)
    places = [layout.datastores, *(layout.host_datastores(place) for place in layout.config().places)]
    disks = [disk for place in places for disk in sorted(place.glob("[0-9]*/[0-9]*/disk.0")) if disk.is_file()]
    names = {disk: name_on_disk(disk) for disk in disks}
    found = [disk for disk, name in names.items() if name and vm in (name, disk.parent.name)]
    if not found:
        known = ", ".join(f"{name} (ID {disk.parent.name})" for disk, name in names.items() if name) or "none yet"
        raise RackError(f"no guest {vm!r} has written to a disk in {layout.datastores}; guests that have: {known}")
    disk = max(found, key=lambda path: path.stat().st_mtime)
    return disk, [layout.consoles / f"{names[disk]}.log"]
