"""What people ask of the interactive repair of a failed transfer.  An extension: OpenNebula's runs in the client.

``session`` tells one dialogue from another; whoever has begun shows his with everything that follows.
"""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.engine.commands import Command


@dataclass(frozen=True, slots=True)
class _InSession(Command):
    oid: int
    session: str


@dataclass(frozen=True, slots=True)
class BeginRepair(_InSession):
    """``one.vm.repair``: ``lines`` are those of the transfer file named ``file``, as it is now."""

    seat: str
    file: str
    lines: tuple[str, ...]
    take_over: bool = False


@dataclass(frozen=True, slots=True)
class HoldRepair(_InSession):
    """``one.vm.repairhold``: the dialogue is still there."""


@dataclass(frozen=True, slots=True)
class RunRepairLine(_InSession):
    """``one.vm.repairrun``: the current line, from 1; ``record`` is the number that its record will have."""

    line: int
    record: int


@dataclass(frozen=True, slots=True)
class SkipRepairLine(_InSession):
    """``one.vm.repairskip``: the current line, from 1."""

    line: int


@dataclass(frozen=True, slots=True)
class LeaveRepair(_InSession):
    """``one.vm.repairquit``: the dialogue has ended; a line that runs goes on."""
