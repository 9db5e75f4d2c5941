"""CONTEXT: makes a VM's CD-ROM anew, before each start and each restore.

``context.sh`` is kept with the controller's other files about the VM.  A built-in driver gets the finished image and
puts it where the VM's disks are; a driver of the site makes its own, from OpenNebula's line.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from holdfast.drivers.tm.context import SCRIPT, context_image, context_line, read_files
from holdfast.drivers.tm.lines import Places
from holdfast.drivers.tm.paths import DatastoreArea
from holdfast.drivers.tm.registry import Puts, Registry
from holdfast.drivers.tm.tools import Clockwork
from holdfast.drivers.vm_files import write_vm_file
from holdfast.model.context import ContextFile, context_files, context_script
from holdfast.model.vm import Vm


class ContextStep:
    """Makes CD-ROMs; ``protected`` are directories that no file of a user is read from."""

    def __init__(
        self, area: DatastoreArea, places: Places, vms_path: Path, drivers: Registry, protected: Sequence[Path]
    ) -> None:
        self._area, self._places, self._vms_path, self._drivers = area, places, vms_path, drivers
        self._protected = protected

    async def carry_out(self, vm: Vm, clockwork: Clockwork) -> None:
        """Raises TransferError, TemplateError, OSError; does nothing for a VM without CONTEXT."""
        section = vm.template.section("CONTEXT")
        if not section.get("DISK_ID"):
            return
        text, files = context_script(vm), context_files(section)
        script = await write_vm_file(self._vms_path, vm.oid, SCRIPT, text, clockwork.left_s)
        line = context_line(vm, self._places, script, files)
        driver = self._drivers.of(line.driver)
        # What must not be read is refused here whoever makes the image: a script of the site would read anything.
        contents = await clockwork.touch(lambda: self._read(text, files), "reading the files of the CONTEXT")
        if isinstance(driver, Puts):
            image = await clockwork.touch(lambda: context_image(contents), "making the CONTEXT image")
            await driver.put(line.arguments[-3], image, vm, clockwork)
        else:
            await driver.perform(line, vm, clockwork)

    def _read(self, text: str, files: Sequence[ContextFile]) -> dict[str, bytes]:
        """A file of a file datastore is read where it is registered, any other where nothing protects it."""
        ours = {file.path for file in files if Path(file.path).is_relative_to(self._area.root)}
        for path in ours:
            self._area.confine(self._area.image_path(path))
        return read_files(text, files, self._protected, ours)
