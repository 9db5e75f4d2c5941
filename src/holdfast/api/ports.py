"""What the API needs from the controller that it is the face of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from holdfast.drivers.tm.account import Progress
from holdfast.engine.commands import Command
from holdfast.engine.state import State
from holdfast.engine.storage_audit import StorageReport
from holdfast.model.user import Actor
from holdfast.model.vm import Vm


class Transfers(Protocol):
    """The transfer files of VMs, and what their lines say while they run (not stored, unlike what comes of them)."""

    async def lines_of(self, vm: Vm, file: str) -> tuple[str, ...]:
        """The lines of the VM's transfer file as it is now; raises ActionError."""

    def told_by(self, vm_id: int, record: int) -> Sequence[str] | None:
        """What the line with this record says or has said, None when that is not known any more."""

    def progress_of(self, vm_id: int) -> Progress | None:
        """How far the VM's transfer is, None when none runs."""


class Storage(Protocol):
    """The datastores' files."""

    async def report(self) -> StorageReport:
        """Looks through all of them for files that belong to nobody, and for missing ones; within its own limits."""


class Imports(Protocol):
    """The files of images that are on their way."""

    def progress_of(self, image_id: int) -> Progress | None:
        """How far the image's file is, None when none is made."""


class Controller(Protocol):
    """The running controller.  The API only ever reads ``state``; every change goes through :meth:`call`."""

    @property
    def state(self) -> State:
        """All committed objects."""

    @property
    def beacon_period_s(self) -> float:
        """How often a host's agent is heard."""

    @property
    def transfers(self) -> Transfers:
        """The transfer files."""

    @property
    def imports(self) -> Imports:
        """The files of images that are on their way."""

    @property
    def storage(self) -> Storage:
        """The datastores' files."""

    def heard_at(self, host_id: int) -> float:
        """When the host's agent was last heard, 0 when not since the start; no beacon is stored."""

    async def call(self, actor: Actor, command: Command) -> int:
        """Carries the command out and answers the object's id; raises HoldfastError with the reason of a refusal.

        May be cancelled when the caller's patience ends; the change may then still happen.
        """
