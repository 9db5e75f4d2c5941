"""Failovers for the tests of their machine."""

from __future__ import annotations

from holdfast.model.enums import FailoverMode, FailoverState, RowState
from holdfast.model.failover import Failover, Row


def a_failover(
    state: FailoverState = FailoverState.WATCHING,
    rows: tuple[Row, ...] = (),
    mode: FailoverMode = FailoverMode.MIGRATE,
    proof_id: int = -1,
    force: bool = False,
    fencing: bool = True,
) -> Failover:
    """The failover of host 3."""
    return Failover(
        5, 3, "host3", state, mode, "oneadmin", 1000.0, force=force, fencing=fencing, rows=rows, proof_id=proof_id,
        boot_id="boot-1",
    )  # fmt: skip


def a_row(vm_id: int = 1, state: RowState = RowState.WAITING, reason: str = "", attempts: int = 0) -> Row:
    """A VM's row."""
    return Row(vm_id, f"vm{vm_id}", state, 3, reason=reason, attempts=attempts)
