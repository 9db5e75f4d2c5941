"""Looks at the files that the CONTEXT of a new VM names, before the VM is created: later its CONTEXT cannot be changed.

Only FILES, paths of this machine; those of file datastores are checked where they are registered.  Every start looks
again, for a file may go or grow.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from holdfast.drivers import expendable
from holdfast.drivers.tm.context import insist_on_readable
from holdfast.drivers.tm.lines import TransferError
from holdfast.model.context import ContextFile, context_files
from holdfast.model.errors import AllocateError, TemplateError
from holdfast.model.template import Section
from holdfast.model.template_text import parse_any

_LIMIT_S = 5.0


class ContextLook:
    """``own`` is where the controller has its datastores, ``protected`` are directories that nothing is read from."""

    def __init__(self, own: Path, protected: Sequence[str | Path]) -> None:
        self._own = own
        self._protected = [Path(directory) for directory in protected]

    async def insist(self, text: str) -> None:
        """Raises AllocateError when a file of the template is missing, no file, forbidden or too large.

        What the template says wrong otherwise, and storage that does not answer in time, is for others to tell.
        """
        try:
            files = [file for file in _named(text) if not Path(file.path).is_relative_to(self._own)]
        except TemplateError:
            return
        if not files:
            return
        try:
            await expendable.call(
                lambda: insist_on_readable(files, self._protected), _LIMIT_S, "looking at the files of a CONTEXT"
            )
        except expendable.Overdue:
            return
        except TransferError as error:
            raise AllocateError("virtual machine", f"CONTEXT/FILES: {error.message}.") from None


def _named(text: str) -> list[ContextFile]:
    files = parse_any(text).section("CONTEXT").get("FILES", "")
    return context_files(Section({"FILES": files})) if files else []
