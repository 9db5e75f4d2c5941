"""How a VM's directory goes from one datastore to another that the same machine sees: by a rename, else by a copy.

Blocking.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.drivers.tm import home, layout
from holdfast.drivers.tm.layout import Insist
from holdfast.drivers.tm.lines import TransferError
from holdfast.drivers.tm.paths import DatastoreArea
from holdfast.model.vm import Vm

_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class Move:
    """A directory on its way; ``text`` tells this move from others, ``disks`` must be in the directory."""

    origin: Path
    target: Path
    text: str
    disks: Sequence[str]
    vm_id: int

    @classmethod
    def of(cls, vm: Vm, origin: Path, target: Path) -> Move:
        """The move that the VM's newest history record is about."""
        return cls(origin, target, home.move_of(vm, origin, target), home.disks_of(vm), vm.oid)

    def confine(self, area: DatastoreArea) -> None:
        """Refuses a move out of the datastores."""
        area.confine(self.origin.parent)
        area.confine(self.target.parent)

    def is_done(self) -> bool:
        """What is at the target has arrived by this move, and nothing is left at the origin."""
        return home.is_marked(self.target, self.text) and layout.is_gone(self.origin)

    def needs_copy(self, insist: Insist) -> bool:
        """Takes the quick ways: nothing left to move, or a rename; true when it must be copied.

        While the origin exists and is whole, the target may be a remnant.
        """
        if not layout.is_there(self.origin) and self._has_arrived():
            layout.drop_set_aside(self.origin)
            layout.drop_set_aside(self.target)
            return False
        self._insist_on_origin()
        layout.make_directory(self.target.parent)
        has_room = self._marked()
        insist()
        layout.discard(self.target, insist)
        layout.drop_set_aside(self.target)
        return not (has_room and self._renamed(insist))

    def mark(self, draft: Path) -> None:
        """A copy that is complete arrives by this move."""
        home.mark(draft, self.text)

    def _marked(self) -> bool:
        """Marks the origin; false where there is no room for it, which is why files are moved away: then by a copy."""
        try:
            home.mark(self.origin, self.text)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            layout.remove(self.origin / home.MARK)
            return False
        return True

    def finish_copy(self, insist: Insist) -> None:
        """After a complete copy: the origin goes, in one step."""
        home.insist_on_one(self.origin)
        layout.set_aside(self.origin, insist)
        layout.drop_set_aside(self.origin)

    def _has_arrived(self) -> bool:
        if not home.is_marked(self.target, self.text):
            return False
        aside = layout.aside_of(self.origin)
        if layout.is_there(aside) and not aside.is_symlink():
            home.insist_on_whole(self.target, aside, home.lacking(self.target, self.disks))
        return True

    def _insist_on_origin(self) -> None:
        """It is there, whole, and no other one."""
        home.take_back(self.origin)
        home.insist_on_one(self.origin)
        occupied = layout.is_there(self.target) or home.is_set_aside(self.target)
        if not layout.is_there(self.origin):
            if layout.is_there(self.target):
                raise home.leftover(self.origin, self.target, self.vm_id)
            raise TransferError(f"neither {self.origin} nor {self.target} exists")
        if occupied:
            home.insist_on_whole(self.origin, self.target, home.lacking(self.origin, self.disks))

    def _renamed(self, insist: Insist) -> bool:
        """Whether it could be renamed; until that is certain, a link leads from the old name to the new place."""
        layout.aside_of(self.origin).symlink_to(self.target)
        layout.sync(self.origin.parent)
        try:
            insist()
            self.origin.rename(self.target)
        except BaseException as error:
            if layout.is_there(self.origin):
                layout.drop_set_aside(self.origin)
            if isinstance(error, OSError) and error.errno == errno.EXDEV:
                return False
            raise
        layout.sync(self.target.parent)
        layout.sync(self.origin.parent)
        layout.drop_set_aside(self.origin)
        return True
